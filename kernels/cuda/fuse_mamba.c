/* fuse_mamba.c - scans, norms and convolutions that do what stands around them: the gate, softplus' slope, SiLU.
 *
 * Each merge takes the elementwise chains around one or two steps away. Whether it may is asked of bytes: what is read
 * must lie there when the step runs, what is written must be free by then, and what is no longer written must have no
 * other reader. `gone` is set for the steps that a merge takes away before these questions are asked, and put back when
 * one of them is answered by no.
 */
#include "fuse_mamba.h"

#include <string.h>

#include "fast.h"
#include "fuse.h"

static gpu_range range_of(const fuser *f, uint32_t id) { return gpu_range_of(f->plan, id, 0); }
static bool same(const fuser *f, uint32_t a, uint32_t b) {
    gpu_range x = range_of(f, a), y = range_of(f, b);
    return gpu_ranges_equal(&x, &y);
}
static bool apart(const fuser *f, uint32_t a, uint32_t b) {
    gpu_range x = range_of(f, a), y = range_of(f, b);
    return !gpu_ranges_meet(&x, &y);
}

/* Does step s read (or write) bytes of tensor id? */
static bool uses(const fuser *f, uint32_t s, uint32_t id, bool reads, bool writes) {
    gpu_range range = range_of(f, id);
    return (gpu_step_uses(f->plan, &f->steps[s], &range) & ((reads ? GPU_READS : 0) | (writes ? GPU_WRITES : 0))) != 0;
}

static uint32_t writer_before(const fuser *f, uint32_t before, uint32_t id) {
    for (uint32_t s = before; s-- > 0;)
        if (!f->gone[s] && uses(f, s, id, false, true)) return s;
    return NONE;
}
static uint32_t reader_after(const fuser *f, uint32_t s, uint32_t id) {
    for (uint32_t t = s + 1; t < f->n; t++)
        if (!f->gone[t] && uses(f, t, id, true, false)) return t;
    return NONE;
}

/* Nobody but the steps a and b (NONE: none) reads what step s wrote there. */
static bool is_read_by(const fuser *f, uint32_t s, uint32_t id, uint32_t a, uint32_t b) {
    gpu_range range = range_of(f, id);
    if (gpu_is_seen(&range)) return false; /* the host may read it */
    for (uint32_t t = s + 1; t < f->n; t++) {
        uint32_t how = gpu_step_uses(f->plan, &f->steps[t], &range);
        if (how & GPU_READS && !f->gone[t] && t != a && t != b) return false;
        if (how & GPU_WRITES) return true; /* also if that step is gone: its reader was not ours */
    }
    return true;
}

static bool is_unread(const fuser *f, uint32_t s, uint32_t id) { return is_read_by(f, s, id, NONE, NONE); }

/* No step strictly between a and b writes there (touches it). */
static bool is_kept(const fuser *f, uint32_t a, uint32_t b, uint32_t id) {
    for (uint32_t t = a + 1; t < b; t++)
        if (!f->gone[t] && uses(f, t, id, false, true)) return false;
    return true;
}
static bool is_free(const fuser *f, uint32_t a, uint32_t b, uint32_t id) {
    for (uint32_t t = a + 1; t < b; t++)
        if (!f->gone[t] && uses(f, t, id, true, true)) return false;
    return true;
}

/* --- what chains are --- */

/* The tensor of value v of a chain if that is a whole bf16 operand, or NONE. */
static uint32_t operand(const gpu_chain *chain, uint32_t v) {
    const gpu_chain_program *p = &chain->program;
    if (v >= p->n_loads || p->loads[v].access != GPU_WHOLE || p->loads[v].dtype != AIRA_BF16) return NONE;
    return chain->tensors[p->loads[v].view];
}

/* Is step s one operation, bf16 of whole bf16 operands? in: of them, out: its result. */
static bool is_single(const fuser *f, uint32_t s, uint32_t op, uint32_t *in, uint32_t *out) {
    if (s == NONE || f->gone[s] || !f->steps[s].chain || f->steps[s].chain->wide) return false;
    const gpu_chain *chain = f->steps[s].chain;
    const gpu_chain_instruction *code = &chain->program.code[0];
    if (chain->program.n_code != 1 || code->op != op || code->narrow || code->dtype != AIRA_BF16) return false;
    for (uint32_t k = 0; k < code->n_in; k++)
        if ((in[k] = operand(chain, code->in[k])) == NONE) return false;
    *out = chain->tensors[code->view];
    return true;
}

/* Is step s SILU_BACKWARD(x, g), where g is an operand, or op of two? in: x, then of g; returns how many, 0: it is not.
 */
