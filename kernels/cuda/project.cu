/* project.cu - what stands between u and Mamba-1's scan, as one step each way (GPU_PROJECT, fuse_mamba.c), in bf16.
 *
 * Forward: p = u Wx'; its columns are r, B and C; delta = softplus(r Wt' + bias). Backward, given d, the gradient of
 * r Wt', and those of B and C: p's gradient is [d Wt, dB, dC], u's is that times Wx, unless somebody else does that
 * (GPU_PRODUCT). A block takes 32 rows; a pair of warps 16 of them and half of the channels each. Where p's gradient is
 * all, it takes 64, a warp 16. All products on tensor cores, straight from one into the next.
 */
#include "fast.h"
#include "shared.cuh"
#include "ssd_tensor.cuh"

#define ROWS 32
#define MOST_RANK 16

struct project {
    const half16 *x, *Wx, *Wt, *bias; /* x: u, or d */
    const half16 *dB, *dC;
    half16 *r, *B, *C, *to; /* to: delta, or u's gradient; backward r is p's gradient */
    int64_t rows;
    int width, rank, states;
};

/* N rows from `first` on to to[N][width + 8], zeros from row number `rows` on: a warp takes every fourth. */
template <int N>
__device__ __forceinline__ void fetch_rows(half16 *to, const half16 *from, int64_t first, int64_t rows, int width) {
    int warp = threadIdx.x >> 5, left = rows - first < N ? (int)(rows - first) : N;
#pragma unroll 1
    for (int at = (threadIdx.x & 31) * 8; at < width; at += 32 * 8) {
        const half16 *source = from + (first + warp) * width + at;
        half16 *place = to + warp * (width + 8) + at;
#pragma unroll
        for (int k = 0; k < N; k += 4) {
            copy_16(place, source, warp + k < left);
            place += 4 * (width + 8);
            source += 4 * width;
        }
    }
}
/* n halves, a multiple of eight, as they lie. */
__device__ __forceinline__ void fetch_all(half16 *to, const half16 *from, int n) {
    for (int i = threadIdx.x * 8; i < n; i += 128 * 8) copy_16(to + i, from + i, true);
}

__device__ __forceinline__ float softplus(float x) {
    float e = power_of_two(-LOG2E * fabsf(x)), log;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(log) : "f"(1.0f + e));
    /* below, the sum with one loses more than the series' first value lacks, a quarter of a thousandth */
    return fmaxf(x, 0.0f) + (e < 0.00048828125f ? e : log * 0.69314718f);
}

/* A warp's 16 rows of half of the columns, to memory: 16 lanes a row. */
__device__ __forceinline__ void put_half(const project &p, const half16 *rows, int64_t first, int from) {
    int left = p.rows - first < 16 ? (int)(p.rows - first) : 16, lane = (threadIdx.x & 15) * 8;
    half16 *to = p.to + first * p.width + from;
    __syncwarp();
#pragma unroll 1
    for (int at = lane; at < p.width / 2; at += 16 * 8)
#pragma unroll
        for (int row = threadIdx.x >> 4 & 1; row < 16; row += 2)
            if (row < left) *(uint4 *)&to[row * p.width + at] = *(const uint4 *)&rows[row * (p.width + 8) + from + at];
}

/* PARTS: 16 columns of p each */
template <int PARTS> __global__ void __launch_bounds__(128) project_kernel(project p) {
    extern __shared__ __align__(16) unsigned char memory[];
    half16 *x = (half16 *)memory, *Wx = x + ROWS * (p.width + 8), *Wt = Wx + 16 * PARTS * (p.width + 8);
    half16 *bias_of = Wt + p.width * p.rank;
    int step = p.width + 8, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, strip = warp & 1, half = warp >> 1;
    int64_t first = (int64_t)blockIdx.x * ROWS;
    float c[2 * PARTS][4] = {};
    uint32_t a[4], b[4];
    fetch_rows<ROWS>(x, p.x, first, p.rows, p.width);
    fetch_rows<16 * PARTS>(Wx, p.Wx, 0, p.rank + 2 * p.states, p.width);
    fetch_all(Wt, p.Wt, p.width * p.rank);
    fetch_all(bias_of, p.bias, p.width);
    copy_wait_all();
    __syncthreads();
    for (int k = 0; k < p.width; k += 16) {
        left(a, x + strip * 16 * step + k, step);
#pragma unroll
        for (int n = 0; n < PARTS; n++) {
            right_turned(b, Wx + n * 16 * step + k, step);
            multiply(c + 2 * n, a, b);
        }
    }
    __syncthreads();                                        /* both warps of a strip have read x */
    int64_t row = first + strip * 16 + half * 8 + lane / 4; /* each warp of a pair puts eight of their rows */
    half16 *to_r = p.r + row * p.rank, *to_B = p.B + row * p.states - p.rank, *to_C = p.C + row * p.states - p.rank;
    to_C -= p.states; /* all three: as if p's columns lay there */
#pragma unroll
    for (int n = 0; n < 2 * PARTS; n++) {
        float v[2] = {half ? c[n][2] : c[n][0], half ? c[n][3] : c[n][1]};
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int column = n * 8 + lane % 4 * 2 + i;
            half16 *to = column < p.rank ? to_r : column < p.rank + p.states ? to_B : to_C;
            if (row < p.rows && column < p.rank + 2 * p.states) to[column] = __float2bfloat16_rn(v[i]);
        }
    }
    as_left(a, c);
    int middle = p.width / 2;
