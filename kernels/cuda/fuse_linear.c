/* fuse_linear.c - steps around norms that share rows become one step of linear.cu (linear.h says what it can do).
 *
 * A group starts with a norm's gradient, a product, or a norm, and grows by one step after another: sums of columns of
 * what it reads and makes, a norm of its rows, products of its rows and their rotary positions. It runs where its last
 * member stood. A member thus runs later than planned: what it reads must still be there then, and nobody between may
 * touch what it writes. Values that only members read are not written at all. A growth that breaks this, or that the
 * kernel does not take, is undone.
 */
#include <stdlib.h>
#include <string.h>

#include "fast.h"
#include "steps.h"
#include "sum_chain.h"
#include "weights.h"

#define NONE UINT32_MAX
#define MOST_MEMBERS 24u
#define REACH 96u /* steps that a group looks ahead */

typedef struct planner {
    const aira_plan *plan;
    const gpu_queue *queue;
    gpu_step *steps;
    uint32_t n;
    bool *gone;
} planner;

/* A group, its tensors by role. */
typedef struct group {
    uint32_t members[MOST_MEMBERS], n;
    gpu_linear linear;
    uint32_t a[GPU_LINEAR_MOST], w[GPU_LINEAR_MOST], bias, x, slope_w, residual, r, norm_w;
    uint32_t fan_w[GPU_LINEAR_MOST], fan_bias[GPU_LINEAR_MOST], fan_made[GPU_LINEAR_MOST];
    const aira_plan_step *also;                                            /* the rotary positions */
    uint32_t dw, columns[GPU_LINEAR_MOST + 1], normed, y[GPU_LINEAR_MOST]; /* results; r is one if there are sums */
    uint32_t made;                                                         /* the step that makes r */
} group;

static const aira_plan_tensor *tensor(const planner *p, uint32_t id) { return gpu_tensor_of(p->plan, id); }
static gpu_range reads(const planner *p, uint32_t id) { return gpu_range_of(p->plan, id, 0); }
static bool same_place(const planner *p, uint32_t a, uint32_t b) {
    gpu_range x = reads(p, a), y = reads(p, b);
    return gpu_ranges_equal(&x, &y);
}

static bool touches(const planner *p, uint32_t s, const gpu_range *range, bool writes) {
    return !p->gone[s] && gpu_step_touches(p->plan, &p->steps[s], range, writes);
}

static uint32_t last_writer(const planner *p, uint32_t before, const gpu_range *range) {
    for (uint32_t s = before; s-- > 0;)
        if (touches(p, s, range, true)) return s;
    return NONE;
}

static bool is_member(const group *g, uint32_t s) {
    for (uint32_t k = 0; k < g->n; k++)
        if (g->members[k] == s) return true;
    return false;
}

static uint32_t last_member(const group *g) {
    uint32_t last = 0;
    for (uint32_t k = 0; k < g->n; k++)
        if (g->members[k] > last) last = g->members[k];
    return last;
}

/* --- the merged step --- */

static void lay_out(const group *g, gpu_step *step) {
    const gpu_linear *l = &g->linear;
    const gpu_linear_slots s = gpu_linear_slots_of(l);
    uint32_t *in = step->own, *out = step->own + s.n_in;
    step->merged = GPU_LINEAR;
    step->kernel = &gpu_linear_kernel;
    step->linear = *l;
    step->also = g->also;
    step->n_in = s.n_in;
    step->n_out = s.n_out;
    for (uint32_t j = 0; j < l->sums; j++) in[s.a[j]] = g->a[j], in[s.w[j]] = g->w[j];
    if (l->sums)
        out[s.to_r] = g->r;
    else
        in[s.r] = g->r;
    if (l->bias) in[s.bias] = g->bias;
    if (l->slope) in[s.x] = g->x, in[s.slope_w] = g->slope_w, out[s.dw] = g->dw;
    if (l->residual) in[s.residual] = g->residual;
    if (l->norm) in[s.norm_w] = g->norm_w;
    if (l->keeps) out[s.n] = g->normed;
    for (uint32_t j = 0; j <= GPU_LINEAR_MOST; j++)
        if (l->columns >> j & 1) out[s.columns[j]] = g->columns[j];
    for (uint32_t j = 0; j < l->fans; j++) {
        in[s.fan_w[j]] = g->fan_w[j];
        if (l->biases >> j & 1) in[s.fan_bias[j]] = g->fan_bias[j];
        out[s.y[j]] = g->y[j];
    }
}

