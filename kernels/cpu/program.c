/* program.c - from a plan to steps with kernels, and the loop that runs them.
 *
 * Copies of a stacked step are independent. Where there are many, copies are spread over the workers and each runs on
 * one; where there are few, the kernels spread their tiles. Tiles depend on shapes alone, so both give the same bits.
 */
#include "program.h"

#include "fast.h"

#include <stdlib.h>

typedef struct cpu_step {
    const aira_plan_step *step;
    cpu_kernel kernel;
    cpu_chain *chain;
    const uint32_t *in, *out; /* tensors; of a chain: all in `in` */
    uint32_t n_in, n_out;
} cpu_step;

struct cpu_program {
    const aira_plan *plan;
    cpu_step *steps;
    uint32_t n_steps;
};

static const aira_plan_tensor *tensor_of(const aira_plan *plan, uint32_t id) {
    return (const aira_plan_tensor *)((const char *)plan->tensors + (size_t)id * plan->tensor_stride);
}

cpu_kernel cpu_program_kernel(uint32_t op) {
    if (cpu_chain_takes(op)) return cpu_chain_run;
    cpu_kernel kernel = cpu_move_kernel(op);
    return kernel ? kernel : cpu_reference_kernel(op);
}

/* Fast kernels know F32 and BF16, and I32 where an op has indices. */
static bool fast_types(const aira_plan *plan, const aira_plan_step *step) {
    bool floats = false;
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        uint32_t dtype = tensor_of(plan, k < step->n_in ? step->in[k] : step->out[k - step->n_in])->dtype;
        if (dtype == AIRA_F64) return false;
        floats = floats || dtype != AIRA_I32;
    }
    return floats;
}

static const char *resolve(cpu_program *program, cpu_step *step, const aira_plan_step *from, cpu_isa isa) {
    const char *why = NULL;
    *step = (cpu_step){.step = from, .in = from->in, .out = from->out, .n_in = from->n_in, .n_out = from->n_out};
    step->kernel = cpu_program_kernel(from->op);
    if (!step->kernel) return "the plan holds an operation that the cpu device does not know";
    if (step->kernel == cpu_chain_run) {
        step->chain = cpu_chain_compile(program->plan, from, isa, &why);
        if (!step->chain) return why ? why : "out of memory";
        step->in = cpu_chain_tensors(step->chain, &step->n_in);
        step->n_out = 0;
    }
    const cpu_fast *fast = cpu_fast_of(isa);
    if (fast && !step->chain && fast_types(program->plan, from)) {
        cpu_kernel kernel = fast->kernel(from->op);
        bool halves = from->op == AIRA_OP_MATMUL && tensor_of(program->plan, from->in[0])->dtype == AIRA_BF16 &&
                      tensor_of(program->plan, from->in[1])->dtype == AIRA_BF16;
        if (halves && cpu_bf16_matmul(isa)) kernel = cpu_bf16_matmul(isa);
        if (kernel) step->kernel = kernel;
    }
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        uint32_t id = k < step->n_in ? step->in[k] : step->out[k - step->n_in];
        if (id >= program->plan->n_tensors) return "the plan names a tensor that it does not list";
        const aira_plan_tensor *tensor = tensor_of(program->plan, id);
        if (tensor->storage >= AIRA_N_BUFFERS) return "the plan uses a chain's tensor outside the chain";
        if (tensor->copies != 1 && tensor->copies != from->copies) return "the plan mixes numbers of copies";
    }
    return NULL;
}

cpu_program *cpu_program_create(const aira_plan *plan, cpu_isa isa, const char **why) {
    cpu_program *program = calloc(1, sizeof *program);
    *why = NULL;
    if (!program) return NULL;
    program->plan = plan;
    program->steps = calloc((size_t)plan->n_steps + 1, sizeof *program->steps);
    if (!program->steps) {
        free(program);
        return NULL;
    }
    for (uint32_t s = 0; s < plan->n_steps; s++) {
        const aira_plan_step *from = (const aira_plan_step *)((const char *)plan->steps +
                                                              (size_t)s * plan->step_stride);
        program->n_steps = s + 1;
        *why = resolve(program, &program->steps[s], from, isa);
        if (*why) {
            cpu_program_destroy(program);
            return NULL;
        }
    }
    return program;
}

void cpu_program_destroy(cpu_program *program) {
    if (!program) return;
    for (uint32_t s = 0; s < program->n_steps; s++) cpu_chain_destroy(program->steps[s].chain);
    free(program->steps);
    free(program);
}

typedef struct step_job {
    const cpu_program *program;
    const cpu_step *step;
    void *const *buffers;
    uint64_t seed;
} step_job;

static void run_copy(void *opaque, int64_t copy, cpu_worker *worker) {
    const step_job *job = opaque;
    const cpu_step *step = job->step;
    cpu_mark mark = cpu_scratch_mark(worker);
    cpu_view *views = cpu_alloc(worker, (step->n_in + step->n_out + 1) * sizeof *views);
    if (!views) return;
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        uint32_t id = k < step->n_in ? step->in[k] : step->out[k - step->n_in];
        const aira_plan_tensor *tensor = tensor_of(job->program->plan, id);
        cpu_view *view = &views[k];
        *view = (cpu_view){.dtype = tensor->dtype, .n = cpu_elements(&tensor->shape), .shape = tensor->shape};
        view->data = (char *)job->buffers[tensor->storage] + tensor->offset;
        if (tensor->copies > 1) view->data += (size_t)copy * (size_t)view->n * cpu_bytes_of(view->dtype);
    }
    cpu_call call = {.worker = worker, .step = step->step, .in = views, .out = views + step->n_in};
    call.n_in = step->n_in;
    call.n_out = step->n_out;
    call.state = step->chain;
    call.seed = job->seed;
    step->kernel(&call);
    cpu_release(worker, mark);
}

bool cpu_program_run(const cpu_program *program, cpu_pool *pool, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    cpu_worker *caller = cpu_pool_caller(pool);
    for (uint32_t s = 0; s < program->n_steps; s++) {
        step_job job = {program, &program->steps[s], buffers, seed};
        int64_t copies = job.step->step->copies ? job.step->step->copies : 1;
        if (copies >= 2 * (int64_t)cpu_pool_threads(pool)) {
            cpu_parallel(caller, copies, run_copy, &job);
        } else {
            for (int64_t copy = 0; copy < copies; copy++) run_copy(&job, copy, caller);
        }
        if (cpu_pool_exhausted(pool)) return false;
    }
    return true;
}
