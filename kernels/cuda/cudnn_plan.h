/* cudnn_plan.h - cuDNN's backend API, loaded at run time, and operation graphs described with it.
 *
 * A graph is described op by op; cuDNN finds one fused engine for the whole and compiles it. Descriptors belong to the
 * graph and go with it. The first failure of a graph sticks: later calls do nothing, so that only the end is checked.
 * Numbers are those of cuDNN 9's header cudnn_graph.h, which never change; the build needs no cuDNN.
 */
#ifndef AIRA_GPU_CUDNN_PLAN_H
#define AIRA_GPU_CUDNN_PLAN_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The calls that are used; 0 is success. */
typedef struct cudnn_calls {
    void *library;
    size_t (*version)(void); /* 91900 is 9.19.0 */
    const char *(*sentence)(int status);
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, cudaStream_t stream);
    int (*new_descriptor)(int kind, void **descriptor);
    int (*free_descriptor)(void *descriptor);
    int (*finalize)(void *descriptor);
    int (*set)(void *descriptor, int name, int type, int64_t n, const void *values);
    int (*get)(void *descriptor, int name, int type, int64_t wanted, int64_t *n, void *values);
    int (*execute)(void *handle, void *plan, void *pack);
} cudnn_calls;

/* False, with a sentence in *why: there is no cuDNN 9 here. */
bool cudnn_load(cudnn_calls *calls, const char **why);
void cudnn_unload(cudnn_calls *calls);

typedef enum cudnn_type { CUDNN_F32 = 0, CUDNN_I32 = 4, CUDNN_BF16 = 9, CUDNN_BOOL = 11 } cudnn_type;

/* What an element is computed by. */
typedef enum cudnn_pointwise {
    CUDNN_MUL = 1,
    CUDNN_DIV = 6,
    CUDNN_SUB = 9,
    CUDNN_EXP = 13,
    CUDNN_LOG = 15,
    CUDNN_ADD = 0,
    CUDNN_IDENTITY = 21,
    CUDNN_GREATER_EQUAL = 303,
    CUDNN_INDEX = 501,
    CUDNN_SELECT = 601
} cudnn_pointwise;
typedef enum cudnn_reduction { CUDNN_SUM = 0, CUDNN_LARGEST = 3 } cudnn_reduction;

#define CUDNN_MOST_OPS 32

typedef struct cudnn_graph {
    const cudnn_calls *calls;
    void *owned[160], *ops[CUDNN_MOST_OPS];
    uint32_t n_owned, n_ops;
    int64_t n_inside; /* tensors without an address */
    int status;
} cudnn_graph;

/* A tensor of four axes (batch, head, row, column); strides in elements. id 1 to 999: it lies in memory, whose address
   is given at run time under this id; id 0: it exists inside the fused kernel only. */
typedef struct cudnn_shape {
    int64_t dims[4], strides[4];
} cudnn_shape;
void *cudnn_tensor(cudnn_graph *graph, int64_t id, cudnn_type type, const cudnn_shape *shape);
/* One float, read from host memory when the plan is put on a stream. */
void *cudnn_scalar(cudnn_graph *graph, int64_t id);

/* c = a b, by batch and head; fewer heads in b are repeated. */
void cudnn_add_matmul(cudnn_graph *graph, void *a, void *b, void *c);
/* y = how(x, b, t); b, t NULL where `how` takes fewer. axis: of CUDNN_INDEX. */
void cudnn_add_pointwise(cudnn_graph *graph, cudnn_pointwise how, int64_t axis, void *x, void *b, void *t, void *y);
/* Reduces the axes whose extent is smaller in y. */
void cudnn_add_reduction(cudnn_graph *graph, cudnn_reduction how, void *x, void *y);
/* y holds the elements of x under other strides. */
void cudnn_add_reshape(cudnn_graph *graph, void *x, void *y);

void cudnn_graph_free(cudnn_graph *graph);

/* A compiled graph. */
typedef struct cudnn_plan {
    void *descriptor;
    int64_t workspace; /* bytes */
    int64_t engine;
    bool deterministic; /* as cuDNN says */
} cudnn_plan;

/* Where plans are made for: a handle, or, where there is no GPU, a finalized device-property descriptor. */
typedef struct cudnn_target {
    void *handle, *properties;
} cudnn_target;

/* The first engine that compiles, in the order of cuDNN's heuristics; deterministic: only engines that say so.
   0, or a status of cuDNN. */
int cudnn_plan_make(cudnn_graph *graph, const cudnn_target *target, bool deterministic, cudnn_plan *plan);
void cudnn_plan_free(const cudnn_calls *calls, cudnn_plan *plan);
/* Puts it on the handle's stream. Scalars' addresses are host memory and are read now. */
int cudnn_plan_run(const cudnn_calls *calls, void *handle, const cudnn_plan *plan, uint32_t n, const int64_t *ids,
                   void *const *addresses, void *workspace);

#endif
