/* steps.c - merged and batched steps of the cuda device do what the planned steps did; no GPU is needed.
 *
 * Plans of training steps come through a device that computes nothing. Memory is bytes that hold names of values: a
 * step reads names and writes names made of its operation, its attributes and what it read; sums are sums of names, so
 * their order does not count. The planned order and the rearranged one must leave the same names in every variable and
 * every output. That fails when a step moves past one that it needs, writes where something lives, or is lost.
 * On the way: chains have equal keys where they have equal sources, and there alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "kernels/cuda/apart.h"
#include "kernels/cuda/batch.h"
#include "kernels/cuda/fast.h"
#include "kernels/cuda/generate.h"
#include "kernels/cuda/sums.h"
#include "kernels/cuda/weights.h"
#include "tests/cuda/names.h"
#include "tests/cuda/nets.h"

/* --- steps --- */

static uint64_t name_of(uint32_t op, uint64_t attributes, const uint64_t *in, uint32_t n_in, uint32_t out) {
    uint64_t h = mix(mix(0x1234567, op), attributes);
    if (op == AIRA_OP_ADD && n_in == 2) return in[0] + in[1];
    if (op == AIRA_OP_MUL && n_in == 2 && in[0] > in[1])
        return name_of(op, attributes, (uint64_t[]){in[1], in[0]}, 2, out);
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
        /* a wider type has the same values */
        bool same = c->op == AIRA_OP_ASSIGN || (c->op == AIRA_OP_CAST && c->dtype == AIRA_F32);
        values[p->n_loads + k] = same ? in[0] : name_of(c->op, c->mode, in, c->n_in, 0);
    }
    for (uint32_t k = 0; k < p->n_code; k++)
        if (p->code[k].stored)
            write_range(to, gpu_range_of(plan, chain->tensors[p->code[k].view], 1), values[p->n_loads + k]);
}

/* A whole layer, or its gradient, by the operations that it stands for. */
static void run_mlp(const aira_plan *plan, const gpu_step *step, const memory *from, memory *to) {
    uint64_t in[7], out[4], norm = attributes_of(step->also),
                            straight = mix(mix(1, 0), 1); /* second operand transposed */
    bool back = (step->merged & GPU_MLP_BACKWARD) != 0, adds = (step->merged & GPU_ADD_TENSOR) != 0;
    for (uint32_t k = 0; k < step->n_in; k++) in[k] = read_range(from, gpu_range_of(plan, gpu_step_in(step)[k], 0));
    const uint64_t x[2] = {in[back ? 3 : 0], in[back ? 4 : 1]}, n = name_of(AIRA_OP_RMS_NORM, norm, x, 2, 0);
    const uint64_t up[2] = {n, in[2]}, shape = name_of(AIRA_OP_MATMUL, straight, up, 2, 0);
    const uint64_t down[2] = {name_of(AIRA_OP_GELU, 0, &shape, 1, 0), back ? in[1] : in[3]};
    if (back) {
        const uint64_t slope[2] = {shape, name_of(AIRA_OP_MATMUL, attributes_of(step->step), in, 2, 0)};
        const uint64_t dn[2] = {name_of(AIRA_OP_GELU_BACKWARD, 0, slope, 2, 0), in[2]};
        const uint64_t all[3] = {x[0], x[1], name_of(AIRA_OP_MATMUL, attributes_of(step->step), dn, 2, 0)};
        out[0] = name_of(AIRA_OP_RMS_NORM_BACKWARD, norm, all, 3, 0) + (adds ? in[5] : 0);
        out[1] = dn[0];
        out[2] = down[0];
        out[3] = name_of(AIRA_OP_RMS_NORM_BACKWARD, norm, all, 3, 1);
    } else {
        out[0] = name_of(AIRA_OP_MATMUL, straight, down, 2, 0) + (adds ? in[4] : 0);
        out[1] = n;
    }
    for (uint32_t k = 0; k < step->n_out; k++) write_range(to, gpu_range_of(plan, gpu_step_out(step)[k], 1), out[k]);
}

