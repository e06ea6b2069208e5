/* blocks.c - finds the runs.
 *
 * First every read is joined to the write it gets its value from (trace): so it is known which values nobody reads
 * after a given step. Then runs are grown greedily from each step that can be cut: a step that can be cut and reads
 * what the run made joins it; one that depends on nothing of the run is put before it (a weight brought to bf16); all
 * others (weight gradients) wait until after it, and so does what depends on them. A run ends with its last step
 * inside.
 *
 * Blocks change the order in which memory is used, and the plan uses memory again and again. So a run is cut where two
 * of its steps would use the same memory in another order than planned (conflict); values that stay in scratch use
 * none.
 */
#include "blocks.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_UNITS 16         /* fewer blocks than this would not occupy the threads */
#define MOST_GROUPS 256        /* partial sums of every group are kept */
#define BLOCK_BYTES (1u << 20) /* what the busiest step of a block touches */
#define LEAST_BYTES (1u << 20) /* a run that moves less is not worth it */
#define PATIENCE 32u           /* steps that may wait in a row before the run is given up */
#define NONE UINT32_MAX
#define FOREVER UINT32_MAX

typedef struct access {
    uint32_t step;
    uint32_t storage, copies;
    uint64_t begin, end; /* bytes */
    bool reads, writes;
    uint32_t source;    /* reads: the access that wrote exactly this, or NONE */
    uint32_t after;     /* reads: 1 + the last step that wrote any of it, 0: none */
    uint32_t last_read; /* writes: last step that reads the value; FOREVER: not known, or outside the arena */
    uint32_t slot;      /* of the run at work: scratch slot, or NONE */
    cpu_share share;
} access;

typedef struct slot {
    uint64_t bytes, offset; /* per unit, multiples of 64 */
    uint32_t first, last;   /* steps */
} slot;

typedef struct finder {
    const aira_plan *plan;
    const cpu_step *steps;
    uint32_t n_steps;
    access *accesses; /* of all steps, in the order of their operands */
    uint32_t *at;     /* [n_steps + 1]: where a step begins */
    int64_t *units;   /* 0: the step cannot be cut */
    cpu_when *when;   /* of the run at work */
    slot *slots;
    uint32_t n_slots;
    uint32_t *live; /* writes whose values are in memory */
    bool *damaged;
} finder;

static bool overlap(const access *a, const access *b) {
    return a->storage == b->storage && a->begin < b->end && b->begin < a->end;
}
static bool same(const access *a, const access *b) {
    return a->storage == b->storage && a->begin == b->begin && a->end == b->end;
}

/* --- where values come from --------------------------------------------------------------------------------------- */

static void trace_read(finder *f, access *a, uint32_t n_live) {
    uint32_t found = 0, source = NONE;
    bool damaged = false;
    for (uint32_t k = 0; k < n_live; k++) {
        access *w = &f->accesses[f->live[k]];
        if (!overlap(a, w)) continue;
        found++;
        source = f->live[k];
        damaged = damaged || f->damaged[k];
        if (w->step + 1 > a->after) a->after = w->step + 1;
    }
    if (found == 1 && !damaged && same(a, &f->accesses[source])) {
        a->source = source;
        if (f->accesses[source].last_read != FOREVER) f->accesses[source].last_read = a->step;
        return;
    }
    for (uint32_t k = 0; k < n_live; k++) {
        access *w = &f->accesses[f->live[k]];
        if (overlap(a, w)) w->last_read = FOREVER;
    }
}

static uint32_t trace_write(finder *f, uint32_t index, uint32_t n_live) {
    const access *a = &f->accesses[index];
    uint32_t kept = 0;
    for (uint32_t k = 0; k < n_live; k++) {
        const access *w = &f->accesses[f->live[k]];
        if (overlap(a, w) && a->begin <= w->begin && w->end <= a->end) continue;
        f->live[kept] = f->live[k];
        f->damaged[kept++] = f->damaged[k] || overlap(a, w);
    }
    f->live[kept] = index;
    f->damaged[kept] = false;
    return kept + 1;
}

