/* cudnn_plan.c - see cudnn_plan.h. */
#include "cudnn_plan.h"

#include <dlfcn.h>
#include <string.h>

/* Kinds of descriptors, types of values, names of attributes: cudnn_graph.h. */
enum {
    POINTWISE = 0,
    ENGINE = 2,
    ENGINE_CONFIGURATION = 3,
    HEURISTICS = 4,
    EXECUTION_PLAN = 5,
    OPERATION_POINTWISE = 13,
    OPERATION_GRAPH = 15,
    VARIANT_PACK = 16,
    TENSOR = 17,
    MATMUL = 18,
    OPERATION_MATMUL = 19,
    REDUCTION = 21,
    OPERATION_REDUCTION = 22,
    OPERATION_RESHAPE = 31
};
enum {
    OF_HANDLE = 0,
    OF_DATA_TYPE = 1,
    OF_BOOL = 2,
    OF_INT64 = 3,
    OF_POINTER = 6,
    OF_HEURISTIC_MODE = 8,
    OF_NUMERICAL_NOTE = 11,
    OF_POINTWISE_MODE = 14,
    OF_DESCRIPTOR = 15,
    OF_REDUCTION = 18
};
enum {
    POINTWISE_MODE = 0,
    POINTWISE_PRECISION = 1,
    POINTWISE_AXIS = 9,
    HEURISTICS_MODE = 200,
    HEURISTICS_GRAPH = 201,
    HEURISTICS_RESULTS = 202,
    HEURISTICS_PROPERTIES = 204,
    CONFIGURATION_ENGINE = 300,
    PLAN_HANDLE = 400,
    PLAN_CONFIGURATION = 401,
    PLAN_WORKSPACE = 402,
    PLAN_PROPERTIES = 407,
    OPERATION_POINTWISE_HOW = 750,
    OPERATION_POINTWISE_X = 751,
    OPERATION_POINTWISE_B = 752,
    OPERATION_POINTWISE_Y = 753,
    OPERATION_POINTWISE_T = 758,
    GRAPH_HANDLE = 800,
    GRAPH_OPS = 801,
    TENSOR_ALIGNMENT = 900,
    TENSOR_TYPE = 901,
    TENSOR_DIMS = 902,
    TENSOR_STRIDES = 903,
    TENSOR_ID = 906,
    TENSOR_IS_VIRTUAL = 907,
    TENSOR_IS_BY_VALUE = 908,
    PACK_IDS = 1000,
    PACK_ADDRESSES = 1001,
    PACK_WORKSPACE = 1003,
    ENGINE_INDEX = 1301,
    ENGINE_NUMERICAL_NOTE = 1303,
    MATMUL_PRECISION = 1500,
    OPERATION_MATMUL_A = 1520,
    OPERATION_MATMUL_B = 1521,
    OPERATION_MATMUL_C = 1522,
    OPERATION_MATMUL_HOW = 1523,
    REDUCTION_OPERATOR = 1600,
    REDUCTION_PRECISION = 1601,
    OPERATION_REDUCTION_X = 1610,
    OPERATION_REDUCTION_Y = 1611,
    OPERATION_REDUCTION_HOW = 1612,
    OPERATION_RESHAPE_X = 2200,
    OPERATION_RESHAPE_Y = 2201
};
enum { FIRST_INSIDE = 1000 }; /* ids of tensors inside a kernel */
enum { MODE_A = 3, NOTE_NONDETERMINISTIC = 4, MOST_NOTES = 10, MOST_CONFIGURATIONS = 16 };
enum { OUT_OF_MEMORY = 4003, NO_ENGINE = 3000 }; /* statuses of cuDNN that are given here too */

/* --- the library -------------------------------------------------------------------------------------------------- */

static bool find(cudnn_calls *calls, const char *name, void *slot) {
    void *found = dlsym(calls->library, name);
    memcpy(slot, &found, sizeof found);
    return found != NULL;
}

