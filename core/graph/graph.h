/* core/graph/graph.h - the static graph behind aira_ops: what the host sees of it.
 *
 * A graph is a list of operations in an order in which every operand comes first, plus tables of variables (parameters
 * and state), inputs, outputs and blocks. It is pure: no device, no file, no global. Everything that plugins do through
 * aira_ops lands here; autograd appends to the same list; expansion copies it with composites replaced.
 *
 * Ownership: everything reachable from a graph dies with aira__graph_destroy. Threads: one per graph.
 */
#ifndef AIRA_GRAPH_GRAPH_H
#define AIRA_GRAPH_GRAPH_H

#include <stdbool.h>

#include "aira/backbone.h"
#include "aira/graph.h"
#include "aira/op_table.h"
#include "core/base/error.h"

struct aira_tensor {
    aira_graph *graph;
    uint32_t id;     /* index into graph->tensors */
    uint32_t op;     /* index of the producing operation */
    uint32_t output; /* which of its results */
    uint32_t dtype;
    aira_shape shape;
};

/* What an operation of a block is: forward, made by differentiating the block, or forward once more (recompute.c). */
enum { AIRA__FORWARD = 0, AIRA__BACKWARD = 1, AIRA__RECOMPUTED = 2 };

typedef struct aira__op {
    uint32_t code; /* AIRA_OP_x */
    uint32_t n_in, n_out, n_i, n_f;
    uint32_t block;    /* index + 1 of the block it belongs to; 0: none */
    uint32_t backward; /* AIRA__FORWARD .. AIRA__RECOMPUTED */
    aira_tensor **in, **out;
    int64_t *i;
    double *f;
} aira__op;

typedef enum { AIRA_VARIABLE_PARAM, AIRA_VARIABLE_STATE } aira__variable_kind;
typedef struct aira__variable {
    const char *name; /* "layers.3.mA.qkv.weight"; unique in the graph */
    uint64_t hash;    /* of the name: names are looked up often and begin alike */
    aira__variable_kind kind;
    uint32_t dtype; /* storage: F32, or F64 in an fp64 graph */
    uint32_t flags; /* AIRA_PARAM_x */
    aira_shape shape;
    const char *role;
    const char *init; /* as aira_param_info.init */
    double a, b, init_mult, lr_mult, decay_mult;
    aira_tensor *value;  /* initial value as an expression, or NULL */
    aira_tensor *leaf;   /* the PARAM operation's result, in storage type */
    aira_tensor *tensor; /* what ops->param returned: leaf, or its cast to the compute type */
} aira__variable;

typedef struct aira__input {
    const char *name;
    aira_tensor *tensor;
} aira__input;

typedef struct aira__output {
    const char *name; /* "loss", "logits", "metric.balance", ... */
    aira_tensor *tensor;
} aira__output;

typedef struct aira__block {
    uint32_t layer, norm;
    const char *token, *primitive; /* "mA", plugin id */
    const char *config;            /* canonical JSON of the primitive's configuration */
} aira__block;

typedef struct aira__aux {
    const char *name;
    aira_tensor *scalar;
    double weight;
} aira__aux;

typedef struct aira__graph_context aira__graph_context; /* builder state: scopes, context values */

struct aira_graph {
    aira__op **ops;
    aira_tensor **tensors;
    aira__variable **variables;
    aira__input *inputs;
    aira__output *outputs;
    aira__block *blocks;
    aira__aux *aux_losses;
    uint32_t n_ops, n_tensors, n_variables, n_inputs, n_outputs, n_blocks, n_aux_losses;
    uint32_t compute_dtype; /* F32, BF16 or F64: type of activations */
    uint32_t storage_dtype; /* F32 or F64: type of variables */
    aira_status status;     /* sticky */
    char error[1024];       /* first sentence */
    aira__graph_context *context;
};

typedef struct aira__graph_limits { /* refuse what a hostile or mistaken build would ask for */
    uint32_t max_ops;               /* 0: 1,000,000 */
    int64_t max_elements;           /* of one tensor; 0: 2^40 */
} aira__graph_limits;

/* compute: AIRA_F32, AIRA_BF16 or AIRA_F64 (then variables are F64 too). NULL when out of memory. */
aira_graph *aira__graph_create(uint32_t compute, const aira__graph_limits *);
void aira__graph_destroy(aira_graph *);
const aira_ops *aira__graph_ops(void); /* the table that plugins get */
/* AIRA_OK, or the first sentence that building recorded, in error. */
aira_status aira__graph_check(const aira_graph *, aira_error *);

