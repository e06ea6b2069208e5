/* program.c - from a plan to steps with kernels, and the loop that runs them.
 *
 * Copies of a stacked step are independent. Where there are many, copies are spread over the workers and each runs on
 * one; where there are few, the kernels spread their tiles. Tiles depend on shapes alone, so both give the same bits.
 */
#include "program.h"

#include "blocks.h"
#include "fast.h"

#include <stdlib.h>

struct cpu_program {
    const aira_plan *plan;
    cpu_step *steps;
    cpu_runs runs; /* none for the reference */
    uint32_t n_steps;
};

cpu_kernel cpu_program_kernel(uint32_t op) {
    if (cpu_chain_takes(op)) return cpu_chain_run;
    cpu_kernel kernel = cpu_move_kernel(op);
    return kernel ? kernel : cpu_reference_kernel(op);
}

/* Fast kernels know F32 and BF16, and I32 where an op has indices. */
static bool fast_types(const aira_plan *plan, const aira_plan_step *step) {
    bool floats = false;
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        uint32_t dtype = cpu_tensor(plan, k < step->n_in ? step->in[k] : step->out[k - step->n_in])->dtype;
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
        step->fast = true;
    }
    const cpu_fast *fast = cpu_fast_of(isa);
    if (fast && !step->chain && fast_types(program->plan, from)) {
        cpu_kernel kernel = fast->kernel(from->op);
        bool halves = from->op == AIRA_OP_MATMUL && cpu_tensor(program->plan, from->in[0])->dtype == AIRA_BF16 &&
                      cpu_tensor(program->plan, from->in[1])->dtype == AIRA_BF16;
        step->prepare = fast->prepare(from->op);
        if (halves && cpu_bf16_matmul(isa)) {
            kernel = cpu_bf16_matmul(isa);
            step->prepare = &cpu_bf16_prepare;
        }
        step->fast = kernel != NULL;
        if (kernel) step->kernel = kernel;
    }
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        uint32_t id = k < step->n_in ? step->in[k] : step->out[k - step->n_in];
        if (id >= program->plan->n_tensors) return "the plan names a tensor that it does not list";
        const aira_plan_tensor *tensor = cpu_tensor(program->plan, id);
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
    if (isa != CPU_ISA_REFERENCE && !cpu_runs_find(plan, program->steps, program->n_steps, &program->runs)) {
        cpu_program_destroy(program);
        return NULL;
    }
    return program;
}

void cpu_program_destroy(cpu_program *program) {
    if (!program) return;
    for (uint32_t s = 0; s < program->n_steps; s++) cpu_chain_destroy(program->steps[s].chain);
    cpu_runs_release(&program->runs, program->n_steps);
    free(program->steps);
    free(program);
}

typedef struct step_job {
    const cpu_program *program;
    const cpu_step *step;
    void *const *buffers;
    uint64_t seed;
} step_job;

static cpu_view view_of(const step_job *job, uint32_t id, int64_t copy) {
    const aira_plan_tensor *tensor = cpu_tensor(job->program->plan, id);
    cpu_view view = {.dtype = tensor->dtype, .n = cpu_elements(&tensor->shape), .shape = tensor->shape};
    view.data = (char *)job->buffers[tensor->storage] + tensor->offset;
    if (tensor->copies > 1) view.data += (size_t)copy * (size_t)view.n * cpu_bytes_of(view.dtype);
    return view;
}

/* views: room for all operands and results, to be filled. */
static cpu_call call_of(const step_job *job, cpu_view *views, cpu_worker *worker) {
    const cpu_step *step = job->step;
    cpu_call call = {.worker = worker, .step = step->step, .in = views, .out = views + step->n_in};
    call.n_in = step->n_in;
    call.n_out = step->n_out;
    call.state = step->chain;
    call.seed = job->seed;
    return call;
}

static void run_copy(void *opaque, int64_t copy, cpu_worker *worker) {
    const step_job *job = opaque;
    const cpu_step *step = job->step;
    cpu_mark mark = cpu_scratch_mark(worker);
    cpu_view *views = cpu_alloc(worker, (step->n_in + step->n_out + 1) * sizeof *views);
    if (!views) return;
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) views[k] = view_of(job, cpu_operand_id(step, k), copy);
    cpu_call call = call_of(job, views, worker);
    step->kernel(&call);
    cpu_release(worker, mark);
}

/* --- runs of steps over blocks ------------------------------------------------------------------------------------ */

