/* fuse_project.c - the gradient of a convolution with SiLU multiplies p Wx itself, one of the two gradients that it
 * adds, where the step of a projection's gradient (GPU_PROJECT) would write it for nobody else.
 *
 * p has 16 columns at most, p Wx as many as the convolution has channels: a tensor is neither written nor read. In
 * return p and Wx are read later than planned, so they must still be there, and no result may lie on them.
 */
#include <string.h>

#include "fast.h"
#include "fuse.h"
#include "fuse_mamba.h"

/* The step of a projection's gradient that gives convolution c's gradient this operand, for which there is no other
   reader; or NONE. */
static uint32_t maker_of(const fuser *f, uint32_t c, uint32_t operand) {
    gpu_range range = gpu_range_of(f->plan, operand, 0);
    uint32_t s = gpu_fuser_last_writer(f, c, &range);
    if (s == NONE || !(f->steps[s].merged & GPU_PROJECT) || f->steps[s].n_out != 2) return NONE;
    gpu_range made = gpu_range_of(f->plan, gpu_step_out(&f->steps[s])[1], 1);
    return gpu_ranges_equal(&made, &range) && gpu_fuser_only_reader(f, s, &range) == c ? s : NONE;
}

/* Is what step s wrote, or read, at this place still there for step c, and do c's results lie apart from it? */
static bool lasts(const fuser *f, uint32_t s, uint32_t c, uint32_t id) {
    gpu_range range = gpu_range_of(f->plan, id, 0);
    for (uint32_t t = s + 1; t <= c; t++)
        if (gpu_fuser_touched(f, t, &range, true)) return false;
    return true;
}

static gpu_step step_of(const gpu_step *like, uint32_t flags, const uint32_t *in, uint32_t n_in, const uint32_t *out,
                        uint32_t n_out) {
    gpu_step step = *like;
    memcpy(step.own, in, n_in * sizeof *in);
    memcpy(step.own + n_in, out, n_out * sizeof *out);
    step.n_in = n_in;
    step.n_out = n_out;
    step.merged |= flags;
    return step;
}

static bool is_taken(const fuser *f, const gpu_step *step, bool (*takes)(const gpu_call *call)) {
    gpu_view views[GPU_MERGED_TENSORS];
    gpu_call call = gpu_fuser_shadow(f, step, views);
    return takes(&call);
}

/* Convolution c's gradient takes over the product that gives it operand k, 3 or 4. */
static bool take_product(const fuser *f, uint32_t c, uint32_t k) {
    const gpu_step *step = &f->steps[c];
    const uint32_t *in = gpu_step_in(step);
    uint32_t s = maker_of(f, c, in[k]);
    if (s == NONE) return false;
    const uint32_t *given = gpu_step_in(&f->steps[s]), p = gpu_step_out(&f->steps[s])[0], Wx = given[4];
    const uint32_t operands[6] = {in[0], in[1], in[2], in[7 - k], p, Wx};
    gpu_step back = step_of(step, GPU_PRODUCT, operands, 6, gpu_step_out(step), 3);
    gpu_step maker = step_of(&f->steps[s], 0, given, 4, &p, 1);
    back.also = maker.step;
    if (!lasts(f, s, c, p) || !lasts(f, s, c, Wx)) return false;
    if (!is_taken(f, &back, gpu_conv_takes) || !is_taken(f, &maker, gpu_project_takes)) return false;
    f->steps[c] = back;
    f->steps[s] = maker;
    return true;
}

void gpu_fuse_project(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t n, bool *gone) {
    const fuser f = {plan, queue, steps, n, gone};
    for (uint32_t c = 0; c < n; c++) {
        if (gone[c] || steps[c].chain || steps[c].merged != GPU_SILU || steps[c].n_in != 5) continue;
        if (steps[c].step->op == AIRA_OP_CONV1D_CAUSAL_BACKWARD && !take_product(&f, c, 4)) take_product(&f, c, 3);
    }
}