static void trace(finder *f) {
    uint32_t n_live = 0;
    for (uint32_t s = 0; s < f->n_steps; s++) {
        for (uint32_t k = f->at[s]; k < f->at[s + 1]; k++) {
            if (f->accesses[k].reads) trace_read(f, &f->accesses[k], n_live);
        }
        for (uint32_t k = f->at[s]; k < f->at[s + 1]; k++) {
            if (f->accesses[k].writes) n_live = trace_write(f, k, n_live);
        }
    }
}

static void describe(finder *f) {
    cpu_share shares[64];
    for (uint32_t s = 0; s < f->n_steps; s++) {
        const cpu_step *step = &f->steps[s];
        uint32_t n = step->n_in + step->n_out;
        if (n > 64 || !cpu_partition(f->plan, step, shares, &f->units[s])) f->units[s] = 0;
        for (uint32_t k = 0; k < n; k++) {
            const aira_plan_tensor *tensor = cpu_tensor(f->plan, cpu_operand_id(step, k));
            access *a = &f->accesses[f->at[s] + k];
            uint32_t uses = step->chain ? cpu_chain_uses(step->chain, k) : k < step->n_in ? CPU_READS : CPU_WRITES;
            *a = (access){.step = s, .storage = tensor->storage, .copies = tensor->copies, .begin = tensor->offset};
            a->end = a->begin + (uint64_t)cpu_elements(&tensor->shape) * cpu_bytes_of(tensor->dtype) * tensor->copies;
            a->reads = (uses & CPU_READS) != 0;
            a->writes = (uses & CPU_WRITES) != 0;
            a->source = a->slot = NONE;
            a->last_read = tensor->storage == AIRA_STORE_ARENA ? s : FOREVER;
            a->share = f->units[s] ? shares[k] : CPU_WHOLE;
        }
    }
}

/* --- one run ------------------------------------------------------------------------------------------------------ */

/* Does access a read anything that the run makes in its blocks or after them? */
static bool made_inside(const finder *f, uint32_t first, const access *a) {
    if (!a->reads || a->after <= first) return false;
    if (a->source != NONE) return f->when[f->accesses[a->source].step] != CPU_BEFORE;
    for (uint32_t k = f->at[first]; k < f->at[a->step]; k++) {
        const access *w = &f->accesses[k];
        if (w->writes && f->when[w->step] != CPU_BEFORE && overlap(a, w)) return true;
    }
    return false;
}

static bool has_sums(const finder *f, uint32_t s) {
    for (uint32_t k = f->at[s]; k < f->at[s + 1]; k++) {
        if (f->accesses[k].share == CPU_SUMMED) return true;
    }
    return false;
}

/* May step s work on blocks of the run that began at first? Every value of the run that it reads must be there in the
   same parts. *connected: it reads at least one. */
static bool joins(const finder *f, uint32_t first, uint32_t s, int64_t units, bool *connected) {
    *connected = false;
    bool fits = f->units[s] > 0 && f->units[s] % units == 0 && f->steps[s].step->copies == f->steps[first].step->copies;
    if (has_sums(f, s) && f->units[s] != units) fits = false;
    for (uint32_t k = f->at[s]; k < f->at[s + 1]; k++) {
        const access *a = &f->accesses[k];
        if (!made_inside(f, first, a)) continue;
        *connected = true;
        if (a->source == NONE || a->share != CPU_PART) return false;
        const access *source = &f->accesses[a->source];
        if (f->when[source->step] != CPU_INSIDE || source->share != CPU_PART || source->copies != a->copies)
            return false;
    }
    return fits;
}

/* Grows a run from step first; returns its end. */
static uint32_t grow(finder *f, uint32_t first) {
    uint32_t end = first + 1;
    f->when[first] = CPU_INSIDE;
    for (uint32_t s = first + 1; s < f->n_steps && s - end < PATIENCE; s++) {
        bool connected;
        if (joins(f, first, s, f->units[first], &connected) && connected) {
            f->when[s] = CPU_INSIDE;
            end = s + 1;
        } else {
            f->when[s] = connected ? CPU_AFTER : CPU_BEFORE;
        }
    }
    return end;
}

