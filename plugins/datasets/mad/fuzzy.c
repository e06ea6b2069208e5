/* fuzzy.c - fuzzy in-context recall: keys and values are short motifs instead of single tokens.
 *
 * A motif of size m is an ordered tuple of m distinct tokens, uniform over all of them. Training draws the size of a
 * key uniformly from 1 .. key_motif, evaluation always uses key_motif; values are 1 .. value_motif in both. Keys of
 * different sizes are different keys even if they share tokens, so the model has to find out where a key ends.
 *
 * Tokens: n = vocab-1, keys 0 .. K-1 with K = n/2, values K .. n-1, pad = vocab-1.
 * The probe (key and value) is drawn first and shown at the first free place at or after a random position; pairs are
 * drawn until the sequence is nearly full; the probe's key and value end it. If the random position lies behind the end
 * of the body, the probe has not been shown: about 2 % of the final answers cannot be known, as in the benchmark.
 * Pads on the left fill up to length + 1 tokens, and the shift by one leaves exactly `length`.
 * Training counts every position, pads included; evaluation counts the values of keys shown before.
 *
 * A shown pair is remembered by its place in the sequence, found through a hash of the key: no motif is copied.
 */
#include <string.h>

#include "mad.h"

typedef struct shown_pair {
    uint32_t at; /* of the key; its value follows. Sizes 0: empty entry */
    uint16_t key_size, value_size;
} shown_pair;

typedef struct fuzzy {
    int32_t *tokens, *answers; /* [length + 1], without the pads */
    int64_t n;
    shown_pair *table; /* open addressing, a power of two, at most half full */
    uint32_t mask;
} fuzzy;

typedef struct motif {
    int32_t tokens[MAD_MOTIF_MAX];
    uint32_t size;
} motif;

static uint32_t table_size(const mad *m) {
    uint32_t size = 8; /* a pair takes two tokens at least, so there are at most length / 2 of them */
    while (size < (uint32_t)m->config.length) size *= 2;
    return size;
}

uint64_t mad_fuzzy_scratch(const mad *m) {
    return sizeof(int32_t) * 2 * ((uint64_t)m->config.length + 1) + sizeof(shown_pair) * table_size(m);
}

static motif draw_motif(aira_rng *r, uint32_t size, int32_t first, int32_t count) {
    motif out = {.size = size};
    for (uint32_t i = 0; i < size; i++) {
        bool again = true;
        while (again) {
            out.tokens[i] = first + (int32_t)aira_rng_below(r, (uint32_t)count);
            again = false;
            for (uint32_t j = 0; j < i; j++) again |= out.tokens[j] == out.tokens[i];
        }
    }
    return out;
}

static bool same(const motif *a, const int32_t *tokens, uint32_t size) {
    return a->size == size && memcmp(a->tokens, tokens, sizeof(int32_t) * size) == 0;
}

/* The entry of a key, or the empty one where it belongs. */
static shown_pair *find(const fuzzy *s, const motif *key) {
    uint64_t h = key->size;
    for (uint32_t i = 0; i < key->size; i++) h = (h ^ (uint32_t)key->tokens[i]) * 0x9e3779b97f4a7c15ull;
    for (uint32_t slot = (uint32_t)(h >> 32) & s->mask;; slot = (slot + 1) & s->mask) {
        shown_pair *entry = s->table + slot;
        if (entry->key_size == 0 || same(key, s->tokens + entry->at, entry->key_size)) return entry;
    }
}

/* Appends key and value; the value is asked for where `asked`. */
static void emit(fuzzy *s, const motif *key, const int32_t *value, uint32_t value_size, bool asked) {
    for (uint32_t i = 0; i < key->size; i++, s->n++) {
        s->tokens[s->n] = key->tokens[i];
        s->answers[s->n] = AIRA_IGNORE;
    }
    for (uint32_t i = 0; i < value_size; i++, s->n++) {
        s->tokens[s->n] = value[i];
        s->answers[s->n] = asked ? value[i] : AIRA_IGNORE;
    }
}

static void emit_first(fuzzy *s, shown_pair *entry, const motif *key, const motif *value) {
    *entry = (shown_pair){(uint32_t)s->n, (uint16_t)key->size, (uint16_t)value->size};
    emit(s, key, value->tokens, value->size, false);
}

static uint32_t draw_size(aira_rng *r, int64_t largest) { return 1 + aira_rng_below(r, (uint32_t)largest); }

/* One step of the body: the probe when its time has come, else a drawn pair. */
static void emit_step(fuzzy *s, const mad *m, aira_rng *r, bool masked, const motif *probe, const motif *probe_value,
                      int64_t probe_at, bool *placed) {
    const mad_config *c = &m->config;
    uint32_t key_size = masked ? (uint32_t)c->key_motif : draw_size(r, c->key_motif);
    uint32_t value_size = draw_size(r, c->value_motif);
    if (s->n >= probe_at && !*placed) {
        *placed = true;
        emit_first(s, find(s, probe), probe, probe_value);
        return;
    }
    motif key = draw_motif(r, key_size, 0, m->keys);
    shown_pair *entry = find(s, &key);
    if (entry->key_size) {
        emit(s, &key, s->tokens + entry->at + entry->key_size, entry->value_size, true);
    } else if (same(probe, key.tokens, key.size)) {
        *placed = true;
        emit_first(s, entry, probe, probe_value);
    } else {
        motif value = draw_motif(r, value_size, m->keys, m->values);
        emit_first(s, entry, &key, &value);
    }
}

void mad_fuzzy_row(const mad *m, aira_rng *r, bool masked, void *scratch, int32_t *inputs, int32_t *targets) {
    const mad_config *c = &m->config;
    int64_t length = c->length;
    fuzzy s = {.table = scratch, .mask = table_size(m) - 1};
    s.tokens = (int32_t *)(s.table + s.mask + 1);
    s.answers = s.tokens + length + 1;
    memset(s.table, 0, sizeof(shown_pair) * ((size_t)s.mask + 1));

    motif probe = {.size = masked ? (uint32_t)c->key_motif : draw_size(r, c->key_motif)};
    uint32_t value_size = draw_size(r, c->value_motif);
    probe = draw_motif(r, probe.size, 0, m->keys);
    motif probe_value = draw_motif(r, value_size, m->keys, m->values);
    int64_t last = probe.size + probe_value.size;
    int64_t probe_at = aira_rng_below(r, (uint32_t)(length - 2 * last));
    bool placed = false;
    while (s.n < length - last - c->key_motif - c->value_motif)
        emit_step(&s, m, r, masked, &probe, &probe_value, probe_at, &placed);
    emit(&s, &probe, probe_value.tokens, probe_value.size, true);

    int64_t pads = length + 1 - s.n;
    for (int64_t i = 0; i < length; i++) {
        int64_t here = i - pads, next = here + 1;
        inputs[i] = here < 0 ? (int32_t)c->vocab - 1 : s.tokens[here];
        if (next < 0)
            targets[i] = masked ? AIRA_IGNORE : (int32_t)c->vocab - 1;
        else
            targets[i] = masked ? s.answers[next] : s.tokens[next];
    }
}
