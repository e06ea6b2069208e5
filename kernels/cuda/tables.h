/* tables.h - sines and cosines of rotary positions, computed once per queue on the host, in double. */
#ifndef AIRA_GPU_TABLES_H
#define AIRA_GPU_TABLES_H

#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* float2 (cosine, sine) [t_n][d_n / 2] in device memory for positions 0..t_n-1, halves, or NULL if it cannot be had.
   Kept until destroy. `make` 0: only looks; what a captured call needs was made when its program was compiled. */
const void *gpu_tables_rope(gpu_tables *tables, int64_t t_n, int64_t d_n, double base, int make);
gpu_tables *gpu_tables_create(void);
void gpu_tables_destroy(gpu_tables *tables);

#ifdef __cplusplus
}
#endif
#endif
