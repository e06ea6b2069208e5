/* program.c - from a plan to calls, and from calls to a CUDA graph.
 *
 * Addresses are known at the first run: then every step is put on a stream that is being captured, and the captured
 * graph is instantiated. Later runs with the same buffers are one launch. The seed lies in device memory, which the
 * host writes when it changes, so that another seed needs no other graph.
 *
 * Steps run one after another, so they share one workspace, as large as the largest wish.
 *
 * Copies of weights that stay from run to run (kept.h) are made by steps that are no part of the graph: they run before
 * it where the variables were written by others.
 */
#include "program.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "batch.h"
#include "kept.h"
#include "watch.h"

struct gpu_program {
    const aira_plan *plan; /* the layout's */
    gpu_layout layout;
    void *own; /* memory of GPU_STORE_OWN */
    const gpu_queue *queue;
    gpu_watch *watch;
    gpu_step *steps;
    uint32_t n_steps, most_views;
    uint32_t n_once, n_kept; /* steps that run only before the graph is captured, and behind them those that make copies
                                which stay */
    bool writes;             /* variables */
    uint64_t seen;           /* number of the variables that the copies are of; 0: of none */
    gpu_view *views;         /* most_views of them: of the step in hand */
    void *workspace;
    size_t workspace_bytes;
    void *tables;               /* of batches */
    uint64_t *seed, seed_there; /* in device memory, and what was written to it last */
    bool seeded;
    void *buffers[AIRA_N_BUFFERS];
    cudaGraphExec_t graph;
    gpu_program_times times;
    char sentence[256];
};

/* Milliseconds since `before`, which becomes now. */
static double lap(double *before) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* it exists wherever CUDA does */
    double now = 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec, passed = now - *before;
    *before = now;
    return passed;
}

const gpu_kernel *gpu_kernel_of(uint32_t op) {
    static const gpu_kernel *const tables[] = {gpu_move_kernels,      gpu_reduce_kernels,      gpu_row_kernels,
                                               gpu_attention_kernels, gpu_convolution_kernels, gpu_scan_kernels,
                                               gpu_ssd_kernels,       gpu_fft_kernels,         gpu_grouped_kernels,
                                               gpu_matmul_kernels,    gpu_head_kernels};
    if (gpu_chain_takes(op)) return gpu_chain_kernels;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const gpu_kernel *k = tables[t]; k->op; k++)
            if (k->op == op) return k;
    return NULL;
}

/* Two complex numbers for every time lie in the shared memory of one block (fft.cu), rounded up to a power of two. */
static bool transform_fits(int64_t times, bool wide) {
    int64_t bytes = wide ? 32 : 16;
    int gpu = 0, most = 0;
    while (bytes < 2 * times * (wide ? 16 : 8)) bytes *= 2;
    if (cudaGetDevice(&gpu) != cudaSuccess) return false;
    return cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, gpu) == cudaSuccess && bytes <= most;
}

int gpu_kernel_holds(uint32_t op, const aira_plan_tensor *tensors) {
    const aira_plan_tensor *second = (const void *)((const char *)tensors + tensors->size);
    const aira_plan_tensor *third = (const void *)((const char *)second + tensors->size);
    const aira_plan_tensor *fourth = (const void *)((const char *)third + tensors->size);
    int wide;
    switch (op) {
    case AIRA_OP_SSD:
    case AIRA_OP_SSD_BACKWARD: /* states of a head */
        return fourth->shape.dims[3] <= 256;
    case AIRA_OP_SELECTIVE_SCAN:
    case AIRA_OP_SELECTIVE_SCAN_BACKWARD: /* states of a channel */
        return third->shape.dims[1] <= 64;
    case AIRA_OP_FFT_CONV:
    case AIRA_OP_FFT_CONV_BACKWARD: /* twice the time lies in shared memory, 16 bytes each in fp64 */
        wide = tensors->dtype == AIRA_F64 || second->dtype == AIRA_F64 || third->dtype == AIRA_F64;
        return transform_fits(tensors->shape.dims[1], wide != 0);
    default:
        return 1;
    }
}

