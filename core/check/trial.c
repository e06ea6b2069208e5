/* trial.c - see trial.h. */
#include "core/check/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"

aira_status aira__lab_open(aira__registry *registry, aira__lab *lab, aira_error *error) {
    return aira__lab_open_isa(registry, "auto", lab, error);
}

aira_status aira__lab_open_isa(aira__registry *registry, const char *isa, aira__lab *lab, aira_error *error) {
    memset(lab, 0, sizeof *lab);
    lab->registry = registry;
    json_t *canonical = json_pack("{s:s, s:s}", "use", "cpu", "isa", isa);
    if (!canonical) return aira__fail(error, AIRA_E_MEMORY, "out of memory while opening the device cpu");
    aira_status status = aira__instance_create_json(registry, "device", canonical, &lab->device, error);
    json_decref(canonical);
    if (status) return aira__fail_in(error, "checks run on the device cpu");
    lab->table = lab->device->plugin->table;
    lab->self = lab->device->self;
    return AIRA_OK;
}

void aira__lab_close(aira__lab *lab) {
    aira__instance_destroy(lab->device);
    memset(lab, 0, sizeof *lab);
}

double *aira__doubles(int64_t n, aira_error *error) {
    double *values = n >= 0 ? calloc((size_t)n + 1, sizeof *values) : NULL;
    if (!values) aira__fail(error, AIRA_E_MEMORY, "out of memory for %lld numbers", (long long)n);
    return values;
}

/* --- element types ------------------------------------------------------------------------------------------------ */

static uint16_t to_bf16(double value) {
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(f)) return (uint16_t)(bits >> 16 | 64);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double from_bf16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void encode(uint32_t dtype, const double *from, void *to, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        switch (dtype) {
        case AIRA_F32:
            ((float *)to)[k] = (float)from[k];
            break;
        case AIRA_F64:
            ((double *)to)[k] = from[k];
            break;
        case AIRA_BF16:
            ((uint16_t *)to)[k] = to_bf16(from[k]);
            break;
        default:
            ((int32_t *)to)[k] = (int32_t)from[k];
            break;
        }
    }
}

static void decode(uint32_t dtype, const void *from, double *to, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        switch (dtype) {
        case AIRA_F32:
            to[k] = ((const float *)from)[k];
            break;
        case AIRA_F64:
            to[k] = ((const double *)from)[k];
            break;
        case AIRA_BF16:
            to[k] = from_bf16(((const uint16_t *)from)[k]);
            break;
        default:
            to[k] = ((const int32_t *)from)[k];
            break;
        }
    }
}

/* --- trials ---------------------------------------------------------------------------------------------------------
 */

static uint64_t tensor_bytes(const aira_tensor *t) {
    return (uint64_t)aira__shape_elements(&t->shape) * aira__dtype_bytes(t->dtype);
}

static uint64_t largest(const aira_graph *graph) {
    uint64_t most = 64;
    for (uint32_t k = 0; k < graph->n_inputs; k++) {
        if (tensor_bytes(graph->inputs[k].tensor) > most) most = tensor_bytes(graph->inputs[k].tensor);
    }
    for (uint32_t k = 0; k < graph->n_outputs; k++) {
        if (tensor_bytes(graph->outputs[k].tensor) > most) most = tensor_bytes(graph->outputs[k].tensor);
    }
    for (uint32_t k = 0; k < graph->n_variables; k++) {
        const aira__variable *v = graph->variables[k];
        uint64_t bytes = (uint64_t)aira__shape_elements(&v->shape) * aira__dtype_bytes(v->dtype);
        if (bytes > most) most = bytes;
    }
    return most;
}

aira_status aira__trial_create(const aira__lab *lab, aira_graph *graph, uint64_t seed, aira__trial **out,
                               aira_error *error) {
    *out = NULL;
    aira__trial *trial = calloc(1, sizeof *trial);
    if (!trial) {
        aira__graph_destroy(graph);
        return aira__fail(error, AIRA_E_MEMORY, "out of memory for a trial");
    }
    trial->graph = graph;
    trial->scratch = malloc(largest(graph));
    aira_status status = trial->scratch ? aira__graph_check(graph, error)
                                        : aira__fail(error, AIRA_E_MEMORY, "out of memory for a trial");
    const aira__session_options options = {
        .copies = 1, .expand_all = lab->expand_all, .no_fusion = lab->no_fusion, .seed = seed};
    if (!status)
        status = aira__session_create(lab->table, lab->self, aira__registry_host(lab->registry), &graph, 1, &options,
                                      &trial->session, error);
    if (!status) status = aira__session_initialise(trial->session, &seed, error);
    if (status) {
        aira__trial_destroy(trial);
        return status;
    }
    *out = trial;
    return AIRA_OK;
}

void aira__trial_destroy(aira__trial *trial) {
    if (!trial) return;
    aira__session_destroy(trial->session);
    aira__graph_destroy(trial->graph);
    free(trial->scratch);
    free(trial);
}