typedef struct run_job {
    step_job base; /* of the step at work */
    const cpu_run *run;
    int64_t copies;
    float *partial;        /* [copies, groups][run->partial] */
    const void **prepared; /* [steps of the run, copies] */
} run_job;

typedef struct part {
    int64_t copy, first, n; /* units first .. first+n-1 of a copy */
} part;

/* scratch: of the block that begins at unit `base`. */
static cpu_view part_view(const run_job *job, const cpu_operand *operand, uint32_t id, part at, char *scratch,
                          int64_t base) {
    const cpu_run *run = job->run;
    cpu_view view = view_of(&job->base, id, at.copy);
    if (operand->place == CPU_PARTIAL) {
        int64_t sums = (at.copy * run->groups + at.first / run->group) * (int64_t)run->partial;
        view.dtype = AIRA_F32;
        view.data = (char *)(job->partial + sums + operand->offset);
    }
    if (operand->share != CPU_PART) return view;
    size_t unit = (size_t)(view.n / run->units) * cpu_bytes_of(view.dtype);
    view.data += (size_t)at.first * unit;
    if (operand->place == CPU_SCRATCH) {
        view.data = scratch + operand->offset * (uint64_t)run->per_block + (size_t)(at.first - base) * unit;
    }
    view.shape.dims[0] = view.shape.dims[0] / run->units * at.n;
    view.n = view.n / run->units * at.n;
    return view;
}

static void run_part(run_job *job, uint32_t s, part at, char *scratch, int64_t base, cpu_worker *worker) {
    const cpu_run *run = job->run;
    const cpu_step *step = job->base.step = &job->base.program->steps[run->first + s];
    cpu_mark mark = cpu_scratch_mark(worker);
    cpu_view *views = cpu_alloc(worker, (step->n_in + step->n_out + 1) * sizeof *views);
    if (!views) return;
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        const cpu_operand *operand = &run->operands[run->at[s] + k];
        views[k] = part_view(job, operand, cpu_operand_id(step, k), at, scratch, base);
    }
    cpu_call call = call_of(&job->base, views, worker);
    call.prepared = job->prepared[s * job->copies + at.copy];
    call.units = at.n;
    call.all_units = run->units;
    call.alone = true;
    step->kernel(&call);
    cpu_release(worker, mark);
}

static void run_block(void *opaque, int64_t tile, cpu_worker *worker) {
    run_job job = *(const run_job *)opaque;
    const cpu_run *run = job.run;
    int64_t base = tile % run->blocks * run->per_block, end = base + run->per_block;
    if (end > run->units) end = run->units;
    cpu_mark mark = cpu_scratch_mark(worker);
    char *scratch = cpu_alloc(worker, (size_t)(run->scratch * (uint64_t)run->per_block) + 1);
    for (uint32_t s = 0; scratch && s < run->end - run->first; s++) {
        if (run->when[s] != CPU_INSIDE) continue;
        int64_t n = run->sums[s] ? run->group : run->per_block;
        for (int64_t first = base; first < end; first += n) {
            part at = {tile / run->blocks, first, end - first < n ? end - first : n};
            run_part(&job, s, at, scratch, base, worker);
        }
    }
    cpu_release(worker, mark);
}

/* One step for one copy: what its kernel makes once for all blocks; the place for it is there already. */
static void prepare_step(void *opaque, int64_t tile, cpu_worker *worker) {
    run_job job = *(const run_job *)opaque;
    const cpu_step *step = job.base.step = &job.base.program->steps[job.run->first + tile / job.copies];
    cpu_mark mark = cpu_scratch_mark(worker);
    cpu_view *views = cpu_alloc(worker, (step->n_in + step->n_out + 1) * sizeof *views);
    if (job.prepared[tile] && views) {
        for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
            views[k] = view_of(&job.base, cpu_operand_id(step, k), tile % job.copies);
        }
        cpu_call call = call_of(&job.base, views, worker);
        step->prepare->fill(&call, (void *)job.prepared[tile]);
    }
    cpu_release(worker, mark);
}

