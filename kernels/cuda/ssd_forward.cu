/* ssd_forward.cu - Mamba-2 forward on tensor cores (ssd_tensor.cuh), sequences of many chunks. */
#include "fast.h"
#include "ssd_tensor.cuh"

template <int P, int N> struct forward_tiles {
    half16 C[Q][N + 8], B[Q][N + 8], x[2][Q][P + 8];
    half16 S[2][P][N + 8];
    float log[SLOTS][Q], dt[SLOTS][Q];
};

/* What of head number n of the chunk has to be in shared memory. */
template <int P, int N>
__device__ void fetch_head(forward_tiles<P, N> &m, const ssd &s, const chunk &c, const half16 *states, int n) {
    int h = c.first + n;
    fetch<P>(m.x[n & 1], (const half16 *)s.x.data + x_at(s, c, h), (int64_t)s.h_n * P, c.rows, Q);
    fetch<N>(m.S[n & 1], states + piece_of(s, c, h) * P * N, N, P, P);
}

/* K[.., j] = C_i . B_j for the strip's 16 i and j up to its end */
template <int N>
__device__ __forceinline__ void products(float (*K)[4], const half16 (*C)[N + 8], const half16 (*B)[N + 8], int strip) {
#pragma unroll
    for (int k = 0; k < N; k += 16) {
        uint32_t a[4];
        left(a, &C[strip * 16][k], N + 8);
#pragma unroll
        for (int j = 0; j < Q / 16; j++) {
            uint32_t b[4];
            if (j > strip) continue;
            right_turned(b, &B[j * 16][k], N + 8);
            multiply(K + 2 * j, a, b);
        }
    }
}

/* y of one head, the strip's 16 times. */
template <int P, int N>
__device__ void strip_forward(const forward_tiles<P, N> &m, const float (*K)[4], const ssd &s, const chunk &c, int n,
                              int strip, half16 *y) {
    const float *log = m.log[n % SLOTS], *dt = m.dt[n % SLOTS];
    const half16(*x)[P + 8] = m.x[n & 1];
    int lane = threadIdx.x & 31, column = lane % 4 * 2, upper = strip * 16 + lane / 4, lower = upper + 8;
    float sum[P / 8][4] = {}, from_upper = log[upper], from_lower = log[lower];
    const half16(*S)[N + 8] = m.S[n & 1];
#pragma unroll
    for (int k = 0; k < N; k += 16) {
        uint32_t a[4], b[4];
        left(a, &m.C[strip * 16][k], N + 8);
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right_turned(b, &S[p * 16][k], N + 8);
            multiply(sum + 2 * p, a, b);
        }
    }
    float grow_upper = exp2f(from_upper), grow_lower = exp2f(from_lower);
#pragma unroll
    for (int p = 0; p < P / 8; p++)
#pragma unroll
        for (int e = 0; e < 4; e++) sum[p][e] *= e < 2 ? grow_upper : grow_lower;
#pragma unroll
    for (int j = 0; j < Q / 16; j++) {
        float M[2][4];
        uint32_t a[4], b[4];
        if (j > strip) continue;
#pragma unroll
        for (int e = 0; e < 8; e++) {
            int from = j * 16 + e / 4 * 8 + column + e % 2, to = e % 4 < 2 ? upper : lower;
            float decay = exp2f((e % 4 < 2 ? from_upper : from_lower) - log[from]) * dt[from];
            M[e / 4][e % 4] = from <= to ? K[2 * j + e / 4][e % 4] * decay : 0.0f;
        }
        as_left(a, M);
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right(b, &x[j * 16][p * 16], P + 8);
            multiply(sum + 2 * p, a, b);
        }
    }
    float skip = load<float>(s.D, (c.first + n) >> s.cut);
    half16 *to = y + x_at(s, c, c.first + n);
#pragma unroll
    for (int p = 0; p < P / 8; p++) {
        float2 v = two_at(&x[upper][p * 8 + column]), w = two_at(&x[lower][p * 8 + column]);
        int64_t step = (int64_t)s.h_n * P, at = p * 8 + column;
        if (upper < c.rows) put_two(to + upper * step + at, sum[p][0] + skip * v.x, sum[p][1] + skip * v.y);
        if (lower < c.rows) put_two(to + lower * step + at, sum[p][2] + skip * w.x, sum[p][3] + skip * w.y);
    }
}

