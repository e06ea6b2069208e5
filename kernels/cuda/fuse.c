/* fuse.c - products and norm gradients that do what follows them: bias, residual, GELU; sums that square first.
 *
 * A step merges with the elementwise chain behind it when nobody else reads what lies between. It then writes the
 * chain's result at its own place in the order, so that memory must be free that early, must not be one of its
 * operands, and what is added must be there already. Sums of several products add one after the other into one result.
 * Everything that does not fit stays as it is.
 */
#include <stdlib.h>
#include <string.h>

#include "fast.h"
#include "fuse.h"
#include "fuse_mamba.h"

uint32_t gpu_step_ranges(const aira_plan *plan, const gpu_step *step, gpu_range *ranges) {
    uint32_t n = 0;
    if (!step->chain) {
        for (uint32_t k = 0; k < step->n_in; k++) ranges[n++] = gpu_range_of(plan, gpu_step_in(step)[k], 0);
        for (uint32_t k = 0; k < step->n_out; k++) ranges[n++] = gpu_range_of(plan, gpu_step_out(step)[k], 1);
        return n;
    }
    const gpu_chain_program *p = &step->chain->program;
    for (uint32_t k = 0; k < p->n_loads; k++)
        ranges[n++] = gpu_range_of(plan, step->chain->tensors[p->loads[k].view], 0);
    for (uint32_t k = 0; k < p->n_code; k++)
        if (p->code[k].stored) ranges[n++] = gpu_range_of(plan, step->chain->tensors[p->code[k].view], 1);
    return n;
}

/* Asked for every pair of steps: bytes are counted only where storage and offset leave the question open. */
static bool meets(const aira_plan *plan, uint32_t id, const gpu_range *range) {
    const aira_plan_tensor *t = gpu_tensor_of(plan, id);
    if (t->storage != range->storage || t->offset >= range->end) return false;
    return gpu_range_of(plan, id, 0).end > range->begin;
}

uint32_t gpu_step_uses(const aira_plan *plan, const gpu_step *step, const gpu_range *range) {
    uint32_t how = 0;
    if (!step->chain) {
        const uint32_t *in = gpu_step_in(step), *out = gpu_step_out(step);
        for (uint32_t k = 0; k < step->n_in && !how; k++) how = meets(plan, in[k], range) ? GPU_READS : 0;
        for (uint32_t k = 0; k < step->n_out; k++)
            if (meets(plan, out[k], range)) return how | GPU_WRITES;
        return how;
    }
    const gpu_chain_program *p = &step->chain->program;
    const uint32_t *tensors = step->chain->tensors;
    for (uint32_t k = 0; k < p->n_loads && !how; k++)
        how = meets(plan, tensors[p->loads[k].view], range) ? GPU_READS : 0;
    for (uint32_t k = 0; k < p->n_code; k++)
        if (p->code[k].stored && meets(plan, tensors[p->code[k].view], range)) return how | GPU_WRITES;
    return how;
}

bool gpu_step_touches(const aira_plan *plan, const gpu_step *step, const gpu_range *range, bool writes) {
    return (gpu_step_uses(plan, step, range) & (writes ? GPU_WRITES : GPU_READS | GPU_WRITES)) != 0;
}

bool gpu_fuser_touched(const fuser *f, uint32_t s, const gpu_range *range, bool writes) {
    return !f->gone[s] && gpu_step_touches(f->plan, &f->steps[s], range, writes);
}

uint32_t gpu_fuser_last_writer(const fuser *f, uint32_t before, const gpu_range *range) {
    for (uint32_t s = before; s-- > 0;)
        if (gpu_fuser_touched(f, s, range, true)) return s;
    return NONE;
}

uint32_t gpu_fuser_only_reader(const fuser *f, uint32_t s, const gpu_range *range) {
    uint32_t found = NONE;
    if (gpu_is_seen(range)) return NONE; /* the host may read it */
    for (uint32_t t = s + 1; t < f->n; t++) {
        uint32_t how = f->gone[t] ? 0 : gpu_step_uses(f->plan, &f->steps[t], range);
        if (how & GPU_READS && found != NONE) return NONE;
        if (how & GPU_READS) found = t;
        if (how & GPU_WRITES) break;
    }
    return found;
}