/* Takes the memory for what is prepared. False: out of memory. */
static bool take_prepared(run_job *job, cpu_worker *caller) {
    const cpu_run *run = job->run;
    uint32_t n = run->end - run->first;
    job->prepared = cpu_alloc(caller, (size_t)(n * job->copies) * sizeof *job->prepared);
    if (!job->prepared) return false;
    for (uint32_t s = 0; s < n; s++) {
        const cpu_step *step = job->base.step = &job->base.program->steps[run->first + s];
        cpu_view *views = cpu_alloc(caller, (step->n_in + step->n_out + 1) * sizeof *views);
        size_t bytes = 0;
        if (!views) return false;
        if (step->prepare && run->when[s] == CPU_INSIDE) {
            for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
                views[k] = view_of(&job->base, cpu_operand_id(step, k), 0);
            }
            cpu_call call = call_of(&job->base, views, caller);
            bytes = step->prepare->bytes(&call);
        }
        for (int64_t copy = 0; copy < job->copies; copy++) {
            job->prepared[s * job->copies + copy] = bytes ? cpu_alloc(caller, bytes) : NULL;
            if (bytes && !job->prepared[s * job->copies + copy]) return false;
        }
    }
    return true;
}

/* Adds the groups' partial sums in order, and gives them to their tensors. */
static void add_sums(void *opaque, int64_t copy, cpu_worker *worker) {
    const run_job *job = opaque;
    const cpu_run *run = job->run;
    int64_t n = (int64_t)run->partial;
    float *sums = job->partial + copy * run->groups * n;
    (void)worker;
    for (int64_t g = 1; g < run->groups; g++) {
        for (int64_t e = 0; e < n; e++) sums[e] += sums[g * n + e];
    }
    for (uint32_t s = 0; s < run->end - run->first; s++) {
        const cpu_step *step = &job->base.program->steps[run->first + s];
        for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
            const cpu_operand *operand = &run->operands[run->at[s] + k];
            if (operand->place != CPU_PARTIAL) continue;
            cpu_view to = view_of(&job->base, cpu_operand_id(step, k), copy);
            cpu_convert(to.data, to.dtype, sums + operand->offset, AIRA_F32, to.n);
        }
    }
}

/* The steps inside the run. */
static void run_blocks(const cpu_program *program, const cpu_run *run, cpu_pool *pool, void *const *buffers,
                       uint64_t seed) {
    cpu_worker *caller = cpu_pool_caller(pool);
    uint32_t copies = program->steps[run->first].step->copies;
    run_job job = {.base = {program, NULL, buffers, seed}, .run = run, .copies = copies ? copies : 1};
    cpu_mark mark = cpu_scratch_mark(caller);
    job.partial = cpu_alloc(caller, (size_t)(job.copies * run->groups) * run->partial * sizeof *job.partial + 1);
    if (job.partial && take_prepared(&job, caller)) {
        cpu_parallel(caller, (run->end - run->first) * job.copies, prepare_step, &job);
        cpu_parallel(caller, job.copies * run->blocks, run_block, &job);
        if (run->partial > 0) cpu_parallel(caller, job.copies, add_sums, &job);
    }
    cpu_release(caller, mark);
}

/* One step, whole. */
static void run_step(const cpu_program *program, uint32_t s, cpu_pool *pool, void *const *buffers, uint64_t seed) {
    const cpu_step *step = &program->steps[s];
    if (program->runs.lone && program->runs.lone[s].end > 0) {
        run_blocks(program, &program->runs.lone[s], pool, buffers, seed);
        return;
    }
    cpu_worker *caller = cpu_pool_caller(pool);
    step_job job = {program, step, buffers, seed};
    int64_t copies = step->step->copies ? step->step->copies : 1;
    if (copies >= 2 * (int64_t)cpu_pool_threads(pool)) {
        cpu_parallel(caller, copies, run_copy, &job);
    } else {
        for (int64_t copy = 0; copy < copies; copy++) run_copy(&job, copy, caller);
    }
}

static void run_beside(const cpu_program *program, const cpu_run *run, cpu_when when, cpu_pool *pool,
                       void *const *buffers, uint64_t seed) {
    for (uint32_t s = run->first; s < run->end; s++) {
        if (run->when[s - run->first] == when) run_step(program, s, pool, buffers, seed);
    }
}

bool cpu_program_run(const cpu_program *program, cpu_pool *pool, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    for (uint32_t s = 0, r = 0; s < program->n_steps;) {
        if (r < program->runs.n && program->runs.runs[r].first == s) {
            const cpu_run *run = &program->runs.runs[r++];
            run_beside(program, run, CPU_BEFORE, pool, buffers, seed);
            run_blocks(program, run, pool, buffers, seed);
            run_beside(program, run, CPU_AFTER, pool, buffers, seed);
            s = run->end;
        } else {
            run_step(program, s++, pool, buffers, seed);
        }
        if (cpu_pool_exhausted(pool)) return false;
    }
    return true;
}
