/* join.cuh - the second stage of sums: partial values in the workspace are added in an order that the shape decides. */
#ifndef AIRA_GPU_JOIN_CUH
#define AIRA_GPU_JOIN_CUH

#include "element.cuh"

/* Result i = a * inner + c adds from[a * step + c + u * outer_step + v * part_step] over u < outer, v < parts. */
struct join_plan {
    int64_t n, inner, step, outer, outer_step, parts, part_step;
};

/* One thread a result: many results of few parts. */
template <class R> __global__ void join_kernel(elements to, const R *from, join_plan p) {
    EACH(i, p.n) {
        const R *at = from + i / p.inner * p.step + i % p.inner;
        R sum = 0;
        for (int64_t u = 0; u < p.outer; u++)
            for (int64_t v = 0; v < p.parts; v++) sum += at[u * p.outer_step + v * p.part_step];
        store<R>(to, i, sum);
    }
}

/* One block a result: few results of many parts. */
template <class R> __global__ void __launch_bounds__(256) join_block_kernel(elements to, const R *from, join_plan p) {
    __shared__ R spare[32];
    int64_t i = blockIdx.x;
    const R *at = from + i / p.inner * p.step + i % p.inner;
    R sum = 0;
    for (int64_t k = threadIdx.x; k < p.outer * p.parts; k += 256)
        sum += at[k / p.parts * p.outer_step + k % p.parts * p.part_step];
    sum = block_reduce<R, false>(sum, spare);
    if (threadIdx.x == 0) store<R>(to, i, sum);
}

/* Rows of many columns: 32 columns a block, 32 threads a column. */
template <class R> __global__ void __launch_bounds__(1024) join_columns_kernel(elements to, const R *from, join_plan p) {
    __shared__ R part[32][33];
    int column = threadIdx.x & 31, row = threadIdx.x >> 5;
    int64_t i = (int64_t)blockIdx.x * 32 + column;
    R sum = 0;
    if (i < p.n)
        for (int64_t u = row; u < p.outer; u += 32) sum += from[u * p.outer_step + i];
    part[row][column] = sum;
    __syncthreads();
    sum = warp_sum(part[column][row]);
    i = (int64_t)blockIdx.x * 32 + row;
    if (column == 0 && i < p.n) store<R>(to, i, sum);
}

template <class R> static void join(elements to, const R *from, const join_plan &p, cudaStream_t stream) {
    if (p.n == 0) return;
    if (p.inner == p.n && p.parts == 1 && p.outer > 32)
        join_columns_kernel<R><<<(unsigned)((p.n + 31) / 32), 1024, 0, stream>>>(to, from, p);
    else if (p.n < 4096 && p.outer * p.parts > 64)
        join_block_kernel<R><<<(unsigned)p.n, 256, 0, stream>>>(to, from, p);
    else
        join_kernel<R><<<blocks_for(p.n, 256), 256, 0, stream>>>(to, from, p);
}

#endif