bool cudnn_load(cudnn_calls *calls, const char **why) {
    *calls = (cudnn_calls){.library = dlopen("libcudnn_graph.so.9", RTLD_NOW | RTLD_LOCAL)};
    if (!calls->library) {
        *why = "no cuDNN 9 here";
        return false;
    }
    if (find(calls, "cudnnGetVersion", &calls->version) && find(calls, "cudnnGetErrorString", &calls->sentence) &&
        find(calls, "cudnnCreate", &calls->create) && find(calls, "cudnnDestroy", &calls->destroy) &&
        find(calls, "cudnnSetStream", &calls->set_stream) &&
        find(calls, "cudnnBackendCreateDescriptor", &calls->new_descriptor) &&
        find(calls, "cudnnBackendDestroyDescriptor", &calls->free_descriptor) &&
        find(calls, "cudnnBackendFinalize", &calls->finalize) && find(calls, "cudnnBackendSetAttribute", &calls->set) &&
        find(calls, "cudnnBackendGetAttribute", &calls->get) && find(calls, "cudnnBackendExecute", &calls->execute))
        return true;
    *why = "this cuDNN lacks a call that is needed";
    cudnn_unload(calls);
    return false;
}

void cudnn_unload(cudnn_calls *calls) {
    if (calls->library) dlclose(calls->library);
    *calls = (cudnn_calls){0};
}

/* --- describing --------------------------------------------------------------------------------------------------- */

/* A new descriptor of the graph's own; NULL after a failure. */
static void *make(cudnn_graph *g, int kind) {
    void *made = NULL;
    if (g->status) return NULL;
    if (g->n_owned == sizeof g->owned / sizeof *g->owned) {
        g->status = OUT_OF_MEMORY;
        return NULL;
    }
    g->status = g->calls->new_descriptor(kind, &made);
    if (!g->status) g->owned[g->n_owned++] = made;
    return made;
}

static void put(cudnn_graph *g, void *descriptor, int name, int type, int64_t n, const void *values) {
    if (!g->status) g->status = g->calls->set(descriptor, name, type, n, values);
}
static void put_int(cudnn_graph *g, void *descriptor, int name, int type, int value) {
    put(g, descriptor, name, type, 1, &value); /* enumerations of cuDNN are ints */
}
static void put_descriptor(cudnn_graph *g, void *descriptor, int name, void *value) {
    put(g, descriptor, name, OF_DESCRIPTOR, 1, &value);
}
static void finish(cudnn_graph *g, void *descriptor) {
    if (!g->status) g->status = g->calls->finalize(descriptor);
}

static void finish_op(cudnn_graph *g, void *op) {
    if (!g->status && g->n_ops == CUDNN_MOST_OPS) g->status = OUT_OF_MEMORY;
    finish(g, op);
    if (!g->status) g->ops[g->n_ops++] = op;
}

static void *tensor(cudnn_graph *g, int64_t id, cudnn_type type, const cudnn_shape *shape, bool by_value) {
    int64_t alignment = 16;
    bool inside = id == 0;
    void *t = make(g, TENSOR);
    if (inside) id = FIRST_INSIDE + g->n_inside++;
    put_int(g, t, TENSOR_TYPE, OF_DATA_TYPE, (int)type);
    put(g, t, TENSOR_DIMS, OF_INT64, 4, shape->dims);
    put(g, t, TENSOR_STRIDES, OF_INT64, 4, shape->strides);
    put(g, t, TENSOR_ID, OF_INT64, 1, &id);
    put(g, t, TENSOR_ALIGNMENT, OF_INT64, 1, &alignment);
    put(g, t, TENSOR_IS_VIRTUAL, OF_BOOL, 1, &inside);
    put(g, t, TENSOR_IS_BY_VALUE, OF_BOOL, 1, &by_value);
    finish(g, t);
    return t;
}

void *cudnn_tensor(cudnn_graph *g, int64_t id, cudnn_type type, const cudnn_shape *shape) {
    return tensor(g, id, type, shape, false);
}

