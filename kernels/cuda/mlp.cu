/* mlp.cu - the position-wise layer of narrow bf16 nets as one kernel each way.
 *
 *     forward   y = [residual +] gelu(n up') down',  n = RMS norm of x
 *     backward  given dy: dn = ((dy down) gelu'(pre)) up, then the norm's gradient [+ residual]
 *
 * x[R,D], up[F,D], down[D,F]. A warp owns 32 whole rows, a block 128; the hidden columns pass by in chunks of 64 that
 * stay in registers, and only what the gradient needs goes to memory. Weights come chunk by chunk through two stages
 * of shared memory; the left operand of the first product lies in slots that only their own thread reads.
 *
 * Which column of a tile is which column of a tensor is free as long as both operands agree. A quad (the four threads
 * t of a row) reads and writes rows in segments of 8 neighbours a thread, 32 columns a quad: thread t's words j (pairs
 * 8 t + 2 j) are taken for columns 2 t, 2 t + 1 of tile j. So tensors move 16 bytes at a time and no product needs
 * them elsewhere. Backward, where the weights are read transposed, tiles have 8 neighbours as columns (word j of
 * thread t is pair 8 j + 2 t), and a quad turns its 4 x 4 words from one order into the other.
 */
#include "copy.cuh"
#include "fast.h"
#include "mma.cuh"
#include "sums.h"
#include "vector.cuh"

#define WARPS 4
#define THREADS (32 * WARPS)
#define TILES 2                /* of 16 rows, that a warp owns: each right operand serves all of them */
#define OWN (2 * TILES)        /* rows of a thread, 8 apart */
#define ROWS (8 * OWN * WARPS) /* of a block */
#define HIDDEN 64              /* columns of a chunk */

/* 2 sqrt(2 / pi) log2 e, and 0.044715 of it: gelu(x) = x / (1 + 2^-(LINEAR x + CUBIC x^3)) */
#define LINEAR 2.3022081985f
#define CUBIC 0.1029432396f
#define SLOPE 1.5957691216f /* 2 sqrt(2 / pi) */

struct mlp_forward_call {
    const half16 *x, *up, *down, *residual; /* residual: NULL, or added */
    const float *w;
    half16 *y, *normed, *shape, *hidden; /* kept, or NULL: n; what GELU is applied to and GELU of it, or neither */
    int64_t rows;
    int f_n;
    float eps;
};

struct mlp_backward_call {
    const half16 *dy, *down, *shape, *up, *x, *residual;
    const float *w;
    half16 *dx, *dshape;
    float *partial; /* [blocks][D]: gradient of w */
    int64_t rows;
    int f_n;
    float eps;
};

/* Bytes: slots of D columns, two stages of a chunk of both weights. */
template <int D> static constexpr int shared_bytes = ROWS *D * 2 + 2 * 2 * HIDDEN *D * 2;

/* --- parts ----------------------------------------------------------------------------------------------------------
 */

__device__ __forceinline__ float low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

__device__ __forceinline__ float quad_sum(float v) {
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

/* Word j of thread t becomes word t of thread j. */
__device__ __forceinline__ void quad_transpose(uint32_t *w) {
    bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
        uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? w[j] : w[j + 1], 1);
        w[j] = odd ? got : w[j];
        w[j + 1] = odd ? w[j + 1] : got;
    }
#pragma unroll
    for (int j = 0; j < 2; j++) {
        uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? w[j] : w[j + 2], 2);
        w[j] = upper ? got : w[j];
        w[j + 2] = upper ? w[j + 2] : got;
    }
}

/* (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
__device__ __forceinline__ float gate(float x) {
    float e, s, v = x * fmaf(-CUBIC, x * x, -LINEAR);
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(v));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(s) : "f"(1.0f + e));
    return s;
}
__device__ __forceinline__ float gelu(float x) { return x * gate(x); }
__device__ __forceinline__ float gelu_slope(float x) {
    float s = gate(x);
    return fmaf(x * fmaf(SLOPE * 0.134145f, x * x, SLOPE), fmaf(-s, s, s), s);
}

/* Where 16 bytes of a row lie. Forward, threads read two rows of 64 bytes at once; backward, matrices of eight rows:
   of `up` neighbours, of `down` rows 8 (r / 2) + r % 2. All of them meet every bank once. */
