/* fuse_sides.c - convolutions with SiLU that do not need each other run as one step: of Mamba-2's x, B and C, and their
 * gradients.
 *
 * One of the two runs where the other stood, if nobody between touches what it writes or writes what it reads: the
 * earlier one later, or else the later one earlier. Their blocks run in any order, so that results of one lie apart
 * from all that another touches.
 */
#include <stdlib.h>
#include <string.h>

#include "fast.h"
#include "steps.h"

#define REACH 8u

/* Convolutions that the step is already; 0: it is none that merges. */
static uint32_t sides_of(const gpu_step *step) {
    if (step->chain || step->batch || !(step->merged & GPU_SILU)) return 0;
    if (!(step->merged & GPU_SIDES)) return 1;
    return step->step->op == AIRA_OP_CONV1D_CAUSAL ? step->n_in / 3 : step->n_out / 3;
}

static bool are_apart(const aira_plan *plan, const gpu_step *a, const gpu_step *b) {
    gpu_range mine[GPU_MOST_RANGES], others[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(plan, a, mine), m = gpu_step_ranges(plan, b, others);
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t j = 0; j < m; j++)
            if ((mine[k].writes || others[j].writes) && gpu_ranges_meet(&mine[k], &others[j])) return false;
    return true;
}

/* Does step s do the same at the place of step t? */
static bool may_move(const aira_plan *plan, const gpu_step *steps, uint32_t s, uint32_t t) {
    for (uint32_t k = s < t ? s : t; k <= (s < t ? t : s); k++)
        if (k != s && !are_apart(plan, &steps[s], &steps[k])) return false;
    return true;
}

static bool is_taken(const aira_plan *plan, const gpu_step *step) {
    gpu_view views[GPU_MERGED_TENSORS];
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        const aira_plan_tensor *t = gpu_tensor_of(plan, step->own[k]);
        views[k] = (gpu_view){.dtype = t->dtype, .n = gpu_elements(&t->shape), .shape = t->shape};
        /* no address, but aligned as one, and meeting others as it will */
        views[k].data = (char *)(((uintptr_t)t->storage + 1) << 40) + t->offset;
    }
    gpu_call call = {.step = step->step, .in = views, .out = views + step->n_in, .n_in = step->n_in};
    call.n_out = step->n_out;
    call.merged = step->merged;
    return gpu_conv_takes(&call);
}

/* a and b as one step. */
static bool join(const aira_plan *plan, const gpu_step *a, const gpu_step *b, gpu_step *made) {
    uint32_t n = sides_of(a), m = sides_of(b), n_in = a->n_in + b->n_in, n_out = a->n_out + b->n_out;
    if (a->step->op != b->step->op || a->n_in / n != b->n_in / m || a->n_out / n != b->n_out / m) return false;
    if (n_in + n_out > GPU_MERGED_TENSORS) return false;
    *made = *b;
    memcpy(made->own, gpu_step_in(a), a->n_in * sizeof *made->own);
    memcpy(made->own + a->n_in, gpu_step_in(b), b->n_in * sizeof *made->own);
    memcpy(made->own + n_in, gpu_step_out(a), a->n_out * sizeof *made->own);
    memcpy(made->own + n_in + a->n_out, gpu_step_out(b), b->n_out * sizeof *made->own);
    made->n_in = n_in;
    made->n_out = n_out;
    made->merged |= GPU_SIDES;
    return is_taken(plan, made);
}

bool gpu_fuse_sides(const aira_plan *plan, gpu_step *steps, uint32_t *n) {
    for (uint32_t t = 1; t < *n && plan->copies <= 1; t++) {
        if (!sides_of(&steps[t])) continue;
        for (uint32_t s = t; s-- > 0 && t - s <= REACH;) {
            gpu_step made;
            if (!sides_of(&steps[s])) continue;
            bool late = may_move(plan, steps, s, t);
            if ((!late && !may_move(plan, steps, t, s)) || !join(plan, &steps[s], &steps[t], &made)) continue;
            uint32_t gone = late ? s : t;
            steps[late ? t : s] = made;
            memmove(&steps[gone], &steps[gone + 1], (*n - gone - 1) * sizeof *steps);
            (*n)--;
            t--;
            break;
        }
    }
    return true;
}
