/* fast_fft.c - long convolutions in O(T log T), VL channels at a time, one in each lane.
 *
 * A real signal of T values, padded to N >= 2T - 1 (a power of two), is read as N/2 complex ones, even times real and
 * odd ones imaginary. The transform is radix 2 by decimation in frequency and leaves its result in bit-reversed order;
 * the inverse takes it from there by decimation in time, so nothing is ever permuted. Between the two, spectra are in
 * natural order, 0 .. N/2. Since every lane is a channel, no channel or sequence enters another's sums.
 *
 * The kernels' spectra are made once per call; a task is then one batch and VL channels. The backward pass is a task
 * per VL channels: it goes through the batch in order, so that sums over it do not depend on the number of threads.
 */
#include <math.h>

#include "fast_kernels.h"

#define PAIR (2 * VL) /* floats of a complex vector: real parts, then imaginary ones */

typedef struct fft_job {
    const cpu_call *call;
    int64_t batch, t_n, c_n, groups, m; /* m: complex values of a signal */
    float *turn;                        /* exp(-2 pi i k / 2m), k = 0 .. m: pairs */
    int32_t *reversed;                  /* m: bit reversal */
    const float *kernel;                /* [C,T] */
    float *spectra;                     /* of the kernels: [groups][m + 1] pairs */
    float *dk;                          /* backward: [C,T] */
} fft_job;

static size_t pairs(int64_t n) { return (size_t)(n * PAIR) * sizeof(float); }

static bool prepare(const cpu_call *call, fft_job *job) {
    const aira_shape *u = &call->in[0].shape;
    *job = (fft_job){.call = call, .batch = u->dims[0], .t_n = u->dims[1], .c_n = u->dims[2], .m = 1};
    job->groups = (job->c_n + VL - 1) / VL;
    while (2 * job->m < 2 * job->t_n - 1) job->m *= 2;
    job->turn = cpu_alloc(call->worker, 2 * (size_t)(job->m + 1) * sizeof *job->turn);
    job->reversed = cpu_alloc(call->worker, (size_t)job->m * sizeof *job->reversed);
    job->kernel = fast_whole(call->worker, &call->in[1]);
    job->spectra = cpu_alloc(call->worker, pairs(job->groups * (job->m + 1)));
    if (!job->turn || !job->reversed || !job->kernel || !job->spectra) return false;
    for (int64_t k = 0; k <= job->m; k++) {
        double angle = -acos(-1) * (double)k / (double)job->m;
        job->turn[2 * k] = (float)cos(angle);
        job->turn[2 * k + 1] = (float)sin(angle);
    }
    job->reversed[0] = 0;
    for (int64_t half = 1; half < job->m; half *= 2) {
        for (int64_t k = 0; k < half; k++) {
            job->reversed[k] *= 2;
            job->reversed[half + k] = job->reversed[k] + 1;
        }
    }
    return true;
}

/* m values in natural order to their transform in bit-reversed order. */
static void transform(const fft_job *job, float *z) {
    for (int64_t half = job->m / 2; half > 0; half /= 2) {
        int64_t stride = job->m / half; /* exp(-2 pi i j / 2 half) is number j stride of turn */
        for (int64_t start = 0; start < job->m; start += 2 * half) {
            for (int64_t j = 0; j < half; j++) {
                float *p = z + (start + j) * PAIR, *q = p + half * PAIR;
                vf re = vload(p), im = vload(p + VL), qre = vload(q), qim = vload(q + VL);
                vf c = vset(job->turn[2 * j * stride]), s = vset(job->turn[2 * j * stride + 1]);
                vf dre = re - qre, dim = im - qim;
                vstore(p, re + qre);
                vstore(p + VL, im + qim);
                vstore(q, dre * c - dim * s);
                vstore(q + VL, dre * s + dim * c);
            }
        }
    }
}

