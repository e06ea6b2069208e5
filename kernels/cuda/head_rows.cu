/* head_rows.cu - losses and gradients of bf16 logits; see head_rows.h.
 *
 * Threads hold the row in registers, eight neighbours at eight places each: 512 threads hold 32,768 elements. A longer
 * row lies on up to eight blocks of a cluster, which show one another their largest element and their sum. Memory is
 * read once and written once, which a row that is read again does not do: rows in work on a whole card are as large as
 * its second-level cache. Exponentials are powers of two: the row's maximum and the change of base are one
 * multiplication-addition.
 */
#include "head_rows.h"

#include "approx.cuh"
#include "vector.cuh"
#include "weight_gradient.h"

#define PACK 8           /* neighbours: 16 bytes */
#define PLACES 8         /* packs of a thread */
#define MOST_THREADS 512 /* of a block, two of which share a multiprocessor */
#define MOST_PARTS 8     /* blocks of a cluster */
#define LOG2_E 1.44269504088896341f
#define NOTHING 0xff80ff80u /* two elements that add nothing: minus infinity */

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define CLUSTER_ASM(...) asm volatile(__VA_ARGS__)
#else
#define CLUSTER_ASM(...) (void)0
#endif

typedef __nv_bfloat16 bf16;

__device__ __forceinline__ float low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }
__device__ __forceinline__ uint32_t larger_of(uint32_t a, uint32_t b) {
    __nv_bfloat162 most = __hmax2(*(const __nv_bfloat162 *)&a, *(const __nv_bfloat162 *)&b);
    return *(const uint32_t *)&most;
}

/* What a thread holds of a row, two elements a word. */
struct held {
    uint32_t x[PLACES][PACK / 2];
};

/* Packs begin + thread, + threads, ... of the row, before end. */
__device__ __forceinline__ held hold(const bf16 *row, int begin, int end) {
    held h;
#pragma unroll
    for (int k = 0; k < PLACES; k++) {
        int p = begin + (int)threadIdx.x + k * (int)blockDim.x;
        uint4 x = make_uint4(NOTHING, NOTHING, NOTHING, NOTHING);
        if (p < end) x = ((const uint4 *)row)[p];
        h.x[k][0] = x.x;
        h.x[k][1] = x.y;
        h.x[k][2] = x.z;
        h.x[k][3] = x.w;
    }
    return h;
}

__device__ __forceinline__ float largest(const held &h) {
    uint32_t most = NOTHING;
#pragma unroll
    for (int k = 0; k < PLACES; k++)
#pragma unroll
        for (int j = 0; j < PACK / 2; j++) most = larger_of(most, h.x[k][j]);
    return fmaxf(low(most), high(most));
}

/* Of 2 to the x log2(e) - base. */
__device__ __forceinline__ float sum_of_powers(const held &h, float base) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k < PLACES; k++)
#pragma unroll
        for (int j = 0; j < PACK / 2; j++) {
            sum += power_of_two(fmaf(low(h.x[k][j]), LOG2_E, -base));
            sum += power_of_two(fmaf(high(h.x[k][j]), LOG2_E, -base));
        }
    return sum;
}

/* What the softmax of a row, or of a part, needs: sum is that of exp(x - peak). */
struct row_norm {
    float peak, sum;
};

