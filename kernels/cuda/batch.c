/* batch.c - which steps run together, their tables, and their launch. See batch.h.
 *
 * Five kinds are batched: second stages of sums over rows, where they stand side by side; chains that update variables,
 * chains that read nothing else, sums of a whole tensor, and gradients of small weights. They move as far as bytes
 * allow: what only variables are needed for to the front; updates and sums, which are the tail of a training step, into
 * an order in which one waits until nothing else can run; gradients of weights, which only the tail reads, back to
 * where their operands are about to be written over.
 */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "sums.h"
#include "weights.h"

#define NONE UINT32_MAX
#define CHAIN_BLOCK 256u /* threads of a block, each with `vector` elements */
#define NEAR 32u         /* steps between a gradient of a weight and that of its bias */

struct gpu_batch {
    gpu_step *members; /* their chains belong to the batch */
    uint32_t n, n_blocks;
    int vector;                  /* of chains */
    uint32_t n_weights, n_joins; /* of gradients of weights: entries of their list, blocks of a second kernel */
    size_t table_bytes, block_bytes, workspace;
    void *memory; /* device: table, blocks, partial sums */
};

/* --- kinds --- */

/* A sum of a whole fp32 tensor. */
static bool is_scalar_sum(const aira_plan *plan, const gpu_step *step) {
    if (step->step->op != AIRA_OP_SUM || step->step->copies > 1 || step->batch) return false;
    const aira_plan_tensor *x = gpu_tensor_of(plan, gpu_step_in(step)[0]),
                           *y = gpu_tensor_of(plan, gpu_step_out(step)[0]);
    return gpu_elements(&y->shape) == 1 && gpu_elements(&x->shape) > 0 && y->dtype == AIRA_F32 &&
           (x->dtype == AIRA_F32 || x->dtype == AIRA_BF16);
}

/* The second stage of sums over rows. */
static bool is_join(const gpu_step *step) { return (step->merged & GPU_JOIN) != 0; }

/* Does a chain make a value of variables alone: a cast, a decay rate? */
static bool is_of_variables(const aira_plan *plan, const gpu_step *step) {
    const gpu_chain_program *p = &step->chain->program;
    for (uint32_t k = 0; k < p->n_code; k++)
        if (p->code[k].op == AIRA_OP_ASSIGN) return false;
    for (uint32_t k = 0; k < p->n_loads; k++)
        if (gpu_tensor_of(plan, step->chain->tensors[p->loads[k].view])->storage != AIRA_STORE_PERSISTENT) return false;
    return p->n_loads > 0;
}

/* A chain without broadcasts that writes a variable, or reads nothing else. */
static bool is_small_chain(const aira_plan *plan, const gpu_step *step) {
    if (!step->chain || step->chain->wide || step->batch || step->step->copies > 1) return false;
    const gpu_chain_program *p = &step->chain->program;
    bool assigns = false;
    if (p->n == 0 || p->n > (int64_t)UINT32_MAX) return false;
    for (uint32_t k = 0; k < p->n_loads; k++)
        if (p->loads[k].access == GPU_WALK) return false;
    for (uint32_t k = 0; k < p->n_code; k++) assigns |= p->code[k].op == AIRA_OP_ASSIGN;
    return assigns || is_of_variables(plan, step);
}

static bool same_program(const gpu_chain_program *a, const gpu_chain_program *b) {
    if (a->n_loads != b->n_loads || a->n_code != b->n_code) return false;
    for (uint32_t k = 0; k < a->n_loads; k++)
        if (a->loads[k].dtype != b->loads[k].dtype || a->loads[k].view != b->loads[k].view ||
            a->loads[k].access != b->loads[k].access)
            return false;
    return memcmp(a->code, b->code, a->n_code * sizeof *a->code) == 0;
}

static int vector_of(const gpu_chain_program *p) { return p->n % 4 == 0 ? 4 : 1; }