static bool kernel_takes(const planner *p, const gpu_step *step) {
    gpu_view views[GPU_MERGED_TENSORS];
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        const aira_plan_tensor *t = tensor(p, step->own[k]);
        views[k] = (gpu_view){.dtype = t->dtype, .n = gpu_elements(&t->shape), .shape = t->shape};
        views[k].data = (char *)(uintptr_t)(1u << 20) + t->offset; /* no address, but aligned as one */
    }
    gpu_call call = {.step = step->step, .in = views, .out = views + step->n_in, .n_in = step->n_in};
    call.n_out = step->n_out;
    call.merged = step->merged;
    call.linear = &step->linear;
    call.also = step->also;
    call.tables = p->queue->tables;
    return gpu_linear_takes(&call);
}

/* --- may it run there? --- */

static bool is_result(const gpu_step *merged, const planner *p, const gpu_range *range) {
    for (uint32_t k = 0; k < merged->n_out; k++) {
        gpu_range r = reads(p, gpu_step_out(merged)[k]);
        if (gpu_ranges_equal(&r, range)) return true;
    }
    return false;
}

/* Does a step outside of the group read what member s wrote there, or may the host? */
static bool is_read_outside(const planner *p, const group *g, const gpu_step *merged, uint32_t s,
                            const gpu_range *range) {
    gpu_range ranges[GPU_MOST_RANGES];
    if (gpu_is_seen(range)) return true;
    for (uint32_t t = s + 1; t < p->n; t++) {
        bool over = false;
        if (p->gone[t]) continue;
        if (is_member(g, t)) { /* after a result that is written there, the value is another */
            uint32_t n = gpu_step_ranges(p->plan, &p->steps[t], ranges);
            for (uint32_t k = 0; k < n; k++)
                over |= ranges[k].writes && gpu_ranges_meet(&ranges[k], range) && is_result(merged, p, &ranges[k]);
            if (over) return false;
            continue;
        }
        uint32_t how = gpu_step_uses(p->plan, &p->steps[t], range);
        if (how) return (how & GPU_READS) != 0;
    }
    return false;
}

/* Is the range one of the merged step's own operands (else it passes inside)? */
static bool is_operand(const gpu_step *merged, const planner *p, const gpu_range *range) {
    for (uint32_t k = 0; k < merged->n_in; k++) {
        gpu_range r = reads(p, gpu_step_in(merged)[k]);
        if (gpu_ranges_equal(&r, range)) return true;
    }
    return false;
}

/* Member s as part of a step at place `last`. */
static bool may_run_late(const planner *p, const group *g, const gpu_step *merged, uint32_t s, uint32_t last) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(p->plan, &p->steps[s], ranges);
    for (uint32_t k = 0; k < n; k++) {
        bool writes = ranges[k].writes != 0,
             counts = writes ? is_result(merged, p, &ranges[k]) : is_operand(merged, p, &ranges[k]);
        if (!counts && writes && is_read_outside(p, g, merged, s, &ranges[k])) return false;
        for (uint32_t t = s + 1; t < last && counts; t++)
            if (!is_member(g, t) && touches(p, t, &ranges[k], !writes)) return false;
    }
    return true;
}

/* Results lie apart from each other, and from operands unless those are rows of which a warp reads its own first. What
   the second stage writes comes after everything was read. */
static bool lies_well(const planner *p, const gpu_step *merged) {
    const gpu_linear *l = &merged->linear;
    const gpu_linear_slots s = gpu_linear_slots_of(l);
    const uint32_t *in = gpu_step_in(merged), *out = gpu_step_out(merged);
    for (uint32_t k = 0; k < merged->n_out; k++) {
        gpu_range to = reads(p, out[k]);
        for (uint32_t j = 0; j < k; j++) {
            gpu_range other = reads(p, out[j]);
            if (gpu_ranges_meet(&to, &other)) return false;
        }
        bool second = l->slope && k == s.dw;
        for (uint32_t j = 0; j <= GPU_LINEAR_MOST; j++) second |= (l->columns >> j & 1) && s.columns[j] == k;
        for (uint32_t j = 0; j < merged->n_in && !second; j++) {
            gpu_range from = reads(p, in[j]);
            bool rows = (!l->sums && j == s.r) || (l->slope && j == s.x) || (l->residual && j == s.residual);
            for (uint32_t i = 0; i < l->sums; i++) rows |= s.a[i] == j;
            if (gpu_ranges_meet(&to, &from) && !(rows && gpu_ranges_equal(&to, &from))) return false;
        }
    }
    return true;
}