__device__ __forceinline__ void cluster_barrier() {
    CLUSTER_ASM("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
__device__ __forceinline__ row_norm shown_by(const float2 *shown, uint32_t part) {
    uint32_t there = (uint32_t)__cvta_generic_to_shared(shown);
    row_norm n = {0, 0};
    CLUSTER_ASM("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(there) : "r"(part));
    CLUSTER_ASM("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(n.peak), "=f"(n.sum) : "r"(there) : "memory");
    return n;
}

/* The row's from its parts', in their order. */
__device__ static row_norm join(row_norm mine, float2 *shown, int parts) {
    row_norm all = {-INFINITY, 0};
    if (threadIdx.x == 0) *shown = make_float2(mine.peak, mine.sum);
    cluster_barrier();
    for (int p = 0; p < parts; p++) all.peak = fmaxf(all.peak, shown_by(shown, (uint32_t)p).peak);
    for (int p = 0; p < parts; p++) {
        row_norm other = shown_by(shown, (uint32_t)p);
        all.sum += other.sum * power_of_two((other.peak - all.peak) * LOG2_E);
    }
    return all;
}

/* Overwrites the row's elements with scale 2^(x log2(e) - base), or with zeros. */
__device__ __forceinline__ void write_slopes(bf16 *row, const held &h, int begin, int end, float base, float scale,
                                             bool counts) {
#pragma unroll
    for (int k = 0; k < PLACES; k++) {
        int p = begin + (int)threadIdx.x + k * (int)blockDim.x;
        uint32_t y[PACK / 2];
#pragma unroll
        for (int j = 0; j < PACK / 2; j++) {
            float a = scale * power_of_two(fmaf(low(h.x[k][j]), LOG2_E, -base));
            float b = scale * power_of_two(fmaf(high(h.x[k][j]), LOG2_E, -base));
            y[j] = counts ? pack2(a, b) : 0u;
        }
        if (p < end) ((uint4 *)row)[p] = make_uint4(y[0], y[1], y[2], y[3]);
    }
}

/* Part blockIdx.x % parts of row blockIdx.x / parts; `packs` of a part, the last one has what is left. */
template <bool CLUSTER>
__global__ void __launch_bounds__(MOST_THREADS, 2) held_rows(const head_rows a, int parts, int packs) {
    __shared__ float spare[32];
    __shared__ float2 shown;
    int64_t r = CLUSTER ? blockIdx.x / parts : blockIdx.x;
    int begin = CLUSTER ? (int)(blockIdx.x % parts) * packs : 0, end = min(begin + packs, (int)(a.width / PACK));
    bf16 *row = a.logits + r * a.width;
    held h = hold(row, begin, end);
    int64_t target = a.targets[a.first + r];
    bool counts = target >= 0 && target < a.width;
    /* the thread that holds the target's logit, or the row's first where there is none, answers for the row */
    int pack = counts ? (int)target / PACK : 0;
    bool answers = pack >= begin && pack < end && (pack - begin) % (int)blockDim.x == (int)threadIdx.x;
    float hit = answers && counts ? __bfloat162float(row[target]) : 0.0f;
    row_norm n = {block_reduce<float, true>(largest(h), spare), 0};
    n.sum = block_reduce<float, false>(sum_of_powers(h, n.peak == -INFINITY ? 0.0f : n.peak * LOG2_E), spare);
    if (CLUSTER) n = join(n, &shown, parts);
    if (answers) store<float>(a.nll, a.first + r, counts ? n.peak - hit + logf(n.sum) : 0.0f);
    if (a.g.data) {
        float slope = counts ? load<float>(a.g, a.first + r) : 0.0f, base = n.peak * LOG2_E, scale = slope / n.sum;
        write_slopes(row, h, begin, end, base, scale, counts);
        if (answers && counts)
            row[target] = __float2bfloat16_rn(scale * power_of_two(fmaf(hit, LOG2_E, -base)) - slope);
    }
    if (CLUSTER) cluster_barrier(); /* nobody leaves while others read what it shows */
}

static int64_t parts_of(int64_t width) {
    int64_t whole = (int64_t)PACK * PLACES * MOST_THREADS;
    return (width + whole - 1) / whole;
}

bool gpu_holds_head_row(int64_t width) {
    int64_t parts = parts_of(width);
    return width % PACK == 0 && (parts == 1 || (parts <= MOST_PARTS && gpu_weights_in_clusters()));
}

const char *gpu_run_held_rows(const head_rows *rows, cudaStream_t stream) {
    int parts = (int)parts_of(rows->width), all = (int)(rows->width / PACK), packs = (all + parts - 1) / parts;
    unsigned threads = ((unsigned)(packs + PLACES - 1) / PLACES + 31) / 32 * 32;
    if (parts == 1) {
        held_rows<false><<<(unsigned)rows->rows, threads, 0, stream>>>(*rows, parts, packs);
        return gpu_launched();
    }
    cudaLaunchAttribute cluster = {};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = (unsigned)parts;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    cudaLaunchConfig_t how = {};
    how.gridDim = dim3((unsigned)(rows->rows * parts));
    how.blockDim = dim3(threads);
    how.stream = stream;
    how.attrs = &cluster;
    how.numAttrs = 1;
    cudaError_t error = cudaLaunchKernelEx(&how, held_rows<true>, *rows, parts, packs);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}
