/* ssd_short_backward.cu - gradients of Mamba-2 where one chunk holds the sequence, by groups of four warps (sm_90a;
 * ssd_tensor.cuh has the formulas).
 *
 * A block, or a cluster of two whose blocks take every other head (ssd_short_blocks), owns a group of one sequence. Two
 * blocks fit on a multiprocessor, and all that a block's first head takes is under way before the first product. With u
 * the pairs j <= i, cut into units of 64 x 64 (rows j, columns i; the one above the diagonal does not exist):
 *
 *     G = x g'       M = K exp(a_i - a_j)       dx = dt M g + D g       dK += G exp(a_i - a_j) dt
 *
 * K = B C' is computed once and lies in shared memory in the order of accumulators: a thread reads what it wrote. Four
 * warps own 64 times j: the first four two units, the others one. G arrives 16 columns at a time, so that dx, and dK in
 * bf16, stay in registers. At the end two blocks add each other's dK (dB and dC are sums over heads); then the first
 * computes dB = dK C, the second dC = dK' B. One block computes both.
 */
#include "last.cuh"
#include "shared.cuh"
#include "ssd_short_head.cuh"
#include "tables.h"

/* --- sums over sequences --- */

/* One warp of the block that ends last among those of the same heads: sums over sequences, in an order that does not
   depend on which block that is. h: the first head. */
template <int BLOCKS>
static __device__ __forceinline__ void add_sequences(const ssd &s, int h, int mine, const short_to &to) {
    int lane = threadIdx.x & 31;
    int64_t heads = (int64_t)s.batch * s.h_n;
    for (int n = 0; n < mine; n++, h += BLOCKS) {
        float sum[3] = {};
#pragma unroll 4
        for (int b = lane; b < s.batch; b += 32)
#pragma unroll
            for (int k = 0; k < 3; k++) sum[k] += __ldcg(to.sums + k * heads + (int64_t)b * s.h_n + h);
#pragma unroll
        for (int k = 0; k < 3; k++) sum[k] = warp_sum(sum[k]);
        if (lane == 0) {
            store<float>(to.ends[0], h, sum[0]);
            store<float>(to.ends[1], h, sum[1]);
            if (to.steps) store<float>(to.ends[2], h, sum[2]);
        }
    }
}

/* --- dB and dC --- */

/* What the other block left of a unit. */
static __device__ __forceinline__ void take_unit(uint4 *to, const uint4 (*unit)[GROUP], uint32_t rank) {
#pragma unroll
    for (int k = 0; k < 4; k++) to[k] = load_from(&unit[k][threadIdx.x % GROUP], rank ^ 1);
}
static __device__ __forceinline__ void add_unit(uint32_t *dK, const uint4 *other) {
#pragma unroll
    for (int k = 0; k < 4; k++) {
        add_two(dK[4 * k], other[k].x);
        add_two(dK[4 * k + 1], other[k].y);
        add_two(dK[4 * k + 2], other[k].z);
        add_two(dK[4 * k + 3], other[k].w);
    }
}

/* A unit of dK, rows j, to a panel of its columns. */
static __device__ __forceinline__ void put_rows(panel &to, const uint32_t *dK) {
    int lane = threadIdx.x & 31, row = threadIdx.x / 32 * 16 + (lane & 15);
#pragma unroll
    for (int k = 0; k < 16; k += 4) store_matrices(&to[row][swapped(row, k * 4 + (lane >> 4) * 8)], dK + k);
}
/* 64 x 64 of a panel from `row` on, turned: a left operand of this warp's 16 columns. */
static __device__ __forceinline__ void turned(uint32_t *a, const panel &from, int row) {
    int lane = threadIdx.x & 31, column = threadIdx.x / 32 % 4 * 16 + (lane >> 3 & 1) * 8;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        int at = row + k * 16 + (lane & 7) + (lane >> 4) * 8;
        load_transposed(a + 4 * k, &from[at][swapped(at, column)]);
    }
}