static uint32_t silu_slope(const fuser *f, uint32_t s, uint32_t op, uint32_t *in, uint32_t *out) {
    if (s == NONE || f->gone[s] || !f->steps[s].chain || f->steps[s].chain->wide) return 0;
    const gpu_chain *chain = f->steps[s].chain;
    const gpu_chain_program *p = &chain->program;
    const gpu_chain_instruction *last = &p->code[p->n_code - 1];
    if (last->op != AIRA_OP_SILU_BACKWARD || !last->stored || last->dtype != AIRA_BF16) return 0;
    if (p->n_code > 2 || (p->n_code == 2 && (p->code[0].op != op || p->code[0].stored || p->code[0].narrow))) return 0;
    if (p->n_code == 2 && last->in[1] != p->n_loads) return 0;
    in[0] = operand(chain, last->in[0]);
    for (uint32_t k = 0; k < p->n_code; k++)
        in[1 + k] = operand(chain, p->n_code == 2 ? p->code[0].in[k] : last->in[1]);
    for (uint32_t k = 0; k <= p->n_code; k++)
        if (in[k] == NONE) return 0;
    *out = chain->tensors[last->view];
    return p->n_code + 1;
}

/* Are these two of the chain's values, in any order, the operand *a and something else? Where *a is NONE it is whatever
   operand comes first and is set. Returns the other value, or NONE. */
static uint32_t other_factor(const gpu_chain *chain, uint32_t v, uint32_t *a) {
    const gpu_chain_program *p = &chain->program;
    if (v < p->n_loads || p->code[v - p->n_loads].op != AIRA_OP_MUL || p->code[v - p->n_loads].narrow) return NONE;
    const gpu_chain_instruction *code = &p->code[v - p->n_loads];
    for (uint32_t k = 0; k < 2; k++) {
        uint32_t id = operand(chain, code->in[k]);
        if (id == NONE || (*a != NONE && id != *a)) continue;
        *a = id;
        return code->in[1 - k];
    }
    return NONE;
}

/* The operand whose silu value v is, or NONE. */
static uint32_t opened_by(const gpu_chain *chain, uint32_t v) {
    const gpu_chain_program *p = &chain->program;
    if (v < p->n_loads || v == NONE || p->code[v - p->n_loads].op != AIRA_OP_SILU) return NONE;
    return p->code[v - p->n_loads].narrow ? NONE : operand(chain, p->code[v - p->n_loads].in[0]);
}

/* A chain with this many instructions, of which `stored` have bf16 results, all else stays inside. */
static const gpu_chain *chain_of(const fuser *f, uint32_t s, uint32_t n_code, uint32_t stored) {
    if (s == NONE || f->gone[s] || !f->steps[s].chain || f->steps[s].chain->wide) return NULL;
    const gpu_chain_program *p = &f->steps[s].chain->program;
    uint32_t n = 0;
    for (uint32_t k = 0; k < p->n_code; k++) {
        if (p->code[k].stored && p->code[k].dtype != AIRA_BF16) return NULL;
        n += p->code[k].stored;
    }
    return p->n_code == n_code && n == stored ? f->steps[s].chain : NULL;
}

/* --- merging --- */

typedef struct merged {
    uint32_t flags, in[GPU_MERGED_TENSORS], n_in, out[GPU_MERGED_TENSORS], n_out;
    const aira_plan_step *also;
} merged;

static merged plain_of(const fuser *f, uint32_t s) {
    const gpu_step *step = &f->steps[s];
    merged m = {.n_in = step->n_in, .n_out = step->n_out};
    memcpy(m.in, gpu_step_in(step), m.n_in * sizeof *m.in);
    memcpy(m.out, gpu_step_out(step), m.n_out * sizeof *m.out);
    return m;
}

/* Makes step s that, unless its kernel does not take it. */
static bool become(const fuser *f, uint32_t s, const merged *m, bool (*takes)(const gpu_call *call)) {
    gpu_step *step = &f->steps[s], before = *step;
    gpu_view views[GPU_MERGED_TENSORS];
    if (m->n_in + m->n_out > GPU_MERGED_TENSORS) return false;
    memcpy(step->own, m->in, m->n_in * sizeof *m->in);
    memcpy(step->own + m->n_in, m->out, m->n_out * sizeof *m->out);
    step->n_in = m->n_in;
    step->n_out = m->n_out;
    step->merged = m->flags;
    step->also = m->also;
    for (uint32_t k = 0; k < m->n_in + m->n_out; k++) {
        const aira_plan_tensor *t = gpu_tensor_of(f->plan, step->own[k]);
        views[k] = (gpu_view){.dtype = t->dtype, .n = gpu_elements(&t->shape), .shape = t->shape};
        /* no address, but aligned as one, and meeting others as it will */
        views[k].data = (char *)(((uintptr_t)t->storage + 1) << 40) + t->offset;
    }
    gpu_call call = {.step = step->step,
                     .in = views,
                     .out = views + m->n_in,
                     .n_in = m->n_in,
                     .n_out = m->n_out,
                     .merged = m->flags,
                     .also = m->also};
    if (takes(&call)) return true;
    *step = before;
    return false;
}

/* May result `out` lie where it does? Operands in the bit mask `open` may be there too, whole: the kernel's threads
   read of them what they replace, before they do; all others, and other results, lie apart. */
