/* weight_gradient.cu - gradients of small weights on tensor cores. See weight_gradient.h.
 *
 * A block owns a tile of 128 x 128 of dW and one slice of rows. Both operands have the reduced axis outside, and lie in
 * shared memory as they lie in memory: panels [row][64 columns] whose 16-byte parts are swapped by row % 8, a layout
 * that both ways of multiplying read turned: ldmatrix and mma.sync by warps (sm_80 on), wgmma by groups of four warps
 * (sm_90a). Six stages of 32 rows form a ring, four of them on their way while two are multiplied: products of one
 * stage need not be done when those of the next begin. A stage must cost few instructions, since two warps a scheduler
 * hide little: a thread copies the same places of every stage, so that what it needs to know moves on by constants.
 * Sums over rows of dY are a product with ones.
 *
 * On sm_90a eight slices of a tile are a cluster: each block adds an eighth of the tile over the eight, reading the
 * others' shared memory from its own on; where there are several clusters, the last to arrive adds what they left in
 * order. All of that is elementwise, so sums stay in the order in which registers hold them until they are results.
 * Elsewhere every slice is written to memory and a second kernel adds them.
 */
#include "copy.cuh"
#include "groups.cuh"
#include "mma.cuh"
#include "vector.cuh"
#include "weight_gradient.h"
#include "wgmma.cuh"

#define TILE GPU_WEIGHT_TILE
#define CLUSTER GPU_WEIGHT_CLUSTER
static_assert(GPU_WEIGHT_FEW % CLUSTER == 0, "");
#define DEEP 32 /* rows of a stage */
#define STAGES 6
#define AHEAD 4 /* stages on their way; another may still be multiplied beside the present one */
static_assert(STAGES == AHEAD + 2, "");
#define THREADS 256
#define PITCH (TILE + 8) /* of sums in shared memory: the 8 rows of a warp lie in different banks */
#define ONES 0x3f803f80u /* two of bf16 */

/* Panels of 64 columns of both operands, in parts of 16 bytes. */
struct stage {
    uint4 dy[2][DEEP][8], x[2][DEEP][8];
};

/* What a block has added up, by rows and columns. */
struct tile_sums {
    float dw[TILE][PITCH], db[TILE];
};
/* The same as groups of warps hold it: four sums of a thread, columns 8 s.. of the tile are [s]. */
struct group_sums {
    float4 dw[TILE / 8][THREADS];
    float db[TILE];
};

struct shared {
    union {
        stage stages[STAGES];
        tile_sums sums;
        group_sums groups;
    };
    uint32_t ones[256]; /* of bf16, eight rows of 128 bytes */
};

/* --- copies --- */

/* 16 or 8 bytes of a copy that runs beside the arithmetic, where it is `mine`; zeros where it is not `there`. */
template <int BYTES> __device__ __forceinline__ void copy_part(uint32_t to, const char *from, bool mine, bool there) {
    if (BYTES == 16)
        asm volatile("{ .reg .pred mine; setp.ne.b32 mine, %3, 0;\n"
                     "@mine cp.async.cg.shared.global [%0], [%1], 16, %2; }" ::"r"(to),
                     "l"(from), "r"(there ? 16 : 0), "r"((int)mine)
                     : "memory");
    else
        asm volatile("{ .reg .pred mine; setp.ne.b32 mine, %3, 0;\n"
                     "@mine cp.async.ca.shared.global [%0], [%1], 8, %2; }" ::"r"(to),
                     "l"(from), "r"(there ? 8 : 0), "r"((int)mine)
                     : "memory");
}

/* What this thread copies of every stage of an operand: parts of 16 bytes, or of 8 where rows begin at multiples of 8.
   Zeros lie where the slice has no such row. Columns that do not exist are left as they are, since they meet none but
   sums that do not exist either, and zeros take a multiprocessor longer than copies. */