#pragma unroll 2
    for (int n = half * middle; n < half * middle + middle; n += 8) {
        const half16 *w = Wt + (n + lane / 4) * p.rank + lane % 4 * 2;
        uint32_t low = 0, high = 0;
        float sum[4] = {};
        if (lane % 4 * 2 < p.rank) memcpy(&low, w, sizeof low);
        if (lane % 4 * 2 + 8 < p.rank) memcpy(&high, w + 8, sizeof high);
        multiply_k16(sum, a, low, high);
        float2 bias = two_at(bias_of + n + lane % 4 * 2);
        half16 *at = x + (strip * 16 + lane / 4) * step + n + lane % 4 * 2;
        put_two(at, softplus(sum[0] + bias.x), softplus(sum[1] + bias.y));
        put_two(at + 8 * step, softplus(sum[2] + bias.x), softplus(sum[3] + bias.y));
    }
    put_half(p, x + strip * 16 * step, first + strip * 16, half * middle);
}

/* Wt, `step` apart, N of a row at once; the rank is a multiple of N. Zeros above it. */
template <int N> __device__ __forceinline__ void fetch_turned(half16 *to, const project &p, int step) {
    constexpr int PIECES = MOST_RANK / N;
    for (int i = threadIdx.x; i < p.width * PIECES; i += 128) {
        int row = i / PIECES, k = i % PIECES * N;
        half16 *at = to + row * step + k;
        const half16 *from = p.Wt + (k < p.rank ? row * p.rank + k : 0);
        if (N == 8)
            copy_16(at, from, k < p.rank);
        else
            copy_4(at, from, k < p.rank);
    }
}

/* Rows of a block backward. */
__host__ __device__ constexpr int rows_back(bool alone) { return alone ? 2 * ROWS : ROWS; }

/* ALONE: p's gradient is all. */
template <int PARTS, bool ALONE> __global__ void __launch_bounds__(128) project_backward_kernel(project p) {
    constexpr int TURNED = MOST_RANK + 8, COLUMNS = 16 * PARTS + 8, N = rows_back(ALONE), EACH_ONE = N * PARTS / 8;
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ __align__(16) half16 dp[N][COLUMNS];
    int step = p.width + 8, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    int strip = ALONE ? warp : warp & 1, half = ALONE ? 0 : warp >> 1, columns = p.rank + 2 * p.states;
    half16 *x = (half16 *)memory, *Wx = x + N * step, *Wt = Wx + (ALONE ? 0 : 16 * PARTS * step);
    int64_t first = (int64_t)blockIdx.x * N; /* Wt: [width][TURNED] */
    float c[2][4] = {};
    uint32_t a[4], b[4];
    half16 slope[EACH_ONE]; /* of B and C: all on their way before anything is waited for */
#pragma unroll
    for (int k = 0; k < EACH_ONE; k++) {
        int i = k * 128 + threadIdx.x, row = i / (16 * PARTS), at = i % (16 * PARTS) - p.rank;
        bool there = first + row < p.rows && at >= 0 && at < 2 * p.states;
        const half16 *from = at < p.states ? p.dB + at : p.dC + at - p.states;
        slope[k] = there ? from[(first + row) * p.states] : __float2bfloat16_rn(0.0f);
    }
    fetch_rows<N>(x, p.x, first, p.rows, p.width);
    if (!ALONE) fetch_rows<16 * PARTS>(Wx, p.Wx, 0, columns, p.width);
    if (p.rank % 8 == 0)
        fetch_turned<8>(Wt, p, TURNED);
    else
        fetch_turned<2>(Wt, p, TURNED);
#pragma unroll
    for (int k = 0; k < EACH_ONE; k++) { /* columns below the rank come later */
        int i = k * 128 + threadIdx.x, column = i % (16 * PARTS);
        if (column >= p.rank) dp[i / (16 * PARTS)][column] = slope[k];
    }
    copy_wait_all();
    __syncthreads();
    for (int k = 0; k < p.width; k += 16) {
        left(a, x + strip * 16 * step + k, step);
        right(b, Wt + k * TURNED, TURNED);
        multiply(c, a, b);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (half == 0 && column < p.rank)
            dp[strip * 16 + lane / 4 + i % 4 / 2 * 8][column] = __float2bfloat16_rn(c[i / 4][i % 4]);
    }
    __syncthreads();
    for (int row = warp; row < N && first + row < p.rows; row += 4) /* columns are even, up to 32 */
        if (lane * 2 < columns)
            *(uint32_t *)&p.r[(first + row) * columns + lane * 2] = *(const uint32_t *)&dp[row][lane * 2];
    if (ALONE) return;
    int middle = p.width / 2;
    uint32_t rows[PARTS][4];
#pragma unroll
    for (int k = 0; k < PARTS; k++) left(rows[k], &dp[strip * 16][k * 16], COLUMNS);
#pragma unroll 2
    for (int n = half * middle; n < half * middle + middle; n += 16) {
        float sum[2][4] = {};
#pragma unroll
        for (int k = 0; k < PARTS; k++) {
            right(b, Wx + k * 16 * step + n, step);
            multiply(sum, rows[k], b);
        }
#pragma unroll
        for (int k = 0; k < 2; k++) {
            half16 *at = x + (strip * 16 + lane / 4) * step + n + k * 8 + lane % 4 * 2;
            put_two(at, sum[k][0], sum[k][1]);
            put_two(at + 8 * step, sum[k][2], sum[k][3]);
        }
    }
    put_half(p, x + strip * 16 * step, first + strip * 16, half * middle);
}