/* Attributes of a step; sums over all axes but the last are the same however the axes are cut. */
enum { OVER_ROWS = 77 };
static uint64_t attributes_in(const aira_plan *plan, const gpu_step *step) {
    if (step->step->op == AIRA_OP_SUM) {
        const aira_shape *x = &gpu_tensor_of(plan, gpu_step_in(step)[0])->shape;
        if (x->rank > 1 && step->step->i[0] == (1ll << (x->rank - 1)) - 1) return OVER_ROWS;
    }
    return attributes_of(step->step);
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
    if (step->n_out <= 2) {
        uint64_t parts[3] = {name_of(AIRA_OP_MATMUL, attributes, in, 2, 0), in[2], in[3]};
        out[0] = name_of(AIRA_OP_CONCAT, attributes_of(step->also), parts, 3, 0);
        if (step->n_out == 2) out[1] = name_of(AIRA_OP_MATMUL, attributes, (uint64_t[]){out[0], in[4]}, 2, 0);
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
        uint64_t more = step->n_in > 4 ? in[4] : 0;
        if (step->merged & GPU_PRODUCT) more = name_of(AIRA_OP_MATMUL, attributes_of(step->also), in + 4, 2, 0);
        uint64_t g = step->n_in > 4 ? name_of_two(AIRA_OP_ADD, in[3], more) : in[3];
        uint64_t c = name_of(AIRA_OP_CONV1D_CAUSAL, attributes, in, 3, 0);
        planned[2] = name_of_two(AIRA_OP_SILU_BACKWARD, c, g);
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
    out[gate ? 7 : 6] = name_of(AIRA_OP_SUM, OVER_ROWS, &out[1], 1, 0);
    return true;
}

/* Convolutions side by side, one by one. */
static bool run_sides(const gpu_step *step, uint64_t attributes, const uint64_t *in, uint64_t *out) {
    if (!(step->merged & GPU_SIDES)) return false;
    gpu_step one = *step;
    uint32_t sides = step->step->op == AIRA_OP_CONV1D_CAUSAL ? step->n_in / 3 : step->n_out / 3;
    one.merged &= ~GPU_SIDES;
    one.n_in /= sides;
    one.n_out /= sides;
    for (uint32_t k = 0; k < sides; k++) (void)run_mamba(&one, attributes, in + k * one.n_in, out + k * one.n_out);
    return true;
}

#define TURNED 0x5555aaaa5555aaaaull

/* A step without a chain, merged or not: the planned operation, then what was merged into it. */
static void run_plain(const aira_plan *plan, const gpu_step *step, const memory *from, memory *to) {
    uint64_t in[GPU_MERGED_TENSORS], out[GPU_MERGED_TENSORS], attributes = attributes_in(plan, step);
    uint32_t n_in = step->merged & ~(GPU_ROPE | GPU_ELSEWHERE | GPU_SQUARES) ? step->step->n_in : step->n_in,
             next = n_in;
    const uint32_t *ids = gpu_step_in(step), *results = gpu_step_out(step);
    for (uint32_t k = 0; k < step->n_in; k++) in[k] = read_range(from, gpu_range_of(plan, ids[k], 0));
    if (step->merged & GPU_TURNED) { /* a turned copy is known by its name, and serves who asks for one */
        bool makes = step->step->op == AIRA_OP_TRANSPOSE;
        in[makes ? 0 : 1] ^= TURNED;
        if (makes) {
            write_range(to, gpu_range_of(plan, results[0], 1), in[0]);
            return;
        }
    }
    if (step->merged & GPU_SQUARES) in[0] = name_of(AIRA_OP_MUL, 0, (uint64_t[2]){in[0], in[0]}, 2, 0);
    if (run_sides(step, attributes, in, out) || run_mamba(step, attributes, in, out) ||
        run_project(plan, step, attributes, in, out)) {
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

/* Columns at.. of the sums that blocks leave, in their names: bytes of the first row. */
static gpu_range columns_of(const aira_plan *plan, uint32_t partial, uint64_t at, uint64_t n) {
    gpu_range r = gpu_range_of(plan, partial, 0);
    return (gpu_range){r.storage, 0, r.begin + 4 * at, r.begin + 4 * (at + n)};
}

/* Sums over rows: results, or, of a split step, names that the second stage finds. */
typedef struct sums_to {
    const aira_plan *plan;
    const gpu_step *step;
    memory *to;
    uint64_t at;
} sums_to;

static void put_sum(sums_to *p, uint32_t slot, uint64_t columns, uint64_t name) {
    const gpu_linear_slots s = gpu_linear_slots_of(&p->step->linear);
    const uint32_t *out = gpu_step_out(p->step);
    write_range(p->to,
                p->step->linear.split ? columns_of(p->plan, out[s.partial], p->at, columns)
                                      : gpu_range_of(p->plan, out[slot], 1),
                name);
    p->at += columns;
}

/* A step of linear.cu, operation by operation as linear.h tells. */
static void run_linear(const aira_plan *plan, const gpu_step *step, const memory *from, memory *to) {
    const gpu_linear *l = &step->linear;
    const gpu_linear_slots s = gpu_linear_slots_of(l);
    const int64_t turned[2] = {0, l->transposed};
    uint64_t in[GPU_MERGED_TENSORS], columns[GPU_LINEAR_MOST + 1] = {0}, r = 0, n = 0, dw = 0, y[GPU_LINEAR_MOST];
    uint64_t product = attributes_of(&(aira_plan_step){.n_i = 2, .i = turned}), d;
    const uint32_t *out = step->own + s.n_in;
    for (uint32_t k = 0; k < s.n_in; k++) in[k] = read_range(from, gpu_range_of(plan, step->own[k], 0));
    for (uint32_t j = 0; j < l->sums; j++) {
        const uint64_t pair[2] = {in[s.a[j]], in[s.w[j]]};
        r += name_of(AIRA_OP_MATMUL, product, pair, 2, 0);
        columns[j] = name_of(AIRA_OP_SUM, OVER_ROWS, pair, 1, 0);
    }
    if (!l->sums) r = in[s.r];
    if (l->bias) r += in[s.bias];
    if (l->slope) {
        const uint64_t three[3] = {in[s.x], in[s.slope_w], r};
        uint64_t eps = attributes_of(&(aira_plan_step){.n_f = 1, .f = &l->slope_eps});
        r = name_of(AIRA_OP_RMS_NORM_BACKWARD, eps, three, 3, 0);
        dw = name_of(AIRA_OP_RMS_NORM_BACKWARD, eps, three, 3, 1);
    }
    if (l->residual) r += in[s.residual];
    columns[GPU_LINEAR_MOST] = name_of(AIRA_OP_SUM, OVER_ROWS, &r, 1, 0);
    if (l->sums) write_range(to, gpu_range_of(plan, out[s.to_r], 1), r);
    d = (uint64_t)gpu_last(&gpu_tensor_of(plan, l->sums ? out[s.to_r] : step->own[s.r])->shape);
    if (l->norm) {
        const uint64_t two[2] = {r, in[s.norm_w]};
        r = n = name_of(AIRA_OP_RMS_NORM, attributes_of(&(aira_plan_step){.n_f = 1, .f = &l->norm_eps}), two, 2, 0);
    }
    for (uint32_t j = 0; j < l->fans; j++) {
        const uint64_t pair[2] = {r, in[s.fan_w[j]]};
        y[j] = name_of(AIRA_OP_MATMUL, product, pair, 2, 0);
        if (l->biases >> j & 1) y[j] += in[s.fan_bias[j]];
        if (l->turns >> j & 1) y[j] = name_of(AIRA_OP_ROPE, attributes_of(step->also), &y[j], 1, 0);
    }
    if (l->keeps) write_range(to, gpu_range_of(plan, out[s.n], 1), n);
    for (uint32_t j = 0; j < l->fans; j++) write_range(to, gpu_range_of(plan, out[s.y[j]], 1), y[j]);
    sums_to sums = {plan, step, to, 0};
    if (l->slope) put_sum(&sums, s.dw, d, dw);
    for (uint32_t j = 0; j <= GPU_LINEAR_MOST; j++) {
        bool own = j == GPU_LINEAR_MOST;
        if (!(l->columns >> j & 1)) continue;
        uint64_t width = own ? d : (uint64_t)gpu_last(&gpu_tensor_of(plan, step->own[s.a[j]])->shape);
        put_sum(&sums, s.columns[j], width, columns[j]);
    }
}

/* The second stage of its sums over rows. */
static void run_join(const aira_plan *plan, const gpu_step *step, const memory *from, memory *to) {
    uint64_t at = 0;
    for (uint32_t k = 0; k < step->n_out; k++) {
        uint64_t n = (uint64_t)gpu_elements(&gpu_tensor_of(plan, gpu_step_out(step)[k])->shape);
        write_range(to, gpu_range_of(plan, gpu_step_out(step)[k], 1),
                    read_range(from, columns_of(plan, gpu_step_in(step)[0], at, n)));
        at += n;
    }
}

static void run_step(const aira_plan *plan, const gpu_step *step, const memory *from, memory *to) {
    if (step->merged & GPU_LINEAR)
        run_linear(plan, step, from, to);
    else if (step->merged & GPU_JOIN)
        run_join(plan, step, from, to);
    else if (step->chain)
        run_chain(plan, step->chain, from, to);
    else if (step->merged & (GPU_MLP | GPU_MLP_BACKWARD))
        run_mlp(plan, step, from, to);
    else
        run_plain(plan, step, from, to);
}

static int failures, plans, fewer, weights, weight_launches;

/* Members of a batch run at the same time: none may touch what another writes. */
static void check_apart(const aira_plan *plan, const gpu_batch *batch) {
    gpu_range mine[GPU_MOST_RANGES], others[GPU_MOST_RANGES];
    for (uint32_t k = 0; k < gpu_batch_count(batch); k++)
        for (uint32_t j = 0; j < gpu_batch_count(batch); j++) {
            uint32_t n = gpu_step_ranges(plan, gpu_batch_member(batch, k), mine);
            uint32_t m = gpu_step_ranges(plan, gpu_batch_member(batch, j), others);
            for (uint32_t a = 0; a < n && j != k; a++)
                for (uint32_t b = 0; b < m; b++) failures += mine[a].writes && gpu_ranges_meet(&mine[a], &others[b]);
        }
}

/* All members of a batch read what was there before it. */
static void run_batch(const aira_plan *plan, const gpu_batch *batch, memory *m) {
    memory before = {calloc(m->n + 1, sizeof *m->pieces), m->n, m->n + 1};
    if (!before.pieces) exit(1);
    if (m->n) memcpy(before.pieces, m->pieces, m->n * sizeof *m->pieces);
    uint32_t n = gpu_batch_count(batch);
    check_apart(plan, batch);
    for (uint32_t k = 0; k < n; k++) run_step(plan, gpu_batch_member(batch, k), &before, m);
    free(before.pieces);
}

/* --- a device that only looks at plans --- */

static bool print;
static double clip = -1;

/* Of the plans since it was cleared: steps, layers of attention whose products run with a norm, MLP layers that are one
   step, products that do two, bytes of the largest own memory. */
typedef struct counts {
    int planned, left, forward, backward, mlp_forward, mlp_backward, slopes;
    int gates[2], convolutions[2], projections[2], ssd_steps; /* of Mamba layers: forward, backward */
    int products;                                             /* that convolutions' gradients do themselves */
    int narrowed, scattered; /* gradients of weights in bf16; of an embedding, onto another's place */
    unsigned long long own_bytes;
} counts;
static counts counted;

static void count_mamba(const gpu_step *step) {
    uint32_t op = step->step->op;
    bool back = op == AIRA_OP_SELECTIVE_SCAN_BACKWARD || op == AIRA_OP_RMS_NORM_BACKWARD ||
                op == AIRA_OP_CONV1D_CAUSAL_BACKWARD;
    if (step->batch || (step->merged & (GPU_LINEAR | GPU_JOIN))) return;
    counted.gates[back] += (step->merged & GPU_GATE) != 0;
    if (step->merged & GPU_SILU)
        counted.convolutions[back] += (int)(!(step->merged & GPU_SIDES) ? 1 : back ? step->n_out / 3 : step->n_in / 3);
    if (step->merged & GPU_PROJECT) counted.projections[step->n_out <= 2]++;
    counted.products += (step->merged & GPU_PRODUCT) != 0;
    counted.ssd_steps += (step->merged & GPU_STEPS) != 0;
}

static void count_steps(const gpu_layout *layout, const gpu_step *steps, uint32_t n) {
    counted.planned += (int)layout->plan.n_steps;
    counted.left += (int)n;
    if (layout->own_bytes > counted.own_bytes) counted.own_bytes = layout->own_bytes;
    for (uint32_t s = 0; s < n; s++) {
        const gpu_linear *l = &steps[s].linear;
        counted.scattered += steps[s].step->op == AIRA_OP_SCATTER_ADD && (steps[s].merged & GPU_ADD_TENSOR) != 0;
        counted.narrowed += steps[s].step->op == AIRA_OP_MATMUL && !steps[s].batch &&
                            steps[s].merged == GPU_ELSEWHERE &&
                            gpu_tensor_of(&layout->plan, steps[s].step->out[0])->dtype == AIRA_F32 &&
                            gpu_tensor_of(&layout->plan, gpu_step_out(&steps[s])[0])->dtype == AIRA_BF16;
        counted.mlp_forward += (steps[s].merged & GPU_MLP) != 0;
        counted.mlp_backward += (steps[s].merged & GPU_MLP_BACKWARD) != 0;
        count_mamba(&steps[s]);
        if (!(steps[s].merged & GPU_LINEAR)) continue;
        counted.slopes += l->slope;
        counted.forward += l->norm && l->fans == 3 && __builtin_popcount(l->turns) == 2;
        counted.backward += l->slope && l->sums == 3;
    }
}

/* Products that are gradients of weights, and the launches that they share. */
static void count_weights(const gpu_step *step) {
    uint32_t n = step->batch ? gpu_batch_count(step->batch) : 0;
    int products = 0;
    for (uint32_t k = 0; k < n; k++) products += gpu_batch_member(step->batch, k)->step->op == AIRA_OP_MATMUL;
    weights += products;
    weight_launches += products > 0;
}

static int kernels;

typedef struct known_kernel {
    uint64_t key[GPU_CHAIN_KEY];
    size_t n;
    char *source;
} known_kernel;

static void check_key(const gpu_chain_program *p, int vector, int batched) {
    static known_kernel known[512];
    known_kernel k;
    k.n = gpu_chain_key(p, vector, batched, k.key);
    k.source = gpu_chain_source(p, vector, batched, "chain");
    if (!k.source || k.n > GPU_CHAIN_KEY) exit(1);
    bool seen = false;
    for (int j = 0; j < kernels; j++) {
        bool same_key = known[j].n == k.n && !memcmp(known[j].key, k.key, k.n * sizeof *k.key);
        bool same_source = !strcmp(known[j].source, k.source);
        if (same_key != same_source && failures++ < 5) printf("a key does not tell what the source is:\n%s", k.source);
        seen |= same_source;
    }
    if (!seen && kernels < (int)(sizeof known / sizeof *known))
        known[kernels++] = k;
    else
        free(k.source);
}

static int copies;
static int turning;  /* GFLOP of products whose weights are turned; 0: none */
static bool keeping; /* copies of weights stay from run to run */

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
        if (steps[k].chain->wide) continue;
        check_key(&steps[k].chain->program, 1, 0);
        check_key(&steps[k].chain->program, 4, 1);
    }
    return steps;
}

static void run_part(const aira_plan *plan, const gpu_step *steps, uint32_t from, uint32_t to, memory *m) {
    for (uint32_t k = from; k < to; k++) {
        if (steps[k].batch)
            run_batch(plan, steps[k].batch, m);
        else
            run_step(plan, &steps[k], m, m);
    }
}

static void destroy_steps(gpu_step *steps, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) {
        gpu_chain_destroy(steps[k].chain);
        gpu_batch_destroy(steps[k].batch);
    }
    free(steps);
}