/* The group as a step at its place, if it may be one. */
static bool settles(const planner *p, const group *g, gpu_step *merged) {
    uint32_t last = last_member(g);
    *merged = p->steps[g->made]; /* what it is in a trace */
    lay_out(g, merged);
    if (!kernel_takes(p, merged) || !lies_well(p, merged)) return false;
    for (uint32_t k = 0; k < g->n; k++)
        if (!may_run_late(p, g, merged, g->members[k], last)) return false;
    return true;
}

/* The group with what was added, or as it was before. */
static bool keep_if_settled(const planner *p, group *g, const group *more) {
    gpu_step merged;
    if (more->n > MOST_MEMBERS || !settles(p, more, &merged)) return false;
    *g = *more;
    return true;
}

static void add_member(group *g, uint32_t s) {
    if (g->n < MOST_MEMBERS) g->members[g->n] = s;
    g->n++;
}

/* --- steps that can be members --- */

static bool is_product(const planner *p, uint32_t s, uint32_t forbidden) {
    const gpu_step *step = &p->steps[s];
    uint32_t known = GPU_ELSEWHERE | GPU_ADD_BIAS | GPU_ADD_TENSOR;
    return !p->gone[s] && !step->batch && !step->chain && step->step->op == AIRA_OP_MATMUL && step->step->i[0] == 0 &&
           !(step->merged & (~known | forbidden)) && tensor(p, gpu_step_in(step)[1])->shape.rank == 2;
}
static bool is_transposed(const planner *p, uint32_t s) { return p->steps[s].step->i[1] != 0; }

static bool is_plain(const planner *p, uint32_t s, uint32_t op) {
    const gpu_step *step = &p->steps[s];
    return !p->gone[s] && !step->batch && !step->chain && !(step->merged & ~GPU_ELSEWHERE) && step->step->op == op;
}

/* A sum over all axes but the last. */
static bool is_column_sum(const planner *p, uint32_t s, uint32_t of) {
    if (!is_plain(p, s, AIRA_OP_SUM)) return false;
    const gpu_step *step = &p->steps[s];
    const aira_shape *x = &tensor(p, gpu_step_in(step)[0])->shape;
    const aira_plan_tensor *y = tensor(p, gpu_step_out(step)[0]);
    return x->rank > 1 && step->step->i[0] == (1ll << (x->rank - 1)) - 1 && gpu_last(x) == gpu_elements(&y->shape) &&
           gpu_last(x) == gpu_last(&tensor(p, of)->shape) && (y->dtype == AIRA_F32 || y->dtype == AIRA_BF16) &&
           same_place(p, gpu_step_in(step)[0], of);
}

static uint32_t reach_of(const planner *p, uint32_t s) { return p->n - s > REACH ? s + REACH : p->n; }

/* Will a gradient of a weight that reads the same rows take this sum along? */
static bool is_taken_elsewhere(const planner *p, uint32_t sum, uint32_t from) {
    for (uint32_t t = from; t < reach_of(p, from); t++)
        if (!p->gone[t] && gpu_is_weight_product(p->plan, &p->steps[t]) &&
            gpu_is_weight_sum(p->plan, &p->steps[sum], &p->steps[t]))
            return true;
    return false;
}

/* Sums of columns of operand j, or of r (j == GPU_LINEAR_MOST), which is there from step `from` on; unless
   `always`, only if nobody else adds them up in passing. */
