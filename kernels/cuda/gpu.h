/* gpu.h - what the parts of the CUDA device share: views of tensors, calls, the table of kernels.
 *
 * A plan becomes a program (program.c): one call per planned step, which puts kernels on a stream. The stream is
 * captured once into a CUDA graph, so that a whole training step costs one launch.
 *
 * Invariants: grids, tiles and the order of every sum follow from shapes alone and no atomics add floats, so results do
 * not depend on neighbours, copies or timing; kernels write every element of their results and read nothing that they
 * or their operands' steps did not write; nothing here is a global variable that changes.
 */
#ifndef AIRA_GPU_H
#define AIRA_GPU_H

#include <cuda_runtime_api.h>

#include "aira/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor of one copy: device address, element type, extents. */
typedef struct gpu_view {
    char *data;
    uint32_t dtype, reserved;
    int64_t n; /* elements */
    aira_shape shape;
} gpu_view;

static inline size_t gpu_bytes_of(uint32_t dtype) { return dtype == AIRA_F64 ? 8u : dtype == AIRA_BF16 ? 2u : 4u; }
static inline int64_t gpu_elements(const aira_shape *shape) {
    int64_t n = 1;
    for (uint32_t d = 0; d < shape->rank; d++) n *= shape->dims[d];
    return n;
}
/* Product of extents from axis `from` up to, not including, `to`. */
static inline int64_t gpu_extent(const aira_shape *shape, uint32_t from, uint32_t to) {
    int64_t n = 1;
    for (uint32_t d = from; d < to; d++) n *= shape->dims[d];
    return n;
}
static inline int64_t gpu_last(const aira_shape *shape) { return shape->rank ? shape->dims[shape->rank - 1] : 1; }

typedef struct gpu_matmul gpu_matmul; /* matmul.c */
typedef struct gpu_chain gpu_chain;   /* chain.c */
typedef struct gpu_cudnn gpu_cudnn;   /* cudnn_attention.h */
typedef struct gpu_tables gpu_tables; /* tables.h */
struct gpu_compiler;                  /* generate.h */
struct gpu_linear;                    /* linear.h */

/* What the programs of a queue share. One thread at a time. */
typedef struct gpu_queue {
    cudaStream_t stream;
    gpu_matmul *matmul;
    gpu_cudnn *cudnn;
    gpu_tables *tables;
    struct gpu_compiler *compiler; /* of chains; NULL: they are interpreted */
    int apart;                     /* 1: steps are not merged */
    int turn; /* products of as many GFLOP and more read weights that lie turned as well (turned.h); 0: none */
} gpu_queue;

/* What a merged step does besides its operation (fuse.c). Operands follow the operation's own in this order. */
#define GPU_ADD_BIAS 1u   /* MATMUL: + [N] */
#define GPU_ADD_TENSOR 2u /* MATMUL, RMS_NORM_BACKWARD: + a tensor like the result */
#define GPU_GELU 4u       /* MATMUL: GELU of it; a second result gets what GELU was applied to */
#define GPU_SQUARES 256u  /* SUM of everything: of the squares */
#define GPU_ELSEWHERE 32u /* operands or results lie in other places than were planned */
#define GPU_MLP                                                                                                    \
    64u /* MATMUL: a whole layer (fuse_mlp.c): (x, norm's w, up, down[, residual]) > y[, norm's result]. `also` is \
           the RMS_NORM */
#define GPU_MLP_BACKWARD                                                                                             \
    128u /* MATMUL: its gradient: (dy, down, up, x, norm's w[, residual]) > dx, gradient of what GELU is applied to, \
            GELU of it, dw of the norm. `also` is the RMS_NORM_BACKWARD */
#define GPU_ROPE                                                                                            \
    16u /* ATTENTION: turns q and k first, and gives them as further results; its gradient: turns dq and dk \
           back. `also` is the ROPE */
#define GPU_LINEAR (1u << 16) /* all that `linear` says (linear.h), `also` the ROPE; stands alone */
#define GPU_JOIN (1u << 17)   /* the second stage of sums over rows: partial[blocks][columns] > results side by side */

