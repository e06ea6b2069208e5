/* blocks.h - runs of steps that work through blocks of sequences.
 *
 * Steps whose operands and results all lie along the same leading axis (units: sequences) can run block after block:
 * a block passes through all steps of the run while it is in the L2 cache, and blocks are what threads share. Tensors
 * that nobody needs after the run never reach memory: they live in the worker's scratch, one block at a time.
 *
 * A step gives the same bits inside a run and alone: parts along the leading axis are independent, and sums over it are
 * taken over the same groups of units in both cases. So it does not matter that runs depend on where the plan put its
 * tensors (which differs between numbers of copies).
 */
#ifndef AIRA_CPU_BLOCKS_H
#define AIRA_CPU_BLOCKS_H

#include "cpu.h"

typedef struct cpu_step {
    const aira_plan_step *step;
    cpu_kernel kernel;
    cpu_chain *chain;
    const uint32_t *in, *out; /* tensors; of a chain: all in `in` */
    uint32_t n_in, n_out;
    const cpu_prepare *prepare; /* or NULL */
    bool fast;                  /* the kernel is one of an instruction set, or a chain */
} cpu_step;

static inline const aira_plan_tensor *cpu_tensor(const aira_plan *plan, uint32_t id) {
    return (const aira_plan_tensor *)((const char *)plan->tensors + (size_t)id * plan->tensor_stride);
}
static inline uint32_t cpu_operand_id(const cpu_step *step, uint32_t k) {
    return k < step->n_in ? step->in[k] : step->out[k - step->n_in];
}

/* How a step uses an operand or result when it runs for a few units only. */
typedef enum {
    CPU_WHOLE, /* reads all of it, whatever the units */
    CPU_PART,  /* the units' part along the leading axis */
    CPU_SUMMED /* a result that sums over units: one per group of units, added in order */
} cpu_share;

/* partition.c: shares of operands, then results (room for n_in + n_out), and how many units the step has. False: the
   step cannot be cut along the leading axis. */
bool cpu_partition(const aira_plan *plan, const cpu_step *step, cpu_share *shares, int64_t *units);

typedef enum { CPU_INSIDE, CPU_BEFORE, CPU_AFTER } cpu_when; /* relative to the blocks of a run */
typedef enum { CPU_MEMORY, CPU_SCRATCH, CPU_PARTIAL } cpu_place;

typedef struct cpu_operand {
    cpu_share share;
    cpu_place place;
    uint64_t offset; /* SCRATCH: bytes per unit of a block; PARTIAL: floats */
} cpu_operand;

typedef struct cpu_run {
    uint32_t first, end; /* steps */
    int64_t units, per_block, blocks;
    int64_t group, groups; /* units whose sums make one partial sum; per_block is a multiple of group */
    uint64_t scratch;      /* bytes per unit of a block */
    uint64_t partial;      /* floats per group */
    cpu_when *when;        /* of step first + s */
    bool *sums;            /* has step first + s results that sum over units? */
    cpu_operand *operands; /* of the steps inside, one after the other */
    uint32_t *at;          /* where step first + s begins in operands */
} cpu_run;

typedef struct cpu_runs {
    cpu_run *runs; /* in order */
    uint32_t n;
    cpu_run *lone; /* [n_steps]: the step as a run of its own where it has sums, else without steps (end 0) */
} cpu_runs;

/* False: out of memory; what was found is to be released in any case. */
bool cpu_runs_find(const aira_plan *plan, const cpu_step *steps, uint32_t n_steps, cpu_runs *runs);
void cpu_runs_release(cpu_runs *runs, uint32_t n_steps);

#endif
