/* mlp_forward.cu - the position-wise layer of narrow bf16 nets as one kernel: y = [residual +] gelu(n up') down' with
 * n = RMS norm of x; x[R,D], up[F,D], down[D,F]. What the hidden columns were is forgotten: the gradient computes them
 * again from x (mlp_backward.cu), which costs less than writing and reading them.
 */
#include "mlp.cuh"

#define HIDDEN 64 /* columns of a chunk */

/* Slots of D columns, two stages of a chunk of both weights. */
template <int D> static constexpr int shared_bytes = ROWS *D * 2 + 2 * 2 * HIDDEN *D * 2;

/* Eight threads read 64 bytes of two neighbouring rows at once and meet every bank once. */
struct pairs_of_rows {
    static __device__ __forceinline__ int up(int row, int segment) { return segment ^ (row & 1) << 2; }
    static __device__ __forceinline__ int down(int row, int segment) { return segment ^ (row & 1) << 2; }
};

/* c = rows times 32 rows of up that begin at `row`: tile j holds rows 8 (n / 2) + 2 j + n % 2 */
template <int D>
__device__ __forceinline__ void up_product(float (*c)[4][4], const uint4 *slots, const half16 *up, int row, int g,
                                           int t) {
    const half16 *mine = up + (row + 8 * (g / 2) + g % 2) * D;
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int j = 0; j < 4; j++) b[j] = *(const uint4 *)(mine + 2 * j * D + pairs_of_rows::up(g, 4 * q + t) * 8);
        if (q == 0)
            multiply<false>(c, 0, left_of_slots(slots, q), b);
        else
            multiply<true>(c, 0, left_of_slots(slots, q), b);
    }
}

/* y += l times 32 columns of down that begin at segment 4 half; tile 4 q + j holds rows 32 q + 8 (n / 2) + .. */
template <int D>
__device__ __forceinline__ void down_product(float (*y)[D / 8][4], const left &l, const half16 *down, int half, int g,
                                             int t) {
    const half16 *mine = down + (8 * (g / 2) + g % 2) * HIDDEN + pairs_of_rows::down(g, 4 * half + t) * 8;
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 b[4];
#pragma unroll
        for (int j = 0; j < 4; j++) b[j] = *(const uint4 *)(mine + (32 * q + 2 * j) * HIDDEN);
        multiply<true>(y, 4 * q, l, b);
    }
}

/* The words of row r out of 4 tiles. */
__device__ __forceinline__ uint4 pack_row(const float (*c)[4], int r) {
    return make_uint4(pack2(c[0][2 * r], c[0][2 * r + 1]), pack2(c[1][2 * r], c[1][2 * r + 1]),
                      pack2(c[2][2 * r], c[2][2 * r + 1]), pack2(c[3][2 * r], c[3][2 * r + 1]));
}

template <int D> __global__ void __launch_bounds__(THREADS, 2) mlp_forward(mlp_forward_call a) {
    extern __shared__ __align__(128) char memory[];
    constexpr int STAGE = 2 * HIDDEN * D;
    uint4 *slots = (uint4 *)memory, v[OWN][D / 32];
    half16 *weights = (half16 *)(memory + ROWS * D * 2);
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4, chunks = a.f_n / HIDDEN;
    int64_t first = (int64_t)blockIdx.x * ROWS + threadIdx.x / 32 * (8 * OWN) + g;
    float y[TILES][D / 8][4] = {};
    fetch<D, HIDDEN, pairs_of_rows>(weights, a.up, a.down, a.f_n, 0);
    load_rows<D>(v, a.x, first, a.rows, t);
    norm_rows<D>(v, a.w, a.eps, t);
    if (a.normed) store_rows<D>(a.normed, v, first, a.rows, t);
    fill_slots<D>(slots, v);
    for (int chunk = 0; chunk < chunks; chunk++) {
        const half16 *up = weights + (chunk & 1) * STAGE, *down = up + HIDDEN * D;
        copy_wait_all();
        __syncthreads(); /* this chunk is there, and nobody reads the one before */
        if (chunk + 1 < chunks)
            fetch<D, HIDDEN, pairs_of_rows>(weights + (~chunk & 1) * STAGE, a.up, a.down, a.f_n, chunk + 1);
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            float c[TILES][4][4];
            uint4 hidden[OWN];
            up_product<D>(c, slots, up, 32 * half, g, t);
#pragma unroll
            for (int k = 0; k < OWN; k++) {
#pragma unroll
                for (int j = 0; j < 4; j++)
#pragma unroll
                    for (int e = k % 2 * 2; e < k % 2 * 2 + 2; e++) c[k / 2][j][e] *= gate(c[k / 2][j][e]);
                hidden[k] = pack_row(c[k / 2], k % 2);
            }
            down_product<D>(y, left_of(hidden), down, half, g, t);
        }
    }
#pragma unroll
    for (int k = 0; k < OWN; k++) {
        int64_t row = first + 8 * k;
        uint4 more[D / 32] = {};
        if (a.residual) load_row<D>(more, a.residual, row, a.rows, t);
#pragma unroll
        for (int q = 0; q < D / 32; q++) {
            const uint32_t *pairs = (const uint32_t *)&more[q];
            float(*sum)[4] = &y[k / 2][4 * q];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                sum[j][k % 2 * 2] += low(pairs[j]);
                sum[j][k % 2 * 2 + 1] += high(pairs[j]);
            }
            if (row < a.rows) *(uint4 *)(a.y + row * D + 32 * q + 8 * t) = pack_row(sum, k % 2);
        }
    }
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

const char *gpu_mlp_forward(const gpu_call *call) {
    const gpu_view *in = call->in;
    mlp_forward_call a = {};
    int64_t d_n = gpu_last(&in[0].shape);
    a.x = (const half16 *)in[0].data;
    a.w = (const float *)in[1].data;
    a.up = (const half16 *)in[2].data;
    a.down = (const half16 *)in[3].data;
    a.residual = call->n_in > 4 ? (const half16 *)in[4].data : NULL;
    a.y = (half16 *)call->out[0].data;
    a.normed = call->n_out > 1 ? (half16 *)call->out[1].data : NULL;
    a.rows = in[0].n / d_n;
    a.f_n = (int)in[2].shape.dims[0];
    a.eps = (float)call->also->f[0];
    if (has_groups()) return mlp_group_forward((int)d_n, a, call->stream);
    return d_n == 64 ? launch(mlp_forward<64>, THREADS, shared_bytes<64>, a, call->stream)
                     : launch(mlp_forward<128>, THREADS, shared_bytes<128>, a, call->stream);
}
