/* recall.c - in-context recall and its noisy form.
 *
 * A sequence of `length` tokens is length/2 slots of key and value. A key that appears for the first time gets a value
 * drawn for this sequence alone; later showings repeat it, so the value can be read off the context. The last slot is
 * the probe: one of the keys already shown. In the noisy form a slot becomes two noise tokens with probability `noise`;
 * one slot, drawn beforehand, is spared so that there is a key to ask for.
 *
 * Tokens: keys 0 .. K-1, values K .. n-1 with n = vocab - noise_vocab and K = n/2, noise n .. vocab-1.
 * The model sees tokens 0 .. length-2 and predicts the next one. Training counts every position; evaluation counts a
 * value only where its key was shown before, that is, where the answer can be known. Several keys may share a value.
 *
 * The spared slot may be drawn as the last one, which the loop never reaches: then nothing is protected and, rarely,
 * no key is shown at all. Such a sequence is drawn again from the same stream.
 */
#include <string.h>

#include "mad.h"

uint64_t mad_recall_scratch(const mad *m) {
    return sizeof(int32_t) * (2 * (uint64_t)m->config.length + 2 * (uint64_t)m->keys);
}

typedef struct recall {
    int32_t *tokens, *answers; /* [length]; answers are AIRA_IGNORE where nothing is asked */
    int32_t *value_of;         /* [keys]; -1: not shown yet */
    int32_t *shown;            /* keys in order of first showing */
    int32_t n_shown;
} recall;

static void emit_pair(recall *s, const mad *m, aira_rng *r, int64_t at) {
    int32_t key = (int32_t)aira_rng_below(r, (uint32_t)m->keys);
    bool known = s->value_of[key] >= 0;
    if (!known) {
        s->value_of[key] = m->keys + (int32_t)aira_rng_below(r, (uint32_t)m->values);
        s->shown[s->n_shown++] = key;
    }
    s->tokens[at] = key;
    s->tokens[at + 1] = s->value_of[key];
    if (known) s->answers[at + 1] = s->value_of[key];
}

static void emit_slots(recall *s, const mad *m, aira_rng *r) {
    const mad_config *c = &m->config;
    int64_t slots = c->length / 2, keep = aira_rng_below(r, (uint32_t)slots);
    bool noisy = c->noise > 0;
    uint32_t noise_vocab = (uint32_t)c->noise_vocab;
    int32_t first_noise = m->keys + m->values;
    for (int64_t slot = 0; slot < slots - 1; slot++) {
        if (noisy && slot != keep && aira_rng_uniform(r) < c->noise) {
            s->tokens[2 * slot] = first_noise + (int32_t)aira_rng_below(r, noise_vocab);
            s->tokens[2 * slot + 1] = first_noise + (int32_t)aira_rng_below(r, noise_vocab);
        } else {
            emit_pair(s, m, r, 2 * slot);
        }
    }
}

void mad_recall_row(const mad *m, aira_rng *r, bool masked, void *scratch, int32_t *inputs, int32_t *targets) {
    int64_t length = m->config.length;
    recall s = {.tokens = scratch};
    s.answers = s.tokens + length;
    s.value_of = s.answers + length;
    s.shown = s.value_of + m->keys;
    for (int64_t i = 0; i < length; i++) s.answers[i] = AIRA_IGNORE;
    for (int32_t k = 0; k < m->keys; k++) s.value_of[k] = -1;
    while (s.n_shown == 0) emit_slots(&s, m, r); /* without a key there are no answers to clear either */
    int32_t probe = s.shown[aira_rng_below(r, (uint32_t)s.n_shown)];
    s.tokens[length - 2] = probe;
    s.tokens[length - 1] = s.answers[length - 1] = s.value_of[probe];

    size_t bytes = sizeof(int32_t) * (size_t)(length - 1);
    memcpy(inputs, s.tokens, bytes);
    memcpy(targets, (masked ? s.answers : s.tokens) + 1, bytes);
}
