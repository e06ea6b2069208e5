/* fuse_mlp.c - MLP layers and their gradients as one step each, where mlp.c takes them.
 *
 *     forward   RMS_NORM, MATMUL, GELU, MATMUL[, ADD]                          runs where the last of them stood
 *     backward  MATMUL, GELU_BACKWARD, MATMUL, RMS_NORM_BACKWARD[, ADD]        runs where the first of them stood
 *
 * Forward, the hidden columns are forgotten; backward computes them again and writes GELU of them, which the gradient
 * of a weight reads, where forward would have written it. So a layer that is differentiated is merged both ways or not
 * at all. Backward, results come earlier than planned. The planner gave them places of operands that die in between, so
 * a result whose place is not free yet moves into the program's own memory (layout.h), and its readers read there.
 */
#include <stdlib.h>
#include <string.h>

#include "fast.h"
#include "fuse.h"
#include "own.h"

enum { MOST_MEMBERS = 5 };

/* The planned steps of a layer; NONE where one is missing. In order of execution. */
typedef struct members {
    uint32_t step[MOST_MEMBERS];
} members;

static bool is_member(const members *m, uint32_t s) {
    for (uint32_t k = 0; k < MOST_MEMBERS; k++)
        if (m->step[k] == s) return true;
    return false;
}

/* --- what lies between ---------------------------------------------------------------------------------------------
 */

static gpu_range range_of(const fuser *f, uint32_t id, uint32_t writes) { return gpu_range_of(f->plan, id, writes); }

/* Does a step in [from, to) outside of the layer touch the range; only by writing, if `writes`? */
static bool others_touch(const fuser *f, const members *m, uint32_t from, uint32_t to, const gpu_range *range,
                         bool writes) {
    for (uint32_t s = from; s < to; s++)
        if (!is_member(m, s) && gpu_fuser_touched(f, s, range, writes)) return true;
    return false;
}

/* The steps outside of the layer that read what step s wrote. */
typedef struct readers {
    uint32_t n, first; /* first: NONE without any */
    bool host;         /* it may read as well */
} readers;

static readers readers_of(const fuser *f, const members *m, uint32_t s, const gpu_range *range) {
    readers found = {0, NONE, range->storage != AIRA_STORE_ARENA};
    for (uint32_t t = s + 1; t < f->n; t++) {
        bool reads, writes, equal;
        if (f->gone[t]) continue;
        gpu_mover_uses(f, t, range, &reads, &writes, &equal);
        if (reads && !is_member(m, t)) {
            if (found.n++ == 0) found.first = t;
        }
        if (writes) break;
    }
    return found;
}

/* The first product after s, of the given transposition, whose left operand is what s wrote; or NONE. */
static uint32_t product_of(const fuser *f, uint32_t s, const gpu_range *range, bool transposed) {
    for (uint32_t t = s + 1; t < f->n; t++) {
        if (f->gone[t]) continue;
        if (gpu_fuser_is_product(f, t)) {
            const aira_plan_step *step = f->steps[t].step;
            gpu_range left = range_of(f, gpu_step_in(&f->steps[t])[0], 0);
            if (gpu_ranges_equal(&left, range) && step->i[0] == 0 && (step->i[1] != 0) == transposed) return t;
        }
        if (gpu_fuser_touched(f, t, range, true)) return NONE;
    }
    return NONE;
}

static bool is_product(const fuser *f, uint32_t s, bool transposed) {
    if (s == NONE || !gpu_fuser_is_product(f, s)) return false;
    const aira_plan_step *step = f->steps[s].step;
    return step->i[0] == 0 && (step->i[1] != 0) == transposed;
}

/* Did step s write just these bytes as its result k? */
static bool made(const fuser *f, uint32_t s, uint32_t k, const gpu_range *range) {
    gpu_range out = range_of(f, gpu_step_out(&f->steps[s])[k], 1);
    return gpu_ranges_equal(&out, range);
}

