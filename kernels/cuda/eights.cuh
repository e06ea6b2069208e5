/* eights.cuh - eight neighbours of bf16 as floats. */
#ifndef AIRA_GPU_EIGHTS_CUH
#define AIRA_GPU_EIGHTS_CUH

#include "vector.cuh"

/* Eight bf16: one access where they are aligned to 16 bytes, else two; the same values either way. */
struct float8_of {
    float v[8];
};
template <bool ONE> __device__ __forceinline__ uint4 fetch8(const __nv_bfloat16 *from) {
    if (ONE) return *(const uint4 *)from;
    uint2 low = *(const uint2 *)from, high = *(const uint2 *)(from + 4);
    return make_uint4(low.x, low.y, high.x, high.y);
}
__device__ __forceinline__ float8_of open8(uint4 x) {
    float4_of low = open4(make_uint2(x.x, x.y)), high = open4(make_uint2(x.z, x.w));
    return {{low.v[0], low.v[1], low.v[2], low.v[3], high.v[0], high.v[1], high.v[2], high.v[3]}};
}
__device__ __forceinline__ float8_of load8(const float *from) {
    float4_of low = load4(from), high = load4(from + 4);
    return {{low.v[0], low.v[1], low.v[2], low.v[3], high.v[0], high.v[1], high.v[2], high.v[3]}};
}
template <bool ONE> __device__ __forceinline__ void store8(__nv_bfloat16 *to, float8_of x) {
    uint4 y = make_uint4(pack2(x.v[0], x.v[1]), pack2(x.v[2], x.v[3]), pack2(x.v[4], x.v[5]), pack2(x.v[6], x.v[7]));
    if (ONE) {
        *(uint4 *)to = y;
    } else {
        *(uint2 *)to = make_uint2(y.x, y.y);
        *(uint2 *)(to + 4) = make_uint2(y.z, y.w);
    }
}

#endif
