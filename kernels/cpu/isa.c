/* isa.c - which instructions this processor and this kernel offer. */
#include "cpu.h"

cpu_isa cpu_isa_best(void) { return CPU_ISA_REFERENCE; }