static uint32_t tensor_id(const gpu_step *step, uint32_t k) {
    return k < step->n_in ? gpu_step_in(step)[k] : gpu_step_out(step)[k - step->n_in];
}

static const char *resolve(gpu_program *program, gpu_step *step, const aira_plan_step *from) {
    const char *why = NULL;
    *step = (gpu_step){
        .step = from, .planned_in = from->in, .planned_out = from->out, .n_in = from->n_in, .n_out = from->n_out};
    step->kernel = gpu_kernel_of(from->op);
    if (!step->kernel) return "the plan holds an operation that the cuda device does not know";
    if (gpu_chain_takes(from->op)) {
        step->chain = gpu_chain_compile(program->plan, from, &why);
        if (!step->chain) return why ? why : "out of memory";
        step->planned_in = gpu_chain_tensors(step->chain, &step->n_in);
        step->n_out = 0;
    }
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        uint32_t id = tensor_id(step, k);
        if (id >= program->plan->n_tensors) return "the plan names a tensor that it does not list";
        const aira_plan_tensor *tensor = gpu_tensor_of(program->plan, id);
        if (tensor->storage >= AIRA_N_BUFFERS) return "the plan uses a chain's tensor outside the chain";
        if (tensor->copies != 1 && tensor->copies != from->copies) return "the plan mixes numbers of copies";
    }
    if (step->n_in + step->n_out > program->most_views) program->most_views = step->n_in + step->n_out;
    return NULL;
}

/* The call of one copy of a step. Its views are the program's and hold until the next. */
static gpu_call call_of(const gpu_program *program, const gpu_step *step, int64_t copy, void *const *buffers) {
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        const aira_plan_tensor *tensor = gpu_tensor_of(program->plan, tensor_id(step, k));
        gpu_view *view = &program->views[k];
        *view = (gpu_view){.dtype = tensor->dtype, .n = gpu_elements(&tensor->shape), .shape = tensor->shape};
        view->data = (char *)buffers[tensor->storage] + tensor->offset;
        if (tensor->copies > 1) view->data += (size_t)copy * (size_t)view->n * gpu_bytes_of(view->dtype);
    }
    gpu_call call = {.step = step->step, .in = program->views, .out = program->views + step->n_in};
    call.n_in = step->n_in;
    call.n_out = step->n_out;
    call.workspace = program->workspace;
    call.seed = program->seed;
    call.chain = step->chain;
    call.merged = step->merged;
    call.also = step->also;
    call.linear = &step->linear;
    call.tables = program->queue->tables;
    call.stream = program->queue->stream;
    call.matmul = program->queue->matmul;
    call.cudnn = program->queue->cudnn;
    call.compiler = program->queue->compiler;
    return call;
}

static const char *cuda_sentence(cudaError_t error) { return error == cudaSuccess ? NULL : cudaGetErrorString(error); }

/* What the pool of this GPU has from the driver, and what of it is in use; both 0 where that cannot be had. */
static void pool_bytes(uint64_t *reserved, uint64_t *used) {
    cudaMemPool_t pool = NULL;
    int gpu = 0;
    *reserved = *used = 0;
    if (cudaGetDevice(&gpu) == cudaSuccess && cudaDeviceGetDefaultMemPool(&pool, gpu) == cudaSuccess &&
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, reserved) == cudaSuccess &&
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, used) == cudaSuccess)
        return;
    *reserved = *used = 0;
}

size_t gpu_memory_taken(void) {
    uint64_t reserved, used;
    pool_bytes(&reserved, &used);
    return (size_t)used;
}

/* Bytes that could be had, with what the pool keeps for later; figures that cannot be had count as 0. */
static size_t memory_free(size_t *all) {
    size_t free_bytes = 0;
    uint64_t reserved, used;
    *all = 0;
    (void)cudaMemGetInfo(&free_bytes, all);
    pool_bytes(&reserved, &used);
    return free_bytes + (size_t)(reserved > used ? reserved - used : 0);
}