static void add_columns(const planner *p, group *g, uint32_t j, uint32_t id, uint32_t from, bool always) {
    gpu_range range = reads(p, id);
    for (uint32_t t = from; t < reach_of(p, from); t++) {
        if (touches(p, t, &range, true)) return;
        if (is_member(g, t) || !is_column_sum(p, t, id)) continue;
        if (!always && is_taken_elsewhere(p, t, from)) return;
        group more = *g;
        more.linear.columns |= (uint8_t)(1u << j);
        more.columns[j] = gpu_step_out(&p->steps[t])[0];
        add_member(&more, t);
        if (keep_if_settled(p, g, &more)) return;
    }
}

static void add_norm(const planner *p, group *g) {
    gpu_range range = reads(p, g->r);
    for (uint32_t t = g->made + 1; t < reach_of(p, g->made); t++) {
        if (touches(p, t, &range, true)) return;
        if (!is_plain(p, t, AIRA_OP_RMS_NORM) || !same_place(p, gpu_step_in(&p->steps[t])[0], g->r)) continue;
        group more = *g;
        more.linear.norm = more.linear.keeps = 1;
        more.linear.norm_eps = p->steps[t].step->f[0];
        more.norm_w = gpu_step_in(&p->steps[t])[1];
        more.normed = gpu_step_out(&p->steps[t])[0];
        add_member(&more, t);
        if (keep_if_settled(p, g, &more)) return;
    }
}

/* Rotary positions of fanned product j, which is there from step `from` on. */
static void add_turn(const planner *p, group *g, uint32_t j, uint32_t from) {
    gpu_range range = reads(p, g->y[j]);
    for (uint32_t t = from; t < reach_of(p, from); t++) {
        if (touches(p, t, &range, true)) return;
        if (!is_plain(p, t, AIRA_OP_ROPE) || !same_place(p, gpu_step_in(&p->steps[t])[0], g->y[j])) continue;
        const aira_plan_step *s = p->steps[t].step;
        const aira_shape *x = &tensor(p, gpu_step_in(&p->steps[t])[0])->shape;
        if (s->n_in != 1 || x->rank != 4 || s->i[1] != 0 || s->i[2] != 0) return;
        if (s->i[0] != 0 && s->i[0] != x->dims[3]) return;
        const gpu_linear *l = &g->linear;
        if (l->turns && (l->head != x->dims[3] || l->times != x->dims[1] || g->also->f[0] < s->f[0] ||
                         g->also->f[0] > s->f[0] || g->also->i[0] != s->i[0]))
            return;
        group more = *g;
        more.linear.turns |= (uint8_t)(1u << j);
        more.linear.head = (uint32_t)x->dims[3];
        more.linear.times = x->dims[1];
        more.also = s;
        more.y[j] = gpu_step_out(&p->steps[t])[0];
        add_member(&more, t);
        (void)keep_if_settled(p, g, &more);
        return;
    }
}

static void add_fan(const planner *p, group *g, uint32_t t) {
    const gpu_step *step = &p->steps[t];
    group more = *g;
    uint32_t j = more.linear.fans++;
    if (g->linear.fans + g->linear.sums && is_transposed(p, t) != g->linear.transposed) return;
    more.linear.transposed = is_transposed(p, t);
    more.fan_w[j] = gpu_step_in(step)[1];
    more.y[j] = gpu_step_out(step)[0];
    more.fan_made[j] = t;
    if (step->merged & GPU_ADD_BIAS) {
        more.linear.biases |= (uint8_t)(1u << j);
        more.fan_bias[j] = gpu_step_in(step)[2];
    }
    add_member(&more, t);
    (void)keep_if_settled(p, g, &more);
}

/* A norm that only members read is not written. */
static void forget_norm(const planner *p, group *g) {
    group less = *g;
    less.linear.keeps = 0;
    if (g->linear.norm) (void)keep_if_settled(p, g, &less);
}

/* Products of r or of its norm, which step `from` - 1 makes. What reads one of them at once must join before the next
   can: so until nothing more joins. */
static void add_fans(const planner *p, group *g, uint32_t from) {
    uint32_t id = g->linear.norm ? g->normed : g->r, before;
    gpu_range range = reads(p, id);
    do {
        before = g->n;
        for (uint32_t t = from; t < reach_of(p, from) && g->linear.fans < GPU_LINEAR_MOST; t++) {
            if (touches(p, t, &range, true)) break;
            if (!is_member(g, t) && is_product(p, t, GPU_ADD_TENSOR) && same_place(p, gpu_step_in(&p->steps[t])[0], id))
                add_fan(p, g, t);
        }
        forget_norm(p, g); /* its place may be a turned result's */
        for (uint32_t j = 0; j < g->linear.fans; j++)
            if (!(g->linear.turns >> j & 1)) add_turn(p, g, j, g->fan_made[j] + 1);
    } while (g->n > before);
}

