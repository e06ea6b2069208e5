/* fast_sequence.c - causal convolution and the Mamba-1 scan, VL channels at a time, one in each lane.
 *
 * The scan's backward keeps states at the beginning of every CHUNK of times only and computes those between again,
 * chunk by chunk from the end. A task is one batch and a group of channels; what is summed over batches or over groups
 * is written per task and added in order afterwards.
 */
#include <string.h>

#include "fast_kernels.h"

#define CHUNK 32
#define GROUP 4 /* vectors of channels per task */

/* out[e] = sum over parts p of from[p][n] in order. */
static void add_parts(const cpu_view *out, int64_t start, float *from, int64_t parts, int64_t n) {
    for (int64_t p = 1; p < parts; p++) {
        for (int64_t e = 0; e < n; e++) from[e] += from[p * n + e];
    }
    cpu_convert(out->data + (size_t)start * cpu_bytes_of(out->dtype), out->dtype, from, AIRA_F32, n);
}

/* --- convolution -------------------------------------------------------------------------------------------------- */

#define CONV_ROWS 32

typedef struct conv_job {
    const cpu_call *call;
    int64_t t_n, c_n, taps, pieces;
    const float *w, *bias; /* w as [taps][C] */
    float *dw;             /* [batch][taps + 1][C]: the last row is db */
} conv_job;

static const float *turned_weights(const cpu_call *call, int64_t c_n, int64_t taps) {
    const float *w = fast_whole(call->worker, &call->in[1]);
    float *turned = cpu_alloc(call->worker, (size_t)(c_n * taps + 1) * sizeof *turned);
    for (int64_t c = 0; w && turned && c < c_n; c++) {
        for (int64_t k = 0; k < taps; k++) turned[k * c_n + c] = w[c * taps + k];
    }
    return w ? turned : NULL;
}

static void conv_task(void *opaque, int64_t task, cpu_worker *worker) {
    const conv_job *job = opaque;
    const cpu_view *x = &job->call->in[0], *y = &job->call->out[0];
    int64_t b = task / job->pieces, t0 = task % job->pieces * CONV_ROWS, c_n = job->c_n;
    int64_t t1 = t0 + CONV_ROWS < job->t_n ? t0 + CONV_ROWS : job->t_n;
    int64_t first = t0 - (job->taps - 1) > 0 ? t0 - (job->taps - 1) : 0, base = b * job->t_n * c_n;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *spare = cpu_alloc(worker, (size_t)((t1 - first + 1) * c_n) * sizeof *spare);
    if (spare) {
        float *line = spare + (t1 - first) * c_n;
        const float *rows = fast_in(x, base + first * c_n, (t1 - first) * c_n, spare);
        for (int64_t t = t0; t < t1; t++) {
            float *to = fast_out(y, base + t * c_n, line);
            for (int64_t c = 0; c < c_n; c += VL) {
                vf sum = fast_at(job->bias + c, c_n - c);
                for (int64_t k = 0; k < job->taps; k++) {
                    int64_t s = t - (job->taps - 1) + k;
                    if (s >= 0)
                        sum += fast_at(job->w + k * c_n + c, c_n - c) * fast_at(rows + (s - first) * c_n + c, c_n - c);
                }
                fast_put(to + c, c_n - c, sum);
            }
            fast_give(y, base + t * c_n, c_n, to);
        }
    }
    cpu_release(worker, mark);
}

void FAST(fast_conv1d)(const cpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    conv_job job = {.call = call, .t_n = x->dims[1], .c_n = x->dims[2], .taps = call->in[1].shape.dims[1]};
    job.w = turned_weights(call, job.c_n, job.taps);
    job.bias = fast_whole(call->worker, &call->in[2]);
    job.pieces = (job.t_n + CONV_ROWS - 1) / CONV_ROWS;
    if (job.w && job.bias) cpu_parallel(call->worker, x->dims[0] * job.pieces, conv_task, &job);
}

