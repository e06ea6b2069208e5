/* chain.c - from a planned elementwise step or chain to a compiled one. See chain.h. */
#include "generate.h"

#include <stdlib.h>
#include <string.h>

int gpu_chain_takes(uint32_t op) {
    return (op >= AIRA_OP_NEG && op <= AIRA_OP_CAST) || (op >= AIRA_OP_ADD && op <= AIRA_OP_SILU_BACKWARD) ||
           op == AIRA_OP_WHERE || op == AIRA_OP_BROADCAST || op == AIRA_OP_ASSIGN || op == AIRA_OP_CHAIN;
}

static const aira_plan_tensor *tensor_of(const aira_plan *plan, uint32_t id) {
    return (const aira_plan_tensor *)(const void *)((const char *)plan->tensors + (size_t)id * plan->tensor_stride);
}

static uint32_t view_of(gpu_chain *chain, uint32_t id) {
    for (uint32_t k = 0; k < chain->n_tensors; k++)
        if (chain->tensors[k] == id) return k;
    chain->tensors[chain->n_tensors] = id;
    return chain->n_tensors++;
}

/* Strides of an operand of `shape` in the iteration space `over`, right-aligned; 0 if it does not broadcast. */
static int walk_of(gpu_chain_load *load, const aira_shape *shape, const aira_shape *over) {
    int64_t stride = 1, extents[AIRA_MAX_RANK], strides[AIRA_MAX_RANK];
    if (shape->rank > over->rank) return 0;
    for (uint32_t k = 0; k < over->rank; k++) {
        uint32_t axis = over->rank - 1 - k;
        int64_t extent = k < shape->rank ? shape->dims[shape->rank - 1 - k] : 1;
        if (extent != 1 && extent != over->dims[axis]) return 0;
        extents[axis] = over->dims[axis];
        strides[axis] = extent == 1 ? 0 : stride;
        stride *= extent;
    }
    load->n_dims = 0;
    for (uint32_t axis = 0; axis < over->rank; axis++) {
        uint32_t d = load->n_dims;
        if (extents[axis] == 1) continue;
        if (d > 0 && load->strides[d - 1] == strides[axis] * extents[axis]) {
            load->extents[d - 1] *= extents[axis];
            load->strides[d - 1] = strides[axis];
            continue;
        }
        load->extents[d] = extents[axis];
        load->strides[d] = strides[axis];
        load->n_dims++;
    }
    int64_t n = gpu_elements(shape);
    load->access = n == 1 ? GPU_SCALAR : n == gpu_elements(over) ? GPU_WHOLE : GPU_WALK;
    return 1;
}

/* The value of tensor id: a result of the chain so far, or an operand from outside; -1 if there is none. */
static int value_of(gpu_chain *chain, const aira_plan *plan, uint32_t id, const aira_shape *over, uint32_t n_loads) {
    gpu_chain_program *p = &chain->program;
    for (uint32_t k = 0; k < p->n_code; k++)
        if (chain->ids[n_loads + k] == id) return (int)(n_loads + k);
    for (uint32_t k = 0; k < p->n_loads; k++)
        if (chain->ids[k] == id) return (int)k;
    const aira_plan_tensor *tensor = tensor_of(plan, id);
    if (tensor->storage == AIRA_STORE_CHAIN || p->n_loads == n_loads) return -1;
    gpu_chain_load *load = &p->loads[p->n_loads];
    *load = (gpu_chain_load){.dtype = tensor->dtype, .view = view_of(chain, id)};
    if (!walk_of(load, &tensor->shape, over)) return -1;
    chain->ids[p->n_loads] = id;
    return (int)p->n_loads++;
}

static const aira_plan_step *inner_step(const aira_plan *plan, const aira_plan_step *steps, uint32_t s) {
    return (const aira_plan_step *)(const void *)((const char *)steps + (size_t)s * plan->step_stride);
}

