/* mlp_group_forward.cu - mlp_forward.cu by groups of four warps (sm_90a).
 *
 * Normed rows lie in shared memory as left operand of s = n up'; gelu(s), packed, is the left operand of
 * y += gelu(s) down' where it is, in registers. A group multiplies gelu of the chunk before with `down`, and its rows
 * with the next chunk of `up`, all at once, then computes gelu. Of four stages of up and down two are in use, as gelu
 * comes a chunk late, and two are on their way.
 */
#include "mlp_group.cuh"

#define STAGES 4

template <int D> static constexpr int shared_bytes = (ROWS + STAGES * 2 * HIDDEN) * D * 2;

/* Starts the copies of a chunk of 32 rows of up[F][D]: D / 64 panels. */
template <int D> __device__ __forceinline__ void fetch_up(half16 *to, const half16 *up, int chunk) {
    constexpr int PARTS = D / 8, STEP = COPIERS / PARTS; /* STEP: rows at a time, a multiple of 8 */
    unsigned thread = thread_again() % COPIERS, row = thread / PARTS, part = thread % PARTS;
    to += part / 8 * (HIDDEN * 64) + (row_at(row) ^ part % 8 * 8);
    up += chunk * (HIDDEN * D) + thread * 8;
#pragma unroll
    for (int k = 0; k < HIDDEN; k += STEP) copy_16(to + k * 64, up + k * D, true);
}
/* The same of 32 columns of down[D][F]: D rows of 32. */
template <int D> __device__ __forceinline__ void fetch_down(half16 *to, const half16 *down, int f_n, int chunk) {
    constexpr int PARTS = HIDDEN / 8, STEP = COPIERS / PARTS;
    unsigned thread = thread_again() % COPIERS, row = thread / PARTS, part = thread % PARTS;
    to += row * HIDDEN + (part ^ row / 2 % 4) * 8;
    down += row * f_n + chunk * HIDDEN + part * 8;
#pragma unroll
    for (int k = 0; k < D; k += STEP) copy_16(to + k * HIDDEN, down + k * f_n, true);
}

/* s = the group's rows times the chunk of up */
template <int D> __device__ __forceinline__ void up_product(float *s, const half16 *rows, const half16 *up) {
    uint64_t left = group_tile(rows), right = group_tile(up);
#pragma unroll
    for (int k = 0; k < D; k += 16)
        group_multiply_32<0>(s, further(left, k / 64 * (GROUP_ROWS * 64) + k % 64),
                             further(right, k / 64 * (HIDDEN * 64) + k % 64), k > 0);
}

/* y += gelu times the chunk of down */
template <int D> __device__ __forceinline__ void down_product(float *y, uint32_t (*hidden)[4], const half16 *down) {
    uint64_t right = group_narrow_tile(down);
#pragma unroll
    for (int k = 0; k < HIDDEN; k += 16)
#pragma unroll
        for (int n = 0; n < D; n += 64) group_multiply_rows(y + n / 2, hidden[k / 16], further(right, n * HIDDEN + k));
}

__device__ __forceinline__ void soften(uint32_t (*hidden)[4], const float *s) {
#pragma unroll
    for (int k = 0; k < HIDDEN / 4; k++) {
        float x0 = s[2 * k], x1 = s[2 * k + 1], half0 = 0.5f * x0, half1 = 0.5f * x1;
        hidden[k / 4][k % 4] = pack2(fmaf(half0, bend(x0, x0 * x0), half0), fmaf(half1, bend(x1, x1 * x1), half1));
    }
}

/* Norm of the thread's rows into its group's panels, and to memory if that is wanted. */
template <int D>
__device__ __forceinline__ void fill_rows(const mlp_forward_call &a, uint4 (*v)[D / 32], half16 *panels, int64_t first,
                                          int row) {
    int t = threadIdx.x % 4;
    norm_rows<D, 2>(v, a.w, a.eps, t);
    if (a.normed) store_rows<D, 2>(a.normed, v, first + row, a.rows, t);
    put_rows<D>(panels, v, row);
}

