/* mlp_group_backward.cu - mlp_backward.cu by groups of four warps (sm_90a).
 *
 * p = n up' and c = dy down take n and dy from shared memory, dn += dp up takes dp from the registers where it was
 * made. A group multiplies dp of the chunk before with `up`, and n and dy with the next chunk, all at once, then
 * computes g and dp, a barrier before either; the second group does everything a barrier later, so that it computes
 * while the first multiplies. Chunks are of 32 hidden columns: 128 registers hold a thread's sums, and two blocks share
 * a multiprocessor. Of three stages of up and down two are in use, as dp comes a chunk late, and one is on its way.
 *
 * Which column of a tile is which hidden column of its chunk is free as long as p, c and dn agree. Column 8 j + 2 t + e
 * of tiles is hidden column 8 t + 2 j + e: thread t of a quad then has eight neighbours of g and of dp. Rows of `up`
 * and pairs of columns of `down` are put in that order as they are copied.
 */
#include "mlp_group.cuh"

#define STAGES 3

/* n, dy, stages, a scale a row */
template <int D> static constexpr int shared_bytes = (2 * ROWS + STAGES * 2 * HIDDEN) * D * 2 + ROWS * 4;

/* --- memory --- */

/* Starts the copies of a chunk of 32 rows of up[F][D]: D / 64 panels. Hidden column 8 t + h is row 8 (h / 2) + 2 t +
   h % 2. */
template <int D> __device__ __forceinline__ void fetch_up_32(half16 *to, const half16 *up, int chunk) {
    constexpr int PARTS = D / 8, STEP = COPIERS / PARTS; /* STEP: 8 or 16 */
    unsigned thread = thread_again() % COPIERS, hidden = thread / PARTS, part = thread % PARTS;
    unsigned row = hidden % 8 / 2 * 8 + hidden / 8 * 2 + hidden % 2;
    to += part / 8 * (HIDDEN * 64);
    up += chunk * (HIDDEN * D) + thread * 8;
#pragma unroll
    for (int k = 0; k < HIDDEN; k += STEP) copy_16(to + rows_on(row_at(row) ^ part % 8 * 8, k / 4), up + k * D, true);
}
/* The same of 32 columns of down[D][F]: D rows of 32. */
template <int D> __device__ __forceinline__ void fetch_down_32(half16 *to, const half16 *down, int f_n, int chunk) {
    constexpr int PAIRS = HIDDEN / 2, STEP = COPIERS / PAIRS; /* STEP: 8 */
    unsigned thread = thread_again() % COPIERS, row = thread / PAIRS, pair = thread % PAIRS;
    to += row * HIDDEN + (pair % 4 ^ row / 2 % 4) * 8 + pair / 4 * 2;
    down += row * f_n + chunk * HIDDEN + pair * 2;
    unsigned pitch = (unsigned)f_n * (STEP * sizeof *down);
#pragma unroll
    for (int k = 0; k < D / STEP; k++)
        copy_4(to + k * STEP * HIDDEN, (const char *)down + (uint64_t)pitch * (unsigned)k, true);
}

/* --- products --- */

/* p = the group's rows of n times the chunk of up */
template <int D> __device__ __forceinline__ void up_product(float *p, const half16 *n, const half16 *up) {
    uint64_t left = group_tile(n), right = group_tile(up);
#pragma unroll
    for (int k = 0; k < D; k += 16)
        group_multiply_32<0>(p, further(left, k / 64 * (GROUP_ROWS * 64) + k % 64),
                             further(right, k / 64 * (HIDDEN * 64) + k % 64), k > 0);
}

/* c = the group's rows of dy times the chunk of down */
template <int D> __device__ __forceinline__ void slope_product(float *c, const half16 *dy, const half16 *down) {
    uint64_t left = group_tile(dy), right = group_narrow_tile(down);
#pragma unroll
    for (int k = 0; k < D; k += 16)
        group_multiply_32<1>(c, further(left, k / 64 * (GROUP_ROWS * 64) + k % 64), further(right, k * HIDDEN), k > 0);
}

/* dn += dp times the chunk of up */
template <int D> __device__ __forceinline__ void back_product(float *dn, const uint32_t (*dp)[4], const half16 *up) {
    uint64_t right = group_tile(up);
#pragma unroll
    for (int k = 0; k < HIDDEN; k += 16)
#pragma unroll
        for (int n = 0; n < D; n += 64) group_multiply(dn + n / 2, dp[k / 16], further(right, n * HIDDEN + k * 64));
}