static bool same_kind(const aira_plan *plan, const gpu_step *a, const gpu_step *b) {
    if (is_join(a) || is_join(b)) return is_join(a) && is_join(b);
    if (is_scalar_sum(plan, a)) return is_scalar_sum(plan, b);
    return !is_scalar_sum(plan, b) && a->chain && b->chain && same_program(&a->chain->program, &b->chain->program) &&
           vector_of(&a->chain->program) == vector_of(&b->chain->program);
}

bool gpu_batch_takes(const aira_plan *plan, const gpu_step *step) {
    return is_scalar_sum(plan, step) || is_join(step) || is_small_chain(plan, step);
}

/* --- order --- */

/* Which steps must keep their order, a bit for every pair: two meet where one writes what the other touches. Steps are
   known by their numbers. */
typedef struct meetings {
    uint64_t *bits;
    size_t words; /* of a row */
} meetings;

/* A range of a step, in the order of begin; furthest: the largest end up to here. */
typedef struct place {
    gpu_range range;
    uint64_t furthest;
    uint32_t step;
} place;

static bool meet(const meetings *m, const gpu_step *a, const gpu_step *b) {
    return m->bits[a->number * m->words + b->number / 64] >> b->number % 64 & 1;
}

static void mark(meetings *m, uint32_t a, uint32_t b) {
    m->bits[a * m->words + b / 64] |= (uint64_t)1 << b % 64;
    m->bits[b * m->words + a / 64] |= (uint64_t)1 << a % 64;
}

static int by_begin(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->range.storage != y->range.storage) return x->range.storage < y->range.storage ? -1 : 1;
    if (x->range.begin != y->range.begin) return x->range.begin < y->range.begin ? -1 : 1;
    return 0;
}

static place *list_places(const aira_plan *plan, const gpu_step *steps, uint32_t n, size_t *count) {
    gpu_range ranges[GPU_MOST_RANGES];
    size_t all = 0, at = 0;
    for (uint32_t s = 0; s < n; s++) all += gpu_step_ranges(plan, &steps[s], ranges);
    place *list = malloc((all + 1) * sizeof *list);
    for (uint32_t s = 0; list && s < n; s++) {
        uint32_t mine = gpu_step_ranges(plan, &steps[s], ranges);
        for (uint32_t k = 0; k < mine; k++)
            if (ranges[k].begin < ranges[k].end) list[at++] = (place){ranges[k], 0, s};
    }
    *count = at;
    return list;
}

/* Fills m for steps[0..n), whose numbers are set to their places. */
static bool find_meetings(const aira_plan *plan, gpu_step *steps, uint32_t n, meetings *m) {
    size_t count = 0;
    place *list = list_places(plan, steps, n, &count);
    m->words = ((size_t)n + 63) / 64;
    m->bits = calloc((size_t)n * m->words + 1, sizeof *m->bits);
    bool good = list && m->bits;
    for (uint32_t s = 0; s < n; s++) steps[s].number = s;
    if (good) qsort(list, count, sizeof *list, by_begin);
    for (size_t k = 0; k < count && good; k++) {
        bool first = k == 0 || list[k - 1].range.storage != list[k].range.storage;
        uint64_t before = first ? 0 : list[k - 1].furthest;
        list[k].furthest = list[k].range.end > before ? list[k].range.end : before;
        /* those that begin before and may reach this one */
        for (size_t j = k;
             j-- > 0 && list[j].range.storage == list[k].range.storage && list[j].furthest > list[k].range.begin;)
            if ((list[j].range.writes || list[k].range.writes) && gpu_ranges_meet(&list[j].range, &list[k].range))
                mark(m, list[j].step, list[k].step);
    }
    free(list);
    if (!good) free(m->bits);
    return good;
}

/* Moves every value of variables alone to the front that no step before it forbids. Returns how many stand there. */
static uint32_t variables_first(const aira_plan *plan, const meetings *m, gpu_step *steps, uint32_t n) {
    uint32_t front = 0;
    for (uint32_t s = 0; s < n; s++) {
        bool moves = is_small_chain(plan, &steps[s]) && is_of_variables(plan, &steps[s]);
        for (uint32_t t = front; t < s && moves; t++) moves = !meet(m, &steps[t], &steps[s]);
        if (!moves) continue;
        gpu_step cast = steps[s];
        memmove(&steps[front + 1], &steps[front], (s - front) * sizeof *steps);
        steps[front++] = cast;
    }
    return front;
}

