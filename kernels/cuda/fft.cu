/* fft.cu - long causal convolutions y[t] = sum_s k[s] u[t-s] and their gradients, by Fourier transforms.
 *
 * Signals are padded with zeros to L >= 2 T, so that nothing wraps around. Two sequences of one channel make one
 * complex signal: the kernel is real, so the convolution of u1 + i u2 is y1 + i y2, and the correlation of u1 + i u2
 * with g1 + i g2 has the sum of both correlations as its real part. A block transforms in shared memory: forward from
 * natural to bit-reversed order, backward from bit-reversed to natural; products do not care about the order.
 *
 * Signals lie along time in the workspace, [C][B][T], so that blocks read them in full lines: a first and a last kernel
 * turn the axes. Twiddles come from a table, computed in double.
 */
#include "element.cuh"
#include "shared.cuh"

#define THREADS 512

template <class R> struct complex { R re, im; };
template <class R> __device__ __forceinline__ complex<R> times(complex<R> a, complex<R> b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class R> __device__ __forceinline__ complex<R> conjugate(complex<R> a) { return {a.re, -a.im}; }
template <class R> __device__ __forceinline__ complex<R> plus(complex<R> a, complex<R> b) {
    return {a.re + b.re, a.im + b.im};
}
template <class R> __device__ __forceinline__ complex<R> minus(complex<R> a, complex<R> b) {
    return {a.re - b.re, a.im - b.im};
}

/* table[m] = exp(-2 pi i m / length), m < length / 2 */
template <class R> __global__ void twiddle_kernel(complex<R> *table, int length) {
    EACH(m, length / 2) {
        double s, c;
        sincospi(-2.0 * (double)m / length, &s, &c);
        table[m] = {(R)c, (R)s};
    }
}

/* All threads of the block; x is complete before and after. */
template <class R> __device__ void transform(complex<R> *x, const complex<R> *table, int length) {
    for (int half = length / 2, step = 1; half >= 1; half /= 2, step *= 2) {
        for (int i = threadIdx.x; i < length / 2; i += THREADS) {
            int j = i & (half - 1), a = 2 * i - j;
            complex<R> p = x[a], q = x[a + half];
            x[a] = plus(p, q);
            x[a + half] = times(minus(p, q), table[j * step]);
        }
        __syncthreads();
    }
}

/* The inverse, times length. */
template <class R> __device__ void transform_back(complex<R> *x, const complex<R> *table, int length) {
    for (int half = 1, step = length / 2; half < length; half *= 2, step /= 2) {
        for (int i = threadIdx.x; i < length / 2; i += THREADS) {
            int j = i & (half - 1), a = 2 * i - j;
            complex<R> p = x[a], q = times(x[a + half], conjugate(table[j * step]));
            x[a] = plus(p, q);
            x[a + half] = minus(p, q);
        }
        __syncthreads();
    }
}

/* x = first + i second, both of t_n values, and zeros; second may be NULL. Ends with a barrier. */
template <class R> __device__ void fill(complex<R> *x, const R *first, const R *second, int t_n, int length) {
    for (int i = threadIdx.x; i < length; i += THREADS)
        x[i] = {i < t_n ? first[i] : (R)0, second && i < t_n ? second[i] : (R)0};
    __syncthreads();
}

/* Everything in the workspace. */
template <class R> struct fft_space {
    complex<R> *table;                 /* [L/2] */
    complex<R> *kernel, *signal, *sum; /* [C][L] spectra: of the kernel, of a pair of u, summed conj(u) g */
    R *u, *g;                          /* [C][B][T]; u is also where y goes, g where du goes */
};

struct fft_shape {
    int batch, t_n, c_n, length;
};

/* to[c][b][t] = from[b][t][c], tiles of 32 x 32: blockIdx.x: tile of t, y: of c, z: b */
template <class R> __global__ void turn_kernel(R *to, elements from, fft_shape s) {
    __shared__ R tile[32][33];
    int b = blockIdx.z, t0 = blockIdx.x * 32, c0 = blockIdx.y * 32;
    for (int i = threadIdx.y; i < 32; i += 8) {
        int t = t0 + i, c = c0 + threadIdx.x;
        if (t < s.t_n && c < s.c_n) tile[i][threadIdx.x] = load<R>(from, ((int64_t)b * s.t_n + t) * s.c_n + c);
    }
    __syncthreads();
    for (int i = threadIdx.y; i < 32; i += 8) {
        int t = t0 + threadIdx.x, c = c0 + i;
        if (t < s.t_n && c < s.c_n) to[((int64_t)c * s.batch + b) * s.t_n + t] = tile[threadIdx.x][i];
    }
}

template <class R> __global__ void turn_back_kernel(elements to, const R *from, fft_shape s) {
    __shared__ R tile[32][33];
    int b = blockIdx.z, t0 = blockIdx.x * 32, c0 = blockIdx.y * 32;
    for (int i = threadIdx.y; i < 32; i += 8) {
        int t = t0 + threadIdx.x, c = c0 + i;
        if (t < s.t_n && c < s.c_n) tile[i][threadIdx.x] = from[((int64_t)c * s.batch + b) * s.t_n + t];
    }
    __syncthreads();
    for (int i = threadIdx.y; i < 32; i += 8) {
        int t = t0 + i, c = c0 + threadIdx.x;
        if (t < s.t_n && c < s.c_n) store<R>(to, ((int64_t)b * s.t_n + t) * s.c_n + c, tile[threadIdx.x][i]);
    }
}

/* Spectrum of every channel's kernel, divided by the length. */
template <class R>
__global__ void __launch_bounds__(THREADS) spectrum_kernel(fft_space<R> w, elements kernel, fft_shape s) {
    extern __shared__ __align__(16) unsigned char memory[];
    complex<R> *x = (complex<R> *)memory;
    int c = blockIdx.x;
    R scale = (R)1 / s.length;
    for (int i = threadIdx.x; i < s.length; i += THREADS)
        x[i] = {i < s.t_n ? load<R>(kernel, (int64_t)c * s.t_n + i) : (R)0, (R)0};
    __syncthreads();
    transform<R>(x, w.table, s.length);
    for (int i = threadIdx.x; i < s.length; i += THREADS)
        w.kernel[(int64_t)c * s.length + i] = {x[i].re * scale, x[i].im * scale};
}

/* In place of u: y. blockIdx.x: pair of sequences, y: channel */
template <class R> __global__ void __launch_bounds__(THREADS) convolve_kernel(fft_space<R> w, fft_shape s) {
    extern __shared__ __align__(16) unsigned char memory[];
    complex<R> *x = (complex<R> *)memory;
    int c = blockIdx.y, b = 2 * blockIdx.x;
    R *first = w.u + ((int64_t)c * s.batch + b) * s.t_n, *second = b + 1 < s.batch ? first + s.t_n : NULL;
    const complex<R> *kernel = w.kernel + (int64_t)c * s.length;
    fill<R>(x, first, second, s.t_n, s.length);
    transform<R>(x, w.table, s.length);
    for (int i = threadIdx.x; i < s.length; i += THREADS) x[i] = times(x[i], kernel[i]);
    __syncthreads();
    transform_back<R>(x, w.table, s.length);
    for (int i = threadIdx.x; i < s.t_n; i += THREADS) {
        first[i] = x[i].re;
        if (second) second[i] = x[i].im;
    }
}

/* One channel, all pairs in order: in place of g, du = k correlated with g; dk = sum of u correlated with g. */
template <class R>
__global__ void __launch_bounds__(THREADS) correlate_kernel(fft_space<R> w, elements dk, fft_shape s) {
    extern __shared__ __align__(16) unsigned char memory[];
    complex<R> *x = (complex<R> *)memory;
    int c = blockIdx.x;
    complex<R> *kernel = w.kernel + (int64_t)c * s.length, *signal = w.signal + (int64_t)c * s.length;
    complex<R> *sum = w.sum + (int64_t)c * s.length;
    for (int i = threadIdx.x; i < s.length; i += THREADS) sum[i] = {0, 0}; /* a thread keeps to its own i */
    for (int b = 0; b < s.batch; b += 2) {
        int64_t at = ((int64_t)c * s.batch + b) * s.t_n;
        bool pair = b + 1 < s.batch;
        fill<R>(x, w.u + at, pair ? w.u + at + s.t_n : NULL, s.t_n, s.length);
        transform<R>(x, w.table, s.length);
        for (int i = threadIdx.x; i < s.length; i += THREADS) signal[i] = conjugate(x[i]);
        __syncthreads();
        fill<R>(x, w.g + at, pair ? w.g + at + s.t_n : NULL, s.t_n, s.length);
        transform<R>(x, w.table, s.length);
        for (int i = threadIdx.x; i < s.length; i += THREADS) {
            sum[i] = plus(sum[i], times(signal[i], x[i]));
            x[i] = times(x[i], conjugate(kernel[i]));
        }
        __syncthreads();
        transform_back<R>(x, w.table, s.length);
        for (int i = threadIdx.x; i < s.t_n; i += THREADS) {
            w.g[at + i] = x[i].re;
            if (pair) w.g[at + s.t_n + i] = x[i].im;
        }
        __syncthreads();
    }
    R scale = (R)1 / s.length;
    for (int i = threadIdx.x; i < s.length; i += THREADS) x[i] = {sum[i].re * scale, sum[i].im * scale};
    __syncthreads();
    transform_back<R>(x, w.table, s.length);
    for (int i = threadIdx.x; i < s.t_n; i += THREADS) store<R>(dk, (int64_t)c * s.t_n + i, x[i].re);
}

/* --- calls -----------------------------------------------------------------------------------------------------------
 */

static fft_shape shape_of(const gpu_call *call) {
    const aira_shape *u = &call->in[0].shape;
    fft_shape s = {(int)u->dims[0], (int)u->dims[1], (int)u->dims[2], 2};
    while (s.length < 2 * s.t_n) s.length *= 2;
    return s;
}

template <class R> static fft_space<R> space_of(const fft_shape &s, char *at, bool backward, size_t *bytes) {
    size_t spectra = (size_t)s.c_n * s.length * sizeof(complex<R>),
           signals = (size_t)s.c_n * s.batch * s.t_n * sizeof(R);
    fft_space<R> w = {(complex<R> *)at};
    size_t table = ((size_t)s.length / 2 * sizeof(complex<R>) + 255) / 256 * 256;
    w.kernel = (complex<R> *)(at + table);
    w.signal = (complex<R> *)(at + table + spectra);
    w.sum = (complex<R> *)(at + table + 2 * spectra);
    char *rest = at + table + (backward ? 3 : 1) * spectra;
    w.u = (R *)rest;
    w.g = (R *)(rest + signals);
    *bytes = table + (backward ? 3 : 1) * spectra + (backward ? 2 : 1) * signals;
    return w;
}

template <class R> static size_t bytes_as(const gpu_call *call) {
    size_t bytes;
    (void)space_of<R>(shape_of(call), NULL, call->step->op == AIRA_OP_FFT_CONV_BACKWARD, &bytes);
    return bytes;
}
static size_t workspace(const gpu_call *call) {
    return gpu_is_wide(call) ? bytes_as<double>(call) : bytes_as<float>(call);
}

template <class K> static const char *allow(K kernel) {
    cudaError_t error = allow_shared(kernel);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

static dim3 turn_grid(const fft_shape &s) {
    return dim3((unsigned)((s.t_n + 31) / 32), (unsigned)((s.c_n + 31) / 32), (unsigned)s.batch);
}

/* The twiddles and the kernel's spectrum. */
template <class R>
static const char *prepare(const gpu_call *call, const fft_shape &s, const fft_space<R> &w, size_t shared) {
    const char *why = allow(spectrum_kernel<R>);
    if (why) return why;
    twiddle_kernel<R><<<blocks_for(s.length / 2, 128), 128, 0, call->stream>>>(w.table, s.length);
    spectrum_kernel<R><<<(unsigned)s.c_n, THREADS, shared, call->stream>>>(w, of(call->in[1]), s);
    return NULL;
}

template <class R> static const char *convolve_as(const gpu_call *call) {
    fft_shape s = shape_of(call);
    size_t bytes, shared = (size_t)s.length * sizeof(complex<R>);
    fft_space<R> w = space_of<R>(s, (char *)call->workspace, false, &bytes);
    const char *why = allow(convolve_kernel<R>);
    if (!why) why = prepare<R>(call, s, w, shared);
    if (why) return why;
    dim3 pairs((unsigned)((s.batch + 1) / 2), (unsigned)s.c_n), block(32, 8);
    turn_kernel<R><<<turn_grid(s), block, 0, call->stream>>>(w.u, of(call->in[0]), s);
    convolve_kernel<R><<<pairs, THREADS, shared, call->stream>>>(w, s);
    turn_back_kernel<R><<<turn_grid(s), block, 0, call->stream>>>(of(call->out[0]), w.u, s);
    return gpu_launched();
}

template <class R> static const char *correlate_as(const gpu_call *call) {
    fft_shape s = shape_of(call);
    size_t bytes, shared = (size_t)s.length * sizeof(complex<R>);
    fft_space<R> w = space_of<R>(s, (char *)call->workspace, true, &bytes);
    const char *why = allow(correlate_kernel<R>);
    if (!why) why = prepare<R>(call, s, w, shared);
    if (why) return why;
    dim3 block(32, 8);
    turn_kernel<R><<<turn_grid(s), block, 0, call->stream>>>(w.u, of(call->in[0]), s);
    turn_kernel<R><<<turn_grid(s), block, 0, call->stream>>>(w.g, of(call->in[2]), s);
    correlate_kernel<R><<<(unsigned)s.c_n, THREADS, shared, call->stream>>>(w, of(call->out[1]), s);
    turn_back_kernel<R><<<turn_grid(s), block, 0, call->stream>>>(of(call->out[0]), w.g, s);
    return gpu_launched();
}

static const char *fft_conv(const gpu_call *call) {
    if (call->out[0].n == 0) return NULL;
    return gpu_is_wide(call) ? convolve_as<double>(call) : convolve_as<float>(call);
}

static const char *fft_conv_backward(const gpu_call *call) {
    if (call->in[1].n == 0) return NULL;
    if (call->in[0].n == 0) { /* no sequences: nothing is learnt */
        cudaError_t error = cudaMemsetAsync(call->out[1].data, 0,
                                            (size_t)call->out[1].n * gpu_bytes_of(call->out[1].dtype), call->stream);
        return error == cudaSuccess ? NULL : cudaGetErrorString(error);
    }
    return gpu_is_wide(call) ? correlate_as<double>(call) : correlate_as<float>(call);
}

extern "C" const gpu_kernel gpu_fft_kernels[] = {{AIRA_OP_FFT_CONV, fft_conv, workspace},
                                                 {AIRA_OP_FFT_CONV_BACKWARD, fft_conv_backward, workspace},
                                                 {0, NULL, NULL}};
