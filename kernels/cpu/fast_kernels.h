/* fast_kernels.h - names of the fast kernels within one instruction set, and helpers that they share. */
#ifndef AIRA_CPU_FAST_KERNELS_H
#define AIRA_CPU_FAST_KERNELS_H

#include "fast.h"
#include "simd.h"

void FAST(cpu_elementwise)(uint32_t op, int64_t mode, bool truncate, int64_t n, float *out, const float *a,
                           const float *b, const float *c);
void FAST(cpu_from_bf16)(float *to, const uint16_t *from, int64_t n);
void FAST(cpu_to_bf16)(uint16_t *to, const float *from, int64_t n);

/* X(op, function) */
#define FAST_TABLE(X)                                      \
    X(MATMUL, fast_matmul)                                 \
    X(SUM, fast_sum)                                       \
    X(SCATTER_ADD, fast_scatter_add)                       \
    X(RMS_NORM, fast_rms_norm)                             \
    X(RMS_NORM_BACKWARD, fast_rms_norm_backward)           \
    X(LAYER_NORM, fast_layer_norm)                         \
    X(LAYER_NORM_BACKWARD, fast_layer_norm_backward)       \
    X(SOFTMAX, fast_softmax)                               \
    X(SOFTMAX_BACKWARD, fast_softmax_backward)             \
    X(CROSS_ENTROPY, fast_cross_entropy)                   \
    X(CROSS_ENTROPY_BACKWARD, fast_cross_entropy_backward) \
    X(ATTENTION, fast_attention)                           \
    X(ATTENTION_BACKWARD, fast_attention_backward)         \
    X(TOP_K, fast_top_k)                                   \
    X(GROUPED_MATMUL, fast_grouped_matmul)                 \
    X(GROUPED_WGRAD, fast_grouped_wgrad)                   \
    X(SSD, fast_ssd)                                       \
    X(SSD_BACKWARD, fast_ssd_backward)                     \
    X(ROPE, fast_rope)                                     \
    X(CONV1D_CAUSAL, fast_conv1d)                          \
    X(CONV1D_CAUSAL_BACKWARD, fast_conv1d_backward)        \
    X(SELECTIVE_SCAN, fast_scan)                           \
    X(SELECTIVE_SCAN_BACKWARD, fast_scan_backward)         \
    X(FFT_CONV, fast_fft_conv)                             \
    X(FFT_CONV_BACKWARD, fast_fft_conv_backward)

#define FAST_DECLARE(op, function) void FAST(function)(const cpu_call *call);
FAST_TABLE(FAST_DECLARE)
#undef FAST_DECLARE

extern const cpu_prepare FAST(fast_matmul_prepare), FAST(fast_rope_prepare);

/* Elements start .. start+n-1 of a tensor as floats: in place if they are, else converted into spare (n floats). */
static inline const float *fast_in(const cpu_view *view, int64_t start, int64_t n, float *spare) {
    if (view->dtype == AIRA_F32) return (const float *)(const void *)view->data + start;
    FAST(cpu_from_bf16)(spare, (const uint16_t *)(const void *)view->data + start, n);
    return spare;
}
/* Where to compute them, and how to give them back. */
static inline float *fast_out(const cpu_view *view, int64_t start, float *spare) {
    return view->dtype == AIRA_F32 ? (float *)(void *)view->data + start : spare;
}
static inline void fast_give(const cpu_view *view, int64_t start, int64_t n, const float *from) {
    if (view->dtype == AIRA_BF16) FAST(cpu_to_bf16)((uint16_t *)(void *)view->data + start, from, n);
}

/* VL floats, or the first n < VL of them (the others are 0). */
static inline vf fast_at(const float *x, int64_t n) { return n >= VL ? vload(x) : vload_part(x, n); }
static inline void fast_put(float *x, int64_t n, vf value) {
    if (n >= VL) {
        vstore(x, value);
    } else {
        vstore_part(x, value, n);
    }
}
/* The same of a tensor, from element `start`. */
static inline vf fast_lanes(const cpu_view *view, int64_t start, int64_t n) {
    if (view->dtype == AIRA_F32) return fast_at((const float *)(const void *)view->data + start, n);
    const uint16_t *from = (const uint16_t *)(const void *)view->data + start;
    uint16_t part[VL] = {0};
    if (n >= VL) return vload_bf16(from);
    memcpy(part, from, (size_t)n * sizeof *part);
    return vload_bf16(part);
}
static inline void fast_give_lanes(const cpu_view *view, int64_t start, int64_t n, vf value) {
    if (view->dtype == AIRA_F32) {
        fast_put((float *)(void *)view->data + start, n, value);
        return;
    }
    uint16_t part[VL], *to = (uint16_t *)(void *)view->data + start;
    vstore_bf16(n >= VL ? to : part, value);
    if (n < VL) memcpy(to, part, (size_t)n * sizeof *part);
}
/* A whole tensor as floats; NULL: out of memory. */
static inline const float *fast_whole(cpu_worker *worker, const cpu_view *view) {
    if (view->dtype == AIRA_F32) return (const float *)(const void *)view->data;
    float *spare = cpu_alloc(worker, (size_t)(view->n + 1) * sizeof *spare);
    return spare ? fast_in(view, 0, view->n, spare) : NULL;
}

#endif
