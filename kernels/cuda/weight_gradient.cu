/* weight_gradient.cu - gradients of small weights on tensor cores. See weight_gradient.h.
 *
 * A block owns a tile of 128 x 128 of dW and one slice of rows. Both operands have the reduced axis outside, and lie in
 * shared memory as they lie in memory: panels [row][64 columns] whose 16-byte parts are swapped by row % 8, a layout
 * that both ways of multiplying read turned: ldmatrix and mma.sync by warps (sm_80 on), wgmma by groups of four warps
 * (sm_90a). Six stages of 32 rows form a ring, four of them on their way while one or two are multiplied. Sums over
 * rows of dY are a product with ones.
 *
 * On sm_90a eight slices of a tile are a cluster: each block adds an eighth of the tile over the eight, reading the
 * others' shared memory in order; where there are several clusters, the last to arrive adds what they left, also in
 * order. Elsewhere every slice is written to memory and a second kernel adds them.
 */
#include "copy.cuh"
#include "mma.cuh"
#include "vector.cuh"
#include "weight_gradient.h"
#include "wgmma.cuh"

#define TILE GPU_WEIGHT_TILE
#define CLUSTER GPU_WEIGHT_CLUSTER
#define DEEP 32 /* rows of a stage */
#define STAGES 6
#define AHEAD 4 /* stages on their way */
#define THREADS 256
#define PITCH (TILE + 8) /* of sums in shared memory: the 8 rows of a warp lie in different banks */
#define ONES 0x3f803f80u /* two of bf16 */

/* Panels of 64 columns of both operands, in parts of 16 bytes. */
struct stage {
    uint4 dy[2][DEEP][8], x[2][DEEP][8];
};

/* What a block has added up. */
struct tile_sums {
    float dw[TILE][PITCH], db[TILE];
};

struct shared {
    union {
        stage stages[STAGES];
        tile_sums sums;
    };
    uint32_t ones[256]; /* of bf16, eight rows of 128 bytes */
};

/* 8 bytes of a copy that runs beside the arithmetic; zeros where it is not `there`. */
__device__ __forceinline__ void copy_8(void *to, const void *from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(there ? 8 : 0)
                 : "memory");
}

/* Rows first.. of a slice that ends at `end`; columns from `column` on of `width`. What lies beyond the last column is
   left as it is: it reaches only results that nobody stores. Rows beyond the end are zeros. */
__device__ __forceinline__ void fetch(uint4 (*to)[DEEP][8], const half16 *from, int64_t first, int64_t end, int column,
                                      int width) {
    if (width % 8) { /* rows that begin at multiples of 8 bytes */
        int part = threadIdx.x % (TILE / 4);
        if (column + part * 4 >= width) return;
#pragma unroll
        for (int r = threadIdx.x / (TILE / 4); r < DEEP; r += THREADS / (TILE / 4)) {
            bool there = first + r < end;
            uint2 *at = (uint2 *)&to[part / 16][r][part / 2 % 8 ^ (r & 7)] + part % 2;
            copy_8(at, from + (there ? (first + r) * width : 0) + column + part * 4, there);
        }
        return;
    }
    int part = threadIdx.x % (TILE / 8);
    if (column + part * 8 >= width) return;
#pragma unroll
    for (int r = threadIdx.x / (TILE / 8); r < DEEP; r += THREADS / (TILE / 8)) {
        bool there = first + r < end;
        copy_16(&to[part / 8][r][part % 8 ^ (r & 7)], from + (there ? (first + r) * width : 0) + column + part * 8,
                there);
    }
}

/* --- products by warps: 64 x 32 each ---------------------------------------------------------------------------------
 */

struct warp_product {
    float sums[4][4][4], bias[4][4];

    static __device__ __forceinline__ int row() { return threadIdx.x / 128 * 64; }
    static __device__ __forceinline__ int column() { return threadIdx.x / 32 % 4 * 32; }
    __device__ __forceinline__ void arrived() {}
    __device__ __forceinline__ void finish() {}

