/* weights.c - steps as entries of a list of weight gradients. See weights.h. */
#include "weights.h"

#include <string.h>

#define MOST_COLUMNS 1024            /* of either operand */
#define MOST_CELLS (1 << 19)         /* of a result */
#define MOST_WORK ((int64_t)1 << 31) /* multiplications: beyond them cuBLASLt's tiles of 128 x 256 are faster */

static bool aligned(const aira_plan *plan, uint32_t id) { return gpu_tensor_of(plan, id)->offset % 16 == 0; }

static bool is_result(const aira_plan_tensor *t) { return t->dtype == AIRA_BF16 || t->dtype == AIRA_F32; }

bool gpu_is_weight_product(const aira_plan *plan, const gpu_step *step) {
    if (step->step->op != AIRA_OP_MATMUL || step->merged & ~GPU_ELSEWHERE || step->chain || step->batch) return false;
    if (step->step->copies > 1 || step->step->i[0] == 0 || step->step->i[1] != 0) return false;
    const uint32_t *in = gpu_step_in(step), *out = gpu_step_out(step);
    const aira_plan_tensor *dy = gpu_tensor_of(plan, in[0]), *x = gpu_tensor_of(plan, in[1]),
                           *dw = gpu_tensor_of(plan, out[0]);
    if (dy->dtype != AIRA_BF16 || x->dtype != AIRA_BF16 || !is_result(dw)) return false;
    if (dy->shape.rank != 2 || x->shape.rank != 2 || dw->shape.rank != 2) return false;
    int64_t rows = dy->shape.dims[0], n = dy->shape.dims[1], k = x->shape.dims[1];
    if (rows < GPU_WEIGHT_LEAST || n <= 0 || k <= 0 || n % 4 || k % 4 || n > MOST_COLUMNS || k > MOST_COLUMNS)
        return false;
    if (n * k > MOST_CELLS || rows > MOST_WORK / (n * k)) return false;
    return aligned(plan, in[0]) && aligned(plan, in[1]) && aligned(plan, out[0]);
}

bool gpu_is_weight_sum(const aira_plan *plan, const gpu_step *sum, const gpu_step *product) {
    if (sum->step->op != AIRA_OP_SUM || sum->merged & ~GPU_ELSEWHERE || sum->batch || sum->step->copies > 1)
        return false;
    const uint32_t *in = gpu_step_in(sum), *out = gpu_step_out(sum);
    const aira_plan_tensor *x = gpu_tensor_of(plan, in[0]), *y = gpu_tensor_of(plan, out[0]);
    gpu_range mine = gpu_range_of(plan, in[0], 0), dy = gpu_range_of(plan, gpu_step_in(product)[0], 0);
    uint32_t rank = x->shape.rank;
    if (rank < 2 || sum->step->i[0] != ((int64_t)1 << (rank - 1)) - 1) return false;
    if (x->dtype != AIRA_BF16 || !is_result(y) || !aligned(plan, out[0]) || !gpu_ranges_equal(&mine, &dy)) return false;
    return gpu_last(&x->shape) == gpu_tensor_of(plan, gpu_step_in(product)[0])->shape.dims[1];
}

static char *address(const aira_plan *plan, void *const *buffers, uint32_t id) {
    const aira_plan_tensor *t = gpu_tensor_of(plan, id);
    return buffers ? (char *)buffers[t->storage] + t->offset : NULL;
}

static void set_sum(const aira_plan *plan, const gpu_step *sum, void *const *buffers, gpu_weight *w) {
    w->sums = 1;
    w->db = address(plan, buffers, gpu_step_out(sum)[0]);
    w->db_dtype = gpu_tensor_of(plan, gpu_step_out(sum)[0])->dtype;
}

static gpu_weight entry_of(const aira_plan *plan, const gpu_step *step, void *const *buffers) {
    gpu_weight w;
    const uint32_t *in = gpu_step_in(step);
    const aira_plan_tensor *dy = gpu_tensor_of(plan, in[0]);
    memset(&w, 0, sizeof w);
    w.dy = address(plan, buffers, in[0]);
    w.n = (uint32_t)gpu_last(&dy->shape);
    w.rows = gpu_elements(&dy->shape) / w.n;
    if (step->step->op != AIRA_OP_MATMUL) {
        set_sum(plan, step, buffers, &w);
        return w;
    }
    w.x = address(plan, buffers, in[1]);
    w.k = (uint32_t)gpu_last(&gpu_tensor_of(plan, in[1])->shape);
    w.dw = address(plan, buffers, gpu_step_out(step)[0]);
    w.dw_dtype = gpu_tensor_of(plan, gpu_step_out(step)[0])->dtype;
    return w;
}

