/* core/base/uniform.h - many of aira_element_uniform's numbers (aira/rng.h) at once, to the bit. */
#ifndef AIRA_BASE_UNIFORM_H
#define AIRA_BASE_UNIFORM_H

#include <stdint.h>

/* out[k] = aira_element_uniform(key, 0, from + k) for k < n. */
void aira__uniforms(uint64_t key, uint64_t from, int64_t n, double *out);

#endif