void *cudnn_scalar(cudnn_graph *g, int64_t id) {
    const cudnn_shape one = {{1, 1, 1, 1}, {1, 1, 1, 1}};
    return tensor(g, id, CUDNN_F32, &one, true);
}

void cudnn_add_matmul(cudnn_graph *g, void *a, void *b, void *c) {
    void *how = make(g, MATMUL), *op = make(g, OPERATION_MATMUL);
    put_int(g, how, MATMUL_PRECISION, OF_DATA_TYPE, CUDNN_F32);
    finish(g, how);
    put_descriptor(g, op, OPERATION_MATMUL_A, a);
    put_descriptor(g, op, OPERATION_MATMUL_B, b);
    put_descriptor(g, op, OPERATION_MATMUL_C, c);
    put_descriptor(g, op, OPERATION_MATMUL_HOW, how);
    finish_op(g, op);
}

void cudnn_add_pointwise(cudnn_graph *g, cudnn_pointwise mode, int64_t axis, void *x, void *b, void *t, void *y) {
    void *how = make(g, POINTWISE), *op = make(g, OPERATION_POINTWISE);
    put_int(g, how, POINTWISE_MODE, OF_POINTWISE_MODE, (int)mode);
    put_int(g, how, POINTWISE_PRECISION, OF_DATA_TYPE, CUDNN_F32);
    if (mode == CUDNN_INDEX) put(g, how, POINTWISE_AXIS, OF_INT64, 1, &axis);
    finish(g, how);
    put_descriptor(g, op, OPERATION_POINTWISE_HOW, how);
    put_descriptor(g, op, OPERATION_POINTWISE_X, x);
    if (b) put_descriptor(g, op, OPERATION_POINTWISE_B, b);
    if (t) put_descriptor(g, op, OPERATION_POINTWISE_T, t);
    put_descriptor(g, op, OPERATION_POINTWISE_Y, y);
    finish_op(g, op);
}

void cudnn_add_reduction(cudnn_graph *g, cudnn_reduction mode, void *x, void *y) {
    void *how = make(g, REDUCTION), *op = make(g, OPERATION_REDUCTION);
    put_int(g, how, REDUCTION_OPERATOR, OF_REDUCTION, (int)mode);
    put_int(g, how, REDUCTION_PRECISION, OF_DATA_TYPE, CUDNN_F32);
    finish(g, how);
    put_descriptor(g, op, OPERATION_REDUCTION_X, x);
    put_descriptor(g, op, OPERATION_REDUCTION_Y, y);
    put_descriptor(g, op, OPERATION_REDUCTION_HOW, how);
    finish_op(g, op);
}

void cudnn_add_reshape(cudnn_graph *g, void *x, void *y) {
    void *op = make(g, OPERATION_RESHAPE);
    put_descriptor(g, op, OPERATION_RESHAPE_X, x);
    put_descriptor(g, op, OPERATION_RESHAPE_Y, y);
    finish_op(g, op);
}

void cudnn_graph_free(cudnn_graph *g) {
    /* plain host memory: nothing that could be done if it stayed */
    while (g->n_owned) (void)g->calls->free_descriptor(g->owned[--g->n_owned]);
    g->n_ops = 0;
}

/* --- plans -------------------------------------------------------------------------------------------------------- */

/* What cuDNN says of a configuration's engine. A note that cannot be read counts as not deterministic. */
static void read_engine(cudnn_graph *g, void *configuration, cudnn_plan *plan) {
    void *engine = make(g, ENGINE);
    int64_t n = 0;
    int notes[MOST_NOTES] = {0};
    plan->deterministic = false;
    if (g->calls->get(configuration, CONFIGURATION_ENGINE, OF_DESCRIPTOR, 1, &n, &engine)) return;
    if (g->calls->get(engine, ENGINE_INDEX, OF_INT64, 1, &n, &plan->engine)) plan->engine = -1;
    if (g->calls->get(engine, ENGINE_NUMERICAL_NOTE, OF_NUMERICAL_NOTE, MOST_NOTES, &n, notes)) return;
    plan->deterministic = true;
    for (int64_t k = 0; k < n && k < MOST_NOTES; k++) plan->deterministic &= notes[k] != NOTE_NONDETERMINISTIC;
}