/* Operands from outside that the first s steps have not computed: how many there are in all. */
static uint32_t count_loads(const aira_plan *plan, const aira_plan_step *steps, uint32_t n, uint32_t *ids) {
    uint32_t n_loads = 0;
    for (uint32_t s = 0; s < n; s++) {
        const aira_plan_step *step = inner_step(plan, steps, s);
        for (uint32_t k = 0; k < step->n_in; k++) {
            int known = 0;
            for (uint32_t before = 0; before < s && !known; before++) {
                const aira_plan_step *other = inner_step(plan, steps, before);
                known = other->op != AIRA_OP_ASSIGN && other->n_out == 1 && other->out[0] == step->in[k];
            }
            for (uint32_t l = 0; l < n_loads && !known; l++) known = ids[l] == step->in[k];
            if (known) continue;
            if (n_loads == GPU_CHAIN_LOADS) return GPU_CHAIN_LOADS + 1;
            ids[n_loads++] = step->in[k];
        }
    }
    return n_loads;
}

static const char *add_instruction(gpu_chain *chain, const aira_plan *plan, const aira_plan_step *step,
                                   const aira_shape *over, uint32_t n_loads) {
    gpu_chain_program *p = &chain->program;
    if (!gpu_chain_takes(step->op) || step->op == AIRA_OP_CHAIN || step->n_in > 3 || step->n_out != 1)
        return "the plan holds a chain with an operation that is not elementwise";
    const aira_plan_tensor *out = tensor_of(plan, step->out[0]);
    gpu_chain_instruction code = {.op = (uint16_t)step->op, .n_in = (uint16_t)step->n_in, .dtype = out->dtype};
    if (gpu_elements(&out->shape) != p->n) return "the plan holds a chain whose results differ in shape";
    /* an assignment's attribute is its variable: nothing that a kernel depends on */
    code.mode = step->n_i && step->op != AIRA_OP_ASSIGN ? (uint16_t)step->i[0] : 0;
    code.truncate = out->dtype == AIRA_I32;
    if (step->op == AIRA_OP_CAST && out->dtype != (chain->wide ? AIRA_F64 : AIRA_F32))
        code.narrow = (uint16_t)out->dtype;
    for (uint32_t k = 0; k < step->n_in; k++) {
        int value = value_of(chain, plan, step->in[k], over, n_loads);
        if (value < 0) return "the plan holds a chain operand that has no value or does not broadcast";
        code.in[k] = (uint16_t)value;
    }
    if (out->storage != AIRA_STORE_CHAIN) {
        code.stored = 1;
        code.view = (uint16_t)view_of(chain, step->out[0]);
    }
    /* later steps do not read a variable through the step that assigns it */
    chain->ids[n_loads + p->n_code] = step->op == AIRA_OP_ASSIGN ? UINT32_MAX : step->out[0];
    p->code[p->n_code++] = code;
    return NULL;
}

gpu_chain *gpu_chain_make(uint32_t n_loads, uint32_t n_code) {
    size_t n = (size_t)n_loads + n_code, loads = n_loads * sizeof(gpu_chain_load);
    size_t code = n_code * sizeof(gpu_chain_instruction), ids = n * sizeof(uint32_t);
    gpu_chain *chain = calloc(1, sizeof *chain + loads + code + 2 * ids);
    if (!chain) return NULL;
    char *at = (char *)(chain + 1);
    chain->program.loads = (gpu_chain_load *)(void *)at;
    chain->program.code = (gpu_chain_instruction *)(void *)(at + loads);
    chain->tensors = (uint32_t *)(void *)(at + loads + code);
    chain->ids = (uint32_t *)(void *)(at + loads + code + ids);
    return chain;
}

