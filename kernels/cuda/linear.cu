/* linear.cu - calls of linear.cuh, and the second stage of its sums over rows. */
#include "linear_groups.cuh"

#include "element.cuh"
#include "fast.h"
#include "groups.cuh"
#include "shared.cuh"
#include "sums.h"
#include "tables.h"

#define MOST_WIDTH 1024  /* columns that are summed over rows */
#define MOST_EXTENT 2048 /* of K of all products summed, of columns of all fanned out: beyond, cuBLASLt is as good */

/* --- the second stage ---------------------------------------------------------------------------------------------
 */

/* 32 columns a block, 32 threads a column; rows are added in an order that their number decides. */
__global__ void __launch_bounds__(1024) linear_join(const gpu_join *joins, const gpu_block *blocks) {
    __shared__ float part[32][33];
    const gpu_join &join = joins[blocks[blockIdx.x].member];
    uint32_t lane = threadIdx.x & 31, row = threadIdx.x >> 5, first = blocks[blockIdx.x].part * GPU_JOIN_COLUMNS;
    float sum = 0;
    if (first + lane < join.width)
        for (int64_t k = row; k < join.blocks; k += 32) sum += join.partial[k * join.width + first + lane];
    part[row][lane] = sum;
    __syncthreads();
    sum = warp_sum(part[lane][row]);
    if (lane) return;
    for (uint32_t k = 0; k < join.n; k++) {
        const gpu_join_result &r = join.results[k];
        if (first + row >= r.begin && first + row < r.end)
            store<float>(elements{r.to, r.dtype}, first + row - r.begin, sum);
    }
}

extern "C" const char *gpu_joins_run(const gpu_join *joins, const gpu_block *blocks, uint32_t n_blocks,
                                     cudaStream_t stream) {
    if (n_blocks) linear_join<<<n_blocks, 1024, 0, stream>>>(joins, blocks);
    return gpu_launched();
}

/* --- calls --- */

static int64_t width_of(const gpu_call *call) {
    const gpu_linear *l = call->linear;
    gpu_linear_slots s = gpu_linear_slots_of(l);
    int64_t width = l->slope ? call->out[s.dw].n : 0;
    for (uint32_t j = 0; j <= GPU_LINEAR_MOST; j++)
        if (l->columns >> j & 1) width += call->out[s.columns[j]].n;
    return width;
}

/* bf16, `rows` rows of `columns`, at a multiple of `bytes` */
static bool is_rows(const gpu_view *v, int64_t rows, int64_t columns, uint32_t bytes) {
    return v->dtype == AIRA_BF16 && gpu_last(&v->shape) == columns && v->n == rows * columns &&
           (uintptr_t)v->data % bytes == 0;
}

static bool is_result(const gpu_view *v, int64_t rows, int64_t columns) {
    return v->dtype == AIRA_BF16 && v->n == rows * columns && (uintptr_t)v->data % 16 == 0;
}

static bool is_vector(const gpu_view *v, uint32_t dtype, int64_t n) {
    return v->dtype == dtype && v->n == n && (uintptr_t)v->data % 8 == 0;
}

static bool is_weight(const gpu_view *v, bool transposed, int64_t k, int64_t n) {
    const aira_shape *s = &v->shape;
    return v->dtype == AIRA_BF16 && s->rank == 2 && s->dims[0] == (transposed ? n : k) &&
           s->dims[1] == (transposed ? k : n) && (uintptr_t)v->data % 16 == 0;
}

