/* steps.c - merged and batched steps of the cuda device do what the planned steps did; no GPU is needed.
 *
 * Plans of training steps come through a device that computes nothing. Memory is bytes that hold names of values: a
 * step reads names and writes names made of its operation, its attributes and what it read; sums are sums of names, so
 * their order does not count. The planned order and the rearranged one must leave the same names in every variable and
 * every output. That fails when a step moves past one that it needs, writes where something lives, or is lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/engine/session.h"
#include "core/train/step.h"
#include "core/train/task.h"
#include "kernels/cuda/batch.h"
#include "kernels/cuda/fast.h"
#include "kernels/cuda/sums.h"
#include "tests/support/engine.h"

/* --- what the rearranging asks of the rest of the device --- */

bool gpu_norm_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_small_attention_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_scan_chunks_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_conv_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_gated_norm_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_ssd_steps_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_project_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
const gpu_kernel gpu_project_kernel = {AIRA_OP_MATMUL, NULL, NULL};
int gpu_matmul_merges(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
cudaKernel_t gpu_compiler_kernel(gpu_compiler *c, const gpu_chain_program *p, int vector, int batched) {
    (void)c, (void)p, (void)vector, (void)batched;
    return NULL;
}
const char *gpu_chain_interpret(const gpu_chain *c, const gpu_chain_pointers *p, cudaStream_t s) {
    (void)c, (void)p, (void)s;
    return "not here";
}
const char *gpu_sums_run(const gpu_sum *s, uint32_t n, const gpu_block *b, uint32_t n_b, float *p, cudaStream_t st) {
    (void)s, (void)n, (void)b, (void)n_b, (void)p, (void)st;
    return "not here";
}

/* --- memory of names --- */

typedef struct piece { /* bytes begin..end hold bytes from `from` on of a value */
    uint32_t storage;
    uint64_t begin, end, value, from;
} piece;

typedef struct memory {
    piece *pieces;
    size_t n, room;
} memory;

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15ull;
    return h ^ (h >> 29);
}

static void add_piece(memory *m, piece p) {
    if (m->n == m->room) m->pieces = realloc(m->pieces, (m->room = 2 * m->room + 64) * sizeof *m->pieces);
    if (!m->pieces) exit(1);
    m->pieces[m->n++] = p;
}

static void write_range(memory *m, gpu_range r, uint64_t value) {
    for (size_t k = m->n; k-- > 0;) {
        piece p = m->pieces[k];
        if (p.storage != r.storage || p.begin >= r.end || r.begin >= p.end) continue;
        m->pieces[k] = m->pieces[--m->n];
        if (p.begin < r.begin) add_piece(m, (piece){p.storage, p.begin, r.begin, p.value, p.from});
        if (p.end > r.end) add_piece(m, (piece){p.storage, r.end, p.end, p.value, p.from + (r.end - p.begin)});
    }
    add_piece(m, (piece){r.storage, r.begin, r.end, value, 0});
}

/* The name of what lies there: of one value that fills the range, or of the parts. */
static uint64_t read_range(const memory *m, gpu_range r) {
    uint64_t parts = 0, covered = 0;
    for (size_t k = 0; k < m->n; k++) {
        const piece *p = &m->pieces[k];
        if (p->storage != r.storage || p->begin >= r.end || r.begin >= p->end) continue;
        if (p->begin == r.begin && p->end == r.end && p->from == 0) return p->value;
        uint64_t begin = p->begin > r.begin ? p->begin : r.begin, end = p->end < r.end ? p->end : r.end;
        parts += mix(mix(mix(p->value, p->from + (begin - p->begin)), begin - r.begin), end - begin);
        covered += end - begin;
    }
    /* bytes that nobody wrote: what the memory held before */
    return covered == r.end - r.begin ? parts : mix(mix(parts, r.storage), r.begin);
}

/* --- steps --- */

static uint64_t name_of(uint32_t op, uint64_t attributes, const uint64_t *in, uint32_t n_in, uint32_t out) {
    uint64_t h = mix(mix(0x1234567, op), attributes);
    if (op == AIRA_OP_ADD && n_in == 2) return in[0] + in[1];
    if (op == AIRA_OP_SIGMOID) return mix(name_of(AIRA_OP_SOFTPLUS, 0, in, 1, 0), 1); /* 1 - exp(-softplus(x)) */
    for (uint32_t k = 0; k < n_in; k++) h = mix(h, in[k]);
    return mix(h, out);
}

