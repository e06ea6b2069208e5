/* core/graph/internal.h - what the files of core/graph share and nobody else includes. */
#ifndef AIRA_GRAPH_INTERNAL_H
#define AIRA_GRAPH_INTERNAL_H

#include "core/graph/graph.h"
#include "core/graph/splice.h"

#define AIRA_MAX_SCOPES 16
#define AIRA_MAX_PLACES 32
#define AIRA_MAX_REINITS 16

typedef struct aira__chunk aira__chunk; /* of the graph's arena */

typedef struct aira__place {
    const char *name;
    int64_t value;
    aira_tensor *tensor; /* set: this is a tensor, not an integer */
} aira__place;

typedef struct aira__reinit {
    const char *role, *init;
    double a, b;
    bool force;
} aira__reinit;

struct aira__graph_context {
    aira__chunk *chunks;
    aira__graph_limits limits;
    const char *scopes[AIRA_MAX_SCOPES];
    uint32_t n_scopes;
    aira__place places[AIRA_MAX_PLACES];
    uint32_t n_places;
    aira__reinit reinits[AIRA_MAX_REINITS];
    uint32_t n_reinits;
    aira__asked *asked; /* see splice.h */
    aira__drawn *drawn;
    uint32_t n_asked, n_drawn;
    uint32_t block, backward; /* stamped on new operations */
    uint32_t cap_ops, cap_tensors, cap_variables, cap_inputs, cap_outputs, cap_blocks, cap_aux, cap_asked, cap_drawn;
};

/* Arena of the graph: zeroed, freed with it; NULL (and sticky error) when exhausted. */
void *aira__graph_alloc(aira_graph *, size_t bytes);
char *aira__graph_copy_text(aira_graph *, const char *text);
/* Records the first sentence; always returns NULL. */
aira_tensor *aira__graph_fail(aira_graph *, aira_status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The input that counts draws, made when it is first needed. */
aira_tensor *aira__graph_draw_number(aira_graph *);
/* Grows *array (elements of size bytes) to hold one more. */
bool aira__graph_grow(aira_graph *, void **array, uint32_t *capacity, uint32_t n, size_t size);

aira__variable *aira__graph_add_variable(aira_graph *, const char *full_name, aira__variable_kind, const aira_shape *,
                                         const aira_param_info *);
/* "layers.3.mA.qkv.weight" in the graph's arena */
char *aira__graph_full_name(aira_graph *, const char *name);
uint32_t aira__graph_add_block(aira_graph *, const aira__block *); /* index + 1, 0 on failure */
void aira__graph_add_reinit(aira_graph *, const char *role, const char *init, double a, double b, bool force);

/* Shape and type rules: fills op->out's shapes and types; false after a sentence. shape and dtype: what the emitter was
   asked for, may be NULL and 0. */
bool aira__infer(aira_graph *, aira__op *op, const aira_shape *shape, uint32_t dtype, aira_shape *out_shapes,
                 uint32_t *out_dtypes);
bool aira__is_float(uint32_t dtype);
uint32_t aira__promote(uint32_t a, uint32_t b);
bool aira__shape_equal(const aira_shape *, const aira_shape *);
aira_shape aira__shape_of(uint32_t rank, ...); /* int64_t extents */
uint32_t aira__op_arity_out(uint32_t code);

/* Short forms used by gradients and expansions; all accept NULL. */
aira_tensor *aira__unary(aira_graph *, uint32_t code, aira_tensor *);
aira_tensor *aira__binary(aira_graph *, uint32_t code, aira_tensor *, aira_tensor *);
aira_tensor *aira__scalar(aira_graph *, double value, uint32_t dtype);
aira_tensor *aira__scaled(aira_graph *, aira_tensor *, double factor);
aira_tensor *aira__to_type(aira_graph *, aira_tensor *, uint32_t dtype);
aira_tensor *aira__reshaped(aira_graph *, aira_tensor *, const aira_shape *);
aira_tensor *aira__permuted(aira_graph *, aira_tensor *, const int64_t *order);
aira_tensor *aira__sliced(aira_graph *, aira_tensor *, int64_t axis, int64_t start, int64_t length);
aira_tensor *aira__padded(aira_graph *, aira_tensor *, int64_t axis, int64_t before, int64_t after, double value);
aira_tensor *aira__broadcasted(aira_graph *, aira_tensor *, const aira_shape *);
aira_tensor *aira__summed(aira_graph *, aira_tensor *, uint32_t mask, bool keep, uint32_t dtype);
aira_tensor *aira__concatenated(aira_graph *, aira_tensor *const *, uint32_t n, int64_t axis);
aira_tensor *aira__multiplied(aira_graph *, aira_tensor *a, aira_tensor *b, bool trans_a, bool trans_b, uint32_t dtype);
/* Sums t over the axes that broadcasting from shape to t's shape stretched. */
aira_tensor *aira__reduced_to(aira_graph *, aira_tensor *, const aira_shape *, uint32_t dtype);
aira_tensor *aira__indices(aira_graph *, const aira_shape *, uint32_t axis, uint32_t dtype);

/* Gradient rules: op's results have gradients dy (NULL where none); writes the operands' gradients into dx. */
typedef void (*aira__gradient_rule)(aira_graph *, aira__op *op, aira_tensor **dy, const bool *needed, aira_tensor **dx);
aira__gradient_rule aira__gradient_rule_of(uint32_t code); /* NULL: not differentiable */
aira__gradient_rule aira__composite_rule_of(uint32_t code);

/* Copying a graph (copy.c): start, every operation in some order that has operands first, finish. mapped: by tensor id
   in from, its image in to. A pass may put another image there. */
typedef struct aira__copier {
    const aira_graph *from;
    aira_graph *to;
    aira_tensor **mapped;
} aira__copier;
aira_status aira__copy_start(aira__copier *, const aira_graph *from, aira_error *); /* AIRA_OK: finish must follow */
void aira__copy_op(aira__copier *, const aira__op *);
/* On given operands, with another backward stamp; maps nothing. NULL where emitting failed or there is no result. */
aira__op *aira__copy_op_on(aira__copier *, const aira__op *, aira_tensor *const *in, uint32_t backward);
aira_graph *aira__copy_finish(aira__copier *, aira_error *); /* the copy, or NULL */

/* Expansion of one composite: in and out are operands and results in F32/F64 (the caller casts). */
typedef void (*aira__expander)(aira_graph *, const aira__op *op, aira_tensor **in, aira_tensor **out);
aira__expander aira__expander_of(uint32_t code);

#endif