/* Sums, and the residual that the panels hold, to memory. */
template <int D>
__device__ __forceinline__ void end_rows(const mlp_forward_call &a, const float *y, half16 *panels, int64_t first,
                                         int row) {
    unsigned word = row_at(row) + 2 * (threadIdx.x % 4);
    uint32_t keep = a.residual ? ~0u : 0u;
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int n = 0; n < D / 8; n += 4) { /* four words are read before any is written */
            uint32_t more[4];
#pragma unroll
            for (int k = 0; k < 4; k++)
                more[k] = *(const uint32_t *)(panels + part_at(word + r * 8 * 64, n + k)) & keep;
#pragma unroll
            for (int k = 0; k < 4; k++)
                *(uint32_t *)(panels + part_at(word + r * 8 * 64, n + k)) = pack2(
                    y[4 * (n + k) + 2 * r] + low(more[k]), y[4 * (n + k) + 2 * r + 1] + high(more[k]));
        }
    __syncwarp();
    save_rows<D>(a.y, panels, first, a.rows);
}

template <int D> __global__ void __launch_bounds__(GROUP_THREADS, 2) mlp_group_forward_kernel(mlp_forward_call a) {
    extern __shared__ __align__(1024) half16 group_memory[];
    constexpr int TILE = HIDDEN * D;
    int group = group_of_thread(), row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    int chunks = a.f_n / HIDDEN,
        before = 0; /* before: the chunk whose gelu is there; at first it is 0 of any weights */
    int64_t first = (int64_t)blockIdx.x * ROWS + group * GROUP_ROWS;
    half16 *rows = group_memory + group * GROUP_ROWS * D, *ring = group_memory + ROWS * D;
    float y[D / 2] = {}, s[HIDDEN / 2];
    uint32_t hidden[HIDDEN / 16][4] = {};

    auto up_tile = [&](int chunk) { return ring + chunk % STAGES * (2 * TILE); };
    auto down_tile = [&](int chunk) { return up_tile(chunk) + TILE; };
    auto begin = [&](int chunk) { /* copying of a chunk */
                                  if (chunk < chunks) {
                                      fetch_up<D>(up_tile(chunk), a.up, chunk);
                                      fetch_down<D>(down_tile(chunk), a.down, a.f_n, chunk);
                                  }
                                  copy_close();
    };
    auto open = [&] {
        settle<HIDDEN / 16>(hidden);
        settle<D / 2>(y);
        group_fence();
    };
    auto finish = [&] {
        group_close();
        group_wait();
        settle<D / 2>(y);
    };

    {
        uint4 v[2][D / 32];
        load_rows<D, 2>(v, a.x, first + row, a.rows, threadIdx.x % 4);
        if (group == 1) {
#pragma unroll 1
            for (int k = 0; k < STAGES - 1; k++) begin(k);
        }
        fill_rows<D>(a, v, rows, first, row);
    }
    copy_wait<STAGES - 2>();
    group_sees_copies();
    if (group == 1) block_barrier();
    for (int chunk = 0; chunk < chunks; chunk++) {
        block_barrier(); /* for the first group: this chunk is there, and the stage three further on is free */
        open();
        down_product<D>(y, hidden, down_tile(before));
        up_product<D>(s, rows, up_tile(chunk));
        finish();
        settle<HIDDEN / 2>(s);
        if (group == 1) {
            copy_wait<STAGES - 3>();
            group_sees_copies();
        }
        block_barrier();
        if (group == 1) begin(chunk + STAGES - 1);
        if (chunk + 1 == chunks && a.residual) fetch_rows<D>(rows, a.residual, first, a.rows); /* they have been read */
        soften(hidden, s);
        before = chunk;
    }
    if (group == 0) block_barrier();
    open();
    down_product<D>(y, hidden, down_tile(before));
    finish();
    copy_wait_all();
    __syncwarp();
    end_rows<D>(a, y, rows, first, row);
}

const char *mlp_group_forward(int d_n, const mlp_forward_call &a, cudaStream_t stream) {
    return d_n == 64 ? launch(mlp_group_forward_kernel<64>, GROUP_THREADS, shared_bytes<64>, a, stream)
                     : launch(mlp_group_forward_kernel<128>, GROUP_THREADS, shared_bytes<128>, a, stream);
}