static uint64_t attributes_of(const aira_plan_step *s) {
    uint64_t h = 1;
    for (uint32_t k = 0; k < s->n_i; k++) h = mix(h, (uint64_t)s->i[k]);
    for (uint32_t k = 0; k < s->n_f; k++) {
        uint64_t bits;
        memcpy(&bits, &s->f[k], sizeof bits);
        h = mix(h, bits);
    }
    return h;
}

static void run_chain(const aira_plan *plan, const gpu_chain *chain, const memory *from, memory *to) {
    uint64_t values[GPU_CHAIN_VALUES];
    const gpu_chain_program *p = &chain->program;
    for (uint32_t k = 0; k < p->n_loads; k++)
        values[k] = read_range(from, gpu_range_of(plan, chain->tensors[p->loads[k].view], 0));
    for (uint32_t k = 0; k < p->n_code; k++) {
        const gpu_chain_instruction *c = &p->code[k];
        uint64_t in[3] = {0};
        for (uint32_t j = 0; j < c->n_in; j++) in[j] = values[c->in[j]];
        values[p->n_loads + k] = c->op == AIRA_OP_ASSIGN ? in[0] : name_of(c->op, c->mode, in, c->n_in, 0);
    }
    for (uint32_t k = 0; k < p->n_code; k++)
        if (p->code[k].stored)
            write_range(to, gpu_range_of(plan, chain->tensors[p->code[k].view], 1), values[p->n_loads + k]);
}

static uint64_t name_of_two(uint32_t op, uint64_t a, uint64_t b) { return name_of(op, 0, (uint64_t[]){a, b}, 2, 0); }

/* The attributes of a slice along the last axis of a tensor like `of`. */
static uint64_t cut_of(const aira_plan_tensor *of, int64_t from, int64_t n) {
    return mix(mix(mix(1, of->shape.rank - 1), (uint64_t)from), (uint64_t)n);
}

/* Products around a scan's operands: false if the step is none of them. */
static bool run_project(const aira_plan *plan, const gpu_step *step, uint64_t attributes, const uint64_t *in,
                        uint64_t *out) {
    if (!(step->merged & GPU_PROJECT)) return false;
    if (step->n_in == 5) {
        uint64_t parts[3] = {name_of(AIRA_OP_MATMUL, attributes, in, 2, 0), in[2], in[3]};
        out[0] = name_of(AIRA_OP_CONCAT, attributes_of(step->also), parts, 3, 0);
        out[1] = name_of(AIRA_OP_MATMUL, attributes, (uint64_t[]){out[0], in[4]}, 2, 0);
        return true;
    }
    const aira_plan_tensor *u = gpu_tensor_of(plan, gpu_step_in(step)[0]);
    int64_t rank = gpu_last(&gpu_tensor_of(plan, gpu_step_out(step)[0])->shape);
    int64_t states = gpu_last(&gpu_tensor_of(plan, gpu_step_out(step)[1])->shape);
    uint64_t p = name_of(AIRA_OP_MATMUL, attributes, in, 2, 0);
    out[0] = name_of(AIRA_OP_SLICE, cut_of(u, 0, rank), &p, 1, 0);
    out[1] = name_of(AIRA_OP_SLICE, cut_of(u, rank, states), &p, 1, 0);
    out[2] = name_of(AIRA_OP_SLICE, cut_of(u, rank + states, states), &p, 1, 0);
    uint64_t dt = name_of(AIRA_OP_MATMUL, attributes, (uint64_t[]){out[0], in[2]}, 2, 0) + in[3];
    out[3] = name_of(AIRA_OP_SOFTPLUS, 0, &dt, 1, 0);
    return true;
}