static bool takes_sums(const gpu_call *call, const gpu_linear_slots *s, int64_t rows, int64_t d) {
    const gpu_linear *l = call->linear;
    const gpu_view *in = call->in, *out = call->out;
    if (!is_rows(&out[s->to_r], rows, d, 16)) return false;
    int64_t all = 0;
    for (uint32_t j = 0; j < l->sums; j++) {
        int64_t k = gpu_last(&in[s->a[j]].shape);
        all += k;
        if (k % (l->transposed ? 8 : 2) || k == 0 || !is_rows(&in[s->a[j]], rows, k, 16)) return false;
        if (!is_weight(&in[s->w[j]], l->transposed, k, d)) return false;
        if ((l->columns >> j & 1) && out[s->columns[j]].n != k) return false;
    }
    if (all > MOST_EXTENT || (l->bias && !is_vector(&in[s->bias], AIRA_BF16, d))) return false;
    if (l->residual && !is_rows(&in[s->residual], rows, d, 16)) return false;
    if (l->columns >> GPU_LINEAR_MOST & 1 && (l->bias || out[s->columns[GPU_LINEAR_MOST]].n != d)) return false;
    return !l->slope || (is_rows(&in[s->x], rows, d, 16) && is_vector(&in[s->slope_w], AIRA_F32, d) && !l->bias &&
                         out[s->dw].n == d);
}

static bool has_room(size_t bytes) {
    int gpu = 0, most = 0;
    return cudaGetDevice(&gpu) == cudaSuccess &&
           cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, gpu) == cudaSuccess &&
           (size_t)most >= bytes;
}

static const void *turns_of(const gpu_call *call, int make) {
    const gpu_linear *l = call->linear;
    return gpu_tables_rope(call->tables, l->times, l->head, call->also->f[0], make);
}

static bool takes_turns(const gpu_call *call, const gpu_linear_slots *s, int64_t rows) {
    const gpu_linear *l = call->linear;
    if (!l->turns) return true;
    if (!l->transposed) return false; /* weights of projections lie [N][K] */
    if ((l->head != 8 && l->head != 16 && l->head != 32 && l->head != 64) || l->times == 0 || rows % l->times)
        return false;
    for (uint32_t j = 0; j < l->fans; j++)
        if ((l->turns >> j & 1) && call->out[s->y[j]].n / rows % l->head) return false;
    return turns_of(call, 1) != NULL;
}

bool gpu_linear_takes(const gpu_call *call) {
    const gpu_linear *l = call->linear;
    gpu_linear_slots s = gpu_linear_slots_of(l);
    const gpu_view *in = call->in, *out = call->out, *r = l->sums ? &out[s.to_r] : &in[s.r];
    int64_t d = gpu_last(&r->shape), rows = d ? r->n / d : 0;
    if ((d != 64 && d != 128) || rows == 0 || rows > INT32_MAX || (!l->sums && !l->fans)) return false;
    if (l->sums ? !takes_sums(call, &s, rows, d) : !is_rows(r, rows, d, 16)) return false;
    if (!l->sums && (l->columns || l->slope || l->bias || l->residual)) return false;
    if (l->norm && !is_vector(&in[s.norm_w], AIRA_F32, d)) return false;
    if (l->keeps && !is_rows(&out[s.n], rows, d, 16)) return false;
    int64_t all = 0;
    for (uint32_t j = 0; j < l->fans; j++) {
        int64_t n = out[s.y[j]].n / rows; /* heads may be an axis of their own */
        all += n;
        if (n % (l->transposed ? 2 : 8) || n == 0) return false;
        if (!is_result(&out[s.y[j]], rows, n) || !is_weight(&in[s.fan_w[j]], l->transposed, d, n)) return false;
        if ((l->biases >> j & 1) && !is_vector(&in[s.fan_bias[j]], AIRA_BF16, n)) return false;
    }
    int64_t width = width_of(call);
    return all <= MOST_EXTENT && takes_turns(call, &s, rows) && width <= MOST_WIDTH &&
           has_room(linear_size<128, true>::bytes((int)width));
}

/* Where sums of `columns` columns begin in the partial ones; -1: they are not wanted. */
static int place(linear_rows *p, bool wanted, int columns) {
    int at = p->width;
    if (wanted) p->width += columns;
    return wanted ? at : -1;
}