/* --- order --- */

/* Does nobody between steps s and t keep t from running right behind s? */
static bool may_run_early(const planner *p, uint32_t s, uint32_t t) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(p->plan, &p->steps[t], ranges);
    for (uint32_t between = s + 1; between < t; between++)
        for (uint32_t k = 0; k < n; k++)
            if (touches(p, between, &ranges[k], !ranges[k].writes)) return false;
    return true;
}

/* Products of the same rows follow each other, where what is made of the first did not have to come before the next. */
static void gather_fans(const planner *p) {
    for (uint32_t t = 1; t < p->n; t++) {
        if (!is_product(p, t, GPU_ADD_TENSOR)) continue;
        uint32_t rows = gpu_step_in(&p->steps[t])[0];
        gpu_range range = reads(p, rows);
        for (uint32_t s = t; s-- > 0 && t - s <= REACH && !touches(p, s, &range, true);) {
            bool alike = is_product(p, s, GPU_ADD_TENSOR) && is_transposed(p, s) == is_transposed(p, t) &&
                         same_place(p, gpu_step_in(&p->steps[s])[0], rows);
            if (!alike || s + 1 == t) continue;
            if (!may_run_early(p, s, t)) break;
            gpu_step product = p->steps[t];
            memmove(&p->steps[s + 2], &p->steps[s + 1], (t - s - 1) * sizeof *p->steps);
            p->steps[s + 1] = product;
            break;
        }
    }
}

/* --- groups --- */

/* Products whose results chain s adds, in their order. */
static bool find_terms(const planner *p, uint32_t s, uint32_t *products, uint32_t *n) {
    sum_chain sum;
    if (!p->steps[s].chain || p->steps[s].chain->wide || !read_sum(p->plan, p->steps[s].chain, &sum)) return false;
    if (sum.bias != NONE || sum.n_terms > GPU_LINEAR_MOST) return false;
    for (uint32_t k = 0; k < sum.n_terms; k++) {
        gpu_range range = reads(p, sum.terms[k]);
        uint32_t t = last_writer(p, s, &range), at = (*n)++;
        if (t == NONE || !is_product(p, t, GPU_ADD_BIAS | GPU_ADD_TENSOR)) return false;
        if (!same_place(p, gpu_step_out(&p->steps[t])[0], sum.terms[k])) return false;
        for (; at > 0 && products[at - 1] < t; at--) products[at] = products[at - 1];
        products[at] = t;
    }
    return true;
}

/* Products that add up to tensor `id` before step c, in their order: one into the other, or in a chain behind them. */
static bool find_sum(const planner *p, group *g, uint32_t c, uint32_t id) {
    gpu_range range = reads(p, id);
    uint32_t products[GPU_LINEAR_MOST], n = 0, adds = NONE;
    for (uint32_t before = c;;) {
        uint32_t s = last_writer(p, before, &range);
        if (s == NONE || n == GPU_LINEAR_MOST) return false;
        if (n == 0 && p->steps[s].chain) {
            if (!find_terms(p, s, products, &n)) return false;
            adds = s;
            break;
        }
        if (!is_product(p, s, GPU_ADD_BIAS)) return false;
        if (!same_place(p, gpu_step_out(&p->steps[s])[0], id)) return false;
        products[n++] = before = s;
        if (!(p->steps[s].merged & GPU_ADD_TENSOR)) break;
        if (!same_place(p, gpu_step_in(&p->steps[s])[2], id)) return false;
    }
    for (uint32_t k = n; k-- > 0;) {
        uint32_t s = products[k], j = g->linear.sums++;
        if (j > 0 && is_transposed(p, s) != g->linear.transposed) return false;
        g->linear.transposed = is_transposed(p, s);
        g->a[j] = gpu_step_in(&p->steps[s])[0];
        g->w[j] = gpu_step_in(&p->steps[s])[1];
        add_member(g, s);
    }
    if (adds != NONE) add_member(g, adds);
    return true;
}

