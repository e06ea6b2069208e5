/* mlp_backward.cu - the gradient of the layer of mlp_forward.cu but for the weights', as one kernel: from dy
 *
 *     n = RMS norm of x,  p = n up',  g = gelu(p),  dp = (dy down) gelu'(p),  dn = dp up,
 *     dx = the norm's gradient [+ residual],  dw = that of its weights
 *
 * g and dp go to memory, where the gradients of the weights read them (down: dy' g, up: dp' n). The hidden columns
 * before GELU are computed again: the forward pass leaves nothing but n. dw is summed over a block's rows, and over
 * blocks by the one that ends last, in an order that the number of rows decides.
 */
#include "mlp.cuh"
#include "tables.h"

#define HIDDEN 32           /* columns of a chunk */
#define SLOPE 1.5957691216f /* 2 sqrt(2 / pi) */

/* Slots of D columns of n and of dy, two stages of a chunk of both weights. */
template <int D> static constexpr int shared_bytes = 2 * ROWS *D * 2 + 2 * 2 * HIDDEN *D * 2;

/* Matrices of eight rows: of `up` neighbours, of `down`, whose rows are half as long as the banks, rows
   8 (r / 2) + r % 2. Either way they meet every bank once. */
struct matrices_of_rows {
    static __device__ __forceinline__ int up(int row, int segment) { return segment ^ (row & 7); }
    static __device__ __forceinline__ int down(int row, int segment) { return segment ^ (row >> 3 & 3); }
};

/* Shared addresses of this thread's rows of matrices, all at segment 0 or as far on as the row's place says. Other
   segments: exclusive or, within 8. */
struct matrices {
    uint32_t straight, turned; /* of up: rows lane % 8 with segment lane / 8; rows `lane` */
    uint32_t slopes;           /* of down: rows 8 (r / 2) + 2 (lane / 8) + r % 2, r = lane % 8 */
};
template <int D> __device__ __forceinline__ matrices matrices_of(uint32_t up) {
    uint32_t lane = threadIdx.x & 31, r = lane & 7;
    matrices at;
    at.straight = up + r * (D * 2) + ((lane / 8 ^ r) << 4);
    at.turned = up + lane * (D * 2) + (r << 4);
    at.slopes = up + HIDDEN * D * 2 + (8 * (r / 2) + 2 * (lane / 8) + r % 2) * (HIDDEN * 2) + (r / 2 << 4);
    return at;
}

/* p = n times the 32 rows of up */
template <int D> __device__ __forceinline__ void up_product(float (*p)[4][4], const uint4 *slots, uint32_t straight) {
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int n = 0; n < 4; n++) b[n] = load_straight((straight ^ (q & 1) << 6) + (q >> 1) * 128 + n * (8 * D * 2));
        if (q == 0)
            multiply<false>(p, 0, left_of_slots(slots, q), b);
        else
            multiply<true>(p, 0, left_of_slots(slots, q), b);
    }
}

/* c = dy times the 32 columns of down; of 16 rows of a step thread t has pairs j, which are columns 8 t + 2 j of dy */
template <int D> __device__ __forceinline__ void slope_product(float (*c)[4][4], const uint4 *slots, uint32_t slopes) {
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int n = 0; n < 4; n++) b[n] = load_turned((slopes ^ n << 4) + q * (32 * HIDDEN * 2));
        if (q == 0)
            multiply<false>(c, 0, left_of_slots(slots, q), b);
        else
            multiply<true>(c, 0, left_of_slots(slots, q), b);
    }
}

/* dn += l times the 32 rows of up */
template <int D> __device__ __forceinline__ void back_product(float (*dn)[D / 8][4], const left &l, uint32_t turned) {
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int n = 0; n < 4; n++) b[n] = load_turned((turned ^ (4 * (q & 1) + n) << 4) + (q >> 1) * 128);
        multiply<true>(dn, 4 * q, l, b);
    }
}

/* Row r of 4 tiles: words of c gelu'(p), and of gelu(p). */
__device__ __forceinline__ void slopes(uint32_t *dp, uint32_t *g, const float (*c)[4], const float (*p)[4], int r) {
#pragma unroll
    for (int n = 0; n < 4; n++) {
        float x0 = p[n][2 * r], x1 = p[n][2 * r + 1], s0 = gate(x0), s1 = gate(x1);
        g[n] = pack2(x0 * s0, x1 * s1);
        float t0 = x0 * fmaf(-s0, s0, s0), t1 = x1 * fmaf(-s1, s1, s1);
        dp[n] = pack2(c[n][2 * r] * fmaf(t0, fmaf(SLOPE * 0.134145f, x0 * x0, SLOPE), s0),
                      c[n][2 * r + 1] * fmaf(t1, fmaf(SLOPE * 0.134145f, x1 * x1, SLOPE), s1));
    }
}

