/* mlp_group_forward.cu - mlp_forward.cu by groups of four warps (sm_90a).
 *
 * Normed rows lie in shared memory as left operand of s = n up'; gelu(s), packed, is the left operand of
 * y += gelu(s) down' where it is, in registers. Between two barriers a group multiplies gelu of the chunk before with
 * `down` and the rows with the next chunk of `up` at once, and computes gelu: one group after that, the other before.
 * So a stage is a chunk of up and the chunk of down before it; of three, one is in use and two are on their way.
 */
#include "mlp_group.cuh"

#define STAGES 3

template <int D> static constexpr int shared_bytes = (ROWS + STAGES * 2 * CHUNK) * D * 2;

/* s = the group's rows times the chunk of up */
template <int D> __device__ __forceinline__ void up_product(float *s, const half16 *rows, const half16 *up) {
    uint64_t left = group_tile(rows), right = group_tile(up);
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        int at = k / 64 * (CHUNK * 64) + k % 64;
        group_multiply(s, further(left, at), further(right, at), k > 0);
    }
}

/* y += hidden times the chunk of down */
template <int D>
__device__ __forceinline__ void down_product(float *y, const uint32_t (*hidden)[4], const half16 *down) {
    uint64_t right = group_tile(down);
#pragma unroll
    for (int k = 0; k < CHUNK; k += 16)
#pragma unroll
        for (int n = 0; n < D; n += 64) group_multiply_rows(y + n / 2, hidden[k / 16], further(right, n * 64 + k));
}

/* hidden = gelu(s), packed as left operand */
__device__ __forceinline__ void soften(uint32_t (*hidden)[4], const float *s) {
#pragma unroll
    for (int k = 0; k < CHUNK / 4; k++) {
        float x0 = s[2 * k], x1 = s[2 * k + 1], half0 = 0.5f * x0, half1 = 0.5f * x1;
        hidden[k / 4][k % 4] = pack2(fmaf(half0, bend(x0, x0 * x0), half0), fmaf(half1, bend(x1, x1 * x1), half1));
    }
}

/* Norm of the warp's rows into its group's panels, and to memory if that is wanted. */
template <int D>
__device__ __forceinline__ void fill_rows(const mlp_forward_call &a, half16 *panels, int64_t first, int row) {
    uint4 v[2][D / 32];
    int t = threadIdx.x % 4;
    norm_rows<D, 2>(v, a.x, a.w, first + row, a.rows, a.eps, t);
    if (a.normed) store_rows<D, 2>(a.normed, v, first + row, a.rows, t);
#pragma unroll
    for (int k = 0; k < 2; k++)
#pragma unroll
        for (int q = 0; q < D / 32; q++) *(uint4 *)part_at(panels, row + 8 * k, 4 * q + t) = v[k][q];
}

/* Sums, and the residual that the panels hold, to memory. */
template <int D>
__device__ __forceinline__ void finish(const mlp_forward_call &a, const float *y, half16 *panels, int64_t first,
                                       int row) {
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            uint32_t *at = word_at(panels, row + 8 * r, n), more = a.residual ? *at : 0;
            *at = pack2(y[4 * n + 2 * r] + low(more), y[4 * n + 2 * r + 1] + high(more));
        }
    __syncwarp();
    save_rows<D>(a.y, panels, first, a.rows);
}

template <int D> __global__ void __launch_bounds__(GROUP_THREADS) mlp_group_forward_kernel(mlp_forward_call a) {
    extern __shared__ __align__(1024) half16 group_memory[];
    constexpr int TILE = CHUNK * D;
    int group = group_of_thread(), chunks = a.f_n / CHUNK;
    int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    int64_t first = (int64_t)blockIdx.x * ROWS + group * GROUP_ROWS;
    half16 *rows = group_memory + group * GROUP_ROWS * D, *ring = group_memory + ROWS * D;
    float y[D / 2] = {}, s[CHUNK / 2] = {};
    uint32_t hidden[CHUNK / 16][4];

    auto stage = [&](int chunk) { return ring + chunk % STAGES * 2 * TILE; };
    auto begin = [&](int chunk) { /* copying of a chunk of up, and of `down` of the one before */
                                  if (chunk < chunks) fetch_up<D>(stage(chunk) + TILE, a.up, chunk);
                                  if (chunk > 0 && chunk <= chunks)
                                      fetch_down<D>(stage(chunk), a.down, a.f_n, chunk - 1);
                                  copy_close();
    };
    auto turn = [&] { /* the next stage is there; nobody reads the last one */
                      copy_wait<1>();
                      group_sees_copies();
                      __syncthreads();
    };

    begin(0);
    begin(1);
    fill_rows<D>(a, rows, first, row);
    turn();
    begin(2);
    settle<CHUNK / 2>(s);
    group_fence();
    up_product<D>(s, rows, stage(0) + TILE);
    group_close();
    group_wait();
    settle<CHUNK / 2>(s);
    if (group == 0) soften(hidden, s);
    for (int chunk = 1; chunk < chunks; chunk++) {
        turn();
        if (group == 1) {
            begin(chunk + 2);
            soften(hidden, s);
        }
        settle<CHUNK / 16>(hidden);
        settle<CHUNK / 2>(s);
        settle<D / 2>(y);
        group_fence();
        down_product<D>(y, hidden, stage(chunk));
        up_product<D>(s, rows, stage(chunk) + TILE);
        group_close();
        if (group == 0) begin(chunk + 2);
        group_wait();
        settle<CHUNK / 2>(s);
        settle<D / 2>(y);
        if (group == 0) soften(hidden, s);
    }
    turn();
    if (a.residual) fetch_rows<D>(rows, a.residual, first, a.rows);
    if (group == 1) soften(hidden, s);
    settle<CHUNK / 16>(hidden);
    settle<D / 2>(y);
    group_fence();
    down_product<D>(y, hidden, stage(chunks));
    group_close();
    group_wait();
    settle<D / 2>(y);
    copy_wait_all();
    __syncwarp();
    finish<D>(a, y, rows, first, row);
}

const char *mlp_group_forward(int d_n, const mlp_forward_call &a, cudaStream_t stream) {
    return d_n == 64 ? launch(mlp_group_forward_kernel<64>, GROUP_THREADS, shared_bytes<64>, a, stream)
                     : launch(mlp_group_forward_kernel<128>, GROUP_THREADS, shared_bytes<128>, a, stream);
}
