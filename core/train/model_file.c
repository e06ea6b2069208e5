/* core/train/model_file.c - see model_file.h */
#include "core/train/model_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/compose/notation.h"

static const char *const model_keys[] = {"model",   "architecture", "tokens", "backbone",
                                         "dataset", "recipe",       "vocab",  NULL};

static void read_architecture(aira__node *node, const aira__node *root, aira__model_file *m, aira__diagnostics *d) {
    const char *text = aira__node_string(node, NULL, d);
    const char **names = calloc((size_t)m->n_tokens + 1, sizeof *names);
    uint16_t *layers = calloc(AIRA__NOTATION_MAX, sizeof *layers);
    m->layers = calloc(AIRA__NOTATION_MAX, sizeof *m->layers);
    aira_error error = {AIRA_OK, ""};
    if (text == NULL) {
        aira__diagnose(d, root, "a model needs 'architecture', e.g. architecture: \"2mA 4M\"");
    } else if (names == NULL || layers == NULL || m->layers == NULL) {
        aira__diagnose(d, node, "out of memory while reading a model");
    } else {
        for (int k = 0; k < m->n_tokens; k++) names[k] = m->tokens[k].token;
        aira_status status = aira__notation_parse(text, names, m->n_tokens, layers, AIRA__NOTATION_MAX, &m->n_layers,
                                                  &error);
        if (status != AIRA_OK) {
            aira__diagnose(d, node, "%s", error.text);
            m->n_layers = 0;
        }
        for (int k = 0; k < m->n_layers; k++) {
            const aira__task_token *t = &m->tokens[layers[k]];
            const aira_plugin *plugin = t->primitive->plugin;
            m->layers[k] = (aira__layer){t->token, plugin->id, t->config, plugin->table, t->primitive->self};
        }
        m->architecture = aira__notation_format(layers, m->n_layers, names);
    }
    free(names);
    free(layers);
}

static void read_dataset(aira__registry *registry, aira__node *node, bool check_data, aira__model_file *m,
                         aira__diagnostics *d) {
    aira_error error = {AIRA_OK, ""};
    m->info.size = sizeof m->info;
    if (node == NULL) return;
    m->dataset = aira__instance_create(registry, "dataset", node, NULL, d);
    if (m->dataset == NULL) return;
    if (aira__dataset_describe(registry, m->dataset, &m->info, &error) == AIRA_OK) {
        m->vocab = m->info.vocab;
        m->classes = m->info.classes;
        return;
    }
    if (check_data) aira__diagnose(d, node, "%s", error.text);
    int64_t length = aira__json_int(m->dataset->canonical, "length", 0);
    m->vocab = m->classes = aira__json_int(m->dataset->canonical, "vocab", 0);
    m->info = (aira_dataset_info){.size = sizeof m->info,
                                  .metric = AIRA_METRIC_LOSS,
                                  .vocab = m->vocab,
                                  .classes = m->classes,
                                  .input_length = length,
                                  .target_length = length};
}

static json_t *canonical_json(const aira__model_file *m) {
    return json_pack("{s:s, s:s, s:o, s:O, s:O?, s:O, s:I}", "model", m->name, "architecture", m->architecture,
                     "tokens", aira__tokens_json(m->tokens, m->n_tokens), "backbone", m->backbone->canonical, "dataset",
                     m->dataset != NULL ? m->dataset->canonical : NULL, "recipe", m->recipe.canonical, "vocab",
                     (json_int_t)m->vocab);
}

static void read_model(aira__registry *registry, aira__node *root, bool check_data, aira__model_file *m,
                       aira__diagnostics *d) {
    int before = aira__diagnostics_count(d);
    m->name = strdup(aira__node_string(aira__map_get(root, "model"), "model", d));
    aira__tokens_read(registry, aira__map_get(root, "tokens"), &m->tokens, &m->n_tokens, d);
    aira__node *architecture = aira__map_get(root, "architecture");
    if (aira__diagnostics_count(d) == before) read_architecture(architecture, root, m, d);
    aira__node *backbone = aira__map_get(root, "backbone"), *vocab = aira__map_get(root, "vocab");
    if (backbone == NULL) {
        aira__diagnose(d, root, "a model needs a backbone, e.g. backbone: {use: llama}");
    } else {
        m->backbone = aira__instance_create(registry, "backbone", backbone, NULL, d);
    }
    read_dataset(registry, aira__map_get(root, "dataset"), check_data, m, d);
    if (vocab != NULL) {
        int64_t written = aira__node_count(vocab, 0, d);
        if (m->vocab > 0 && written != m->vocab) {
            aira__diagnose(d, vocab, "the data set has a vocabulary of %lld, not %lld; leave 'vocab' out",
                           (long long)m->vocab, (long long)written);
        }
        m->vocab = m->classes = written;
    }
    if (m->vocab < 1 && aira__diagnostics_count(d) == before) {
        aira__diagnose(d, root, "a model without a readable data set needs 'vocab', the number of token ids");
    }
    aira__recipe_read(registry, aira__map_get(root, "recipe"), &m->recipe, d);
    aira__map_finish(root, model_keys, d);
    if (aira__diagnostics_count(d) != before) return;
    m->canonical = canonical_json(m);
    if (m->canonical == NULL) aira__diagnose(d, root, "out of memory while reading a model");
}

aira__model_file *aira__model_file_load(aira__registry *registry, const char *path, const char *const *overrides,
                                        int n_overrides, bool check_data, aira__diagnostics *d) {
    int before = aira__diagnostics_count(d);
    aira__document *document = aira__document_load(path, overrides, n_overrides, d);
    if (document == NULL) return NULL;
    aira__node *root = aira__document_root(document);
    aira__model_file *m = calloc(1, sizeof *m);
    if (m == NULL || root == NULL || root->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, root,
                       m == NULL ? "out of memory while reading a model"
                                 : "a model is a mapping with the keys model, architecture, tokens, backbone, "
                                   "dataset, recipe");
    } else {
        read_model(registry, root, check_data, m, d);
    }
    aira__document_destroy(document);
    if (aira__diagnostics_count(d) == before) return m;
    aira__model_file_destroy(m);
    return NULL;
}

void aira__model_file_destroy(aira__model_file *m) {
    if (m == NULL) return;
    aira__tokens_release(m->tokens, m->n_tokens);
    aira__instance_destroy(m->backbone);
    aira__instance_destroy(m->dataset);
    aira__recipe_release(&m->recipe);
    json_decref(m->canonical);
    free(m->layers);
    free(m->name);
    free(m->architecture);
    free(m);
}