    template <bool BIAS> __device__ __forceinline__ void products(const stage &s) {
        int lane = threadIdx.x & 31, left = row() / 8, right = column() / 8;
        /* matrices of left operands: parts 0 and 1 of rows 0..7, then of rows 8..15; of right operands: rows first */
        int left_row = lane / 16 * 8 + lane % 8, left_part = lane / 8 % 2, right_row = lane % 16,
            right_part = lane / 16;
#pragma unroll
        for (int r = 0; r < DEEP; r += 16) {
            uint32_t a[4][4], b[2][4];
#pragma unroll
            for (int m = 0; m < 4; m++)
                load_transposed(a[m], &s.dy[left / 8][r + left_row][(m * 2 + left_part) ^ (lane & 7)]);
#pragma unroll
            for (int n = 0; n < 2; n++)
                load_transposed(b[n], &s.x[right / 8][r + right_row][(right % 8 + n * 2 + right_part) ^ (lane & 7)]);
#pragma unroll
            for (int m = 0; m < 4; m++) {
#pragma unroll
                for (int n = 0; n < 4; n++)
                    multiply_k16(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
                if (BIAS) multiply_k16(bias[m], a[m], ONES, ONES);
            }
        }
    }
    /* rows, columns: of the tile that exist */
    template <bool BIAS>
    __device__ __forceinline__ void multiply(const stage &s, const uint32_t *, int rows, int columns) {
        if (row() >= rows) return;
        if (BIAS && column() == 0)
            products<true>(s);
        else if (column() < columns)
            products<false>(s);
    }

    __device__ __forceinline__ void store(tile_sums *to) const {
        int lane = threadIdx.x & 31;
#pragma unroll
        for (int m = 0; m < 4; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int i = row() + m * 16 + half * 8 + lane / 4, j = column() + lane % 4 * 2;
#pragma unroll
                for (int n = 0; n < 4; n++)
                    *(float2 *)&to->dw[i][j + n * 8] = make_float2(sums[m][n][half * 2], sums[m][n][half * 2 + 1]);
                if (j == 0) to->db[i] = bias[m][half * 2]; /* all columns are the same */
            }
    }
};

/* --- products by groups of four warps: 64 x 128 each -----------------------------------------------------------------
 */

/* Rows of 64 elements in the 128-byte swizzle, read turned: as wgmma.cuh says, and the step to the next 64 columns. */
__device__ __forceinline__ uint64_t turned_tile(const uint4 *at, uint64_t panel) {
    uint64_t address = (uint64_t)__cvta_generic_to_shared(at), step = 1024 >> 4, swizzle = 1;
    return (address & 0x3ffff) >> 4 | panel >> 4 << 16 | step << 32 | swizzle << 62;
}

#define C4(c, i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
#define C16(c, i) C4(c, i), C4(c, i + 4), C4(c, i + 8), C4(c, i + 12)

/* c[64 x 128] += a[16 x 64]' b[16 x 128], two panels of b */
__device__ __forceinline__ void multiply_turned(float *c, uint64_t a, uint64_t b) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, 1, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, "
              "%11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, "
              "%31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, "
              "%51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
              "%64, %65, add, 1, 1, 1, 1; }"
              : C16(c, 0), C16(c, 16), C16(c, 32), C16(c, 48)
              : "l"(a), "l"(b));
}
/* c[64 x 8] += a[16 x 64]' b[8 x 16]' */
__device__ __forceinline__ void add_turned(float *c, uint64_t a, uint64_t b) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, 1, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, add, 1, 1, 1, 0; }"
              : C4(c, 0)
              : "l"(a), "l"(b));
}
/* Waits until at most one closed group of products is under way. */
__device__ __forceinline__ void group_wait_but_one() { GROUP_ASM("wgmma.wait_group.sync.aligned 1;" ::: "memory"); }

struct group_product {
    float sums[64], bias[4];