/* Scans, norms and convolutions with what stands around them: false if the step is none of them. */
static bool run_mamba(const gpu_step *step, uint64_t attributes, const uint64_t *in, uint64_t *out) {
    uint32_t op = step->step->op, n_in = step->step->n_in;
    uint64_t planned[16];
    memcpy(planned, in, n_in * sizeof *in);
    if (step->merged & GPU_SILU && op == AIRA_OP_CONV1D_CAUSAL) {
        out[1] = name_of(op, attributes, in, n_in, 0);
        out[0] = name_of(AIRA_OP_SILU, 0, &out[1], 1, 0);
        return true;
    }
    if (step->merged & GPU_SILU) {
        uint64_t g = step->n_in > 4 ? name_of_two(AIRA_OP_ADD, in[3], in[4]) : in[3];
        planned[2] = name_of_two(AIRA_OP_SILU_BACKWARD, in[2], g);
        for (uint32_t k = 0; k < step->n_out; k++) out[k] = name_of(op, attributes, planned, n_in, k);
        return true;
    }
    if (step->merged & GPU_GATE && (op == AIRA_OP_RMS_NORM || op == AIRA_OP_RMS_NORM_BACKWARD)) {
        uint64_t z = in[n_in], open = name_of(AIRA_OP_SILU, 0, &z, 1, 0);
        planned[0] = name_of_two(AIRA_OP_MUL, in[0], open);
        for (uint32_t k = 0; k < 2; k++) out[k] = name_of(op, attributes, planned, n_in, k);
        out[2] = name_of_two(AIRA_OP_SILU_BACKWARD, z, name_of_two(AIRA_OP_MUL, out[0], in[0]));
        if (op == AIRA_OP_RMS_NORM_BACKWARD) out[0] = name_of_two(AIRA_OP_MUL, out[0], open);
        return true;
    }
    if (!(step->merged & (GPU_GATE | GPU_STEPS))) return false;
    bool back = op != AIRA_OP_SELECTIVE_SCAN, gate = step->merged & GPU_GATE;
    uint64_t y = name_of(AIRA_OP_SELECTIVE_SCAN, attributes, in, 6, 0), z = gate ? in[n_in] : 0;
    uint64_t open = gate ? name_of(AIRA_OP_SILU, 0, &z, 1, 0) : 0;
    if (!back) {
        out[0] = name_of_two(AIRA_OP_MUL, y, open);
        return true;
    }
    if (gate) planned[6] = name_of_two(AIRA_OP_MUL, in[6], open);
    for (uint32_t k = 0; k < 6; k++) out[k] = name_of(op, attributes, planned, n_in, k);
    if (gate) out[6] = name_of_two(AIRA_OP_SILU_BACKWARD, z, name_of_two(AIRA_OP_MUL, in[6], y));
    if (!(step->merged & GPU_STEPS)) return true;
    out[1] = name_of_two(AIRA_OP_MUL, out[1], mix(in[1], 1));
    out[gate ? 7 : 6] = name_of(AIRA_OP_SUM, attributes_of(step->also), &out[1], 1, 0);
    return true;
}

/* A step without a chain, merged or not: the planned operation, then what was merged into it. */
static void run_plain(const aira_plan *plan, const gpu_step *step, const memory *from, memory *to) {
    uint64_t in[16], out[16], attributes = attributes_of(step->step);
    uint32_t n_in = step->merged & ~(GPU_ROPE | GPU_ELSEWHERE) ? step->step->n_in : step->n_in, next = n_in;
    const uint32_t *ids = gpu_step_in(step), *results = gpu_step_out(step);
    for (uint32_t k = 0; k < step->n_in; k++) in[k] = read_range(from, gpu_range_of(plan, ids[k], 0));
    if (run_mamba(step, attributes, in, out) || run_project(plan, step, attributes, in, out)) {
        for (uint32_t k = 0; k < step->n_out; k++) write_range(to, gpu_range_of(plan, results[k], 1), out[k]);
        return;
    }
    uint64_t turn = step->merged & GPU_ROPE ? attributes_of(step->also) : 0;
    bool turns = step->merged & GPU_ROPE && step->step->op == AIRA_OP_ATTENTION;
    for (uint32_t k = 0; k < 2 && turns; k++) in[k] = name_of(AIRA_OP_ROPE, turn, &in[k], 1, 0);
    for (uint32_t k = 0; k < step->n_out; k++) out[k] = name_of(step->step->op, attributes, in, n_in, k);
    if (step->merged & GPU_ADD_BIAS) out[0] += in[next++];
    if (step->merged & GPU_ADD_TENSOR) out[0] += in[next++];
    if (step->merged & GPU_GELU) {
        out[1] = out[0];
        out[0] = name_of(AIRA_OP_GELU, 0, &out[1], 1, 0);
    }
    if (step->merged & GPU_ROPE) {
        for (uint32_t k = 0; k < 2 && turns; k++) out[2 + k] = in[k];
        for (uint32_t k = 0; k < 2 && !turns; k++) out[k] = name_of(AIRA_OP_ROPE, turn, &out[k], 1, 0);
    }
    for (uint32_t k = 0; k < step->n_out; k++) write_range(to, gpu_range_of(plan, results[k], 1), out[k]);
}