template <bool BACK> __device__ __forceinline__ int up_place(int row, int segment) {
    return BACK ? segment ^ (row & 7) : segment ^ (row & 1) << 2;
}
template <bool BACK> __device__ __forceinline__ int down_place(int row, int segment) {
    return BACK ? segment ^ ((row & 1) | (row >> 2 & 6)) : segment ^ (row & 1) << 2;
}

/* Starts the copies of one chunk: up[HIDDEN][D], then down[D][HIDDEN]. */
template <int D, bool BACK>
__device__ __forceinline__ void fetch(half16 *stage, const half16 *up, const half16 *down, int f_n, int chunk) {
    constexpr int COUNT = HIDDEN * D / 8 / THREADS, UP = D / 8, DOWN = HIDDEN / 8; /* UP, DOWN: copies of a row */
    int row = threadIdx.x / UP, segment = threadIdx.x % UP;
    const half16 *from = up + (int64_t)chunk * HIDDEN * D + threadIdx.x * 8;
#pragma unroll
    for (int k = 0; k < COUNT; k++, row += THREADS / UP)
        copy_16(stage + (row * UP + up_place<BACK>(row, segment)) * 8, from + k * THREADS * 8, true);
    stage += HIDDEN * D;
    row = threadIdx.x / DOWN, segment = threadIdx.x % DOWN;
    from = down + (int64_t)row * f_n + chunk * HIDDEN + segment * 8;
#pragma unroll
    for (int k = 0; k < COUNT; k++, row += THREADS / DOWN, from += (int64_t)(THREADS / DOWN) * f_n)
        copy_16(stage + (row * DOWN + down_place<BACK>(row, segment)) * 8, from, true);
    copy_close();
}

/* Left operands (16 rows x 16) of two steps: what 32 columns of a thread's rows make. */
struct left {
    uint4 a[TILES][2];
};
__device__ __forceinline__ left left_of(const uint4 *rows) {
    left l;
#pragma unroll
    for (int m = 0; m < TILES; m++) {
        uint4 upper = rows[2 * m], lower = rows[2 * m + 1];
        l.a[m][0] = make_uint4(upper.x, lower.x, upper.y, lower.y);
        l.a[m][1] = make_uint4(upper.z, lower.z, upper.w, lower.w);
    }
    return l;
}

/* Slots hold D / 32 of them; a slot is read by the thread that wrote it. */
__device__ __forceinline__ void put_slots(uint4 *slots, int q, const left &l) {
#pragma unroll
    for (int k = 0; k < 2 * TILES; k++) slots[(2 * TILES * q + k) * THREADS + threadIdx.x] = l.a[k / 2][k % 2];
}
__device__ __forceinline__ left left_of_slots(const uint4 *slots, int q) {
    left l;
#pragma unroll
    for (int k = 0; k < 2 * TILES; k++) l.a[k / 2][k % 2] = slots[(2 * TILES * q + k) * THREADS + threadIdx.x];
    return l;
}

/* c[m][first + n] = [c +] left times b[n], 4 tiles of 8 columns: what needs the same sum comes 8 products apart. */
template <bool ADD, int N>
__device__ __forceinline__ void multiply(float (*c)[N][4], int first, const left &l, const uint4 *b) {
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < 4; n++) {
            if (ADD)
                multiply_k16(c[m][first + n], &l.a[m][0].x, b[n].x, b[n].y);
            else
                begin_k16(c[m][first + n], &l.a[m][0].x, b[n].x, b[n].y);
        }
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < 4; n++) multiply_k16(c[m][first + n], &l.a[m][1].x, b[n].z, b[n].w);
}

/* Rows beyond the last are read as the last, and not stored. */
__device__ __forceinline__ int64_t row_to_read(int64_t row, int64_t rows) { return row < rows ? row : rows - 1; }

