/* weight_gradient.cu - gradients of small weights on tensor cores. See weight_gradient.h.
 *
 * A block owns a tile of 128 x 128 of dW and one slice of rows. Both operands have the reduced axis outside, so they
 * lie in shared memory as they lie in memory, [row][column], and ldmatrix turns them on the way into registers. Three
 * stages of 64 rows are under way at once; a row's 16-byte parts are swapped by row % 8, so that eight rows lie in
 * different banks. Sums over rows of dY come from the same registers: a product with ones.
 */
#include "copy.cuh"
#include "element.cuh"
#include "mma.cuh"
#include "vector.cuh"
#include "weight_gradient.h"

#define TILE GPU_WEIGHT_TILE
#define DEEP GPU_WEIGHT_DEEP
#define STAGES 3
#define THREADS 256
#define ONES 0x3f803f80u /* two of bf16 */

/* Parts of 16 bytes of both operands. */
struct stage {
    uint4 dy[DEEP][TILE / 8], x[DEEP][TILE / 8];
};

/* Rows first.. of a slice that ends at `end`; columns from `column` on of `width`. What lies beyond the last column is
   left as it is: it reaches only results that nobody stores. Rows beyond the end are zeros. */
__device__ __forceinline__ void fetch(uint4 (*to)[TILE / 8], const half16 *from, int64_t first, int64_t end, int column,
                                      int width) {
    int part = threadIdx.x % (TILE / 8), row = threadIdx.x / (TILE / 8);
    if (column + part * 8 >= width) return;
#pragma unroll
    for (int r = row; r < DEEP; r += THREADS / (TILE / 8)) {
        bool there = first + r < end;
        copy_16(&to[r][part ^ (r & 7)], from + (there ? (first + r) * width : 0) + column + part * 8, there);
    }
}

/* sums[4][4] of a warp's 64 x 32: mma.cuh says where each lies. bias: sums over rows of its 64 columns of dY. */
template <bool BIAS>
__device__ __forceinline__ void multiply(float (*sums)[4][4], float (*bias)[4], const stage &s, int row, int column) {
    int lane = threadIdx.x & 31;
    /* matrices of left operands: columns 0 and 8 of rows 0..7, then of rows 8..15; of right operands: rows first */
    int left_row = lane / 16 * 8 + lane % 8, right_row = lane % 16;
#pragma unroll
    for (int r = 0; r < DEEP; r += 16) {
        uint32_t left[4][4], right[2][4];
#pragma unroll
        for (int m = 0; m < 4; m++)
            load_transposed(left[m], &s.dy[r + left_row][(row / 8 + m * 2 + lane / 8 % 2) ^ (lane & 7)]);
#pragma unroll
        for (int n = 0; n < 2; n++)
            load_transposed(right[n], &s.x[r + right_row][(column / 8 + n * 2 + lane / 16) ^ (lane & 7)]);
#pragma unroll
        for (int m = 0; m < 4; m++) {
#pragma unroll
            for (int n = 0; n < 4; n++)
                multiply_k16(sums[m][n], left[m], right[n / 2][n % 2 * 2], right[n / 2][n % 2 * 2 + 1]);
            if (BIAS) multiply_k16(bias[m], left[m], ONES, ONES);
        }
    }
}

__device__ __forceinline__ void store_sums(float *to, const gpu_weight &w, const float (*sums)[4][4], int row,
                                           int column) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < 4; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int i = row + m * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int n = 0; n < 4; n++) {
                int j = column + n * 8 + lane % 4 * 2;
                if (i < (int)w.n && j < (int)w.k)
                    *(float2 *)(to + (int64_t)i * w.k + j) = make_float2(sums[m][n][half * 2],
                                                                         sums[m][n][half * 2 + 1]);
            }
        }
}

/* Column 0 of the product with ones; all eight are the same. */
__device__ __forceinline__ void store_bias(float *to, const gpu_weight &w, const float (*bias)[4], int row) {
    int lane = threadIdx.x & 31;
    if (lane % 4) return;
#pragma unroll
    for (int m = 0; m < 4; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int i = row + m * 16 + half * 8 + lane / 4;
            if (i < (int)w.n) to[i] = bias[m][half * 2];
        }
}