/* sum (64 x 64) += a (64 x 64) times rows of B or C. */
static __device__ __forceinline__ void add_states(float *sum, const uint32_t *a, const half16 (*states)[64]) {
    uint64_t tile = group_tile(states[0]);
    group_fence();
#pragma unroll
    for (int k = 0; k < 4; k++) group_multiply(sum, a + 4 * k, further(tile, 16 * k * 64));
    group_close();
}

/* dB or dC of this warp's rows, from slopes of the unit of the diagonal and, where there is one, of another, whose rows
   of B or C begin at `row`. Something else may be done while the first products run. */
template <int N, class Meanwhile>
static __device__ __forceinline__ void put_gradient(short_back_tiles &m, half16 *to, const state_tiles &states,
                                                    const uint32_t (*dK)[16], bool another, int row, const ssd &s,
                                                    const chunk &c, Meanwhile meanwhile) {
    int warp = warp_of_block();
    int64_t step = (int64_t)s.g_n * N;
    to += state_at(s, c, c.group) + warp * 16 * step;
#pragma unroll
    for (int n = 0; n < N; n += 64) {
        const panel &part = states.part[n / 64];
        float sum[32] = {};
        settle<32>(sum);
        add_states(sum, dK[0], part + warp / 4 * UNIT);
        if (another) add_states(sum, dK[1], part + row);
        if (n == 0) meanwhile();
        group_wait();
        settle<32>(sum);
        put_sums<(N < 64 ? N : 64)>(to + n, step, m.out[warp], sum, c.rows - warp * 16);
    }
}

/* The warp that ends the last head: adds sequences in the last block of these heads. */
template <int BLOCKS>
static __device__ __forceinline__ void end_sequences(const ssd &s, int h, int mine, bool last, const short_to &to) {
    if (!__any_sync(0xffffffffu, last)) return;
    __syncwarp();
    add_sequences<BLOCKS>(s, h, mine, to);
    if ((threadIdx.x & 31) == 0) to.counters[blockIdx.x] = 0;
}

/* The first block of a cluster: dB; the second: dC. What stands in the turn after the last is there, and all heads'
   slopes have been left. h: the block's first head. The worker, a warp of those that have one unit here, ends the last
   head. */
template <int N>
static __device__ __forceinline__ void finish_two(short_back_tiles &m, uint32_t (*dK)[16], const ssd &s, const chunk &c,
                                                  uint32_t rank, int h, int mine, const short_to &to) {
    const state_tiles &states = m.turn[mine & 1].state;
    panel *slopes = m.turn[(mine & 1) ^ 1].state.part;
    int warp = warp_of_block(), own = warp / 4;
    bool two = c.rows > UNIT, works = own == 0 || two, last = false, worker = warp == (rank ? 0 : 4) && mine > 0;
    uint4 other[2][4];
    cluster_wait();
    if (works) take_unit(other[0], m.K[own ? 2 : 0], rank);
    if (own == 0 && two) take_unit(other[1], m.K[1], rank);
    if (worker) short_finish(m, s, c, mine - 1, h + 2 * mine - 2, to); /* while they are on their way */
    if (works) add_unit(dK[0], other[0]);
    if (own == 0 && two) add_unit(dK[1], other[1]);
    if (rank == 1) {
        put_rows(slopes[own], dK[0]);
        if (own == 0) put_rows(slopes[1], dK[1]);
        __syncthreads();
        if (works) turned(dK[0], slopes[own], own * UNIT);
        if (own == 1 && two) turned(dK[1], slopes[1], 0);
    }
    auto count = [&] {
        if (worker && (threadIdx.x & 31) == 0) last = is_last(to.counters + blockIdx.x, gridDim.y);
    };
    if (works)
        put_gradient<N>(m, rank ? to.dC : to.dB, states, dK, two && own == (int)rank, own ? 0 : UNIT, s, c, count);
    else
        count();
    cluster_arrive_only(); /* all that was read from the other is in products that have ended */
    if (worker) end_sequences<2>(s, h, mine, last, to);
    cluster_wait(); /* nobody leaves while the other reads its shared memory */
}

