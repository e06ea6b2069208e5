/* fuse_scatter.c - see fuse_scatter.h
 *
 * The sum takes the place of what is added to, whatever place the planner gave it: its readers are told. So that place
 * must stay untouched until the last of them, and nobody but the sum may have read it.
 */
#include "fuse_scatter.h"

#include <stdlib.h>
#include <string.h>

#include "fast.h"
#include "fuse.h"
#include "narrow.h"

/* a + b of fp32 tensors of one shape. */
static bool is_sum(const gpu_step *step) {
    if (!step->chain || step->chain->wide || step->batch || step->step->copies > 1) return false;
    const gpu_chain_program *p = &step->chain->program;
    if (p->n_code != 1 || p->n_loads != 2 || p->code[0].op != AIRA_OP_ADD || !p->code[0].stored) return false;
    for (uint32_t k = 0; k < 2; k++)
        if (p->loads[k].access != GPU_WHOLE || p->loads[k].dtype != AIRA_F32) return false;
    return p->code[0].dtype == AIRA_F32 && p->code[0].in[0] != p->code[0].in[1];
}

static bool same_shape(const aira_plan *plan, uint32_t a, uint32_t b) {
    const aira_shape *x = &gpu_tensor_of(plan, a)->shape, *y = &gpu_tensor_of(plan, b)->shape;
    return x->rank == y->rank && !memcmp(x->dims, y->dims, x->rank * sizeof *x->dims);
}

/* Does nobody touch the range from step `from` on, before `end`, but those two? */
static bool is_left_alone(const fuser *f, uint32_t from, uint32_t end, const gpu_range *range, uint32_t a, uint32_t b) {
    for (uint32_t t = from; t < end; t++)
        if (t != a && t != b && gpu_fuser_touched(f, t, range, false)) return false;
    return true;
}

/* Chain c adds the result of a SCATTER_ADD to tensor `to`. */
static bool merge(const fuser *f, uint32_t c, uint32_t scattered, uint32_t to) {
    const aira_plan *plan = f->plan;
    const gpu_chain *chain = f->steps[c].chain;
    gpu_range from = gpu_range_of(plan, scattered, 0), place = gpu_range_of(plan, to, 0);
    gpu_range out = gpu_range_of(plan, chain->tensors[chain->program.code[0].view], 1);
    uint32_t s = gpu_fuser_last_writer(f, c, &from), writer = gpu_fuser_last_writer(f, c, &place);
    if (s == NONE || writer == NONE || f->steps[s].step->op != AIRA_OP_SCATTER_ADD || f->steps[s].merged) return false;
    gpu_step *step = &f->steps[s];
    if (step->chain || step->step->copies > 1 || writer >= s || place.storage != AIRA_STORE_ARENA || gpu_is_seen(&out))
        return false;
    gpu_range made = gpu_range_of(plan, gpu_step_out(step)[0], 1);
    if (!gpu_ranges_equal(&made, &from) || !same_shape(plan, gpu_step_out(step)[0], to)) return false;
    if (gpu_fuser_only_reader(f, s, &from) != c || gpu_fuser_only_reader(f, writer, &place) != c) return false;
    uint32_t end = gpu_value_end(plan, f->steps, f->n, c, &out), last = c;
    if (end == c) return false;
    for (uint32_t t = c + 1; t < end; t++)
        if (gpu_fuser_touched(f, t, &out, false)) last = t;
    if (!is_left_alone(f, s, last + 1, &place, s, c)) return false;
    gpu_step before = *step;
    gpu_view views[GPU_MERGED_TENSORS];
    memcpy(step->own, before.planned_in, 2 * sizeof *step->own);
    step->own[2] = step->own[3] = to;
    step->n_in = 3;
    step->merged = GPU_ADD_TENSOR | GPU_ELSEWHERE;
    gpu_call call = gpu_fuser_shadow(f, step, views);
    if (gpu_scatter_takes(&call) || !gpu_listed_scatter_takes(&call)) {
        *step = before;
        return false;
    }
    gpu_value_replace(plan, f->steps, c, end, &out, to);
    return true;
}

bool gpu_fuse_scatter(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t *n) {
    fuser f = {.plan = plan, .queue = queue, .steps = steps, .n = *n};
    if (plan->copies > 1) return true;
    f.gone = calloc((size_t)*n + 1, sizeof *f.gone);
    if (!f.gone) return false;
    for (uint32_t c = 0; c < f.n; c++) {
        if (!is_sum(&steps[c])) continue;
        const gpu_chain *chain = steps[c].chain;
        uint32_t a = chain->tensors[chain->program.loads[0].view], b = chain->tensors[chain->program.loads[1].view];
        f.gone[c] = merge(&f, c, a, b) || merge(&f, c, b, a);
    }
    gpu_fuser_drop_gone(&f, n);
    free(f.gone);
    return true;
}