/* May step s write `out` although the planner meant it for step c? passed: steps between that will be gone. */
static bool may_write_early(const fuser *f, uint32_t s, uint32_t c, const gpu_range *out, const uint32_t *passed,
                            uint32_t n_passed) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(f->plan, &f->steps[s], ranges);
    for (uint32_t k = 0; k < n; k++)
        if (!ranges[k].writes && gpu_ranges_meet(&ranges[k], out)) return false;
    for (uint32_t t = s + 1; t < c; t++) {
        bool passes = false;
        for (uint32_t k = 0; k < n_passed; k++) passes |= passed[k] == t;
        if (!passes && gpu_fuser_touched(f, t, out, false)) return false;
    }
    return true;
}

/* Are the bytes that step c reads there when step s runs? */
static bool is_there(const fuser *f, uint32_t s, uint32_t c, const gpu_range *range) {
    for (uint32_t t = s; t < c; t++)
        if (gpu_fuser_touched(f, t, range, true)) return false;
    return true;
}

/* --- what chains are --- */

static bool is_bias(const gpu_chain_load *l, int64_t width) {
    return l->access == GPU_WALK && l->n_dims == 2 && l->strides[0] == 0 && l->strides[1] == 1 &&
           l->extents[1] == width;
}

bool read_sum(const aira_plan *plan, const gpu_chain *chain, sum_chain *sum) {
    const gpu_chain_program *p = &chain->program;
    uint32_t uses[GPU_CHAIN_VALUES] = {0};
    *sum = (sum_chain){.bias = NONE};
    if (!p->code[p->n_code - 1].stored) return false;
    sum->out = chain->tensors[p->code[p->n_code - 1].view];
    int64_t width = gpu_last(&gpu_tensor_of(plan, sum->out)->shape);
    for (uint32_t k = 0; k < p->n_code; k++) {
        const gpu_chain_instruction *c = &p->code[k];
        if (c->op != AIRA_OP_ADD || c->narrow || (c->stored != 0) != (k + 1 == p->n_code)) return false;
        if (c->stored && c->dtype != AIRA_BF16) return false;
        uses[c->in[0]]++;
        uses[c->in[1]]++;
    }
    for (uint32_t v = 0; v + 1 < p->n_loads + p->n_code; v++)
        if (uses[v] != 1) return false;
    for (uint32_t k = 0; k < p->n_loads; k++) {
        const gpu_chain_load *l = &p->loads[k];
        uint32_t id = chain->tensors[l->view];
        if (l->dtype != AIRA_BF16) return false;
        if (l->access == GPU_WHOLE && sum->n_terms < TERMS)
            sum->terms[sum->n_terms++] = id;
        else if (is_bias(l, width) && sum->bias == NONE)
            sum->bias = id;
        else
            return false;
    }
    return true;
}

/* --- merging --- */

static void merge(gpu_step *step, uint32_t merged, const uint32_t *in, uint32_t n_in, const uint32_t *out,
                  uint32_t n_out) {
    memcpy(step->own, in, n_in * sizeof *in);
    memcpy(step->own + n_in, out, n_out * sizeof *out);
    step->n_in = n_in;
    step->n_out = n_out;
    step->merged = merged;
}

gpu_call gpu_fuser_shadow(const fuser *f, const gpu_step *step, gpu_view *views) {
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        const aira_plan_tensor *t = gpu_tensor_of(f->plan, k < step->n_in ? gpu_step_in(step)[k]
                                                                          : gpu_step_out(step)[k - step->n_in]);
        views[k] = (gpu_view){.dtype = t->dtype, .n = gpu_elements(&t->shape), .shape = t->shape};
        views[k].data = (char *)(uintptr_t)(1u << 20) + t->offset; /* no address, but aligned as one */
    }
    return (gpu_call){.step = step->step,
                      .in = views,
                      .out = views + step->n_in,
                      .n_in = step->n_in,
                      .n_out = step->n_out,
                      .merged = step->merged,
                      .also = step->also,
                      .tables = f->queue->tables,
                      .stream = f->queue->stream,
                      .matmul = f->queue->matmul};
}