/* A thread's part of a row in the order of tiles: word n is columns 8 n + 2 t and the next. */
template <int D>
__device__ __forceinline__ void load_row_turned(uint32_t *x, const half16 *from, int64_t row, int64_t rows, int t) {
    uint4 v[D / 32];
    load_row<D>(v, from, row, rows, t);
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        x[4 * q] = v[q].x, x[4 * q + 1] = v[q].y, x[4 * q + 2] = v[q].z, x[4 * q + 3] = v[q].w;
        quad_transpose(x + 4 * q);
    }
}

/* The norm's gradient from dn, and the block's part of the gradient of w. sums: [WARPS][D], free to use. */
template <int D>
__device__ __forceinline__ void norm_slopes(const mlp_backward_call &a, float (*sum)[D / 8][4], float *sums,
                                            int64_t first, int t) {
    float dw[D / 4] = {};
#pragma unroll
    for (int k = 0; k < OWN; k++) {
        int64_t row = first + 8 * k;
        bool inside = row < a.rows;
        const float(*dn)[4] = sum[k / 2];
        const int r = k % 2;
        uint32_t x[D / 8], more[D / 8] = {};
        float squares = 0, dot = 0;
        load_row_turned<D>(x, a.x, row, a.rows, t);
        if (a.residual) load_row_turned<D>(more, a.residual, row, a.rows, t);
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            float2 w = *(const float2 *)(a.w + 8 * n + 2 * t);
            squares += low(x[n]) * low(x[n]) + high(x[n]) * high(x[n]);
            dot += w.x * dn[n][2 * r] * low(x[n]) + w.y * dn[n][2 * r + 1] * high(x[n]);
        }
        float s = 1.0f / sqrtf(quad_sum(squares) / (float)D + a.eps);
        float pull = quad_sum(dot) * s * s / (float)D;
#pragma unroll
        for (int q = 0; q < D / 32; q++) {
            uint32_t out[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int n = 4 * q + j;
                float2 w = *(const float2 *)(a.w + 8 * n + 2 * t);
                float x0 = low(x[n]), x1 = high(x[n]), g0 = dn[n][2 * r], g1 = dn[n][2 * r + 1];
                dw[2 * n] += g0 * x0 * s;
                dw[2 * n + 1] += g1 * x1 * s;
                out[j] = pack2(s * (w.x * g0 - x0 * pull) + low(more[n]), s * (w.y * g1 - x1 * pull) + high(more[n]));
            }
            quad_transpose(out);
            if (inside) *(uint4 *)(a.dx + row * D + 32 * q + 8 * t) = make_uint4(out[0], out[1], out[2], out[3]);
        }
    }
    fold<D / 8>(dw, 16); /* lane / 4 says which values are left */
    fold<D / 16>(dw, 8);
    fold<D / 32>(dw, 4);
    float *mine = sums + threadIdx.x / 32 * D;
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int k = 0; k < D / 32; k++) { /* value 2 n + e is column 8 n + 2 t + e */
        int v = D / 32 * (lane / 4) + k;
        mine[8 * (v / 2) + 2 * t + v % 2] = dw[k];
    }
}

/* The thread's rows of n in the order of tiles, and of dy, zeros beyond the last, into slots. */
template <int D>
__device__ __forceinline__ void fill_both(const mlp_backward_call &a, uint4 *n, uint4 *dy, int64_t first, int t) {
    uint4 v[OWN][D / 32];
    load_rows<D>(v, a.x, first, a.rows, t);
    norm_rows<D>(v, a.w, a.eps, t);
#pragma unroll
    for (int k = 0; k < OWN; k++)
#pragma unroll
        for (int q = 0; q < D / 32; q++) quad_transpose(&v[k][q].x);
    fill_slots<D>(n, v);
#pragma unroll
    for (int k = 0; k < OWN; k++) load_row<D>(v[k], a.dy, first + 8 * k, a.rows, t);
#pragma unroll
    for (int k = 0; k < OWN; k++)
#pragma unroll
        for (int q = 0; q < D / 32; q++)
            if (first + 8 * k >= a.rows) v[k][q] = make_uint4(0, 0, 0, 0);
    fill_slots<D>(dy, v);
}

