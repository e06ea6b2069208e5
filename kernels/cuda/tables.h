/* tables.h - what a queue keeps in device memory: sines and cosines of rotary positions, computed on the host in
 * double, and counters.
 */
#ifndef AIRA_GPU_TABLES_H
#define AIRA_GPU_TABLES_H

#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* float2 (cosine, sine) [t_n][d_n / 2] in device memory for positions 0..t_n-1, halves, or NULL if it cannot be had.
   Kept until destroy. `make` 0: only looks; what a captured call needs was made when its program was compiled. */
const void *gpu_tables_rope(gpu_tables *tables, int64_t t_n, int64_t d_n, double base, int make);
#define GPU_COUNTERS 1024
/* 32-bit counters in device memory for kernels that find out which of their blocks ends last: 0 before and after each.
   A queue's kernels run one after another, so these serve all. NULL as above. */
void *gpu_tables_counter(gpu_tables *tables, int make);
gpu_tables *gpu_tables_create(void);
void gpu_tables_destroy(gpu_tables *tables);

#ifdef __cplusplus
}
#endif
#endif
