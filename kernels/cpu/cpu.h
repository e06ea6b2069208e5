/* cpu.h - what the parts of the CPU device share: workers, scratch memory, views of tensors, the table of kernels.
 *
 * A plan becomes a program (program.c): one cpu_step per planned step, with the kernel that runs it. A kernel gets a
 * cpu_call: views of its operands and results for one copy, and the worker that calls it. It may spread tiles over the
 * pool (cpu_parallel) and take scratch memory from its worker (cpu_alloc).
 *
 * Invariants: tile boundaries and the order of every sum follow from shapes alone, so results do not depend on the
 * number of threads; kernels write every element of their results and read nothing that they or their operands' steps
 * did not write; nothing here is a global variable that changes.
 */
#ifndef AIRA_CPU_H
#define AIRA_CPU_H

#include <stdbool.h>

#include "aira/device.h"

/* --- pool.c: persistent threads ----------------------------------------------------------------------------------- */

typedef struct cpu_pool cpu_pool;
typedef struct cpu_worker cpu_worker;
typedef void (*cpu_body)(void *job, int64_t tile, cpu_worker *worker);

/* threads >= 1, the caller's own included. NULL: out of memory, or threads could not be started. */
cpu_pool *cpu_pool_create(unsigned threads);
void cpu_pool_destroy(cpu_pool *pool); /* accepts NULL */
cpu_worker *cpu_pool_caller(cpu_pool *pool);
unsigned cpu_pool_threads(const cpu_pool *pool);
/* body(job, t, worker) once for every t in 0 .. tiles-1, in any order, on any worker; returns when all are done.
   Called from inside a body, it runs its tiles in order on the same worker. */
void cpu_parallel(cpu_worker *self, int64_t tiles, cpu_body body, void *job);

/* Scratch of one worker: 64-byte aligned, undefined content, freed by cpu_release to an earlier mark. NULL when memory
   is exhausted; the pool remembers, so a kernel just returns and the run fails afterwards. */
typedef struct cpu_mark {
    unsigned block;
    size_t used;
} cpu_mark;
void *cpu_alloc(cpu_worker *worker, size_t bytes);
cpu_mark cpu_scratch_mark(const cpu_worker *worker);
void cpu_release(cpu_worker *worker, cpu_mark mark);
bool cpu_pool_exhausted(cpu_pool *pool); /* true once after an allocation failed; clears the memory of it */

/* --- views -------------------------------------------------------------------------------------------------------- */

typedef struct cpu_view {
    char *data;
    uint32_t dtype, reserved;
    int64_t n; /* elements */
    aira_shape shape;
} cpu_view;

static inline size_t cpu_bytes_of(uint32_t dtype) { return dtype == AIRA_F64 ? 8u : dtype == AIRA_BF16 ? 2u : 4u; }
static inline int64_t cpu_elements(const aira_shape *shape) {
    int64_t n = 1;
    for (uint32_t d = 0; d < shape->rank; d++) n *= shape->dims[d];
    return n;
}
/* Product of extents from axis `from` up to, not including, `to`. */
static inline int64_t cpu_extent(const aira_shape *shape, uint32_t from, uint32_t to) {
    int64_t n = 1;
    for (uint32_t d = from; d < to; d++) n *= shape->dims[d];
    return n;
}
static inline int64_t cpu_last(const aira_shape *shape) { return shape->rank ? shape->dims[shape->rank - 1] : 1; }

/* convert.c: n elements from one element type to another (I32 truncates towards zero and saturates; NaN gives 0). */
void cpu_convert(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, int64_t n);

/* --- calls -------------------------------------------------------------------------------------------------------- */

typedef struct cpu_call {
    cpu_worker *worker;
    const aira_plan_step *step;
    const cpu_view *in, *out;
    uint32_t n_in, n_out;
    const void *state;    /* what the kernel's compile made, or NULL */
    const void *prepared; /* what cpu_prepare made once for the calls of all blocks, or NULL */
    uint64_t seed;
    int64_t units, all_units; /* chains: the part of the leading axis that the views show; all_units 0: all of it */
    bool alone;               /* one of many blocks: no use in cutting it into tasks */
} cpu_call;
typedef void (*cpu_kernel)(const cpu_call *call);

/* What a kernel can make once and use in every block: packed weights, tables. The call shows the whole step; what is
   not the same for all blocks must not be looked at. */
typedef struct cpu_prepare {
    size_t (*bytes)(const cpu_call *call); /* 0: nothing to make */
    void (*fill)(const cpu_call *call, void *to);
} cpu_prepare;

/* Which instructions may be used; chosen at create from configuration and CPUID. */
typedef enum { CPU_ISA_REFERENCE, CPU_ISA_AVX2, CPU_ISA_AVX512, CPU_ISA_AMX } cpu_isa;

/* isa.c: the best that this processor and its operating system offer. */
cpu_isa cpu_isa_best(void);

/* move.c: ops that only move elements, of any type. NULL if op is none of them. */
cpu_kernel cpu_move_kernel(uint32_t op);
/* reference.c: everything else but elementwise ops. */
cpu_kernel cpu_reference_kernel(uint32_t op);

/* --- chain.c: elementwise steps, alone or chained ----------------------------------------------------------------- */

typedef struct cpu_chain cpu_chain;
bool cpu_chain_takes(uint32_t op); /* ops that may stand in a chain */
/* NULL: out of memory, or (with *why set to a constant sentence) a step that cannot be run in a chain. */
cpu_chain *cpu_chain_compile(const aira_plan *plan, const aira_plan_step *step, cpu_isa isa, const char **why);
void cpu_chain_destroy(cpu_chain *chain);
/* The tensors outside the chain that it reads or writes: ids, n of them; views of a call come in this order. */
const uint32_t *cpu_chain_tensors(const cpu_chain *chain, uint32_t *n);
/* What the chain does with its k-th tensor: CPU_READS, CPU_WRITES or both. */
#define CPU_READS 1u
#define CPU_WRITES 2u
uint32_t cpu_chain_uses(const cpu_chain *chain, uint32_t k);
const aira_shape *cpu_chain_shape(const cpu_chain *chain); /* its iteration space */
void cpu_chain_run(const cpu_call *call);                  /* state: the chain; in: views of cpu_chain_tensors */

#endif
