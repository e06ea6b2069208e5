/* mlp_group.cuh - what the kernels of an MLP layer for sm_90a share: see mlp_group_forward.cu, mlp_group_backward.cu.
 *
 * A block is two groups of four warps and owns 128 rows, a group 64, a warp 16. Products are wgmma.cuh's: rows and `up`
 * lie in panels of 64 columns, rows of 128 bytes whose 16-byte parts are swapped by row % 8, `down` in rows of 64
 * bytes, swapped by row / 2 % 4; either begins at a multiple of 1024 bytes. With g = lane / 4 and t = lane % 4 a thread
 * holds of every 8 columns of a sum columns 2 t and 2 t + 1 of rows g (sum[4 n], sum[4 n + 1]) and g + 8 (sum[4 n + 2],
 * sum[4 n + 3]) of its warp's.
 *
 * Weights pass by the block in chunks of 32 hidden columns. Each group multiplies, then computes, with a barrier before
 * either, and the second does everything a barrier later: it computes while the first multiplies.
 */
#ifndef AIRA_GPU_MLP_GROUP_CUH
#define AIRA_GPU_MLP_GROUP_CUH

#include "mlp.cuh"
#include "wgmma.cuh"

#define GROUP_THREADS 256 /* of a block */
#define GROUP_ROWS 64
#define HIDDEN 32   /* columns of a chunk */
#define COPIERS 128 /* threads that copy weights: those of the second group */

static_assert(GROUP_THREADS / 128 * GROUP_ROWS == ROWS, "blocks own as many rows as those of other cards");

/* The group of this thread, known to be the same for all of its warp. */
__device__ __forceinline__ int group_of_thread() { return __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0); }

/* __syncthreads for two groups that meet at different places. */
__device__ __forceinline__ void block_barrier() { asm volatile("bar.sync 1, %0;" ::"n"(GROUP_THREADS) : "memory"); }

/* --- memory ---------------------------------------------------------------------------------------------------------
 */

/* threadIdx.x, read again: what follows from it is computed where it is needed and holds no registers in between. */
__device__ __forceinline__ unsigned thread_again() {
    unsigned thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
}

/* In elements from the start of a group's panels: a row, and the n-th 8 neighbours of the row that begins at `row`. */
__device__ __forceinline__ unsigned row_at(unsigned row) { return row * 64 + row % 8 * 8; }
__device__ __forceinline__ unsigned part_at(unsigned row, unsigned n) {
    return (row ^ n % 8 * 8) + n / 8 * (GROUP_ROWS * 64);
}
/* The row that begins `k` rows further, where the rows between differ in bits that row % 8 has not. */
__device__ __forceinline__ unsigned rows_on(unsigned row, unsigned k) { return (row ^ k % 8 * 8) + k * 64; }

/* How many rows there are from a group's first one on: 64 at most, none or less than none beyond the last. */
__device__ __forceinline__ int rows_from(int64_t first, int64_t rows) {
    return (int)(rows - first < GROUP_ROWS ? rows - first : GROUP_ROWS);
}

/* How a warp moves its 16 rows: STEP at a time, 16 bytes a lane. */
template <int D> struct warp_rows {
    static constexpr int PARTS = D / 8, STEP = 32 / PARTS;
    unsigned row, part;
    __device__ __forceinline__ warp_rows() {
        unsigned thread = thread_again();
        row = thread % 128 / 32 * 16 + thread % 32 / PARTS;
        part = thread % PARTS;
    }
    __device__ __forceinline__ unsigned at() const { return part_at(row_at(row), part); }
};

/* Starts the copies of the warp's 16 rows into its group's panels; first: the group's first row. Zeros beyond the last.
 */
template <int D>
__device__ __forceinline__ void fetch_rows(half16 *panels, const half16 *from, int64_t first, int64_t rows) {
    warp_rows<D> w;
    int there = rows_from(first, rows) - (int)w.row;
    unsigned at = w.at();
    from += (first + w.row) * D + w.part * 8;
#pragma unroll
    for (int k = 0; k < 16; k += w.STEP) copy_16(panels + rows_on(at, k), from + k * D, k < there);
}
/* Two rows of the thread, as load_rows reads them, into its group's panels. */
template <int D> __device__ __forceinline__ void put_rows(half16 *panels, const uint4 (*v)[D / 32], int row) {
    unsigned at = row_at(row) ^ threadIdx.x % 4 * 8;
#pragma unroll
    for (int k = 0; k < 2; k++)
#pragma unroll
        for (int q = 0; q < D / 32; q++) *(uint4 *)(panels + part_at(at + k * 8 * 64, 4 * q)) = v[k][q];
}
/* The warp's 16 rows from its group's panels to memory. */
template <int D> __device__ __forceinline__ void save_rows(half16 *to, half16 *panels, int64_t first, int64_t rows) {
    warp_rows<D> w;
    int there = rows_from(first, rows) - (int)w.row;
    unsigned at = w.at();
    to += (first + w.row) * D + w.part * 8;
#pragma unroll
    for (int k = 0; k < 16; k += w.STEP) {
        uint4 v = *(const uint4 *)(panels + rows_on(at, k));
        if (k < there) *(uint4 *)(to + k * D) = v;
    }
}

/* --- products -------------------------------------------------------------------------------------------------------
 */

/* A descriptor some elements further on: a multiple of 8 within a row of a panel, or of whole eights of rows. */
__device__ __forceinline__ uint64_t further(uint64_t tile, int elements) { return tile + elements / 8; }

template <int N> __device__ __forceinline__ void settle(float *c) {
#pragma unroll
    for (int k = 0; k < N; k++) group_settle(c[k]);
}

/* Words that products take as operands are computed before the fence. */
template <int N> __device__ __forceinline__ void settle(uint32_t (*words)[4]) {
#pragma unroll
    for (int k = 0; k < 4 * N; k++) asm volatile("" : "+r"(words[k / 4][k % 4])::"memory");
}

/* --- arithmetic -----------------------------------------------------------------------------------------------------
 */

/* sqrt(2 / pi), and 0.044715 of it */
#define BEND 0.7978845608f
#define BEND_CUBIC 0.0356774081f

/* tanh(sqrt(2 / pi) (x + 0.044715 x^3)), off by 2^-11 of it at most */
__device__ __forceinline__ float bend(float x, float square) { return tanh_near(x * fmaf(BEND_CUBIC, square, BEND)); }

#endif
