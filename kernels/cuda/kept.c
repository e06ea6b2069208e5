/* kept.c - see kept.h
 *
 * A copy may stay where one step alone writes the weight, a chain that assigns it whole after the last reader of the
 * copy. That chain gets one more instruction: the cast of what it assigns. Both round the same fp32 number, so that a
 * run gives the same bits whether it began with the casts or not. A copy that lies apart already, where no other step
 * writes (apart.h), keeps its place; others move.
 */
#include "kept.h"

#include <stdlib.h>
#include <string.h>

#include "own.h"

/* A cast whose result may stay. */
typedef struct copy {
    uint32_t update, value; /* the chain that assigns the weight, and what it assigns */
    gpu_range range;        /* of the cast's result */
    uint32_t result, last;  /* tensor, and who reads it last */
} copy;

static bool is_cast(const aira_plan *plan, const gpu_step *step) {
    if (!step->chain || step->chain->wide || step->batch || step->step->copies > 1) return false;
    const gpu_chain_program *p = &step->chain->program;
    const gpu_chain_instruction *code = &p->code[0];
    if (p->n_code != 1 || p->n_loads != 1 || code->op != AIRA_OP_CAST || !code->stored || code->dtype != AIRA_BF16)
        return false;
    if (p->loads[0].access != GPU_WHOLE || p->loads[0].dtype != AIRA_F32) return false;
    return gpu_tensor_of(plan, step->chain->tensors[p->loads[0].view])->storage == AIRA_STORE_PERSISTENT;
}

/* Which value of the chain becomes the weight? NONE: it is not assigned, or not whole. */
static uint32_t assigned(const aira_plan *plan, const gpu_chain *chain, const gpu_range *weight) {
    const gpu_chain_program *p = &chain->program;
    for (uint32_t k = 0; k < p->n_code; k++) {
        if (p->code[k].op != AIRA_OP_ASSIGN || !p->code[k].stored || p->code[k].dtype != AIRA_F32) continue;
        gpu_range to = gpu_range_of(plan, chain->tensors[p->code[k].view], 1);
        if (gpu_ranges_equal(&to, weight)) return p->code[k].in[0];
    }
    return NONE;
}

static bool is_inside(const gpu_range *part, const gpu_range *whole) {
    return part->storage == whole->storage && part->begin >= whole->begin && part->end <= whole->end;
}

/* May what step s wrote move, with all parts of it that others read, and who reads it last? */
static bool may_move_parts(const fuser *f, uint32_t s, const gpu_range *range, uint32_t *last) {
    gpu_range ranges[GPU_MOST_RANGES];
    *last = s;
    if (range->storage == GPU_STORE_OWN) { /* others' memory in turn? */
        for (uint32_t t = 0; t < f->n; t++)
            if (t != s && gpu_fuser_touched(f, t, range, true)) return false;
    } else if (range->storage != AIRA_STORE_ARENA) {
        return false;
    }
    for (uint32_t t = s + 1; t < f->n; t++) {
        const gpu_step *step = &f->steps[t];
        uint32_t n = gpu_step_ranges(f->plan, step, ranges);
        bool reads = false, writes = false;
        for (uint32_t k = 0; k < n; k++) {
            if (!gpu_ranges_meet(&ranges[k], range)) continue;
            if (!ranges[k].writes && !is_inside(&ranges[k], range)) return false;
            reads |= !ranges[k].writes;
            writes |= ranges[k].writes != 0;
        }
        if (reads && !step->chain && step->n_in + step->n_out > GPU_MERGED_TENSORS) return false;
        if (reads) *last = t;
        if (writes) break;
    }
    return true;
}

/* An operand that is a part of the range is found as far behind `offset` of the own memory. */
static uint32_t part_moved(mover *m, uint32_t id, const gpu_range *range, uint64_t offset) {
    gpu_range part = gpu_range_of(m->f.plan, id, 0);
    bool moves = gpu_ranges_meet(&part, range) && !m->out_of_memory;
    return moves ? gpu_mover_tensor(m, id, offset + part.begin - range->begin) : id;
}

static void move_parts(mover *m, uint32_t s, uint32_t last, const gpu_range *range, uint64_t offset) {
    for (uint32_t t = s + 1; t <= last; t++) {
        gpu_step *step = &m->f.steps[t];
        uint32_t ids[GPU_MERGED_TENSORS], n = step->n_in + step->n_out;
        if (step->chain) {
            const gpu_chain_program *p = &step->chain->program;
            for (uint32_t k = 0; k < p->n_loads; k++) {
                uint32_t *id = &step->chain->tensors[p->loads[k].view];
                *id = part_moved(m, *id, range, offset);
            }
            continue;
        }
        bool moves = false;
        for (uint32_t k = 0; k < step->n_in; k++) {
            gpu_range part = gpu_range_of(m->f.plan, gpu_step_in(step)[k], 0);
            moves |= gpu_ranges_meet(&part, range);
        }
        if (!moves) continue;
        memcpy(ids, gpu_step_in(step), step->n_in * sizeof *ids);
        memcpy(ids + step->n_in, gpu_step_out(step), step->n_out * sizeof *ids);
        for (uint32_t k = 0; k < step->n_in; k++) ids[k] = part_moved(m, ids[k], range, offset);
        memcpy(step->own, ids, n * sizeof *ids);
        step->merged |= GPU_ELSEWHERE;
    }
}