/* The step behind s that adds one tensor to the result which nobody else reads, and that tensor; or NONE. */
static uint32_t addition_of(const fuser *f, uint32_t s, uint32_t result, sum_chain *sum, uint32_t *other) {
    gpu_range range = range_of(f, result, 1);
    uint32_t c = gpu_fuser_only_reader(f, s, &range);
    if (c == NONE || !f->steps[c].chain || f->steps[c].chain->wide || !read_sum(f->plan, f->steps[c].chain, sum) ||
        sum->n_terms != 2 || sum->bias != NONE)
        return NONE;
    for (uint32_t k = 0; k < 2; k++) {
        gpu_range mine = range_of(f, sum->terms[k], 0), added = range_of(f, sum->terms[1 - k], 0);
        if (!gpu_ranges_equal(&mine, &range) || gpu_ranges_meet(&added, &range)) continue;
        *other = sum->terms[1 - k];
        return c;
    }
    return NONE;
}

/* A chain of one operation on whole bf16 tensors. */
static const gpu_chain_program *single(const gpu_step *step, uint32_t op, uint32_t n) {
    if (!step->chain || step->chain->wide) return NULL;
    const gpu_chain_program *p = &step->chain->program;
    const gpu_chain_instruction *code = &p->code[0];
    if (p->n_code != 1 || code->op != op || code->mode != 0 || p->n_loads != n || code->n_in != n) return NULL;
    if (!code->stored || code->dtype != AIRA_BF16) return NULL;
    for (uint32_t k = 0; k < n; k++)
        if (p->loads[k].access != GPU_WHOLE || p->loads[k].dtype != AIRA_BF16) return NULL;
    return p;
}

/* --- the merged step -----------------------------------------------------------------------------------------------
 */

static gpu_step merged_step(const gpu_step *product, const gpu_step *norm, uint32_t merged, const uint32_t *in,
                            uint32_t n_in, const uint32_t *out, uint32_t n_out) {
    gpu_step step = {.step = product->step, .also = norm->step, .merged = merged, .n_in = n_in, .n_out = n_out};
    memcpy(step.own, in, n_in * sizeof *in);
    memcpy(step.own + n_in, out, n_out * sizeof *out);
    return step;
}

static bool is_taken(const fuser *f, const gpu_step *step) {
    gpu_view views[GPU_MERGED_TENSORS];
    gpu_call call = gpu_fuser_shadow(f, step, views);
    return gpu_mlp_takes(&call);
}

static void put(mover *m, const members *layer, uint32_t place, const gpu_step *step) {
    for (uint32_t k = 0; k < MOST_MEMBERS; k++)
        if (layer->step[k] != NONE && layer->step[k] != place) m->f.gone[layer->step[k]] = true;
    gpu_chain_destroy(m->f.steps[place].chain);
    m->f.steps[place] = *step;
    m->f.steps[place].kernel = &gpu_mlp_kernel;
}

/* --- forward -------------------------------------------------------------------------------------------------------
 */

typedef struct forward_layer {
    members m; /* norm, product, GELU, product, addition or NONE */
    uint32_t place, in[5], n_in;
    uint32_t y, normed, shape, hidden; /* tensors; shape: what GELU is applied to, hidden: GELU of it */
    uint32_t gradient;                 /* the GELU_BACKWARD, or NONE where nobody reads shape and hidden again */
    bool keeps_norm;
} forward_layer;

