/* interpret.cu - runs a compiled chain where no kernel was generated for it: one thread per element, values in local
 * memory, a switch per instruction.
 */
#include <string.h>

#include "chain.h"
#include "element.cuh"

#include "scalar.cuh"

template <class M>
__device__ typename M::real apply(const gpu_chain_instruction &code, typename M::real a, typename M::real b,
                                  typename M::real c) {
    typedef scalar<M> op;
#define ONE(name)        \
    case AIRA_OP_##name: \
        return op::name(a);
#define TWO(name)        \
    case AIRA_OP_##name: \
        return op::name(a, b);
    switch (code.op) {
        ONE(NEG)
        ONE(EXP)
        ONE(LOG)
        ONE(SQRT)
        ONE(RSQRT)
        ONE(SIGMOID)
        ONE(TANH)
        ONE(SILU)
        ONE(RELU)
        ONE(SOFTPLUS)
        ONE(SIN)
        ONE(COS)
        ONE(ABS)
        TWO(ADD)
        TWO(SUB)
        TWO(MUL)
        TWO(MIN)
        TWO(MAX)
        TWO(POW)
        TWO(EQ)
        TWO(NE)
        TWO(LT)
        TWO(LE)
        TWO(GT)
        TWO(GE)
        TWO(SILU_BACKWARD)
    case AIRA_OP_GELU:
        return op::GELU(a, code.mode);
    case AIRA_OP_GELU_BACKWARD:
        return op::GELU_BACKWARD(a, b, code.mode);
    case AIRA_OP_DIV:
        return code.truncate ? M::trunc(a / b) : a / b;
    case AIRA_OP_WHERE:
        return op::WHERE(a, b, c);
    default:
        return a; /* CAST, BROADCAST, ASSIGN: loading and storing do the work */
    }
#undef ONE
#undef TWO
}

/* What a store of this type would keep. */
template <class R> __device__ R rounded(R v, uint32_t dtype) {
    switch (dtype) {
    case AIRA_F32:
        return (R)(float)v;
    case AIRA_BF16:
        return (R)__bfloat162float(__float2bfloat16_rn((float)v));
    case AIRA_I32:
        return (R)to_int(v);
    default:
        return v;
    }
}

/* A chain's program as it is passed to the kernel, by value. */
struct flat_program {
    int64_t n;
    uint32_t n_loads, n_code;
    gpu_chain_load loads[GPU_CHAIN_LOADS];
    gpu_chain_instruction code[GPU_CHAIN_CODE];
};

template <class M>
__global__ void __launch_bounds__(256)
    interpret_kernel(const __grid_constant__ flat_program program, const __grid_constant__ gpu_chain_pointers at) {
    typedef typename M::real R;
    R values[GPU_CHAIN_VALUES];
    EACH(i, program.n) {
        for (uint32_t k = 0; k < program.n_loads; k++) {
            const gpu_chain_load &l = program.loads[k];
            int64_t offset = l.access == GPU_WHOLE ? i : 0, rest = i;
            if (l.access == GPU_WALK)
                for (int d = (int)l.n_dims - 1; d >= 0; d--) {
                    offset += rest % l.extents[d] * l.strides[d];
                    rest /= l.extents[d];
                }
            values[k] = load<R>(elements{at.data[l.view], l.dtype}, offset);
        }
        for (uint32_t k = 0; k < program.n_code; k++) {
            const gpu_chain_instruction &code = program.code[k];
            R v = apply<M>(code, values[code.in[0]], values[code.in[1]], values[code.in[2]]);
            values[program.n_loads + k] = code.narrow ? rounded<R>(v, code.narrow) : v;
        }
        for (uint32_t k = 0; k < program.n_code; k++) {
            const gpu_chain_instruction &code = program.code[k];
            if (code.stored) store<R>(elements{at.data[code.view], code.dtype}, i, values[program.n_loads + k]);
        }
    }
}

extern "C" const char *gpu_chain_interpret(const gpu_chain *chain, const gpu_chain_pointers *pointers,
                                           cudaStream_t stream) {
    const gpu_chain_program *p = &chain->program;
    unsigned blocks = blocks_for(p->n, 256);
    flat_program flat = {p->n, p->n_loads, p->n_code, {}, {}};
    memcpy(flat.loads, p->loads, p->n_loads * sizeof *p->loads);
    memcpy(flat.code, p->code, p->n_code * sizeof *p->code);
    if (chain->wide)
        interpret_kernel<math64><<<blocks, 256, 0, stream>>>(flat, *pointers);
    else
        interpret_kernel<math32><<<blocks, 256, 0, stream>>>(flat, *pointers);
    return gpu_launched();
}
