/* mlp_group_backward.cu - mlp_backward.cu by groups of four warps (sm_90a).
 *
 * p = n up' takes n from registers, c = dy down takes dy from shared memory, dn += dp up takes dp from the registers
 * where it was made. Between two barriers a group multiplies dp of the chunk before with `up`, and n and dy with the
 * next chunk, all at once, and computes g and dp: one group after that, the other before. A stage is a chunk of up and
 * of down; of four, two are in use, as dp comes a chunk late, and two on their way.
 */
#include "mlp_group.cuh"

#define STAGES 4

template <int D> static constexpr int shared_bytes = (ROWS + STAGES * 2 * CHUNK) * D * 2;

/* p = n times the chunk of up */
template <int D> __device__ __forceinline__ void up_product(float *p, const uint32_t (*n)[4], const half16 *up) {
    uint64_t right = group_tile(up);
#pragma unroll
    for (int k = 0; k < D; k += 16)
        group_multiply_rows(p, n[k / 16], further(right, k / 64 * (CHUNK * 64) + k % 64), k > 0);
}

/* c = the group's rows of dy times the chunk of down */
template <int D> __device__ __forceinline__ void slope_product(float *c, const half16 *dy, const half16 *down) {
    uint64_t left = group_tile(dy), right = group_tile(down);
#pragma unroll
    for (int k = 0; k < D; k += 16)
        group_multiply_turned(c, further(left, k / 64 * (GROUP_ROWS * 64) + k % 64), further(right, k * 64), k > 0);
}

/* dn += dp times the chunk of up */
template <int D> __device__ __forceinline__ void back_product(float *dn, const uint32_t (*dp)[4], const half16 *up) {
    uint64_t right = group_tile(up);
#pragma unroll
    for (int k = 0; k < CHUNK; k += 16)
#pragma unroll
        for (int n = 0; n < D; n += 64) group_multiply(dn + n / 2, dp[k / 16], further(right, n * CHUNK + k * 64));
}

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

/* dp, packed as left operand, and both to memory; at: of the thread's first row and the chunk's part t */
__device__ __forceinline__ void slopes(const mlp_backward_call &a, uint32_t (*left)[4], const float *p, const float *c,
                                       int64_t row, int chunk) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        bool inside = row + 8 * r < a.rows;
        int at = (int)(row + 8 * r) * a.f_n + chunk * CHUNK + threadIdx.x % 4 * 8;
#pragma unroll
        for (int q = 0; q < CHUNK / 32; q++) {
            uint32_t g[4], dp[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int n = 4 * q + j, k = 4 * n + 2 * r;
                slope_pair(g[j], dp[j], p + k, c + k);
                left[n / 2][n % 2 * 2 + r] = dp[j];
            }
            store_words(a.g + at + 32 * q, g, inside);
            store_words(a.dp + at + 32 * q, dp, inside);
        }
    }
}

/* n, packed as left operand, from the thread's rows of x */
template <int D>
__device__ __forceinline__ void pack_normed(uint32_t (*n)[4], const mlp_backward_call &a, uint4 (*v)[D / 32]) {
    norm_rows<D, 2>(v, a.w, a.eps, threadIdx.x % 4);
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int q = 0; q < D / 32; q++) {
            uint32_t words[4] = {v[r][q].x, v[r][q].y, v[r][q].z, v[r][q].w};
            quad_transpose(words);
#pragma unroll
            for (int j = 0; j < 4; j++) n[2 * q + j / 2][j % 2 * 2 + r] = words[j];
        }
}

/* The norm's gradient from dn, left in x's place, and the warp's part of the gradient of w; row: the thread's first of
   its group's panels of x and of the residual. */
template <int D>
__device__ __forceinline__ void norm_slopes(const mlp_backward_call &a, const float *dn, half16 *x, half16 *residual,
                                            float *sums, int row) {
    float dw[D / 4] = {};
    int lane = threadIdx.x % 32, t = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float squares = 0, dot = 0;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            float2 w = *(const float2 *)(a.w + 8 * n + 2 * t);
            uint32_t pair = *word_at(x, row + 8 * r, n);
            squares += low(pair) * low(pair) + high(pair) * high(pair);
            dot += w.x * dn[4 * n + 2 * r] * low(pair) + w.y * dn[4 * n + 2 * r + 1] * high(pair);
        }
        float s = 1.0f / sqrtf(quad_sum(squares) / (float)D + a.eps);
        float pull = quad_sum(dot) * s * s / (float)D;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            float2 w = *(const float2 *)(a.w + 8 * n + 2 * t);
            uint32_t *at = word_at(x, row + 8 * r, n), more = a.residual ? *word_at(residual, row + 8 * r, n) : 0;
            float x0 = s * low(*at), x1 = s * high(*at), g0 = dn[4 * n + 2 * r], g1 = dn[4 * n + 2 * r + 1];
            dw[2 * n] = fmaf(g0, x0, dw[2 * n]);
            dw[2 * n + 1] = fmaf(g1, x1, dw[2 * n + 1]);
            *at = pack2(fmaf(s * w.x, g0, fmaf(-x0, pull, low(more))), fmaf(s * w.y, g1, fmaf(-x1, pull, high(more))));
        }
    }
    fold<D / 8>(dw, 16); /* lane / 4 says which values are left */
    fold<D / 16>(dw, 8);
    fold<D / 32>(dw, 4);
