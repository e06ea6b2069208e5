/* ssd_short_head.cuh - a head's part of the gradients of short Mamba-2 (ssd_short_backward.cu): tiles, pieces, pairs
 * and the sums over them.
 */
#ifndef AIRA_GPU_SSD_SHORT_HEAD_CUH
#define AIRA_GPU_SSD_SHORT_HEAD_CUH

#include <stddef.h>

#include "ssd_groups.cuh"

#define OPEN 4             /* heads whose running sums are at hand */
#define ENDS 7             /* the warp that ends a head while the next is under way */
#define LEAST_DT 0x1p-100f /* steps are taken for no less, so that sums can be divided by them */

struct head_tiles {
    panel x, g;
};
struct short_back_tiles {
    union {
        state_tiles B;
        struct {
            uint4 K[3][4][GROUP]; /* units (0, 0), (0, 1), (1, 1), 16 columns each; at last dK */
            strip_rows out[WARPS];
        };
    };
    /* of heads in turn. First the second holds C; at last one holds B or C, the other dK. */
    union {
        head_tiles head;
        state_tiles state;
    } turn[2];
    /* running sums of dt A as powers of two; the same less the logarithm of dt; skip: D; rate: A */
    float log[OPEN][Q], late[OPEN][Q], dt[OPEN][Q], skip[OPEN], rate[OPEN];
    /* by strip: sums over its j of u[j,i] dt_j; sums of those over i; sums of x_j . g_j */
    alignas(16) float passed[2][WARPS][Q], whole[2][Q], diagonal[2][WARPS];
};

struct short_to {
    const half16 *g;
    half16 *dx, *dB, *dC;
    elements ddt;
    float *sums;        /* [3][B][H]: parts of dA, dD and the sum of ddt */
    elements ends[3];   /* [H]: their sums over sequences; no third without GPU_STEPS */
    bool steps;         /* GPU_STEPS */
    uint32_t *counters; /* by blockIdx.x */
};

/* --- clusters --- */

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define CLUSTER_ASM(...) asm volatile(__VA_ARGS__)
#else
#define CLUSTER_ASM(...) (void)0
#endif

/* What both blocks wrote to their shared memory before arriving, both may read after waiting. Arriving waits for what
   the thread stored to global memory. */
static __device__ __forceinline__ void cluster_arrive() { CLUSTER_ASM("barrier.cluster.arrive.release;" ::: "memory"); }
static __device__ __forceinline__ void cluster_wait() { CLUSTER_ASM("barrier.cluster.wait.acquire;" ::: "memory"); }
/* The same where nothing that was written has to be seen. */
static __device__ __forceinline__ void cluster_arrive_only() { CLUSTER_ASM("barrier.cluster.arrive.relaxed;" :::); }

