/* ssd_tensor.cuh - Mamba-2 on tensor cores: chunks of Q times, and what the forward and backward kernels share.
 *
 * With a the running sum of dt A inside a chunk, S the state before it and M[i,j] = (C_i . B_j) exp(a_i - a_j) dt_j for
 * j <= i (else 0):
 *
 *     y_i = sum_j M[i,j] x_j + exp(a_i) S C_i + D x_i
 *     S'  = exp(a_last) S + sum_j exp(a_last - a_j) dt_j x_j B_j
 *
 * (Dao and Gu, 2024). One block owns one chunk of one group and takes the group's heads in turn, so that C B' is
 * computed once and gradients of B and C are summed over heads in registers. A warp owns 16 times, its strip. Running
 * sums are kept as powers of two. Times beyond T are zeros with dt = 0, which changes nothing.
 */
#ifndef AIRA_GPU_SSD_TENSOR_CUH
#define AIRA_GPU_SSD_TENSOR_CUH

#include "approx.cuh"
#include "copy.cuh"
#include "mma.cuh"
#include "ssd.cuh"

#define Q 128       /* times of a chunk */
#define THREADS 256 /* 8 warps, one for each strip */
#define SLOTS 16    /* heads whose running sums are at hand: the eight in turn, and the eight before */

/* Pieces at p, rows `step` apart. left: rows x sum, right: sum x columns; _turned: stored the other way round. */
__device__ __forceinline__ void left(uint32_t *f, const half16 *p, int step) {
    int lane = threadIdx.x & 31;
    load_matrices(f, p + (lane & 15) * step + (lane >> 4) * 8);
}
__device__ __forceinline__ void left_turned(uint32_t *f, const half16 *p, int step) {
    int lane = threadIdx.x & 31;
    load_transposed(f, p + ((lane & 7) + (lane >> 4) * 8) * step + (lane >> 3 & 1) * 8);
}
__device__ __forceinline__ void right(uint32_t *f, const half16 *p, int step) {
    int lane = threadIdx.x & 31;
    load_transposed(f, p + (lane & 15) * step + (lane >> 4) * 8);
}
__device__ __forceinline__ void right_turned(uint32_t *f, const half16 *p, int step) {
    int lane = threadIdx.x & 31;
    load_matrices(f, p + ((lane & 7) + (lane >> 4) * 8) * step + (lane >> 3 & 1) * 8);
}
/* c: 16 rows x 16 columns */
__device__ __forceinline__ void multiply(float (*c)[4], const uint32_t *a, const uint32_t *b) {
    multiply_k16(c[0], a, b[0], b[1]);
    multiply_k16(c[1], a, b[2], b[3]);
}

__device__ __forceinline__ uint32_t pack(float low, float high) {
    __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
__device__ __forceinline__ float2 unpacked(uint32_t bits) { /* an instruction each; the library's takes three */
    return make_float2(__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u));
}
/* A result of 16 x 16 as a left operand of the next product. */
__device__ __forceinline__ void as_left(uint32_t *a, const float (*c)[4]) {
    a[0] = pack(c[0][0], c[0][1]);
    a[1] = pack(c[0][2], c[0][3]);
    a[2] = pack(c[1][0], c[1][1]);
    a[3] = pack(c[1][2], c[1][3]);
}
/* A left operand with its rows scaled: row lane / 4 and the one eight below. */
__device__ __forceinline__ void scale_rows(uint32_t *a, float upper, float lower) {
#pragma unroll
    for (int k = 0; k < 4; k++) {
        float2 v = unpacked(a[k]);
        float by = k & 1 ? lower : upper;
        a[k] = pack(v.x * by, v.y * by);
    }
}
__device__ __forceinline__ float2 two_at(const half16 *p) {
    uint32_t bits;
    memcpy(&bits, p, sizeof bits);
    return unpacked(bits);
}
__device__ __forceinline__ void put_two(half16 *p, float low, float high) {
    uint32_t bits = pack(low, high);
    memcpy(p, &bits, sizeof bits);
}

/* to[r][c] = from[r * step + c] for r < rows, zeros for the rest of n_rows rows. Arrives after fetch_wait. */
template <int COLUMNS>
__device__ void fetch(half16 (*to)[COLUMNS + 8], const half16 *from, int64_t step, int rows, int n_rows) {
    constexpr int PIECES = COLUMNS / 8;
    for (int i = threadIdx.x; i < n_rows * PIECES; i += blockDim.x) {
        int r = i / PIECES, piece = i % PIECES;
        copy_16(&to[r][piece * 8], from + (r < rows ? r : 0) * step + piece * 8, r < rows);
    }
}

/* Where a block works. */
struct chunk {
    int b, index, group, first, per; /* heads first .. first + per - 1 */
    int t0, rows;                    /* times t0 .. t0 + rows - 1 */
    int chunks;                      /* of a sequence */
};