#pragma unroll
    for (int k = 0; k < D / 32; k++) { /* value 2 n + e is column 8 n + 2 t + e */
        int v = D / 32 * (lane / 4) + k;
        sums[threadIdx.x / 32 * D + 8 * (v / 2) + 2 * t + v % 2] = dw[k];
    }
}

template <int D> __global__ void __launch_bounds__(GROUP_THREADS) mlp_group_backward_kernel(mlp_backward_call a) {
    extern __shared__ __align__(1024) half16 group_memory[];
    constexpr int TILE = CHUNK * D, OWN_ROWS = GROUP_ROWS * D;
    int group = group_of_thread(), chunks = a.f_n / CHUNK;
    int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    int64_t first = (int64_t)blockIdx.x * ROWS + group * GROUP_ROWS;
    half16 *dy = group_memory + group * OWN_ROWS, *ring = group_memory + ROWS * D;
    float dn[D / 2] = {}, p[CHUNK / 2] = {}, c[CHUNK / 2] = {};
    uint32_t n[D / 16][4], dp[CHUNK / 16][4];

    auto up_tile = [&](int chunk) { return ring + chunk % STAGES * 2 * TILE; };
    auto down_tile = [&](int chunk) { return up_tile(chunk) + TILE; };
    auto begin = [&](int chunk) { /* copying of a chunk */
                                  if (chunk < chunks) {
                                      fetch_up<D>(up_tile(chunk), a.up, chunk);
                                      fetch_down<D>(down_tile(chunk), a.down, a.f_n, chunk);
                                  }
                                  copy_close();
    };
    auto open = [&] { /* all sums may be added to */
                      settle<CHUNK / 2>(p);
                      settle<CHUNK / 2>(c);
                      settle<D / 2>(dn);
                      group_fence();
    };
    auto finish = [&] {
        group_wait();
        settle<CHUNK / 2>(p);
        settle<CHUNK / 2>(c);
        settle<D / 2>(dn);
    };
    auto arrive = [&] { /* the next chunk; before stores, that nothing waits for them */
                        copy_wait<1>();
                        group_sees_copies();
    };

    uint4 v[2][D / 32];
    load_rows<D, 2>(v, a.x, first + row, a.rows, threadIdx.x % 4);
    fetch_rows<D>(dy, a.dy, first, a.rows);
    begin(0);
    begin(1);
    pack_normed<D>(n, a, v);
    arrive();
    __syncthreads();
    begin(2);
    open();
    up_product<D>(p, n, up_tile(0));
    slope_product<D>(c, dy, down_tile(0));
    group_close();
    finish();
    arrive();
    if (group == 0) slopes(a, dp, p, c, first + row, 0);
    for (int chunk = 1; chunk < chunks; chunk++) {
        __syncthreads(); /* this chunk is there; nobody reads the one before the last */
        if (group == 1) {
            begin(chunk + 2);
            slopes(a, dp, p, c, first + row, chunk - 1);
        }
        settle<CHUNK / 16>(dp);
        open();
        back_product<D>(dn, dp, up_tile(chunk - 1));
        up_product<D>(p, n, up_tile(chunk));
        slope_product<D>(c, dy, down_tile(chunk));
        group_close();
        if (group == 0) begin(chunk + 2);
        finish();
        arrive();
        if (group == 0) slopes(a, dp, p, c, first + row, chunk);
    }
    __syncthreads();
    half16 *x = dy, *residual = up_tile(chunks) + group * OWN_ROWS; /* a stage that nobody reads or copies */
    float *sums = (float *)up_tile(chunks + 1);
    fetch_rows<D>(x, a.x, first, a.rows);
    if (a.residual) fetch_rows<D>(residual, a.residual, first, a.rows);
    if (group == 1) slopes(a, dp, p, c, first + row, chunks - 1);
    settle<CHUNK / 16>(dp);
    open();
    back_product<D>(dn, dp, up_tile(chunks - 1));
    group_close();
    finish();
    copy_wait_all();
    __syncwarp();
    norm_slopes<D>(a, dn, x, residual, sums, row);
    __syncthreads();
    add_parts<D, GROUP_THREADS>(a, sums);
    save_rows<D>(a.dx, x, first, a.rows); /* last, that nothing waits for it */
}

const char *mlp_group_backward(int d_n, const mlp_backward_call &a, cudaStream_t stream) {
    return d_n == 64 ? launch(mlp_group_backward_kernel<64>, GROUP_THREADS, shared_bytes<64>, a, stream)
                     : launch(mlp_group_backward_kernel<128>, GROUP_THREADS, shared_bytes<128>, a, stream);
}