static bool find_copy(const fuser *f, uint32_t s, copy *c) {
    if (f->gone[s] || !is_cast(f->plan, &f->steps[s])) return false;
    const gpu_chain *chain = f->steps[s].chain;
    gpu_range weight = gpu_range_of(f->plan, chain->tensors[chain->program.loads[0].view], 0);
    uint32_t writers = 0;
    c->result = chain->tensors[chain->program.code[0].view];
    c->range = gpu_range_of(f->plan, c->result, 1);
    for (uint32_t t = 0; t < f->n; t++) {
        if (!gpu_fuser_touched(f, t, &weight, true)) continue;
        writers++;
        c->update = t;
    }
    if (writers != 1 || !may_move_parts(f, s, &c->range, &c->last) || c->last >= c->update) return false;
    const gpu_step *update = &f->steps[c->update];
    if (!update->chain || update->chain->wide || update->chain->program.n != chain->program.n ||
        update->chain->program.n_code >= GPU_CHAIN_CODE)
        return false;
    c->value = assigned(f->plan, update->chain, &weight);
    return c->value != NONE;
}

static void keep(mover *m, uint32_t s, const copy *c) {
    gpu_step *cast = &m->f.steps[s], *update = &m->f.steps[c->update];
    uint32_t id = c->result;
    gpu_chain_instruction code = cast->chain->program.code[0];
    if (c->range.storage == AIRA_STORE_ARENA) {
        uint64_t offset = gpu_mover_lease(m, 0, UINT32_MAX, c->range.end - c->range.begin);
        if (!m->out_of_memory) move_parts(m, s, c->last, &c->range, offset);
        id = m->out_of_memory ? UINT32_MAX : gpu_mover_tensor(m, c->result, offset);
    }
    if (m->out_of_memory) return;
    cast->chain->tensors[code.view] = id;
    code.in[0] = (uint16_t)c->value;
    gpu_chain *more = gpu_chain_extend(update->chain, &code, id);
    if (!more) {
        m->out_of_memory = true;
        return;
    }
    gpu_chain_destroy(update->chain);
    update->chain = more;
    update->planned_in = gpu_chain_tensors(more, &update->n_in);
}

uint64_t gpu_kept_bytes(const aira_plan *plan, const gpu_step *steps, uint32_t n) {
    uint64_t bytes = 0;
    if (plan->copies > 1) return 0;
    for (uint32_t s = 0; s < n; s++)
        if (is_cast(plan, &steps[s])) bytes += (uint64_t)steps[s].chain->program.n * gpu_bytes_of(AIRA_BF16);
    return bytes;
}

bool gpu_keep_copies(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t n, uint32_t *kept) {
    mover m = {.layout = layout};
    *kept = 0;
    if (layout->plan.copies > 1) return true;
    gpu_step *sorted = calloc((size_t)n + 1, sizeof *sorted);
    bool *stays = calloc((size_t)n + 1, sizeof *stays);
    bool good = sorted && stays && gpu_mover_open(&m, layout, queue, steps, n);
    for (uint32_t s = 0; s < n && good; s++) {
        copy c;
        if (!find_copy(&m.f, s, &c)) continue;
        stays[s] = true;
        keep(&m, s, &c);
        good = !m.out_of_memory;
    }
    if (good) {
        uint32_t placed = 0;
        for (int turn = 0; turn < 2; turn++) {
            for (uint32_t s = 0; s < n; s++)
                if (stays[s] == (turn == 0)) sorted[placed++] = steps[s];
            if (turn == 0) *kept = placed;
        }
        memcpy(steps, sorted, n * sizeof *steps);
    }
    if (m.f.gone) good = gpu_mover_close(&m, &n) && good;
    free(sorted);
    free(stays);
    return good;
}

bool gpu_batch_parts(const aira_plan *plan, gpu_step *steps, uint32_t *n, uint32_t *kept) {
    uint32_t first = *kept, others = *n - first;
    if (first && !gpu_batch_steps(plan, steps, &first)) return false;
    memset(steps + first, 0, (*kept - first) * sizeof *steps); /* their chains are the batch's */
    bool good = gpu_batch_steps(plan, steps + *kept, &others);
    memmove(steps + first, steps + *kept, others * sizeof *steps);
    *n = first + others;
    *kept = first;
    return good;
}