/* What schedule needs to know of n steps. */
typedef struct agenda {
    gpu_step *sorted;
    uint32_t *waits; /* for how many others */
    uint8_t *done, *rank;
} agenda;

/* What can runs first, the lowest first: others wait for second stages and updates, and the last sums for all updates.
 */
static uint8_t rank_of(const aira_plan *plan, const gpu_step *step) {
    if (!gpu_batch_takes(plan, step)) return 0;
    return is_join(step) ? 1 : step->chain ? 2 : 3;
}

/* Reorders steps[0..n): what cannot be batched runs as soon as it can, a batchable step when nothing else can, and then
   with all of its kind that can. */
static void schedule(const aira_plan *plan, const meetings *m, const gpu_step *from, uint32_t n, agenda *a) {
    uint32_t placed = 0;
    for (uint32_t s = 0; s < n; s++) {
        a->rank[s] = rank_of(plan, &from[s]);
        for (uint32_t before = 0; before < s; before++) a->waits[s] += meet(m, &from[before], &from[s]);
    }
    while (placed < n) {
        uint32_t chosen = NONE;
        for (uint32_t s = 0; s < n; s++)
            if (!a->done[s] && !a->waits[s] && (chosen == NONE || a->rank[s] < a->rank[chosen])) chosen = s;
        const gpu_step *kind = &from[chosen];
        bool many = a->rank[chosen] > 0;
        for (uint32_t s = chosen; s < n; s++) {
            if (a->done[s] || a->waits[s] || (s != chosen && (!many || !same_kind(plan, kind, &from[s])))) continue;
            a->sorted[placed++] = from[s];
            a->done[s] = 2; /* its readers wait for the whole batch */
            if (!many) break;
        }
        for (uint32_t s = chosen; s < n; s++) {
            if (a->done[s] != 2) continue;
            a->done[s] = 1;
            for (uint32_t b = s + 1; b < n; b++) a->waits[b] -= meet(m, &from[s], &from[b]);
            if (!many) break;
        }
    }
}

static bool reorder(const aira_plan *plan, const meetings *m, gpu_step *steps, uint32_t n) {
    agenda a = {calloc((size_t)n + 1, sizeof *a.sorted), calloc((size_t)n + 1, sizeof *a.waits),
                calloc((size_t)n + 1, 1), calloc((size_t)n + 1, 1)};
    bool good = a.sorted && a.waits && a.done && a.rank;
    if (good) {
        schedule(plan, m, steps, n, &a);
        memcpy(steps, a.sorted, n * sizeof *steps);
    }
    free(a.sorted);
    free(a.waits);
    free(a.done);
    free(a.rank);
    return good;
}

/* --- making --- */

static uint32_t parts_of(const aira_plan *plan, const gpu_batch *batch, const gpu_step *member) {
    const aira_shape *x = member->chain ? NULL : &gpu_tensor_of(plan, gpu_step_in(member)[0])->shape;
    int64_t n = member->chain ? member->chain->program.n : is_join(member) ? gpu_last(x) : gpu_elements(x);
    int64_t part = member->chain     ? (int64_t)CHAIN_BLOCK * batch->vector
                   : is_join(member) ? GPU_JOIN_COLUMNS
                                     : GPU_SUM_CHUNK;
    return (uint32_t)((n + part - 1) / part);
}

static gpu_batch *make_batch(const aira_plan *plan, const gpu_step *steps, uint32_t n) {
    gpu_batch *batch = calloc(1, sizeof *batch);
    if (!batch) return NULL;
    batch->members = calloc(n, sizeof *batch->members);
    if (!batch->members) {
        free(batch);
        return NULL;
    }
    memcpy(batch->members, steps, n * sizeof *steps);
    batch->n = n;
    batch->vector = steps[0].chain ? vector_of(&steps[0].chain->program) : 1;
    for (uint32_t k = 0; k < n; k++) batch->n_blocks += parts_of(plan, batch, &steps[k]);
    size_t row = steps[0].chain ? sizeof(gpu_chain_member) : is_join(&steps[0]) ? sizeof(gpu_join) : sizeof(gpu_sum);
    batch->table_bytes = n * row;
    batch->block_bytes = batch->n_blocks * sizeof(gpu_block);
    return batch;
}