aira_tensor *aira__graph_input(aira_graph *, const char *name, uint32_t dtype, const aira_shape *);
void aira__graph_output(aira_graph *, const char *name, aira_tensor *);     /* the name must be new */
aira_tensor *aira__graph_find_output(const aira_graph *, const char *name); /* NULL if none */
aira__variable *aira__graph_find_variable(const aira_graph *, const char *name);
/* A state variable, zero at first; kept in the storage type. */
aira__variable *aira__graph_state(aira_graph *, const char *name, const aira_shape *);
/* At the end of the program, variable = value (cast to its storage type). */
void aira__graph_assign(aira_graph *, aira__variable *, aira_tensor *value);

/* Place: context for ctx_int / ctx_tensor, and the prefix of parameter names. */
void aira__graph_set_int(aira_graph *, const char *name, int64_t value);
void aira__graph_set_tensor(aira_graph *, const char *name, aira_tensor *); /* NULL removes it */
void aira__graph_push_scope(aira_graph *, const char *prefix);              /* "layers.3" */
void aira__graph_pop_scope(aira_graph *);

/* Any op of the table by code, shapes inferred, operands checked: the one way operations come into being. */
aira_tensor *aira__graph_emit(aira_graph *, uint32_t code, aira_tensor *const *in, uint32_t n_in, const int64_t *i,
                              uint32_t n_i, const double *f, uint32_t n_f, const aira_shape *shape, uint32_t dtype);

/* Reverse-mode differentiation (gradients.c). grads[k] gets d loss / d wrt[k] in wrt[k]'s type, NULL where loss does
   not depend on it. loss is a scalar. Appends to the graph. */
aira_status aira__graph_gradients(aira_graph *, aira_tensor *loss, aira_tensor *const *wrt, uint32_t n,
                                  aira_tensor **grads, aira_error *);
/* The same with a given gradient of y (same shape) instead of 1. */
aira_status aira__graph_pullback(aira_graph *, aira_tensor *const *y, aira_tensor *const *dy, uint32_t n_y,
                                 aira_tensor *const *wrt, uint32_t n, aira_tensor **grads, aira_error *);

/* A copy in which every composite that `native` refuses is replaced by plain operations (expand.c). native NULL:
   all of them. Names of variables, inputs, outputs stay. */
typedef bool (*aira__native_fn)(void *context, const aira__op *op);
aira_graph *aira__graph_expand(const aira_graph *, aira__native_fn native, void *context, aira_error *);

/* A copy in which a head's product and its cross-entropy are one operation, without logits (rewrite_head.c), wherever
   `native` takes that operation. *out NULL: there is no such place. */
aira_status aira__graph_fuse_head(const aira_graph *, aira__native_fn native, void *context, aira_graph **out,
                                  aira_error *);

/* A copy of a differentiated graph in which every block's backward computes the block's forward again from the block's
   input, instead of reading what the forward left (recompute.c). NULL with a sentence. */
aira_graph *aira__graph_recompute(const aira_graph *, aira_error *);

/* Initial value of variable v under seed: keyed by hash(seed, name). out: elements doubles. */
aira_status aira__variable_initial(const aira_graph *, const aira__variable *v, uint64_t seed, double *out,
                                   aira_error *);

/* Counting (count.c). Multiply-adds count 2; contractions and composites' contractions only, causal attention at
   its useful half. */
typedef struct aira__counts {
    double flops;         /* of all operations present (forward, and backward once appended) */
    double flops_forward; /* of operations that are not backward */
    double flops_again;   /* of operations that recomputation repeats; flops counts them too */
    int64_t parameters;   /* elements of trained and frozen parameters */
    int64_t bytes_variables;
} aira__counts;
void aira__graph_count(const aira_graph *, aira__counts *);
double aira__op_flops(const aira__op *);
int64_t aira__shape_elements(const aira_shape *);
uint64_t aira__dtype_bytes(uint32_t dtype);
const char *aira__op_name(uint32_t code); /* "RMS_NORM", "?" if unknown */
const char *aira__dtype_name(uint32_t dtype);
uint32_t aira__op_class(uint32_t code);
void aira__shape_text(const aira_shape *, char *text, size_t size); /* "[32,128,64]" */

/* Serialising (serialise.c): a graph written by one process is checked, op by op and shape by shape, and run by
 * another. */
typedef struct aira__bytes {
    uint8_t *data; /* malloc'ed; the caller frees */
    size_t size;
} aira__bytes;
aira_status aira__graph_write(const aira_graph *, aira__bytes *out, aira_error *);
aira_status aira__graph_read(const uint8_t *data, size_t size, const aira__graph_limits *, aira_graph **, aira_error *);
/* Re-derives every shape and type and compares; for graphs from elsewhere and for tests. */
aira_status aira__graph_validate(const aira_graph *, aira_error *);

#endif
