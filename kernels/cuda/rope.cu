/* rope.cu - rotary positions 0..T-1 for whole heads turned in halves: a thread turns four or eight neighbours of each
 * half, sines from a table that was computed in double.
 */
#include "element.cuh"
#include "fast.h"
#include "tables.h"
#include "vector.cuh"

/* Neighbours as floats; eight bf16 are one access. */
template <int V> struct floats_of { float v[V]; };
template <class T> __device__ __forceinline__ floats_of<4> load_floats(const T *from, floats_of<4>) {
    float4_of x = load4(from);
    return {{x.v[0], x.v[1], x.v[2], x.v[3]}};
}
template <class T> __device__ __forceinline__ void store_floats(T *to, floats_of<4> x) {
    store4(to, {{x.v[0], x.v[1], x.v[2], x.v[3]}});
}
__device__ __forceinline__ floats_of<8> load_floats(const __nv_bfloat16 *from, floats_of<8>) {
    uint4 x = *(const uint4 *)from;
    uint32_t pairs[4] = {x.x, x.y, x.z, x.w};
    floats_of<8> y;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        y.v[2 * k] = __uint_as_float(pairs[k] << 16);
        y.v[2 * k + 1] = __uint_as_float(pairs[k] & 0xffff0000u);
    }
    return y;
}
__device__ __forceinline__ void store_floats(__nv_bfloat16 *to, floats_of<8> x) {
    *(uint4 *)to = make_uint4(pack2(x.v[0], x.v[1]), pack2(x.v[2], x.v[3]), pack2(x.v[4], x.v[5]),
                              pack2(x.v[6], x.v[7]));
}

/* n threads; all counts fit into 32 bits. Which products are fused into sums is spelled out, so that both widths give
   the same bits. */
template <class T, int V>
__global__ void __launch_bounds__(256) rope_rows(T *y, const T *x, const float2 *table, uint32_t n, uint32_t t_n,
                                                 uint32_t h_n, uint32_t half, float sign) {
    uint32_t i = blockIdx.x * 256u + threadIdx.x, parts = half / V;
    if (i >= n) return;
    uint32_t row = i / parts, first = (i - row * parts) * V, t = row / h_n % t_n;
    int64_t at = (int64_t)row * (2 * half) + first;
    floats_of<V> low = load_floats(x + at, floats_of<V>()), high = load_floats(x + at + half, floats_of<V>()), l, u;
    const float4 *turns = (const float4 *)(table + (int64_t)t * half + first); /* of two neighbours each */
#pragma unroll
    for (int k = 0; k < V; k += 2) {
        float4 turn = turns[k / 2];
        float s[2] = {turn.y * sign, turn.w * sign}, c[2] = {turn.x, turn.z};
#pragma unroll
        for (int j = 0; j < 2; j++) {
            l.v[k + j] = __fmaf_rn(low.v[k + j], c[j], -__fmul_rn(high.v[k + j], s[j]));
            u.v[k + j] = __fmaf_rn(high.v[k + j], c[j], __fmul_rn(low.v[k + j], s[j]));
        }
    }
    store_floats(y + at, l);
    store_floats(y + at + half, u);
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

template <class T, int V> static void launch(const gpu_call *call) {
    const aira_shape *s = &call->in[0].shape;
    uint32_t n = (uint32_t)(call->in[0].n / (2 * V));
    const float2 *table = (const float2 *)table_of(call, 0);
    rope_rows<T, V><<<(n + 255) / 256, 256, 0, call->stream>>>(
        (T *)call->out[0].data, (const T *)call->in[0].data, table, n, (uint32_t)s->dims[1], (uint32_t)s->dims[2],
        (uint32_t)s->dims[3] / 2, call->step->i[2] ? -1.0f : 1.0f);
}

/* Enough blocks for every multiprocessor also with half as many threads; eight neighbours lie on 16 bytes. */
static bool takes_eight(const gpu_call *call) {
    const gpu_view *x = &call->in[0], *y = &call->out[0];
    return x->dtype == AIRA_BF16 && x->shape.dims[3] % 16 == 0 && x->n >= (int64_t)1 << 23 &&
           (uintptr_t)x->data % 16 == 0 && (uintptr_t)y->data % 16 == 0;
}

const char *gpu_rope(const gpu_call *call) {
    /* the plain kernel would do, with other last bits: a result must not depend on what was free */
    if (!table_of(call, 0)) return "out of memory: there was no room for the table of rotary positions";
    if (takes_eight(call))
        launch<__nv_bfloat16, 8>(call);
    else if (call->in[0].dtype == AIRA_BF16)
        launch<__nv_bfloat16, 4>(call);
    else
        launch<float, 4>(call);
    return gpu_launched();
}