/* The same place in the shared memory of another block of the cluster. */
static __device__ __forceinline__ uint4 load_from(const uint4 *at, uint32_t rank) {
    uint32_t there = (uint32_t)__cvta_generic_to_shared(at);
    uint4 x = {};
    CLUSTER_ASM("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(there) : "r"(rank));
    CLUSTER_ASM("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                : "r"(there)
                : "memory");
    return x;
}

/* --- pieces --- */

/* Where a lane leaves its sum of 16 columns' */
static __device__ __forceinline__ int column_of_sum() {
    int lane = threadIdx.x & 31;
    return (lane >> 4) * 8 + lane % 4 * 2 + (lane >> 3 & 1);
}
/* Sums over the lanes that share lane % 4 of the values of columns lane % 4 * 2, the next, and eight on; to: place of
   this lane's, if `there`. */
static __device__ __forceinline__ void put_column_sums(float *to, const float *v, bool there) {
    int lane = threadIdx.x & 31, upper = lane & 16, odd = lane & 8;
    float first = (upper ? v[2] : v[0]) + __shfl_xor_sync(0xffffffffu, upper ? v[0] : v[2], 16);
    float second = (upper ? v[3] : v[1]) + __shfl_xor_sync(0xffffffffu, upper ? v[1] : v[3], 16);
    float sum = (odd ? second : first) + __shfl_xor_sync(0xffffffffu, odd ? first : second, 8);
    sum += __shfl_xor_sync(0xffffffffu, sum, 4);
    if (there && (lane & 4) == 0) *to = sum;
}

static __device__ __forceinline__ void add_two(uint32_t &sum, uint32_t v) {
    __nv_bfloat162 a, b;
    memcpy(&a, &sum, sizeof a);
    memcpy(&b, &v, sizeof b);
    a = __hadd2(a, b);
    memcpy(&sum, &a, sizeof a);
}

/* --- products of C and B --- */

/* Two units of products, on the diagonal and in the second column, packed. One of them waits while the other runs. */
template <int N>
static __device__ __forceinline__ void units_of_K(uint32_t (*K)[16], const state_tiles &left, const state_tiles &right,
                                                  int row) {
    float c[2][32];
    group_fence();
    begin_K<N>(c[0], left, right, row, row);
    begin_K<N>(c[1], left, right, row, UNIT);
    group_wait_for_older();
    pack_K(K[0], c[0]);
    group_wait();
    pack_K(K[1], c[1]);
}

static __device__ __forceinline__ void put_unit(uint4 (*to)[GROUP], const uint32_t *v) {
#pragma unroll
    for (int k = 0; k < 4; k++)
        to[k][threadIdx.x % GROUP] = make_uint4(v[4 * k], v[4 * k + 1], v[4 * k + 2], v[4 * k + 3]);
}

/* --- sums over pairs --- */

/* Four times of a head from element `at` on, of which `rows` exist. */
static __device__ __forceinline__ void put_steps(const elements &to, const float *v, int64_t at, int step, int rows) {
    if (to.dtype == AIRA_BF16) { /* one question, and not one a store */
        half16 *first = (half16 *)to.data + at;
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (k < rows) first[k * step] = __float2bfloat16_rn(v[k]);
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (k < rows) store<float>(to, at + k * step, v[k]);
    }
}

/* One warp, after all have done head n, h of all: ddt, and this sequence's parts of dA, dD and the sum of ddt. A lane
   owns four times. Pairs of j = i are in both sums whose difference counts. */
static __device__ __forceinline__ void short_finish(const short_back_tiles &m, const ssd &s, const chunk &c, int n,
                                                    int h, const short_to &to) {
    int lane = threadIdx.x & 31;
    const float4 dts = *(const float4 *)&m.dt[n % OPEN][4 * lane], wholes = *(const float4 *)&m.whole[n & 1][4 * lane];
    const float dt[4] = {dts.x, dts.y, dts.z, dts.w}, whole[4] = {wholes.x, wholes.y, wholes.z, wholes.w};
    float passed[4] = {}, scaled[4], r[4], suffix = 0, dA = 0, dD = 0, dstep = 0, a = m.rate[n % OPEN];
#pragma unroll
    for (int strip = 0; strip < WARPS; strip++) { /* four times are of one strip */
        if (strip > lane / 4) continue;
        float4 more = *(const float4 *)&m.passed[n & 1][strip][4 * lane];
        passed[0] += more.x, passed[1] += more.y, passed[2] += more.z, passed[3] += more.w;
    }
#pragma unroll
    for (int k = 3; k >= 0; k--) {
        bool there = 4 * lane + k < c.rows;
        scaled[k] = there ? whole[k] : 0;
        if (there) suffix += passed[k] - scaled[k];
        r[k] = suffix;
    }
    float after = sum_of_later_lanes(suffix);
    float steps[4]; /* beyond the last time all is zeros */
#pragma unroll
    for (int k = 0; k < 4; k++) {
        float over = r[k] + after;
        dA += dt[k] * over;
        steps[k] = scaled[k] * inverse(fmaxf(dt[k], LEAST_DT)) + a * over;
        if (to.steps) steps[k] *= 1.0f - power_of_two(-LOG2E * dt[k]);
        dstep += steps[k];
    }
    put_steps(to.ddt, steps, ((int64_t)c.b * s.t_n + 4 * lane) * s.h_n + h, s.h_n, c.rows - 4 * lane);
    dA = warp_sum(dA);
    dstep = warp_sum(dstep);
    for (int strip = 0; strip * 16 < c.rows; strip++) dD += m.diagonal[n & 1][strip];
    if (lane != 0) return;
    int64_t heads = (int64_t)s.batch * s.h_n;
    float *sums = to.sums + (int64_t)c.b * s.h_n + h;
    sums[0] = dA;
    sums[heads] = dD;
    sums[2 * heads] = dstep;
}

/* --- a head --- */

/* A thread's two rows, j and eight below: what they take, and sums over i of u[j,i] dt_j. */
struct row_pair {
    float late[2], whole[2], skip, diagonal;
};

/* 16 rows x 16 columns: M dt, dK and sums, of columns for put_column_sums. on: on the diagonal, where pairs with i < j
   do not count, and D is added. */
template <bool DIAGONAL>
static __device__ __forceinline__ void pairs(uint32_t *M, uint32_t *dK, const float *G, uint4 K, const float2 *log_i,
                                             row_pair &j, bool on, float *columns) {
    const uint32_t words[4] = {K.x, K.y, K.z, K.w};
    int lane = threadIdx.x & 31, apart = on ? lane % 4 * 2 - lane / 4 : 8; /* i - j, but for eight columns and rows */
    float skip = apart == 0 ? j.skip : 0, skip_next = apart == -1 ? j.skip : 0;
    columns[0] = columns[1] = columns[2] = columns[3] = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) { /* columns eight on, then rows eight below */
        int half = k / 2, low = k % 2;
        bool near = DIAGONAL && half == low;
        float2 at = log_i[half], key = unpacked(words[k]);
        float decay = power_of_two(at.x - j.late[low]), next = power_of_two(at.y - j.late[low]);
        if (DIAGONAL && half < low && on) decay = next = 0;
        if (near && apart < 0) decay = 0;
        if (near && apart < -1) next = 0;
        if (near && apart == 0) j.diagonal += G[2 * k];
        if (near && apart == -1) j.diagonal += G[2 * k + 1];
        float slope = G[2 * k] * decay, slope_next = G[2 * k + 1] * next;
        M[k] = pack(key.x * decay + (near ? skip : 0), key.y * next + (near ? skip_next : 0));
        add_two(dK[k], pack(slope, slope_next));
        j.whole[low] += slope * key.x;
        j.whole[low] += slope_next * key.y;
        columns[half * 2] += slope * key.x;
        columns[half * 2 + 1] += slope_next * key.y;
    }
}

