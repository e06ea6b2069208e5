/* nets.h - plans of nets for a device that looks at them, for steps.c. */
#ifndef AIRA_TESTS_CUDA_NETS_H
#define AIRA_TESTS_CUDA_NETS_H

#include <stdio.h>
#include <stdlib.h>

#include "core/engine/session.h"
#include "core/train/step.h"
#include "core/train/task.h"
#include "tests/support/engine.h"

enum { MOST_LAYERS = 64 };

static aira__instance *plugin(aira__registry *registry, const char *kind, const char *keys) {
    aira__instance *made = NULL;
    aira_error error = {0};
    json_t *json = json_loads(keys, 0, NULL);
    if (aira__instance_create_json(registry, kind, json, &made, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    json_decref(json);
    return made;
}

typedef struct net {
    const char *backbone;
    const char *layers[MOST_LAYERS]; /* keys of primitives */
    uint32_t n_layers, batch, length, vocab, dtype;
    double clip; /* negative: the recipe's */
} net;

/* Compiles a training step and an evaluation of the net for a device. */
static void try_net(const test_engine *e, const aira_device *device, const net *n) {
    aira__instance *made[MOST_LAYERS], *backbone = plugin(e->registry, "backbone", n->backbone);
    aira__layer layers[MOST_LAYERS];
    aira_error error = {0};
    for (uint32_t k = 0; k < n->n_layers; k++) {
        made[k] = plugin(e->registry, "primitive", n->layers[k]);
        layers[k] = (aira__layer){"x", made[k]->plugin->id, "{}", made[k]->plugin->table, made[k]->self};
    }
    aira__recipe recipe;
    aira__diagnostics *d = aira__diagnostics_create();
    if (!aira__recipe_read(e->registry, NULL, &recipe, d)) {
        fprintf(stderr, "%s\n", aira__diagnostics_text(d));
        exit(1);
    }
    if (n->clip >= 0) recipe.clip = n->clip;
    aira__model_spec spec = {.backbone = backbone->plugin->table,
                             .backbone_self = backbone->self,
                             .layers = layers,
                             .n_layers = n->n_layers,
                             .vocab = n->vocab,
                             .classes = n->vocab,
                             .batch = n->batch,
                             .input_length = n->length,
                             .target_length = n->length,
                             .compute_dtype = n->dtype,
                             .causal = true};
    aira_graph *graphs[2] = {aira__step_build(&spec, &recipe, &error), aira__evaluation_build(&spec, &error)};
    aira__session *s = NULL;
    if (!graphs[0] || !graphs[1] || aira__session_create(device, NULL, NULL, graphs, 2, NULL, &s, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    aira__session_destroy(s);
    for (int k = 0; k < 2; k++) aira__graph_destroy(graphs[k]);
    aira__recipe_release(&recipe);
    aira__diagnostics_destroy(d);
    for (uint32_t k = 0; k < n->n_layers; k++) aira__instance_destroy(made[k]);
    aira__instance_destroy(backbone);
}

#endif
