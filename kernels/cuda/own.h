/* own.h - results that move from the arena into memory of the program's own, where the planner's reuse is in the way.
 */
#ifndef AIRA_GPU_OWN_H
#define AIRA_GPU_OWN_H

#include "fuse.h"

typedef struct lease lease; /* own.c: own memory in use between two steps */

typedef struct mover {
    fuser f; /* its plan is the layout's */
    gpu_layout *layout;
    lease *leases;
    uint32_t n_leases, room;
    uint64_t base;      /* own memory below it is others' */
    bool out_of_memory; /* sticky; set by what follows */
} mover;

/* Steps as they stand, none gone. False: out of memory. */
bool gpu_mover_open(mover *m, gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t n);
/* Drops the steps that are gone and lowers *n. False where memory was short on the way. */
bool gpu_mover_close(mover *m, uint32_t *n);

/* Does a step read bytes that meet the range, write any? equal: whatever it reads of them is just them. */
void gpu_mover_uses(const fuser *f, uint32_t s, const gpu_range *range, bool *reads, bool *writes, bool *equal);
/* May what step s wrote move, and who reads it last? skip: steps that do not count. */
bool gpu_mover_may(const fuser *f, uint32_t s, const gpu_range *range, const uint32_t *skip, uint32_t n_skip,
                   uint32_t *last);
/* Own memory for steps first..last. UINT64_MAX: out of memory. */
uint64_t gpu_mover_lease(mover *m, uint32_t first, uint32_t last, uint64_t bytes);
/* What step s wrote is found at `offset` of the own memory by its readers. */
void gpu_mover_move(mover *m, uint32_t s, const gpu_range *range, const uint32_t *skip, uint32_t n_skip,
                    uint64_t offset);
/* A tensor like another at this offset. */
uint32_t gpu_mover_tensor(mover *m, uint32_t like, uint64_t offset);

#endif
