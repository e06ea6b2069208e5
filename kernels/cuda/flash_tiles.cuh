/* flash_tiles.cuh - tiles in shared memory and their products on tensor cores, in two texts with one face.
 *
 * warp_tiles: mma.sync, sm_80 on: a warp owns 16 M rows. group_tiles: wgmma, sm_90a: four warps own 64 rows together
 * (16 each), products read shared memory by themselves and run beside other warps' arithmetic.
 *
 *     UNIT                               rows whose warps take the same steps
 *     fetch<R>(to, x, stride, first, n)  copies rows first.. of x, which has n, into a tile of R rows; zeros beyond
 *     arrived()                          after this thread's copies are there, before the barrier that tells others
 *     keep(left, tile, row)              rows from `row` (this warp's) of an own tile as left operands, if they stay
 *     product(c, left, tile, row, b)     c = (those rows of the own tile) b', for a tile b of N rows
 *     accumulate(out, p, b)              out += p b, p rounded to bf16
 *     finish(c)                          c is there; after it tiles may be overwritten
 *
 * Fragments: c[M][N / 8][4] and out[M][D / 8][4], laid out as mma.cuh says.
 */
#ifndef AIRA_GPU_FLASH_TILES_CUH
#define AIRA_GPU_FLASH_TILES_CUH

#include "approx.cuh"
#include "copy.cuh"
#include "flash.cuh"
#include "mma.cuh"
#include "wgmma.cuh"

template <int D_, int M_, int N_, int WARPS, bool KEEP> struct warp_tiles {
    static constexpr int D = D_, M = M_, N = N_, UNIT = 16 * M, ROWS = UNIT * WARPS, THREADS = 32 * WARPS;
    /* elements of a tile per row: 16 bytes more than the row, so that eight rows lie in different banks */
    static constexpr int PITCH = D + 8;
    struct left {
        uint32_t x[KEEP ? D / 16 : 1][M][4];
    };

    template <int R>
    static __device__ __forceinline__ void fetch(bf16 *to, const bf16 *x, int64_t stride, int first, int n) {
        constexpr int PARTS = D / 8;
#pragma unroll
        for (int i = threadIdx.x; i < R * PARTS; i += THREADS) {
            int row = i / PARTS, part = i % PARTS * 8;
            bool there = first + row < n;
            copy_16(to + row * PITCH + part, x + (there ? (int64_t)(first + row) * stride : 0) + part, there);
        }
    }

    static __device__ __forceinline__ void arrived() {}

    static __device__ __forceinline__ void load_left(uint32_t (*x)[4], const bf16 *tile, int row, int d) {
        int lane = threadIdx.x & 31;
#pragma unroll
        for (int m = 0; m < M; m++) load_matrices(x[m], tile + (row + m * 16 + lane % 16) * PITCH + d + lane / 16 * 8);
    }
    static __device__ __forceinline__ void keep(left &l, const bf16 *tile, int row) {
        if (KEEP)
#pragma unroll
            for (int d = 0; d < D; d += 16) load_left(l.x[KEEP ? d / 16 : 0], tile, row, d);
    }

    static __device__ __forceinline__ void product(float (*c)[N / 8][4], const left &l, const bf16 *tile, int row,
                                                   const bf16 *b) {
        int lane = threadIdx.x & 31;
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) c[m][n][e] = 0;
#pragma unroll
        for (int d = 0; d < D; d += 16) {
            uint32_t loaded[M][4], right[4];
            if (!KEEP) load_left(loaded, tile, row, d);
#pragma unroll
            for (int n = 0; n < N; n += 16) {
                load_matrices(right, b + (n + lane / 16 * 8 + lane % 8) * PITCH + d + lane / 8 % 2 * 8);
#pragma unroll
                for (int m = 0; m < M; m++) {
                    const uint32_t *x = KEEP ? l.x[KEEP ? d / 16 : 0][m] : loaded[m];
                    multiply_k16(c[m][n / 8], x, right[0], right[1]);
                    multiply_k16(c[m][n / 8 + 1], x, right[2], right[3]);
                }
            }
        }
    }

    static __device__ __forceinline__ void accumulate(float (*out)[D / 8][4], const float (*p)[N / 8][4],
                                                      const bf16 *b) {
        int lane = threadIdx.x & 31;
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            uint32_t x[M][4], right[4];
#pragma unroll
            for (int m = 0; m < M; m++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    x[m][e] = pack2(p[m][n / 8 + e / 2][e % 2 * 2], p[m][n / 8 + e / 2][e % 2 * 2 + 1]);
#pragma unroll
            for (int d = 0; d < D; d += 16) {
                load_transposed(right, b + (n + lane % 16) * PITCH + d + lane / 16 * 8);
#pragma unroll
                for (int m = 0; m < M; m++) {
                    multiply_k16(out[m][d / 8], x[m], right[0], right[1]);
                    multiply_k16(out[m][d / 8 + 1], x[m], right[2], right[3]);
                }
            }
        }
    }

    template <int K> static __device__ __forceinline__ void finish(float (*)[K][4]) {}
};