/* --- gradients of weights --- */

static gpu_batch *make_weights(const aira_plan *plan, const gpu_step *steps, uint32_t n) {
    gpu_batch *batch = calloc(1, sizeof *batch);
    gpu_weight *list = calloc(n, sizeof *list);
    if (batch) batch->members = calloc(n, sizeof *batch->members);
    if (!batch || !list || !batch->members) {
        if (batch) free(batch->members);
        free(batch);
        free(list);
        return NULL;
    }
    memcpy(batch->members, steps, n * sizeof *steps);
    batch->n = n;
    batch->vector = 1;
    batch->n_weights = gpu_weights_list(plan, steps, n, NULL, list, &batch->workspace);
    uint32_t counts = 0;
    for (uint32_t k = 0; k < batch->n_weights; k++) {
        batch->n_blocks += gpu_weight_blocks(&list[k]);
        batch->n_joins += gpu_weight_joins(&list[k]);
        counts += gpu_weight_counts(&list[k]);
    }
    batch->table_bytes = batch->n_weights * sizeof *list;
    batch->block_bytes = batch->n_blocks * sizeof(gpu_weight_part) + batch->n_joins * sizeof(gpu_block) +
                         counts * sizeof counts;
    free(list);
    return batch;
}

static bool writes(const aira_plan *plan, const gpu_step *step, const gpu_range *range) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(plan, step, ranges);
    for (uint32_t k = 0; k < n; k++)
        if (ranges[k].writes && gpu_ranges_meet(&ranges[k], range)) return true;
    return false;
}

/* A gradient of a weight, or a sum over the same rows that stands near and finds them as that does. */
static bool is_weight(const aira_plan *plan, const gpu_step *steps, uint32_t s, uint32_t n) {
    if (gpu_is_weight_product(plan, &steps[s])) return true;
    if (steps[s].step->op != AIRA_OP_SUM || steps[s].chain) return false;
    gpu_range range = gpu_range_of(plan, gpu_step_in(&steps[s])[0], 0);
    for (uint32_t t = s + 1; t < n && t - s <= NEAR && !writes(plan, &steps[t], &range); t++)
        if (gpu_is_weight_product(plan, &steps[t]) && gpu_is_weight_sum(plan, &steps[s], &steps[t])) return true;
    for (uint32_t t = s; t-- > 0 && s - t <= NEAR && !writes(plan, &steps[t], &range);)
        if (gpu_is_weight_product(plan, &steps[t]) && gpu_is_weight_sum(plan, &steps[s], &steps[t])) return true;
    return false;
}

/* Are gradients of weights better off as a list? One product alone takes longer so, but keeps few multiprocessors busy
   where cuBLASLt cuts it for all of them. Of one or two, large ones are cuBLASLt's: tiles of 128 x 128 read operands
   more often than its own. */
static bool pays(const aira_plan *plan, const gpu_step *steps, uint32_t n) {
    const int64_t most = 4 * GPU_WEIGHT_TILE * GPU_WEIGHT_TILE;
    if (n == 0 || (n == 1 && steps[0].step->op != AIRA_OP_MATMUL)) return false;
    for (uint32_t k = 0; k < n && n <= 2; k++)
        if (steps[k].step->op == AIRA_OP_MATMUL &&
            gpu_elements(&gpu_tensor_of(plan, gpu_step_out(&steps[k])[0])->shape) > most)
            return false;
    return true;
}

/* Every such step of steps[0..*n) waits until another needs its result or writes what it reads; then all that wait run
   at once. */