static void conv_backward_task(void *opaque, int64_t b, cpu_worker *worker) {
    const conv_job *job = opaque;
    const cpu_view *out = &job->call->out[0];
    int64_t n = job->t_n * job->c_n, c_n = job->c_n, reach = job->taps - 1;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *spare = cpu_alloc(worker, (size_t)(2 * n + c_n) * sizeof *spare),
          *sums = job->dw + b * (job->taps + 1) * c_n;
    memset(sums, 0, (size_t)((job->taps + 1) * c_n) * sizeof *sums);
    if (spare) {
        const float *x = fast_in(&job->call->in[0], b * n, n, spare),
                    *g = fast_in(&job->call->in[2], b * n, n, spare + n);
        for (int64_t t = 0; t < job->t_n; t++) {
            float *to = fast_out(out, b * n + t * c_n, spare + 2 * n);
            for (int64_t c = 0; c < c_n; c += VL) {
                int64_t m = c_n - c;
                vf sum = vset(0.0f), gt = fast_at(g + t * c_n + c, m);
                for (int64_t k = 0; k < job->taps; k++) {
                    int64_t later = t + reach - k, earlier = t - reach + k;
                    float *dw = sums + k * c_n + c;
                    if (later < job->t_n) sum += fast_at(job->w + k * c_n + c, m) * fast_at(g + later * c_n + c, m);
                    if (earlier >= 0) fast_put(dw, m, fast_at(dw, m) + gt * fast_at(x + earlier * c_n + c, m));
                }
                fast_put(to + c, m, sum);
                fast_put(sums + job->taps * c_n + c, m, fast_at(sums + job->taps * c_n + c, m) + gt);
            }
            fast_give(out, b * n + t * c_n, c_n, to);
        }
    }
    cpu_release(worker, mark);
}

void FAST(fast_conv1d_backward)(const cpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    conv_job job = {.call = call, .t_n = x->dims[1], .c_n = x->dims[2], .taps = call->in[1].shape.dims[1]};
    int64_t batch = x->dims[0], n = (job.taps + 1) * job.c_n;
    job.w = turned_weights(call, job.c_n, job.taps);
    job.dw = cpu_alloc(call->worker, (size_t)(batch * n + job.taps * job.c_n) * sizeof *job.dw);
    if (!job.w || !job.dw) return;
    cpu_parallel(call->worker, batch, conv_backward_task, &job);
    for (int64_t b = 1; b < batch; b++) {
        for (int64_t e = 0; e < n; e++) job.dw[e] += job.dw[b * n + e];
    }
    float *turned = job.dw + batch * n;
    for (int64_t c = 0; c < job.c_n; c++) {
        for (int64_t k = 0; k < job.taps; k++) turned[c * job.taps + k] = job.dw[k * job.c_n + c];
    }
    cpu_convert(call->out[1].data, call->out[1].dtype, turned, AIRA_F32, job.taps * job.c_n);
    cpu_convert(call->out[2].data, call->out[2].dtype, job.dw + job.taps * job.c_n, AIRA_F32, job.c_n);
}

/* --- scan --------------------------------------------------------------------------------------------------------- */

typedef struct scan_job {
    const cpu_call *call;
    int64_t batch, t_n, c_n, n_n, groups;
    const float *A, *B, *C, *D;
    float *dA, *dD, *dB, *dC; /* [batch][C,N], [batch][C]; [batch][groups][T,N] */
} scan_job;

/* A of VL channels as [N][VL]. */
static void turn_A(const scan_job *job, int64_t c, float *to) {
    for (int64_t n = 0; n < job->n_n; n++) {
        for (int64_t l = 0; l < VL; l++) to[n * VL + l] = c + l < job->c_n ? job->A[(c + l) * job->n_n + n] : 0.0f;
    }
}

static bool scan_prepare(const cpu_call *call, scan_job *job) {
    const aira_shape *u = &call->in[0].shape;
    *job = (scan_job){.call = call, .batch = u->dims[0], .t_n = u->dims[1], .c_n = u->dims[2]};
    job->n_n = call->in[2].shape.dims[1];
    job->groups = (job->c_n + GROUP * VL - 1) / (GROUP * VL);
    job->A = fast_whole(call->worker, &call->in[2]);
    job->B = fast_whole(call->worker, &call->in[3]);
    job->C = fast_whole(call->worker, &call->in[4]);
    job->D = fast_whole(call->worker, &call->in[5]);
    return job->A && job->B && job->C && job->D;
}