/* Is the value written by access w needed by blocks of the run only? */
static bool stays_inside(const finder *f, const access *w, uint32_t end) {
    return w->share == CPU_PART && f->when[w->step] == CPU_INSIDE && w->last_read < end;
}

static void place_values(finder *f, uint32_t first, uint32_t end, int64_t units) {
    f->n_slots = 0;
    for (uint32_t k = f->at[first]; k < f->at[end]; k++) f->accesses[k].slot = NONE;
    for (uint32_t s = first; s < end; s++) { /* what waits reads memory, so its operands must go there */
        for (uint32_t k = f->at[s]; k < f->at[s + 1]; k++) {
            const access *a = &f->accesses[k];
            if (f->when[s] == CPU_AFTER && a->reads && a->source != NONE && a->source >= f->at[first]) {
                f->accesses[a->source].slot = FOREVER - 1;
            }
        }
    }
    for (uint32_t s = first; s < end; s++) {
        if (f->when[s] != CPU_INSIDE) continue;
        for (uint32_t k = f->at[s]; k < f->at[s + 1]; k++) {
            access *a = &f->accesses[k];
            if (a->reads && a->source != NONE && a->source >= f->at[first]) {
                a->slot = f->accesses[a->source].slot;
                if (a->slot < f->n_slots) f->slots[a->slot].last = s;
            }
        }
        for (uint32_t k = f->at[s]; k < f->at[s + 1]; k++) {
            access *a = &f->accesses[k];
            if (!a->writes || a->slot == FOREVER - 1 || !stays_inside(f, a, end)) continue;
            uint32_t shared = NONE; /* in place of an operand, where the plan has it so */
            for (uint32_t j = f->at[s]; j < f->at[s + 1] && f->steps[s].chain; j++) {
                const access *b = &f->accesses[j];
                if (b->reads && b->slot < f->n_slots && same(a, b)) shared = b->slot;
            }
            if (shared == NONE) {
                uint64_t bytes = (a->end - a->begin) / a->copies / (uint64_t)units;
                shared = f->n_slots++;
                f->slots[shared] = (slot){.bytes = (bytes + 63) / 64 * 64, .first = s, .last = s};
            }
            a->slot = shared;
        }
    }
    for (uint32_t k = f->at[first]; k < f->at[end]; k++) {
        if (f->accesses[k].slot == FOREVER - 1) f->accesses[k].slot = NONE;
    }
}

/* Sums over blocks reach memory after them. */
static cpu_when when_used(const finder *f, const access *a) {
    return f->when[a->step] == CPU_INSIDE && a->share == CPU_SUMMED ? CPU_AFTER : f->when[a->step];
}

/* Must step t, planned after step s, not run with it in one run as `when` says? */
static bool conflict(const finder *f, uint32_t s, uint32_t t) {
    for (uint32_t j = f->at[s]; j < f->at[s + 1]; j++) {
        const access *a = &f->accesses[j];
        if (a->slot != NONE) continue;
        cpu_when first = when_used(f, a);
        for (uint32_t k = f->at[t]; k < f->at[t + 1]; k++) {
            const access *b = &f->accesses[k];
            if (b->slot != NONE || !overlap(a, b) || !(a->writes || b->writes)) continue;
            cpu_when second = when_used(f, b);
            bool late_sum = f->when[s] == CPU_AFTER && f->when[t] == CPU_INSIDE; /* sums are added first */
            bool in_order = first == CPU_BEFORE || second == CPU_AFTER;
            if (first == CPU_INSIDE && second == CPU_INSIDE) {
                in_order = a->share == CPU_PART && b->share == CPU_PART && same(a, b);
            }
            if (first == CPU_INSIDE && second == CPU_BEFORE) in_order = false;
            if (first == CPU_AFTER && second != CPU_AFTER) in_order = false;
            if (!in_order || (second == CPU_AFTER && late_sum)) return true;
        }
    }
    return false;
}