const char *gpu_memory_take(cudaStream_t stream, size_t bytes, const char *what, void **out, char *why, size_t size) {
    cudaError_t error = cudaMallocAsync(out, bytes ? bytes : 1, stream);
    if (error == cudaSuccess) return NULL;
    *out = NULL;
    (void)cudaGetLastError(); /* told here; it must not be found again by a later launch */
    if (error != cudaErrorMemoryAllocation) {
        snprintf(why, size, "no memory: %s", cudaGetErrorString(error));
        return why;
    }
    size_t all, free_bytes = memory_free(&all);
    snprintf(why, size, "out of memory: %zu bytes %s asked for, %zu of %zu are free", bytes, what, free_bytes, all);
    return why;
}

void gpu_memory_give(cudaStream_t stream, void *memory) {
    if (memory) (void)cudaFreeAsync(memory, stream); /* the memory goes with the process at the latest */
}

static const char *allocate(gpu_program *program) {
    static void *const nowhere[GPU_N_BUFFERS] = {0};
    size_t tables = 0;
    for (uint32_t s = 0; s < program->n_steps; s++) { /* merging made steps of more tensors than were planned */
        uint32_t n = program->steps[s].n_in + program->steps[s].n_out;
        if (n > program->most_views) program->most_views = n;
    }
    program->views = calloc((size_t)program->most_views + 1, sizeof *program->views);
    if (!program->views) return "out of memory";
    for (uint32_t s = 0; s < program->n_steps; s++) {
        const gpu_step *step = &program->steps[s];
        size_t bytes = step->batch ? gpu_batch_workspace(step->batch) : 0;
        if (step->batch) tables += gpu_batch_bytes(step->batch);
        if (!step->batch && step->kernel->workspace) {
            gpu_call call = call_of(program, step, 0, nowhere);
            bytes = step->kernel->workspace(&call);
        }
        if (bytes > program->workspace_bytes) program->workspace_bytes = bytes;
    }
    cudaStream_t stream = program->queue->stream;
    const char *why = gpu_memory_take(stream, sizeof *program->seed, "for a seed", (void **)&program->seed,
                                      program->sentence, sizeof program->sentence);
    if (!why && tables)
        why = gpu_memory_take(stream, tables, "for tables", &program->tables, program->sentence,
                              sizeof program->sentence);
    if (!why && program->layout.own_bytes)
        why = gpu_memory_take(stream, program->layout.own_bytes, "of own memory", &program->own, program->sentence,
                              sizeof program->sentence);
    if (why || !program->workspace_bytes) return why;
    return gpu_memory_take(stream, program->workspace_bytes, "of workspace", &program->workspace, program->sentence,
                           sizeof program->sentence);
}

/* The kernel that a chain's launch will ask for: buffers begin at multiples of 256, so that offsets tell alignment. */
static bool wish_of(const gpu_program *program, const gpu_step *step, gpu_chain_wish *wish) {
    gpu_chain_pointers pointers = {{NULL}};
    if (step->batch) return gpu_batch_wish(step->batch, wish);
    if (!step->chain || !gpu_chain_is_compiled(step->chain)) return false;
    for (uint32_t k = 0; k < step->n_in; k++)
        pointers.data[k] = (char *)(uintptr_t)gpu_tensor_of(program->plan, tensor_id(step, k))->offset;
    *wish = (gpu_chain_wish){&step->chain->program, gpu_chain_vector(&step->chain->program, &pointers), 0};
    return true;
}

static bool prepare_kernels(const gpu_program *program) {
    if (!program->queue->compiler) return true;
    gpu_chain_wish *wishes = calloc((size_t)program->n_steps + 1, sizeof *wishes);
    uint32_t n = 0;
    for (uint32_t s = 0; wishes && s < program->n_steps; s++) n += wish_of(program, &program->steps[s], &wishes[n]);
    if (wishes) gpu_compiler_prepare(program->queue->compiler, wishes, n);
    free(wishes);
    return wishes != NULL;
}