static bool delay_weights(const aira_plan *plan, const meetings *m, gpu_step *steps, uint32_t *n) {
    gpu_step *sorted = calloc((size_t)*n + 1, sizeof *sorted), *waiting = calloc((size_t)*n + 1, sizeof *waiting);
    uint32_t placed = 0, waits = 0;
    bool good = sorted && waiting;
    for (uint32_t s = 0; s <= *n && good; s++) {
        bool flush = s == *n;
        for (uint32_t k = 0; k < waits && !flush; k++) flush = meet(m, &waiting[k], &steps[s]);
        if (flush && pays(plan, waiting, waits)) {
            gpu_step step = waiting[0];
            step.batch = make_weights(plan, waiting, waits);
            good = step.batch != NULL;
            sorted[placed++] = step; /* for its operation and shapes, which traces print */
            waits = 0;
        }
        for (uint32_t k = 0; flush && k < waits; k++) sorted[placed++] = waiting[k];
        if (flush) waits = 0;
        if (s == *n || !good) break;
        if (is_weight(plan, steps, s, *n))
            waiting[waits++] = steps[s];
        else
            sorted[placed++] = steps[s];
    }
    if (good) {
        memcpy(steps, sorted, placed * sizeof *steps);
        *n = placed;
    }
    for (uint32_t k = 0; k < placed && !good; k++) gpu_batch_destroy(sorted[k].batch);
    free(sorted);
    free(waiting);
    return good;
}

/* Neighbours of one kind that do not need each other become one step. */
static bool collect(const aira_plan *plan, const meetings *m, gpu_step *steps, uint32_t *n) {
    uint32_t kept = 0;
    for (uint32_t s = 0; s < *n;) {
        uint32_t end = s + 1;
        bool sum = is_scalar_sum(plan, &steps[s]) || is_join(&steps[s]);
        while (gpu_batch_takes(plan, &steps[s]) && end < *n && gpu_batch_takes(plan, &steps[end]) &&
               same_kind(plan, &steps[s], &steps[end])) {
            bool apart = true;
            for (uint32_t t = s; t < end && apart; t++) apart = !meet(m, &steps[t], &steps[end]);
            if (!apart) break;
            end++;
        }
        gpu_batch *batch = end - s > 1 || sum ? make_batch(plan, &steps[s], end - s) : NULL;
        if (!batch && (end - s > 1 || sum)) return false;
        gpu_step step = steps[s];
        if (batch) {
            step.batch = batch;
            step.chain = NULL;
        }
        steps[kept++] = step;
        s = end;
    }
    *n = kept;
    return true;
}

bool gpu_batch_steps(const aira_plan *plan, gpu_step *steps, uint32_t *n) {
    if (plan->copies > 1) return true;
    meetings m;
    if (!find_meetings(plan, steps, *n, &m)) return false;
    uint32_t front = variables_first(plan, &m, steps, *n), tail = front;
    while (tail < *n && !(is_small_chain(plan, &steps[tail]) && !is_of_variables(plan, &steps[tail]))) tail++;
    /* what comes right before the first update belongs to it: sums of gradients for clipping */
    while (tail > front && is_scalar_sum(plan, &steps[tail - 1])) tail--;
    uint32_t middle = tail - front;
    if (!delay_weights(plan, &m, steps + front, &middle)) {
        free(m.bits);
        return false;
    }
    memmove(steps + front + middle, steps + tail, (*n - tail) * sizeof *steps);
    *n -= tail - front - middle;
    tail = front + middle;
    bool good = reorder(plan, &m, steps, front) && reorder(plan, &m, steps + tail, *n - tail) &&
                collect(plan, &m, steps, n);
    free(m.bits);
    return good;
}

void gpu_batch_destroy(gpu_batch *batch) {
    if (!batch) return;
    for (uint32_t k = 0; k < batch->n; k++) gpu_chain_destroy(batch->members[k].chain);
    free(batch->members);
    free(batch);
}

uint32_t gpu_batch_count(const gpu_batch *batch) { return batch->n; }

const gpu_step *gpu_batch_member(const gpu_batch *batch, uint32_t k) { return &batch->members[k]; }

bool gpu_batch_wish(const gpu_batch *batch, gpu_chain_wish *wish) {
    const gpu_chain *chain = batch->members[0].chain;
    if (chain) *wish = (gpu_chain_wish){&chain->program, batch->vector, 1};
    return chain != NULL;
}

