/* ssd_short.cu - Mamba-2 on tensor cores where one chunk holds the sequence (ssd_tensor.cuh has the formulas).
 *
 * A block of 16 warps owns a group of one sequence; four heads run beside each other, a warp two strips that together
 * have nine tiles of 16 x 16 below the diagonal. C B' is computed once, and lies in shared memory as bf16 in the order
 * of accumulators, a tile a piece of 512 bytes.
 */
#include "shared.cuh"
#include "ssd_tensor.cuh"

#define WARPS 16
#define STRIPS (Q / 16)
#define TILES (STRIPS * (STRIPS + 1) / 2) /* on and below the diagonal */
#define AT_ONCE 4                         /* heads, forward */

/* Number of the tile of rows 16 row .. and columns 16 column .., column <= row. */
__device__ __forceinline__ int tile_at(int row, int column) { return row * (row + 1) / 2 + column; }

/* All warps: K[tile] = C_i . B_j for i of the tile's rows and j of its columns. */
template <int N>
__device__ __forceinline__ void put_products(uint4 (*K)[32], const half16 (*C)[N + 8], const half16 (*B)[N + 8]) {
    for (int tile = threadIdx.x >> 5; tile < TILES; tile += WARPS) {
        int row = 0;
        while (tile_at(row + 1, 0) <= tile) row++;
        int column = tile - tile_at(row, 0);
        float c[2][4] = {};
        uint32_t a[4], b[4];
#pragma unroll
        for (int k = 0; k < N; k += 16) {
            left(a, &C[row * 16][k], N + 8);
            right_turned(b, &B[column * 16][k], N + 8);
            multiply(c, a, b);
        }
        as_left(a, c);
        K[tile][threadIdx.x & 31] = make_uint4(a[0], a[1], a[2], a[3]);
    }
}

/* A lane's eight values of a tile: rows lane / 4 and eight below, columns lane % 4 * 2 and the next, and eight on. */
__device__ __forceinline__ void spread(float (*v)[4], uint4 packed) {
    float2 a = unpacked(packed.x), b = unpacked(packed.y), c = unpacked(packed.z), d = unpacked(packed.w);
    v[0][0] = a.x, v[0][1] = a.y, v[0][2] = b.x, v[0][3] = b.y;
    v[1][0] = c.x, v[1][1] = c.y, v[1][2] = d.x, v[1][3] = d.y;
}

/* A warp's strip of 16 rows of P, from shared memory (rows P + 8 apart) to x-like memory, 16 bytes a lane. */
template <int P>
__device__ __forceinline__ void put_strip_rows(half16 *to, const half16 (*rows)[P + 8], int64_t step, int n) {
    __syncwarp();
#pragma unroll
    for (int i = threadIdx.x & 31; i < 16 * P / 8; i += 32) {
        int row = i / (P / 8), piece = i % (P / 8) * 8;
        uint4 v = *(const uint4 *)&rows[row][piece];
        if (row < n) *(uint4 *)&to[row * step + piece] = v;
    }
    __syncwarp();
}

template <int P, int N> struct short_tiles {
    union {
        struct {
            half16 C[Q][N + 8], B[Q][N + 8];
        };
        half16 y[WARPS][16][P + 8]; /* after the products of C and B: results on their way */
    };
    half16 x[AT_ONCE][Q][P + 8];
    uint4 K[TILES][32];
    /* running sums of dt A as powers of two; the same less the logarithm of dt */
    float log[AT_ONCE][Q], late[AT_ONCE][Q];
};

template <int P, int N>
__device__ __forceinline__ void fetch_heads(short_tiles<P, N> &m, const ssd &s, const chunk &c, int first) {
    for (int k = 0; k < AT_ONCE && first + k < c.per; k++)
        fetch<P>(m.x[k], (const half16 *)s.x.data + x_at(s, c, c.first + first + k), (int64_t)s.h_n * P, c.rows, Q);
}

/* One warp a head: what decays take. */
template <int P, int N>
__device__ __forceinline__ void short_sums(short_tiles<P, N> &m, const ssd &s, const chunk &c, int first) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    if (warp >= AT_ONCE || first + warp >= c.per) return;
    running_sums(m.log[warp], m.late[warp], s, c, c.first + first + warp);