__device__ __forceinline__ chunk chunk_of(const ssd &s, int index, int group, int b) {
    chunk c;
    c.b = b;
    c.index = index;
    c.group = group;
    c.per = s.h_n / s.g_n;
    c.first = group * c.per;
    c.t0 = index * Q;
    c.rows = min(Q, s.t_n - c.t0);
    c.chunks = (s.t_n + Q - 1) / Q;
    return c;
}
/* First element of the chunk: of x and the like, of B and C. */
__device__ __forceinline__ int64_t x_at(const ssd &s, const chunk &c, int h) {
    return (((int64_t)c.b * s.t_n + c.t0) * s.h_n + h) * s.p_n;
}
__device__ __forceinline__ int64_t state_at(const ssd &s, const chunk &c, int group) {
    return (((int64_t)c.b * s.t_n + c.t0) * s.g_n + group) * s.n_n;
}
/* Number of (sequence, chunk, head). */
__device__ __forceinline__ int64_t piece_of(const ssd &s, const chunk &c, int h) {
    return ((int64_t)c.b * c.chunks + c.index) * s.h_n + h;
}

/* Sum over the lanes of a warp after this one. */
__device__ __forceinline__ float sum_of_later_lanes(float sum) {
    int lane = threadIdx.x & 31;
    for (int step = 1; step < 32; step *= 2) {
        float other = __shfl_down_sync(0xffffffffu, sum, step);
        if (lane + step < 32) sum += other;
    }
    float after = __shfl_down_sync(0xffffffffu, sum, 1);
    return lane == 31 ? 0 : after;
}

/* One warp: dt, and the running sum of dt A as a power of two, of a chunk of head h. */
__device__ static void running_sums(float *log, float *dt, const ssd &s, const chunk &c, int h) {
    int lane = threadIdx.x & 31;
    float a = load<float>(s.A, h >> s.cut) * LOG2E, upto[4], d[4], sum = 0;
    int heads = s.h_n >> s.cut;
    int64_t at = ((int64_t)c.b * s.t_n + c.t0 + 4 * lane) * heads + (h >> s.cut);
    if (s.dt.dtype == AIRA_BF16) { /* outside of the loop, so that loads do not wait for each other */
#pragma unroll
        for (int i = 0; i < 4; i++)
            d[i] = 4 * lane + i < c.rows ? __bfloat162float(((const half16 *)s.dt.data)[at + i * heads]) : 0.0f;
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) d[i] = 4 * lane + i < c.rows ? load<float>(s.dt, at + i * heads) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        dt[4 * lane + i] = d[i];
        sum += d[i] * a;
        upto[i] = sum;
    }
    for (int step = 1; step < 32; step *= 2) {
        float other = __shfl_up_sync(0xffffffffu, sum, step);
        if (lane >= step) sum += other;
    }
    float before = __shfl_up_sync(0xffffffffu, sum, 1);
    if (lane == 0) before = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) log[4 * lane + i] = before + upto[i];
}

/* The strip of a warp: warps of one scheduler (four apart) get strips whose work below the diagonal adds up to the
 * same. */
__device__ __forceinline__ int strip_of(int warp) { return warp < 4 ? warp : 11 - warp; }

/* Kernels are written for heads of 64. One of 128 is two halves that share dt, A, D, B and C: x and y lie as they would
   for twice the heads, and gradients of what is shared are added up pair by pair. */
static inline ssd ssd_halves_of(const gpu_call *call) {
    ssd s = ssd_of(call);
    if (s.p_n != 128) return s;
    s.p_n = 64;
    s.h_n *= 2;
    s.cut = 1;
    return s;
}

/* ssd_short.cu, ssd_short_backward.cu: one chunk, on GPUs that multiply by groups of warps, and heads few enough that
   their gradients of C B' may be summed in bf16. Not a handful of times: those gradients are rounded before they are
   added over heads, which shows where few times are added as well. */
bool ssd_short_takes(const ssd &s);
/* Blocks that share a group of a sequence: one where there are many sequences, since what a block does before its first
   head, and after its last, costs as much as its heads do; two otherwise, and where sums over many heads would be
   rounded too often. */
int ssd_short_blocks(const ssd &s);
const char *ssd_short_forward(const gpu_call *call);
const char *ssd_short_backward(const gpu_call *call);
size_t ssd_short_backward_bytes(const gpu_call *call);

/* ssd_states.cu: the states before every chunk, [B][chunks][H][P][N], and (reversed) the gradients of those after it.
   totals [B][chunks][H]: a_last as a power of two; local: fp32 space for as many states. */
size_t ssd_states_bytes(const ssd &s); /* of `local` and `totals` together */
const char *ssd_states(const ssd &s, bool reversed, const half16 *outer, void *local, half16 *states,
                       cudaStream_t stream);

#endif