/* A block that has all heads: dB, then dC. C stands in the turn after the last head's, B comes to that of the last. */
template <int N>
static __device__ __forceinline__ void finish_alone(short_back_tiles &m, uint32_t (*dK)[16], const ssd &s,
                                                    const chunk &c, int h, int mine, const short_to &to) {
    int warp = warp_of_block(), own = warp / 4;
    panel &slopes = *(panel *)m.K[own], &other = *(panel *)m.K[1]; /* where K was; the first has 64 rows */
    bool two = c.rows > UNIT, works = own == 0 || two, last = false, worker = warp == 4;
    put_rows(slopes, dK[0]);
    if (own == 0) put_rows(other, dK[1]);
    if (worker) short_finish(m, s, c, mine - 1, h + mine - 1, to);
    if (works) put_gradient<N>(m, to.dB, m.turn[mine & 1].state, dK, two && own == 0, UNIT, s, c, [] {});
    copy_wait_all();
    group_sees_copies();
    __syncthreads();
    if (works) turned(dK[0], slopes, own * UNIT);
    if (own == 1 && two) turned(dK[1], other, 0);
    auto count = [&] {
        if (worker && (threadIdx.x & 31) == 0) last = is_last(to.counters + blockIdx.x, gridDim.y);
    };
    if (works)
        put_gradient<N>(m, to.dC, m.turn[(mine & 1) ^ 1].state, dK, two && own == 1, 0, s, c, count);
    else
        count();
    if (worker) end_sequences<1>(s, h, mine, last, to);
}

/* --- the kernel --- */

/* What stands in turn n: head n of the block, after the last what the end takes: B or C, or C and B. By COPIERS
 * threads.
 */
template <int N, int BLOCKS, int COPIERS>
static __device__ __forceinline__ void fetch_turn(short_back_tiles &m, const ssd &s, const chunk &c, const half16 *g,
                                                  int n, int mine, uint32_t rank, int n_rows) {
    int64_t at = x_at(s, c, c.first + BLOCKS * n + (int)rank), step = (int64_t)s.h_n * P;
    if (n < mine) {
        fetch_panel<P, COPIERS>(m.turn[n & 1].head.x, (const half16 *)s.x.data + at, step, c.rows, n_rows);
        fetch_panel<P, COPIERS>(m.turn[n & 1].head.g, g + at, step, c.rows, n_rows);
    } else if (n == mine || (BLOCKS == 1 && n == mine + 1)) {
        bool is_B = BLOCKS == 1 ? n > mine : rank > 0;
        fetch_state<N, COPIERS>(m.turn[n & 1].state, is_B ? s.B : s.C, s, c, n_rows);
    }
    copy_close();
}

/* K to shared memory, where B was. C has been read then as well. */
template <int N> static __device__ __forceinline__ void make_K(short_back_tiles &m, const chunk &c) {
    uint32_t K[2][16] = {};
    int row = warp_of_block() / 4 * UNIT;
    bool two = row == 0 && c.rows > UNIT;
    if (row < c.rows) units_of_K<N>(K, m.B, m.turn[1].state, row); /* who has but one computes it twice */
    __syncthreads();
    put_unit(m.K[row ? 2 : 0], K[0]);
    if (two) put_unit(m.K[1], K[1]);
}

/* blockIdx.x: group and which of its BLOCKS, y: sequence. The second four warps, which have one unit of a head and not
   two, copy what comes after the first head. */