/* A thread's part of a row of D columns. */
template <int D> __device__ __forceinline__ void load_row(uint4 *v, const half16 *x, int64_t row, int64_t rows, int t) {
    x += row_to_read(row, rows) * D + 8 * t;
#pragma unroll
    for (int q = 0; q < D / 32; q++) v[q] = *(const uint4 *)(x + 32 * q);
}

/* A thread's rows into its slots. */
template <int D> __device__ __forceinline__ void fill_slots(uint4 *slots, const uint4 (*v)[D / 32]) {
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 rows[OWN];
#pragma unroll
        for (int k = 0; k < OWN; k++) rows[k] = v[k][q];
        put_slots(slots, q, left_of(rows));
    }
}

/* The thread's rows of x, normed, into its slots, and to memory if they are kept. */
template <int D>
__device__ __forceinline__ void norm_rows(const mlp_forward_call &a, uint4 *slots, int64_t first, int t) {
    uint4 v[OWN][D / 32];
#pragma unroll
    for (int k = 0; k < OWN; k++) load_row<D>(v[k], a.x, first + 8 * k, a.rows, t);
#pragma unroll
    for (int k = 0; k < OWN; k++) {
        int64_t row = first + 8 * k;
        float squares = 0;
#pragma unroll
        for (int q = 0; q < D / 32; q++) {
            const uint32_t *pairs = (const uint32_t *)&v[k][q];
#pragma unroll
            for (int j = 0; j < 4; j++) squares += low(pairs[j]) * low(pairs[j]) + high(pairs[j]) * high(pairs[j]);
        }
        float scale = 1.0f / sqrtf(quad_sum(squares) / (float)D + a.eps);
#pragma unroll
        for (int q = 0; q < D / 32; q++) {
            uint32_t *pairs = (uint32_t *)&v[k][q];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float2 w = *(const float2 *)(a.w + 32 * q + 8 * t + 2 * j);
                pairs[j] = pack2(low(pairs[j]) * (scale * w.x), high(pairs[j]) * (scale * w.y));
            }
            if (a.normed && row < a.rows) *(uint4 *)(a.normed + row * D + 32 * q + 8 * t) = v[k][q];
        }
    }
    fill_slots<D>(slots, v);
}

/* --- forward --------------------------------------------------------------------------------------------------------
 */

/* c = rows times 32 rows of up that begin at `row`: tile j holds rows 8 (n / 2) + 2 j + n % 2 */
template <int D>
__device__ __forceinline__ void up_product(float (*c)[4][4], const uint4 *slots, const half16 *up, int row, int g,
                                           int t) {
    const half16 *mine = up + (row + 8 * (g / 2) + g % 2) * D;
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int j = 0; j < 4; j++) b[j] = *(const uint4 *)(mine + 2 * j * D + up_place<false>(g, 4 * q + t) * 8);
        if (q == 0)
            multiply<false>(c, 0, left_of_slots(slots, q), b);
        else
            multiply<true>(c, 0, left_of_slots(slots, q), b);
    }
}

/* y += l times 32 columns of down that begin at segment 4 half; tile 4 q + j holds rows 32 q + 8 (n / 2) + .. */
template <int D>
__device__ __forceinline__ void down_product(float (*y)[D / 8][4], const left &l, const half16 *down, int half, int g,
                                             int t) {
    const half16 *mine = down + (8 * (g / 2) + g % 2) * HIDDEN + down_place<false>(g, 4 * half + t) * 8;
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int j = 0; j < 4; j++) b[j] = *(const uint4 *)(mine + (32 * q + 2 * j) * HIDDEN);
        multiply<true>(y, 4 * q, l, b);
    }
}

/* The words of row r out of 4 tiles. */
__device__ __forceinline__ uint4 pack_row(const float (*c)[4], int r) {
    return make_uint4(pack2(c[0][2 * r], c[0][2 * r + 1]), pack2(c[1][2 * r], c[1][2 * r + 1]),
                      pack2(c[2][2 * r], c[2][2 * r + 1]), pack2(c[3][2 * r], c[3][2 * r + 1]));
}

