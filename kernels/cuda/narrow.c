/* narrow.c - see narrow.h
 *
 * A value of the arena lives until a step writes onto its place. All that read it meanwhile must read it whole: as the
 * operand of a sum to one number, or element by element in a chain. A chain that writes onto the place it reads from
 * would overwrite elements that other threads have yet to read, as they lie closer together than what is written.
 */
#include "narrow.h"

#include "fuse.h"

/* A weight's gradient: fp32 from bf16 operands, the second of them not transposed, in the arena. */
static bool is_gradient(const aira_plan *plan, const gpu_step *step, double least) {
    if (step->step->op != AIRA_OP_MATMUL || step->chain || step->batch || step->step->copies > 1) return false;
    if ((step->merged & ~GPU_ELSEWHERE) || step->step->i[0] == 0 || step->n_in != 2 || step->n_out != 1) return false;
    const aira_plan_tensor *a = gpu_tensor_of(plan, gpu_step_in(step)[0]),
                           *b = gpu_tensor_of(plan, gpu_step_in(step)[1]),
                           *c = gpu_tensor_of(plan, gpu_step_out(step)[0]);
    if (a->dtype != AIRA_BF16 || b->dtype != AIRA_BF16 || c->dtype != AIRA_F32) return false;
    if (a->shape.rank != 2 || b->shape.rank != 2 || c->storage != AIRA_STORE_ARENA || c->copies > 1) return false;
    return 2.0 * (double)gpu_elements(&c->shape) * (double)a->shape.dims[0] >= least;
}

/* The sum of all elements, or of their squares. */
static bool is_whole_sum(const aira_plan *plan, const gpu_step *step) {
    if (step->step->op != AIRA_OP_SUM || step->chain || step->batch || step->n_in != 1 || step->n_out != 1)
        return false;
    return !(step->merged & ~(GPU_ELSEWHERE | GPU_SQUARES)) &&
           gpu_elements(&gpu_tensor_of(plan, gpu_step_out(step)[0])->shape) == 1;
}

/* Does the step read nothing of the range but all of it, as what it is, and write elsewhere? */
static bool reads_well(const aira_plan *plan, const gpu_step *step, const gpu_range *range) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(plan, step, ranges);
    for (uint32_t k = 0; k < n; k++)
        if (gpu_ranges_meet(&ranges[k], range) && (ranges[k].writes || !gpu_ranges_equal(&ranges[k], range)))
            return false;
    if (!step->chain) return is_whole_sum(plan, step);
    const gpu_chain_program *p = &step->chain->program;
    if (step->chain->wide || step->batch || step->step->copies > 1) return false;
    for (uint32_t k = 0; k < p->n_loads; k++) {
        gpu_range read = gpu_range_of(plan, step->chain->tensors[p->loads[k].view], 0);
        if (gpu_ranges_meet(&read, range) && (p->loads[k].access != GPU_WHOLE || p->loads[k].dtype != AIRA_F32))
            return false;
    }
    return true;
}

uint32_t gpu_value_end(const aira_plan *plan, const gpu_step *steps, uint32_t n, uint32_t s, const gpu_range *range) {
    for (uint32_t t = s + 1; t < n; t++) {
        uint32_t how = gpu_step_uses(plan, &steps[t], range);
        if (how & GPU_READS && !reads_well(plan, &steps[t], range)) return s;
        if (how & GPU_WRITES) return t;
    }
    return n;
}

static void put(gpu_step *step, bool result, uint32_t id) {
    if (!step->merged) {
        for (uint32_t k = 0; k < step->n_in; k++) step->own[k] = step->planned_in[k];
        for (uint32_t k = 0; k < step->n_out; k++) step->own[step->n_in + k] = step->planned_out[k];
        step->merged = GPU_ELSEWHERE;
    }
    step->own[result ? step->n_in : 0] = id;
}

static void replace_in_chain(const aira_plan *plan, gpu_chain *chain, const gpu_range *range, uint32_t id) {
    gpu_chain_program *p = &chain->program;
    for (uint32_t k = 0; k < p->n_loads; k++) { /* loads may share a view */
        gpu_range read = gpu_range_of(plan, chain->tensors[p->loads[k].view], 0);
        if (gpu_ranges_equal(&read, range)) p->loads[k].dtype = gpu_tensor_of(plan, id)->dtype;
    }
    for (uint32_t k = 0; k < chain->n_tensors; k++) {
        gpu_range read = gpu_range_of(plan, chain->tensors[k], 0);
        if (gpu_ranges_equal(&read, range)) chain->tensors[k] = id;
    }
}

void gpu_value_replace(const aira_plan *plan, gpu_step *steps, uint32_t s, uint32_t end, const gpu_range *range,
                       uint32_t id) {
    for (uint32_t t = s + 1; t < end; t++) {
        if (!(gpu_step_uses(plan, &steps[t], range) & GPU_READS)) continue;
        if (steps[t].chain)
            replace_in_chain(plan, steps[t].chain, range, id);
        else
            put(&steps[t], false, id);
    }
}

bool gpu_narrow_gradients(gpu_layout *layout, gpu_step *steps, uint32_t n, double least, uint32_t *narrowed) {
    const aira_plan *plan = &layout->plan;
    *narrowed = 0;
    if (plan->copies > 1) return true;
    for (uint32_t s = 0; s < n; s++) {
        if (!is_gradient(plan, &steps[s], least)) continue;
        uint32_t old = gpu_step_out(&steps[s])[0];
        gpu_range range = gpu_range_of(plan, old, 0);
        uint32_t end = gpu_value_end(plan, steps, n, s, &range);
        if (end == s) continue;
        uint32_t id = gpu_layout_narrow(layout, old);
        if (id == UINT32_MAX) return false;
        put(&steps[s], true, id);
        gpu_value_replace(plan, steps, s, end, &range, id);
        ++*narrowed;
    }
    return true;
}
