/* aira/graph.h - the operations that a plugin composes while it builds a graph.
 *
 * A build function receives a table of operations and an opaque graph, and returns a tensor. It is called once per
 * shape and must be pure: same arguments, same calls. Building is all it does; values exist later, on a device.
 *
 * Errors are sticky: an operation whose operands do not fit records one sentence and returns NULL; every operation
 * accepts NULL operands and then returns NULL, so build functions need no checks. Tensors belong to the graph.
 *
 * C leaves the order of argument evaluation open; parameters are therefore known by name, never by call order. A name
 * used twice is an error.
 *
 * Threads: [one call per graph]. Shapes are written [B,T,C]; "last axis" is the innermost. Axes may be negative.
 */
#ifndef AIRA_GRAPH_H
#define AIRA_GRAPH_H

#include "abi.h"

typedef struct aira_graph aira_graph;
typedef struct aira_tensor aira_tensor;

/* Attributes of a parameter. Zero-initialise, then set what differs; zero multipliers mean 1. */
#define AIRA_PARAM_FP32 1u      /* stays fp32 under bf16 compute (decay rates, gates) */
#define AIRA_PARAM_NO_DECAY 2u  /* no weight decay */
#define AIRA_PARAM_NO_REINIT 4u /* a backbone's reinit() leaves the initial value alone */
#define AIRA_PARAM_FROZEN 8u    /* not trained */
typedef struct aira_param_info {
    uint32_t size, flags;
    /* "zeros", "ones", "constant" (a), "normal" (mean 0, std a), "uniform" (from a to b),
       "fan_in" (uniform +-1/sqrt(last extent): PyTorch's Linear). NULL: "zeros". Ignored where value is given. */
    const char *init;
    double a, b;
    /* Initial value as an expression of constant, iota, random and arithmetic (no param, no input), same shape. */
    aira_tensor *value;
    const char *role; /* "linear.weight", "linear.bias", "norm", "embedding", "other" (NULL) */
    double lr_mult, decay_mult, init_mult;
} aira_param_info;