#define GPU_GATE                                                                                       \
    (1u << 24) /* SELECTIVE_SCAN: times silu(z), an operand; its gradient: the same z, dz as a result. \
                  RMS_NORM: of y silu(z), (y, w, z); its gradient: (y, w, g, z) gives dy, dw, dz */
#define GPU_SILU                                                                                             \
    (1u << 26) /* CONV1D_CAUSAL: silu of it; a second result, if any, gets what silu was applied to (c). Its \
                  gradient: (x, w, bias, g[, g']) given the gradients of silu(c), c computed again */
#define GPU_SIDES                                                                                                  \
    (1u << 28) /* with GPU_SILU: several convolutions of as many sequences and times; operands and results of one, \
                  then of the next */
#define GPU_PROJECT                                                                                             \
    (1u << 27) /* MATMUL: (u, Wx, Wt, bias) gives columns r, B, C of u Wx' and softplus(r Wt' + bias); backward \
                  (d, Wt, dB, dC, Wx) gives p = [d Wt, dB, dC] and p Wx; (d, Wt, dB, dC) p alone; `also` is the \
                  CONCAT */
#define GPU_PRODUCT                                                                                               \
    (1u << 30) /* with GPU_SILU, CONV1D_CAUSAL_BACKWARD: (x, w, bias, g, p, Wx), the gradient of silu(c) is g + p \
                  Wx; `also` is the MATMUL */
#define GPU_TURNED (1u << 29) /* MATMUL: b lies transposed from what the step says; a step that makes such a b */
#define GPU_STEPS                                                                                              \
    (1u << 25) /* SELECTIVE_SCAN_BACKWARD, SSD_BACKWARD: the gradient of what delta (dt) is the softplus of; a \
                  further result is its sum over sequences and times, `also` that SUM */

typedef struct gpu_call {
    const aira_plan_step *step;
    const gpu_view *in, *out;
    uint32_t n_in, n_out;
    cudaStream_t stream;
    void *workspace;      /* device memory of the size that the kernel asked for */
    const uint64_t *seed; /* device memory: xor-ed into RANDOM keys */
    gpu_matmul *matmul;
    gpu_cudnn *cudnn; /* also while the workspace is asked for */
    const gpu_chain *chain;
    uint32_t merged;               /* GPU_ADD_BIAS ... */
    const aira_plan_step *also;    /* the step that was merged, where its attributes count */
    gpu_tables *tables;            /* also while the workspace is asked for */
    struct gpu_compiler *compiler; /* of chains; NULL: they are interpreted */
    const struct gpu_linear *linear;
} gpu_call;

/* Puts the step on the stream. NULL, or a constant sentence on what did not work. */
typedef const char *(*gpu_run)(const gpu_call *call);
typedef struct gpu_kernel {
    uint32_t op;
    gpu_run run;
    size_t (*workspace)(const gpu_call *call); /* bytes; NULL: none */
} gpu_kernel;