/* The other way, without the factor 1/m. */
static void transform_back(const fft_job *job, float *z) {
    for (int64_t half = 1; half < job->m; half *= 2) {
        int64_t stride = job->m / half;
        for (int64_t start = 0; start < job->m; start += 2 * half) {
            for (int64_t j = 0; j < half; j++) {
                float *p = z + (start + j) * PAIR, *q = p + half * PAIR;
                vf re = vload(p), im = vload(p + VL), qre = vload(q), qim = vload(q + VL);
                vf c = vset(job->turn[2 * j * stride]), s = vset(job->turn[2 * j * stride + 1]);
                vf tre = qre * c + qim * s, tim = qim * c - qre * s;
                vstore(p, re + tre);
                vstore(p + VL, im + tim);
                vstore(q, re - tre);
                vstore(q + VL, im - tim);
            }
        }
    }
}

/* Spectrum 0 .. m of the real signal whose transform z is: X[k] = E + turn O, E and O of even and odd times. */
static void untangle(const fft_job *job, const float *z, float *spectrum) {
    for (int64_t k = 0; k <= job->m; k++) {
        const float *p = z + job->reversed[k % job->m] * PAIR, *q = z + job->reversed[(job->m - k) % job->m] * PAIR;
        vf c = vset(job->turn[2 * k]), s = vset(job->turn[2 * k + 1]);
        vf ere = 0.5f * (vload(p) + vload(q)), eim = 0.5f * (vload(p + VL) - vload(q + VL));
        vf ore = 0.5f * (vload(p + VL) + vload(q + VL)), oim = 0.5f * (vload(q) - vload(p));
        vstore(spectrum + k * PAIR, ere + ore * c - oim * s);
        vstore(spectrum + k * PAIR + VL, eim + ore * s + oim * c);
    }
}

/* The transform z of a real signal from its spectrum. */
static void tangle(const fft_job *job, const float *spectrum, float *z) {
    for (int64_t k = 0; k < job->m; k++) {
        const float *p = spectrum + k * PAIR, *q = spectrum + (job->m - k) * PAIR;
        vf c = vset(job->turn[2 * k]), s = vset(-job->turn[2 * k + 1]);
        vf ere = 0.5f * (vload(p) + vload(q)), eim = 0.5f * (vload(p + VL) - vload(q + VL));
        vf dre = 0.5f * (vload(p) - vload(q)), dim = 0.5f * (vload(p + VL) + vload(q + VL));
        vf ore = dre * c - dim * s, oim = dre * s + dim * c;
        vstore(z + job->reversed[k] * PAIR, ere - oim);
        vstore(z + job->reversed[k] * PAIR + VL, eim + ore);
    }
}

/* to (+)= a b, or a conj(b) */
static void multiply(const fft_job *job, const float *a, const float *b, bool conjugate, bool add, float *to) {
    vf sign = vset(conjugate ? -1.0f : 1.0f);
    for (int64_t k = 0; k <= job->m; k++, a += PAIR, b += PAIR, to += PAIR) {
        vf are = vload(a), aim = vload(a + VL), bre = vload(b), bim = sign * vload(b + VL);
        vf re = are * bre - aim * bim, im = are * bim + aim * bre;
        vstore(to, add ? vload(to) + re : re);
        vstore(to + VL, add ? vload(to + VL) + im : im);
    }
}

/* Spectrum of channels c .. of sequence b of a view [B,T,C]; z: scratch of m pairs. */
static void spectrum_of(const fft_job *job, const cpu_view *view, int64_t b, int64_t c, float *z, float *spectrum) {
    int64_t place = b * job->t_n * job->c_n + c, left = job->c_n - c;
    memset(z, 0, pairs(job->m));
    for (int64_t t = 0; t < job->t_n; t++) vstore(z + t * VL, fast_lanes(view, place + t * job->c_n, left));
    transform(job, z);
    untangle(job, z, spectrum);
}

/* The signal of a spectrum; 2 m values of VL lanes. */
static void signal_of(const fft_job *job, const float *spectrum, float *z) {
    vf factor = vset(1.0f / (float)job->m);
    tangle(job, spectrum, z);
    transform_back(job, z);
    for (int64_t t = 0; t < job->t_n; t++) vstore(z + t * VL, factor * vload(z + t * VL));
}

