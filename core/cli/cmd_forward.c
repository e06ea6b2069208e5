/* core/cli/cmd_forward.c - `aira forward MODEL.yaml --weights W --tokens T.npy --out L.npy`: logits as float32. */
#include <stdlib.h>
#include <string.h>

#include "core/base/npy.h"
#include "core/base/safetensors.h"
#include "core/cli/cli.h"
#include "core/cli/device.h"
#include "core/engine/session.h"
#include "core/graph/model.h"
#include "core/train/model_file.h"

int aira__cmd_forward(aira__cli *cli, int argc, char **argv);

typedef struct forward_options {
    const char *model, *weights, *tokens, *out, *device;
    int64_t threads;
} forward_options;

static aira_status load_weights(aira__session *session, const aira_graph *graph, const char *path, aira_error *error) {
    aira__safetensors *file = NULL;
    aira_status status = aira__safetensors_open(path, &file, error);
    for (uint32_t k = 0; k < graph->n_variables && status == AIRA_OK; k++) {
        const aira__variable *v = graph->variables[k];
        const aira__safetensor *entry = aira__safetensors_find(file, v->name);
        bool same = entry != NULL && entry->rank == (int)v->shape.rank && strcmp(entry->dtype, "F32") == 0;
        for (int a = 0; same && a < entry->rank; a++) same = entry->shape[a] == v->shape.dims[a];
        if (same) {
            status = aira__session_set_variable(session, v->name, 0, entry->data, entry->bytes, error);
            continue;
        }
        char shape[128];
        aira__shape_text(&v->shape, shape, sizeof shape);
        status = aira__fail(error, AIRA_E_FAILED, "%s: the model needs tensor %s as F32 %s; the file has %s", path,
                            v->name, shape, entry == NULL ? "none of that name" : "another type or shape");
    }
    aira__safetensors_close(file);
    return status;
}

/* Ids as I32 [B,T], checked. */
static int32_t *read_tokens(const char *path, int64_t vocab, int64_t *batch, int64_t *length, aira_error *error) {
    aira__npy array;
    if (aira__npy_open(path, &array, error) != AIRA_OK) return NULL;
    int32_t *ids = NULL;
    if (array.rank != 2 || array.elements == 0 || array.type == AIRA_NPY_F32) {
        aira__fail(error, AIRA_E_CONFIG, "%s must hold token ids as integers [batch, length]", path);
    } else if ((ids = malloc((size_t)array.elements * sizeof *ids)) == NULL) {
        aira__fail(error, AIRA_E_MEMORY, "out of memory for the tokens of %s", path);
    }
    for (int64_t k = 0; ids != NULL && k < array.elements; k++) {
        int64_t id = aira__npy_int(&array, k);
        if (id < 0 || id >= vocab) {
            aira__fail(error, AIRA_E_CONFIG, "%s: token %lld at row %lld is outside 0..%lld", path, (long long)id,
                       (long long)(k / array.shape[1]), (long long)vocab - 1);
            free(ids);
            ids = NULL;
            break;
        }
        ids[k] = (int32_t)id;
    }
    *batch = array.shape[0];
    *length = array.shape[1];
    aira__npy_close(&array);
    return ids;
}

/* The logits of all rows, computed in one go. */
static aira_status compute(aira__cli *cli, const forward_options *o, const aira__instance *device, aira_graph *graph,
                           const int32_t *ids, float *logits, size_t n, aira_error *error) {
    aira__session *session = NULL;
    const aira_tensor *tokens = graph->inputs[0].tensor;
    uint64_t bytes = (uint64_t)aira__shape_elements(&tokens->shape) * sizeof *ids;
    aira_status status = aira__session_create(device->plugin->table, device->self, aira__registry_host(cli->registry),
                                              &graph, 1, NULL, &session, error);
    if (status == AIRA_OK) status = load_weights(session, graph, o->weights, error);
    if (status == AIRA_OK) status = aira__session_set_input(session, 0, "tokens", 0, ids, bytes, error);
    if (status == AIRA_OK) status = aira__session_run(session, 0, error);
    if (status == AIRA_OK) {
        status = aira__session_get_output(session, 0, "logits32", 0, logits, n * sizeof *logits, error);
    }
    aira__session_destroy(session);
    return status;
}

