/* memorization.c - recall facts that stand in no context: a fixed map from keys to values.
 *
 * Tokens: n = vocab-1, keys 0 .. K-1 with K = n/2, values K .. n-1, insert = vocab-1. The map is injective, one for all
 * rows and splits, and depends on map_seed alone: it is what the model has to learn by heart. A row is length/2 pairs
 * of a uniform key and the insert token; the target at the insert token is the key's value (no shift), the rest is
 * ignored. The answer never appears in the input, so nothing can be copied.
 *
 * Shuffling the values and dealing them out to the keys in order gives every injective map with equal probability.
 */
#include "mad.h"

aira_status mad_memorization_map(mad *m) {
    uint64_t bytes = sizeof(int32_t) * (uint64_t)m->values;
    m->map = m->host->alloc(m->host, bytes);
    if (!m->map) return m->host->fail(m->host, AIRA_E_MEMORY, "out of memory for the map of memorization");
    aira_rng r = aira_rng_make(aira_key(m->config.map_seed, "mad.memorization.map"), 0);
    for (int32_t i = 0; i < m->values; i++) m->map[i] = m->keys + i;
    for (int32_t i = m->values - 1; i > 0; i--) {
        int32_t j = (int32_t)aira_rng_below(&r, (uint32_t)i + 1), value = m->map[i];
        m->map[i] = m->map[j];
        m->map[j] = value;
    }
    return AIRA_OK;
}

void mad_memorization_row(const mad *m, aira_rng *r, bool masked, void *scratch, int32_t *inputs, int32_t *targets) {
    (void)masked;
    (void)scratch;
    for (int64_t i = 0; i < m->config.length; i += 2) {
        uint32_t key = aira_rng_below(r, (uint32_t)m->keys);
        inputs[i] = (int32_t)key;
        inputs[i + 1] = (int32_t)m->config.vocab - 1;
        targets[i] = AIRA_IGNORE;
        targets[i + 1] = m->map[key];
    }
}