static bool may_replace(const fuser *f, const merged *m, uint32_t out, uint32_t open) {
    for (uint32_t k = 0; k < m->n_in; k++)
        if (!apart(f, m->in[k], m->out[out]) && !((open >> k & 1) && same(f, m->in[k], m->out[out]))) return false;
    for (uint32_t k = 0; k < m->n_out; k++)
        if (k != out && !apart(f, m->out[k], m->out[out])) return false;
    return true;
}

/* --- scans --- */

/* What a thread alone reads: u, delta and z; u, delta, the gradient of y, and z. */
#define SCAN_FORWARD_OPEN 0x43u
#define SCAN_OPEN 0xc3u

/* The steps of y silu(z) behind a scan or before a norm, and of its gradients, which are one chain. */
typedef struct gate {
    uint32_t product, slopes;        /* steps */
    uint32_t y, z, gated, g, dy, dz; /* tensors; g: gradient of gated */
} gate;

/* gated = y silu(z) */
static bool is_gate(const fuser *f, uint32_t s, gate *t) {
    const gpu_chain *chain = chain_of(f, s, 2, 1);
    if (!chain || !chain->program.code[1].stored) return false;
    t->product = s;
    t->gated = chain->tensors[chain->program.code[1].view];
    t->y = NONE;
    t->z = opened_by(chain, other_factor(chain, chain->program.n_loads + 1, &t->y));
    return t->z != NONE;
}

/* dy = g silu(z), dz = silu'(z) g y */
static bool is_gate_slopes(const fuser *f, uint32_t s, gate *t) {
    const gpu_chain *chain = chain_of(f, s, 4, 2);
    if (!chain) return false;
    const gpu_chain_program *p = &chain->program;
    t->slopes = s;
    t->dy = t->dz = t->z = t->g = NONE;
    for (uint32_t k = 0; k < p->n_code; k++) {
        if (!p->code[k].stored) continue;
        if (p->code[k].op == AIRA_OP_MUL && t->dy == NONE) {
            uint32_t z = opened_by(chain, other_factor(chain, p->n_loads + k, &t->g));
            if (z == NONE || (t->z != NONE && z != t->z)) return false;
            t->z = z;
            t->dy = chain->tensors[p->code[k].view];
        } else if (p->code[k].op == AIRA_OP_SILU_BACKWARD && t->dz == NONE) {
            uint32_t z = operand(chain, p->code[k].in[0]);
            if (z == NONE || (t->z != NONE && z != t->z)) return false;
            t->z = z;
            t->dz = k;
        } else
            return false;
    }
    if (t->dy == NONE || t->dz == NONE) return false;
    t->y = operand(chain, other_factor(chain, p->code[t->dz].in[1], &t->g));
    t->dz = chain->tensors[p->code[t->dz].view];
    return t->y != NONE;
}

/* The gate behind scan s: its product. */
static bool find_gate(const fuser *f, uint32_t s, gate *t) {
    uint32_t y = gpu_step_out(&f->steps[s])[0];
    return is_gate(f, reader_after(f, s, y), t) && same(f, t->y, y) && writer_before(f, t->product, y) == s;
}

/* What a scan does with its gate, whose step is gone. */
static bool fits_gate(const fuser *f, uint32_t s, const gate *t, merged *forward) {
    uint32_t z_writer = writer_before(f, t->product, t->z);
    if (!is_unread(f, s, t->y) || (z_writer != NONE && z_writer >= s) || !is_free(f, s, t->product, t->gated))
        return false;
    forward->flags |= GPU_GATE;
    forward->in[forward->n_in++] = t->z;
    forward->out[0] = t->gated;
    return may_replace(f, forward, 0, SCAN_FORWARD_OPEN);
}

/* Gradient b's gate, the scan of that, and its gate. Returns the scan or NONE. */
static uint32_t find_gate_slopes(const fuser *f, uint32_t b, gate *forward, gate *t) {
    const uint32_t *in = gpu_step_in(&f->steps[b]);
    if (!is_gate_slopes(f, writer_before(f, b, in[6]), t) || !same(f, t->dy, in[6])) return NONE;
    uint32_t s = writer_before(f, t->slopes, t->y);
    if (s == NONE || f->steps[s].step->op != AIRA_OP_SELECTIVE_SCAN || f->steps[s].merged) return NONE;
    for (uint32_t k = 0; k < 6; k++)
        if (gpu_step_in(&f->steps[s])[k] != in[k]) return NONE;
    if (!find_gate(f, s, forward) || !same(f, forward->y, t->y) || !same(f, forward->z, t->z)) return NONE;
    return writer_before(f, forward->product, t->z) == writer_before(f, t->slopes, t->z) ? s : NONE;
}

