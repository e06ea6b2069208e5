/* aira/op_table.h - every operation that a graph may hold, in one table.
 *
 * X(NAME, code, class, n_in, n_out, doc). Codes are frozen for ABI major 1: graphs are serialised with them. n_in is
 * the number of operands, -1 where it varies. The serialiser, the op documentation (docs/ops.md), the gradient test and
 * the device conformance test are generated from or checked against this table.
 *
 * Conventions
 *   - tensors are dense and row-major; "rows" of [.., C] are its slices along the last axis
 *   - attributes: i[] are int64, f[] are double, in the order the doc names them
 *   - element types: F32, F64, BF16 compute tensors and I32 index tensors; kernels accumulate bf16 in fp32
 *   - elementwise operands broadcast as in numpy (right-aligned, extent 1 stretches)
 */
#ifndef AIRA_OP_TABLE_H
#define AIRA_OP_TABLE_H

/* classes */
#define AIRA_CLASS_LEAF 1u        /* no operands */
#define AIRA_CLASS_ELEMENTWISE 2u /* out[i] depends on operand elements at i only (after broadcast) */
#define AIRA_CLASS_CONTRACT 3u
#define AIRA_CLASS_REDUCE 4u
#define AIRA_CLASS_SHAPE 5u
#define AIRA_CLASS_INDEX 6u
#define AIRA_CLASS_COMPOSITE 7u /* has an expansion into the classes above */
#define AIRA_CLASS_EFFECT 8u    /* writes a variable */