/* The layer around the GELU c. */
static bool find_forward(const fuser *f, uint32_t c, forward_layer *l) {
    const gpu_chain_program *p = single(&f->steps[c], AIRA_OP_GELU, 1);
    if (!p) return false;
    const uint32_t *tensors = f->steps[c].chain->tensors;
    *l = (forward_layer){.shape = tensors[p->loads[0].view], .hidden = tensors[p->code[0].view]};
    gpu_range shape = range_of(f, l->shape, 1), hidden = range_of(f, l->hidden, 1);
    uint32_t u = gpu_fuser_last_writer(f, c, &shape);
    if (!is_product(f, u, true) || !made(f, u, 0, &shape)) return false;
    gpu_range normed = range_of(f, gpu_step_in(&f->steps[u])[0], 1);
    uint32_t n = gpu_fuser_last_writer(f, u, &normed), d = product_of(f, c, &hidden, true);
    if (n == NONE || d == NONE || f->steps[n].step->op != AIRA_OP_RMS_NORM || f->steps[n].n_in != 2 ||
        (f->steps[n].merged & ~GPU_ELSEWHERE) || !made(f, n, 0, &normed))
        return false;
    sum_chain sum;
    uint32_t residual = NONE, r;
    l->y = gpu_step_out(&f->steps[d])[0];
    r = addition_of(f, d, l->y, &sum, &residual);
    if (r != NONE) l->y = sum.out;
    const uint32_t *norm_in = gpu_step_in(&f->steps[n]), in[5] = {norm_in[0], norm_in[1], gpu_step_in(&f->steps[u])[1],
                                                                  gpu_step_in(&f->steps[d])[1], residual};
    l->normed = gpu_step_out(&f->steps[n])[0];
    l->m = (members){{n, u, c, d, r}};
    l->place = r == NONE ? d : r;
    l->n_in = r == NONE ? 4 : 5;
    memcpy(l->in, in, sizeof in);
    return true;
}

/* Who else reads what lies within the layer? False: somebody for whom the merged step comes too late, or who is no
   gradient. */
static bool find_readers(const fuser *f, forward_layer *l) {
    const uint32_t *s = l->m.step;
    gpu_range normed = range_of(f, l->normed, 1), shape = range_of(f, l->shape, 1), hidden = range_of(f, l->hidden, 1);
    readers n = readers_of(f, &l->m, s[0], &normed), p = readers_of(f, &l->m, s[1], &shape),
            g = readers_of(f, &l->m, s[2], &hidden);
    l->keeps_norm = n.n > 0;
    l->gradient = p.first;
    if (n.host || p.host || g.host || (n.n && n.first < l->place)) return false;
    if (p.n == 0) return g.n == 0;
    return p.n == 1 && p.first > l->place && g.n > 0 && g.first > l->place;
}

/* Are operands there until the layer's place, and do results lie apart from them? y may lie on rows that it is made of.
 */
static bool fits_forward(const fuser *f, const forward_layer *l, const gpu_step *step) {
    static const uint32_t read_by[5] = {0, 0, 1, 3, 4}; /* members */
    const uint32_t *in = gpu_step_in(step), *out = gpu_step_out(step);
    for (uint32_t k = 0; k < step->n_in; k++) {
        gpu_range read = range_of(f, in[k], 0);
        if (read.storage == GPU_STORE_OWN) return false; /* it is not kept that long */
        if (others_touch(f, &l->m, l->m.step[read_by[k]], l->place, &read, true)) return false;
        for (uint32_t j = 0; j < step->n_out; j++) {
            gpu_range written = range_of(f, out[j], 1);
            bool rows = j == 0 && (k == 0 || k == 4) && l->gradient == NONE && gpu_ranges_equal(&read, &written);
            if (gpu_ranges_meet(&read, &written) && !rows) return false;
        }
    }
    gpu_range y = range_of(f, l->y, 1), normed = range_of(f, l->normed, 1);
    return !l->keeps_norm || !gpu_ranges_meet(&y, &normed);
}

static bool forward_step(const fuser *f, const forward_layer *l, gpu_step *step) {
    const uint32_t out[2] = {l->y, l->normed};
    *step = merged_step(&f->steps[l->m.step[1]], &f->steps[l->m.step[0]], GPU_MLP | (l->n_in == 5 ? GPU_ADD_TENSOR : 0),
                        l->in, l->n_in, out, l->keeps_norm ? 2 : 1);
    return fits_forward(f, l, step) && is_taken(f, step);
}

/* --- backward ------------------------------------------------------------------------------------------------------
 */

enum { RESULTS = 4 }; /* of the gradient: dx, slope, hidden, dw */

typedef struct backward_layer {
    members m; /* product, GELU_BACKWARD, product, norm's gradient, addition or NONE */
    uint32_t in[6], n_in, shape, out[RESULTS], made_by[RESULTS];
} backward_layer;

