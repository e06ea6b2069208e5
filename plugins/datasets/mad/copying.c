/* copying.c - selective copying: repeat the content tokens, in order, and nothing else.
 *
 * Tokens: content 0 .. vocab-3, blank = vocab-2, copy = vocab-1. A row is c content tokens with B = length - 2c - 1
 * blanks scattered between them, the copy token, and c blanks on which the model writes the content. Every blank picks
 * one of the c content tokens and stands before it, so gaps are multinomial and the body ends with content.
 * Targets have no shift: position length-c+i must output content token i; nothing else counts. Training and evaluation
 * are drawn and counted alike.
 */
#include "mad.h"

uint64_t mad_copying_scratch(const mad *m) { return sizeof(uint32_t) * (uint64_t)m->config.copy_tokens; }

void mad_copying_row(const mad *m, aira_rng *r, bool masked, void *scratch, int32_t *inputs, int32_t *targets) {
    (void)masked;
    const mad_config *c = &m->config;
    int64_t copies = c->copy_tokens, blanks = c->length - 2 * copies - 1, at = 0;
    int32_t blank = (int32_t)c->vocab - 2, *asked = targets + c->length - copies;
    uint32_t *gap = scratch;
    for (int64_t i = 0; i < copies; i++) {
        asked[i] = (int32_t)aira_rng_below(r, (uint32_t)c->vocab - 2);
        gap[i] = 0;
    }
    for (int64_t i = 0; i < blanks; i++) gap[aira_rng_below(r, (uint32_t)copies)]++;
    for (int64_t i = 0; i < copies; i++) {
        for (uint32_t j = 0; j < gap[i]; j++) inputs[at++] = blank;
        inputs[at++] = asked[i];
    }
    inputs[at++] = blank + 1;
    for (int64_t i = 0; i < copies; i++) inputs[at++] = blank;
    for (int64_t i = 0; i < c->length - copies; i++) targets[i] = AIRA_IGNORE;
}