/* The first step that conflicts with one before it, or end. */
static uint32_t first_conflict(const finder *f, uint32_t first, uint32_t end) {
    for (uint32_t t = first + 1; t < end; t++) {
        for (uint32_t s = first; s < t; s++) {
            if (conflict(f, s, t)) return t;
        }
    }
    return end;
}

/* Slots whose lifetimes overlap get different places; in the order of their beginnings, at the lowest free place. */
static uint64_t pack_slots(finder *f) {
    uint64_t top = 0;
    for (uint32_t k = 0; k < f->n_slots; k++) {
        slot *x = &f->slots[k];
        x->offset = 0;
        for (uint32_t j = 0; j < k; j++) { /* again after every move: places are not sorted */
            const slot *y = &f->slots[j];
            bool apart = y->last < x->first || x->last < y->first || y->offset + y->bytes <= x->offset ||
                         x->offset + x->bytes <= y->offset;
            if (apart) continue;
            x->offset = y->offset + y->bytes;
            j = UINT32_MAX; /* from the start */
        }
        if (x->offset + x->bytes > top) top = x->offset + x->bytes;
    }
    return top;
}

/* Bytes per unit that the busiest step of the run touches, and that all of them move. */
static uint64_t busiest(const finder *f, uint32_t first, uint32_t end, int64_t units, uint64_t *moved) {
    uint64_t most = 0;
    *moved = 0;
    for (uint32_t s = first; s < end; s++) {
        uint64_t sum = 0;
        for (uint32_t k = f->at[s]; k < f->at[s + 1] && f->when[s] == CPU_INSIDE; k++) {
            const access *a = &f->accesses[k];
            if (a->share == CPU_PART) sum += (a->end - a->begin) / a->copies / (uint64_t)units;
        }
        *moved += sum * (uint64_t)units;
        if (sum > most) most = sum;
    }
    return most;
}

static bool fill_run(const finder *f, cpu_run *run) {
    uint32_t n = run->end - run->first;
    run->when = malloc(n * sizeof *run->when);
    run->at = malloc(n * sizeof *run->at);
    run->operands = malloc((f->at[run->end] - f->at[run->first] + 1) * sizeof *run->operands);
    run->sums = malloc(n * sizeof *run->sums);
    if (!run->when || !run->at || !run->operands || !run->sums) return false;
    memcpy(run->when, f->when + run->first, n * sizeof *run->when);
    for (uint32_t s = 0; s < n; s++) {
        run->at[s] = f->at[run->first + s] - f->at[run->first];
        run->sums[s] = has_sums(f, run->first + s);
        for (uint32_t k = f->at[run->first + s]; k < f->at[run->first + s + 1]; k++) {
            const access *a = &f->accesses[k];
            cpu_operand *o = &run->operands[k - f->at[run->first]];
            *o = (cpu_operand){.share = a->share};
            if (a->slot != NONE) {
                o->place = CPU_SCRATCH;
                o->offset = f->slots[a->slot].offset;
            } else if (a->share == CPU_SUMMED && run->when[s] == CPU_INSIDE) {
                const aira_plan_tensor *tensor = cpu_tensor(
                    f->plan, cpu_operand_id(&f->steps[run->first + s], k - f->at[run->first + s]));
                o->place = CPU_PARTIAL;
                o->offset = run->partial;
                run->partial += ((uint64_t)cpu_elements(&tensor->shape) + 15) / 16 * 16;
            }
        }
    }
    return true;
}

static void begin_run(cpu_run *run, uint32_t first, uint32_t end, int64_t units) {
    *run = (cpu_run){.first = first, .end = end, .units = units, .group = (units + MOST_GROUPS - 1) / MOST_GROUPS};
    run->groups = (units + run->group - 1) / run->group;
    run->per_block = run->group;
    run->blocks = run->groups;
}

/* Step s alone, because its sums are to be the same in a run and outside. */
static bool lone_run(finder *f, uint32_t s, cpu_run *run) {
    if (f->units[s] < 2 || !has_sums(f, s)) return false;
    f->when[s] = CPU_INSIDE;
    place_values(f, s, s + 1, f->units[s]);
    begin_run(run, s, s + 1, f->units[s]);
    run->scratch = pack_slots(f);
    return true;
}

