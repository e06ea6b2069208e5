/* isa.c - which instructions this processor and its operating system offer. */
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fast.h"

/* Bits of XCR0: the registers that the operating system saves. */
static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* AMX registers are large, so Linux hands them out on request only (arch_prctl ARCH_REQ_XCOMP_PERM, XTILEDATA). */
static bool tiles_granted(uint64_t state) {
    return (state & 0x60000) == 0x60000 && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

cpu_isa cpu_isa_best(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA)) return CPU_ISA_REFERENCE;
    uint64_t state = saved_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (state & 6) != 6) return CPU_ISA_REFERENCE;
    unsigned wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL, tiles = 1u << 22 | 1u << 24;
    if ((b & wide) != wide || (state & 0xe6) != 0xe6) return CPU_ISA_AVX2;
    return (d & tiles) == tiles && tiles_granted(state) ? CPU_ISA_AMX : CPU_ISA_AVX512;
}

cpu_kernel cpu_bf16_matmul(cpu_isa isa) {
    unsigned a, b, c, d;
    if (isa == CPU_ISA_AMX) return cpu_matmul_tiles;
    if (isa != CPU_ISA_AVX512 || !__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & 1u << 5)) return NULL;
    return cpu_matmul_dots;
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