    static __device__ __forceinline__ int group() { return threadIdx.x / 128; }
    /* Before the barrier after which products read what arrived, and copies take the place of all but the last stage.
     */
    __device__ __forceinline__ void arrived() {
        group_sees_copies();
        group_wait_but_one();
    }
    __device__ __forceinline__ void finish() {
        group_wait();
#pragma unroll
        for (int k = 0; k < 64; k++) group_settle(sums[k]);
#pragma unroll
        for (int k = 0; k < 4; k++) group_settle(bias[k]);
    }

    /* All of the tile, whatever exists of it: nothing here may branch. */
    template <bool BIAS> __device__ __forceinline__ void multiply(const stage &s, const uint32_t *ones, int, int) {
        group_fence();
#pragma unroll
        for (int r = 0; r < DEEP; r += 16) {
            uint64_t a = turned_tile(s.dy[group()][r], sizeof s.dy[0]);
            multiply_turned(sums, a, turned_tile(s.x[0][r], sizeof s.x[0]));
            if (BIAS) add_turned(bias, a, turned_tile((const uint4 *)ones, 1024));
        }
        group_close();
    }

    __device__ __forceinline__ void store(tile_sums *to) const {
        int lane = threadIdx.x & 31;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int i = threadIdx.x / 32 * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int n = 0; n < 16; n++)
                *(float2 *)&to->dw[i][n * 8 + lane % 4 * 2] = make_float2(sums[n * 4 + half * 2],
                                                                          sums[n * 4 + half * 2 + 1]);
            if (lane % 4 == 0) to->db[i] = bias[half * 2];
        }
    }
};

/* --- clusters --------------------------------------------------------------------------------------------------------
 */

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define CLUSTER_ASM(...) asm volatile(__VA_ARGS__)
#else
#define CLUSTER_ASM(...) (void)0
#endif