#define AIRA_OP_TABLE(X)                                                                                               \
    X(PARAM, 1, LEAF, 0, 1, "a variable: i variable index")                                                            \
    X(INPUT, 2, LEAF, 0, 1, "an input of the program: i input index")                                                  \
    X(CONSTANT, 3, LEAF, 0, 1, "every element is f value")                                                             \
    X(IOTA, 4, LEAF, 0, 1, "index along i axis")                                                                       \
    X(RANDOM, 5, LEAF, -1, 1,                                                                                          \
      "aira_element_uniform / _normal (rng.h) of (i key xor the run's seed, draw number, element): i distribution (0 " \
      "uniform, 1 normal), key; optional I32 scalar operand: draw number, else 0")                                     \
    X(NEG, 16, ELEMENTWISE, 1, 1, "-x")                                                                                \
    X(EXP, 17, ELEMENTWISE, 1, 1, "exp x")                                                                             \
    X(LOG, 18, ELEMENTWISE, 1, 1, "natural log x")                                                                     \
    X(SQRT, 19, ELEMENTWISE, 1, 1, "square root")                                                                      \
    X(RSQRT, 20, ELEMENTWISE, 1, 1, "1 / square root")                                                                 \
    X(SIGMOID, 21, ELEMENTWISE, 1, 1, "1 / (1 + exp -x)")                                                              \
    X(TANH, 22, ELEMENTWISE, 1, 1, "hyperbolic tangent")                                                               \
    X(SILU, 23, ELEMENTWISE, 1, 1, "x * sigmoid x")                                                                    \
    X(GELU, 24, ELEMENTWISE, 1, 1, "GELU; i 0: tanh approximation, 1: exact (erf)")                                    \
    X(RELU, 25, ELEMENTWISE, 1, 1, "max(x, 0)")                                                                        \
    X(SOFTPLUS, 26, ELEMENTWISE, 1, 1, "log(1 + exp x), without overflow")                                             \
    X(SIN, 27, ELEMENTWISE, 1, 1, "sine")                                                                              \
    X(COS, 28, ELEMENTWISE, 1, 1, "cosine")                                                                            \
    X(ABS, 29, ELEMENTWISE, 1, 1, "absolute value")                                                                    \
    X(CAST, 30, ELEMENTWISE, 1, 1, "to the output's element type; I32 truncates towards zero")                         \
    X(ADD, 32, ELEMENTWISE, 2, 1, "a + b")                                                                             \
    X(SUB, 33, ELEMENTWISE, 2, 1, "a - b")                                                                             \
    X(MUL, 34, ELEMENTWISE, 2, 1, "a * b")                                                                             \
    X(DIV, 35, ELEMENTWISE, 2, 1, "a / b; I32 truncates towards zero")                                                 \
    X(MIN, 36, ELEMENTWISE, 2, 1, "smaller; NaN if either is NaN")                                                     \
    X(MAX, 37, ELEMENTWISE, 2, 1, "larger; NaN if either is NaN")                                                      \
    X(POW, 38, ELEMENTWISE, 2, 1, "a to the power b, a >= 0 or b integral")                                            \
    X(EQ, 39, ELEMENTWISE, 2, 1, "1 where a == b, else 0")                                                             \
    X(NE, 40, ELEMENTWISE, 2, 1, "1 where a != b, else 0")                                                             \
    X(LT, 41, ELEMENTWISE, 2, 1, "1 where a < b, else 0")                                                              \
    X(LE, 42, ELEMENTWISE, 2, 1, "1 where a <= b, else 0")                                                             \
    X(GT, 43, ELEMENTWISE, 2, 1, "1 where a > b, else 0")                                                              \
    X(GE, 44, ELEMENTWISE, 2, 1, "1 where a >= b, else 0")                                                             \
    X(GELU_BACKWARD, 45, ELEMENTWISE, 2, 1, "(x, g): g * GELU'(x); i as GELU")                                         \
    X(SILU_BACKWARD, 46, ELEMENTWISE, 2, 1, "(x, g): g * SiLU'(x)")                                                    \
    X(WHERE, 48, ELEMENTWISE, 3, 1, "(c, a, b): a where c != 0, else b")                                               \
    X(MATMUL, 64, CONTRACT, 2, 1,                                                                                      \
      "a[.., M, K] b[.., K, N]; i trans_a, trans_b: the last two axes are swapped in memory; b of rank 2 serves "      \
      "every batch")                                                                                                   \
    X(SUM, 72, REDUCE, 1, 1, "over the axes in bit mask i mask; i keep: extents of 1 stay")                            \
    X(MAX_REDUCE, 73, REDUCE, 1, 1, "largest, as SUM")                                                                 \
    X(CUMSUM, 74, REDUCE, 1, 1, "running sum along i axis; i reverse; i exclusive")                                    \
    X(RESHAPE, 80, SHAPE, 1, 1, "same elements in the same order")                                                     \
    X(TRANSPOSE, 81, SHAPE, 1, 1, "out axis k is in axis i[k]")                                                        \
    X(SLICE, 82, SHAPE, 1, 1, "i length elements along i axis from i start: i axis, start, length")                    \
    X(CONCAT, 83, SHAPE, -1, 1, "along i axis")                                                                        \
    X(PAD, 84, SHAPE, 1, 1, "along i axis: i before and i after elements of f value")                                  \
    X(BROADCAST, 85, SHAPE, 1, 1, "to the output's shape, as numpy")                                                   \
    X(GATHER, 96, INDEX, 2, 1, "(x[V, ..], idx I32[..]): rows of x; an index outside 0..V-1 gives zeros")              \
    X(SCATTER_ADD, 97, INDEX, 2, 1,                                                                                    \
      "(idx I32[N..], src[N.., ..]): out[V, ..] sums src rows by index in order; out-of-range rows are dropped")       \
    X(GATHER_LAST, 98, INDEX, 2, 1, "(x[.., V], idx I32[.., K]): elements of each row; out of range gives 0")          \
    X(SCATTER_LAST, 99, INDEX, 2, 1,                                                                                   \
      "(idx I32[.., K], src[.., K]): out[.., V] sums elements by index in order; out of range is dropped")             \
    X(TOP_K, 100, INDEX, 1, 2, "the i k largest of each row, descending, ties by lower index: values, I32 indices")    \
    X(ARGSORT, 101, INDEX, 1, 1, "I32 order of each row, stable; i descending")                                        \
    X(RMS_NORM, 128, COMPOSITE, 2, 1, "(x[.., C], w[C]): x / sqrt(mean x^2 + f eps) * w")                              \
    X(RMS_NORM_BACKWARD, 129, COMPOSITE, 3, 2, "(x, w, g): dx, dw")                                                    \
    X(LAYER_NORM, 130, COMPOSITE, 3, 1, "(x[.., C], w[C], b[C]): (x - mean) / sqrt(var + f eps) * w + b")              \
    X(LAYER_NORM_BACKWARD, 131, COMPOSITE, 4, 3, "(x, w, b, g): dx, dw, db")                                           \
    X(SOFTMAX, 132, COMPOSITE, 1, 1, "along the last axis")                                                            \
    X(SOFTMAX_BACKWARD, 133, COMPOSITE, 2, 1, "(y, g): dx")                                                            \
    X(ATTENTION, 134, COMPOSITE, -1, 2,                                                                                \
      "(q[B,T,H,D], k[B,S,G,D], v[B,S,G,E], optional mask[B,S]: 0 hides a key): o[B,T,H,E], lse F32[B,H,T]; i "        \
      "causal, window (0: none; query t sees keys t-window+1..t if causal, else |t-s| < window); f scale; H is a "     \
      "multiple of G; a row with no visible key gives 0")                                                              \
    X(ATTENTION_BACKWARD, 135, COMPOSITE, -1, 3,                                                                       \
      "(q, k, v, o, lse, do, optional mask): dq, dk, dv; attributes as ATTENTION")                                     \
    X(ROPE, 136, COMPOSITE, -1, 1,                                                                                     \
      "(x[B,T,H,D], optional positions I32[B,T]): rotates the first i n_rot of D; i interleaved (0: halves, 1: "       \
      "pairs), i inverse; f base")                                                                                     \
    X(CONV1D_CAUSAL, 137, COMPOSITE, 3, 1, "(x[B,T,C], w[C,K], b[C]): y[t] = b + sum_k w[k] x[t - (K-1) + k]")         \
    X(CONV1D_CAUSAL_BACKWARD, 138, COMPOSITE, 3, 3, "(x, w, g): dx, dw, db")                                           \
    X(SELECTIVE_SCAN, 139, COMPOSITE, 6, 1,                                                                            \
      "Mamba-1: (u[B,T,C], delta[B,T,C], A[C,N], B[B,T,N], C[B,T,N], D[C]): h = exp(delta A) h + delta B u; y = C h "  \
      "+ D u")                                                                                                         \
    X(SELECTIVE_SCAN_BACKWARD, 140, COMPOSITE, 7, 6, "(u, delta, A, B, C, D, g): du, ddelta, dA, dB, dC, dD")          \
    X(SSD, 141, COMPOSITE, 6, 1,                                                                                       \
      "Mamba-2: (x[B,T,H,P], dt[B,T,H], A[H], B[B,T,G,N], C[B,T,G,N], D[H]): h = exp(dt A) h + dt B x; y = C h + D "   \
      "x; heads h of group h*G/H share B, C")                                                                          \
    X(SSD_BACKWARD, 142, COMPOSITE, 7, 6, "(x, dt, A, B, C, D, g): dx, ddt, dA, dB, dC, dD")                           \
    X(FFT_CONV, 143, COMPOSITE, 2, 1, "(u[B,T,C], k[C,T]): causal convolution y[t] = sum_s k[s] u[t-s]")               \
    X(FFT_CONV_BACKWARD, 144, COMPOSITE, 3, 2, "(u, k, g): du, dk")                                                    \
    X(GROUPED_MATMUL, 145, COMPOSITE, 3, 1,                                                                            \
      "(x[N,K], w[E,K,M], counts I32[E]): rows of x lie group by group; each times its group's w; i trans_w: w is "    \
      "[E,M,K]; rows beyond the sum of counts give 0")                                                                 \
    X(GROUPED_WGRAD, 146, COMPOSITE, 3, 1, "(x[N,K], g[N,M], counts I32[E]): dw[E,K,M]")                               \
    X(CROSS_ENTROPY, 147, COMPOSITE, 2, 1,                                                                             \
      "(logits[.., V], targets I32[..]): F32 negative log likelihood; a target outside 0..V-1 gives 0")                \
    X(CROSS_ENTROPY_BACKWARD, 148, COMPOSITE, 3, 1, "(logits, targets, g[..]): dlogits")                               \
    X(HEAD_CROSS_ENTROPY, 149, COMPOSITE, 3, 1,                                                                        \
      "(x[.., D], w[V,D], targets I32[..]): F32 CROSS_ENTROPY of x w' without the logits; x and w of one type")        \
    X(HEAD_CROSS_ENTROPY_BACKWARD, 150, COMPOSITE, 4, 3,                                                               \
      "(x, w, targets, g[..]): dx, dw in fp32, and the forward's result, all in one pass")                             \
    X(ASSIGN, 192, EFFECT, 1, 0, "writes the operand into variable i index; runs after every reader of the old value") \
    X(CHAIN, 255, ELEMENTWISE, -1, -1,                                                                                 \
      "made by the planner only: elementwise steps over one iteration space, run tile by tile")

typedef enum aira_op_code {
#define AIRA_OP_ENUM_ROW(name, code, cls, n_in, n_out, doc) AIRA_OP_##name = code,
    AIRA_OP_TABLE(AIRA_OP_ENUM_ROW)
#undef AIRA_OP_ENUM_ROW
} aira_op_code;

#endif
