/* chain.c - elementwise steps, alone or fused, run tile by tile.
 *
 * A chain is a short program over one iteration space. For every tile of TILE elements its operands are brought into
 * buffers in the computing type (or used in place where they lie so already), each instruction runs as one simple loop,
 * and results that live outside the chain are stored at once; so intermediate values never leave the L1 cache.
 *
 * The computing type is double if an F64 or I32 tensor takes part (I32 is exact in double), else float. Temporaries of
 * a chain keep the computing type's precision; only an explicit CAST to a narrower type rounds.
 *
 * Operands broadcast: whole (same elements), scalar, or walked with strides, of which some are 0.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "elementwise.h"
#include "fast.h"

#define TILE 1024
#define TILES_PER_TASK 16

enum { WHOLE, SCALAR, WALK };

typedef struct chain_value {
    uint32_t id, dtype;
    int view;        /* index into the call's views; -1: lives inside the chain only */
    int buffer;      /* tile buffer; -1: none needed */
    int access;      /* WHOLE, SCALAR, WALK: how an operand is read */
    bool loaded;     /* an operand from outside; else a result */
    bool in_place;   /* its memory is used directly, in the computing type */
    int first, last; /* instructions that use it first and last */
    uint32_t n_dims;
    int64_t extents[AIRA_MAX_RANK], strides[AIRA_MAX_RANK]; /* WALK: outermost first, neighbours merged */
} chain_value;

typedef struct chain_instruction {
    uint32_t op;
    bool truncate;
    uint32_t narrow; /* element type that the result is rounded to, 0: none */
    int64_t mode;
    int in[3], n_in, out; /* indices of values */
} chain_instruction;

struct cpu_chain {
    chain_value *values;
    chain_instruction *code;
    uint32_t *tensors;
    uint32_t n_values, n_code, n_tensors;
    int n_buffers;
    uint32_t real;        /* AIRA_F32 or AIRA_F64 */
    bool early;           /* a result's memory overlaps an operand's: load everything first */
    const cpu_fast *fast; /* NULL: reference */
    int64_t n;
    aira_shape shape;
};

bool cpu_chain_takes(uint32_t op) {
    return (op >= AIRA_OP_NEG && op <= AIRA_OP_CAST) || (op >= AIRA_OP_ADD && op <= AIRA_OP_SILU_BACKWARD) ||
           op == AIRA_OP_WHERE || op == AIRA_OP_BROADCAST || op == AIRA_OP_ASSIGN || op == AIRA_OP_CHAIN;
}

/* --- compile ------------------------------------------------------------------------------------------------------ */

static const aira_plan_tensor *tensor_of(const aira_plan *plan, uint32_t id) {
    return (const aira_plan_tensor *)((const char *)plan->tensors + (size_t)id * plan->tensor_stride);
}

static int view_of(cpu_chain *chain, uint32_t id) {
    for (uint32_t k = 0; k < chain->n_tensors; k++) {
        if (chain->tensors[k] == id) return (int)k;
    }
    chain->tensors[chain->n_tensors] = id;
    return (int)chain->n_tensors++;
}

/* Strides of an operand of `shape` in the iteration space `over`, right-aligned; false if it does not broadcast. */
static bool walk_of(chain_value *value, const aira_shape *shape, const aira_shape *over) {
    int64_t stride = 1;
    int64_t extents[AIRA_MAX_RANK], strides[AIRA_MAX_RANK];
    if (shape->rank > over->rank) return false;
    for (uint32_t k = 0; k < over->rank; k++) {
        uint32_t axis = over->rank - 1 - k;
        int64_t extent = k < shape->rank ? shape->dims[shape->rank - 1 - k] : 1;
        if (extent != 1 && extent != over->dims[axis]) return false;
        extents[axis] = over->dims[axis];
        strides[axis] = extent == 1 ? 0 : stride;
        stride *= extent;
    }
    value->n_dims = 0;
    for (uint32_t axis = 0; axis < over->rank; axis++) {
        if (extents[axis] == 1) continue;
        uint32_t d = value->n_dims;
        if (d > 0 && value->strides[d - 1] == strides[axis] * extents[axis]) {
            value->extents[d - 1] *= extents[axis];
            value->strides[d - 1] = strides[axis];
        } else {
            value->extents[d] = extents[axis];
            value->strides[d] = strides[axis];
            value->n_dims++;
        }
    }
    if (cpu_elements(shape) == 1) {
        value->access = SCALAR;
    } else if (cpu_elements(shape) == cpu_elements(over)) {
        value->access = WHOLE;
    } else {
        value->access = WALK;
    }
    return true;
}