static void give_signal(const fft_job *job, const cpu_view *view, int64_t b, int64_t c, const float *z) {
    int64_t place = b * job->t_n * job->c_n + c;
    for (int64_t t = 0; t < job->t_n; t++) fast_give_lanes(view, place + t * job->c_n, job->c_n - c, vload(z + t * VL));
}

static void kernel_task(void *opaque, int64_t group, cpu_worker *worker) {
    const fft_job *job = opaque;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *z = cpu_alloc(worker, pairs(job->m));
    if (z) {
        memset(z, 0, pairs(job->m));
        for (int64_t l = 0; l < VL && group * VL + l < job->c_n; l++) {
            const float *from = job->kernel + (group * VL + l) * job->t_n;
            for (int64_t t = 0; t < job->t_n; t++) z[t * VL + l] = from[t];
        }
        transform(job, z);
        untangle(job, z, job->spectra + group * (job->m + 1) * PAIR);
    }
    cpu_release(worker, mark);
}

static void convolve_task(void *opaque, int64_t task, cpu_worker *worker) {
    const fft_job *job = opaque;
    int64_t b = task / job->groups, group = task % job->groups;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *z = cpu_alloc(worker, pairs(2 * job->m + 1)), *spectrum = z + job->m * PAIR;
    if (z) {
        spectrum_of(job, &job->call->in[0], b, group * VL, z, spectrum);
        multiply(job, spectrum, job->spectra + group * (job->m + 1) * PAIR, false, false, spectrum);
        signal_of(job, spectrum, z);
        give_signal(job, &job->call->out[0], b, group * VL, z);
    }
    cpu_release(worker, mark);
}

void FAST(fast_fft_conv)(const cpu_call *call) {
    fft_job job;
    if (!prepare(call, &job)) return;
    cpu_parallel(call->worker, job.groups, kernel_task, &job);
    cpu_parallel(call->worker, job.batch * job.groups, convolve_task, &job);
}

/* du[t] = sum_s k[s] g[t+s]: G conj(K); dk[s] = sum_b,t g[t+s] u[t]: sum_b G conj(U). */
static void backward_task(void *opaque, int64_t group, cpu_worker *worker) {
    const fft_job *job = opaque;
    int64_t whole = job->m + 1, c = group * VL;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *z = cpu_alloc(worker, pairs(job->m + 3 * whole));
    if (z) {
        float *G = z + job->m * PAIR, *U = G + whole * PAIR, *sum = U + whole * PAIR;
        memset(sum, 0, pairs(whole));
        for (int64_t b = 0; b < job->batch; b++) {
            spectrum_of(job, &job->call->in[2], b, c, z, G);
            spectrum_of(job, &job->call->in[0], b, c, z, U);
            multiply(job, G, U, true, true, sum);
            multiply(job, G, job->spectra + group * whole * PAIR, true, false, G);
            signal_of(job, G, z);
            give_signal(job, &job->call->out[0], b, c, z);
        }
        signal_of(job, sum, z);
        for (int64_t l = 0; l < VL && c + l < job->c_n; l++) {
            for (int64_t t = 0; t < job->t_n; t++) job->dk[(c + l) * job->t_n + t] = z[t * VL + l];
        }
    }
    cpu_release(worker, mark);
}

void FAST(fast_fft_conv_backward)(const cpu_call *call) {
    fft_job job;
    if (!prepare(call, &job)) return;
    job.dk = cpu_alloc(call->worker, (size_t)(job.c_n * job.t_n) * sizeof *job.dk);
    if (!job.dk) return;
    cpu_parallel(call->worker, job.groups, kernel_task, &job);
    cpu_parallel(call->worker, job.groups, backward_task, &job);
    cpu_convert(call->out[1].data, call->out[1].dtype, job.dk, AIRA_F32, job.c_n * job.t_n);
}