/* --- arithmetic --- */

/* g = gelu(p), and c gelu'(p), of two neighbours */
__device__ __forceinline__ void slope_pair(uint32_t &g, uint32_t &dp, const float *p, const float *c) {
    float value[2], slope[2];
#pragma unroll
    for (int e = 0; e < 2; e++) {
        float x = p[e], square = x * x, s = fmaf(0.5f, bend(x, square), 0.5f);
        value[e] = x * s;
        slope[e] = c[e] * fmaf(fmaf(-value[e], s, value[e]), fmaf(6 * BEND_CUBIC, square, 2 * BEND), s);
    }
    g = pack2(value[0], value[1]);
    dp = pack2(slope[0], slope[1]);
}

/* dp, packed as left operand, and both to memory; at: of the thread's first row, there: how many rows follow it */
__device__ __forceinline__ void slopes(const mlp_backward_call &a, uint32_t (*left)[4], const float *p, const float *c,
                                       int at, int there) {
#pragma unroll
    for (int r = 0; r < 2; r++, at += 8 * a.f_n) {
        uint32_t g[4], dp[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            slope_pair(g[j], dp[j], p + 4 * j + 2 * r, c + 4 * j + 2 * r);
            left[j / 2][j % 2 * 2 + r] = dp[j];
        }
        if (8 * r < there) {
            *(uint4 *)(a.g + at) = make_uint4(g[0], g[1], g[2], g[3]);
            *(uint4 *)(a.dp + at) = make_uint4(dp[0], dp[1], dp[2], dp[3]);
        }
    }
}

/* The norm's gradient from dn, left in x's place, and the warp's part of the gradient of w; row: the thread's first of
   its group's panels of x and of the residual, and of scales. */
template <int D>
__device__ __forceinline__ void norm_slopes(const mlp_backward_call &a, float *dn, half16 *x, half16 *residual,
                                            const float *scales, float *sums, int row) {
    float dw[D / 4], scale[2] = {scales[row], scales[row + 8]}, dot[2] = {};
    unsigned lane = threadIdx.x % 32, t = lane % 4, word = row_at(row) + 2 * t;
    uint32_t keep = a.residual ? ~0u : 0u;
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        float2 w = *(const float2 *)(a.w + 8 * n + 2 * t);
        dw[2 * n] = dw[2 * n + 1] = 0;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float *g = dn + 4 * n + 2 * r;
            uint32_t pair = *(const uint32_t *)(x + part_at(word + r * 8 * 64, n));
            float x0 = scale[r] * low(pair), x1 = scale[r] * high(pair);
            dw[2 * n] = fmaf(g[0], x0, dw[2 * n]);
            dw[2 * n + 1] = fmaf(g[1], x1, dw[2 * n + 1]);
            g[0] *= w.x;
            g[1] *= w.y;
            dot[r] = fmaf(g[0], x0, fmaf(g[1], x1, dot[r]));
        }
    }
    fold<D / 8>(dw, 16); /* lane / 4 says which values are left */
    fold<D / 16>(dw, 8);
    fold<D / 32>(dw, 4);
#pragma unroll
    for (int k = 0; k < D / 32; k++) { /* value 2 n + e is column 8 n + 2 t + e */
        unsigned v = D / 32 * (lane / 4) + k;
        sums[threadIdx.x / 32 * D + 8 * (v / 2) + 2 * t + v % 2] = dw[k];
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float pull = -quad_sum(dot[r]) * scale[r] * scale[r] / (float)D;
#pragma unroll
        for (int n = 0; n < D / 8; n += 4) { /* four words are read before any is written */
            uint32_t pair[4], more[4];
#pragma unroll
            for (int k = 0; k < 4; k++) {
                unsigned at = part_at(word + r * 8 * 64, n + k);
                pair[k] = *(const uint32_t *)(x + at);
                more[k] = *(const uint32_t *)(residual + at) & keep;
            }
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const float *g = dn + 4 * (n + k) + 2 * r;
                *(uint32_t *)(x + part_at(word + r * 8 * 64, n + k)) = pack2(
                    fmaf(scale[r], g[0], fmaf(pull, low(pair[k]), low(more[k]))),
                    fmaf(scale[r], g[1], fmaf(pull, high(pair[k]), high(more[k]))));
            }
        }
    }
}

/* --- the kernel --- */