/* Where a thread finds what it takes, in bytes from the tiles on; opaque, so that they stay in registers. */
struct places {
    int K, log, passed;
};
template <class T> static __device__ __forceinline__ T *at_place(short_back_tiles &m, int place) {
    return (T *)((unsigned char *)&m + place);
}
/* On the unit of the diagonal, of head n of the block. */
static __device__ __forceinline__ places places_of(int n, int row) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, number = sizeof(float);
    places at = {(int)offsetof(short_back_tiles, K) + ((row ? 8 : 0) * GROUP + (int)threadIdx.x % GROUP) * 16,
                 (int)offsetof(short_back_tiles, log) + (n % OPEN * Q + row + lane % 4 * 2) * number,
                 (int)offsetof(short_back_tiles, passed) +
                     ((n % 2 * WARPS + warp) * Q + row + column_of_sum()) * number};
    asm volatile("" : "+r"(at.K), "+r"(at.log), "+r"(at.passed));
    return at;
}

/* dx += M g and what else a unit gives, 16 columns at a time: while a warp is at some, G of the next 16 and M g of
   those before are under way, and sums of columns are exchanged for those before. The last products are under way at
   the end, and the last columns' sums are left. Something else may be done while the first are under way. */
template <bool DIAGONAL, class Meanwhile>
static __device__ __forceinline__ void unit_back(short_back_tiles &m, float *dx, uint32_t *dK, const head_tiles &head,
                                                 const places &at, row_pair &j, float *columns, int row, int column,
                                                 Meanwhile meanwhile) {
    int strip = warp_of_block() % 4;
    uint64_t x = group_tile(head.x[row]), g = group_tile(head.g[column]);
    float G[2][8];
    uint32_t M[2][4];
    group_fence();
#pragma unroll
    for (int n = 0; n < 2; n++) {
#pragma unroll
        for (int p = 0; p < P; p += 16) group_multiply_16(G[n], further(x, p), further(g, n * 16 * 64 + p), p > 0);
        group_close();
    }
    meanwhile();
#pragma unroll
    for (int n = 0; n < UNIT / 16; n++) {
        int k = n % 2;
        const float *logs = at_place<float>(m, at.log) + 16 * n;
        const uint4 key = at_place<uint4>(m, at.K)[n * GROUP];
        const float2 log[2] = {*(const float2 *)logs, *(const float2 *)(logs + 8)};
        group_wait_for_older(); /* G is there, and M of two turns before has been taken */
        settle<8>(G[k]);
        if (DIAGONAL && n < strip) {
            M[k][0] = M[k][1] = M[k][2] = M[k][3] = 0;
        } else {
            if (!DIAGONAL || n > 0)
                put_column_sums(at_place<float>(m, at.passed) + 16 * (n - 1), columns, !DIAGONAL || n > strip);
            pairs<DIAGONAL>(M[k], dK + 4 * n, G[k], key, log, j, n == strip, columns);
        }
        group_fence();
        group_multiply(dx, M[k], further(g, n * 16 * 64));
        if (n + 2 < UNIT / 16)
#pragma unroll
            for (int p = 0; p < P; p += 16)
                group_multiply_16(G[k], further(x, p), further(g, (n + 2) * 16 * 64 + p), p > 0);
        group_close();
    }
}