template <int N, int BLOCKS>
__global__ void __launch_bounds__(WARPS * 32, 2)
    short_backward_kernel(const __grid_constant__ ssd s, const __grid_constant__ short_to to) {
    extern __shared__ __align__(1024) unsigned char memory[];
    short_back_tiles &m = *(short_back_tiles *)memory;
    chunk c = chunk_of(s, 0, blockIdx.x / BLOCKS, blockIdx.y);
    uint32_t rank = blockIdx.x % BLOCKS, dK[2][16] = {};
    int warp = warp_of_block(), mine = (c.per + BLOCKS - 1 - (int)rank) / BLOCKS, n_rows = c.rows > UNIT ? Q : UNIT;
    int first = c.first + (int)rank; /* heads first, first + BLOCKS .. */
    bool copies = warp >= 4;
    fetch_state<N>(m.B, s.B, s, c, n_rows);
    fetch_state<N>(m.turn[1].state, s.C, s, c, n_rows);
    copy_close();
    fetch_turn<N, BLOCKS, WARPS * 32>(m, s, c, to.g, 0, mine, rank, n_rows);
    if (warp < OPEN && warp < mine) open_head(m, s, c, warp, first + BLOCKS * warp);
    copy_wait<1>();
    group_sees_copies();
    __syncthreads();
    make_K<N>(m, c);
    if (copies) {
        fetch_turn<N, BLOCKS, GROUP>(m, s, c, to.g, 1, mine, rank, n_rows);
        copy_wait<1>();
    } else {
        copy_wait<0>();
    }
    group_sees_copies();
    if (BLOCKS == 2 && mine == 0) leave_slopes(m, dK, warp / 4);
    __syncthreads();
    for (int n = 0; n < mine; n++) {
        bool leaves = BLOCKS == 2 && n + 1 == mine;
        int h = first + BLOCKS * n;
        if (warp == 6 && n > 1 && n + 2 < mine) open_head(m, s, c, n + 2, h + 2 * BLOCKS);
        if (!copies || c.rows > UNIT) {
            head_back(m, dK, s, c, n, h, h - BLOCKS, leaves, to);
        } else {
            if (warp == ENDS && n > 0) short_finish(m, s, c, n - 1, h - BLOCKS, to);
            if (leaves) leave_slopes(m, dK, 1);
            copy_wait_all();
            group_sees_copies();
        }
        __syncthreads(); /* its tiles have been read, its sums are there, and so is the next turn */
        if (copies) fetch_turn<N, BLOCKS, GROUP>(m, s, c, to.g, n + 2, mine, rank, n_rows);
    }
    if (BLOCKS == 2)
        finish_two<N>(m, dK, s, c, rank, first, mine, to);
    else
        finish_alone<N>(m, dK, s, c, first, mine, to);
}

/* --- calls --- */

size_t ssd_short_backward_bytes(const gpu_call *call) {
    (void)gpu_tables_counter(call->tables, 1); /* where there are none, running says so */
    return (size_t)call->in[0].shape.dims[0] * (size_t)call->in[0].shape.dims[2] * 3 * sizeof(float);
}

template <int N, int BLOCKS> static const char *launch(const ssd &s, const short_to &to, cudaStream_t stream) {
    cudaError_t error = allow_shared(short_backward_kernel<N, BLOCKS>);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    cudaLaunchAttribute cluster = {};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = BLOCKS;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    cudaLaunchConfig_t how = {};
    how.gridDim = dim3(BLOCKS * (unsigned)s.g_n, (unsigned)s.batch);
    how.blockDim = dim3(WARPS * 32);
    how.dynamicSmemBytes = sizeof(short_back_tiles);
    how.stream = stream;
    how.attrs = &cluster;
    how.numAttrs = BLOCKS > 1;
    error = cudaLaunchKernelEx(&how, short_backward_kernel<N, BLOCKS>, s, to);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}
template <int N> static const char *launch_as(const ssd &s, const short_to &to, cudaStream_t stream) {
    return ssd_short_blocks(s) == 1 ? launch<N, 1>(s, to, stream) : launch<N, 2>(s, to, stream);
}

const char *ssd_short_backward(const gpu_call *call) {
    ssd s = ssd_of(call);
    short_to to = {(const half16 *)call->in[6].data, (half16 *)call->out[0].data, (half16 *)call->out[3].data,
                   (half16 *)call->out[4].data, of(call->out[1])};
    to.sums = (float *)call->workspace;
    to.ends[0] = of(call->out[2]);
    to.ends[1] = of(call->out[5]);
    to.steps = (call->merged & GPU_STEPS) != 0;
    if (to.steps) to.ends[2] = of(call->out[6]);
    to.counters = (uint32_t *)gpu_tables_counter(call->tables, 0);
    if (!to.counters) return "no memory for counters";
    return s.n_n == 16   ? launch_as<16>(s, to, call->stream)
           : s.n_n == 64 ? launch_as<64>(s, to, call->stream)
                         : launch_as<128>(s, to, call->stream);
}