/* The layer around the GELU_BACKWARD c. */
static bool find_backward(const fuser *f, uint32_t c, uint32_t hidden, backward_layer *l) {
    const gpu_chain_program *p = single(&f->steps[c], AIRA_OP_GELU_BACKWARD, 2);
    if (!p) return false;
    const uint32_t *tensors = f->steps[c].chain->tensors;
    uint32_t residual = NONE;
    l->shape = tensors[p->loads[p->code[0].in[0]].view];
    gpu_range slope = range_of(f, tensors[p->loads[p->code[0].in[1]].view], 1);
    gpu_range dshape = range_of(f, tensors[p->code[0].view], 1);
    uint32_t d = gpu_fuser_last_writer(f, c, &slope);
    if (!is_product(f, d, false) || !made(f, d, 0, &slope) || gpu_fuser_only_reader(f, d, &slope) != c) return false;
    uint32_t u = product_of(f, c, &dshape, false);
    if (u == NONE) return false;
    gpu_range dn = range_of(f, gpu_step_out(&f->steps[u])[0], 1);
    uint32_t n = gpu_fuser_only_reader(f, u, &dn);
    if (n == NONE || f->steps[n].step->op != AIRA_OP_RMS_NORM_BACKWARD || f->steps[n].n_in != 3 ||
        f->steps[n].n_out != 2 || (f->steps[n].merged & ~GPU_ELSEWHERE))
        return false;
    const uint32_t *norm_in = gpu_step_in(&f->steps[n]), *norm_out = gpu_step_out(&f->steps[n]);
    gpu_range read = range_of(f, norm_in[2], 0);
    if (!gpu_ranges_equal(&read, &dn)) return false;
    sum_chain sum;
    uint32_t r = addition_of(f, n, norm_out[0], &sum, &residual), last = r == NONE ? n : r;
    const uint32_t *first = gpu_step_in(&f->steps[d]),
                   in[6] = {first[0], first[1], gpu_step_in(&f->steps[u])[1], norm_in[0], norm_in[1], residual},
                   out[RESULTS] = {r == NONE ? norm_out[0] : sum.out, tensors[p->code[0].view], hidden, norm_out[1]},
                   made_by[RESULTS] = {last, c, d, n};
    l->m = (members){{d, c, u, n, r}};
    l->n_in = r == NONE ? 5 : 6;
    memcpy(l->in, in, sizeof in);
    memcpy(l->out, out, sizeof out);
    memcpy(l->made_by, made_by, sizeof made_by);
    return true;
}

static bool same_bytes(const fuser *f, uint32_t a, uint32_t b) {
    gpu_range x = range_of(f, a, 0), y = range_of(f, b, 0);
    return gpu_ranges_equal(&x, &y);
}

/* Is b the gradient of l, and does it find x, w and up as l found them, and hidden's place as l leaves it? */
static bool is_gradient(const fuser *f, const forward_layer *l, const backward_layer *b) {
    uint32_t place = b->m.step[0];
    const aira_plan_step *norm = f->steps[l->m.step[0]].step, *back = f->steps[b->m.step[3]].step;
    gpu_range hidden = range_of(f, l->hidden, 1);
    if (place < l->place || !same_bytes(f, b->shape, l->shape) || norm->f[0] < back->f[0] || norm->f[0] > back->f[0])
        return false;
    if (!same_bytes(f, l->in[0], b->in[3]) || !same_bytes(f, l->in[1], b->in[4]) || !same_bytes(f, l->in[2], b->in[2]))
        return false;
    for (uint32_t k = 0; k < 3; k++) {
        gpu_range range = range_of(f, l->in[k], 0);
        if (others_touch(f, &l->m, l->m.step[k / 2], place, &range, true)) return false;
    }
    return !others_touch(f, &l->m, l->m.step[2], place, &hidden, false);
}