__device__ __forceinline__ uint4 gelu_row(uint4 v) {
    return make_uint4(pack2(gelu(low(v.x)), gelu(high(v.x))), pack2(gelu(low(v.y)), gelu(high(v.y))),
                      pack2(gelu(low(v.z)), gelu(high(v.z))), pack2(gelu(low(v.w)), gelu(high(v.w))));
}

/* The same words once more. What goes to memory and what goes into products want different registers beside each
   other: of shared words the compiler makes new copies before every product. nothing: 0, and the compiler cannot know.
 */
__device__ __forceinline__ uint4 apart(uint4 v, uint32_t nothing) {
    return make_uint4(v.x ^ nothing, v.y ^ nothing, v.z ^ nothing, v.w ^ nothing);
}

/* KEEP: shape and hidden are */
template <int D, bool KEEP> __global__ void __launch_bounds__(THREADS, 2) mlp_forward(mlp_forward_call a) {
    extern __shared__ __align__(128) char memory[];
    constexpr int STAGE = 2 * HIDDEN * D;
    uint4 *slots = (uint4 *)memory;
    half16 *weights = (half16 *)(memory + ROWS * D * 2);
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4, chunks = a.f_n / HIDDEN;
    int64_t first = (int64_t)blockIdx.x * ROWS + threadIdx.x / 32 * (8 * OWN) + g;
    uint32_t nothing = (uint32_t)(a.rows >> 32);
    float y[TILES][D / 8][4] = {};
    fetch<D, false>(weights, a.up, a.down, a.f_n, 0);
    norm_rows<D>(a, slots, first, t);
    for (int chunk = 0; chunk < chunks; chunk++) {
        const half16 *up = weights + (chunk & 1) * STAGE, *down = up + HIDDEN * D;
        copy_wait_all();
        __syncthreads(); /* this chunk is there, and nobody reads the one before */
        if (chunk + 1 < chunks) fetch<D, false>(weights + (~chunk & 1) * STAGE, a.up, a.down, a.f_n, chunk + 1);
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            float c[TILES][4][4];
            uint4 v[OWN];
            up_product<D>(c, slots, up, 32 * half, g, t);
#pragma unroll
            for (int k = 0; k < OWN; k++) {
                int at = (int)first * a.f_n + 8 * k * a.f_n + chunk * HIDDEN + 32 * half + 8 * t;
                bool inside = first + 8 * k < a.rows;
                v[k] = pack_row(c[k / 2], k % 2);
                if (KEEP && inside) *(uint4 *)(a.shape + at) = v[k];
                v[k] = gelu_row(v[k]);
                if (KEEP && inside) *(uint4 *)(a.hidden + at) = v[k];
                if (KEEP) v[k] = apart(v[k], nothing);
            }
            down_product<D>(y, left_of(v), down, half, g, t);
        }
    }
#pragma unroll
    for (int k = 0; k < OWN; k++) {
        int64_t row = first + 8 * k;
        uint4 more[D / 32] = {};
        if (a.residual) load_row<D>(more, a.residual, row, a.rows, t);
#pragma unroll
        for (int q = 0; q < D / 32; q++) {
            const uint32_t *pairs = (const uint32_t *)&more[q];
            float(*sum)[4] = &y[k / 2][4 * q];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                sum[j][k % 2 * 2] += low(pairs[j]);
                sum[j][k % 2 * 2 + 1] += high(pairs[j]);
            }
            if (row < a.rows) *(uint4 *)(a.y + row * D + 32 * q + 8 * t) = pack_row(sum, k % 2);
        }
    }
}

/* --- backward -------------------------------------------------------------------------------------------------------
 */

__device__ __forceinline__ uint4 load_transposed(const half16 *row) {
    uint32_t r[4];
    load_transposed(r, row);
    return make_uint4(r[0], r[1], r[2], r[3]);
}