static void scan_channels(const scan_job *job, int64_t b, int64_t c, const float *A, float *h) {
    const cpu_view *u = &job->call->in[0], *delta = &job->call->in[1];
    int64_t n_n = job->n_n, m = job->c_n - c;
    vf D = fast_at(job->D + c, m);
    memset(h, 0, (size_t)(n_n * VL) * sizeof *h);
    for (int64_t t = 0; t < job->t_n; t++) {
        int64_t row = b * job->t_n + t, start = row * job->c_n + c;
        const float *B = job->B + row * n_n, *C = job->C + row * n_n;
        vf x = fast_lanes(u, start, m), d = fast_lanes(delta, start, m), dx = d * x, y = D * x;
        for (int64_t n = 0; n < n_n; n++) {
            vf state = vexp(d * vload(A + n * VL)) * vload(h + n * VL) + dx * vset(B[n]);
            vstore(h + n * VL, state);
            y += state * vset(C[n]);
        }
        fast_give_lanes(&job->call->out[0], start, m, y);
    }
}

static void scan_task(void *opaque, int64_t task, cpu_worker *worker) {
    const scan_job *job = opaque;
    int64_t b = task / job->groups, first = task % job->groups * GROUP * VL;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *A = cpu_alloc(worker, 2 * (size_t)(job->n_n * VL) * sizeof *A);
    for (int64_t c = first; A && c < first + GROUP * VL && c < job->c_n; c += VL) {
        turn_A(job, c, A);
        scan_channels(job, b, c, A, A + job->n_n * VL);
    }
    cpu_release(worker, mark);
}

void FAST(fast_scan)(const cpu_call *call) {
    scan_job job;
    if (scan_prepare(call, &job)) cpu_parallel(call->worker, job.batch * job.groups, scan_task, &job);
}

typedef struct scan_scratch {
    float *A, *dA, *dh; /* [N][VL] */
    float *starts;      /* [chunks][N][VL]: states before every chunk */
    float *h, *decay;   /* [CHUNK+1][N][VL], [CHUNK][N][VL] */
    float *dB, *dC;     /* [T][N][VL], summed over the task's channels */
} scan_scratch;

/* States of times t0 .. t1-1 from the one before; keeps them and the decays in h, decay. */
static void scan_again(const scan_job *job, const scan_scratch *s, int64_t b, int64_t c, int64_t t0, int64_t t1) {
    int64_t n_n = job->n_n, m = job->c_n - c, states = n_n * VL;
    for (int64_t t = t0; t < t1; t++) {
        int64_t row = b * job->t_n + t, start = row * job->c_n + c;
        vf x = fast_lanes(&job->call->in[0], start, m), d = fast_lanes(&job->call->in[1], start, m), dx = d * x;
        float *h = s->h + (t - t0) * states, *decay = s->decay + (t - t0) * states;
        for (int64_t n = 0; n < n_n; n++) {
            vf a = vexp(d * vload(s->A + n * VL));
            vstore(decay + n * VL, a);
            vstore(h + states + n * VL, a * vload(h + n * VL) + dx * vset(job->B[row * n_n + n]));
        }
    }
}

/* Gradients of one time, given those of later ones in dh. */
static vf scan_back(const scan_job *job, const scan_scratch *s, int64_t b, int64_t c, int64_t t, int64_t t0) {
    int64_t n_n = job->n_n, m = job->c_n - c, states = n_n * VL, row = b * job->t_n + t, start = row * job->c_n + c;
    const float *before = s->h + (t - t0) * states, *after = before + states, *decay = s->decay + (t - t0) * states;
    vf x = fast_lanes(&job->call->in[0], start, m), d = fast_lanes(&job->call->in[1], start, m);
    vf g = fast_lanes(&job->call->in[6], start, m), pull = vset(0.0f), dd = vset(0.0f);
    float *dB = s->dB + t * states, *dC = s->dC + t * states;
    for (int64_t n = 0; n < n_n; n++) {
        vf B = vset(job->B[row * n_n + n]), a = vload(decay + n * VL), A = vload(s->A + n * VL);
        vf dh = vload(s->dh + n * VL) + g * vset(job->C[row * n_n + n]), kept = dh * a * vload(before + n * VL);
        vstore(dC + n * VL, vload(dC + n * VL) + g * vload(after + n * VL));
        vstore(dB + n * VL, vload(dB + n * VL) + dh * d * x);
        vstore(s->dA + n * VL, vload(s->dA + n * VL) + kept * d);
        pull += dh * B;
        dd += kept * A;
        vstore(s->dh + n * VL, dh * a);
    }
    fast_give_lanes(&job->call->out[0], start, m, pull * d + g * fast_at(job->D + c, m));
    fast_give_lanes(&job->call->out[1], start, m, dd + pull * x);
    return g * x;
}