bool gpu_fuser_is_product(const fuser *f, uint32_t s) {
    const gpu_step *step = &f->steps[s];
    if (step->step->op != AIRA_OP_MATMUL || (step->merged & ~GPU_ELSEWHERE) || step->chain) return false;
    for (uint32_t k = 0; k < 3; k++)
        if (gpu_tensor_of(f->plan, k < 2 ? gpu_step_in(step)[k] : gpu_step_out(step)[0])->dtype != AIRA_BF16)
            return false;
    return true;
}

/* Tries a merged form of step s; puts the step back if its kernel does not take it. */
static bool try_merge(const fuser *f, uint32_t s, uint32_t merged, const uint32_t *in, uint32_t n_in,
                      const uint32_t *out, uint32_t n_out) {
    gpu_view views[GPU_MERGED_TENSORS];
    gpu_step before = f->steps[s];
    merge(&f->steps[s], merged, in, n_in, out, n_out);
    gpu_call call = gpu_fuser_shadow(f, &f->steps[s], views);
    bool takes = before.step->op == AIRA_OP_MATMUL              ? gpu_matmul_merges(&call) != 0
                 : before.step->op == AIRA_OP_RMS_NORM_BACKWARD ? gpu_norm_takes(&call)
                                                                : gpu_small_attention_takes(&call);
    if (!takes) f->steps[s] = before;
    return takes;
}

/* Products among the terms that only chain c reads, in order of execution; the others go to rest. */
static uint32_t find_products(const fuser *f, uint32_t c, const sum_chain *sum, uint32_t *products, uint32_t *rest,
                              uint32_t *n_rest) {
    uint32_t n = 0;
    *n_rest = 0;
    for (uint32_t k = 0; k < sum->n_terms; k++) {
        gpu_range range = gpu_range_of(f->plan, sum->terms[k], 0);
        uint32_t s = gpu_fuser_last_writer(f, c, &range);
        bool product = s != NONE && gpu_fuser_is_product(f, s);
        if (product) {
            gpu_range written = gpu_range_of(f->plan, gpu_step_out(&f->steps[s])[0], 1);
            product = gpu_ranges_equal(&written, &range) && gpu_fuser_only_reader(f, s, &range) == c;
        }
        if (!product) {
            rest[(*n_rest)++] = sum->terms[k];
            continue;
        }
        uint32_t at = n++;
        for (; at > 0 && products[at - 1] > s; at--) products[at] = products[at - 1];
        products[at] = s;
    }
    return n;
}

/* The products, one after the other, add to the bias and to rest[0], if there are any, in the place of the sum. */
static bool merge_products(const fuser *f, uint32_t c, const sum_chain *sum, const uint32_t *products, uint32_t n,
                           const uint32_t *rest, uint32_t n_rest) {
    gpu_range out = gpu_range_of(f->plan, sum->out, 1);
    for (uint32_t k = 0; k < n; k++)
        if (!may_write_early(f, products[k], c, &out, products, n)) return false;
    for (uint32_t k = 0; k < n_rest; k++) {
        gpu_range range = gpu_range_of(f->plan, rest[k], 0);
        bool partly = gpu_ranges_meet(&range, &out) && !gpu_ranges_equal(&range, &out);
        if (partly || !is_there(f, products[0], c, &range)) return false;
    }
    if (sum->bias != NONE) {
        gpu_range range = gpu_range_of(f->plan, sum->bias, 0);
        if (gpu_ranges_meet(&range, &out) || !is_there(f, products[0], c, &range)) return false;
    }
    gpu_step saved[TERMS];
    for (uint32_t k = 0; k < n; k++) saved[k] = f->steps[products[k]];
    for (uint32_t k = 0; k < n; k++) {
        gpu_step *step = &f->steps[products[k]];
        uint32_t in[GPU_MERGED_TENSORS] = {gpu_step_in(step)[0], gpu_step_in(step)[1]}, n_in = 2,
                 merged = GPU_ELSEWHERE;
        if (k == 0 && sum->bias != NONE) merged |= GPU_ADD_BIAS, in[n_in++] = sum->bias;
        if (k > 0 || n_rest) merged |= GPU_ADD_TENSOR, in[n_in++] = k > 0 ? sum->out : rest[0];
        if (try_merge(f, products[k], merged, in, n_in, &sum->out, 1)) continue;
        for (uint32_t j = 0; j < n; j++) f->steps[products[j]] = saved[j]; /* all or none */
        return false;
    }
    return true;
}

