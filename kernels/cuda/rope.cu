/* rope.cu - rotary positions 0..T-1 for whole heads turned in halves: eight neighbours per thread.
 *
 * A block owns TIMES positions of a stretch of the batch; it computes their sines once, in double, and reads and writes
 * every element once.
 */
#include "element.cuh"
#include "fast.h"
#include "vector.cuh"

#define TIMES 4
#define BATCHES 16
#define MOST_HALF 128

template <class T>
__global__ void __launch_bounds__(256)
    rope_rows(T *y, const T *x, int batch, int t_n, int h_n, int d_n, bool inverse, double base) {
    __shared__ float cosines[TIMES][MOST_HALF], sines[TIMES][MOST_HALF];
    int half = d_n / 2, first = blockIdx.x * TIMES, b_first = blockIdx.y * BATCHES;
    int times = min(TIMES, t_n - first), batches = min(BATCHES, batch - b_first);
    for (int i = threadIdx.x; i < times * half; i += 256) {
        double sine, cosine;
        sincos((double)(first + i / half) * pow(base, -2.0 * (i % half) / d_n), &sine, &cosine);
        cosines[i / half][i % half] = (float)cosine;
        sines[i / half][i % half] = (float)(inverse ? -sine : sine);
    }
    __syncthreads();
    int fours = half / 4, per_time = h_n * fours; /* pairs of fours: one in each half */
    for (int i = threadIdx.x; i < batches * times * per_time; i += 256) {
        int four = i % fours, h = i / fours % h_n, t = i / per_time % times, b = i / (per_time * times);
        int64_t at = (((int64_t)(b_first + b) * t_n + first + t) * h_n + h) * d_n + 4 * four;
        float4_of low = load4(x + at), high = load4(x + at + half), l, u;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float c = cosines[t][4 * four + k], s = sines[t][4 * four + k];
            l.v[k] = low.v[k] * c - high.v[k] * s;
            u.v[k] = high.v[k] * c + low.v[k] * s;
        }
        store4(y + at, l);
        store4(y + at + half, u);
    }
}

bool gpu_rope_takes(const gpu_call *call) {
    const gpu_view *x = &call->in[0], *y = &call->out[0];
    int64_t d_n = x->shape.dims[3], n_rot = call->step->i[0] ? call->step->i[0] : d_n;
    uint32_t bytes = (uint32_t)gpu_bytes_of(x->dtype);
    return call->n_in == 1 && (x->dtype == AIRA_F32 || x->dtype == AIRA_BF16) && y->dtype == x->dtype && n_rot == d_n &&
           d_n % 8 == 0 && d_n / 2 <= MOST_HALF && call->step->i[1] == 0 && x->n > 0 && aligned4(x->data, bytes) &&
           aligned4(y->data, bytes) && x->shape.dims[0] <= 65535ll * BATCHES && x->shape.dims[1] < INT32_MAX;
}

template <class T> static void launch(const gpu_call *call) {
    const aira_shape *s = &call->in[0].shape;
    dim3 grid((unsigned)((s->dims[1] + TIMES - 1) / TIMES), (unsigned)((s->dims[0] + BATCHES - 1) / BATCHES));
    rope_rows<T><<<grid, 256, 0, call->stream>>>((T *)call->out[0].data, (const T *)call->in[0].data, (int)s->dims[0],
                                                 (int)s->dims[1], (int)s->dims[2], (int)s->dims[3],
                                                 call->step->i[2] != 0, call->step->f[0]);
}

const char *gpu_rope(const gpu_call *call) {
    if (call->in[0].dtype == AIRA_BF16)
        launch<__nv_bfloat16>(call);
    else
        launch<float>(call);
    return gpu_launched();
}