/* blockIdx.x: chunk, y: group, z: sequence */
template <int P, int N>
__global__ void __launch_bounds__(THREADS) forward_kernel(ssd s, const half16 *states, half16 *y) {
    extern __shared__ __align__(16) unsigned char memory[];
    forward_tiles<P, N> &m = *(forward_tiles<P, N> *)memory;
    chunk c = chunk_of(s, blockIdx.x, blockIdx.y, blockIdx.z);
    int warp = threadIdx.x >> 5, strip = strip_of(warp);
    bool busy = strip * 16 < c.rows;
    float K[Q / 8][4] = {};
    fetch<N>(m.C, (const half16 *)s.C.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    fetch<N>(m.B, (const half16 *)s.B.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    fetch_head(m, s, c, states, 0);
    for (int n = 0; n < c.per; n++) {
        /* slots of eight heads that were last read eight heads ago */
        if (n % 8 == 0 && n + warp < c.per)
            running_sums(m.log[(n + warp) % SLOTS], m.dt[(n + warp) % SLOTS], s, c, c.first + n + warp);
        copy_wait_all();
        __syncthreads();
        if (n + 1 < c.per) fetch_head(m, s, c, states, n + 1);
        if (n == 0 && busy) products<N>(K, m.C, m.B, strip);
        if (busy) strip_forward<P, N>(m, K, s, c, n, strip, y);
    }
}

/* --- calls -----------------------------------------------------------------------------------------------------------
 */

static bool is_half(const gpu_view *view) { return view->dtype == AIRA_BF16 && (uintptr_t)view->data % 16 == 0; }

bool ssd_tensor_takes(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape, *b = &call->in[3].shape;
    int64_t n = b->dims[3];
    int device = 0, shared = 0;
    bool halves = is_half(&call->in[0]) && is_half(&call->in[3]) && is_half(&call->in[4]) && is_half(&call->out[0]);
    if (call->n_out > 1) halves = halves && is_half(&call->in[6]) && is_half(&call->out[3]) && is_half(&call->out[4]);
    if (!halves || (x->dims[3] != 64 && x->dims[3] != 128) || (n != 16 && n != 64 && n != 128) || call->in[0].n == 0)
        return false;
    if (gpu_is_wide(call)) return false;
    if (cudaGetDevice(&device) != cudaSuccess) return false;
    if (cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) != cudaSuccess) return false;
    return shared >= 227 * 1024;
}

bool gpu_ssd_steps_takes(const gpu_call *call) {
    return ssd_tensor_takes(call) && ssd_short_takes(ssd_halves_of(call));
}

size_t ssd_tensor_forward_bytes(const gpu_call *call) {
    ssd s = ssd_halves_of(call);
    size_t chunks = (s.t_n + Q - 1) / Q, cells = (size_t)s.batch * chunks * s.h_n * s.p_n * s.n_n;
    return ssd_short_takes(s) ? 0 : cells * sizeof(half16) + ssd_states_bytes(s);
}

template <int P, int N> static const char *launch(const gpu_call *call, const ssd &s, const half16 *states) {
    int bytes = (int)sizeof(forward_tiles<P, N>);
    cudaError_t error = cudaFuncSetAttribute(forward_kernel<P, N>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    dim3 grid((unsigned)((s.t_n + Q - 1) / Q), (unsigned)s.g_n, (unsigned)s.batch);
    forward_kernel<P, N><<<grid, THREADS, bytes, call->stream>>>(s, states, (half16 *)call->out[0].data);
    return gpu_launched();
}

template <int N> static const char *forward_as(const gpu_call *call) {
    ssd s = ssd_halves_of(call);
    half16 *states = (half16 *)call->workspace;
    size_t cells = (size_t)s.batch * ((s.t_n + Q - 1) / Q) * s.h_n * s.p_n * s.n_n;
    const char *why = ssd_states(s, false, (const half16 *)s.x.data, states + cells, states, call->stream);
    return why ? why : launch<64, N>(call, s, states);
}

const char *ssd_tensor_forward(const gpu_call *call) {
    if (ssd_short_takes(ssd_halves_of(call))) return ssd_short_forward(call);
    int64_t n = call->in[3].shape.dims[3];
    return n == 16 ? forward_as<16>(call) : n == 64 ? forward_as<64>(call) : forward_as<128>(call);
}