/* sum of products [+ bias] [+ one tensor] */
static bool merge_sum(const fuser *f, uint32_t c) {
    sum_chain sum;
    uint32_t products[TERMS], rest[TERMS], n_rest;
    if (!read_sum(f->plan, f->steps[c].chain, &sum)) return false;
    uint32_t n = find_products(f, c, &sum, products, rest, &n_rest);
    return n > 0 && n_rest <= 1 && merge_products(f, c, &sum, products, n, rest, n_rest);
}

/* Where the place of a sum is taken as long as the first product reads its operands, that one stays as it is and the
   others add to it. After fuse_linear.c, which does more with such sums. */
static bool merge_rest(const fuser *f, uint32_t c) {
    sum_chain sum;
    uint32_t products[TERMS], rest[TERMS], n_rest;
    if (!read_sum(f->plan, f->steps[c].chain, &sum)) return false;
    uint32_t n = find_products(f, c, &sum, products, rest, &n_rest);
    if (n < 2 || n_rest) return false;
    rest[0] = gpu_step_out(&f->steps[products[0]])[0];
    return merge_products(f, c, &sum, products + 1, n - 1, rest, 1);
}

/* gradient of a norm + the residual's */
static bool merge_norm(const fuser *f, uint32_t c) {
    sum_chain sum;
    if (!read_sum(f->plan, f->steps[c].chain, &sum) || sum.n_terms != 2 || sum.bias != NONE) return false;
    gpu_range out = gpu_range_of(f->plan, sum.out, 1);
    for (uint32_t k = 0; k < 2; k++) {
        gpu_range mine = gpu_range_of(f->plan, sum.terms[k], 0), other = gpu_range_of(f->plan, sum.terms[1 - k], 0);
        uint32_t s = gpu_fuser_last_writer(f, c, &mine);
        if (s == NONE || f->steps[s].step->op != AIRA_OP_RMS_NORM_BACKWARD || (f->steps[s].merged & ~GPU_ELSEWHERE))
            continue;
        gpu_step *step = &f->steps[s];
        gpu_range dx = gpu_range_of(f->plan, gpu_step_out(step)[0], 1);
        if (!gpu_ranges_equal(&dx, &mine) || gpu_fuser_only_reader(f, s, &mine) != c || !is_there(f, s, c, &other))
            continue;
        if (!may_write_early(f, s, c, &out, NULL, 0)) continue;
        if (gpu_ranges_meet(&other, &out) && !gpu_ranges_equal(&other, &out)) continue;
        const uint32_t *old = gpu_step_in(step);
        uint32_t in[4] = {old[0], old[1], old[2], sum.terms[1 - k]}, to[2] = {sum.out, gpu_step_out(step)[1]};
        if (try_merge(f, s, GPU_ADD_TENSOR, in, 4, to, 2)) return true;
    }
    return false;
}