template <int D> __global__ void __launch_bounds__(GROUP_THREADS, 2) mlp_group_backward_kernel(mlp_backward_call a) {
    extern __shared__ __align__(1024) half16 group_memory[];
    constexpr int TILE = HIDDEN * D, OWN_ROWS = GROUP_ROWS * D;
    int group = group_of_thread(), chunks = a.f_n / HIDDEN;
    int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    int64_t first = (int64_t)blockIdx.x * ROWS + group * GROUP_ROWS;
    half16 *n = group_memory + group * OWN_ROWS, *dy = n + ROWS * D, *ring = group_memory + 2 * ROWS * D;
    float *scales = (float *)(ring + STAGES * 2 * TILE) + group * GROUP_ROWS;
    float dn[D / 2] = {}, p[HIDDEN / 2], c[HIDDEN / 2];
    uint32_t dp[HIDDEN / 16][4] = {};
    int at = (int)(first + row) * a.f_n + threadIdx.x % 4 * 8, there = rows_from(first, a.rows) - row;
    int now = 0, before = 0; /* stages of this chunk and the one before; at first dp is 0, and any weights do */

    auto up_tile = [&](int stage) { return ring + stage * (2 * TILE); };
    auto down_tile = [&](int stage) { return up_tile(stage) + TILE; };
    auto after = [&](int stage) { return stage < STAGES - 1 ? stage + 1 : 0; };
    auto begin = [&](int chunk, int stage) { /* copying of a chunk */
                                             if (chunk >= chunks) return;
                                             fetch_up_32<D>(up_tile(stage), a.up, chunk);
                                             fetch_down_32<D>(down_tile(stage), a.down, a.f_n, chunk);
    };
    auto arrive = [&] { /* all copies, for those behind the next barrier */
                        copy_wait_all();
                        group_sees_copies();
    };
    auto open = [&] { /* dn may be added to */
                      settle<HIDDEN / 16>(dp);
                      settle<D / 2>(dn);
                      group_fence();
    };
    auto finish = [&] {
        group_wait();
        settle<D / 2>(dn);
    };

    {
        uint4 v[2][D / 32];
        float scale[2];
        load_rows<D, 2>(v, a.x, first + row, a.rows, threadIdx.x % 4);
        if (group == 1) {
#pragma unroll 1
            for (int k = 0; k < 2; k++) begin(k, k);
        }
        fetch_rows<D>(dy, a.dy, first, a.rows);
        norm_rows<D, 2>(v, a.w, a.eps, threadIdx.x % 4, scale);
        put_rows<D>(n, v, row);
        if (threadIdx.x % 4 == 0) scales[row] = scale[0], scales[row + 8] = scale[1];
    }
    arrive();
    if (group == 1) block_barrier();
    for (int chunk = 0; chunk < chunks; chunk++) {
        int next = after(now);
        block_barrier(); /* for the first group: this chunk is there, and the stage after it is free */
        open();
        back_product<D>(dn, dp, up_tile(before));
        group_close();
        up_product<D>(p, n, up_tile(now));
        group_close();
        group_wait_for_older(); /* c takes registers of dp */
        group_fence();
        slope_product<D>(c, dy, down_tile(now));
        group_close();
        finish();
        settle<HIDDEN / 2>(p);
        settle<HIDDEN / 2>(c);
        if (group == 1) arrive();
        block_barrier();
        if (group == 1) begin(chunk + 2, after(next));
        if (chunk + 1 == chunks) { /* n and dy have been read */
            fetch_rows<D>(dy, a.x, first, a.rows);
            if (a.residual) fetch_rows<D>(n, a.residual, first, a.rows);
        }
        slopes(a, dp, p, c, at + chunk * HIDDEN, there);
        before = now;
        now = next;
    }
    if (group == 0) block_barrier();
    open();
    back_product<D>(dn, dp, up_tile(before));
    group_close();
    finish();
    copy_wait_all();
    __syncwarp();
    float *sums = (float *)up_tile(now); /* a stage that nobody reads or copies */
    norm_slopes<D>(a, dn, dy, n, scales, sums, row);
    __syncthreads();
    add_parts<D, GROUP_THREADS>(a, sums);
    save_rows<D>(a.dx, dy, first, a.rows); /* last, that nothing waits for it */
}

const char *mlp_group_backward(int d_n, const mlp_backward_call &a, cudaStream_t stream) {
    return d_n == 64 ? launch(mlp_group_backward_kernel<64>, GROUP_THREADS, shared_bytes<64>, a, stream)
                     : launch(mlp_group_backward_kernel<128>, GROUP_THREADS, shared_bytes<128>, a, stream);
}
