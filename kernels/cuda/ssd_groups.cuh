/* ssd_groups.cuh - what both directions of short Mamba-2 share (ssd_short.cu, ssd_short_backward.cu): tiles for groups
 * of four warps (sm_90a), and rows to memory.
 *
 * A sequence of up to 128 times is cut into units of 64 x 64 times, on and below the diagonal; four warps own 64 times
 * of the results, a warp 16 of them, its strip.
 */
#ifndef AIRA_GPU_SSD_GROUPS_CUH
#define AIRA_GPU_SSD_GROUPS_CUH

#include "ssd_tensor.cuh"
#include "wgmma.cuh"

#define P 64      /* a head */
#define UNIT 64   /* rows and columns of a unit */
#define WARPS 8   /* each owns a strip of 16 times */
#define GROUP 128 /* threads of four warps */

/* Rows of 64 columns; their 16-byte parts are swapped by row % 8 (the 128-byte swizzle of wgmma). */
typedef half16 panel[Q][64];

struct state_tiles {
    panel part[2];
};

/* Which warp of the block this is, known to be the same for all its lanes. */
static __device__ __forceinline__ int warp_of_block() { return __shfl_sync(0xffffffffu, threadIdx.x / 32, 0); }

template <int N> static __device__ __forceinline__ void settle(float *c) {
#pragma unroll
    for (int k = 0; k < N; k++) group_settle(c[k]);
}

/* Where a column lies in a row of a panel. */
static __device__ __forceinline__ int swapped(int row, int column) { return (column / 8 ^ (row & 7)) * 8 + column % 8; }

/* Descriptor of what begins so many elements further, a multiple of 8. */
static __device__ __forceinline__ uint64_t further(uint64_t tile, int elements) { return tile + elements / 8; }

/* Rows of 64, or fewer, columns; zeros beyond the last row and column. COPIERS threads share
   the work. */
template <int COLUMNS, int COPIERS = WARPS * 32>
static __device__ __forceinline__ void fetch_panel(panel &to, const half16 *from, int64_t step, int rows, int n_rows) {
    int r = threadIdx.x % COPIERS / 8, part = threadIdx.x % 8;
    half16 *at = &to[r][swapped(r, part * 8)];
    from += r * step + part * 8;
    rows = part * 8 < COLUMNS ? rows - r : 0;
#pragma unroll
    for (int i = 0; i < Q; i += COPIERS / 8) /* nothing is read from where there is none */
        if (i < n_rows) copy_16(at + i * 64, from + i * step, i < rows);
}
template <int N, int COPIERS = WARPS * 32>
static __device__ __forceinline__ void fetch_state(state_tiles &to, const elements &from, const ssd &s, const chunk &c,
                                                   int n_rows) {
    const half16 *at = (const half16 *)from.data + state_at(s, c, c.group);
#pragma unroll
    for (int k = 0; k < N; k += 64)
        fetch_panel<(N < 64 ? N : 64), COPIERS>(to.part[k / 64], at + k, (int64_t)s.g_n * N, c.rows, n_rows);
}

/* 8 rows of 64 columns of one warp on their way to memory; 16-byte parts are swapped as in a panel. */
typedef half16 strip_rows[8][64];

/* 16 rows of 64 sums, as group_multiply leaves them, rounded to memory, of which `rows` exist; columns from WIDTH on do
   not. By way of shared memory, so that a warp writes whole rows: half the instructions of turning words in registers.
 */
template <int WIDTH>
static __device__ __forceinline__ void put_sums(half16 *to, int64_t step, strip_rows &space, const float *sum,
                                                int rows) {
    int lane = threadIdx.x & 31, row = lane / 8, part = lane % 8;
    to += row * step + part * 8;
    rows = part * 8 < WIDTH ? rows - row : 0;
#pragma unroll
    for (int low = 0; low < 16; low += 8) {
        uint32_t v[8];
#pragma unroll
        for (int k = 0; k < 8; k++) v[k] = pack(sum[4 * k + low / 4], sum[4 * k + low / 4 + 1]);
        __syncwarp(); /* what was there has been read */
#pragma unroll
        for (int k = 0; k < 8; k += 4) store_matrices(&space[part][swapped(part, (k + row) * 8)], v + k);
        __syncwarp();
#pragma unroll
        for (int k = 0; k < 8; k += 4) {
            uint4 whole = *(const uint4 *)&space[row + k][swapped(row + k, part * 8)];
            if (low + k < rows) *(uint4 *)to = whole;
            to += 4 * step;
        }
    }
}

/* Begins a unit of products of rows of B and C. */
template <int N>
static __device__ __forceinline__ void begin_K(float *c, const state_tiles &left, const state_tiles &right, int row,
                                               int column) {
    uint64_t a = group_tile(left.part[0][row]), b = group_tile(right.part[0][column]);
#pragma unroll
    for (int k = 0; k < (N < 64 ? 64 : N); k += 16) {
        int on = k / 64 * Q * 64 + k % 64;
        group_multiply(c, further(a, on), further(b, on), k > 0);
    }
    group_close();
}
static __device__ __forceinline__ void pack_K(uint32_t *K, float *c) {
    settle<32>(c);
#pragma unroll
    for (int k = 0; k < 16; k++) K[k] = pack(c[2 * k], c[2 * k + 1]);
}
/* A unit, packed: 16 columns are four words, a left operand. */
template <int N>
static __device__ __forceinline__ void unit_of_K(uint32_t *K, const state_tiles &left, const state_tiles &right,
                                                 int row, int column) {
    float c[32];
    group_fence();
    begin_K<N>(c, left, right, row, column);
    group_wait();
    pack_K(K, c);
}

#endif