/* GELU of a product. (Its slope is left alone: cuBLASLt's epilogue for it takes longer than the pass over memory.) */
static bool merge_gelu(const fuser *f, uint32_t c) {
    const gpu_chain *chain = f->steps[c].chain;
    const gpu_chain_program *p = &chain->program;
    const gpu_chain_instruction *code = &p->code[0];
    if (p->n_code != 1 || p->n_loads != 1 || code->op != AIRA_OP_GELU || code->mode != 0) return false;
    if (code->dtype != AIRA_BF16 || p->loads[0].access != GPU_WHOLE || p->loads[0].dtype != AIRA_BF16) return false;
    uint32_t x = chain->tensors[p->loads[0].view], out = chain->tensors[code->view];
    gpu_range range = gpu_range_of(f->plan, x, 0), to = gpu_range_of(f->plan, out, 1);
    uint32_t s = gpu_fuser_last_writer(f, c, &range);
    if (s == NONE || !gpu_fuser_is_product(f, s) || !may_write_early(f, s, c, &to, NULL, 0)) return false;
    gpu_range written = gpu_range_of(f->plan, gpu_step_out(&f->steps[s])[0], 1);
    if (!gpu_ranges_equal(&written, &range) || gpu_ranges_meet(&to, &range)) return false;
    const uint32_t *in = gpu_step_in(&f->steps[s]), operands[2] = {in[0], in[1]}, results[2] = {out, x};
    return try_merge(f, s, GPU_GELU, operands, 2, results, 2);
}

/* The tensor that has the fp32 value v of a chain in memory too, exactly; or NONE. made: the chain itself writes it. */
static uint32_t source_of(const gpu_chain *chain, uint32_t v, bool *made) {
    const gpu_chain_program *p = &chain->program;
    const gpu_chain_instruction *code = v < p->n_loads ? NULL : &p->code[v - p->n_loads];
    *made = code && code->op != AIRA_OP_CAST;
    if (*made) return code->stored && code->dtype == AIRA_F32 ? chain->tensors[code->view] : NONE;
    if (code && (code->dtype != AIRA_F32 || code->in[0] >= p->n_loads)) return NONE;
    const gpu_chain_load *load = &p->loads[code ? code->in[0] : v];
    bool exact = load->access == GPU_WHOLE && (load->dtype == AIRA_F32 || load->dtype == AIRA_BF16);
    return exact ? chain->tensors[load->view] : NONE;
}

/* Sum of squares, for clipping: the squares are not kept. Returns the step that is gone, or NONE. */
static uint32_t merge_squares(const fuser *f, uint32_t s) {
    gpu_step *step = &f->steps[s];
    if (step->step->op != AIRA_OP_SUM || (step->merged & ~GPU_ELSEWHERE) || step->chain) return NONE;
    uint32_t to = gpu_step_out(step)[0];
    const aira_plan_tensor *sum = gpu_tensor_of(f->plan, to);
    if (gpu_elements(&sum->shape) != 1 || sum->dtype != AIRA_F32) return NONE;
    gpu_range range = gpu_range_of(f->plan, gpu_step_in(step)[0], 0);
    uint32_t c = gpu_fuser_last_writer(f, s, &range), left = 0;
    if (c == NONE || !f->steps[c].chain || f->steps[c].chain->wide || gpu_fuser_only_reader(f, c, &range) != s)
        return NONE;
    gpu_chain_program *p = &f->steps[c].chain->program;
    gpu_chain_instruction *square = NULL;
    for (uint32_t k = 0; k < p->n_code; k++) {
        gpu_range made = gpu_range_of(f->plan, f->steps[c].chain->tensors[p->code[k].view], 1);
        left += p->code[k].stored != 0;
        if (p->code[k].stored && gpu_ranges_equal(&made, &range)) square = &p->code[k];
    }
    if (!square || square->op != AIRA_OP_MUL || square->in[0] != square->in[1] || square->dtype != AIRA_F32)
        return NONE;
    bool made;
    uint32_t x = source_of(f->steps[c].chain, square->in[0], &made);
    if (x == NONE) return NONE;
    gpu_range from = gpu_range_of(f->plan, x, 0);
    if (!is_there(f, c + made, s, &from)) return NONE;
    square->stored = 0;
    if (square == &p->code[p->n_code - 1] && p->n_code > 1) p->n_code--;
    merge(step, GPU_SQUARES | (step->merged & GPU_ELSEWHERE), &x, 1, &to, 1);
    return left == 1 ? c : NONE;
}