template <int BYTES> struct copier {
    static constexpr int PARTS = TILE * 2 / BYTES, ROWS = THREADS / PARTS; /* of a row; at once, a multiple of 8 */

    const char *from;   /* the first part of the next stage */
    uint32_t to, pitch; /* its place in a stage; bytes of a row in memory */
    int row;            /* of a stage */
    bool exists;        /* the column */

    /* first: of the slice's first row, the tile's first column; width: of a row; columns: of the tile that exist */
    __device__ __forceinline__ copier(const void *first, uint32_t width, uint32_t columns, uint32_t in_stage) {
        uint32_t byte = threadIdx.x % PARTS * BYTES, r = threadIdx.x / PARTS;
        exists = byte < columns * 2;
        pitch = width * 2;
        from = (const char *)first + (exists ? r * pitch + byte : 0);
        to = in_stage + byte / 128 * (DEEP * 128) + r * 128 + ((byte / 16 ^ r) & 7) * 16 + byte % 16;
        row = (int)r;
    }
    /* to the stage at `at`; left: rows of the slice from the stage's first on */
    __device__ __forceinline__ void copy(uint32_t at, int left) {
#pragma unroll
        for (int r = 0; r < DEEP; r += ROWS)
            copy_part<BYTES>(at + to + r * 128, from + r * pitch, exists, row + r < left);
        from += DEEP * pitch;
    }
};

/* --- products by warps: 64 x 32 each --- */

struct warp_product {
    float sums[4][4][4], bias[4][4];

    static __device__ __forceinline__ int row() { return threadIdx.x / 128 * 64; }
    static __device__ __forceinline__ int column() { return threadIdx.x / 32 % 4 * 32; }
    __device__ __forceinline__ void begin(const shared *) {}
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
    /* at: the stage; rows, columns: of the tile that exist */
    template <bool BIAS> __device__ __forceinline__ void multiply(const shared *s, int at, int rows, int columns) {
        if (row() >= rows) return;
        if (BIAS && column() == 0)
            products<true>(s->stages[at]);
        else if (column() < columns)
            products<false>(s->stages[at]);
    }

    __device__ __forceinline__ void store(shared *s) const {
        tile_sums *to = &s->sums;
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

/* --- products by groups of four warps: 64 x 128 each --- */

/* Descriptor of rows of 64 elements in the 128-byte swizzle, read turned: as wgmma.cuh says, and the step to the next
   64 columns. Its low half alone depends on the place, in units of 16 bytes. */
__device__ __forceinline__ uint32_t turned_place(const void *at, uint32_t panel) {
    return (shared_address(at) & 0x3ffff) >> 4 | panel >> 4 << 16;
}
__device__ __forceinline__ uint64_t turned_tile(uint32_t place) {
    uint64_t step = 1024 >> 4, swizzle = 1;
    return place | step << 32 | swizzle << 62;
}

#define C16(c, i) GROUP_SUM_4(c, i), GROUP_SUM_4(c, i + 4), GROUP_SUM_4(c, i + 8), GROUP_SUM_4(c, i + 12)

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
              : GROUP_SUM_4(c, 0)
              : "l"(a), "l"(b));
}

struct group_product {
    float sums[64], bias[4];
    uint32_t left, right, ones; /* places in the first stage */

    __device__ __forceinline__ void begin(const shared *s) {
        left = turned_place(s->stages[0].dy[threadIdx.x / 128], sizeof s->stages[0].dy[0]);
        right = turned_place(s->stages[0].x, sizeof s->stages[0].x[0]);
        ones = turned_place(s->ones, 1024);
    }
    /* Before the barrier after which products read what arrived, and copies take the place of what was multiplied two
       stages ago: all but the last stage's products are done. */
    __device__ __forceinline__ void arrived() {
        group_sees_copies();
        GROUP_ASM("wgmma.wait_group.sync.aligned 1;" ::: "memory");
    }
    __device__ __forceinline__ void finish() {
        group_wait();
#pragma unroll
        for (int k = 0; k < 64; k++) group_settle(sums[k]);
#pragma unroll
        for (int k = 0; k < 4; k++) group_settle(bias[k]);
    }