/* Tiles lie in panels of 64 columns: [panel][row][64], rows of 128 bytes whose 16-byte parts are swapped by row % 8
   (the 128-byte swizzle of wgmma); they begin at multiples of 1024 bytes. */
template <int D_, int WARPS> struct group_tiles {
    static constexpr int D = D_, M = 1, N = 64, UNIT = 64, ROWS = 16 * WARPS, THREADS = 32 * WARPS;
    static constexpr int PITCH = D; /* elements of a tile per row */
    struct left {};

    template <int R>
    static __device__ __forceinline__ void fetch(bf16 *to, const bf16 *x, int64_t stride, int first, int n) {
        constexpr int PARTS = D / 8;
#pragma unroll
        for (int i = threadIdx.x; i < R * PARTS; i += THREADS) {
            int row = i / PARTS, part = i % PARTS;
            bool there = first + row < n;
            copy_16(to + (part / 8 * R + row) * 64 + (part % 8 ^ row % 8) * 8,
                    x + (there ? (int64_t)(first + row) * stride : 0) + part * 8, there);
        }
    }

    static __device__ __forceinline__ void arrived() { group_sees_copies(); }

    static __device__ __forceinline__ void keep(left &, const bf16 *, int) {}

    static __device__ __forceinline__ void product(float (*c)[N / 8][4], const left &, const bf16 *tile, int row,
                                                   const bf16 *b) {
        group_fence();
#pragma unroll
        for (int d = 0; d < D; d += 16)
            group_multiply(c[0][0], group_tile(tile + (d / 64 * ROWS + row / 64 * 64) * 64 + d % 64),
                           group_tile(b + d / 64 * N * 64 + d % 64), d > 0);
        group_close();
    }

    static __device__ __forceinline__ void accumulate(float (*out)[D / 8][4], const float (*p)[N / 8][4],
                                                      const bf16 *b) {
        uint32_t x[N / 16][4];
#pragma unroll
        for (int n = 0; n < N; n += 16)
#pragma unroll
            for (int e = 0; e < 4; e++)
                x[n / 16][e] = pack2(p[0][n / 8 + e / 2][e % 2 * 2], p[0][n / 8 + e / 2][e % 2 * 2 + 1]);
        settle(out); /* what was done to out before comes first */
        group_fence();
#pragma unroll
        for (int n = 0; n < N; n += 16)
#pragma unroll
            for (int d = 0; d < D; d += 64)
                group_multiply(out[0][d / 8], x[n / 16], group_tile(b + (d / 64 * N + n) * 64));
        group_close();
    }

    template <int K> static __device__ __forceinline__ void settle(float (*c)[K][4]) {
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int e = 0; e < 4; e++) group_settle(c[0][k][e]);
    }
    template <int K> static __device__ __forceinline__ void finish(float (*c)[K][4]) {
        group_wait();
        settle(c);
    }
};

#endif
