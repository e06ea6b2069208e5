/* mlp_group_forward.cu - mlp_forward.cu by groups of four warps (sm_90a).
 *
 * Normed rows lie in shared memory as left operand of s = n up'; gelu(s), packed, is the left operand of
 * y += gelu(s) down' where it is, in registers. Between two barriers a group multiplies gelu of the chunk before with
 * `down`, then its rows with the next chunk of `up`, and computes gelu: one group after that, the other before. They
 * run different code, so that neither keeps s and gelu(s) at once: two blocks share a multiprocessor.
 */
#include "mlp_group.cuh"

#define RING 5 /* tiles of up and down in turns: two in use, two or three on their way */

template <int D> static constexpr int shared_bytes = (ROWS + RING * CHUNK) * D * 2;

/* s = the group's rows times the chunk of up */
template <int D> __device__ __forceinline__ void up_product(float *s, const half16 *rows, const half16 *up) {
    uint64_t left = group_tile(rows), right = group_tile(up);
    settle<CHUNK / 2>(s);
    group_fence();
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        int at = k / 64 * (CHUNK * 64) + k % 64;
        group_multiply(s, further(left, at), further(right, at), k > 0);
    }
    group_close();
}

__device__ __forceinline__ void soften(uint32_t (*hidden)[4], const float *s) {
#pragma unroll
    for (int k = 0; k < CHUNK / 4; k++) {
        float x0 = s[2 * k], x1 = s[2 * k + 1], half0 = 0.5f * x0, half1 = 0.5f * x1;
        hidden[k / 4][k % 4] = pack2(fmaf(half0, bend(x0, x0 * x0), half0), fmaf(half1, bend(x1, x1 * x1), half1));
    }
}

/* y += what soften left times the chunk of down */
template <int D> __device__ __forceinline__ void down_product(float *y, uint32_t (*hidden)[4], const half16 *down) {
    uint64_t right = group_tile(down);
    settle<CHUNK / 16>(hidden);
    settle<D / 2>(y);
    group_fence();
#pragma unroll
    for (int k = 0; k < CHUNK; k += 16)
#pragma unroll
        for (int n = 0; n < D; n += 64) group_multiply_rows(y + n / 2, hidden[k / 16], further(right, n * 64 + k));
    group_close();
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
__device__ __forceinline__ void finish(const mlp_forward_call &a, const float *y, half16 *panels, int64_t first,
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

/* Starts the copies of a chunk, if it exists. */
template <int D>
__device__ __forceinline__ void fetch_chunk(const mlp_forward_call &a, half16 *up, half16 *down, int chunk) {
    bool there = chunk < a.f_n / CHUNK;
    if (there) fetch_up<D>(up, a.up, chunk);
    copy_close();
    if (there) fetch_down<D>(down, a.down, a.f_n, chunk);
    copy_close();
}

/* All chunks for a group's rows: y += gelu(rows up') down'. AHEAD: gelu comes before the barrier and not after it. */
template <int D, bool AHEAD>
__device__ __forceinline__ void add_chunks(const mlp_forward_call &a, float *y, half16 *rows, half16 *ring,
                                           int64_t first) {
    constexpr int TILE = CHUNK * D;
    int chunks = a.f_n / CHUNK, now = 0; /* now: the place of this chunk's tile of up */
    float s[CHUNK / 2] = {};
    uint32_t hidden[CHUNK / 16][4];

    auto place = [&](int tile) { /* of a tile so much later than this chunk's of up */
                                 int at = now + tile;
                                 return ring + (at < RING ? at : at - RING) * TILE;
    };
    auto arrive = [&] { /* all but the last tile are there; those of the turn before nobody reads */
                        copy_wait<1>();
                        group_sees_copies();
                        block_barrier();
    };
    auto next = [&] {
        arrive();
        now = now < RING - 2 ? now + 2 : now - (RING - 2);
    };
    auto multiply_up = [&] { up_product<D>(s, rows, place(0)); };
    auto multiply_down = [&] { down_product<D>(y, hidden, place(RING - 1)); }; /* by the chunk before */
    auto finish_up = [&] {
        group_wait();
        settle<CHUNK / 2>(s);
    };
    auto finish_down = [&] {
        group_wait();
        settle<D / 2>(y);
    };

    arrive();
    multiply_up();
    fetch_chunk<D>(a, place(2), place(3), 1);
    finish_up();
    if (AHEAD) soften(hidden, s);
    for (int chunk = 1; chunk < chunks; chunk++) {
        next();
        if (!AHEAD) {
            fetch_chunk<D>(a, place(2), place(3), chunk + 1);
            soften(hidden, s);
        }
        multiply_down();
        if (AHEAD) fetch_chunk<D>(a, place(2), place(3), chunk + 1);
        finish_down();
        multiply_up();
        finish_up();
        if (AHEAD) soften(hidden, s);
    }
    next();
    if (a.residual) fetch_rows<D>(rows, a.residual, first, a.rows);
    if (!AHEAD) soften(hidden, s);
    multiply_down();
    finish_down();
}

template <int D> __global__ void __launch_bounds__(GROUP_THREADS, 2) mlp_group_forward_kernel(mlp_forward_call a) {
    extern __shared__ __align__(1024) half16 group_memory[];
    int group = group_of_thread(), row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    int64_t first = (int64_t)blockIdx.x * ROWS + group * GROUP_ROWS;
    half16 *rows = group_memory + group * GROUP_ROWS * D, *ring = group_memory + ROWS * D;
    float y[D / 2] = {};
    uint4 v[2][D / 32];
    load_rows<D, 2>(v, a.x, first + row, a.rows, threadIdx.x % 4);
    fetch_chunk<D>(a, ring, ring + CHUNK * D, 0);
    fill_rows<D>(a, v, rows, first, row);
    if (group == 0)
        add_chunks<D, true>(a, y, rows, ring, first);
    else
        add_chunks<D, false>(a, y, rows, ring, first);
    copy_wait_all();
    __syncwarp();
    finish<D>(a, y, rows, first, row);
}

const char *mlp_group_forward(int d_n, const mlp_forward_call &a, cudaStream_t stream) {
    return d_n == 64 ? launch(mlp_group_forward_kernel<64>, GROUP_THREADS, shared_bytes<64>, a, stream)
                     : launch(mlp_group_forward_kernel<128>, GROUP_THREADS, shared_bytes<128>, a, stream);
}