__global__ void __launch_bounds__(THREADS, 2)
    weight_slices(float *partial, const gpu_weight *list, const gpu_block *blocks) {
    extern __shared__ __align__(128) char memory[];
    stage *stages = (stage *)memory;
    gpu_block block = blocks[blockIdx.x];
    const gpu_weight w = list[block.member];
    uint32_t tiles = w.tiles_n * w.tiles_k, slice = block.part / tiles, tile = block.part % tiles;
    int n0 = (int)(tile / w.tiles_k) * TILE, k0 = (int)(tile % w.tiles_k) * TILE, warp = threadIdx.x >> 5;
    int row = warp / 4 * 64, column = warp % 4 * 32; /* of this warp in the tile */
    int64_t first = slice * w.slice, end = min(w.rows, first + w.slice);
    int steps = (int)((end - first + DEEP - 1) / DEEP);
    const half16 *dy = (const half16 *)w.dy, *x = (const half16 *)w.x;
    bool adds = w.sums && k0 == 0 && column == 0 && n0 + row < (int)w.n;
    bool works = n0 + row < (int)w.n && k0 + column < (int)w.k;
    float sums[4][4][4] = {}, bias[4][4] = {};
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) fetch(stages[s].dy, dy, first + s * DEEP, end, n0, (int)w.n);
        if (s < steps) fetch(stages[s].x, x, first + s * DEEP, end, k0, (int)w.k);
        copy_close();
    }
    for (int s = 0; s < steps; s++) {
        copy_wait<STAGES - 2>();
        __syncthreads(); /* the stage is there, and everybody is done with the one that comes next */
        int next = s + STAGES - 1;
        if (next < steps) {
            fetch(stages[next % STAGES].dy, dy, first + (int64_t)next * DEEP, end, n0, (int)w.n);
            fetch(stages[next % STAGES].x, x, first + (int64_t)next * DEEP, end, k0, (int)w.k);
        }
        copy_close();
        if (adds)
            multiply<true>(sums, bias, stages[s % STAGES], row, column);
        else if (works)
            multiply<false>(sums, bias, stages[s % STAGES], row, column);
    }
    float *to = partial + w.partial;
    if (works) store_sums(to + (uint64_t)slice * w.n * w.k, w, sums, n0 + row, k0 + column);
    if (adds) store_bias(to + (uint64_t)w.slices * w.n * w.k + (uint64_t)slice * w.n, w, bias, n0 + row);
}

/* Four results a thread: slices in order. */
__device__ __forceinline__ float4_of add_slices(const float *from, uint32_t slices, uint64_t step) {
    float4_of sum = {};
#pragma unroll 8
    for (uint32_t s = 0; s < slices; s++) {
        float4_of v = load4(from + s * step);
#pragma unroll
        for (int k = 0; k < 4; k++) sum.v[k] += v.v[k];
    }
    return sum;
}

__device__ __forceinline__ void store_result(void *to, uint32_t dtype, uint32_t at, float4_of x) {
    if (dtype == AIRA_BF16)
        store4((half16 *)to + at, x);
    else
        store4((float *)to + at, x);
}

__global__ void __launch_bounds__(256)
    weight_joins(const float *partial, const gpu_weight *list, const gpu_block *blocks) {
    gpu_block block = blocks[blockIdx.x];
    const gpu_weight w = list[block.member];
    uint32_t cells = w.n * w.k, i = block.part * GPU_WEIGHT_JOIN + threadIdx.x * 4;
    const float *from = partial + w.partial;
    if (i < cells) {
        store_result(w.dw, w.dw_dtype, i, add_slices(from + i, w.slices, cells));
    } else if (w.sums && i - cells < w.n) {
        i -= cells;
        store_result(w.db, w.db_dtype, i, add_slices(from + (uint64_t)w.slices * cells + i, w.slices, w.n));
    }
}

const char *gpu_weights_run(const gpu_weight *list, const gpu_block *blocks, uint32_t n_blocks, const gpu_block *joins,
                            uint32_t n_joins, float *partial, cudaStream_t stream) {
    int bytes = STAGES * (int)sizeof(stage);
    cudaError_t error = cudaFuncSetAttribute(weight_slices, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    weight_slices<<<n_blocks, THREADS, bytes, stream>>>(partial, list, blocks);
    weight_joins<<<n_joins, 256, 0, stream>>>(partial, list, joins);
    return gpu_launched();
}