/* The run that begins at step first; false if there is none. */
static bool find_run(finder *f, uint32_t first, cpu_run *run) {
    int64_t units = f->units[first];
    if (units < LEAST_UNITS) return false;
    uint32_t end = grow(f, first), inside;
    for (;;) {
        while (f->when[end - 1] != CPU_INSIDE) end--;
        place_values(f, first, end, units);
        uint32_t cut = first_conflict(f, first, end);
        if (cut == end) break;
        end = cut;
    }
    inside = 0;
    for (uint32_t s = first; s < end; s++) inside += f->when[s] == CPU_INSIDE;
    uint64_t moved, bytes = busiest(f, first, end, units, &moved);
    if (inside < 2 || moved < LEAST_BYTES || bytes > BLOCK_BYTES) return false;
    begin_run(run, first, end, units);
    int64_t per_block = (int64_t)(BLOCK_BYTES / (bytes > 0 ? bytes : 1));
    if (per_block > units / LEAST_UNITS) per_block = units / LEAST_UNITS;
    if (per_block > run->group) run->per_block = per_block / run->group * run->group;
    run->blocks = (units + run->per_block - 1) / run->per_block;
    run->scratch = pack_slots(f);
    return true;
}

static void release_finder(finder *f) {
    free(f->accesses);
    free(f->at);
    free(f->units);
    free(f->when);
    free(f->slots);
    free(f->live);
    free(f->damaged);
}

static void release_run(cpu_run *run) {
    free(run->when);
    free(run->operands);
    free(run->at);
    free(run->sums);
}

void cpu_runs_release(cpu_runs *runs, uint32_t n_steps) {
    for (uint32_t r = 0; r < runs->n; r++) release_run(&runs->runs[r]);
    for (uint32_t s = 0; runs->lone && s < n_steps; s++) release_run(&runs->lone[s]);
    free(runs->runs);
    free(runs->lone);
}

static bool prepare_finder(finder *f) {
    size_t total = 0;
    f->at = malloc(((size_t)f->n_steps + 1) * sizeof *f->at);
    if (!f->at) return false;
    for (uint32_t s = 0; s < f->n_steps; s++) {
        f->at[s] = (uint32_t)total;
        total += f->steps[s].n_in + f->steps[s].n_out;
    }
    f->at[f->n_steps] = (uint32_t)total;
    f->accesses = malloc((total + 1) * sizeof *f->accesses);
    f->units = calloc((size_t)f->n_steps + 1, sizeof *f->units);
    f->when = calloc((size_t)f->n_steps + 1, sizeof *f->when);
    f->slots = malloc((total + 1) * sizeof *f->slots);
    f->live = malloc((total + 1) * sizeof *f->live);
    f->damaged = malloc((total + 1) * sizeof *f->damaged);
    return f->accesses && f->units && f->when && f->slots && f->live && f->damaged;
}

static bool find_all(finder *f, cpu_runs *runs) {
    for (uint32_t s = 0; s < f->n_steps; s++) {
        if (lone_run(f, s, &runs->lone[s]) && !fill_run(f, &runs->lone[s])) return false;
    }
    for (uint32_t s = 0; s < f->n_steps;) {
        cpu_run *run = &runs->runs[runs->n];
        if (!find_run(f, s, run)) {
            s++;
            continue;
        }
        runs->n++;
        if (!fill_run(f, run)) return false;
        s = run->end;
    }
    return true;
}

bool cpu_runs_find(const aira_plan *plan, const cpu_step *steps, uint32_t n_steps, cpu_runs *runs) {
    finder f = {.plan = plan, .steps = steps, .n_steps = n_steps};
    *runs = (cpu_runs){.runs = calloc((size_t)n_steps + 1, sizeof *runs->runs)};
    runs->lone = calloc((size_t)n_steps + 1, sizeof *runs->lone);
    bool good = runs->runs && runs->lone && prepare_finder(&f);
    if (good) {
        describe(&f);
        trace(&f);
        good = find_all(&f, runs);
    }
    release_finder(&f);
    return good;
}