/* The steps before it are no part of the graph. */
static uint32_t first_captured(const gpu_program *program) { return program->n_once + program->n_kept; }

/* Copies of weights stay where they are worth it and take a quarter of what is free at most. */
static bool rearrange(gpu_program *program) {
    size_t all;
    gpu_keeping keeping = {.least = GPU_KEEP_LEAST, .most = memory_free(&all) / 4};
    bool good = gpu_rearrange(&program->layout, program->queue, program->steps, &program->n_steps, &program->n_once,
                              &keeping);
    program->n_kept = keeping.n;
    return good;
}

static bool writes_variables(const gpu_program *program, const gpu_step *step) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(program->plan, step, ranges);
    for (uint32_t k = 0; k < n; k++)
        if (ranges[k].writes && ranges[k].storage == AIRA_STORE_PERSISTENT) return true;
    return false;
}

gpu_program *gpu_program_create(const aira_plan *plan, const gpu_queue *queue, gpu_watch *watch, char *why,
                                size_t size) {
    gpu_program *program = calloc(1, sizeof *program);
    const char *sentence = program ? NULL : "out of memory";
    gpu_program_times times = {0};
    double clock = 0;
    (void)lap(&clock);
    if (program) {
        gpu_layout_open(&program->layout, plan);
        program->plan = &program->layout.plan;
        program->queue = queue;
        program->watch = watch;
        program->steps = calloc((size_t)plan->n_steps + 1, sizeof *program->steps);
        if (!program->steps) sentence = "out of memory";
    }
    for (uint32_t s = 0; s < plan->n_steps && !sentence; s++) {
        program->n_steps = s + 1;
        const char *at = (const char *)plan->steps + (size_t)s * plan->step_stride;
        sentence = resolve(program, &program->steps[s], (const aira_plan_step *)(const void *)at);
    }
    times.chains = lap(&clock);
    for (uint32_t s = 0; s < program->n_steps && !sentence && !program->writes; s++)
        program->writes = writes_variables(program, &program->steps[s]);
    if (!sentence && !rearrange(program)) sentence = "out of memory";
    times.merging = lap(&clock);
    if (!sentence && !prepare_kernels(program)) sentence = "out of memory";
    times.kernels = lap(&clock);
    if (!sentence) sentence = allocate(program);
    times.memory = lap(&clock);
    if (!sentence) {
        program->times = times;
        return program;
    }
    snprintf(why, size, "%s", sentence);
    gpu_program_destroy(program);
    return NULL;
}

void gpu_program_destroy(gpu_program *program) {
    if (!program) return;
    for (uint32_t s = 0; program->steps && s < program->n_steps; s++) {
        gpu_chain_destroy(program->steps[s].chain);
        gpu_batch_destroy(program->steps[s].batch);
    }
    /* what cannot be released now is released with the process */
    if (program->graph) (void)cudaGraphExecDestroy(program->graph);
    gpu_memory_give(program->queue->stream, program->workspace);
    gpu_memory_give(program->queue->stream, program->own);
    gpu_memory_give(program->queue->stream, program->tables);
    gpu_memory_give(program->queue->stream, program->seed);
    gpu_layout_close(&program->layout);
    free(program->views);
    free(program->steps);
    free(program);
}

/* Puts one step on the stream, all copies of it. */
static const char *enqueue_step(gpu_program *program, uint32_t s, void *const *buffers) {
    const gpu_step *step = &program->steps[s];
    int64_t copies = step->step->copies ? step->step->copies : 1;
    const char *why = NULL;
    if (step->batch) {
        why = gpu_batch_run(step->batch, program->plan, buffers, program->queue, program->workspace);
    } else {
        for (int64_t copy = 0; copy < copies && !why; copy++) {
            gpu_call call = call_of(program, step, copy, buffers);
            why = step->kernel->run(&call);
        }
    }
    if (!why) return NULL;
    snprintf(program->sentence, sizeof program->sentence, "step %u (operation %u): %s", s, step->step->op, why);
    return program->sentence;
}