/* Number, operation, what is merged, bytes in hexadecimal: buffer, first + how many. */
static void print_steps(const aira_plan *plan, const gpu_step *steps, uint32_t n) {
    for (uint32_t s = 0; s < n; s++) {
        const gpu_step *step = steps[s].batch ? gpu_batch_member(steps[s].batch, 0) : &steps[s];
        gpu_range ranges[GPU_MOST_RANGES];
        uint32_t m = gpu_step_ranges(plan, step, ranges);
        printf("%4u %-22s", s, aira__op_name(step->step->op));
        if (steps[s].batch) printf(" %u at once", gpu_batch_count(steps[s].batch));
        if (step->merged) printf(" merged %x", step->merged);
        for (uint32_t k = 0; k < m; k++)
            printf("%s %c%llx+%llx", ranges[k].writes ? " >" : "", "apic+"[ranges[k].storage],
                   (unsigned long long)ranges[k].begin, (unsigned long long)(ranges[k].end - ranges[k].begin));
        printf("\n");
    }
}

static void compare_memory(const aira_plan *plan, const memory *planned, const memory *now, const char *when) {
    for (uint32_t id = 0; id < plan->n_tensors; id++) {
        gpu_range r = gpu_range_of(plan, id, 0);
        if (r.storage != AIRA_STORE_PERSISTENT && r.storage != AIRA_STORE_IO) continue;
        if (read_range(planned, r) == read_range(now, r)) continue;
        if (failures++ < 5)
            printf("plan %d, %s: tensor %u (storage %u, bytes %llu..%llu) holds something else\n", plans, when, id,
                   r.storage, (unsigned long long)r.begin, (unsigned long long)r.end);
    }
}