/* What every block wrote to its shared memory before it, all may read after it. */
__device__ __forceinline__ void cluster_barrier() {
    CLUSTER_ASM("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
/* The same place in the shared memory of another block of the cluster. */
__device__ __forceinline__ float4_of load_from(const float *at, uint32_t rank) {
    uint32_t there = (uint32_t)__cvta_generic_to_shared(at);
    float4_of x = {};
    CLUSTER_ASM("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(there) : "r"(rank));
    CLUSTER_ASM("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                : "=f"(x.v[0]), "=f"(x.v[1]), "=f"(x.v[2]), "=f"(x.v[3])
                : "r"(there)
                : "memory");
    return x;
}

/* --- the tile of a block ---------------------------------------------------------------------------------------------
 */

struct work {
    gpu_weight w;
    int n0, k0, rows, columns; /* of the tile that exist */
    uint32_t tile, group, rank;
    bool adds; /* sums over rows of dY are this tile's */
};

__device__ __forceinline__ work work_of(const gpu_weight *list, gpu_block block) {
    work t;
    t.w = list[block.member];
    uint32_t tiles = t.w.tiles_n * t.w.tiles_k;
    t.rank = block.part % CLUSTER;
    t.tile = block.part / CLUSTER % tiles;
    t.group = block.part / CLUSTER / tiles;
    t.n0 = (int)(t.tile / t.w.tiles_k) * TILE;
    t.k0 = (int)(t.tile % t.w.tiles_k) * TILE;
    t.rows = min(TILE, (int)t.w.n - t.n0);
    t.columns = min(TILE, (int)t.w.k - t.k0);
    t.adds = t.w.sums && t.k0 == 0;
    return t;
}

/* Adds up the slice and leaves the sums in shared memory. */
template <class P, bool BIAS> __device__ __forceinline__ void add_slice(const work &t, shared *s) {
    int64_t first = (t.group * CLUSTER + t.rank) * t.w.slice, end = min(t.w.rows, first + t.w.slice);
    int steps = first < end ? (int)((end - first + DEEP - 1) / DEEP) : 0;
    const half16 *dy = (const half16 *)t.w.dy, *x = (const half16 *)t.w.x;
    P p = {};
    s->ones[threadIdx.x] = ONES;
    for (int k = 0; k < AHEAD; k++) {
        if (k < steps) fetch(s->stages[k].dy, dy, first + k * DEEP, end, t.n0, (int)t.w.n);
        if (k < steps) fetch(s->stages[k].x, x, first + k * DEEP, end, t.k0, (int)t.w.k);
        copy_close();
    }
    for (int k = 0; k < steps; k++) {
        copy_wait<AHEAD - 1>();
        p.arrived();
        __syncthreads(); /* the stage is there, and everybody is done with the one that is fetched into */
        int next = k + AHEAD;
        if (next < steps) {
            fetch(s->stages[next % STAGES].dy, dy, first + (int64_t)next * DEEP, end, t.n0, (int)t.w.n);
            fetch(s->stages[next % STAGES].x, x, first + (int64_t)next * DEEP, end, t.k0, (int)t.w.k);
        }
        copy_close();
        p.template multiply<BIAS>(s->stages[k % STAGES], s->ones, t.rows, t.columns);
    }
    p.finish();
    __syncthreads(); /* the ring becomes the tile */
    p.store(&s->sums);
}

/* Four neighbours of the tile, or of the sums over rows that follow them: where they are in shared memory, and where in
   dW and then db. */
__device__ __forceinline__ const float *place_of(const work &t, const tile_sums *sums, int unit, uint64_t *at) {
    int parts = t.columns / 4, row = t.columns > 0 ? unit / parts : 0, part = unit - row * parts;
    if (unit < t.rows * parts) {
        *at = (uint64_t)(t.n0 + row) * t.w.k + t.k0 + part * 4;
        return &sums->dw[row][part * 4];
    }
    part = unit - t.rows * parts;
    *at = (uint64_t)t.w.n * t.w.k + t.n0 + part * 4;
    return &sums->db[part * 4];
}
__device__ __forceinline__ int units_of(const work &t) { return t.rows * t.columns / 4 + (t.adds ? t.rows / 4 : 0); }

__device__ __forceinline__ void add_to(float4_of *sum, float4_of v) {
#pragma unroll
    for (int k = 0; k < 4; k++) sum->v[k] += v.v[k];
}

/* at: as place_of says */
__device__ __forceinline__ void store_result(const gpu_weight &w, uint64_t at, float4_of x) {
    uint64_t cells = (uint64_t)w.n * w.k;
    bool bias = at >= cells;
    void *to = bias ? w.db : w.dw;
    if (bias) at -= cells;
    if ((bias ? w.db_dtype : w.dw_dtype) == AIRA_BF16)
        store4((half16 *)to + at, x);
    else
        store4((float *)to + at, x);
}

/* Partial sums lie as [slices or clusters][n k + n]. */
__device__ __forceinline__ float4_of add_parts(const float *from, uint32_t parts, uint64_t step) {
    float4_of sum = {};
#pragma unroll 8
    for (uint32_t k = 0; k < parts; k++) {
        float4 v = __ldcg((const float4 *)(from + k * step));
        add_to(&sum, {{v.x, v.y, v.z, v.w}});
    }
    return sum;
}

/* --- in one launch ---------------------------------------------------------------------------------------------------
 */

/* Has every cluster of this tile written this block's eighth? Then it is this block's to add them up. */
__device__ __forceinline__ bool is_last(const work &t, uint32_t *counts, uint32_t groups) {
    __shared__ uint32_t before;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t *count = &counts[t.w.count + t.tile * CLUSTER + t.rank];
        before = atomicAdd(count, 1);
        if (before == groups - 1) *count = 0; /* for the next launch */
        __threadfence();
    }
    __syncthreads();
    return before == groups - 1;
}

__global__ void __launch_bounds__(THREADS, 2)
    weight_clusters(float *partial, const gpu_weight *list, const gpu_block *blocks, uint32_t *counts) {
    extern __shared__ __align__(1024) char memory[];
    shared *s = (shared *)memory;
    work t = work_of(list, blocks[blockIdx.x]);
    uint32_t groups = t.w.slices / CLUSTER;
    uint64_t step = (uint64_t)t.w.n * t.w.k + t.w.n, at;
    float *to = partial + t.w.partial;
    if (t.adds)
        add_slice<group_product, true>(t, s);
    else
        add_slice<group_product, false>(t, s);
    cluster_barrier();
    int units = units_of(t), first = (int)t.rank * THREADS + (int)threadIdx.x;
    for (int unit = first; unit < units; unit += CLUSTER * THREADS) {
        const float *from = place_of(t, &s->sums, unit, &at);
        float4_of parts[CLUSTER], sum = {};
#pragma unroll
        for (int k = 0; k < CLUSTER; k++) parts[k] = load_from(from, k);
#pragma unroll
        for (int k = 0; k < CLUSTER; k++) add_to(&sum, parts[k]);
        if (groups == 1)
            store_result(t.w, at, sum);
        else
            store4(to + t.group * step + at, sum);
    }
    cluster_barrier(); /* nobody leaves while others read its shared memory */
    if (groups == 1 || !is_last(t, counts, groups)) return;
    for (int unit = first; unit < units; unit += CLUSTER * THREADS) {
        (void)place_of(t, &s->sums, unit, &at);
        store_result(t.w, at, add_parts(to + at, groups, step));
    }
}

/* --- in two ----------------------------------------------------------------------------------------------------------
 */

__global__ void __launch_bounds__(THREADS, 2)
    weight_slices(float *partial, const gpu_weight *list, const gpu_block *blocks) {
    extern __shared__ __align__(1024) char memory[];
    shared *s = (shared *)memory;
    work t = work_of(list, blocks[blockIdx.x]);
    uint64_t step = (uint64_t)t.w.n * t.w.k + t.w.n, at;
    float *to = partial + t.w.partial + (t.group * CLUSTER + t.rank) * step;
    if (t.adds)
        add_slice<warp_product, true>(t, s);
    else
        add_slice<warp_product, false>(t, s);
    __syncthreads();
    int units = units_of(t);
    for (int unit = threadIdx.x; unit < units; unit += THREADS) {
        const float *from = place_of(t, &s->sums, unit, &at);
        store4(to + at, load4(from));
    }
}

__global__ void __launch_bounds__(256)
    weight_joins(const float *partial, const gpu_weight *list, const gpu_block *blocks) {
    gpu_block block = blocks[blockIdx.x];
    const gpu_weight w = list[block.member];
    uint64_t step = (uint64_t)w.n * w.k + w.n, i = (uint64_t)block.part * GPU_WEIGHT_JOIN + threadIdx.x * 4;
    if (i < step && (w.sums || i < step - w.n)) store_result(w, i, add_parts(partial + w.partial + i, w.slices, step));
}

int gpu_weights_in_clusters(void) {
#ifdef AIRA_CUDA_90A /* there is code for groups of warps */
    int gpu = 0, major = 0;
    return cudaGetDevice(&gpu) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu) == cudaSuccess && major == 9;
#else
    return 0;
#endif
}

static const char *run_clusters(const gpu_weights *run, cudaStream_t stream) {
    cudaError_t error = cudaFuncSetAttribute(weight_clusters, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             (int)sizeof(shared));
    if (error != cudaSuccess) return cudaGetErrorString(error);
    cudaLaunchAttribute cluster = {};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = CLUSTER;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    cudaLaunchConfig_t how = {};
    how.gridDim = dim3(run->n_blocks);
    how.blockDim = dim3(THREADS);
    how.dynamicSmemBytes = sizeof(shared);
    how.stream = stream;
    how.attrs = &cluster;
    how.numAttrs = 1;
    error = cudaLaunchKernelEx(&how, weight_clusters, run->partial, run->list, run->blocks, run->counts);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

const char *gpu_weights_run(const gpu_weights *run, cudaStream_t stream) {
    if (gpu_weights_in_clusters()) return run_clusters(run, stream);
    cudaError_t error = cudaFuncSetAttribute(weight_slices, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             (int)sizeof(shared));
    if (error != cudaSuccess) return cudaGetErrorString(error);
    weight_slices<<<run->n_blocks, THREADS, sizeof(shared), stream>>>(run->partial, run->list, run->blocks);
    weight_joins<<<run->n_joins, 256, 0, stream>>>(run->partial, run->list, run->joins);
    return gpu_launched();
}