gpu_chain *gpu_chain_compile(const aira_plan *plan, const aira_plan_step *step, const char **why) {
    uint32_t n = step->op == AIRA_OP_CHAIN ? step->n_chain : 1, loads[GPU_CHAIN_LOADS];
    const aira_plan_step *steps = step->op == AIRA_OP_CHAIN ? step->chain : step;
    *why = NULL;
    if (n == 0 || steps[0].n_out != 1) {
        *why = "the plan holds an empty chain";
        return NULL;
    }
    uint32_t n_loads = n <= GPU_CHAIN_CODE ? count_loads(plan, steps, n, loads) : 0;
    if (n > GPU_CHAIN_CODE || n_loads > GPU_CHAIN_LOADS) {
        *why = "the plan holds a chain that is longer than the cuda device takes";
        return NULL;
    }
    gpu_chain *chain = gpu_chain_make(n_loads, n);
    if (!chain) return NULL;
    const aira_shape *over = &tensor_of(plan, steps[0].out[0])->shape;
    chain->program.n = gpu_elements(over);
    for (uint32_t s = 0; s < n; s++) {
        const aira_plan_step *inner = inner_step(plan, steps, s);
        for (uint32_t k = 0; k < inner->n_in + inner->n_out; k++) {
            uint32_t dtype = tensor_of(plan, k < inner->n_in ? inner->in[k] : inner->out[k - inner->n_in])->dtype;
            chain->wide |= dtype == AIRA_F64 || dtype == AIRA_I32;
        }
    }
    for (uint32_t s = 0; s < n && !*why; s++)
        *why = add_instruction(chain, plan, inner_step(plan, steps, s), over, n_loads);
    if (*why) {
        gpu_chain_destroy(chain);
        return NULL;
    }
    return chain;
}

gpu_chain *gpu_chain_extend(const gpu_chain *chain, const gpu_chain_instruction *code, uint32_t id) {
    const gpu_chain_program *p = &chain->program;
    uint32_t others = chain->n_tensors > p->n_loads ? chain->n_tensors - p->n_loads : 0; /* some may be out of use */
    gpu_chain *made = gpu_chain_make(p->n_loads, (others > p->n_code ? others : p->n_code) + 1);
    if (!made) return NULL;
    gpu_chain_program *q = &made->program;
    q->n = p->n;
    q->n_loads = p->n_loads;
    q->n_code = p->n_code + 1;
    memcpy(q->loads, p->loads, p->n_loads * sizeof *p->loads);
    memcpy(q->code, p->code, p->n_code * sizeof *p->code);
    memcpy(made->tensors, chain->tensors, chain->n_tensors * sizeof *chain->tensors);
    memcpy(made->ids, chain->ids, (p->n_loads + p->n_code) * sizeof *chain->ids);
    made->n_tensors = chain->n_tensors;
    made->wide = chain->wide;
    q->code[p->n_code] = *code;
    q->code[p->n_code].view = (uint16_t)view_of(made, id);
    made->ids[p->n_loads + p->n_code] = id;
    return made;
}

void gpu_chain_destroy(gpu_chain *chain) { free(chain); }

const uint32_t *gpu_chain_tensors(const gpu_chain *chain, uint32_t *n) {
    *n = chain->n_tensors;
    return chain->tensors;
}

const char *gpu_chain_run(const gpu_chain *chain, const gpu_chain_pointers *given, struct gpu_compiler *compiler,
                          cudaStream_t stream) {
    gpu_chain_pointers pointers = *given;
    void *arguments[] = {&pointers};
    if (chain->program.n == 0) return NULL;
    int vector = gpu_chain_vector(&chain->program, &pointers);
    int64_t blocks = (chain->program.n / vector + 255) / 256;
    cudaKernel_t kernel = compiler && gpu_chain_is_compiled(chain)
                              ? gpu_compiler_kernel(compiler, &chain->program, vector, 0)
                              : NULL;
    if (!kernel) return gpu_chain_interpret(chain, &pointers, stream);
    cudaError_t error = cudaLaunchKernel((const void *)kernel, (dim3){(unsigned)blocks, 1, 1}, (dim3){256, 1, 1},
                                         arguments, 0, stream);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

static const char *run(const gpu_call *call) {
    gpu_chain_pointers pointers = {{0}};
    for (uint32_t k = 0; k < call->n_in; k++) pointers.data[k] = call->in[k].data;
    return gpu_chain_run(call->chain, &pointers, call->compiler, call->stream);
}

/* One entry stands for all: gpu_kernel_of asks gpu_chain_takes first. */
const gpu_kernel gpu_chain_kernels[] = {{AIRA_OP_CHAIN, run, NULL}, {0, NULL, NULL}};