static bool fits_gate_slopes(const fuser *f, uint32_t b, const gate *t, merged *back) {
    if (!is_read_by(f, t->slopes, t->dy, b, NONE)) return false;
    if (!is_kept(f, t->slopes, b, t->z) || !is_kept(f, t->slopes, b, t->g)) return false;
    if (!is_free(f, t->slopes, b, t->dz)) return false;
    back->flags |= GPU_GATE;
    back->in[6] = t->g;
    back->in[back->n_in++] = t->z;
    back->out[back->n_out++] = t->dz;
    return true;
}

/* The steps behind the gradient of delta = softplus(x): times sigmoid(x), and the sum for a bias. */
typedef struct slope {
    uint32_t softplus, code, product, sum; /* steps; code: the instruction that makes sigmoid(x) */
    uint32_t sigmoid, ddelta, dx, dbias;   /* tensors */
} slope;

static bool find_slope(const fuser *f, uint32_t b, slope *t) {
    uint32_t pair[3], delta = gpu_step_in(&f->steps[b])[1];
    t->ddelta = gpu_step_out(&f->steps[b])[1];
    t->product = reader_after(f, b, t->ddelta);
    if (!is_single(f, t->product, AIRA_OP_MUL, pair, &t->dx) || !same(f, pair[0], t->ddelta)) return false;
    if (writer_before(f, t->product, t->ddelta) != b) return false;
    t->sigmoid = pair[1];
    t->softplus = writer_before(f, t->product, t->sigmoid);
    if (t->softplus == NONE || !f->steps[t->softplus].chain || writer_before(f, b, delta) != t->softplus) return false;
    const gpu_chain *chain = f->steps[t->softplus].chain;
    const gpu_chain_program *p = &chain->program;
    uint32_t plus = NONE;
    t->code = NONE;
    for (uint32_t k = 0; k < p->n_code; k++) {
        if (!p->code[k].stored || p->code[k].dtype != AIRA_BF16) continue;
        uint32_t id = chain->tensors[p->code[k].view];
        if (p->code[k].op == AIRA_OP_SIGMOID && same(f, id, t->sigmoid)) t->code = k;
        if (p->code[k].op == AIRA_OP_SOFTPLUS && same(f, id, delta)) plus = k;
    }
    if (t->code == NONE || plus == NONE || p->code[plus].in[0] != p->code[t->code].in[0]) return false;
    t->sum = reader_after(f, t->product, t->dx);
    if (t->sum == NONE || f->steps[t->sum].step->op != AIRA_OP_SUM || f->steps[t->sum].merged) return false;
    if (writer_before(f, t->sum, t->dx) != t->product) return false;
    const gpu_step *sum = &f->steps[t->sum];
    t->dbias = gpu_step_out(sum)[0];
    const aira_plan_tensor *from = gpu_tensor_of(f->plan, gpu_step_in(sum)[0]), *to = gpu_tensor_of(f->plan, t->dbias);
    /* all axes but the last */
    return same(f, gpu_step_in(sum)[0], t->dx) && from->shape.rank == 3 && sum->step->i[0] == 3 &&
           gpu_elements(&to->shape) == from->shape.dims[2];
}

static bool fits_slope(const fuser *f, uint32_t b, const slope *t, merged *back) {
    if (!is_unread(f, b, t->ddelta) || !is_unread(f, t->softplus, t->sigmoid)) return false;
    if (!is_free(f, b, t->product, t->dx) || !is_free(f, b, t->sum, t->dbias)) return false;
    back->flags |= GPU_STEPS;
    back->also = f->steps[t->sum].step;
    back->out[1] = t->dx;
    back->out[back->n_out++] = t->dbias;
    return true;
}

/* Nothing of the chain but its result k is lost. */
static void drop_result(gpu_chain *chain, uint32_t k) {
    chain->program.code[k].stored = 0;
    if (k + 1 == chain->program.n_code && k > 0) chain->program.n_code--;
}

static void set_gone(const fuser *f, const uint32_t *steps, uint32_t n, bool gone) {
    for (uint32_t k = 0; k < n; k++) f->gone[steps[k]] = gone;
}

/* Sums are written when all operands have been read, the other results each by the thread that read what lay there. */
static bool results_fit(const fuser *f, const merged *back) {
    for (uint32_t k = 0; k < back->n_out; k++) {
        bool sum = k >= 2 && !(back->flags & GPU_GATE && k == 6);
        if (!sum && !may_replace(f, back, k, SCAN_OPEN)) return false;
        for (uint32_t j = 0; j < k; j++)
            if (!apart(f, back->out[j], back->out[k])) return false;
    }
    return true;
}

static void merge_slope(const fuser *f, uint32_t b, const slope *t, merged *back, bool (*takes)(const gpu_call *call)) {
    const uint32_t taken[2] = {t->product, t->sum};
    set_gone(f, taken, 2, true);
    if (fits_slope(f, b, t, back) && results_fit(f, back) && become(f, b, back, takes))
        drop_result(f->steps[t->softplus].chain, t->code);
    else
        set_gone(f, taken, 2, false);
}

