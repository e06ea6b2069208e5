/* reference.h - the reference kernels: plain loops over operands that are already in the computing type.
 *
 * reference.c converts whatever a step's operands hold (bf16, I32, fp32 beside fp64) into float or double and the
 * results back, so that every kernel is one text for all element types, compiled twice (real.h). in[k] is operand k as
 * reals, index[k] the same operand raw where it is I32. Every kernel runs on the calling worker alone, except where it
 * says so.
 */
#ifndef AIRA_CPU_REFERENCE_H
#define AIRA_CPU_REFERENCE_H

#include "cpu.h"

#define REF_MAX 8

typedef struct ref_call {
    cpu_worker *worker;
    const void *in[REF_MAX];
    const int32_t *index[REF_MAX];
    void *out[REF_MAX];
    const aira_shape *in_shape[REF_MAX], *out_shape[REF_MAX];
    uint32_t n_in, n_out, n_i;
    const int64_t *i;
    const double *f;
} ref_call;

typedef void (*ref_kernel)(const ref_call *call);

/* X(op, function): function_f32 and function_f64 exist. */
#define REF_TABLE(X)                                      \
    X(MATMUL, ref_matmul)                                 \
    X(GROUPED_MATMUL, ref_grouped_matmul)                 \
    X(GROUPED_WGRAD, ref_grouped_wgrad)                   \
    X(SUM, ref_sum)                                       \
    X(MAX_REDUCE, ref_max)                                \
    X(CUMSUM, ref_cumsum)                                 \
    X(SCATTER_ADD, ref_scatter_add)                       \
    X(SCATTER_LAST, ref_scatter_last)                     \
    X(TOP_K, ref_top_k)                                   \
    X(ARGSORT, ref_argsort)                               \
    X(RMS_NORM, ref_rms_norm)                             \
    X(RMS_NORM_BACKWARD, ref_rms_norm_backward)           \
    X(LAYER_NORM, ref_layer_norm)                         \
    X(LAYER_NORM_BACKWARD, ref_layer_norm_backward)       \
    X(SOFTMAX, ref_softmax)                               \
    X(SOFTMAX_BACKWARD, ref_softmax_backward)             \
    X(CROSS_ENTROPY, ref_cross_entropy)                   \
    X(CROSS_ENTROPY_BACKWARD, ref_cross_entropy_backward) \
    X(ATTENTION, ref_attention)                           \
    X(ATTENTION_BACKWARD, ref_attention_backward)         \
    X(ROPE, ref_rope)                                     \
    X(CONV1D_CAUSAL, ref_conv1d)                          \
    X(CONV1D_CAUSAL_BACKWARD, ref_conv1d_backward)        \
    X(SELECTIVE_SCAN, ref_scan)                           \
    X(SELECTIVE_SCAN_BACKWARD, ref_scan_backward)         \
    X(SSD, ref_ssd)                                       \
    X(SSD_BACKWARD, ref_ssd_backward)                     \
    X(FFT_CONV, ref_fft_conv)                             \
    X(FFT_CONV_BACKWARD, ref_fft_conv_backward)

#define REF_DECLARE(op, function)              \
    void function##_f32(const ref_call *call); \
    void function##_f64(const ref_call *call);
REF_TABLE(REF_DECLARE)
#undef REF_DECLARE

#endif