static linear_rows rows_of(const gpu_call *call, int d) {
    const gpu_linear *l = call->linear;
    const gpu_linear_slots s = gpu_linear_slots_of(l);
    const gpu_view *in = call->in, *out = call->out;
    linear_rows p = {};
    p.rows = in[0].n / gpu_last(&in[0].shape);
    p.sums = l->sums;
    p.fans = l->fans;
    (void)place(&p, l->slope, d);
    for (uint32_t j = 0; j <= GPU_LINEAR_MOST; j++) {
        bool wanted = l->columns >> j & 1;
        p.columns_at[j] = place(&p, wanted, j == GPU_LINEAR_MOST ? d : wanted ? (int)gpu_last(&in[s.a[j]].shape) : 0);
    }
    for (uint32_t j = 0; j < l->sums; j++) {
        p.a[j] = (const half16 *)in[s.a[j]].data;
        p.w[j] = (const half16 *)in[s.w[j]].data;
        p.k[j] = (int)gpu_last(&in[s.a[j]].shape);
    }
    for (uint32_t j = 0; j < l->fans; j++) {
        p.fan_w[j] = (const half16 *)in[s.fan_w[j]].data;
        if (l->biases >> j & 1) p.fan_bias[j] = (const half16 *)in[s.fan_bias[j]].data;
        p.y[j] = (half16 *)out[s.y[j]].data;
        p.n[j] = (int)(out[s.y[j]].n / p.rows);
    }
    if (l->sums)
        p.to_r = (half16 *)out[s.to_r].data;
    else
        p.r = (const half16 *)in[s.r].data;
    if (l->bias) p.bias = (const half16 *)in[s.bias].data;
    if (l->slope) p.x = (const half16 *)in[s.x].data, p.slope_w = (const float *)in[s.slope_w].data;
    if (l->residual) p.residual = (const half16 *)in[s.residual].data;
    if (l->norm) p.norm_w = (const float *)in[s.norm_w].data;
    if (l->keeps) p.to_n = (half16 *)out[s.n].data;
    if (l->turns) p.turns = (const float2 *)turns_of(call, 0);
    p.turned = l->turns;
    p.head = (int)l->head;
    p.times = (int)l->times;
    p.slope_eps = (float)l->slope_eps;
    p.norm_eps = (float)l->norm_eps;
    if (l->split) p.partial = (float *)out[s.partial].data;
    return p;
}

template <int D, bool SUMS, bool TRANS> static const char *launch(const gpu_call *call, const linear_rows &p) {
    cudaError_t error;
    if (has_groups()) {
        error = allow_shared(linear_groups<D, SUMS, TRANS>);
        if (error != cudaSuccess) return cudaGetErrorString(error);
        unsigned blocks = (unsigned)((p.rows + GROUPS_ROWS - 1) / GROUPS_ROWS);
        linear_groups<D, SUMS, TRANS><<<blocks, GROUPS_THREADS, sizeof(groups_shared<D, SUMS>), call->stream>>>(p);
        return gpu_launched();
    }
    error = allow_shared(linear_kernel<D, SUMS, TRANS>);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    unsigned blocks = (unsigned)((p.rows + GPU_LINEAR_ROWS - 1) / GPU_LINEAR_ROWS);
    linear_kernel<D, SUMS, TRANS><<<blocks, LINEAR_THREADS, linear_size<D, SUMS>::bytes(p.width), call->stream>>>(p);
    return gpu_launched();
}

template <int D> static const char *run_width(const gpu_call *call, const linear_rows &p) {
    const gpu_linear *l = call->linear;
    if (l->sums) return l->transposed ? launch<D, true, true>(call, p) : launch<D, true, false>(call, p);
    return l->transposed ? launch<D, false, true>(call, p) : launch<D, false, false>(call, p);
}

static const char *run(const gpu_call *call) {
    gpu_linear_slots s = gpu_linear_slots_of(call->linear);
    int d = (int)gpu_last(call->linear->sums ? &call->out[s.to_r].shape : &call->in[s.r].shape);
    linear_rows p = rows_of(call, d);
    if (p.width && !p.partial) return "sums over rows were not split into two steps";
    if (p.turned && !p.turns) return "out of memory: there was no room for the table of rotary positions";
    return d == 64 ? run_width<64>(call, p) : run_width<128>(call, p);
}

extern "C" const gpu_kernel gpu_linear_kernel = {0, run, NULL};