/* A scan and its gradient with the gate between: both or none. */
static void merge_gate_slopes(const fuser *f, uint32_t b, merged *back) {
    gate g, slopes;
    uint32_t s = find_gate_slopes(f, b, &g, &slopes);
    if (s == NONE) return;
    merged forward = plain_of(f, s), tried = *back;
    const uint32_t taken[2] = {g.product, slopes.slopes};
    const gpu_step before = f->steps[s];
    set_gone(f, taken, 2, true);
    bool fits = fits_gate(f, s, &g, &forward) && fits_gate_slopes(f, b, &slopes, &tried) && results_fit(f, &tried) &&
                become(f, s, &forward, gpu_scan_chunks_takes);
    if (fits && become(f, b, &tried, gpu_scan_chunks_takes)) {
        *back = tried;
        return;
    }
    f->steps[s] = before;
    set_gone(f, taken, 2, false);
}

static void merge_scan_back(const fuser *f, uint32_t b) {
    slope l;
    merged back = plain_of(f, b);
    merge_gate_slopes(f, b, &back);
    if (find_slope(f, b, &l)) merge_slope(f, b, &l, &back, gpu_scan_chunks_takes);
}

/* A scan that is not differentiated. */
static void merge_scan(const fuser *f, uint32_t s) {
    gate g;
    merged forward = plain_of(f, s);
    if (!find_gate(f, s, &g)) return;
    f->gone[g.product] = true;
    if (!fits_gate(f, s, &g, &forward) || !become(f, s, &forward, gpu_scan_chunks_takes)) f->gone[g.product] = false;
}

/* An SSD's gradient reads all of a sequence's steps before it writes their gradients. */
static void merge_ssd(const fuser *f, uint32_t b) {
    slope l;
    merged back = plain_of(f, b);
    if (find_slope(f, b, &l)) merge_slope(f, b, &l, &back, gpu_ssd_steps_takes);
}

/* --- norms --- */

#define NORM_OPEN 0xdu /* y, the gradient, z: a warp reads a row before it writes it */

/* norm(y silu(z)): the product before norm s. */
static bool find_norm(const fuser *f, uint32_t s, gate *t) {
    if (f->steps[s].merged || f->steps[s].n_in != 2) return false;
    uint32_t x = gpu_step_in(&f->steps[s])[0];
    return is_gate(f, writer_before(f, s, x), t) && same(f, t->gated, x);
}

static bool fits_norm(const fuser *f, uint32_t s, const gate *t, merged *m) {
    m->flags = GPU_GATE;
    m->in[0] = t->y;
    m->in[m->n_in++] = t->z;
    return is_kept(f, t->product, s, t->y) && is_kept(f, t->product, s, t->z) && may_replace(f, m, 0, 0x5u);
}

/* A norm that is not differentiated. */
static void merge_norm(const fuser *f, uint32_t s) {
    gate t;
    if (!find_norm(f, s, &t)) return;
    merged m = plain_of(f, s);
    f->gone[t.product] = true;
    if (!is_read_by(f, t.product, t.gated, s, NONE) || !fits_norm(f, s, &t, &m) ||
        !become(f, s, &m, gpu_gated_norm_takes))
        f->gone[t.product] = false;
}

/* The norm whose gradient is b, the gate before it, and that gate's gradients behind b. Returns the norm or NONE. */
static uint32_t find_norm_back(const fuser *f, uint32_t b, gate *forward, gate *t) {
    const uint32_t *in = gpu_step_in(&f->steps[b]), dproduct = gpu_step_out(&f->steps[b])[0];
    uint32_t product = writer_before(f, b, in[0]);
    uint32_t s = product == NONE ? NONE : reader_after(f, product, in[0]);
    if (s == NONE || f->steps[s].step->op != AIRA_OP_RMS_NORM || !find_norm(f, s, forward)) return NONE;
    const uint32_t *norm = gpu_step_in(&f->steps[s]);
    if (forward->product != product || !same(f, norm[0], in[0]) || norm[1] != in[1]) return NONE;
    if (!is_gate_slopes(f, reader_after(f, b, dproduct), t) || !same(f, t->g, dproduct)) return NONE;
    if (!same(f, t->y, forward->y) || !same(f, t->z, forward->z) || writer_before(f, t->slopes, t->g) != b) return NONE;
    return writer_before(f, t->slopes, t->y) == writer_before(f, product, t->y) &&
                   writer_before(f, t->slopes, t->z) == writer_before(f, product, t->z)
               ? s
               : NONE;
}

static bool fits_norm_back(const fuser *f, uint32_t b, const gate *t, merged *back) {
    back->flags = GPU_GATE;
    back->in[0] = t->y;
    back->in[back->n_in++] = t->z;
    back->out[0] = t->dy;
    back->out[back->n_out++] = t->dz;
    return is_unread(f, b, t->g) && is_free(f, b, t->slopes, t->dy) && is_free(f, b, t->slopes, t->dz) &&
           may_replace(f, back, 0, NORM_OPEN) && may_replace(f, back, 2, NORM_OPEN);
}

