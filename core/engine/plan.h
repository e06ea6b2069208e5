/* core/engine/plan.h - from a graph to the list of steps that a device compiles.
 *
 * Four passes over one structure, each in its own file:
 *   lower.c   live operations only, no-ops and duplicates removed, elementwise operands left unbroadcast
 *   fuse.c    groups of elementwise operations that run as one chain
 *   layout.c  what shares memory with what, lifetimes, places in the arena
 *   plan.c    order of the groups, assignments, and the tables of include/aira/device.h
 * The result depends on the graph and the options alone: same input, same plan, bit for bit.
 *
 * Words: a *value* is a tensor of the plan, a *node* an operation, a *group* one node or a chain of them; step s of the
 * plan is the s-th group that does something. Everything lives in the plan's pool, but for the arrays of values and
 * nodes.
 */
#ifndef AIRA_ENGINE_PLAN_H
#define AIRA_ENGINE_PLAN_H

#include "aira/device.h"
#include "core/engine/pool.h"
#include "core/graph/graph.h"

#define AIRA__NONE UINT32_MAX
#define AIRA__CHAIN_STEPS 32u  /* inner steps of one chain */
#define AIRA__CHAIN_INPUTS 16u /* tensors that a chain reads */

typedef struct aira__value {
    uint32_t dtype, copies;
    aira_shape shape;
    uint32_t node;          /* producer; NONE: variable or input */
    uint32_t source;        /* index of the variable or input, NONE for others */
    uint32_t storage;       /* AIRA_STORE_x */
    uint32_t parent;        /* value whose memory this is a part of, NONE: own memory */
    uint64_t parent_offset; /* bytes */
    uint64_t offset;        /* in its buffer; of values without parent */
    uint32_t uses;          /* reading nodes, plus 1 if it is an output */
    uint32_t first, last;   /* steps between which the memory is needed; of values without parent */
    bool output;            /* must be in IO at the end */
    uint32_t id;            /* index in the finished plan, NONE: not there */
} aira__value;

typedef struct aira__step_node {
    uint32_t code, n_in, n_out, n_i, n_f, block, backward, copies;
    uint32_t *in, *out; /* values */
    const int64_t *i;
    const double *f;
    uint32_t group;
    bool again;  /* recomputed for a block's backward: not what the forward computed, and in no chain with others */
    bool repeat; /* done once more beside its reader (lower.c): not what the forward computed */
    bool copy;   /* a RESHAPE that must move data */
    bool hidden; /* does nothing at run time: its result is a part of another value */
} aira__step_node;

typedef struct aira__group {
    uint32_t first, last; /* node indices: smallest and largest member */
    uint32_t level;       /* fuse.c */
    uint32_t n_nodes, room;
    uint32_t *nodes;   /* ascending; room for `room` */
    uint32_t position; /* in execution order */
} aira__group;

/* Where the variables of a session live; names are unique. */
typedef struct aira__variable_place {
    const char *name;
    uint32_t dtype;
    aira_shape shape;
    uint64_t offset, bytes;  /* in PERSISTENT; bytes of one copy */
    const aira_graph *graph; /* that declared it first */
    const aira__variable *variable;
} aira__variable_place;

typedef struct aira__variable_table {
    aira__variable_place *places;
    uint32_t n;
    uint64_t bytes;
} aira__variable_table;

typedef struct aira__named_value {
    const char *name;
    uint32_t value;
} aira__named_value;

typedef struct aira__plan_options {
    uint32_t copies; /* at least 1 */
    bool no_fusion;
    const char *const *shared_inputs; /* NULL-terminated or NULL */
} aira__plan_options;

typedef struct aira__plan {
    aira_plan table; /* for the device */
    aira__pool pool;
    aira_graph *graph; /* expanded, owned; names and attributes point into it */
    aira__plan_options options;
    const aira__variable_table *variables;
    aira__value *values;
    aira__step_node *nodes;
    aira__group *groups;
    uint32_t *order; /* groups in execution order */
    uint32_t n_values, n_nodes, n_groups, max_values, max_nodes;
    uint32_t *variable_values; /* by index in graph->variables: value of the variable, NONE if not used */
    uint32_t *variable_index;  /* by index in graph->variables: index in the session's table */
    aira__named_value *inputs, *outputs;
    uint32_t n_inputs, n_outputs;
} aira__plan;

/* graph is taken over, even on failure. variables must hold every variable of the graph. */
aira_status aira__plan_create(aira_graph *graph, const aira__variable_table *variables, const aira__plan_options *,
                              aira__plan **, aira_error *);
void aira__plan_destroy(aira__plan *);
char *aira__plan_describe(const aira__plan *); /* malloc'ed */

/* The passes. */
aira_status aira__plan_lower(aira__plan *, aira_error *);
aira_status aira__plan_fuse(aira__plan *, aira_error *);
aira_status aira__plan_layout(aira__plan *, aira_error *);

/* Shared by the passes. */
aira_status aira__plan_memory(aira_error *);                                 /* "out of memory while planning" */
uint32_t aira__plan_value(aira__plan *, uint32_t dtype, const aira_shape *); /* a new value, NONE if out of memory */
bool aira__same_shape(const aira_shape *, const aira_shape *);
uint64_t aira__value_bytes(const aira__value *); /* of one copy */
/* The value that owns v's memory, and v's offset in it. */
uint32_t aira__value_root(const aira__plan *, uint32_t v, uint64_t *offset);

#endif
