/* ssd.cuh - what the two texts of Mamba-2's recurrence share: ssd.cu (any shape and type), ssd_tensor.cu (bf16). */
#ifndef AIRA_GPU_SSD_CUH
#define AIRA_GPU_SSD_CUH

#include "element.cuh"

/* x[B,T,H,P], dt[B,T,H], A[H], B[B,T,G,N], C[B,T,G,N], D[H]; head h reads group h*G/H. */
struct ssd {
    int batch, t_n, h_n, p_n, g_n, n_n;
    int cut; /* 1: heads 2 h and 2 h + 1 are halves of one, which has dt[..,h], A[h] and D[h]; see ssd_tensor.cuh */
    elements x, dt, A, B, C, D;
};

static inline ssd ssd_of(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape, *b = &call->in[3].shape;
    ssd s = {};
    s.batch = (int)x->dims[0];
    s.t_n = (int)x->dims[1];
    s.h_n = (int)x->dims[2];
    s.p_n = (int)x->dims[3];
    s.g_n = (int)b->dims[2];
    s.n_n = (int)b->dims[3];
    s.x = of(call->in[0]);
    s.dt = of(call->in[1]);
    s.A = of(call->in[2]);
    s.B = of(call->in[3]);
    s.C = of(call->in[4]);
    s.D = of(call->in[5]);
    return s;
}

/* ssd_tensor.cu: true where the call has a form for tensor cores on this card: bf16, P = 64 or 128, N of 16, 64 or
   128. */
bool ssd_tensor_takes(const gpu_call *call);
const char *ssd_tensor_forward(const gpu_call *call);
const char *ssd_tensor_backward(const gpu_call *call);
size_t ssd_tensor_forward_bytes(const gpu_call *call);
size_t ssd_tensor_backward_bytes(const gpu_call *call);

#endif