/* A norm's gradient, the products that it takes, and what follows. */
static bool start_slope(const planner *p, group *g, uint32_t c) {
    const gpu_step *step = &p->steps[c];
    if (p->gone[c] || step->step->op != AIRA_OP_RMS_NORM_BACKWARD || (step->merged & ~(GPU_ADD_TENSOR | GPU_ELSEWHERE)))
        return false;
    group made = {.n = 0};
    if (!find_sum(p, &made, c, gpu_step_in(step)[2])) return false;
    made.linear.slope = 1;
    made.linear.slope_eps = step->step->f[0];
    made.x = gpu_step_in(step)[0];
    made.slope_w = gpu_step_in(step)[1];
    if (step->merged & GPU_ADD_TENSOR) made.linear.residual = 1, made.residual = gpu_step_in(step)[3];
    made.r = gpu_step_out(step)[0];
    made.dw = gpu_step_out(step)[1];
    made.made = c;
    add_member(&made, c);
    if (!keep_if_settled(p, g, &made)) return false;
    for (uint32_t j = 0; j < g->linear.sums; j++) {
        gpu_range range = reads(p, g->a[j]);
        uint32_t writer = last_writer(p, g->members[j], &range);
        add_columns(p, g, j, g->a[j], writer == NONE ? 0 : writer + 1, false);
    }
    group alone = *g; /* r must be summed here if products of it are to join: whoever reads it between would wait */
    add_columns(p, g, GPU_LINEAR_MOST, g->r, c + 1, true);
    add_fans(p, g, c + 1);
    if (g->linear.fans) return true;
    *g = alone;
    add_columns(p, g, GPU_LINEAR_MOST, g->r, c + 1, false);
    return true;
}

/* A product whose rows are normed and taken by products: all of it, or nothing. */
static bool start_product(const planner *p, group *g, uint32_t c) {
    const gpu_step *step = &p->steps[c];
    uint32_t next = 2;
    if (!is_product(p, c, 0)) return false;
    group made = {.n = 0};
    made.linear.sums = 1;
    made.linear.transposed = is_transposed(p, c);
    made.a[0] = gpu_step_in(step)[0];
    made.w[0] = gpu_step_in(step)[1];
    if (step->merged & GPU_ADD_BIAS) made.linear.bias = 1, made.bias = gpu_step_in(step)[next++];
    if (step->merged & GPU_ADD_TENSOR) made.linear.residual = 1, made.residual = gpu_step_in(step)[next++];
    made.r = gpu_step_out(step)[0];
    made.made = c;
    add_member(&made, c);
    if (!keep_if_settled(p, g, &made)) return false;
    add_norm(p, g);
    if (!g->linear.norm) return false;
    add_fans(p, g, g->members[g->n - 1] + 1);
    return true;
}

/* A norm and the products of it. */
static bool start_norm(const planner *p, group *g, uint32_t c) {
    if (!is_plain(p, c, AIRA_OP_RMS_NORM)) return false;
    const gpu_step *step = &p->steps[c];
    *g = (group){.members = {c}, .n = 1, .r = gpu_step_in(step)[0], .made = c};
    g->norm_w = gpu_step_in(step)[1];
    g->normed = gpu_step_out(step)[0];
    g->linear.norm = g->linear.keeps = 1;
    g->linear.norm_eps = step->step->f[0];
    add_fans(p, g, c + 1);
    return g->linear.fans > 0;
}

/* Products of the same rows. */
static bool start_fans(const planner *p, group *g, uint32_t c) {
    if (!is_product(p, c, GPU_ADD_TENSOR)) return false;
    *g = (group){.r = gpu_step_in(&p->steps[c])[0], .made = c};
    add_fans(p, g, c);
    return g->linear.fans > 1;
}

/* --- sums over rows --- */

