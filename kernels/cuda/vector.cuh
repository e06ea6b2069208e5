/* vector.cuh - four neighbours in one access, fp32 or bf16, as floats. */
#ifndef AIRA_GPU_VECTOR_CUH
#define AIRA_GPU_VECTOR_CUH

#include <cuda_bf16.h>
#include <stdint.h>

struct float4_of {
    float v[4];
};

/* As they lie in memory: half the registers for bf16, until they are opened. */
__device__ __forceinline__ float4 fetch4(const float *from) { return *(const float4 *)from; }
__device__ __forceinline__ uint2 fetch4(const __nv_bfloat16 *from) { return *(const uint2 *)from; }
__device__ __forceinline__ float4_of open4(float4 x) { return {{x.x, x.y, x.z, x.w}}; }
__device__ __forceinline__ float4_of open4(uint2 x) {
    return {{__uint_as_float(x.x << 16), __uint_as_float(x.x & 0xffff0000u), __uint_as_float(x.y << 16),
             __uint_as_float(x.y & 0xffff0000u)}};
}
template <class T> __device__ __forceinline__ float4_of load4(const T *from) { return open4(fetch4(from)); }
__device__ __forceinline__ uint32_t pack2(float low, float high) {
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}
__device__ __forceinline__ void store4(float *to, float4_of x) {
    *(float4 *)to = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
}
__device__ __forceinline__ void store4(__nv_bfloat16 *to, float4_of x) {
    *(uint2 *)to = make_uint2(pack2(x.v[0], x.v[1]), pack2(x.v[2], x.v[3]));
}

/* Is the address a multiple of the bytes of four elements? */
static inline bool aligned4(const void *data, uint32_t bytes) { return (uintptr_t)data % (4 * bytes) == 0; }

#endif