static int compile(cudnn_graph *g, const cudnn_target *target, void *configuration, cudnn_plan *plan) {
    const cudnn_calls *calls = g->calls;
    int64_t n = 0;
    int status = calls->new_descriptor(EXECUTION_PLAN, &plan->descriptor);
    if (!status && target->handle) status = calls->set(plan->descriptor, PLAN_HANDLE, OF_HANDLE, 1, &target->handle);
    if (!status && target->properties)
        status = calls->set(plan->descriptor, PLAN_PROPERTIES, OF_DESCRIPTOR, 1, &target->properties);
    if (!status) status = calls->set(plan->descriptor, PLAN_CONFIGURATION, OF_DESCRIPTOR, 1, &configuration);
    if (!status) status = calls->finalize(plan->descriptor);
    if (!status) status = calls->get(plan->descriptor, PLAN_WORKSPACE, OF_INT64, 1, &n, &plan->workspace);
    if (status) cudnn_plan_free(calls, plan);
    return status;
}

/* Configurations for the graph, best first. */
static int64_t ask(cudnn_graph *g, const cudnn_target *target, void **configurations) {
    void *all = make(g, OPERATION_GRAPH), *heuristics = make(g, HEURISTICS);
    int64_t n = 0;
    if (target->handle) put(g, all, GRAPH_HANDLE, OF_HANDLE, 1, &target->handle);
    put(g, all, GRAPH_OPS, OF_DESCRIPTOR, g->n_ops, g->ops);
    finish(g, all);
    put_descriptor(g, heuristics, HEURISTICS_GRAPH, all);
    put_int(g, heuristics, HEURISTICS_MODE, OF_HEURISTIC_MODE, MODE_A);
    if (target->properties) put_descriptor(g, heuristics, HEURISTICS_PROPERTIES, target->properties);
    finish(g, heuristics);
    for (int k = 0; k < MOST_CONFIGURATIONS; k++) configurations[k] = make(g, ENGINE_CONFIGURATION);
    if (!g->status)
        g->status = g->calls->get(heuristics, HEURISTICS_RESULTS, OF_DESCRIPTOR, MOST_CONFIGURATIONS, &n,
                                  configurations);
    return g->status ? 0 : n < MOST_CONFIGURATIONS ? n : MOST_CONFIGURATIONS;
}

int cudnn_plan_make(cudnn_graph *g, const cudnn_target *target, bool deterministic, cudnn_plan *plan) {
    void *configurations[MOST_CONFIGURATIONS];
    *plan = (cudnn_plan){0};
    int64_t n = ask(g, target, configurations);
    int status = g->status ? g->status : NO_ENGINE;
    for (int64_t k = 0; k < n && status; k++) {
        read_engine(g, configurations[k], plan);
        if (deterministic && !plan->deterministic) continue;
        status = compile(g, target, configurations[k], plan);
    }
    return status;
}

void cudnn_plan_free(const cudnn_calls *calls, cudnn_plan *plan) {
    if (plan->descriptor) (void)calls->free_descriptor(plan->descriptor);
    plan->descriptor = NULL;
}

int cudnn_plan_run(const cudnn_calls *calls, void *handle, const cudnn_plan *plan, uint32_t n, const int64_t *ids,
                   void *const *addresses, void *workspace) {
    void *pack = NULL;
    int status = calls->new_descriptor(VARIANT_PACK, &pack);
    if (!status) status = calls->set(pack, PACK_IDS, OF_INT64, n, ids);
    if (!status) status = calls->set(pack, PACK_ADDRESSES, OF_POINTER, n, addresses);
    if (!status) status = calls->set(pack, PACK_WORKSPACE, OF_POINTER, 1, &workspace);
    if (!status) status = calls->finalize(pack);
    if (!status) status = calls->execute(handle, plan->descriptor, pack);
    if (pack) (void)calls->free_descriptor(pack);
    return status;
}