template <int D> __global__ void __launch_bounds__(THREADS, 2) mlp_backward(mlp_backward_call a) {
    extern __shared__ __align__(128) char memory[];
    constexpr int STAGE = 2 * HIDDEN * D;
    uint4 *n_slots = (uint4 *)memory, *dy_slots = n_slots + ROWS * D / 8;
    half16 *weights = (half16 *)(dy_slots + ROWS * D / 8);
    int lane = threadIdx.x & 31, t = lane % 4, chunks = a.f_n / HIDDEN;
    int64_t first = (int64_t)blockIdx.x * ROWS + threadIdx.x / 32 * (8 * OWN) + lane / 4;
    float dn[TILES][D / 8][4] = {};
    fetch<D, HIDDEN, matrices_of_rows>(weights, a.up, a.down, a.f_n, 0);
    fill_both<D>(a, n_slots, dy_slots, first, t);
    for (int chunk = 0; chunk < chunks; chunk++) {
        const matrices at = matrices_of<D>(shared_address(weights) + (chunk & 1) * (STAGE * 2));
        copy_wait_all();
        __syncthreads(); /* this chunk is there, and nobody reads the one before */
        if (chunk + 1 < chunks)
            fetch<D, HIDDEN, matrices_of_rows>(weights + (~chunk & 1) * STAGE, a.up, a.down, a.f_n, chunk + 1);
        float p[TILES][4][4], c[TILES][4][4];
        uint4 v[OWN];
        up_product<D>(p, n_slots, at.straight);
        slope_product<D>(c, dy_slots, at.slopes);
#pragma unroll
        for (int k = 0; k < OWN; k++) {
            uint32_t dp[4], g[4];
            int to = (int)(first + 8 * k) * a.f_n + chunk * HIDDEN + 8 * t;
            bool inside = first + 8 * k < a.rows;
            slopes(dp, g, c[k / 2], p[k / 2], k % 2);
            v[k] = make_uint4(dp[0], dp[1], dp[2], dp[3]);
            store_words(a.g + to, g, inside);
            store_words(a.dp + to, dp, inside);
        }
        back_product<D>(dn, left_of(v), at.turned);
    }
    __syncthreads(); /* the weights' place takes the sums of warps */
    norm_slopes<D>(a, dn, (float *)weights, first, t);
    __syncthreads();
    add_parts<D, THREADS>(a, (float *)weights);
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

size_t gpu_mlp_backward_workspace(const gpu_call *call) {
    int64_t d_n = gpu_last(&call->in[0].shape), rows = call->in[0].n / d_n;
    (void)gpu_tables_counter(call->tables, 1); /* where there is none, running says so */
    return (size_t)((rows + ROWS - 1) / ROWS * d_n) * sizeof(float);
}

const char *gpu_mlp_backward(const gpu_call *call) {
    const gpu_view *in = call->in, *out = call->out;
    mlp_backward_call a = {};
    int64_t d_n = gpu_last(&in[0].shape);
    a.dy = (const half16 *)in[0].data;
    a.down = (const half16 *)in[1].data;
    a.up = (const half16 *)in[2].data;
    a.x = (const half16 *)in[3].data;
    a.w = (const float *)in[4].data;
    a.residual = call->n_in > 5 ? (const half16 *)in[5].data : NULL;
    a.dx = (half16 *)out[0].data;
    a.dp = (half16 *)out[1].data;
    a.g = (half16 *)out[2].data;
    a.dw = (float *)out[3].data;
    a.partial = (float *)call->workspace;
    a.counter = (uint32_t *)gpu_tables_counter(call->tables, 0);
    a.rows = in[0].n / d_n;
    a.f_n = (int)in[2].shape.dims[0];
    a.eps = (float)call->also->f[0];
    if (!a.counter) return "no memory for a counter";
    if (has_groups()) return mlp_group_backward((int)d_n, a, call->stream);
    return d_n == 64 ? launch(mlp_backward<64>, THREADS, shared_bytes<64>, a, call->stream)
                     : launch(mlp_backward<128>, THREADS, shared_bytes<128>, a, call->stream);
}