static void merge_norm_back(const fuser *f, uint32_t b) {
    gate g, slopes;
    uint32_t s = find_norm_back(f, b, &g, &slopes);
    if (s == NONE) return;
    merged forward = plain_of(f, s), back = plain_of(f, b);
    const uint32_t taken[2] = {g.product, slopes.slopes};
    const gpu_step before = f->steps[s];
    set_gone(f, taken, 2, true);
    bool fits = is_read_by(f, g.product, g.gated, s, b) && fits_norm(f, s, &g, &forward) &&
                fits_norm_back(f, b, &slopes, &back) && become(f, s, &forward, gpu_gated_norm_takes);
    if (fits && become(f, b, &back, gpu_gated_norm_takes)) return;
    f->steps[s] = before;
    set_gone(f, taken, 2, false);
}

/* --- convolutions --- */

/* silu(convolution): both are results, or silu's alone where nobody reads the other. */
static void merge_silu(const fuser *f, uint32_t s) {
    merged m = plain_of(f, s);
    uint32_t in[3], c = reader_after(f, s, m.out[0]), out;
    if (!is_single(f, c, AIRA_OP_SILU, in, &out) || !same(f, in[0], m.out[0])) return;
    if (writer_before(f, c, m.out[0]) != s) return;
    f->gone[c] = true;
    bool fits = is_free(f, s, c, out);
    m.flags = GPU_SILU;
    m.n_out = is_unread(f, s, m.out[0]) ? 1 : 2;
    m.out[1] = m.out[0];
    m.out[0] = out;
    for (uint32_t k = 0; k < m.n_out; k++) fits = fits && may_replace(f, &m, k, 0);
    if (!fits || !become(f, s, &m, gpu_conv_takes)) f->gone[c] = false;
}

/* The biases of the convolution whose result before step `at` is c, if gradient b can compute it again from them; or
   NONE. */
static uint32_t biases_of(const fuser *f, uint32_t b, uint32_t at, uint32_t c) {
    uint32_t s = writer_before(f, at, c);
    if (s == NONE || f->steps[s].step->op != AIRA_OP_CONV1D_CAUSAL || f->steps[s].merged) return NONE;
    const uint32_t *in = gpu_step_in(&f->steps[s]), *back = gpu_step_in(&f->steps[b]);
    if (!same(f, gpu_step_out(&f->steps[s])[0], c) || in[0] != back[0] || in[1] != back[1]) return NONE;
    for (uint32_t k = 0; k < 3; k++)
        if (!is_kept(f, s, b, in[k])) return NONE;
    return in[2];
}

/* gradient of a convolution given that of its silu: (x, w, biases, gradients to be added). */
static void merge_silu_slope(const fuser *f, uint32_t b) {
    merged m = plain_of(f, b);
    uint32_t in[3], out, c = writer_before(f, b, m.in[2]), n = silu_slope(f, c, AIRA_OP_ADD, in, &out);
    if (n == 0 || !same(f, out, m.in[2])) return;
    uint32_t biases = biases_of(f, b, c, in[0]);
    if (biases == NONE) return;
    f->gone[c] = true;
    bool fits = is_read_by(f, c, m.in[2], b, NONE);
    m.flags = GPU_SILU;
    m.n_in = 2 + n;
    memcpy(m.in + 2, in, n * sizeof *in);
    m.in[2] = biases;
    for (uint32_t k = 1; k < n; k++) fits = fits && is_kept(f, c, b, in[k]);
    for (uint32_t k = 0; k < 3 && fits; k++) /* taps and biases are written while others may still read */
        fits = may_replace(f, &m, k, k == 0 ? 0x18u : 0);
    if (!fits || !become(f, b, &m, gpu_conv_takes)) f->gone[c] = false;
}

/* --- projections --- */

/* Is step s a product that nothing was merged into, of bf16, with this second operand? */
static bool is_product(const fuser *f, uint32_t s, bool turned) {
    if (s == NONE || f->gone[s] || f->steps[s].step->op != AIRA_OP_MATMUL || f->steps[s].merged) return false;
    const gpu_step *step = &f->steps[s];
    bool half = gpu_tensor_of(f->plan, gpu_step_out(step)[0])->dtype == AIRA_BF16;
    return half && step->step->i[0] == 0 && (step->step->i[1] != 0) == turned;
}

/* Does step s cut columns from .. from + n out of tensor p, into tensor id? */
static bool is_cut(const fuser *f, uint32_t s, uint32_t p, int64_t from, uint32_t id) {
    if (s == NONE || f->gone[s] || f->steps[s].step->op != AIRA_OP_SLICE) return false;
    const gpu_step *step = &f->steps[s];
    const aira_shape *shape = &gpu_tensor_of(f->plan, p)->shape;
    return step->step->i[0] == (int64_t)shape->rank - 1 && step->step->i[1] == from &&
           same(f, gpu_step_in(step)[0], p) && same(f, gpu_step_out(step)[0], id);
}