/* --- rotary positions --- */

static bool is_rope(const gpu_step *step, bool back) {
    const aira_plan_step *s = step->step;
    return s->op == AIRA_OP_ROPE && s->n_in == 1 && s->i[1] == 0 && (s->i[2] != 0) == back;
}

static bool same_rope(const fuser *f, uint32_t a, uint32_t b) {
    const aira_plan_step *x = f->steps[a].step, *y = f->steps[b].step;
    int64_t d_n = gpu_tensor_of(f->plan, x->in[0])->shape.dims[3];
    return !(x->f[0] < y->f[0]) && !(x->f[0] > y->f[0]) && x->i[0] == y->i[0] && (x->i[0] == 0 || x->i[0] == d_n);
}

/* Where a block reads and writes the same part of two tensors, one may lie on the other, but only whole. */
static bool lies_apart(const fuser *f, uint32_t s, const gpu_range *out) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(f->plan, &f->steps[s], ranges);
    for (uint32_t k = 0; k < n; k++)
        if (!ranges[k].writes && gpu_ranges_meet(&ranges[k], out) && !gpu_ranges_equal(&ranges[k], out)) return false;
    return true;
}

/* attention whose queries and keys were turned right before: s turns them */
static bool merge_turns(const fuser *f, uint32_t s, uint32_t *turns) {
    gpu_step *step = &f->steps[s];
    const uint32_t *in = gpu_step_in(step), *out = gpu_step_out(step);
    uint32_t raw[2];
    for (uint32_t k = 0; k < 2; k++) {
        gpu_range turned = gpu_range_of(f->plan, in[k], 0);
        uint32_t t = gpu_fuser_last_writer(f, s, &turned);
        if (t == NONE || !is_rope(&f->steps[t], false) || f->steps[t].merged) return false;
        gpu_range made = gpu_range_of(f->plan, gpu_step_out(&f->steps[t])[0], 1);
        raw[k] = gpu_step_in(&f->steps[t])[0];
        gpu_range from = gpu_range_of(f->plan, raw[k], 0);
        if (!gpu_ranges_equal(&made, &turned) || !is_there(f, t + 1, s, &from)) return false;
        for (uint32_t between = t + 1; between < s; between++)
            if (gpu_fuser_touched(f, between, &turned, false)) return false;
        turns[k] = t;
    }
    if (turns[0] == turns[1] || !same_rope(f, turns[0], turns[1])) return false;
    for (uint32_t k = 0; k < 2; k++) { /* turned rows are written while others are read */
        gpu_range turned = gpu_range_of(f->plan, in[k], 0);
        const uint32_t read[3] = {raw[0], raw[1], in[2]};
        for (uint32_t j = 0; j < 3; j++) {
            gpu_range range = gpu_range_of(f->plan, read[j], 0);
            if (gpu_ranges_meet(&range, &turned) && !gpu_ranges_equal(&range, &turned)) return false;
        }
    }
    uint32_t given[4] = {raw[0], raw[1], in[2], step->n_in > 3 ? in[3] : 0}, made[4] = {out[0], out[1], in[0], in[1]};
    const aira_plan_step *before = step->also;
    step->also = f->steps[turns[0]].step;
    if (try_merge(f, s, GPU_ROPE, given, step->n_in, made, 4)) return true;
    step->also = before;
    return false;
}