/* The value that instruction `at` reads as tensor id: a result of the chain, or an operand from outside. */
static int operand_value(cpu_chain *chain, const aira_plan *plan, uint32_t id, int at) {
    for (uint32_t k = 0; k < chain->n_values; k++) {
        chain_value *value = &chain->values[k];
        if (value->id == id) {
            value->last = at;
            return (int)k;
        }
    }
    const aira_plan_tensor *tensor = tensor_of(plan, id);
    if (tensor->storage == AIRA_STORE_CHAIN) return -1;
    chain_value *value = &chain->values[chain->n_values];
    *value = (chain_value){.id = id, .dtype = tensor->dtype, .loaded = true, .first = at, .last = at, .buffer = -1};
    value->view = view_of(chain, id);
    if (!walk_of(value, &tensor->shape, &chain->shape)) return -1;
    return (int)chain->n_values++;
}

static const char *add_instruction(cpu_chain *chain, const aira_plan *plan, const aira_plan_step *step, int at) {
    chain_instruction *code = &chain->code[chain->n_code++];
    if (!cpu_chain_takes(step->op) || step->op == AIRA_OP_CHAIN || step->n_in > 3 || step->n_out != 1) {
        return "the plan holds a chain with an operation that is not elementwise";
    }
    const aira_plan_tensor *out = tensor_of(plan, step->out[0]);
    if (cpu_elements(&out->shape) != chain->n) return "the plan holds a chain whose results differ in shape";
    *code = (chain_instruction){.op = step->op, .n_in = (int)step->n_in, .mode = step->n_i ? step->i[0] : 0};
    code->truncate = out->dtype == AIRA_I32;
    if (step->op == AIRA_OP_CAST && out->dtype != chain->real) code->narrow = out->dtype;
    for (uint32_t k = 0; k < step->n_in; k++) {
        code->in[k] = operand_value(chain, plan, step->in[k], at);
        if (code->in[k] < 0) return "the plan holds a chain operand that has no value or does not broadcast";
    }
    chain_value *value = &chain->values[chain->n_values];
    *value = (chain_value){.id = step->out[0], .dtype = out->dtype, .first = at, .last = at, .buffer = -1, .view = -1};
    if (step->op == AIRA_OP_ASSIGN) value->id = UINT32_MAX; /* later steps do not read the variable through it */
    if (out->storage != AIRA_STORE_CHAIN) value->view = view_of(chain, step->out[0]);
    code->out = (int)chain->n_values++;
    return NULL;
}

static bool overlaps(const aira_plan_tensor *a, const aira_plan_tensor *b) {
    uint64_t a_end = a->offset + (uint64_t)cpu_elements(&a->shape) * cpu_bytes_of(a->dtype) * a->copies;
    uint64_t b_end = b->offset + (uint64_t)cpu_elements(&b->shape) * cpu_bytes_of(b->dtype) * b->copies;
    return a->storage == b->storage && a->offset < b_end && b->offset < a_end;
}

static void find_overlaps(cpu_chain *chain, const aira_plan *plan) {
    for (uint32_t r = 0; r < chain->n_values; r++) {
        const chain_value *result = &chain->values[r];
        if (result->loaded || result->view < 0 || result->id == UINT32_MAX) continue;
        for (uint32_t k = 0; k < chain->n_values; k++) {
            if (chain->values[k].loaded &&
                overlaps(tensor_of(plan, result->id), tensor_of(plan, chain->values[k].id))) {
                chain->early = true;
            }
        }
    }
}

/* Gives every value that needs one a tile buffer; buffers of values that nobody reads any more are used again. */
static void place_buffers(cpu_chain *chain, int *free_list) {
    int n_free = 0;
    for (uint32_t k = 0; k < chain->n_values; k++) {
        chain_value *value = &chain->values[k];
        bool scalar = value->loaded && value->access == SCALAR; /* filled once per task, before anything runs */
        if (value->loaded && (chain->early || scalar)) value->first = 0;
        value->in_place = value->view >= 0 && value->dtype == chain->real &&
                          (!value->loaded || (value->access == WHOLE && !chain->early));
    }
    for (int at = 0; at < (int)chain->n_code; at++) {
        for (uint32_t k = 0; k < chain->n_values; k++) {
            chain_value *value = &chain->values[k];
            if (value->first != at || value->in_place) continue;
            value->buffer = n_free > 0 ? free_list[--n_free] : chain->n_buffers++;
        }
        for (uint32_t k = 0; k < chain->n_values; k++) {
            const chain_value *value = &chain->values[k];
            bool scalar = value->loaded && value->access == SCALAR;
            if (value->last == at && value->buffer >= 0 && !scalar) free_list[n_free++] = value->buffer;
        }
    }
}

/* Inner step s: a host with newer headers has longer steps. */
static const aira_plan_step *inner_step(const aira_plan *plan, const aira_plan_step *steps, uint32_t s) {
    return (const aira_plan_step *)(const void *)((const char *)steps + (size_t)s * plan->step_stride);
}

