/* apart.h - places of their own for what batched steps write.
 *
 * The planner reuses the arena in the planned order, so that a step which could run earlier, later or beside others of
 * its kind finds its place taken. Casts of weights, what updates of parameters leave behind and sums to one number are
 * small: they get memory of the program's own, and their order is free. Constants, too: as nobody else writes there,
 * they are written once, before the first run. And what would keep steps from being one, for as long as those steps
 * take: a norm's gradient on operands of the products before it, operands of these that are overwritten in between, a
 * product whose place is in use while another of the same rows runs.
 */
#ifndef AIRA_GPU_APART_H
#define AIRA_GPU_APART_H

#include "steps.h"

/* Moves them into the layout's own memory. Steps that need to run but once come to the front, *once of them. False: out
   of memory. */
bool gpu_set_apart(gpu_layout *layout, gpu_step *steps, uint32_t n, uint32_t *once);

#endif