static aira_status forward(aira__cli *cli, const forward_options *o, const aira__model_file *model,
                           const aira__instance *device, aira_error *error) {
    int64_t batch = 0, length = 0;
    int32_t *ids = read_tokens(o->tokens, model->vocab, &batch, &length, error);
    if (ids == NULL) return error->status;
    aira__model_spec spec = {.backbone = model->backbone->plugin->table,
                             .backbone_self = model->backbone->self,
                             .layers = model->layers,
                             .n_layers = (uint32_t)model->n_layers,
                             .vocab = model->vocab,
                             .classes = model->classes,
                             .batch = batch,
                             .input_length = length,
                             .target_length = length,
                             .compute_dtype = model->recipe.precision == AIRA_F64 ? AIRA_F32 : model->recipe.precision,
                             .causal = true};
    aira_graph *graph = aira__model_build(&spec, error);
    aira_status status = graph != NULL ? AIRA_OK : error->status;
    float *logits = NULL;
    if (graph != NULL) {
        const aira_tensor *out = aira__graph_find_output(graph, "logits");
        size_t n = (size_t)aira__shape_elements(&out->shape);
        const int64_t shape[3] = {batch, length, model->classes};
        aira__graph_output(graph, "logits32", aira__graph_ops()->cast(graph, (aira_tensor *)(uintptr_t)out, AIRA_F32));
        logits = malloc(n * sizeof *logits);
        status = logits != NULL ? compute(cli, o, device, graph, ids, logits, n, error)
                                : aira__fail(error, AIRA_E_MEMORY, "out of memory for %zu logits; give fewer rows", n);
        if (status == AIRA_OK) status = aira__npy_write(o->out, AIRA_NPY_F32, logits, shape, 3, error);
    }
    free(logits);
    if (graph != NULL) aira__graph_destroy(graph);
    free(ids);
    return status;
}

int aira__cmd_forward(aira__cli *cli, int argc, char **argv) {
    forward_options o = {0};
    const aira__cli_option options[] = {
        {"weights", "W", "weights of the model (safetensors)", AIRA__CLI_TEXT, &o.weights, true},
        {"tokens", "T.npy", "token ids, integers [batch, length]", AIRA__CLI_TEXT, &o.tokens, true},
        {"out", "L.npy", "where the logits go, float32 [batch, length, vocabulary]", AIRA__CLI_TEXT, &o.out, true},
        {"device", "D", "device plugin (default cpu), or \"{use: cuda, gpu: 1}\"", AIRA__CLI_TEXT, &o.device, false},
        {"threads", "N", "threads of the device (default: one per core)", AIRA__CLI_INT, &o.threads, false}};
    const aira__cli_spec spec = {.arguments = "MODEL.yaml --weights W --tokens T.npy --out L.npy [key=value...]",
                                 .summary = "Writes a model's logits for given tokens.",
                                 .options = options,
                                 .n_options = sizeof options / sizeof options[0],
                                 .min_names = 1,
                                 .max_names = 1,
                                 .overrides = true};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    o.model = arguments.names[0];
    aira_error error = {AIRA_OK, ""};
    aira__registry *registry = aira__cli_registry(cli, &error);
    aira__diagnostics *d = aira__diagnostics_create();
    if (registry == NULL || d == NULL) {
        aira__diagnostics_destroy(d);
        return registry == NULL ? aira__cli_fail(cli, &error)
                                : aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    }
    aira__model_file *model = aira__model_file_load(registry, o.model, arguments.overrides, arguments.n_overrides,
                                                    false, d);
    aira__instance *device = NULL;
    if (model == NULL) {
        status = aira__cli_fail_diagnostics(cli, d);
    } else if ((device = aira__cli_device(cli, o.device, o.threads, &error)) == NULL) {
        status = aira__cli_fail(cli, &error);
    } else {
        status = forward(cli, &o, model, device, &error) == AIRA_OK ? 0 : aira__cli_fail(cli, &error);
    }
    aira__instance_destroy(device);
    aira__model_file_destroy(model);
    aira__diagnostics_destroy(d);
    return status;
}