aira_status aira__trial_set_input(aira__trial *trial, const char *name, const double *values, aira_error *error) {
    for (uint32_t k = 0; k < trial->graph->n_inputs; k++) {
        if (strcmp(trial->graph->inputs[k].name, name) != 0) continue;
        const aira_tensor *t = trial->graph->inputs[k].tensor;
        encode(t->dtype, values, trial->scratch, aira__shape_elements(&t->shape));
        return aira__session_set_input(trial->session, 0, name, 0, trial->scratch, tensor_bytes(t), error);
    }
    return aira__fail(error, AIRA_E_FAILED, "the graph has no input %s", name);
}

aira_status aira__trial_set_variable(aira__trial *trial, const aira__variable *v, const double *values,
                                     aira_error *error) {
    int64_t n = aira__shape_elements(&v->shape);
    encode(v->dtype, values, trial->scratch, n);
    return aira__session_set_variable(trial->session, v->name, 0, trial->scratch,
                                      (uint64_t)n * aira__dtype_bytes(v->dtype), error);
}

aira_status aira__trial_get_variable(aira__trial *trial, const aira__variable *v, double *values, aira_error *error) {
    int64_t n = aira__shape_elements(&v->shape);
    aira_status status = aira__session_get_variable(trial->session, v->name, 0, trial->scratch,
                                                    (uint64_t)n * aira__dtype_bytes(v->dtype), error);
    if (!status) decode(v->dtype, trial->scratch, values, n);
    return status;
}

aira_status aira__trial_run(aira__trial *trial, aira_error *error) {
    return aira__session_run(trial->session, 0, error);
}

aira_status aira__trial_output(aira__trial *trial, const char *name, double *values, aira_error *error) {
    const aira_tensor *t = aira__graph_find_output(trial->graph, name);
    if (!t) return aira__fail(error, AIRA_E_FAILED, "the graph has no output %s", name);
    aira_status status = aira__session_get_output(trial->session, 0, name, 0, trial->scratch, tensor_bytes(t), error);
    if (!status) decode(t->dtype, trial->scratch, values, aira__shape_elements(&t->shape));
    return status;
}

/* --- draws ----------------------------------------------------------------------------------------------------------
 */

void aira__draw_values(uint64_t seed, const char *name, uint32_t dtype, int64_t range, double *values, int64_t n) {
    aira_rng rng = aira_rng_make(aira_key(seed, name), 0);
    for (int64_t k = 0; k < n; k++)
        values[k] = dtype == AIRA_I32 ? (double)aira_rng_below(&rng, range > 0 ? (uint32_t)range : 1)
                                      : aira_rng_normal(&rng);
}

aira_status aira__trial_draw_inputs(aira__trial *trial, uint64_t seed, int64_t range, aira_error *error) {
    aira_status status = AIRA_OK;
    for (uint32_t k = 0; k < trial->graph->n_inputs && !status; k++) {
        const aira__input *input = &trial->graph->inputs[k];
        int64_t n = aira__shape_elements(&input->tensor->shape);
        double *values = aira__doubles(n, error);
        if (!values) return AIRA_E_MEMORY;
        aira__draw_values(seed, input->name, input->tensor->dtype, range, values, n);
        status = aira__trial_set_input(trial, input->name, values, error);
        free(values);
    }
    return status;
}

static aira_status redraw_one(aira__trial *trial, const aira__variable *v, uint64_t seed, bool around_initial,
                              aira_error *error) {
    int64_t n = aira__shape_elements(&v->shape);
    double *values = aira__doubles(n, error);
    if (!values) return AIRA_E_MEMORY;
    aira_status status = AIRA_OK;
    if (around_initial) status = aira__variable_initial(trial->graph, v, seed, values, error);
    aira_rng rng = aira_rng_make(aira_key(seed, v->name), 1);
    double scale = v->shape.rank > 1 ? 1 / sqrt((double)v->shape.dims[v->shape.rank - 1]) : 0.5;
    for (int64_t k = 0; k < n; k++) {
        double draw = aira_rng_normal(&rng);
        double nonzero = scale * (draw < 0 ? draw - 0.2 : draw + 0.2);
        values[k] = around_initial ? values[k] + nonzero / 3 : nonzero;
    }
    if (!status) status = aira__trial_set_variable(trial, v, values, error);
    free(values);
    return status;
}

aira_status aira__trial_redraw(aira__trial *trial, uint64_t seed, bool around_initial, aira_error *error) {
    for (uint32_t k = 0; k < trial->graph->n_variables; k++) {
        const aira__variable *v = trial->graph->variables[k];
        if (v->kind != AIRA_VARIABLE_PARAM) continue;
        aira_status status = redraw_one(trial, v, seed, around_initial, error);
        if (status) return status;
    }
    return AIRA_OK;
}