cpu_chain *cpu_chain_compile(const aira_plan *plan, const aira_plan_step *step, cpu_isa isa, const char **why) {
    uint32_t n = step->op == AIRA_OP_CHAIN ? step->n_chain : 1;
    const aira_plan_step *steps = step->op == AIRA_OP_CHAIN ? step->chain : step;
    cpu_chain *chain = calloc(1, sizeof *chain);
    int *free_list = malloc((4 * (size_t)n + 1) * sizeof *free_list);
    *why = NULL;
    if (!chain || !free_list) goto failed;
    chain->values = calloc(4 * (size_t)n + 1, sizeof *chain->values);
    chain->code = calloc((size_t)n + 1, sizeof *chain->code);
    chain->tensors = calloc(4 * (size_t)n + 1, sizeof *chain->tensors);
    if (!chain->values || !chain->code || !chain->tensors) goto failed;
    if (n == 0 || steps[0].n_out != 1) {
        *why = "the plan holds an empty chain";
        goto failed;
    }
    chain->fast = cpu_fast_of(isa);
    chain->real = AIRA_F32;
    chain->shape = tensor_of(plan, steps[0].out[0])->shape;
    chain->n = cpu_elements(&chain->shape);
    for (uint32_t s = 0; s < n; s++) {
        const aira_plan_step *inner = inner_step(plan, steps, s);
        for (uint32_t k = 0; k < inner->n_in + inner->n_out; k++) {
            uint32_t id = k < inner->n_in ? inner->in[k] : inner->out[k - inner->n_in];
            uint32_t dtype = tensor_of(plan, id)->dtype;
            if (dtype == AIRA_F64 || dtype == AIRA_I32) chain->real = AIRA_F64;
        }
    }
    for (uint32_t s = 0; s < n; s++) {
        *why = add_instruction(chain, plan, inner_step(plan, steps, s), (int)s);
        if (*why) goto failed;
    }
    find_overlaps(chain, plan);
    place_buffers(chain, free_list);
    free(free_list);
    return chain;
failed:
    free(free_list);
    cpu_chain_destroy(chain);
    return NULL;
}

void cpu_chain_destroy(cpu_chain *chain) {
    if (!chain) return;
    free(chain->values);
    free(chain->code);
    free(chain->tensors);
    free(chain);
}

const uint32_t *cpu_chain_tensors(const cpu_chain *chain, uint32_t *n) {
    *n = chain->n_tensors;
    return chain->tensors;
}

uint32_t cpu_chain_uses(const cpu_chain *chain, uint32_t k) {
    uint32_t uses = 0;
    for (uint32_t v = 0; v < chain->n_values; v++) {
        if (chain->values[v].view == (int)k) uses |= chain->values[v].loaded ? CPU_READS : CPU_WRITES;
    }
    return uses;
}

const aira_shape *cpu_chain_shape(const cpu_chain *chain) { return &chain->shape; }

/* cpu_convert, with the instruction set's loops where it has them. */
static void convert(const cpu_chain *chain, void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype,
                    int64_t n) {
    if (chain->fast && to_dtype == AIRA_F32 && from_dtype == AIRA_BF16) {
        chain->fast->from_bf16(to, from, n);
    } else if (chain->fast && to_dtype == AIRA_BF16 && from_dtype == AIRA_F32) {
        chain->fast->to_bf16(to, from, n);
    } else {
        cpu_convert(to, to_dtype, from, from_dtype, n);
    }
}

/* --- run ---------------------------------------------------------------------------------------------------------- */

static void fill(void *to, uint32_t real, const void *from, uint32_t dtype, int64_t n) {
    if (real == AIRA_F64) {
        double value = 0;
        cpu_convert(&value, real, from, dtype, 1);
        for (int64_t k = 0; k < n; k++) ((double *)to)[k] = value;
    } else {
        float value = 0;
        cpu_convert(&value, real, from, dtype, 1);
        for (int64_t k = 0; k < n; k++) ((float *)to)[k] = value;
    }
}

/* Elements start .. start+n-1 of the iteration space of a walked operand. */
static void walk(const cpu_chain *chain, char *to, const chain_value *value, const char *data, int64_t start,
                 int64_t n) {
    uint32_t real = chain->real;
    int64_t index[AIRA_MAX_RANK], offset = 0, rest = start;
    int inner = (int)value->n_dims - 1;
    size_t bytes = cpu_bytes_of(value->dtype), real_bytes = cpu_bytes_of(real);
    for (int d = inner; d >= 0; d--) {
        index[d] = rest % value->extents[d];
        rest /= value->extents[d];
        offset += index[d] * value->strides[d];
    }
    while (n > 0) {
        int64_t run = value->extents[inner] - index[inner];
        if (run > n) run = n;
        if (value->strides[inner] == 0) {
            fill(to, real, data + (size_t)offset * bytes, value->dtype, run);
        } else {
            convert(chain, to, real, data + (size_t)offset * bytes, value->dtype, run);
        }
        to += (size_t)run * real_bytes;
        n -= run;
        offset -= index[inner] * value->strides[inner];
        index[inner] = 0;
        for (int d = inner - 1; d >= 0; d--) {
            offset += value->strides[d];
            if (++index[d] < value->extents[d]) break;
            offset -= value->extents[d] * value->strides[d];
            index[d] = 0;
        }
    }
}