/* What is counted is counted where no copies stay. */
static void count(const gpu_layout *layout, const gpu_step *steps, uint32_t n, uint32_t once, uint32_t kept) {
    if (print) print_steps(&layout->plan, steps + once, n - once);
    for (uint32_t k = once; k < once + kept; k++) copies += steps[k].batch ? (int)gpu_batch_count(steps[k].batch) : 1;
    if (keeping) return;
    count_steps(layout, steps + once, n - once);
    for (uint32_t k = 0; k < n; k++) count_weights(&steps[k]);
    plans++;
    fewer += (int)(layout->plan.n_steps - n);
}

/* A run, a second one, and a third before which somebody writes all variables. */
static void compare(const aira_plan *plan) {
    gpu_layout layout;
    gpu_queue queue = {.turn = turning};
    gpu_keeping keep = {.least = keeping ? 0 : 1, .most = keeping ? UINT64_MAX : 0};
    gpu_step *given = steps_of(plan), *changed = steps_of(plan);
    memory planned = {NULL, 0, 0}, now = {NULL, 0, 0};
    uint32_t n = plan->n_steps, once = 0;
    const gpu_range variables = {AIRA_STORE_PERSISTENT, 1, 0, plan->bytes[AIRA_STORE_PERSISTENT]};
    gpu_layout_open(&layout, plan);
    if (!given || !changed || !gpu_rearrange(&layout, &queue, changed, &n, &once, &keep)) exit(1);
    count(&layout, changed, n, once, keep.n);
    run_part(plan, given, 0, plan->n_steps, &planned);
    run_part(&layout.plan, changed, 0, n, &now);
    compare_memory(plan, &planned, &now, "first run");
    run_part(plan, given, 0, plan->n_steps, &planned);
    run_part(&layout.plan, changed, once + keep.n, n, &now);
    compare_memory(plan, &planned, &now, "second run");
    write_range(&planned, variables, 77);
    write_range(&now, variables, 77);
    run_part(plan, given, 0, plan->n_steps, &planned);
    run_part(&layout.plan, changed, once, n, &now);
    compare_memory(plan, &planned, &now, "after others wrote");
    destroy_steps(given, plan->n_steps);
    destroy_steps(changed, n);
    gpu_layout_close(&layout);
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
    keeping = false;
    if (!print) compare(plan);
    keeping = true;
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

static void try_random(const test_engine *e, aira_rng *rng, const char *backbone) {
    static const char *const kinds[] = {"{\"use\": \"attention\"}",
                                        "{\"use\": \"attention\", \"rope\": false}",
                                        "{\"use\": \"mlp\"}",
                                        "{\"use\": \"mamba\"}",
                                        "{\"use\": \"mamba2\"}",
                                        "{\"use\": \"swiglu\"}",
                                        "{\"use\": \"linear_attention\"}"};
    net n = {.backbone = backbone, .batch = 3, .length = 17, .vocab = 11};
    if (aira_rng_below(rng, 2)) n.batch = 128; /* rows enough for kernels of small weights' gradients */
    for (int k = 0; k < 5; k++) n.layers[k] = kinds[aira_rng_below(rng, sizeof kinds / sizeof *kinds)];
    n.clip = aira_rng_below(rng, 2) ? 1.0 : 0.0;
    n.n_layers = 1 + aira_rng_below(rng, 5);
    n.dtype = aira_rng_below(rng, 4) ? AIRA_BF16 : AIRA_F32;
    try_net(e, &onlooker, &n);
}

/* Layers by letter: A attention, M MLP, b Mamba-1, s Mamba-2, g SwiGLU; mad-lab's width. */
static void try_letters(const test_engine *e, const char *letters, uint32_t batch, uint32_t length) {
    net n = {.backbone = "{\"use\": \"mad_lm\"}", .batch = batch, .length = length, .vocab = 16, .dtype = AIRA_BF16};
    n.clip = clip;
    for (const char *c = letters; *c && n.n_layers < MOST_LAYERS; c++)
        n.layers[n.n_layers++] = *c == 'A'   ? "{\"use\": \"attention\"}"
                                 : *c == 'M' ? "{\"use\": \"mlp\"}"
                                 : *c == 'b' ? "{\"use\": \"mamba\"}"
                                 : *c == 's' ? "{\"use\": \"mamba2\", \"state\": 128}"
                                             : "{\"use\": \"swiglu\"}";
    try_net(e, &onlooker, &n);
}

#define LLAMA_CASTS(layers) (1 + 5 * (layers))

/* A Llama: `layers` times attention and SwiGLU; 16 times is 1B as it is measured. */
static void try_llama(const test_engine *e, uint32_t layers) {
    net n = {.backbone = "{\"use\": \"llama\", \"width\": 2048}", .batch = 4, .length = 4096, .vocab = 32000};
    n.dtype = AIRA_BF16;
    n.clip = 1;
    while (n.n_layers + 2 <= MOST_LAYERS && n.n_layers < 2 * layers) {
        n.layers[n.n_layers++] = "{\"use\": \"attention\", \"heads\": 32, \"kv_heads\": 8, \"bias\": false}";
        n.layers[n.n_layers++] = "{\"use\": \"swiglu\", \"hidden\": 8192}";
    }
    try_net(e, &onlooker, &n);
}

/* Every attention layer of a net of the search runs its products with its norm, and every MLP layer is one step: in a
   training step and an evaluation, and backward. */
static void count_layers(const test_engine *e, const char *letters, int attentions, int mlps) {
    counted = (counts){0};
    try_letters(e, letters, 128, 128);
    printf(
        "%s: %d steps of training and evaluation are %d; merged are %d of %d attention layers forward, %d backward, %d "
        "of %d MLP layers forward, %d backward; %.1f MB of own memory\n",
        letters, counted.planned, counted.left, counted.forward, 2 * attentions, counted.backward, counted.mlp_forward,
        2 * mlps, counted.mlp_backward, (double)counted.own_bytes / 1e6);
    failures += counted.forward != 2 * attentions || counted.backward != attentions;
    failures += counted.mlp_forward != 2 * mlps || counted.mlp_backward != mlps;
}

/* Every Mamba layer of a net of the search is merged: its gate (scan or norm), convolutions, projections if it has any,
   softplus' slope, and the gradients of its input with that of the norm before. most: steps that may be left. */
static void count_mamba_layers(const test_engine *e, const char *letters, int ones, int twos, int most) {
    int layers = ones + twos, convolutions = ones + 3 * twos;
    counted = (counts){0};
    try_letters(e, letters, 128, 128);
    printf(
        "%s: %d steps of training and evaluation are %d; merged are %d of %d gates forward, %d of %d backward, %d and "
        "%d of %d and %d convolutions, %d and %d of %d and %d projections, of them %d of %d with a convolution, %d of "
        "%d slopes of time steps, %d of %d (or more) norms' gradients with products; %.1f MB of own memory\n",
        letters, counted.planned, counted.left, counted.gates[0], 2 * layers, counted.gates[1], layers,
        counted.convolutions[0], counted.convolutions[1], 2 * convolutions, convolutions, counted.projections[0],
        counted.projections[1], 2 * ones, ones, counted.products, ones, counted.ssd_steps, layers, counted.slopes,
        layers + 1, (double)counted.own_bytes / 1e6);
    failures += counted.gates[0] != 2 * layers || counted.gates[1] != layers;
    failures += counted.convolutions[0] != 2 * convolutions || counted.convolutions[1] != convolutions;
    failures += counted.projections[0] != 2 * ones || counted.projections[1] != ones || counted.products != ones;
    failures += counted.ssd_steps != layers || counted.slopes < layers || counted.left > most;
}

int main(int argc, char **argv) {
    test_engine e = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    aira_rng rng = aira_rng_make(aira_key(1, "nets"), 0);
    if (argc == 2) { /* LAYERS: the steps that are left of a step of a Llama of so many */
        print = true;
        try_llama(&e, (uint32_t)atoi(argv[1]));
        test_engine_close(&e);
        return 0;
    }
    if (argc > 4) clip = atof(argv[4]);
    if (argc > 3) { /* LETTERS BATCH LENGTH [CLIP]: the steps that are left of a step of this net */
        print = true;
        try_letters(&e, argv[1], (uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]));
        test_engine_close(&e);
        return 0;
    }
    for (int k = 0; k < 60; k++)
        try_random(&e, &rng, k % 3 ? "{\"use\": \"mad_lm\", \"width\": 64}" : "{\"use\": \"llama\", \"width\": 64}");
    printf("%d plans, %d steps fewer, %d kernels, %d gradients of weights in %d launches, %d failures\n", plans, fewer,
           kernels, weights, weight_launches, failures);
    failures += fewer < 1000 || 2 * weights < 3 * weight_launches || weights < 100;
    printf("%d copies of weights stay from run to run", copies);
    failures += copies < 100;
    copies = 0;
    counted = (counts){0};
    try_llama(&e, 2);
    printf(", %d of %d in a large net of two layers\n", copies, LLAMA_CASTS(2));
    failures += copies != LLAMA_CASTS(2);
    printf("of its gradients %d of 8 are narrow, %d of 1 added in place\n", counted.narrowed, counted.scattered);
    failures += counted.narrowed != 8 || counted.scattered != 1;
    copies = 0;
    turning = 50;
    try_llama(&e, 2);
    turning = 0;
    printf("%d copies and turned copies stay, %d of them turned\n", copies, copies - LLAMA_CASTS(2));
    failures += copies != LLAMA_CASTS(2) + 10; /* q, out, gate, up and down */
    count_layers(&e, "AAAAAAAAMMMMMMMM", 8, 8);
    count_layers(&e, "AMAMAMAMAMAMAMAM", 8, 8);
    count_layers(&e, "MMMMMMMMMMMMMMMM", 0, 16);
    count_mamba_layers(&e, "bbbbbbbbbbbbbbbb", 16, 0, 276);
    count_mamba_layers(&e, "ssssssssssssssss", 0, 16, 324);
    count_mamba_layers(&e, "bsbsMbsMAMbsMbsM", 5, 5, 237);
    test_engine_close(&e);
    return failures != 0;
}
