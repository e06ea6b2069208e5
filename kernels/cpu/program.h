/* program.h - a plan, resolved for running. */
#ifndef AIRA_CPU_PROGRAM_H
#define AIRA_CPU_PROGRAM_H

#include "cpu.h"

typedef struct cpu_program cpu_program;

/* The plan stays valid until cpu_program_destroy. NULL: *why is a constant sentence, or NULL when out of memory. */
cpu_program *cpu_program_create(const aira_plan *plan, cpu_isa isa, const char **why);
void cpu_program_destroy(cpu_program *program);
/* Runs every step in order. False: out of memory. */
bool cpu_program_run(const cpu_program *program, cpu_pool *pool, void *const buffers[AIRA_N_BUFFERS], uint64_t seed);

/* The kernel for an op, NULL if the device has none. Elementwise ops and chains: cpu_chain_run. */
cpu_kernel cpu_program_kernel(uint32_t op);

#endif