/* One warp: what head n of the block, h of all, takes besides its tiles. */
static __device__ __forceinline__ void open_head(short_back_tiles &m, const ssd &s, const chunk &c, int n, int h) {
    const float *log = m.log[n % OPEN], *dt = m.dt[n % OPEN];
    int first = 4 * (threadIdx.x & 31);
    running_sums(m.log[n % OPEN], m.dt[n % OPEN], s, c, h);
#pragma unroll
    for (int i = first; i < first + 4; i++) m.late[n % OPEN][i] = log[i] - __log2f(fmaxf(dt[i], LEAST_DT));
    if (first == 0) m.skip[n % OPEN] = load<float>(s.D, h), m.rate[n % OPEN] = load<float>(s.A, h);
}

/* The slopes of K, of all heads, to where the other block takes them from. Each thread of a block comes here once. */
static __device__ __forceinline__ void leave_slopes(short_back_tiles &m, const uint32_t (*dK)[16], int own) {
    put_unit(m.K[own ? 2 : 0], dK[0]); /* where this thread's K was */
    if (own == 0) put_unit(m.K[1], dK[1]);
    cluster_arrive();
}

/* Head n of the block, h of all: dx of this warp's times, dK, and the sums that short_finish takes. What stands in the
   next turn is there and visible to products when this thread gets to its stores, which the fence would wait for; and
   so would the barrier by which the last head leaves its slopes. The warp that waits most for others on the unit of the
   diagonal ends the head before, h_before of all, meanwhile. */
static __device__ __forceinline__ void head_back(short_back_tiles &m, uint32_t (*dK)[16], const ssd &s, const chunk &c,
                                                 int n, int h, int h_before, bool last, const short_to &to) {
    const head_tiles &head = m.turn[n & 1].head;
    const float *late = m.late[n % OPEN];
    int warp = warp_of_block(), lane = threadIdx.x & 31, row = warp / 4 * UNIT, upper = warp * 16 + lane / 4;
    float dx[32], columns[4] = {};
    places at = places_of(n, row);
    row_pair j = {{late[upper], late[upper + 8]}, {0, 0}, m.skip[n % OPEN], 0};
#pragma unroll
    for (int k = 0; k < 32; k++) dx[k] = 0;
    unit_back<true>(m, dx, dK[0], head, at, j, columns, row, row, [&] {
        if (warp == ENDS && n > 0) short_finish(m, s, c, n - 1, h_before, to);
    });
    if (row == 0 && c.rows > UNIT) {
        const int across = UNIT * (int)sizeof(float);
        at = {at.K + (int)sizeof m.K[0], at.log + across, at.passed + across};
        unit_back<false>(m, dx, dK[1], head, at, j, columns, 0, UNIT, [] {});
    }
    put_column_sums(at_place<float>(m, at.passed) + UNIT - 16, columns, true);
    float upper_sum = quad_sum(j.whole[0]), lower_sum = quad_sum(j.whole[1]), diagonal = warp_sum(j.diagonal);
    if (lane % 4 == 0) m.whole[n & 1][upper] = upper_sum;
    if (lane % 4 == 0) m.whole[n & 1][upper + 8] = lower_sum;
    if (lane == 0) m.diagonal[n & 1][warp] = diagonal;
    if (last) leave_slopes(m, dK, row);
    group_wait();
    settle<32>(dx);
    if (row) {
        copy_wait_all();
        group_sees_copies();
    }
    int64_t step = (int64_t)s.h_n * P;
    put_sums<P>(to.dx + x_at(s, c, h) + warp * 16 * step, step, m.out[warp], dx, c.rows - warp * 16);
}

#endif