static void run_step(const aira_plan *plan, const gpu_step *step, const memory *from, memory *to) {
    if (step->chain)
        run_chain(plan, step->chain, from, to);
    else
        run_plain(plan, step, from, to);
}

/* All members of a batch read what was there before it. */
static void run_batch(const aira_plan *plan, const gpu_batch *batch, memory *m) {
    memory before = {calloc(m->n + 1, sizeof *m->pieces), m->n, m->n + 1};
    if (!before.pieces) exit(1);
    if (m->n) memcpy(before.pieces, m->pieces, m->n * sizeof *m->pieces);
    uint32_t n = gpu_batch_count(batch);
    for (uint32_t k = 0; k < n; k++) run_step(plan, gpu_batch_member(batch, k), &before, m);
    free(before.pieces);
}

/* --- a device that only looks at plans --- */

static int failures, plans, fewer;

static gpu_step *steps_of(const aira_plan *plan) {
    gpu_step *steps = calloc((size_t)plan->n_steps + 1, sizeof *steps);
    for (uint32_t k = 0; steps && k < plan->n_steps; k++) {
        const aira_plan_step *from = (const void *)((const char *)plan->steps + (size_t)k * plan->step_stride);
        const char *why = NULL;
        steps[k] = (gpu_step){.step = from, .planned_in = from->in, .planned_out = from->out};
        steps[k].n_in = from->n_in;
        steps[k].n_out = from->n_out;
        if (!gpu_chain_takes(from->op)) continue;
        steps[k].chain = gpu_chain_compile(plan, from, &why);
        if (!steps[k].chain) exit(1);
        steps[k].planned_in = gpu_chain_tensors(steps[k].chain, &steps[k].n_in);
        steps[k].n_out = 0;
    }
    return steps;
}

static memory run_all(const aira_plan *plan, gpu_step *steps, uint32_t n) {
    memory m = {NULL, 0, 0};
    for (uint32_t k = 0; k < n; k++) {
        if (steps[k].batch)
            run_batch(plan, steps[k].batch, &m);
        else
            run_step(plan, &steps[k], &m, &m);
        gpu_chain_destroy(steps[k].chain);
        gpu_batch_destroy(steps[k].batch);
    }
    free(steps);
    return m;
}

static void compare(const aira_plan *plan) {
    gpu_queue queue = {0};
    gpu_step *changed = steps_of(plan);
    uint32_t n = plan->n_steps;
    memory planned = run_all(plan, steps_of(plan), n);
    if (!changed || !gpu_fuse(plan, &queue, changed, &n) || !gpu_batch_steps(plan, changed, &n)) exit(1);
    memory now = run_all(plan, changed, n);
    for (uint32_t id = 0; id < plan->n_tensors; id++) {
        gpu_range r = gpu_range_of(plan, id, 0);
        if (r.storage != AIRA_STORE_PERSISTENT && r.storage != AIRA_STORE_IO) continue;
        if (read_range(&planned, r) == read_range(&now, r)) continue;
        if (failures++ < 5)
            printf("plan %d: tensor %u (storage %u, bytes %llu..%llu) holds something else\n", plans, id, r.storage,
                   (unsigned long long)r.begin, (unsigned long long)r.end);
    }
    plans++;
    fewer += (int)(plan->n_steps - n);
    free(planned.pieces);
    free(now.pieces);
}