/* --- running --- */

static size_t rounded(size_t bytes) { return (bytes + 255) & ~(size_t)255; }

size_t gpu_batch_bytes(const gpu_batch *batch) {
    size_t sums = batch->n_weights ? 0 : batch->n_blocks * sizeof(float);
    return rounded(batch->table_bytes) + rounded(batch->block_bytes) + rounded(sums);
}

size_t gpu_batch_workspace(const gpu_batch *batch) { return batch->workspace; }

static char *address_of(const aira_plan *plan, void *const *buffers, uint32_t id) {
    const aira_plan_tensor *t = gpu_tensor_of(plan, id);
    return (char *)buffers[t->storage] + t->offset;
}

static gpu_chain_pointers pointers_of(const aira_plan *plan, void *const *buffers, const gpu_chain *chain) {
    gpu_chain_pointers pointers;
    memset(&pointers, 0, sizeof pointers);
    for (uint32_t k = 0; k < chain->n_tensors; k++) pointers.data[k] = address_of(plan, buffers, chain->tensors[k]);
    return pointers;
}

/* What lies behind the list: blocks' parts, joins, counters. */
static void fill_weights(const gpu_batch *batch, const aira_plan *plan, void *const *buffers, gpu_weight *list,
                         gpu_weight_part *parts) {
    gpu_block *joins = (gpu_block *)(void *)(parts + batch->n_blocks);
    int clusters = gpu_weights_in_clusters();
    size_t workspace;
    (void)gpu_weights_list(plan, batch->members, batch->n, buffers, list, &workspace); /* as it was, with addresses */
    for (uint32_t k = 0; k < batch->n_weights; k++)
        for (uint32_t part = 0; part < gpu_weight_blocks(&list[k]); part++)
            *parts++ = gpu_weight_part_of(&list[k], part, clusters);
    for (uint32_t k = 0; k < batch->n_weights; k++)
        for (uint32_t part = 0; part < gpu_weight_joins(&list[k]); part++) *joins++ = (gpu_block){k, part};
}

static gpu_join join_of(const aira_plan *plan, void *const *buffers, const gpu_step *step) {
    const aira_shape *partial = &gpu_tensor_of(plan, gpu_step_in(step)[0])->shape;
    gpu_join join;
    uint32_t at = 0;
    memset(&join, 0, sizeof join);
    join.partial = (const float *)(const void *)address_of(plan, buffers, gpu_step_in(step)[0]);
    join.blocks = partial->dims[0];
    join.width = (uint32_t)partial->dims[1];
    join.n = step->n_out;
    for (uint32_t k = 0; k < step->n_out; k++) {
        const aira_plan_tensor *to = gpu_tensor_of(plan, gpu_step_out(step)[k]);
        join.results[k] = (gpu_join_result){address_of(plan, buffers, gpu_step_out(step)[k]), to->dtype, at, at};
        at = join.results[k].end += (uint32_t)gpu_elements(&to->shape);
    }
    return join;
}

static void fill(const gpu_batch *batch, const aira_plan *plan, void *const *buffers, char *table, char *behind) {
    gpu_block *blocks = (gpu_block *)(void *)behind;
    uint32_t at = 0;
    if (batch->n_weights) {
        fill_weights(batch, plan, buffers, (gpu_weight *)(void *)table, (gpu_weight_part *)(void *)behind);
        return;
    }
    for (uint32_t k = 0; k < batch->n; k++) {
        const gpu_step *member = &batch->members[k];
        uint32_t parts = parts_of(plan, batch, member);
        if (member->chain) {
            gpu_chain_member *row = (gpu_chain_member *)(void *)table + k;
            row->pointers = pointers_of(plan, buffers, member->chain);
            row->n = member->chain->program.n;
        } else if (is_join(member)) {
            ((gpu_join *)(void *)table)[k] = join_of(plan, buffers, member);
        } else {
            const aira_plan_tensor *x = gpu_tensor_of(plan, gpu_step_in(member)[0]);
            ((gpu_sum *)(void *)table)[k] = (gpu_sum){.from = address_of(plan, buffers, gpu_step_in(member)[0]),
                                                      .to = address_of(plan, buffers, gpu_step_out(member)[0]),
                                                      .n = gpu_elements(&x->shape),
                                                      .dtype = x->dtype,
                                                      .to_dtype = AIRA_F32,
                                                      .first = at,
                                                      .squares = (member->merged & GPU_SQUARES) != 0};
        }
        for (uint32_t part = 0; part < parts; part++) blocks[at++] = (gpu_block){k, part};
    }
}