/* The entry of a product that reads what this sum adds up and has no sum yet, or made. */
static uint32_t product_of(const aira_plan *plan, const gpu_step *members, uint32_t n, const gpu_step *sum,
                           const gpu_weight *list, uint32_t made) {
    uint32_t at = 0;
    for (uint32_t k = 0; k < n; k++) {
        if (members[k].step->op != AIRA_OP_MATMUL) continue;
        if (!list[at].sums && gpu_is_weight_sum(plan, sum, &members[k])) return at;
        at++;
    }
    return made;
}

/* Blocks that read most begin first: those that must wait for a place are then short. */
static void longest_first(gpu_weight *list, uint32_t n) {
    for (uint32_t k = 1; k < n; k++) {
        gpu_weight w = list[k];
        uint32_t at = k;
        for (; at > 0 && gpu_weight_reads(&list[at - 1]) < gpu_weight_reads(&w); at--) list[at] = list[at - 1];
        list[at] = w;
    }
}

uint32_t gpu_weights_list(const aira_plan *plan, const gpu_step *members, uint32_t n, void *const *buffers,
                          gpu_weight *list, size_t *workspace) {
    uint32_t made = 0, count = 0;
    uint64_t partial = 0;
    int clusters = gpu_weights_in_clusters();
    for (uint32_t k = 0; k < n; k++)
        if (members[k].step->op == AIRA_OP_MATMUL) list[made++] = entry_of(plan, &members[k], buffers);
    for (uint32_t k = 0; k < n; k++) {
        if (members[k].step->op == AIRA_OP_MATMUL) continue;
        uint32_t at = product_of(plan, members, n, &members[k], list, made);
        if (at < made)
            set_sum(plan, &members[k], buffers, &list[at]);
        else
            list[made++] = entry_of(plan, &members[k], buffers);
    }
    for (uint32_t k = 0; k < made; k++) gpu_weight_cut(&list[k]);
    longest_first(list, made);
    for (uint32_t k = 0; k < made; k++) {
        list[k].partial = partial;
        list[k].count = count;
        count += gpu_weight_counts(&list[k]);
        partial += gpu_weight_partials(&list[k], clusters);
    }
    *workspace = partial * sizeof(float);
    return made;
}

static uint32_t at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

gpu_weight_part gpu_weight_part_of(const gpu_weight *w, uint32_t part, int clusters) {
    uint32_t tiles = w->tiles_n * w->tiles_k, tile = part / GPU_WEIGHT_CLUSTER % tiles;
    gpu_weight_part p;
    memset(&p, 0, sizeof p);
    p.rank = part % GPU_WEIGHT_CLUSTER;
    p.group = part / GPU_WEIGHT_CLUSTER / tiles;
    p.groups = w->slices / GPU_WEIGHT_CLUSTER;
    p.n = w->n;
    p.k = w->k;
    p.n0 = tile / w->tiles_k * GPU_WEIGHT_TILE;
    p.k0 = tile % w->tiles_k * GPU_WEIGHT_TILE;
    p.height = at_most(GPU_WEIGHT_TILE, w->n - p.n0);
    p.width = at_most(GPU_WEIGHT_TILE, w->k - p.k0);
    int64_t slice = p.group * GPU_WEIGHT_CLUSTER + p.rank, first = slice * w->slice;
    if (first > w->rows) first = w->rows; /* nothing is left for it */
    p.rows = (uint32_t)(w->rows - first < w->slice ? w->rows - first : w->slice);
    p.dy = w->dy ? (const char *)w->dy + 2 * (first * w->n + p.n0) : NULL;
    p.x = w->x ? (const char *)w->x + 2 * (first * w->k + p.k0) : NULL;
    p.dw = w->dw;
    p.db = w->sums && p.k0 == 0 ? w->db : NULL;
    p.dw_dtype = w->dw_dtype;
    p.db_dtype = w->db_dtype;
    p.count = w->count + tile * GPU_WEIGHT_CLUSTER + p.rank;
    if (clusters) {
        p.partial = w->partial + (uint64_t)(tile * GPU_WEIGHT_CLUSTER + p.rank) * GPU_WEIGHT_SHARE;
        p.step = (uint64_t)tiles * GPU_WEIGHT_CLUSTER * GPU_WEIGHT_SHARE;
    } else {
        p.partial = w->partial + (uint64_t)slice * ((uint64_t)w->n * w->k + w->n);
    }
    return p;
}
