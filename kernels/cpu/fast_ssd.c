/* fast_ssd.c - the Mamba-2 recurrence, one (batch, head) at a time, with the head's width along the lanes.
 *
 * The state is kept as [N][P]: a time step is h[n] = decay h[n] + (dt B[n]) x and y += C[n] h[n], all along P, without
 * sums over lanes. Backward keeps the states at the beginning of every CHUNK of times and computes those between again.
 * A task of forward is one (batch, head); of backward one (batch, group), whose heads come in order because they share
 * the gradients of B and C.
 */
#include <string.h>

#include "fast_kernels.h"

#define CHUNK 32

typedef struct ssd_job {
    const cpu_view *x, *dt, *g, *y, *dx, *ddt;
    const float *A, *B, *C, *D;
    int64_t batch, t_n, h_n, p_n, p_pad, g_n, n_n;
    float *dA, *dD, *dB, *dC; /* [batch][H], [batch][H], [batch,T,G,N] twice */
} ssd_job;

static const float *whole(const cpu_call *call, uint32_t k) {
    const cpu_view *view = &call->in[k];
    if (view->dtype == AIRA_F32) return (const float *)(const void *)view->data;
    float *spare = cpu_alloc(call->worker, (size_t)(view->n + 1) * sizeof *spare);
    return spare ? fast_in(view, 0, view->n, spare) : NULL;
}

static bool prepare(const cpu_call *call, ssd_job *job) {
    const aira_shape *x = &call->in[0].shape, *b = &call->in[3].shape;
    *job = (ssd_job){.x = &call->in[0], .dt = &call->in[1], .batch = x->dims[0], .t_n = x->dims[1], .h_n = x->dims[2]};
    job->p_n = x->dims[3];
    job->p_pad = (job->p_n + VL - 1) / VL * VL;
    job->g_n = b->dims[2];
    job->n_n = b->dims[3];
    job->A = whole(call, 2);
    job->B = whole(call, 3);
    job->C = whole(call, 4);
    job->D = whole(call, 5);
    return job->A && job->B && job->C && job->D;
}

static float one(const cpu_view *view, int64_t k) {
    float value;
    cpu_convert(&value, AIRA_F32, view->data + (size_t)k * cpu_bytes_of(view->dtype), view->dtype, 1);
    return value;
}

/* One row of P, padded with zeros. */
static void row_in(const ssd_job *job, const cpu_view *view, int64_t at, float *to) {
    const float *from = fast_in(view, at * job->p_n, job->p_n, to);
    if (from != to) memcpy(to, from, (size_t)job->p_n * sizeof *to);
    for (int64_t p = job->p_n; p < job->p_pad; p++) to[p] = 0;
}
static void row_out(const ssd_job *job, const cpu_view *view, int64_t at, const float *from) {
    if (view->dtype == AIRA_F32) {
        memcpy((float *)(void *)view->data + at * job->p_n, from, (size_t)job->p_n * sizeof *from);
    } else {
        fast_give(view, at * job->p_n, job->p_n, from);
    }
}

static float decay_of(float dt, float a) { return vexp(vset(dt * a))[0]; }

/* after = decay before + dt B x; y += C after where y is given. */
static void advance(const ssd_job *job, float decay, float dt, const float *B, const float *C, const float *x,
                    const float *before, float *after, float *y) {
    for (int64_t n = 0; n < job->n_n; n++) {
        vf keep = vset(decay), in = vset(dt * B[n]), out = vset(y ? C[n] : 0.0f);
        for (int64_t p = 0; p < job->p_pad; p += VL) {
            vf h = keep * vload(before + n * job->p_pad + p) + in * vload(x + p);
            vstore(after + n * job->p_pad + p, h);
            if (y) vstore(y + p, vload(y + p) + out * h);
        }
    }
}

