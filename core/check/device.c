/* device.c - conformance of devices: a small training step on the device and on plain loops, compared.
 *
 * The step holds attention, a state-space layer and an MLP, forward and backward, in fp32 and bf16. Single operations
 * on odd shapes are the business of the device's own tests.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check/check.h"
#include "core/check/gradient.h"

enum { LAYERS = 3, VOCAB = 11, BATCH = 3, LENGTH = 17 };

typedef struct parts { /* of the model */
    aira__instance *backbone, *primitives[LAYERS];
    aira__layer layers[LAYERS];
} parts;

static aira_status make(const aira__subject *s, const char *kind, const char *id, aira__instance **out,
                        aira_error *error) {
    json_t *canonical = json_pack("{s:s}", "use", id);
    if (!canonical) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a model");
    if (strcmp(id, "mad_lm") == 0) json_object_set_new(canonical, "width", json_integer(32));
    aira_status status = aira__instance_create_json(s->registry, kind, canonical, out, error);
    json_decref(canonical);
    return status;
}

static aira_status make_parts(const aira__subject *s, parts *p, aira_error *error) {
    static const char *const ids[LAYERS] = {"attention", "mamba", "mlp"};
    aira_status status = make(s, "backbone", "mad_lm", &p->backbone, error);
    for (int k = 0; k < LAYERS && !status; k++) {
        status = make(s, "primitive", ids[k], &p->primitives[k], error);
        if (status) break;
        const aira_primitive *table = p->primitives[k]->plugin->table;
        p->layers[k] = (aira__layer){table->token, ids[k], "{}", table, p->primitives[k]->self};
    }
    return status;
}

static void drop_parts(parts *p) {
    for (int k = 0; k < LAYERS; k++) aira__instance_destroy(p->primitives[k]);
    aira__instance_destroy(p->backbone);
}

/* Loss, logits and all gradients of the model, one after another; *values is malloc'ed. */
static aira_status compute(const aira__lab *lab, const parts *p, uint32_t dtype, double **values, int64_t *n,
                           aira_error *error) {
    const aira__model_spec spec = {.backbone = p->backbone->plugin->table,
                                   .backbone_self = p->backbone->self,
                                   .layers = p->layers,
                                   .n_layers = LAYERS,
                                   .vocab = VOCAB,
                                   .batch = BATCH,
                                   .input_length = LENGTH,
                                   .target_length = LENGTH,
                                   .compute_dtype = dtype,
                                   .training = true,
                                   .causal = true,
                                   .with_loss = true};
    aira__trial *trial = NULL;
    aira_graph *graph = aira__model_build(&spec, error);
    aira_status status = graph ? aira__gradient_append(graph, "loss", error) : AIRA_E_FAILED;
    if (graph && status) aira__graph_destroy(graph);
    if (!status) status = aira__trial_create(lab, graph, 1, &trial, error);
    if (!status) status = aira__trial_draw_inputs(trial, 2, VOCAB, error);
    if (!status) status = aira__trial_run(trial, error);
    *n = 0;
    for (uint32_t k = 0; !status && k < graph->n_outputs; k++)
        *n += aira__shape_elements(&graph->outputs[k].tensor->shape);
    if (!status && !(*values = aira__doubles(*n, error))) status = AIRA_E_MEMORY;
    int64_t at = 0;
    for (uint32_t k = 0; !status && k < graph->n_outputs; k++) {
        status = aira__trial_output(trial, graph->outputs[k].name, *values + at, error);
        at += aira__shape_elements(&graph->outputs[k].tensor->shape);
    }
    aira__trial_destroy(trial);
    return status;
}

static void compare(const aira__subject *s, const aira__lab *plain, const aira__lab *tested, const parts *p,
                    uint32_t dtype, double tolerance) {
    const char *name = aira__start(s, dtype == AIRA_F32 ? "fp32" : "bf16");
    double *wanted = NULL, *first = NULL, *second = NULL, off = 0, size = 0;
    int64_t n = 0;
    aira_error error = {0};
    aira_status status = compute(plain, p, AIRA_F64, &wanted, &n, &error);
    if (!status) status = compute(tested, p, dtype, &first, &n, &error);
    if (!status) status = compute(tested, p, dtype, &second, &n, &error);
    for (int64_t k = 0; k < n && !status; k++) {
        off += (first[k] - wanted[k]) * (first[k] - wanted[k]);
        size += wanted[k] * wanted[k];
    }
    off = sqrt(off / size);
    if (status)
        aira__say(s, name, status == AIRA_E_UNSUPPORTED ? AIRA_CHECK_SKIP : AIRA_CHECK_FAIL, "%.400s", error.text);
    else if (!(off < tolerance))
        aira__say(s, name, AIRA_CHECK_FAIL, "loss, logits and gradients are off by %.1e of their size (limit %.0e)",
                  off, tolerance);
    else if (memcmp(first, second, (size_t)n * sizeof *first) != 0)
        aira__say(s, name, AIRA_CHECK_FAIL, "run twice, different results");
    else
        aira__say(s, name, AIRA_CHECK_PASS,
                  "loss, logits and gradients within %.1e of their size of fp64 on plain loops; twice the same bits",
                  off);
    free(wanted);
    free(first);
    free(second);
}

static bool check_info(const aira__subject *s, const aira_device *table) {
    const char *name = aira__start(s, "available");
    const char *reason = table->unavailable ? table->unavailable() : NULL;
    aira_device_info info = {.size = sizeof info};
    if (reason)
        aira__say(s, name, AIRA_CHECK_SKIP, "not on this machine: %.400s", reason);
    else if (table->info(s->self, &info))
        aira__say(s, name, AIRA_CHECK_FAIL, "info() failed: %.300s",
                  aira__host_last_failure(aira__registry_host(s->registry)));
    else
        aira__say(s, name, AIRA_CHECK_PASS, "%.63s, %.31s", info.name, info.isa);
    return !reason;
}

void aira__check_device(aira__subject *s) {
    const aira_device *table = s->plugin->table;
    const aira__lab tested = {.registry = s->registry, .table = table, .self = s->self};
    parts p = {0};
    aira_error error = {0};
    if (!check_info(s, table)) return;
    const char *name = aira__start(s, "reference");
    aira_status status = aira__lab_open_isa(s->registry, "reference", &s->lab, &error);
    if (!status) status = make_parts(s, &p, &error);
    if (status) {
        aira__say(s, name, AIRA_CHECK_SKIP, "nothing to compare with: %.400s", error.text);
    } else {
        compare(s, &s->lab, &tested, &p, AIRA_F32, 1e-5);
        compare(s, &s->lab, &tested, &p, AIRA_BF16, 0.05);
    }
    drop_parts(&p);
}