static int64_t columns_of(const fuser *f, uint32_t id) { return gpu_last(&gpu_tensor_of(f->plan, id)->shape); }

/* The steps of p = u Wx', its columns r, B, C, and delta = softplus(r Wt' + bias). */
typedef struct projection {
    uint32_t first, cut[3], second, plus; /* steps */
    uint32_t p, r, B, C, dt, bias, delta; /* tensors */
} projection;

/* softplus(dt + bias), and nothing else is left of the chain */
static bool is_plus(const fuser *f, projection *t) {
    if (t->plus == NONE || f->gone[t->plus] || !f->steps[t->plus].chain || f->steps[t->plus].chain->wide) return false;
    const gpu_chain *chain = f->steps[t->plus].chain;
    const gpu_chain_program *p = &chain->program;
    const gpu_chain_instruction *sum = &p->code[0], *last = &p->code[1];
    if (p->n_code != 2 || p->n_loads != 2 || sum->op != AIRA_OP_ADD || sum->stored || sum->narrow) return false;
    if (last->op != AIRA_OP_SOFTPLUS || !last->stored || last->dtype != AIRA_BF16 || last->in[0] != 2) return false;
    uint32_t whole = operand(chain, 0) == NONE ? 1 : 0;
    const gpu_chain_load *bias = &p->loads[1 - whole];
    t->dt = operand(chain, whole);
    t->bias = chain->tensors[bias->view];
    return t->dt != NONE && sum->in[0] != sum->in[1] && bias->dtype == AIRA_BF16 && bias->access == GPU_WALK &&
           bias->n_dims == 2 && bias->strides[0] == 0 && bias->strides[1] == 1 &&
           bias->extents[1] == columns_of(f, t->dt) && same(f, chain->tensors[last->view], t->delta);
}

static bool find_projection(const fuser *f, uint32_t s, projection *t) {
    const uint32_t *in = gpu_step_in(&f->steps[s]);
    t->delta = in[1];
    t->B = in[3];
    t->C = in[4];
    t->plus = writer_before(f, s, t->delta);
    if (!is_plus(f, t)) return false;
    t->second = writer_before(f, t->plus, t->dt);
    if (!is_product(f, t->second, true) || !same(f, gpu_step_out(&f->steps[t->second])[0], t->dt)) return false;
    t->r = gpu_step_in(&f->steps[t->second])[0];
    t->cut[0] = writer_before(f, t->second, t->r);
    t->cut[1] = writer_before(f, s, t->B);
    t->cut[2] = writer_before(f, s, t->C);
    if (t->cut[0] == NONE || f->steps[t->cut[0]].chain) return false;
    t->p = gpu_step_in(&f->steps[t->cut[0]])[0];
    int64_t rank = columns_of(f, t->r), states = columns_of(f, t->B);
    if (!is_cut(f, t->cut[0], t->p, 0, t->r) || !is_cut(f, t->cut[1], t->p, rank, t->B) ||
        !is_cut(f, t->cut[2], t->p, rank + states, t->C) || columns_of(f, t->p) != rank + 2 * states)
        return false;
    t->first = writer_before(f, t->cut[0], t->p);
    for (int k = 1; k < 3; k++)
        if (writer_before(f, t->cut[k], t->p) != t->first) return false;
    return is_product(f, t->first, true) && same(f, gpu_step_out(&f->steps[t->first])[0], t->p);
}

static void merge_projection(const fuser *f, uint32_t s) {
    projection t;
    if (!find_projection(f, s, &t)) return;
    const uint32_t taken[6] = {t.first, t.cut[0], t.cut[1], t.cut[2], t.second, t.plus};
    const uint32_t *u = gpu_step_in(&f->steps[t.first]), Wt = gpu_step_in(&f->steps[t.second])[1];
    merged m = {.flags = GPU_PROJECT, .in = {u[0], u[1], Wt, t.bias}, .n_in = 4};
    const uint32_t out[4] = {t.r, t.B, t.C, t.delta};
    memcpy(m.out, out, sizeof out);
    m.n_out = 4;
    uint32_t at = t.plus; /* the last of them */
    for (uint32_t k = 0; k < 6; k++) at = taken[k] > at ? taken[k] : at;
    set_gone(f, taken, 6, true);
    bool fits = is_unread(f, t.first, t.p) && is_unread(f, t.second, t.dt) && is_kept(f, t.first, at, u[0]) &&
                is_kept(f, t.first, at, u[1]) && is_kept(f, t.second, at, Wt) && is_kept(f, t.plus, at, t.bias);
    fits = fits && is_free(f, t.plus, at, t.delta) && is_free(f, t.cut[0], at, t.r) && is_free(f, t.cut[1], at, t.B) &&
           is_free(f, t.cut[2], at, t.C);
    for (uint32_t k = 0; k < 4; k++) fits = fits && may_replace(f, &m, k, 0);
    gpu_step first = f->steps[t.first], last = f->steps[at];
    f->steps[t.first] = last;
    f->steps[at] = first;
    if (fits && become(f, at, &m, gpu_project_takes)) {
        f->steps[at].kernel = &gpu_project_kernel;
        f->gone[at] = false;
        return;
    }
    f->steps[t.first] = first;
    f->steps[at] = last;
    set_gone(f, taken, 6, false);
}

