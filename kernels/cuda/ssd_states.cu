/* ssd_states.cu - states between chunks (ssd_tensor.cuh): every chunk's own part on tensor cores, then a pass along the
 * chunks, element by element.
 */
#include "ssd_tensor.cuh"

template <int P, int N> struct state_tiles {
    half16 outer[Q][P + 8], inner[Q][N + 8];
    float log[Q], dt[Q];
};

/* local[p][n] = sum over the chunk of weight outer[p] inner[n]: x, B and exp(a_last - a) dt, or (reversed) g, C and
   exp(a). blockIdx.x: chunk, y: head, z: sequence */
template <int P, int N>
__global__ void __launch_bounds__(THREADS)
    local_kernel(ssd s, bool reversed, const half16 *outer, float *local, float *totals) {
    extern __shared__ __align__(16) unsigned char memory[];
    state_tiles<P, N> &m = *(state_tiles<P, N> *)memory;
    int h = blockIdx.y, group = h * s.g_n / s.h_n, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    chunk c = chunk_of(s, blockIdx.x, group, blockIdx.z);
    const half16 *inner = (const half16 *)(reversed ? s.C.data : s.B.data) + state_at(s, c, group);
    fetch<P>(m.outer, outer + x_at(s, c, h), (int64_t)s.h_n * P, c.rows, Q);
    fetch<N>(m.inner, inner, (int64_t)s.g_n * N, c.rows, Q);
    if (warp == 0) running_sums(m.log, m.dt, s, c, h);
    copy_wait_all();
    __syncthreads();
    for (int i = threadIdx.x; i < Q * P / 2; i += THREADS) {
        int t = i / (P / 2);
        half16 *at = &m.outer[t][i % (P / 2) * 2];
        float weight = reversed ? exp2f(m.log[t]) : exp2f(m.log[Q - 1] - m.log[t]) * m.dt[t];
        float2 v = two_at(at);
        put_two(at, v.x * weight, v.y * weight);
    }
    if (threadIdx.x == 0) totals[piece_of(s, c, h)] = m.log[Q - 1];
    __syncthreads();
    for (int piece = warp; piece < P / 16 * (N / 16); piece += THREADS / 32) {
        int p0 = piece / (N / 16) * 16, n0 = piece % (N / 16) * 16;
        float sum[2][4] = {};
#pragma unroll
        for (int t = 0; t < Q; t += 16) {
            uint32_t a[4], b[4];
            left_turned(a, &m.outer[t][p0], P + 8);
            right(b, &m.inner[t][n0], N + 8);
            multiply(sum, a, b);
        }
        float *to = local + (piece_of(s, c, h) * P + p0 + lane / 4) * N + n0 + lane % 4 * 2;
#pragma unroll
        for (int tile = 0; tile < 2; tile++)
#pragma unroll
            for (int e = 0; e < 4; e++) to[e / 2 * 8 * N + tile * 8 + e % 2] = sum[tile][e];
    }
}

/* states[chunk] = what came before it (after it, reversed); run = exp(a_last) run + local. One thread an element. */
__global__ void pass_kernel(ssd s, bool reversed, const float *local, const float *totals, half16 *states, int chunks) {
    int64_t cells = (int64_t)s.p_n * s.n_n, row = (int64_t)s.h_n * cells;
    EACH(i, s.batch * row) {
        int64_t b = i / row, rest = i % row, h = rest / cells;
        float run = 0;
        for (int k = 0; k < chunks; k++) {
            int64_t piece = b * chunks + (reversed ? chunks - 1 - k : k);
            states[piece * row + rest] = __float2bfloat16_rn(run);
            run = exp2f(totals[piece * s.h_n + h]) * run + local[piece * row + rest];
        }
    }
}

static size_t pieces_of(const ssd &s) { return (size_t)s.batch * ((s.t_n + Q - 1) / Q) * s.h_n; }

size_t ssd_states_bytes(const ssd &s) { return pieces_of(s) * ((size_t)s.p_n * s.n_n + 1) * sizeof(float); }

template <int P, int N>
static const char *states_as(const ssd &s, bool reversed, const half16 *outer, float *local, half16 *states,
                             cudaStream_t stream) {
    int chunks = (s.t_n + Q - 1) / Q, bytes = (int)sizeof(state_tiles<P, N>);
    float *totals = local + pieces_of(s) * P * N;
    cudaError_t error = cudaFuncSetAttribute(local_kernel<P, N>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    dim3 grid((unsigned)chunks, (unsigned)s.h_n, (unsigned)s.batch);
    local_kernel<P, N><<<grid, THREADS, bytes, stream>>>(s, reversed, outer, local, totals);
    int64_t n = (int64_t)s.batch * s.h_n * P * N;
    pass_kernel<<<blocks_for(n, 256), 256, 0, stream>>>(s, reversed, local, totals, states, chunks);
    return gpu_launched();
}

const char *ssd_states(const ssd &s, bool reversed, const half16 *outer, void *local, half16 *states,
                       cudaStream_t stream) {
    if (s.n_n == 16) return states_as<64, 16>(s, reversed, outer, (float *)local, states, stream);
    if (s.n_n == 64) return states_as<64, 64>(s, reversed, outer, (float *)local, states, stream);
    return states_as<64, 128>(s, reversed, outer, (float *)local, states, stream);
}