typedef struct chain_job {
    const cpu_call *call;
    const cpu_chain *chain;
    int64_t n; /* elements to run */
} chain_job;

static void load_operands(const cpu_chain *chain, const cpu_view *views, char **at, int instruction, int64_t start,
                          int64_t n) {
    for (uint32_t k = 0; k < chain->n_values; k++) {
        const chain_value *value = &chain->values[k];
        if (!value->loaded || value->first != instruction || value->in_place || value->access == SCALAR) continue;
        const char *data = views[value->view].data;
        if (value->access == WHOLE) {
            data += (size_t)start * cpu_bytes_of(value->dtype);
            convert(chain, at[k], chain->real, data, value->dtype, n);
        } else {
            walk(chain, at[k], value, data, start, n);
        }
    }
}

static void run_instruction(const cpu_chain *chain, const chain_instruction *code, char **at, int64_t n, void *spare) {
    const void *in[3] = {NULL, NULL, NULL};
    for (int k = 0; k < code->n_in; k++) in[k] = at[code->in[k]];
    void *out = at[code->out];
    if (chain->real == AIRA_F64) {
        cpu_elementwise_f64(code->op, code->mode, code->truncate, n, out, in[0], in[1], in[2]);
    } else if (chain->fast) {
        chain->fast->elementwise(code->op, code->mode, code->truncate, n, out, in[0], in[1], in[2]);
    } else {
        cpu_elementwise_f32(code->op, code->mode, code->truncate, n, out, in[0], in[1], in[2]);
    }
    if (code->narrow) {
        convert(chain, spare, code->narrow, out, chain->real, n);
        convert(chain, out, chain->real, spare, code->narrow, n);
    }
}

static void run_tile(const chain_job *job, char **at, int64_t start, int64_t n, void *spare) {
    const cpu_chain *chain = job->chain;
    const cpu_view *views = job->call->in;
    for (uint32_t k = 0; k < chain->n_values; k++) {
        const chain_value *value = &chain->values[k];
        if (value->in_place) at[k] = views[value->view].data + (size_t)start * cpu_bytes_of(value->dtype);
    }
    for (uint32_t s = 0; s < chain->n_code; s++) {
        const chain_instruction *code = &chain->code[s];
        const chain_value *result = &chain->values[code->out];
        load_operands(chain, views, at, (int)s, start, n);
        run_instruction(chain, code, at, n, spare);
        if (result->view >= 0 && !result->in_place) {
            char *data = views[result->view].data + (size_t)start * cpu_bytes_of(result->dtype);
            convert(chain, data, result->dtype, at[code->out], chain->real, n);
        }
    }
}

static void run_task(void *opaque, int64_t task, cpu_worker *worker) {
    const chain_job *job = opaque;
    const cpu_chain *chain = job->chain;
    size_t bytes = TILE * cpu_bytes_of(chain->real);
    cpu_mark mark = cpu_scratch_mark(worker);
    char **at = cpu_alloc(worker, chain->n_values * sizeof *at);
    char *buffers = cpu_alloc(worker, (size_t)(chain->n_buffers + 1) * bytes);
    if (at && buffers) {
        for (uint32_t k = 0; k < chain->n_values; k++) {
            const chain_value *value = &chain->values[k];
            at[k] = value->buffer < 0 ? NULL : buffers + (size_t)value->buffer * bytes;
            if (value->loaded && value->access == SCALAR && !value->in_place) {
                fill(at[k], chain->real, job->call->in[value->view].data, value->dtype, TILE);
            }
        }
        for (int64_t t = 0; t < TILES_PER_TASK; t++) {
            int64_t start = (task * TILES_PER_TASK + t) * TILE;
            if (start >= job->n) break;
            int64_t n = job->n - start < TILE ? job->n - start : TILE;
            run_tile(job, at, start, n, buffers + (size_t)chain->n_buffers * bytes);
        }
    }
    cpu_release(worker, mark);
}

void cpu_chain_run(const cpu_call *call) {
    chain_job job = {.call = call, .chain = call->state};
    int64_t per_task = (int64_t)TILE * TILES_PER_TASK;
    job.n = call->all_units ? job.chain->n / call->all_units * call->units : job.chain->n;
    cpu_parallel(call->worker, (job.n + per_task - 1) / per_task, run_task, &job);
}
