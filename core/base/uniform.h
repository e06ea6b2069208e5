/* core/base/uniform.h - many of aira_element_uniform's numbers (aira/rng.h) at once, to the bit. */
#ifndef AIRA_BASE_UNIFORM_H
#define AIRA_BASE_UNIFORM_H

#include <stdint.h>

/* What becomes of a number u: (shift + scale * u) * bound * mult, each operation rounded. */
typedef struct aira__uniform_map {
    double shift, scale, bound, mult;
} aira__uniform_map;

/* out[k] = map of aira_element_uniform(key, 0, from + k), k < n. */
void aira__uniforms(uint64_t key, uint64_t from, int64_t n, const aira__uniform_map *map, double *out);

#endif