/* The sentence for the last launch, or NULL. */
static inline const char *gpu_launched(void) {
    cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

/* True where a tensor of the call is F64, or all are I32: then sums are kept in double, else in float. */
static inline int gpu_is_wide(const gpu_call *call) {
    int wide = 0, integer = 1;
    for (uint32_t k = 0; k < call->n_in + call->n_out; k++) {
        uint32_t dtype = k < call->n_in ? call->in[k].dtype : call->out[k - call->n_in].dtype;
        wide |= dtype == AIRA_F64;
        integer &= dtype == AIRA_I32;
    }
    return wide || integer;
}

/* linear.cu: steps merged with GPU_LINEAR */
extern const gpu_kernel gpu_linear_kernel;

/* The kernel of an op, or NULL: then the host expands the op, if it can. */
const gpu_kernel *gpu_kernel_of(uint32_t op);

/* False where an op with a kernel has operands beyond what the kernel holds; tensors: operands, then results. */
int gpu_kernel_holds(uint32_t op, const aira_plan_tensor *tensors);

/* Each table ends with op 0. */
extern const gpu_kernel gpu_move_kernels[];        /* move.cu: leaves, shapes, indices */
extern const gpu_kernel gpu_reduce_kernels[];      /* reduce.cu: sums, running sums, orders */
extern const gpu_kernel gpu_row_kernels[];         /* rows.cu: norms, softmax, cross-entropy */
extern const gpu_kernel gpu_attention_kernels[];   /* attention.cu: attention, rotary positions */
extern const gpu_kernel gpu_head_kernels[];        /* head.cu: head and cross-entropy without logits */
extern const gpu_kernel gpu_convolution_kernels[]; /* convolution.cu: a few taps */
extern const gpu_kernel gpu_scan_kernels[];        /* scan.cu: Mamba-1 */
extern const gpu_kernel gpu_ssd_kernels[];         /* ssd.cu: Mamba-2 */
extern const gpu_kernel gpu_fft_kernels[];         /* fft.cu: long convolutions */
extern const gpu_kernel gpu_grouped_kernels[];     /* grouped.cu: products of groups of rows */
extern const gpu_kernel gpu_matmul_kernels[];      /* matmul.c */
extern const gpu_kernel gpu_chain_kernels[];       /* chain.c: elementwise steps, alone or fused */
extern const gpu_kernel gpu_mlp_kernel;            /* mlp.c: steps with GPU_MLP or GPU_MLP_BACKWARD; not in a table */

enum { GPU_TUNE = 1, GPU_TUNE_ANY_BITS = 2 };
/* matmul.c: one cuBLASLt handle with a workspace of its own. A product's algorithm is chosen when it is put
   on the stream, that is once per captured graph. tune: of large bf16 products, by trying what cuBLASLt offers when
   such a product is met first (tune.h): GPU_TUNE, what gives the same bits as its first answer, or GPU_TUNE_ANY_BITS,
   others too where results are bf16. beside: of another queue of the device, whose answers about algorithms it shares
   and which outlives it; or NULL. */
const char *gpu_matmul_create(int tf32, int tune, const gpu_matmul *beside, gpu_matmul **out);
void gpu_matmul_destroy(gpu_matmul *matmul);
/* Kinds of products that were asked about on the device so far, those of which other algorithms were tried, and those
   that got another one; the milliseconds that asking and trying took. */
typedef struct gpu_matmul_figures {
    double asked_ms, tried_ms;
    uint32_t asked, tried, changed, reserved;
} gpu_matmul_figures;
gpu_matmul_figures gpu_matmul_figures_of(const gpu_matmul *matmul);
/* Has cuBLASLt an algorithm for this merged product? */
int gpu_matmul_merges(const gpu_call *call);

/* A product inside a kernel that is made of several: c[M,N] = a[M,K] b[K,N], row-major without gaps; trans: the matrix
   lies transposed; add: to what c holds. dtype: of a and b; out_dtype: of c, the same or F32 with BF16 operands. */
typedef struct gpu_product {
    int64_t m, n, k;
    int trans_a, trans_b, add;
    uint32_t dtype, out_dtype;
} gpu_product;
const char *gpu_multiply(gpu_matmul *matmul, const gpu_product *product, const void *a, const void *b, void *c,
                         cudaStream_t stream);
/* Tries what is offered for a product, whatever its size, without keeping the outcome: for tests and benchmarks, who
   set seed and all of the contest and 0 else. */
struct gpu_contest;
const char *gpu_product_contest(gpu_matmul *matmul, const gpu_product *product, struct gpu_contest *contest);

/* chain.c. NULL with *why: a step that cannot stand in a chain, or out of memory. */
int gpu_chain_takes(uint32_t op);
gpu_chain *gpu_chain_compile(const aira_plan *plan, const aira_plan_step *step, const char **why);
void gpu_chain_destroy(gpu_chain *chain);
/* The tensors outside the chain that it reads or writes; views of a call come in this order, all in `in`. */
const uint32_t *gpu_chain_tensors(const gpu_chain *chain, uint32_t *n);

#ifdef __cplusplus
}
#endif
#endif
