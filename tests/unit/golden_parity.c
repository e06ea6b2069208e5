/* golden_parity.c - the shipped primitives, backbones and AdamW against PyTorch (tests/golden/make_golden.py).
 *
 * From the same initial parameters: logits of the first batch within 1e-4, and the loss within 1 % at each of 200 AdamW
 * steps on the same batches.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/optimizer.h"
#include "core/base/npy.h"
#include "core/base/safetensors.h"
#include "core/check/trial.h"
#include "core/graph/model.h"

enum { VOCAB = 24, STEPS = 200 };

static const char *const nets[] = {
    "attention",         "attention_options", "mlp",   "swiglu",       "mamba", "mamba2", "linear_attention",
    "mad_lm_layer_norm", "mad_autoencoder",   "llama", "llama_untied", "mix"};

typedef struct net {
    aira__registry *registry;
    aira__lab lab;
    aira__document *document;
    aira__instance *backbone, *optimizer, *primitives[8];
    aira__layer layers[8];
    uint32_t n_layers;
    aira__safetensors *weights;
    aira__npy tokens, targets, logits, losses;
} net;

static void open_npy(const char *name, const char *suffix, aira__npy *array) {
    char path[1024];
    aira_error error = {0};
    snprintf(path, sizeof path, "%s/tests/golden/%s%s", getenv("AIRA_SOURCE_DIR"), name, suffix);
    cr_assert(aira__npy_open(path, array, &error) == AIRA_OK, "%s", error.text);
}

static aira__instance *instance(net *n, const char *kind, aira__node *node) {
    static const char *const skip[] = {"token", NULL};
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    aira__instance *made = aira__instance_create(n->registry, kind, node, skip, diagnostics);
    cr_assert(made && aira__diagnostics_count(diagnostics) == 0, "%s", aira__diagnostics_text(diagnostics));
    aira__diagnostics_destroy(diagnostics);
    return made;
}

static void open_model(net *n, const char *name) {
    char path[1024];
    aira_error error = {0};
    snprintf(path, sizeof path, "%s/tests/golden/%s.safetensors", getenv("AIRA_SOURCE_DIR"), name);
    cr_assert(aira__safetensors_open(path, &n->weights, &error) == AIRA_OK, "%s", error.text);
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    n->document = aira__document_parse(aira__safetensors_metadata(n->weights, "model"), name, diagnostics);
    cr_assert(n->document, "%s", aira__diagnostics_text(diagnostics));
    aira__node *root = aira__document_root(n->document), *layers = aira__map_get(root, "layers");
    n->backbone = instance(n, "backbone", aira__map_get(root, "backbone"));
    n->n_layers = (uint32_t)layers->n_items;
    for (uint32_t k = 0; k < n->n_layers; k++) {
        const char *token = aira__node_string(aira__map_get(layers->items[k], "token"), "", diagnostics);
        n->primitives[k] = instance(n, "primitive", layers->items[k]);
        const aira_plugin *plugin = n->primitives[k]->plugin;
        n->layers[k] = (aira__layer){token, plugin->id, "{}", plugin->table, n->primitives[k]->self};
    }
    aira__diagnostics_destroy(diagnostics);
}

static net open_net(const char *name) {
    net n = {0};
    aira_error error = {0};
    cr_assert(aira__registry_create(NULL, &n.registry, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__lab_open(n.registry, &n.lab, &error) == AIRA_OK, "%s", error.text);
    open_model(&n, name);
    open_npy("tokens", ".npy", &n.tokens);
    open_npy(strcmp(name, "mad_autoencoder") == 0 ? "tokens" : "targets", ".npy", &n.targets);
    open_npy(name, ".logits.npy", &n.logits);
    open_npy(name, ".losses.npy", &n.losses);
    return n;
}

static void close_net(net *n) {
    for (uint32_t k = 0; k < n->n_layers; k++) aira__instance_destroy(n->primitives[k]);
    aira__instance_destroy(n->backbone);
    aira__instance_destroy(n->optimizer);
    aira__document_destroy(n->document);
    aira__safetensors_close(n->weights);
    aira__npy_close(&n->tokens);
    aira__npy_close(&n->targets);
    aira__npy_close(&n->logits);
    aira__npy_close(&n->losses);
    aira__lab_close(&n->lab);
    aira__registry_destroy(n->registry);
}

/* --- one step as a graph --------------------------------------------------------------------------------------------
 */

static void add_update(const net *n, aira_graph *g, aira__variable *v, aira_tensor *grad, aira_tensor *lr,
                       aira_tensor *step) {
    const aira_optimizer *table = n->optimizer->plugin->table;
    aira_update_in in = {.size = sizeof in, .no_decay = (v->flags & AIRA_PARAM_NO_DECAY) != 0, .name = v->name};
    aira_update_out out = {.size = sizeof out};
    aira__variable *states[AIRA_OPTIMIZER_MAX_STATES];
    in.lr_mult = in.decay_mult = 1;
    in.param = v->leaf;
    in.grad = grad;
    in.lr = lr;
    in.step = step;
    for (uint32_t k = 0; k < table->n_states; k++) {
        char name[256];
        snprintf(name, sizeof name, "optimizer.%s.%s", v->name, table->state_names[k]);
        states[k] = aira__graph_state(g, name, &v->shape);
        cr_assert(states[k]);
        in.state[k] = states[k]->tensor;
    }
    cr_assert(table->build(n->optimizer->self, aira__graph_ops(), g, &in, &out) == AIRA_OK);
    aira__graph_assign(g, v, out.param);
    for (uint32_t k = 0; k < table->n_states; k++) aira__graph_assign(g, states[k], out.state[k]);
}