/* c = dy times 32 columns of down that begin at segment 4 half */
template <int D>
__device__ __forceinline__ void slope_product(float (*c)[4][4], const uint4 *slots, const half16 *down, int half) {
    int lane = threadIdx.x & 31, r = lane & 7;
    const half16 *mine = down + (8 * (r / 2) + 2 * (lane / 8) + r % 2) * HIDDEN;
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int n = 0; n < 4; n++) b[n] = load_transposed(mine + 32 * q * HIDDEN + ((4 * half + n) ^ r) * 8);
        if (q == 0)
            multiply<false>(c, 0, left_of_slots(slots, q), b);
        else
            multiply<true>(c, 0, left_of_slots(slots, q), b);
    }
}

/* dn += l times 32 rows of up that begin at `row` */
template <int D>
__device__ __forceinline__ void back_product(float (*dn)[D / 8][4], const left &l, const half16 *up, int row) {
    int lane = threadIdx.x & 31;
    const half16 *mine = up + (row + lane) * D;
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int n = 0; n < 4; n++) b[n] = load_transposed(mine + ((4 * q + n) ^ (lane & 7)) * 8);
        multiply<true>(dn, 4 * q, l, b);
    }
}

/* c gelu'(shape) of one row, in the order of tiles; it goes to memory as well. */
__device__ __forceinline__ uint4 slopes(const float (*c)[4], int r, uint4 shape, half16 *to, bool inside) {
    uint32_t x[4] = {shape.x, shape.y, shape.z, shape.w};
    quad_transpose(x);
#pragma unroll
    for (int n = 0; n < 4; n++)
        x[n] = pack2(c[n][2 * r] * gelu_slope(low(x[n])), c[n][2 * r + 1] * gelu_slope(high(x[n])));
    uint4 words = make_uint4(x[0], x[1], x[2], x[3]);
    quad_transpose(x);
    if (inside) *(uint4 *)to = make_uint4(x[0], x[1], x[2], x[3]);
    return words;
}

/* Adds lanes that differ in bit `mask`, each value in one order; of 2 N values a lane keeps the N of its half. */
template <int N> __device__ __forceinline__ void fold(float *v, int mask) {
    bool upper = threadIdx.x & mask;
#pragma unroll
    for (int k = 0; k < N; k++) {
        float give = upper ? v[k] : v[k + N], keep = upper ? v[k + N] : v[k];
        v[k] = keep + __shfl_xor_sync(0xffffffffu, give, mask);
    }
}

