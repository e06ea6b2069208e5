/* isa.c - which instructions this processor and its operating system offer. */
#include <cpuid.h>

#include "fast.h"

/* Bits of XCR0: the registers that the operating system saves. */
static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

cpu_isa cpu_isa_best(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA)) return CPU_ISA_REFERENCE;
    uint64_t state = saved_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (state & 6) != 6) return CPU_ISA_REFERENCE;
    unsigned wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((b & wide) != wide || (state & 0xe6) != 0xe6) return CPU_ISA_AVX2;
    return CPU_ISA_AVX512;
}

const cpu_fast *cpu_fast_of(cpu_isa isa) {
    switch (isa) {
    case CPU_ISA_AVX2:
        return &cpu_fast_avx2;
    case CPU_ISA_AVX512:
    case CPU_ISA_AMX:
        return &cpu_fast_avx512;
    default:
        return NULL;
    }
}