static aira_graph *step_graph(net *n) {
    aira_error error = {0};
    const aira__model_spec spec = {.backbone = n->backbone->plugin->table,
                                   .backbone_self = n->backbone->self,
                                   .layers = n->layers,
                                   .n_layers = n->n_layers,
                                   .vocab = VOCAB,
                                   .batch = n->tokens.shape[1],
                                   .input_length = n->tokens.shape[2],
                                   .target_length = n->tokens.shape[2],
                                   .compute_dtype = AIRA_F32,
                                   .training = true,
                                   .causal = true,
                                   .with_loss = true};
    aira_graph *g = aira__model_build(&spec, &error);
    cr_assert(g, "%s", error.text);
    aira_tensor *wrt[128], *grads[128];
    uint32_t count = g->n_variables;
    cr_assert(count <= 128);
    for (uint32_t k = 0; k < count; k++) wrt[k] = g->variables[k]->leaf;
    cr_assert(aira__graph_gradients(g, aira__graph_find_output(g, "loss"), wrt, count, grads, &error) == AIRA_OK, "%s",
              error.text);
    const aira_shape scalar = {{0}, 0, 0};
    aira_tensor *lr = aira__graph_input(g, "lr", AIRA_F32, &scalar),
                *step = aira__graph_input(g, "step", AIRA_F32, &scalar);
    for (uint32_t k = 0; k < count; k++) {
        cr_assert(grads[k], "no gradient for %s", g->variables[k]->name);
        add_update(n, g, g->variables[k], grads[k], lr, step);
    }
    cr_assert(aira__graph_check(g, &error) == AIRA_OK, "%s", error.text);
    return g;
}

static void load_weights(const net *n, aira__trial *trial) {
    int found = 0;
    aira_error error = {0};
    for (uint32_t k = 0; k < trial->graph->n_variables; k++) {
        const aira__variable *v = trial->graph->variables[k];
        if (v->kind != AIRA_VARIABLE_PARAM) continue;
        const aira__safetensor *t = aira__safetensors_find(n->weights, v->name);
        cr_assert(t, "the golden file has no %s", v->name);
        cr_assert(t->rank == (int)v->shape.rank &&
                      memcmp(t->shape, v->shape.dims, sizeof(int64_t) * v->shape.rank) == 0,
                  "%s has another shape", v->name);
        cr_assert(aira__session_set_variable(trial->session, v->name, 0, t->data, t->bytes, &error) == AIRA_OK, "%s",
                  error.text);
        found++;
    }
    cr_assert(found == aira__safetensors_count(n->weights), "the golden file has %d parameters, the model %d",
              aira__safetensors_count(n->weights), found);
}

static void run_step(const net *n, aira__trial *trial, int step) {
    aira_error error = {0};
    int64_t batches = n->tokens.shape[0], each = n->tokens.elements / batches, at = step % batches * each;
    uint64_t bytes = (uint64_t)each * sizeof(int32_t);
    double lr = 1e-3, number = step + 1;
    aira_status status = aira__session_set_input(trial->session, 0, "tokens", 0, (const int32_t *)n->tokens.data + at,
                                                 bytes, &error);
    if (!status)
        status = aira__session_set_input(trial->session, 0, "targets", 0, (const int32_t *)n->targets.data + at, bytes,
                                         &error);
    if (!status) status = aira__trial_set_input(trial, "lr", &lr, &error);
    if (!status) status = aira__trial_set_input(trial, "step", &number, &error);
    if (!status) status = aira__trial_run(trial, &error);
    cr_assert(status == AIRA_OK, "%s", error.text);
}

static void check_logits(const net *n, aira__trial *trial, const char *name) {
    aira_error error = {0};
    double *logits = aira__doubles(n->logits.elements, &error), worst = 0;
    cr_assert(aira__trial_output(trial, "logits", logits, &error) == AIRA_OK, "%s", error.text);
    for (int64_t k = 0; k < n->logits.elements; k++)
        worst = fmax(worst, fabs(logits[k] - (double)((const float *)n->logits.data)[k]));
    printf("%-18s logits within %.1e", name, worst);
    cr_expect(worst < 1e-4, "%s: a logit is off by %g", name, worst);
    free(logits);
}

static void check_net(const char *name) {
    net n = open_net(name);
    aira_error error = {0};
    json_t *options = json_pack("{s:s, s:f, s:f, s:b}", "use", "adamw", "lr", 1e-3, "weight_decay", 0.1, "decay_all",
                                1);
    cr_assert(aira__instance_create_json(n.registry, "optimizer", options, &n.optimizer, &error) == AIRA_OK, "%s",
              error.text);
    json_decref(options);
    aira__trial *trial;
    cr_assert(aira__trial_create(&n.lab, step_graph(&n), 1, &trial, &error) == AIRA_OK, "%s", error.text);
    load_weights(&n, trial);
    double worst = 0;
    int at = 0;
    for (int step = 0; step < STEPS; step++) {
        double loss = NAN, golden = (double)((const float *)n.losses.data)[step];
        run_step(&n, trial, step);
        if (step == 0) check_logits(&n, trial, name);
        cr_assert(aira__trial_output(trial, "loss", &loss, &error) == AIRA_OK, "%s", error.text);
        double off = fabs(loss - golden) / golden;
        if (!(off <= worst)) {
            worst = off;
            at = step;
        }
    }
    printf(", losses within %.1e\n", worst);
    cr_expect(worst < 0.01, "%s: the loss is off by %.2g %% at step %d", name, 100 * worst, at);
    aira__trial_destroy(trial);
    close_net(&n);
}

Test(golden_parity, nets) {
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) check_net(nets[k]);
}