/* --- calls --- */

static bool is_half(const gpu_view *view) { return view->dtype == AIRA_BF16 && (uintptr_t)view->data % 16 == 0; }

static bool is_back(const gpu_call *call) { return call->n_out <= 2; }
static bool is_alone(const gpu_call *call) { return call->n_out == 1; }

/* Forward: (u, Wx, Wt, bias) gives r, B, C, delta. Backward: (d, Wt, dB, dC, Wx) gives p's gradient, u's; alone:
   without Wx. */
static project project_of(const gpu_call *call) {
    bool back = is_back(call), alone = is_alone(call);
    const gpu_view *in = call->in, *out = call->out;
    project p = {(const half16 *)in[0].data, alone ? NULL : (const half16 *)in[back ? 4 : 1].data,
                 (const half16 *)in[back ? 1 : 2].data};
    p.width = (int)gpu_last(&in[0].shape);
    p.rows = in[0].n / p.width;
    p.rank = (int)gpu_last(&in[back ? 1 : 2].shape);
    p.states = (int)gpu_last(back ? &in[2].shape : &out[1].shape);
    p.r = (half16 *)out[0].data;
    if (back) {
        p.dB = (const half16 *)in[2].data;
        p.dC = (const half16 *)in[3].data;
        p.to = alone ? NULL : (half16 *)out[1].data;
    } else {
        p.bias = (const half16 *)in[3].data;
        p.B = (half16 *)out[1].data;
        p.C = (half16 *)out[2].data;
        p.to = (half16 *)out[3].data;
    }
    return p;
}

bool gpu_project_takes(const gpu_call *call) {
    bool takes = call->in[0].n > 0;
    for (uint32_t k = 0; k < call->n_in; k++) takes = takes && is_half(&call->in[k]);
    for (uint32_t k = 0; k < call->n_out; k++) takes = takes && is_half(&call->out[k]);
    if (!takes) return false;
    project p = project_of(call);
    return p.width % 32 == 0 && p.width <= 1024 && p.rank % 2 == 0 && p.rank <= MOST_RANK &&
           p.rank + 2 * p.states <= 32;
}

template <class F> static const char *launch(F kernel, const project &p, int rows, size_t halves, cudaStream_t stream) {
    int bytes = (int)(halves * sizeof(half16));
    cudaError_t error = allow_shared(kernel);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    kernel<<<(unsigned)((p.rows + rows - 1) / rows), 128, bytes, stream>>>(p);
    return gpu_launched();
}

template <int PARTS> static const char *run_parts(const gpu_call *call, const project &p) {
    bool back = is_back(call), alone = is_alone(call);
    size_t width = (size_t)p.width, rows = (size_t)rows_back(alone) + (alone ? 0 : 16 * PARTS);
    size_t Wt = back ? width * (MOST_RANK + 8) : width * (size_t)(p.rank + 1), halves = rows * (width + 8) + Wt;
    if (alone) return launch(project_backward_kernel<PARTS, true>, p, rows_back(true), halves, call->stream);
    return back ? launch(project_backward_kernel<PARTS, false>, p, ROWS, halves, call->stream)
                : launch(project_kernel<PARTS>, p, ROWS, halves, call->stream);
}

static const char *run(const gpu_call *call) {
    project p = project_of(call);
    return p.rank + 2 * p.states <= 16 ? run_parts<1>(call, p) : run_parts<2>(call, p);
}

extern "C" const gpu_kernel gpu_project_kernel = {AIRA_OP_MATMUL, run, NULL};