static void forward_task(void *opaque, int64_t task, cpu_worker *worker) {
    const ssd_job *job = opaque;
    int64_t b = task / job->h_n, h = task % job->h_n, group = h * job->g_n / job->h_n, cells = job->n_n * job->p_pad;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *state = cpu_alloc(worker, (size_t)(cells + 2 * job->p_pad) * sizeof *state);
    if (state) {
        float *x = state + cells, *y = x + job->p_pad;
        memset(state, 0, (size_t)cells * sizeof *state);
        for (int64_t t = 0; t < job->t_n; t++) {
            int64_t row = b * job->t_n + t, at = row * job->h_n + h, place = (row * job->g_n + group) * job->n_n;
            float dt = one(job->dt, at);
            row_in(job, job->x, at, x);
            for (int64_t p = 0; p < job->p_pad; p++) y[p] = job->D[h] * x[p];
            advance(job, decay_of(dt, job->A[h]), dt, job->B + place, job->C + place, x, state, state, y);
            row_out(job, job->y, at, y);
        }
    }
    cpu_release(worker, mark);
}

void FAST(fast_ssd)(const cpu_call *call) {
    ssd_job job;
    if (!prepare(call, &job)) return;
    job.y = &call->out[0];
    cpu_parallel(call->worker, job.batch * job.h_n, forward_task, &job);
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

typedef struct ssd_scratch {
    float *starts, *h, *dh; /* [chunks][N][P], [CHUNK+1][N][P], [N][P] */
    float *x, *g, *dx;      /* [P] */
} ssd_scratch;

/* States of times t0 .. t1-1 into h[1 ..] from h[0]. */
static void again(const ssd_job *job, const ssd_scratch *s, int64_t b, int64_t h, int64_t t0, int64_t t1) {
    int64_t cells = job->n_n * job->p_pad, group = h * job->g_n / job->h_n;
    for (int64_t t = t0; t < t1; t++) {
        int64_t row = b * job->t_n + t, at = row * job->h_n + h, place = (row * job->g_n + group) * job->n_n;
        float dt = one(job->dt, at), *before = s->h + (t - t0) * cells;
        row_in(job, job->x, at, s->x);
        advance(job, decay_of(dt, job->A[h]), dt, job->B + place, NULL, s->x, before, before + cells, NULL);
    }
}

static void back(const ssd_job *job, const ssd_scratch *s, int64_t b, int64_t h, int64_t t, const float *before) {
    int64_t row = b * job->t_n + t, at = row * job->h_n + h;
    int64_t place = (row * job->g_n + h * job->g_n / job->h_n) * job->n_n, pad = job->p_pad;
    const float *after = before + job->n_n * pad, *B = job->B + place, *C = job->C + place;
    float dt = one(job->dt, at), decay = decay_of(dt, job->A[h]), through = 0, kept = 0;
    vf dD = vset(0.0f);
    row_in(job, job->x, at, s->x);
    row_in(job, job->g, at, s->g);
    for (int64_t p = 0; p < pad; p += VL) {
        vstore(s->dx + p, vset(job->D[h]) * vload(s->g + p));
        dD += vload(s->g + p) * vload(s->x + p);
    }
    for (int64_t n = 0; n < job->n_n; n++) {
        vf out = vset(0.0f), in = out, old = out;
        for (int64_t p = 0; p < pad; p += VL) {
            vf g = vload(s->g + p), dh = vload(s->dh + n * pad + p) + g * vset(C[n]);
            out += g * vload(after + n * pad + p);
            in += dh * vload(s->x + p);
            old += dh * vload(before + n * pad + p);
            vstore(s->dx + p, vload(s->dx + p) + dh * vset(dt * B[n]));
            vstore(s->dh + n * pad + p, dh * vset(decay));
        }
        float pulled = vsum(in);
        job->dC[place + n] += vsum(out);
        job->dB[place + n] += pulled * dt;
        through += pulled * B[n];
        kept += vsum(old);
    }
    float ddt = through + job->A[h] * decay * kept;
    job->dA[b * job->h_n + h] += dt * decay * kept;
    job->dD[b * job->h_n + h] += vsum(dD);
    row_out(job, job->dx, at, s->dx);
    cpu_convert(job->ddt->data + (size_t)at * cpu_bytes_of(job->ddt->dtype), job->ddt->dtype, &ddt, AIRA_F32, 1);
}

static void backward_head(const ssd_job *job, const ssd_scratch *s, int64_t b, int64_t h) {
    int64_t cells = job->n_n * job->p_pad, chunks = (job->t_n + CHUNK - 1) / CHUNK;
    memset(s->h, 0, (size_t)cells * sizeof *s->h);
    memset(s->dh, 0, (size_t)cells * sizeof *s->dh);
    for (int64_t k = 0; k < chunks; k++) {
        int64_t end = (k + 1) * CHUNK < job->t_n ? (k + 1) * CHUNK : job->t_n;
        memcpy(s->starts + k * cells, s->h, (size_t)cells * sizeof *s->h);
        again(job, s, b, h, k * CHUNK, end);
        memcpy(s->h, s->h + (end - k * CHUNK) * cells, (size_t)cells * sizeof *s->h);
    }
    for (int64_t k = chunks - 1; k >= 0; k--) {
        int64_t end = (k + 1) * CHUNK < job->t_n ? (k + 1) * CHUNK : job->t_n;
        memcpy(s->h, s->starts + k * cells, (size_t)cells * sizeof *s->h);
        again(job, s, b, h, k * CHUNK, end);
        for (int64_t t = end - 1; t >= k * CHUNK; t--) back(job, s, b, h, t, s->h + (t - k * CHUNK) * cells);
    }
}

static void backward_task(void *opaque, int64_t task, cpu_worker *worker) {
    const ssd_job *job = opaque;
    int64_t b = task / job->g_n, group = task % job->g_n, per = job->h_n / job->g_n;
    int64_t cells = job->n_n * job->p_pad, chunks = (job->t_n + CHUNK - 1) / CHUNK;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *memory = cpu_alloc(worker, (size_t)((chunks + CHUNK + 2) * cells + 3 * job->p_pad) * sizeof *memory);
    if (memory) {
        ssd_scratch s = {.starts = memory, .h = memory + chunks * cells};
        s.dh = s.h + (CHUNK + 1) * cells;
        s.x = s.dh + cells;
        s.g = s.x + job->p_pad;
        s.dx = s.g + job->p_pad;
        for (int64_t h = group * per; h < (group + 1) * per; h++) backward_head(job, &s, b, h);
    }
    cpu_release(worker, mark);
}

/* (x, dt, A, B, C, D, g): dx, ddt, dA, dB, dC, dD */
void FAST(fast_ssd_backward)(const cpu_call *call) {
    ssd_job job;
    if (!prepare(call, &job)) return;
    int64_t states = job.batch * job.t_n * job.g_n * job.n_n, n = 2 * job.batch * job.h_n + 2 * states;
    float *sums = cpu_alloc(call->worker, (size_t)n * sizeof *sums);
    if (!sums) return;
    memset(sums, 0, (size_t)n * sizeof *sums);
    job.g = &call->in[6];
    job.dx = &call->out[0];
    job.ddt = &call->out[1];
    job.dA = sums;
    job.dD = job.dA + job.batch * job.h_n;
    job.dB = job.dD + job.batch * job.h_n;
    job.dC = job.dB + states;
    cpu_parallel(call->worker, job.batch * job.g_n, backward_task, &job);
    for (int64_t b = 1; b < job.batch; b++) {
        for (int64_t h = 0; h < job.h_n; h++) {
            job.dA[h] += job.dA[b * job.h_n + h];
            job.dD[h] += job.dD[b * job.h_n + h];
        }
    }
    cpu_convert(call->out[2].data, call->out[2].dtype, job.dA, AIRA_F32, job.h_n);
    cpu_convert(call->out[3].data, call->out[3].dtype, job.dB, AIRA_F32, states);
    cpu_convert(call->out[4].data, call->out[4].dtype, job.dC, AIRA_F32, states);
    cpu_convert(call->out[5].data, call->out[5].dtype, job.dD, AIRA_F32, job.h_n);
}