static int32_t takes_all(void *self, uint32_t op, const aira_plan_tensor *t, uint32_t a, uint32_t b, const int64_t *i,
                         uint32_t n_i) {
    (void)self, (void)op, (void)t, (void)a, (void)b, (void)i, (void)n_i;
    return 1;
}
static aira_status make_buffer(void *self, uint64_t bytes, void **buffer) {
    (void)self, (void)bytes;
    return (*buffer = malloc(1)) ? AIRA_OK : AIRA_E_MEMORY;
}
static void drop_buffer(void *self, void *buffer) {
    (void)self;
    free(buffer);
}
static aira_status look(void *self, const aira_plan *plan, void **program) {
    (void)self;
    compare(plan);
    *program = NULL;
    return AIRA_OK;
}
static void drop_program(void *self, void *program) { (void)self, (void)program; }

static const aira_device onlooker = {.size = sizeof(aira_device),
                                     .supports = takes_all,
                                     .buffer_create = make_buffer,
                                     .buffer_destroy = drop_buffer,
                                     .compile = look,
                                     .program_destroy = drop_program};

/* --- nets --- */

static aira__instance *plugin(aira__registry *registry, const char *kind, const char *keys) {
    aira__instance *made = NULL;
    aira_error error = {0};
    json_t *json = json_loads(keys, 0, NULL);
    if (aira__instance_create_json(registry, kind, json, &made, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    json_decref(json);
    return made;
}

static void try_net(const test_engine *e, aira_rng *rng, const char *backbone_keys) {
    static const char *const kinds[] = {"{\"use\": \"attention\"}",
                                        "{\"use\": \"attention\", \"rope\": false}",
                                        "{\"use\": \"mlp\"}",
                                        "{\"use\": \"mamba\"}",
                                        "{\"use\": \"mamba2\"}",
                                        "{\"use\": \"swiglu\"}",
                                        "{\"use\": \"linear_attention\"}"};
    enum { LAYERS = 5 };
    aira__instance *made[LAYERS], *backbone = plugin(e->registry, "backbone", backbone_keys);
    aira__layer layers[LAYERS];
    aira_error error = {0};
    for (int k = 0; k < LAYERS; k++) {
        made[k] = plugin(e->registry, "primitive", kinds[aira_rng_below(rng, sizeof kinds / sizeof *kinds)]);
        layers[k] = (aira__layer){"x", made[k]->plugin->id, "{}", made[k]->plugin->table, made[k]->self};
    }
    aira__recipe recipe;
    aira__diagnostics *d = aira__diagnostics_create();
    if (!aira__recipe_read(e->registry, NULL, &recipe, d)) {
        fprintf(stderr, "%s\n", aira__diagnostics_text(d));
        exit(1);
    }
    recipe.clip = aira_rng_below(rng, 2) ? 1.0 : 0.0;
    aira__model_spec spec = {.backbone = backbone->plugin->table,
                             .backbone_self = backbone->self,
                             .layers = layers,
                             .n_layers = 1 + aira_rng_below(rng, LAYERS),
                             .vocab = 11,
                             .classes = 11,
                             .batch = 3,
                             .input_length = 17,
                             .target_length = 17,
                             .compute_dtype = aira_rng_below(rng, 4) ? AIRA_BF16 : AIRA_F32,
                             .causal = true};
    aira_graph *graph = aira__step_build(&spec, &recipe, &error);
    aira__session *s = NULL;
    if (!graph || aira__session_create(&onlooker, NULL, NULL, &graph, 1, NULL, &s, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    aira__session_destroy(s);
    aira__graph_destroy(graph);
    aira__recipe_release(&recipe);
    aira__diagnostics_destroy(d);
    for (int k = 0; k < LAYERS; k++) aira__instance_destroy(made[k]);
    aira__instance_destroy(backbone);
}

int main(void) {
    test_engine e = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    aira_rng rng = aira_rng_make(aira_key(1, "nets"), 0);
    for (int k = 0; k < 60; k++) {
        const char *backbone = k % 3 ? "{\"use\": \"mad_lm\", \"width\": 64}" : "{\"use\": \"llama\", \"width\": 64}";
        try_net(&e, &rng, backbone);
    }
    test_engine_close(&e);
    printf("%d plans, %d steps fewer, %d places differ\n", plans, fewer, failures);
    return failures || fewer < 1000 ? 1 : 0;
}