/* Splits a step with sums over rows in two; *join adds up what blocks leave. False: out of memory. */
static bool split(gpu_layout *layout, gpu_step *step, gpu_step *join) {
    const gpu_linear_slots old = gpu_linear_slots_of(&step->linear);
    const aira_plan_tensor *a = gpu_tensor_of(&layout->plan, step->own[0]);
    uint32_t out[GPU_MERGED_TENSORS], n = 0;
    int64_t rows = gpu_elements(&a->shape) / gpu_last(&a->shape), width = 0;
    memcpy(out, step->own + old.n_in, old.n_out * sizeof *out);
    *join = *step;
    join->merged = GPU_JOIN;
    join->also = NULL;
    if (step->linear.slope) join->own[1 + n++] = out[old.dw];
    for (uint32_t j = 0; j <= GPU_LINEAR_MOST; j++)
        if (step->linear.columns >> j & 1) join->own[1 + n++] = out[old.columns[j]];
    for (uint32_t k = 0; k < n; k++) width += gpu_elements(&gpu_tensor_of(&layout->plan, join->own[1 + k])->shape);
    uint32_t partial = gpu_layout_make(layout, (rows + GPU_LINEAR_ROWS - 1) / GPU_LINEAR_ROWS, width);
    if (partial == UINT32_MAX) return false;
    join->own[0] = partial;
    join->n_in = 1;
    join->n_out = n;
    step->linear.split = 1;
    const gpu_linear_slots s = gpu_linear_slots_of(&step->linear);
    step->n_out = s.n_out;
    step->own[s.n_in + s.to_r] = out[old.to_r];
    step->own[s.n_in + s.partial] = partial;
    if (step->linear.keeps) step->own[s.n_in + s.n] = out[old.n];
    for (uint32_t j = 0; j < step->linear.fans; j++) step->own[s.n_in + s.y[j]] = out[old.y[j]];
    return true;
}

static bool touches_results(const aira_plan *plan, const gpu_step *step, const gpu_step *join) {
    for (uint32_t k = 0; k < join->n_out; k++) {
        gpu_range range = gpu_range_of(plan, gpu_step_out(join)[k], 1);
        if (gpu_step_touches(plan, step, &range, false)) return true;
    }
    return false;
}

/* Second stages wait until another step touches what one of them will write; then all that wait stand side by side.
   There is room: a step that is split was two or more. */
static bool split_sums(gpu_layout *layout, gpu_step *steps, uint32_t *n) {
    gpu_step *sorted = calloc(2 * (size_t)*n + 1, sizeof *sorted), *waiting = calloc((size_t)*n + 1, sizeof *waiting);
    uint32_t placed = 0, waits = 0;
    bool good = sorted && waiting;
    for (uint32_t s = 0; s <= *n && good; s++) {
        bool now = s == *n;
        for (uint32_t k = 0; k < waits && !now; k++) now = touches_results(&layout->plan, &steps[s], &waiting[k]);
        for (uint32_t k = 0; k < waits && now; k++) sorted[placed++] = waiting[k];
        if (now) waits = 0;
        if (s == *n) break;
        gpu_step step = steps[s];
        bool sums = (step.merged & GPU_LINEAR) && (step.linear.slope || step.linear.columns);
        if (sums) good = split(layout, &step, &waiting[waits++]);
        sorted[placed++] = step;
    }
    if (good) {
        memcpy(steps, sorted, placed * sizeof *steps);
        *n = placed;
    }
    free(sorted);
    free(waiting);
    return good;
}

bool gpu_fuse_linear(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n) {
    planner p = {.plan = &layout->plan, .queue = queue, .steps = steps, .n = *n};
    if (layout->plan.copies > 1) return true;
    p.gone = calloc((size_t)*n + 1, sizeof *p.gone);
    if (!p.gone) return false;
    gather_fans(&p);
    for (uint32_t c = 0; c < p.n; c++) {
        group g;
        gpu_step merged;
        if (!start_slope(&p, &g, c) && !start_product(&p, &g, c) && !start_norm(&p, &g, c) && !start_fans(&p, &g, c))
            continue;
        forget_norm(&p, &g);
        if (!settles(&p, &g, &merged)) continue;
        for (uint32_t k = 0; k < g.n; k++) p.gone[g.members[k]] = true;
        uint32_t last = last_member(&g);
        p.steps[last] = merged;
        p.gone[last] = false;
    }
    uint32_t kept = 0;
    for (uint32_t s = 0; s < p.n; s++)
        if (!p.gone[s]) steps[kept++] = steps[s];
    *n = kept;
    free(p.gone);
    return split_sums(layout, steps, n);
}