const char *gpu_batch_place(gpu_batch *batch, const aira_plan *plan, void *const *buffers, void *memory,
                            cudaStream_t stream) {
    size_t bytes = rounded(batch->table_bytes) + rounded(batch->block_bytes);
    char *host = calloc(1, bytes);
    if (!host) return "out of memory";
    batch->memory = memory;
    fill(batch, plan, buffers, host, host + rounded(batch->table_bytes));
    cudaError_t error = cudaMemcpyAsync(memory, host, bytes, cudaMemcpyHostToDevice, stream);
    if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
    if (error == cudaSuccess && batch->vector > 1) { /* an alias may begin anywhere */
        for (uint32_t k = 0; k < batch->n; k++) {
            const gpu_chain *chain = batch->members[k].chain;
            const gpu_chain_member *row = (const gpu_chain_member *)(const void *)host + k;
            if (chain && gpu_chain_vector(&chain->program, &row->pointers) < batch->vector) batch->memory = NULL;
        }
    }
    free(host);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

/* Chains that cannot run as one: no compiler, or an address that is not aligned. */
static const char *run_singly(const gpu_batch *batch, const aira_plan *plan, void *const *buffers,
                              const gpu_queue *queue) {
    const char *why = NULL;
    for (uint32_t k = 0; k < batch->n && !why; k++) {
        gpu_chain_pointers pointers = pointers_of(plan, buffers, batch->members[k].chain);
        why = gpu_chain_run(batch->members[k].chain, &pointers, queue->compiler, queue->stream);
    }
    return why;
}

const char *gpu_batch_run(const gpu_batch *batch, const aira_plan *plan, void *const *buffers, const gpu_queue *queue,
                          void *workspace) {
    char *memory = batch->memory;
    const gpu_chain *chain = batch->members[0].chain;
    if (batch->n_weights) {
        gpu_weight_part *parts = (gpu_weight_part *)(void *)(memory + rounded(batch->table_bytes));
        gpu_block *joins = (gpu_block *)(void *)(parts + batch->n_blocks);
        gpu_weights run = {.list = (const gpu_weight *)(const void *)memory, .parts = parts, .joins = joins};
        run.counts = (uint32_t *)(void *)(joins + batch->n_joins); /* zeros came with the table */
        run.partial = workspace;
        run.n_blocks = batch->n_blocks;
        run.n_joins = batch->n_joins;
        return gpu_weights_run(&run, queue->stream);
    }
    if (is_join(&batch->members[0]))
        return gpu_joins_run((const gpu_join *)(const void *)memory,
                             (const gpu_block *)(const void *)(memory + rounded(batch->table_bytes)), batch->n_blocks,
                             queue->stream);
    if (!chain) {
        char *blocks = memory + rounded(batch->table_bytes), *partial = blocks + rounded(batch->block_bytes);
        return gpu_sums_run((const gpu_sum *)(void *)memory, batch->n, (const gpu_block *)(void *)blocks,
                            batch->n_blocks, (float *)(void *)partial, queue->stream);
    }
    cudaKernel_t kernel = memory && queue->compiler
                              ? gpu_compiler_kernel(queue->compiler, &chain->program, batch->vector, 1)
                              : NULL;
    if (!kernel) return run_singly(batch, plan, buffers, queue);
    const char *blocks = memory + rounded(batch->table_bytes);
    void *arguments[] = {&memory, &blocks};
    cudaError_t error = cudaLaunchKernel((const void *)kernel, (dim3){batch->n_blocks, 1, 1}, (dim3){CHAIN_BLOCK, 1, 1},
                                         arguments, 0, queue->stream);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}