static void scan_channels_backward(const scan_job *job, const scan_scratch *s, int64_t b, int64_t c) {
    int64_t states = job->n_n * VL, m = job->c_n - c, chunks = (job->t_n + CHUNK - 1) / CHUNK;
    vf dD = vset(0.0f);
    turn_A(job, c, s->A);
    memset(s->dA, 0, (size_t)states * sizeof *s->dA);
    memset(s->dh, 0, (size_t)states * sizeof *s->dh);
    memset(s->h, 0, (size_t)states * sizeof *s->h);
    for (int64_t k = 0; k < chunks; k++) {
        int64_t end = (k + 1) * CHUNK < job->t_n ? (k + 1) * CHUNK : job->t_n;
        memcpy(s->starts + k * states, s->h, (size_t)states * sizeof *s->h);
        scan_again(job, s, b, c, k * CHUNK, end);
        memcpy(s->h, s->h + (end - k * CHUNK) * states, (size_t)states * sizeof *s->h);
    }
    for (int64_t k = chunks - 1; k >= 0; k--) {
        int64_t end = (k + 1) * CHUNK < job->t_n ? (k + 1) * CHUNK : job->t_n;
        memcpy(s->h, s->starts + k * states, (size_t)states * sizeof *s->h);
        scan_again(job, s, b, c, k * CHUNK, end);
        for (int64_t t = end - 1; t >= k * CHUNK; t--) dD += scan_back(job, s, b, c, t, k * CHUNK);
    }
    fast_put(job->dD + b * job->c_n + c, m, dD);
    for (int64_t l = 0; l < VL && l < m; l++) {
        for (int64_t n = 0; n < job->n_n; n++) job->dA[(b * job->c_n + c + l) * job->n_n + n] = s->dA[n * VL + l];
    }
}

static void scan_backward_task(void *opaque, int64_t task, cpu_worker *worker) {
    const scan_job *job = opaque;
    int64_t b = task / job->groups, first = task % job->groups * GROUP * VL, states = job->n_n * VL;
    int64_t chunks = (job->t_n + CHUNK - 1) / CHUNK, cells = job->t_n * job->n_n;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *memory = cpu_alloc(worker, (size_t)(states * (3 + chunks + 2 * CHUNK + 1 + 2 * job->t_n)) * sizeof *memory);
    if (memory) {
        scan_scratch s = {.A = memory, .dA = memory + states, .dh = memory + 2 * states, .starts = memory + 3 * states};
        s.h = s.starts + chunks * states;
        s.decay = s.h + (CHUNK + 1) * states;
        s.dB = s.decay + CHUNK * states;
        s.dC = s.dB + job->t_n * states;
        memset(s.dB, 0, (size_t)(2 * job->t_n * states) * sizeof *s.dB);
        for (int64_t c = first; c < first + GROUP * VL && c < job->c_n; c += VL) scan_channels_backward(job, &s, b, c);
        for (int64_t e = 0; e < cells; e++) {
            job->dB[task * cells + e] = vsum(vload(s.dB + e * VL));
            job->dC[task * cells + e] = vsum(vload(s.dC + e * VL));
        }
    }
    cpu_release(worker, mark);
}

/* (u, delta, A, B, C, D, g): du, ddelta, dA, dB, dC, dD */
void FAST(fast_scan_backward)(const cpu_call *call) {
    scan_job job;
    if (!scan_prepare(call, &job)) return;
    int64_t cells = job.t_n * job.n_n, parts = job.batch * job.groups * cells, weights = job.c_n * job.n_n;
    job.dB = cpu_alloc(call->worker, 2 * (size_t)(parts + 1) * sizeof *job.dB);
    job.dA = cpu_alloc(call->worker, (size_t)(job.batch * (weights + job.c_n) + 1) * sizeof *job.dA);
    if (!job.dB || !job.dA) return;
    job.dC = job.dB + parts;
    job.dD = job.dA + job.batch * weights;
    cpu_parallel(call->worker, job.batch * job.groups, scan_backward_task, &job);
    add_parts(&call->out[2], 0, job.dA, job.batch, weights);
    add_parts(&call->out[5], 0, job.dD, job.batch, job.c_n);
    for (int64_t b = 0; b < job.batch; b++) {
        add_parts(&call->out[3], b * cells, job.dB + b * job.groups * cells, job.groups, cells);
        add_parts(&call->out[4], b * cells, job.dC + b * job.groups * cells, job.groups, cells);
    }
}