typedef struct aira_ops {
    uint32_t size, minor;

    /* --- what the place says ------------------------------------------------------------------------------------ */
    /* "causal", "training", "layer" (0-based), "depth" (layers), "width", "vocab", "seq_len"; fallback if unknown */
    int64_t (*ctx_int)(aira_graph *, const char *name, int64_t fallback);
    /* "mask" [B,T] (0 hides a position), "positions" I32 [B,T]; NULL, without error, where the place has none */
    aira_tensor *(*ctx_tensor)(aira_graph *, const char *name);
    void (*shape)(aira_graph *, const aira_tensor *, aira_shape *out);
    int64_t (*dim)(aira_graph *, const aira_tensor *, int32_t axis); /* 0 for NULL or a bad axis (sticky error) */
    /* records a sentence and returns NULL */
    aira_tensor *(*error)(aira_graph *, const char *text);

    /* --- leaves --------------------------------------------------------------------------------------------------- */
    /* a trained variable; name is relative to the place, "qkv.weight" becomes "layers.3.mA.qkv.weight" */
    aira_tensor *(*param)(aira_graph *, const char *name, const aira_shape *, const aira_param_info *);
    aira_tensor *(*constant)(aira_graph *, double value, const aira_shape *); /* shape NULL: scalar */
    aira_tensor *(*iota)(aira_graph *, const aira_shape *, int32_t axis);     /* compute type, 0 1 2 .. along axis */
    /* uniform [0,1) or normal draws keyed by (seed, place, name[, step]); distribution "uniform" | "normal";
       each_step != 0: fresh draws every training step */
    aira_tensor *(*random)(aira_graph *, const char *name, const aira_shape *, const char *distribution,
                           int32_t each_step);

    /* --- what the primitive says ---------------------------------------------------------------------------------- */
    void (*aux_loss)(aira_graph *, const char *name, aira_tensor *scalar, double weight); /* added to the loss */
    void (*metric)(aira_graph *, const char *name, aira_tensor *scalar);                  /* reported, not trained */

    /* --- elementwise (numpy broadcasting) ------------------------------------------------------------------------ */
    aira_tensor *(*neg)(aira_graph *, aira_tensor *);
    aira_tensor *(*exp)(aira_graph *, aira_tensor *);
    aira_tensor *(*log)(aira_graph *, aira_tensor *);
    aira_tensor *(*sqrt)(aira_graph *, aira_tensor *);
    aira_tensor *(*rsqrt)(aira_graph *, aira_tensor *);
    aira_tensor *(*sigmoid)(aira_graph *, aira_tensor *);
    aira_tensor *(*tanh)(aira_graph *, aira_tensor *);
    aira_tensor *(*silu)(aira_graph *, aira_tensor *);
    aira_tensor *(*gelu)(aira_graph *, aira_tensor *, int32_t exact); /* 0: tanh approximation */
    aira_tensor *(*relu)(aira_graph *, aira_tensor *);
    aira_tensor *(*softplus)(aira_graph *, aira_tensor *);
    aira_tensor *(*sin)(aira_graph *, aira_tensor *);
    aira_tensor *(*cos)(aira_graph *, aira_tensor *);
    aira_tensor *(*abs)(aira_graph *, aira_tensor *);
    aira_tensor *(*add)(aira_graph *, aira_tensor *, aira_tensor *);
    aira_tensor *(*sub)(aira_graph *, aira_tensor *, aira_tensor *);
    aira_tensor *(*mul)(aira_graph *, aira_tensor *, aira_tensor *);
    aira_tensor *(*div)(aira_graph *, aira_tensor *, aira_tensor *);
    aira_tensor *(*min)(aira_graph *, aira_tensor *, aira_tensor *);
    aira_tensor *(*max)(aira_graph *, aira_tensor *, aira_tensor *);
    aira_tensor *(*pow)(aira_graph *, aira_tensor *, aira_tensor *);
    /* relation: "==", "!=", "<", "<=", ">", ">=" */
    aira_tensor *(*compare)(aira_graph *, const char *relation, aira_tensor *, aira_tensor *);
    aira_tensor *(*where)(aira_graph *, aira_tensor *condition, aira_tensor *a, aira_tensor *b);
    aira_tensor *(*scale)(aira_graph *, aira_tensor *, double factor);
    aira_tensor *(*cast)(aira_graph *, aira_tensor *, uint32_t dtype); /* dtype 0: the compute type */
    aira_tensor *(*stop_gradient)(aira_graph *, aira_tensor *);

    /* --- contractions -------------------------------------------------------------------------------------------- */
    aira_tensor *(*matmul)(aira_graph *, aira_tensor *a, aira_tensor *b, int32_t trans_a, int32_t trans_b);
    /* x[.., in] weight[out, in] bias[out] or NULL -> [.., out], as PyTorch's Linear */
    aira_tensor *(*linear)(aira_graph *, aira_tensor *x, aira_tensor *weight, aira_tensor *bias);
    /* "bthd,bshd->bhts": two operands, letters name axes, no repeated letter within an operand */
    aira_tensor *(*einsum)(aira_graph *, const char *equation, aira_tensor *a, aira_tensor *b);

    /* --- reductions ------------------------------------------------------------------------------------------------
     */
    aira_tensor *(*sum)(aira_graph *, aira_tensor *, const int32_t *axes, uint32_t n_axes, int32_t keep);
    aira_tensor *(*mean)(aira_graph *, aira_tensor *, const int32_t *axes, uint32_t n_axes, int32_t keep);
    aira_tensor *(*max_along)(aira_graph *, aira_tensor *, const int32_t *axes, uint32_t n_axes, int32_t keep);
    aira_tensor *(*cumsum)(aira_graph *, aira_tensor *, int32_t axis, int32_t reverse, int32_t exclusive);

    /* --- shapes ------------------------------------------------------------------------------------------------------
     */
    aira_tensor *(*reshape)(aira_graph *, aira_tensor *, const aira_shape *); /* one extent may be -1 */
    aira_tensor *(*transpose)(aira_graph *, aira_tensor *, const int32_t *order,
                              uint32_t n); /* out axis k = in order[k] */
    aira_tensor *(*slice)(aira_graph *, aira_tensor *, int32_t axis, int64_t start, int64_t length);
    aira_tensor *(*concat)(aira_graph *, aira_tensor *const *, uint32_t n, int32_t axis);
    aira_tensor *(*pad)(aira_graph *, aira_tensor *, int32_t axis, int64_t before, int64_t after, double value);
    aira_tensor *(*broadcast)(aira_graph *, aira_tensor *, const aira_shape *);

    /* --- indices (I32 tensors) -------------------------------------------------------------------------------------
     */
    aira_tensor *(*gather)(aira_graph *, aira_tensor *x, aira_tensor *indices); /* x[V,..], [..] -> [.., ..] */
    aira_tensor *(*scatter_add)(aira_graph *, aira_tensor *indices, aira_tensor *rows, int64_t n_rows);
    aira_tensor *(*gather_last)(aira_graph *, aira_tensor *x, aira_tensor *indices); /* x[..,V], [..,K] -> [..,K] */
    aira_tensor *(*scatter_last)(aira_graph *, aira_tensor *indices, aira_tensor *values, int64_t extent);
    /* largest k of each row, descending; indices may be NULL */
    aira_tensor *(*top_k)(aira_graph *, aira_tensor *, int64_t k, aira_tensor **indices);
    aira_tensor *(*argsort)(aira_graph *, aira_tensor *, int32_t descending); /* I32, last axis, stable */

    /* --- composites: see the op table for shapes ------------------------------------------------------------------ */
    aira_tensor *(*rms_norm)(aira_graph *, aira_tensor *x, aira_tensor *weight, double eps); /* weight may be NULL */
    aira_tensor *(*layer_norm)(aira_graph *, aira_tensor *x, aira_tensor *weight, aira_tensor *bias, double eps);
    aira_tensor *(*softmax)(aira_graph *, aira_tensor *x);
    /* q[B,T,H,D] k[B,S,G,D] v[B,S,G,E], mask[B,S] or NULL -> [B,T,H,E]; window 0: unlimited; scale 0: 1/sqrt(D) */
    aira_tensor *(*attention)(aira_graph *, aira_tensor *q, aira_tensor *k, aira_tensor *v, aira_tensor *mask,
                              int32_t causal, int64_t window, double scale);
    /* x[B,T,H,D]; positions I32 [B,T] or NULL (0..T-1); n_rot 0: all of D; interleaved 0: first half with second */
    aira_tensor *(*rope)(aira_graph *, aira_tensor *x, aira_tensor *positions, double base, int64_t n_rot,
                         int32_t interleaved);
    aira_tensor *(*conv1d_causal)(aira_graph *, aira_tensor *x, aira_tensor *weight, aira_tensor *bias);
    aira_tensor *(*selective_scan)(aira_graph *, aira_tensor *u, aira_tensor *delta, aira_tensor *A, aira_tensor *B,
                                   aira_tensor *C, aira_tensor *D);
    aira_tensor *(*ssd)(aira_graph *, aira_tensor *x, aira_tensor *dt, aira_tensor *A, aira_tensor *B, aira_tensor *C,
                        aira_tensor *D);
    aira_tensor *(*fft_conv)(aira_graph *, aira_tensor *u, aira_tensor *kernel);
    aira_tensor *(*grouped_matmul)(aira_graph *, aira_tensor *x, aira_tensor *weight, aira_tensor *counts);
    /* mean negative log likelihood over targets in 0..V-1, a scalar in F32 */
    aira_tensor *(*cross_entropy)(aira_graph *, aira_tensor *logits, aira_tensor *targets);
} aira_ops;

#endif