/* Are the operands there when the first step of the layer runs? */
static bool are_there(const fuser *f, const backward_layer *l) {
    const uint32_t *s = l->m.step, read_by[6] = {s[0], s[0], s[2], s[3], s[3], s[4]};
    for (uint32_t k = 0; k < l->n_in; k++) {
        gpu_range range = range_of(f, l->in[k], 0);
        for (uint32_t t = s[0]; t < read_by[k]; t++)
            if (gpu_fuser_touched(f, t, &range, true)) return false;
    }
    return true;
}

/* Is a result's planned place free from the first step of the layer on? */
static bool is_free(const fuser *f, const backward_layer *l, uint32_t result) {
    gpu_range range = range_of(f, l->out[result], 1);
    for (uint32_t k = 0; k < l->n_in; k++) {
        gpu_range read = range_of(f, l->in[k], 0);
        if (gpu_ranges_meet(&read, &range)) return false;
    }
    return !others_touch(f, &l->m, l->m.step[0], l->made_by[result], &range, false);
}

/* Places the results and makes the step; false leaves everything as it is. */
static bool backward_step(mover *m, const backward_layer *l, gpu_step *step) {
    const fuser *f = &m->f;
    enum { HIDDEN = 2 };
    uint32_t last[RESULTS];
    bool moves[RESULTS];
    gpu_range range[RESULTS];
    *step = merged_step(&f->steps[l->m.step[0]], &f->steps[l->m.step[3]],
                        GPU_MLP_BACKWARD | (l->n_in == 6 ? GPU_ADD_TENSOR : 0), l->in, l->n_in, l->out, RESULTS);
    for (uint32_t k = 0; k < RESULTS; k++) range[k] = range_of(f, l->out[k], 1);
    for (uint32_t k = 0; k < RESULTS; k++) {
        moves[k] = !is_free(f, l, k);
        if (k == HIDDEN) {
            if (moves[k]) return false;
            continue;
        }
        moves[k] |= gpu_ranges_meet(&range[k], &range[HIDDEN]);
        for (uint32_t j = 0; j < k; j++) moves[k] |= !moves[j] && gpu_ranges_meet(&range[j], &range[k]);
        if (moves[k] && !gpu_mover_may(f, l->made_by[k], &range[k], l->m.step, MOST_MEMBERS, &last[k])) return false;
    }
    if (!is_taken(f, step)) return false;
    for (uint32_t k = 0; k < RESULTS && !m->out_of_memory; k++) {
        if (!moves[k]) continue;
        uint64_t offset = gpu_mover_lease(m, l->m.step[0], last[k], range[k].end - range[k].begin);
        if (!m->out_of_memory) gpu_mover_move(m, l->made_by[k], &range[k], l->m.step, MOST_MEMBERS, offset);
        if (!m->out_of_memory) step->own[l->n_in + k] = gpu_mover_tensor(m, l->out[k], offset);
    }
    return true;
}

/* --- both ----------------------------------------------------------------------------------------------------------
 */

/* The layer around the GELU c, and its gradient if there is one. */
static void merge_layer(mover *m, uint32_t c) {
    const fuser *f = &m->f;
    forward_layer forward;
    backward_layer backward;
    gpu_step step, gradient;
    if (!find_forward(f, c, &forward) || !find_readers(f, &forward) || !forward_step(f, &forward, &step)) return;
    if (forward.gradient != NONE) {
        if (!find_backward(f, forward.gradient, forward.hidden, &backward) || !is_gradient(f, &forward, &backward) ||
            !are_there(f, &backward) || !backward_step(m, &backward, &gradient))
            return;
        put(m, &backward.m, backward.m.step[0], &gradient);
    }
    put(m, &forward.m, forward.place, &step);
}

bool gpu_fuse_mlp(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n) {
    mover m;
    if (layout->plan.copies > 1) return true;
    if (!gpu_mover_open(&m, layout, queue, steps, *n)) return false;
    for (uint32_t c = 0; c < m.f.n && !m.out_of_memory; c++)
        if (!m.f.gone[c]) merge_layer(&m, c);
    return gpu_mover_close(&m, n);
}