/* The same backward: d Wt, the gradient of p from it, dB and dC, and that times Wx; b: the scan's gradient. */
static void merge_projection_back(const fuser *f, uint32_t b) {
    const uint32_t *out = gpu_step_out(&f->steps[b]);
    uint32_t d = out[1], concat = reader_after(f, b, out[3]), product = NONE, last = NONE;
    if (concat == NONE || f->steps[concat].step->op != AIRA_OP_CONCAT || f->steps[concat].n_in != 3) return;
    const uint32_t *parts = gpu_step_in(&f->steps[concat]), dp = gpu_step_out(&f->steps[concat])[0];
    if (!same(f, parts[1], out[3]) || !same(f, parts[2], out[4])) return;
    if (f->steps[concat].step->i[0] != (int64_t)gpu_tensor_of(f->plan, dp)->shape.rank - 1) return;
    product = writer_before(f, concat, parts[0]);
    if (!is_product(f, product, false) || !same(f, gpu_step_in(&f->steps[product])[0], d)) return;
    if (writer_before(f, product, d) != b || writer_before(f, concat, out[3]) != b) return;
    if (!same(f, gpu_step_out(&f->steps[product])[0], parts[0])) return;
    for (uint32_t s = reader_after(f, concat, dp); s != NONE && last == NONE; s = reader_after(f, s, dp)) {
        if (writer_before(f, s, dp) != concat) return;
        if (is_product(f, s, false) && same(f, gpu_step_in(&f->steps[s])[0], dp)) last = s;
    }
    if (last == NONE || columns_of(f, dp) != columns_of(f, parts[0]) + 2 * columns_of(f, parts[1])) return;
    const uint32_t taken[2] = {product, concat};
    merged m = {.flags = GPU_PROJECT, .n_in = 5, .n_out = 2, .also = f->steps[concat].step};
    const uint32_t in[5] = {d, gpu_step_in(&f->steps[product])[1], out[3], out[4], gpu_step_in(&f->steps[last])[1]};
    memcpy(m.in, in, sizeof in);
    m.out[0] = dp;
    m.out[1] = gpu_step_out(&f->steps[last])[0];
    set_gone(f, taken, 2, true);
    bool fits = is_unread(f, product, parts[0]) && is_free(f, concat, last, dp);
    for (uint32_t k = 0; k < 4; k++) fits = fits && is_kept(f, k < 2 ? product : concat, last, m.in[k]);
    fits = fits && may_replace(f, &m, 0, 0) && may_replace(f, &m, 1, 1u); /* a block's rows of d are read first */
    if (fits && become(f, last, &m, gpu_project_takes))
        f->steps[last].kernel = &gpu_project_kernel;
    else
        set_gone(f, taken, 2, false);
}

void gpu_fuse_mamba(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t n, bool *gone) {
    const fuser f = {plan, queue, steps, n, gone};
    for (uint32_t s = 0; s < n; s++) { /* with their gradients first */
        if (gone[s] || steps[s].chain || steps[s].merged) continue;
        if (steps[s].step->op == AIRA_OP_SELECTIVE_SCAN_BACKWARD) merge_scan_back(&f, s);
        if (steps[s].step->op == AIRA_OP_SSD_BACKWARD) merge_ssd(&f, s);
        if (steps[s].step->op == AIRA_OP_RMS_NORM_BACKWARD) merge_norm_back(&f, s);
        if (steps[s].step->op == AIRA_OP_CONV1D_CAUSAL_BACKWARD) merge_silu_slope(&f, s);
    }
    for (uint32_t s = 0; s < n; s++) {
        if (gone[s] || steps[s].chain || steps[s].merged) continue;
        if (steps[s].step->op == AIRA_OP_SELECTIVE_SCAN) merge_scan(&f, s);
        if (steps[s].step->op == AIRA_OP_RMS_NORM) merge_norm(&f, s);
        if (steps[s].step->op == AIRA_OP_CONV1D_CAUSAL) merge_silu(&f, s);
    }
    for (uint32_t s = 0; s < n; s++) { /* after the chains have lost what scans do themselves */
        if (gone[s] || steps[s].chain) continue;
        if (steps[s].step->op == AIRA_OP_SELECTIVE_SCAN) merge_projection(&f, s);
        if (steps[s].step->op == AIRA_OP_SELECTIVE_SCAN_BACKWARD) merge_projection_back(&f, s);
    }
    gpu_fuse_project(plan, queue, steps, n, gone);
}