    /* All of the tile, whatever exists of it: nothing here may branch. */
    template <bool BIAS> __device__ __forceinline__ void multiply(const shared *, int at, int, int) {
        uint32_t a = left + at * (uint32_t)(sizeof(stage) / 16), b = right + at * (uint32_t)(sizeof(stage) / 16);
        group_fence();
#pragma unroll
        for (int r = 0; r < DEEP; r += 16) {
            multiply_turned(sums, turned_tile(a + r * 8), turned_tile(b + r * 8));
            if (BIAS) add_turned(bias, turned_tile(a + r * 8), turned_tile(ones));
        }
        group_close();
    }

    /* The first of the two rows that this thread has sums of, of four in a part: the other is 8 below. */
    static __device__ __forceinline__ uint32_t row() { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4; }
    static __device__ __forceinline__ uint32_t column() { return threadIdx.x % 4 * 2; } /* of 8 */

    __device__ __forceinline__ void store(shared *s) const {
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
            s->groups.dw[n][threadIdx.x] = make_float4(sums[n * 4], sums[n * 4 + 1], sums[n * 4 + 2], sums[n * 4 + 3]);
        if (column()) return;
        s->groups.db[row()] = bias[0]; /* all columns are the same */
        s->groups.db[row() + 8] = bias[2];
    }
};

/* --- clusters --- */

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define CLUSTER_ASM(...) asm volatile(__VA_ARGS__)
#else
#define CLUSTER_ASM(...) (void)0
#endif

/* What every block wrote to its shared memory before it arrived, all may read after they waited. */
__device__ __forceinline__ void cluster_arrive() { CLUSTER_ASM("barrier.cluster.arrive.release;" ::: "memory"); }
/* The same for those who wrote nothing there. */
__device__ __forceinline__ void cluster_done() { CLUSTER_ASM("barrier.cluster.arrive.relaxed;" ::: "memory"); }
__device__ __forceinline__ void cluster_wait() { CLUSTER_ASM("barrier.cluster.wait.acquire;" ::: "memory"); }

