/* compression.c - squeeze a random sequence through the vector of its last position.
 *
 * Tokens: content 0 .. vocab-2, aggregation = vocab-1. A row is length-1 uniform content tokens and the aggregation
 * token; the target is the row itself. The task makes sense with an auto-encoder backbone, which reads back every token
 * from the encoder's output at the aggregation token. Training and evaluation are drawn and counted alike; the last
 * position is always the aggregation token, so one answer in `length` is free.
 */
#include "mad.h"

void mad_compression_row(const mad *m, aira_rng *r, bool masked, void *scratch, int32_t *inputs, int32_t *targets) {
    (void)masked;
    (void)scratch;
    int64_t length = m->config.length;
    uint32_t content = (uint32_t)m->config.vocab - 1;
    for (int64_t i = 0; i < length; i++)
        inputs[i] = targets[i] = (int32_t)(i + 1 < length ? aira_rng_below(r, content) : content);
}
