/* rope.cu - rotary positions 0..T-1 for whole heads turned in halves: eight neighbours per thread, sines from a table
 * that was computed in double.
 */
#include "element.cuh"
#include "fast.h"
#include "tables.h"
#include "vector.cuh"

template <class T>
__global__ void __launch_bounds__(256)
    rope_rows(T *y, const T *x, const float2 *table, int64_t n, int t_n, int h_n, int d_n, float sign) {
    int half = d_n / 2, fours = half / 4; /* a thread turns four elements of each half */
    int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    int four = (int)(i % fours), t = (int)(i / ((int64_t)fours * h_n) % t_n);
    int64_t at = i / fours * d_n + 4 * four;
    float4_of low = load4(x + at), high = load4(x + at + half), l, u;
    const float2 *turns = table + (int64_t)t * half + 4 * four;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        float2 turn = turns[k];
        float s = turn.y * sign;
        l.v[k] = low.v[k] * turn.x - high.v[k] * s;
        u.v[k] = high.v[k] * turn.x + low.v[k] * s;
    }
    store4(y + at, l);
    store4(y + at + half, u);
}

static bool fits(const gpu_call *call) {
    const gpu_view *x = &call->in[0], *y = &call->out[0];
    int64_t d_n = x->shape.dims[3], n_rot = call->step->i[0] ? call->step->i[0] : d_n;
    uint32_t bytes = (uint32_t)gpu_bytes_of(x->dtype);
    return call->n_in == 1 && (x->dtype == AIRA_F32 || x->dtype == AIRA_BF16) && y->dtype == x->dtype && n_rot == d_n &&
           d_n % 8 == 0 && call->step->i[1] == 0 && x->n > 0 && aligned4(x->data, bytes) && aligned4(y->data, bytes) &&
           x->n / 8 < INT32_MAX;
}

static const void *table_of(const gpu_call *call, int make) {
    const aira_shape *s = &call->in[0].shape;
    return gpu_tables_rope(call->tables, s->dims[1], s->dims[3], call->step->f[0], make);
}

void gpu_rope_prepare(const gpu_call *call) {
    if (fits(call)) (void)table_of(call, 1); /* where there is none, running says so */
}

bool gpu_rope_takes(const gpu_call *call) { return fits(call); }

template <class T> static void launch(const gpu_call *call) {
    const aira_shape *s = &call->in[0].shape;
    int64_t n = call->in[0].n / 8;
    const float2 *table = (const float2 *)table_of(call, 0);
    rope_rows<T><<<(unsigned)((n + 255) / 256), 256, 0, call->stream>>>(
        (T *)call->out[0].data, (const T *)call->in[0].data, table, n, (int)s->dims[1], (int)s->dims[2],
        (int)s->dims[3], call->step->i[2] ? -1.0f : 1.0f);
}

const char *gpu_rope(const gpu_call *call) {
    /* the plain kernel would do, with other last bits: a result must not depend on what was free */
    if (!table_of(call, 0)) return "out of memory: there was no room for the table of rotary positions";
    if (call->in[0].dtype == AIRA_BF16)
        launch<__nv_bfloat16>(call);
    else
        launch<float>(call);
    return gpu_launched();
}