/* An address of shared memory: the same place of another block of the cluster. */
__device__ __forceinline__ uint32_t place_in(uint32_t at, uint32_t rank) {
    CLUSTER_ASM("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(at) : "r"(rank));
    return at;
}
__device__ __forceinline__ float4_of load_4_from(uint32_t there) {
    float4_of x = {};
    CLUSTER_ASM("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                : "=f"(x.v[0]), "=f"(x.v[1]), "=f"(x.v[2]), "=f"(x.v[3])
                : "r"(there)
                : "memory");
    return x;
}
__device__ __forceinline__ float load_1_from(uint32_t there) {
    float x = 0;
    CLUSTER_ASM("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(there) : "memory");
    return x;
}

/* --- the tile of a block --- */

/* Adds up the slice and leaves the sums in shared memory. */
template <class P, bool BIAS, int BYTES>
__device__ __forceinline__ void add_slice(const gpu_weight_part &t, shared *s) {
    uint32_t ring = shared_address(s->stages), to = ring;
    int left = (int)t.rows, steps = (left + DEEP - 1) / DEEP, at = 0;
    copier<BYTES> dy(t.dy, t.n, t.height, 0), x(t.x, t.k, t.width, sizeof s->stages[0].dy);
    P p = {};
    p.begin(s);
    s->ones[threadIdx.x] = ONES;
#pragma unroll 1
    for (int k = 0; k < AHEAD; k++) {
        if (left > 0) {
            dy.copy(to, left);
            x.copy(to, left);
        }
        copy_close();
        to += (uint32_t)sizeof(stage);
        left -= DEEP;
    }
#pragma unroll 1
    for (int k = 0; k < steps; k++) {
        copy_wait<AHEAD - 1>();
        p.arrived();
        __syncthreads(); /* the stage is there, and everybody is done with the one that is fetched into */
        if (left > 0) {
            dy.copy(to, left);
            x.copy(to, left);
        }
        copy_close();
        p.template multiply<BIAS>(s, at, (int)t.height, (int)t.width);
        left -= DEEP;
        to = to == ring + (STAGES - 1) * (uint32_t)sizeof(stage) ? ring : to + (uint32_t)sizeof(stage);
        at = at == STAGES - 1 ? 0 : at + 1;
    }
    p.finish();
    __syncthreads(); /* the ring becomes the tile */
    p.store(s);
}

/* The same with what the block's product asks for. */
template <class P> __device__ __forceinline__ void add_slice(const gpu_weight_part &t, shared *s) {
    bool halves = (t.n | t.k) % 8;
    if (t.db && halves)
        add_slice<P, true, 8>(t, s);
    else if (t.db)
        add_slice<P, true, 16>(t, s);
    else if (halves)
        add_slice<P, false, 8>(t, s);
    else
        add_slice<P, false, 16>(t, s);
}

__device__ __forceinline__ void add_to(float4_of *sum, float4_of v) {
#pragma unroll
    for (int k = 0; k < 4; k++) sum->v[k] += v.v[k];
}

/* --- in one launch --- */

#define SHARE (TILE / 8 / CLUSTER)  /* parts of a thread that a block adds up over its cluster, */
#define SHARE_ROWS (TILE / CLUSTER) /* and its sums over rows of dY */
static_assert(GPU_WEIGHT_SHARE == SHARE * THREADS * 4 + SHARE_ROWS, "");

__device__ __forceinline__ void store_2(void *to, uint32_t dtype, uint32_t at, float a, float b) {
    if (dtype == AIRA_BF16)
        *(uint32_t *)((half16 *)to + at) = pack2(a, b);
    else
        *(float2 *)((float *)to + at) = make_float2(a, b);
}
/* Part n of this thread's sums, whose columns and first row exist. */
__device__ __forceinline__ void store_result(const gpu_weight_part &t, uint32_t n, float4_of x) {
    uint32_t i = group_product::row(), j = n * 8 + group_product::column(), at = (t.n0 + i) * t.k + t.k0 + j;
    store_2(t.dw, t.dw_dtype, at, x.v[0], x.v[1]);
    if (i + 8 < t.height) store_2(t.dw, t.dw_dtype, at + 8 * t.k, x.v[2], x.v[3]);
}
__device__ __forceinline__ void store_bias(const gpu_weight_part &t, uint32_t row, float x) {
    if (t.db_dtype == AIRA_BF16)
        ((half16 *)t.db)[t.n0 + row] = __float2bfloat16(x);
    else
        ((float *)t.db)[t.n0 + row] = x;
}

/* Counts one; what this thread knows of before it, whoever counts later reads after it. */
__device__ __forceinline__ uint32_t count_one(uint32_t *count) {
    uint32_t before;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(count) : "memory");
    return before;
}
/* Has every cluster of this tile written this block's share? Then it is this block's to add them up. */
__device__ __forceinline__ bool is_last(const gpu_weight_part &t, uint32_t *counts) {
    __shared__ uint32_t before;
    __syncthreads();
    if (threadIdx.x == 0) {
        before = count_one(&counts[t.count]);
        if (before == t.groups - 1) counts[t.count] = 0; /* for the next launch */
    }
    __syncthreads();
    return before == t.groups - 1;
}

/* What a thread adds up of its block's share: parts of dW, a sum over rows of dY, where it has them. */
struct share {
    bool has[SHARE], has_row;
    float4_of dw[SHARE];
    float db;
};

__device__ __forceinline__ share share_of(const gpu_weight_part &t) {
    share sum = {};
#pragma unroll
    for (int n = 0; n < SHARE; n++)
        sum.has[n] = (t.rank * SHARE + n) * 8 + group_product::column() < t.width && group_product::row() < t.height;
    sum.has_row = t.db && threadIdx.x < SHARE_ROWS && t.rank * SHARE_ROWS + threadIdx.x < t.height;
    return sum;
}

__device__ __forceinline__ void add_to(share *sum, const share &v) {
#pragma unroll
    for (int n = 0; n < SHARE; n++) add_to(&sum->dw[n], v.dw[n]);
    sum->db += v.db;
}

/* Adds up over the cluster, every block from itself on and round: in the order of ranks, all would read the same
   block's shared memory at the same time, and wait for it in turn. */
__device__ __forceinline__ void add_cluster(share *sum, const shared *s, uint32_t rank) {
    uint32_t dw = shared_address(&s->groups.dw[rank * SHARE][threadIdx.x]),
             db = shared_address(&s->groups.db[rank * SHARE_ROWS + threadIdx.x % SHARE_ROWS]);
    share from[CLUSTER] = {};
#pragma unroll
    for (int k = 0; k < CLUSTER; k++) {
        uint32_t other = (rank + k) % CLUSTER;
#pragma unroll
        for (int n = 0; n < SHARE; n++)
            if (sum->has[n]) from[k].dw[n] = load_4_from(place_in(dw, other) + n * (uint32_t)sizeof s->groups.dw[0]);
        if (sum->has_row) from[k].db = load_1_from(place_in(db, other));
    }
#pragma unroll
    for (int k = 0; k < CLUSTER; k++) add_to(sum, from[k]);
}

/* A share in the workspace: SHARE parts of all threads, then the sums over rows. */
__device__ __forceinline__ void leave_share(float *at, const share &v) {
#pragma unroll
    for (int n = 0; n < SHARE; n++)
        if (v.has[n]) store4(at + (n * THREADS + threadIdx.x) * 4, v.dw[n]);
    if (v.has_row) at[SHARE * THREADS * 4 + threadIdx.x] = v.db;
}
/* Adds up what `groups` left, in order; some at once. */
__device__ __forceinline__ void add_groups(share *sum, const float *at, uint32_t groups, uint64_t step) {
    constexpr uint32_t SOME = 4;
    for (uint32_t first = 0; first < groups; first += SOME) {
        share from[SOME] = {};
#pragma unroll
        for (uint32_t g = 0; g < SOME; g++) {
            if (first + g >= groups) break;
            const float *share_at = at + (first + g) * step;
#pragma unroll
            for (int n = 0; n < SHARE; n++) {
                float4 v = {};
                if (sum->has[n]) v = __ldcg((const float4 *)(share_at + (n * THREADS + threadIdx.x) * 4));
                from[g].dw[n] = {{v.x, v.y, v.z, v.w}};
            }
            if (sum->has_row) from[g].db = __ldcg(share_at + SHARE * THREADS * 4 + threadIdx.x);
        }
#pragma unroll
        for (uint32_t g = 0; g < SOME; g++) add_to(sum, from[g]); /* what is not there is 0 */
    }
}

__device__ __forceinline__ void store_share(const gpu_weight_part &t, const share &v) {
#pragma unroll
    for (int n = 0; n < SHARE; n++)
        if (v.has[n]) store_result(t, t.rank * SHARE + n, v.dw[n]);
    if (v.has_row) store_bias(t, t.rank * SHARE_ROWS + threadIdx.x, v.db);
}

__global__ void __launch_bounds__(THREADS, 2)
    weight_clusters(float *partial, const gpu_weight_part *parts, uint32_t *counts) {
    extern __shared__ __align__(1024) char memory[];
    shared *s = (shared *)memory;
    const gpu_weight_part t = parts[blockIdx.x];
    add_slice<group_product>(t, s);
    share sum = share_of(t);
    cluster_arrive();
    cluster_wait();
    add_cluster(&sum, s, t.rank);
    float *left = partial + t.partial;
    if (t.groups == 1)
        store_share(t, sum);
    else
        leave_share(left + t.group * t.step, sum);
    cluster_done(); /* what was read has arrived, since all of it is on its way to memory */
    if (t.groups > 1 && is_last(t, counts)) {
        share all = share_of(t);
        add_groups(&all, left, t.groups, t.step);
        store_share(t, all);
    }
    cluster_wait(); /* nobody leaves while others read its shared memory */
}

/* --- in two --- */

/* Partial sums lie as [slices][n k + n]; four neighbours at a time. */
__global__ void __launch_bounds__(THREADS, 2) weight_slices(float *partial, const gpu_weight_part *parts) {
    extern __shared__ __align__(1024) char memory[];
    shared *s = (shared *)memory;
    const gpu_weight_part t = parts[blockIdx.x];
    add_slice<warp_product>(t, s);
    __syncthreads();
    float *to = partial + t.partial;
    for (uint32_t unit = threadIdx.x; unit < TILE * TILE / 4; unit += THREADS) {
        uint32_t i = unit / (TILE / 4), j = unit % (TILE / 4) * 4;
        if (i < t.height && j < t.width) store4(to + (t.n0 + i) * t.k + t.k0 + j, load4(&s->sums.dw[i][j]));
    }
    if (t.db && threadIdx.x * 4 < t.height)
        store4(to + t.n * t.k + t.n0 + threadIdx.x * 4, load4(&s->sums.db[threadIdx.x * 4]));
}

/* Four neighbours of `parts` partial results that lie `step` floats apart. */
__device__ __forceinline__ float4_of add_parts(const float *from, uint32_t parts, uint64_t step) {
    float4_of sum = {};
#pragma unroll 8
    for (uint32_t k = 0; k < parts; k++) {
        float4 v = *(const float4 *)(from + k * step);
        add_to(&sum, {{v.x, v.y, v.z, v.w}});
    }
    return sum;
}

/* at: in dW and then db */
__device__ __forceinline__ void store_joined(const gpu_weight &w, uint64_t at, float4_of x) {
    uint64_t cells = (uint64_t)w.n * w.k;
    bool bias = at >= cells;
    void *to = bias ? w.db : w.dw;
    if (bias) at -= cells;
    if ((bias ? w.db_dtype : w.dw_dtype) == AIRA_BF16)
        store4((half16 *)to + at, x);
    else
        store4((float *)to + at, x);
}

__global__ void __launch_bounds__(256)
    weight_joins(const float *partial, const gpu_weight *list, const gpu_block *blocks) {
    gpu_block block = blocks[blockIdx.x];
    const gpu_weight w = list[block.member];
    uint64_t step = (uint64_t)w.n * w.k + w.n, i = (uint64_t)block.part * GPU_WEIGHT_JOIN + threadIdx.x * 4;
    if (i < step && (w.sums || i < step - w.n)) store_joined(w, i, add_parts(partial + w.partial + i, w.slices, step));
}

int gpu_weights_in_clusters(void) { return has_groups(); }

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
    error = cudaLaunchKernelEx(&how, weight_clusters, run->partial, run->parts, run->counts);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

const char *gpu_weights_run(const gpu_weights *run, cudaStream_t stream) {
    if (gpu_weights_in_clusters()) return run_clusters(run, stream);
    cudaError_t error = cudaFuncSetAttribute(weight_slices, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             (int)sizeof(shared));
    if (error != cudaSuccess) return cudaGetErrorString(error);
    weight_slices<<<run->n_blocks, THREADS, sizeof(shared), stream>>>(run->partial, run->parts);
    weight_joins<<<run->n_joins, 256, 0, stream>>>(run->partial, run->list, run->joins);
    return gpu_launched();
}