/* The same in the order of tiles: word n is columns 8 n + 2 t and the next. */
template <int D>
__device__ __forceinline__ void load_turned(uint32_t *x, const half16 *from, int64_t row, int64_t rows, int t) {
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
        load_turned<D>(x, a.x, row, a.rows, t);
        if (a.residual) load_turned<D>(more, a.residual, row, a.rows, t);
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

/* The thread's rows of dy, and zeros beyond the last, into its slots. */
template <int D>
__device__ __forceinline__ void take_slopes(const mlp_backward_call &a, uint4 *slots, int64_t first, int t) {
    uint4 v[OWN][D / 32];
#pragma unroll
    for (int k = 0; k < OWN; k++) load_row<D>(v[k], a.dy, first + 8 * k, a.rows, t);
#pragma unroll
    for (int k = 0; k < OWN; k++)
#pragma unroll
        for (int q = 0; q < D / 32; q++)
            if (first + 8 * k >= a.rows) v[k][q] = make_uint4(0, 0, 0, 0);
    fill_slots<D>(slots, v);
}

template <int D> __global__ void __launch_bounds__(THREADS, 2) mlp_backward(mlp_backward_call a) {
    extern __shared__ __align__(128) char memory[];
    constexpr int STAGE = 2 * HIDDEN * D;
    uint4 *slots = (uint4 *)memory;
    half16 *weights = (half16 *)(memory + ROWS * D * 2);
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4, chunks = a.f_n / HIDDEN;
    int64_t first = (int64_t)blockIdx.x * ROWS + threadIdx.x / 32 * (8 * OWN) + g;
    float dn[TILES][D / 8][4] = {};
    fetch<D, true>(weights, a.up, a.down, a.f_n, 0);
    take_slopes<D>(a, slots, first, t);
    for (int chunk = 0; chunk < chunks; chunk++) {
        const half16 *up = weights + (chunk & 1) * STAGE, *down = up + HIDDEN * D;
        copy_wait_all();
        __syncthreads(); /* this chunk is there, and nobody reads the one before */
        if (chunk + 1 < chunks) fetch<D, true>(weights + (~chunk & 1) * STAGE, a.up, a.down, a.f_n, chunk + 1);
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            int column = chunk * HIDDEN + 32 * half + 8 * t;
            uint4 v[OWN];
#pragma unroll
            for (int k = 0; k < OWN; k++)
                v[k] = *(const uint4 *)(a.shape + (int)row_to_read(first + 8 * k, a.rows) * a.f_n + column);
            float c[TILES][4][4];
            slope_product<D>(c, slots, down, half);
#pragma unroll
            for (int k = 0; k < OWN; k++)
                v[k] = slopes(c[k / 2], k % 2, v[k], a.dshape + (int)(first + 8 * k) * a.f_n + column,
                              first + 8 * k < a.rows);
            back_product<D>(dn, left_of(v), up, 32 * half);
        }
    }
    __syncthreads(); /* the weights' place takes the sums of warps */
    float *sums = (float *)weights;
    norm_slopes<D>(a, dn, sums, first, t);
    __syncthreads();
    for (int c = threadIdx.x; c < D; c += THREADS) {
        float sum = sums[c];
        for (int w = 1; w < WARPS; w++) sum += sums[w * D + c];
        a.partial[(int64_t)blockIdx.x * D + c] = sum;
    }
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

static bool is_rows(const gpu_view *v, int64_t rows, int64_t width) {
    return v->dtype == AIRA_BF16 && v->n == rows * width && gpu_last(&v->shape) == width &&
           (uintptr_t)v->data % 16 == 0;
}

static bool is_weight(const gpu_view *v, int64_t rows, int64_t columns) {
    return v->shape.rank == 2 && v->shape.dims[0] == rows && is_rows(v, rows, columns);
}

static bool is_vector(const gpu_view *v, int64_t width) {
    return v->dtype == AIRA_F32 && v->n == width && (uintptr_t)v->data % 8 == 0;
}

static bool takes_backward(const gpu_call *call, int64_t d_n, int64_t f_n, int64_t rows) {
    const gpu_view *in = call->in, *out = call->out;
    return is_rows(&in[0], rows, d_n) && is_weight(&in[1], d_n, f_n) && is_rows(&in[2], rows, f_n) &&
           is_weight(&in[3], f_n, d_n) && is_rows(&in[4], rows, d_n) && is_vector(&in[5], d_n) &&
           (call->n_in < 7 || is_rows(&in[6], rows, d_n)) && is_rows(&out[0], rows, d_n) &&
           is_rows(&out[1], rows, f_n) && is_vector(&out[2], d_n);
}

static bool takes_forward(const gpu_call *call, int64_t d_n, int64_t f_n, int64_t rows) {
    const gpu_view *in = call->in;
    uint32_t next = 1;
    bool good = is_rows(&in[0], rows, d_n) && is_vector(&in[1], d_n) && is_weight(&in[2], f_n, d_n) &&
                is_weight(&in[3], d_n, f_n) && (call->n_in < 5 || is_rows(&in[4], rows, d_n)) &&
                is_rows(&call->out[0], rows, d_n);
    if (call->merged & GPU_KEEP_NORM) good = good && is_rows(&call->out[next++], rows, d_n);
    if (call->merged & GPU_KEEP_SHAPE) good = good && is_rows(&call->out[next++], rows, f_n);
    if (call->merged & GPU_KEEP_HIDDEN) good = good && is_rows(&call->out[next++], rows, f_n);
    return good;
}

bool gpu_mlp_takes(const gpu_call *call) {
    bool back = call->merged & GPU_MLP_BACKWARD;
    int64_t d_n = gpu_last(&call->in[0].shape), f_n = gpu_last(&call->in[back ? 1 : 3].shape);
    int64_t rows = d_n ? call->in[0].n / d_n : 0;
    if ((d_n != 64 && d_n != 128) || f_n % HIDDEN || f_n == 0 || f_n > INT32_MAX / 256) return false;
    if (rows == 0 || rows + ROWS > INT32_MAX / (f_n > d_n ? f_n : d_n)) return false;
    if (!back && !(call->merged & GPU_KEEP_SHAPE) != !(call->merged & GPU_KEEP_HIDDEN)) return false;
    return back ? takes_backward(call, d_n, f_n, rows) : takes_forward(call, d_n, f_n, rows);
}

static const half16 *tensor(const gpu_view *v) { return (const half16 *)v->data; }
static half16 *result(const gpu_view *v) { return (half16 *)v->data; }

template <class K, class A>
static const char *launch(K kernel, int bytes, const A &arguments, int64_t rows, cudaStream_t stream) {
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    kernel<<<(unsigned)((rows + ROWS - 1) / ROWS), THREADS, (size_t)bytes, stream>>>(arguments);
    return gpu_launched();
}

static const char *run_forward(const gpu_call *call) {
    const gpu_view *in = call->in, *out = call->out;
    int64_t d_n = gpu_last(&in[0].shape);
    uint32_t next = 1;
    mlp_forward_call a = {};
    a.x = tensor(&in[0]);
    a.w = (const float *)in[1].data;
    a.up = tensor(&in[2]);
    a.down = tensor(&in[3]);
    a.residual = call->n_in > 4 ? tensor(&in[4]) : NULL;
    a.y = result(&out[0]);
    if (call->merged & GPU_KEEP_NORM) a.normed = result(&out[next++]);
    if (call->merged & GPU_KEEP_SHAPE) a.shape = result(&out[next++]);
    if (call->merged & GPU_KEEP_HIDDEN) a.hidden = result(&out[next++]);
    a.rows = in[0].n / d_n;
    a.f_n = (int)in[2].shape.dims[0];
    a.eps = (float)call->also->f[0];
    if (d_n == 64)
        return a.shape ? launch(mlp_forward<64, true>, shared_bytes<64>, a, a.rows, call->stream)
                       : launch(mlp_forward<64, false>, shared_bytes<64>, a, a.rows, call->stream);
    return a.shape ? launch(mlp_forward<128, true>, shared_bytes<128>, a, a.rows, call->stream)
                   : launch(mlp_forward<128, false>, shared_bytes<128>, a, a.rows, call->stream);
}

static const char *run_backward(const gpu_call *call) {
    const gpu_view *in = call->in, *out = call->out;
    int64_t d_n = gpu_last(&in[0].shape);
    mlp_backward_call a = {};
    a.dy = tensor(&in[0]);
    a.down = tensor(&in[1]);
    a.shape = tensor(&in[2]);
    a.up = tensor(&in[3]);
    a.x = tensor(&in[4]);
    a.w = (const float *)in[5].data;
    a.residual = call->n_in > 6 ? tensor(&in[6]) : NULL;
    a.dx = result(&out[0]);
    a.dshape = result(&out[1]);
    a.partial = (float *)call->workspace;
    a.rows = in[0].n / d_n;
    a.f_n = (int)in[3].shape.dims[0];
    a.eps = (float)call->also->f[0];
    const char *why = d_n == 64 ? launch(mlp_backward<64>, shared_bytes<64>, a, a.rows, call->stream)
                                : launch(mlp_backward<128>, shared_bytes<128>, a, a.rows, call->stream);
    return why ? why : gpu_join_partials(&out[2], a.partial, (a.rows + ROWS - 1) / ROWS, d_n, call->stream);
}

static const char *run(const gpu_call *call) {
    return call->merged & GPU_MLP_BACKWARD ? run_backward(call) : run_forward(call);
}

static size_t workspace(const gpu_call *call) {
    int64_t d_n = gpu_last(&call->in[0].shape), rows = call->in[0].n / d_n;
    return call->merged & GPU_MLP_BACKWARD ? (size_t)((rows + ROWS - 1) / ROWS * d_n) * sizeof(float) : 0;
}

const gpu_kernel gpu_mlp_kernel = {AIRA_OP_MATMUL, run, workspace};
