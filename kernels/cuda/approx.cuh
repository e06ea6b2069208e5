/* approx.cuh - functions as the slow unit has them: one instruction each, exact enough for what becomes bf16. */
#ifndef AIRA_GPU_APPROX_CUH
#define AIRA_GPU_APPROX_CUH

#define LOG2E 1.4426950408889634f

/* 2^x within 2^-22 of it; results below 2^-126 are 0. */
__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* 1 / x within an ulp; beyond 2^126 it is 0. */
__device__ __forceinline__ float inverse(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* -1 and 1 far out; within 2^-11, which bf16 does not show. */
__device__ __forceinline__ float tanh_near(float x) {
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* 0 and 1 far out; within 2^-12. One value of the slow unit, where a power of two and an inverse would be two. */
__device__ __forceinline__ float sigmoid_near(float x) { return 0.5f * tanh_near(0.5f * x) + 0.5f; }

#endif