#pragma unroll
    for (int i = 4 * lane; i < 4 * lane + 4; i++) m.late[warp][i] = m.log[warp][i] - __log2f(m.late[warp][i]);
}

/* y of the strip's 16 times of the head in slot k. */
template <int P, int N>
__device__ __forceinline__ void short_strip(short_tiles<P, N> &m, const ssd &s, const chunk &c, int k, int h, int strip,
                                            half16 *y) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, column = lane % 4 * 2, upper = lane / 4;
    float sum[P / 8][4] = {}, from[2] = {m.log[k][strip * 16 + upper], m.log[k][strip * 16 + upper + 8]};
    for (int j = 0; j <= strip; j++) {
        float M[2][4];
        uint32_t a[4], b[4];
        spread(M, m.K[tile_at(strip, j)][lane]);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float2 late = *(const float2 *)&m.late[k][j * 16 + half * 8 + column];
#pragma unroll
            for (int e = 0; e < 4; e++) {
                M[half][e] *= power_of_two(from[e / 2] - (e % 2 ? late.y : late.x));
                if (j == strip && half * 8 + column + e % 2 > upper + e / 2 * 8) M[half][e] = 0;
            }
        }
        as_left(a, M);
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right(b, &m.x[k][j * 16][p * 16], P + 8);
            multiply(sum + 2 * p, a, b);
        }
    }
    float skip = load<float>(s.D, h);
#pragma unroll
    for (int p = 0; p < P / 8; p++)
#pragma unroll
        for (int low = 0; low < 2; low++) {
            int row = upper + low * 8;
            float2 x = two_at(&m.x[k][strip * 16 + row][p * 8 + column]);
            put_two(&m.y[warp][row][p * 8 + column], sum[p][2 * low] + skip * x.x, sum[p][2 * low + 1] + skip * x.y);
        }
    int64_t step = (int64_t)s.h_n * P;
    put_strip_rows<P>(y + x_at(s, c, h) + strip * 16 * step, m.y[warp], step, c.rows - strip * 16);
}

/* blockIdx.x: group, y: sequence */
template <int P, int N> __global__ void __launch_bounds__(WARPS * 32, 1) short_kernel(ssd s, half16 *y) {
    extern __shared__ __align__(16) unsigned char memory[];
    short_tiles<P, N> &m = *(short_tiles<P, N> *)memory;
    chunk c = chunk_of(s, 0, blockIdx.x, blockIdx.y);
    int warp = threadIdx.x >> 5, slot = warp / 4, strip = warp % 4;
    fetch<N>(m.C, (const half16 *)s.C.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    fetch<N>(m.B, (const half16 *)s.B.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    copy_close();
    fetch_heads(m, s, c, 0);
    copy_close();
    short_sums(m, s, c, 0);
    copy_wait<1>();
    __syncthreads();
    put_products<N>(m.K, m.C, m.B);
    for (int n = 0; n < c.per; n += AT_ONCE) {
        if (n > 0) {
            __syncthreads(); /* the heads before have been done */
            fetch_heads(m, s, c, n);
            short_sums(m, s, c, n);
        }
        copy_wait_all();
        __syncthreads();
        if (n + slot >= c.per) continue;
        for (int k = 0; k < 2; k++) {
            int at = k ? STRIPS - 1 - strip : strip;
            if (at * 16 < c.rows) short_strip(m, s, c, slot, c.first + n + slot, at, y);
        }
    }
}

/* --- calls -----------------------------------------------------------------------------------------------------------
 */

template <class F, class... A>
static const char *launch(F kernel, const ssd &s, size_t bytes, cudaStream_t stream, A... a) {
    cudaError_t error = allow_shared(kernel);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    kernel<<<dim3((unsigned)s.g_n, (unsigned)s.batch), WARPS * 32, bytes, stream>>>(s, a...);
    return gpu_launched();
}

template <int N> static const char *forward_as(const gpu_call *call) {
    return launch(short_kernel<64, N>, ssd_of(call), sizeof(short_tiles<64, N>), call->stream,
                  (half16 *)call->out[0].data);
}

const char *ssd_short_forward(const gpu_call *call) {
    int64_t n = call->in[3].shape.dims[3];
    return n == 16 ? forward_as<16>(call) : n == 64 ? forward_as<64>(call) : forward_as<128>(call);
}