/* gradient of attention whose dq and dk are turned back right behind: s turns them */
static bool merge_turns_back(const fuser *f, uint32_t s, uint32_t *turns) {
    gpu_step *step = &f->steps[s];
    const uint32_t *out = gpu_step_out(step);
    uint32_t made[3] = {0, 0, out[2]}, given[GPU_MERGED_TENSORS];
    if (step->n_in + 3 > GPU_MERGED_TENSORS) return false;
    for (uint32_t k = 0; k < 2; k++) {
        gpu_range range = gpu_range_of(f->plan, out[k], 0);
        turns[k] = gpu_fuser_only_reader(f, s, &range);
        if (turns[k] == NONE || !is_rope(&f->steps[turns[k]], true)) return false;
        gpu_range read = gpu_range_of(f->plan, gpu_step_in(&f->steps[turns[k]])[0], 0);
        if (!gpu_ranges_equal(&read, &range)) return false;
        made[k] = gpu_step_out(&f->steps[turns[k]])[0];
    }
    if (turns[0] == turns[1] || !same_rope(f, turns[0], turns[1])) return false;
    for (uint32_t k = 0; k < 2; k++) {
        gpu_range to = gpu_range_of(f->plan, made[k], 1), other = gpu_range_of(f->plan, made[1 - k], 1);
        gpu_range dv = gpu_range_of(f->plan, out[2], 1);
        if (!lies_apart(f, s, &to) || gpu_ranges_meet(&to, &other) || gpu_ranges_meet(&to, &dv)) return false;
        for (uint32_t t = s + 1; t < turns[k]; t++)
            if (t != turns[0] && t != turns[1] && gpu_fuser_touched(f, t, &to, false)) return false;
    }
    memcpy(given, gpu_step_in(step), step->n_in * sizeof *given);
    step->also = f->steps[turns[0]].step;
    if (try_merge(f, s, GPU_ROPE, given, step->n_in, made, 3)) return true;
    step->also = NULL;
    return false;
}

static void merge_ropes(const fuser *f) {
    for (uint32_t s = 0; s < f->n; s++) {
        uint32_t turns[2] = {NONE, NONE}, op = f->steps[s].step->op;
        bool merged = !f->gone[s] && ((op == AIRA_OP_ATTENTION && merge_turns(f, s, turns)) ||
                                      (op == AIRA_OP_ATTENTION_BACKWARD && merge_turns_back(f, s, turns)));
        if (merged) f->gone[turns[0]] = f->gone[turns[1]] = true;
    }
}

void gpu_fuser_drop_gone(fuser *f, uint32_t *n) {
    uint32_t kept = 0;
    for (uint32_t s = 0; s < f->n; s++) {
        if (f->gone[s]) {
            gpu_chain_destroy(f->steps[s].chain);
            continue;
        }
        f->steps[kept++] = f->steps[s];
    }
    *n = kept;
}

bool gpu_fuse(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t *n) {
    fuser f = {.plan = plan, .queue = queue, .steps = steps, .n = *n};
    if (plan->copies > 1) return true;
    f.gone = calloc((size_t)*n + 1, sizeof *f.gone);
    if (!f.gone) return false;
    gpu_fuse_mamba(plan, queue, steps, f.n, f.gone);
    for (uint32_t c = 0; c < f.n; c++)
        if (steps[c].chain && !steps[c].chain->wide && !f.gone[c])
            f.gone[c] = merge_gelu(&f, c) || merge_sum(&f, c) || merge_norm(&f, c);
    for (uint32_t s = 0; s < f.n; s++) {
        uint32_t squares = f.gone[s] ? NONE : merge_squares(&f, s);
        if (squares != NONE) f.gone[squares] = true;
    }
    gpu_fuser_drop_gone(&f, n);
    free(f.gone);
    return true;
}

bool gpu_fuse_turns(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t *n) {
    fuser f = {.plan = plan, .queue = queue, .steps = steps, .n = *n};
    if (plan->copies > 1) return true;
    f.gone = calloc((size_t)*n + 1, sizeof *f.gone);
    if (!f.gone) return false;
    for (uint32_t c = 0; c < f.n; c++)
        if (steps[c].chain && !steps[c].chain->wide && !steps[c].batch) f.gone[c] = merge_rest(&f, c);
    merge_ropes(&f);
    gpu_fuser_drop_gone(&f, n);
    free(f.gone);
    return true;
}