/* Writes the tables of all batches. */
static const char *place_tables(gpu_program *program, void *const *buffers) {
    char *at = program->tables;
    for (uint32_t s = 0; s < program->n_steps; s++) {
        gpu_batch *batch = program->steps[s].batch;
        if (!batch) continue;
        const char *why = gpu_batch_place(batch, program->plan, buffers, at, program->queue->stream);
        if (why) return why;
        at += gpu_batch_bytes(batch);
    }
    return NULL;
}

/* --- times of single steps --- */

#define TRACE_REPEATS 10

/* Microseconds of one step: a graph of it alone, several times in a row. */
static const char *time_step(gpu_program *program, uint32_t s, void *const *buffers, cudaEvent_t *events, float *us) {
    cudaStream_t stream = program->queue->stream;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t once = NULL;
    const char *why = cuda_sentence(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    if (why) return why;
    for (int k = 0; k < TRACE_REPEATS && !why; k++) why = enqueue_step(program, s, buffers);
    cudaError_t ended = cudaStreamEndCapture(stream, &graph);
    if (!why) why = cuda_sentence(ended);
    if (!why) why = cuda_sentence(cudaGraphInstantiate(&once, graph, 0));
    *us = 1e30f;
    for (int k = 0; k < 4 && !why; k++) {
        float ms = 0;
        why = cuda_sentence(cudaEventRecord(events[0], stream));
        if (!why) why = cuda_sentence(cudaGraphLaunch(once, stream));
        if (!why) why = cuda_sentence(cudaEventRecord(events[1], stream));
        if (!why) why = cuda_sentence(cudaEventSynchronize(events[1]));
        if (!why) why = cuda_sentence(cudaEventElapsedTime(&ms, events[0], events[1]));
        if (1000 * ms / TRACE_REPEATS < *us) *us = 1000 * ms / TRACE_REPEATS;
    }
    if (once) (void)cudaGraphExecDestroy(once);
    if (graph) (void)cudaGraphDestroy(graph);
    return why;
}

static void write_tensors(const gpu_program *program, const gpu_step *step, FILE *to) {
    if (step->batch) fprintf(to, "%u at once: ", gpu_batch_count(step->batch));
    for (uint32_t k = 0; k < step->n_in + step->n_out && (!step->batch || k == 0); k++) {
        const aira_plan_tensor *t = gpu_tensor_of(program->plan, tensor_id(step, k));
        fprintf(to, "%s%s", k == step->n_in ? "> " : "",
                t->dtype == AIRA_BF16  ? "bf16"
                : t->dtype == AIRA_I32 ? "i32"
                : t->dtype == AIRA_F64 ? "f64"
                                       : "f32");
        for (uint32_t d = 0; d < t->shape.rank; d++) fprintf(to, "%c%lld", d ? 'x' : ':', (long long)t->shape.dims[d]);
        fputc(' ', to);
    }
    if (step->merged) fprintf(to, "merged %u", step->merged);
}

/* The host's buffers and the program's own. */
static void all_buffers(const gpu_program *program, void *const given[AIRA_N_BUFFERS], void **all) {
    memset(all, 0, GPU_N_BUFFERS * sizeof *all);
    memcpy(all, given, AIRA_N_BUFFERS * sizeof *all);
    all[GPU_STORE_OWN] = program->own;
}

const char *gpu_program_trace(gpu_program *program, void *const given[AIRA_N_BUFFERS], FILE *to) {
    void *buffers[GPU_N_BUFFERS];
    all_buffers(program, given, buffers);
    cudaEvent_t events[2] = {NULL, NULL};
    const char *why = cuda_sentence(cudaEventCreate(&events[0]));
    if (!why) why = cuda_sentence(cudaEventCreate(&events[1]));
    if (program->writes) (void)gpu_watch_wrote(program->watch, given[AIRA_STORE_PERSISTENT]);
    program->seen = 0;
    for (uint32_t s = first_captured(program); s < program->n_steps && !why; s++) {
        float us = 0;
        why = time_step(program, s, buffers, events, &us);
        if (why) break;
        fprintf(to, "%u\t%u\t%.2f\t", s, program->steps[s].step->op, us);
        write_tensors(program, &program->steps[s], to);
        fputc('\n', to);
    }
    for (int k = 0; k < 2; k++)
        if (events[k]) (void)cudaEventDestroy(events[k]);
    return why;
}

int gpu_program_is_new(const gpu_program *program) { return program->graph == NULL; }

/* --- the whole --- */

static const char *capture(gpu_program *program, void *const *given) {
    void *buffers[GPU_N_BUFFERS];
    all_buffers(program, given, buffers);
    cudaStream_t stream = program->queue->stream;
    cudaGraph_t graph = NULL;
    if (program->graph) (void)cudaGraphExecDestroy(program->graph);
    program->graph = NULL;
    double clock = 0;
    (void)lap(&clock);
    const char *why = place_tables(program, buffers);
    program->times.tables = lap(&clock);
    for (uint32_t s = 0; s < program->n_once && !why; s++) why = enqueue_step(program, s, buffers);
    if (!why) why = cuda_sentence(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    if (why) return why;
    for (uint32_t s = first_captured(program); s < program->n_steps && !why; s++)
        why = enqueue_step(program, s, buffers);
    cudaError_t ended = cudaStreamEndCapture(stream, &graph); /* also after a failure: it must not stay open */
    if (!why) why = cuda_sentence(ended);
    program->times.capture = lap(&clock);
    if (!why) why = cuda_sentence(cudaGraphInstantiate(&program->graph, graph, 0));
    if (graph) (void)cudaGraphDestroy(graph);
    program->times.instantiate = lap(&clock);
    if (!why) why = cuda_sentence(cudaGraphUpload(program->graph, program->queue->stream));
    program->times.upload = lap(&clock);
    if (!why) memcpy(program->buffers, given, sizeof program->buffers);
    return why;
}

gpu_program_times gpu_program_time(const gpu_program *program, uint32_t *n_steps) {
    *n_steps = program->n_steps - first_captured(program);
    return program->times;
}

/* The value is copied by the call: a launch that is still waiting reads the seed it was given. */
static const char *write_seed(gpu_program *program, uint64_t seed) {
    if (program->seeded && program->seed_there == seed) return NULL;
    const char *why = cuda_sentence(
        cudaMemcpyAsync(program->seed, &seed, sizeof seed, cudaMemcpyHostToDevice, program->queue->stream));
    program->seeded = !why;
    program->seed_there = seed;
    return why;
}

/* Makes the copies that stay, where others wrote the variables since the last run. */
static const char *make_copies(gpu_program *program, void *const *given) {
    void *buffers[GPU_N_BUFFERS];
    const char *why = NULL;
    if (!program->n_kept) return NULL;
    uint64_t number = gpu_watch_number(program->watch, given[AIRA_STORE_PERSISTENT]);
    if (number && number == program->seen) return NULL;
    all_buffers(program, given, buffers);
    for (uint32_t s = program->n_once; s < first_captured(program) && !why; s++)
        why = enqueue_step(program, s, buffers);
    return why;
}

const char *gpu_program_start(gpu_program *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    const char *why = NULL;
    if (program->n_steps == 0) return NULL;
    if (!program->graph || memcmp(program->buffers, buffers, sizeof program->buffers)) why = capture(program, buffers);
    if (!why) why = make_copies(program, buffers);
    if (!why) why = write_seed(program, seed);
    if (!why) why = cuda_sentence(cudaGraphLaunch(program->graph, program->queue->stream));
    uint64_t number = program->writes ? gpu_watch_wrote(program->watch, buffers[AIRA_STORE_PERSISTENT]) : 0;
    program->seen = why ? 0 : number;
    return why;
}
