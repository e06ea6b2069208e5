/* settings.c - the benchmark's baseline of every task, and which settings can be generated.
 *
 * A key that is left out (or 0) takes the baseline's value, so that `{use: mad, task: compression, vocab: 64}` is one
 * point of the difficulty grid. A key that the task does not have is refused rather than ignored.
 */
#include <stdarg.h>
#include <stdio.h>

#include "mad.h"

#define LARGEST_VOCAB (1 << 24)
#define LARGEST_LENGTH (1 << 24)

const char *const mad_task_names[MAD_TASKS + 1] = {
    [MAD_RECALL] = "in-context-recall",
    [MAD_NOISY_RECALL] = "noisy-in-context-recall",
    [MAD_FUZZY_RECALL] = "fuzzy-in-context-recall",
    [MAD_MEMORIZATION] = "memorization",
    [MAD_COMPRESSION] = "compression",
    [MAD_COPYING] = "selective-copying",
};

static const mad_config baseline[MAD_TASKS] = {
    [MAD_RECALL] = {.vocab = 16, .length = 128, .train_rows = 12800},
    [MAD_NOISY_RECALL] = {.vocab = 32, .length = 128, .train_rows = 12800, .noise_vocab = 16, .noise = 0.2},
    [MAD_FUZZY_RECALL] = {.vocab = 16, .length = 128, .train_rows = 12800, .key_motif = 3, .value_motif = 3},
    [MAD_MEMORIZATION] = {.vocab = 256, .length = 32, .train_rows = 256},
    [MAD_COMPRESSION] = {.vocab = 16, .length = 32, .train_rows = 12800},
    [MAD_COPYING] = {.vocab = 16, .length = 256, .train_rows = 12800, .copy_tokens = 16},
};

const char *mad_task_name(int32_t task) { return mad_task_names[task]; }

static aira_status refuse(const mad *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static aira_status refuse(const mad *m, const char *format, ...) {
    char text[400];
    int n = snprintf(text, sizeof text, "task %s: ", mad_task_name(m->config.task));
    va_list args;
    va_start(args, format);
    vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    va_end(args);
    return m->host->fail(m->host, AIRA_E_CONFIG, text);
}

/* Keys that have no effect in this task. */
static aira_status check_foreign(const mad *m, const mad_config *given) {
    const mad_config *base = &baseline[given->task];
    const char *key = NULL, *owner = NULL;
    if ((given->noise_vocab || given->noise != 0) && !base->noise_vocab) {
        key = given->noise_vocab ? "noise_vocab" : "noise";
        owner = "noisy-in-context-recall";
    } else if ((given->key_motif || given->value_motif) && !base->key_motif) {
        key = given->key_motif ? "key_motif" : "value_motif";
        owner = "fuzzy-in-context-recall";
    } else if (given->copy_tokens && !base->copy_tokens) {
        key = "copy_tokens";
        owner = "selective-copying";
    } else if (given->map_seed != 12345 && given->task != MAD_MEMORIZATION) {
        key = "map_seed";
        owner = "memorization";
    }
    return key ? refuse(m, "%s has no effect here, it belongs to task %s; leave it out", key, owner) : AIRA_OK;
}

static aira_status check_range(const mad *m, const char *key, int64_t value, int64_t low, int64_t high,
                               const char *because) {
    if (value >= low && value <= high) return AIRA_OK;
    return refuse(m, "%s is %lld, but %s: accepted are %lld to %lld", key, (long long)value, because, (long long)low,
                  (long long)high);
}

static aira_status check_even(const mad *m) {
    if (m->config.length % 2 == 0) return AIRA_OK;
    return refuse(m, "length is %lld, but the row is made of pairs: it must be even", (long long)m->config.length);
}

static void divide_vocab(mad *m, int64_t n) {
    m->keys = (int32_t)(n / 2);
    m->values = (int32_t)(n - n / 2);
}

static aira_status check_recall(mad *m) {
    const mad_config *c = &m->config;
    aira_status status = check_range(m, "vocab", c->vocab, c->noise_vocab + 2, LARGEST_VOCAB,
                                     "one key, one value and the noise tokens must fit");
    if (!status) status = check_range(m, "length", c->length, 4, LARGEST_LENGTH, "a pair and its probe must fit");
    if (!status) status = check_even(m);
    if (!status) divide_vocab(m, c->vocab - c->noise_vocab);
    return status;
}

static aira_status check_fuzzy(mad *m) {
    const mad_config *c = &m->config;
    aira_status status = check_range(m, "vocab", c->vocab, 3, LARGEST_VOCAB,
                                     "one key, one value and the pad token must fit");
    if (status) return status;
    divide_vocab(m, c->vocab - 1);
    int64_t key_most = m->keys < MAD_MOTIF_MAX ? m->keys : MAD_MOTIF_MAX;
    int64_t value_most = m->values < MAD_MOTIF_MAX ? m->values : MAD_MOTIF_MAX;
    status = check_range(m, "key_motif", c->key_motif, 1, key_most,
                         "a motif has distinct tokens of the vocabulary's key half, eight at most");
    if (!status)
        status = check_range(m, "value_motif", c->value_motif, 1, value_most,
                             "a motif has distinct tokens of the vocabulary's value half, eight at most");
    if (!status)
        status = check_range(m, "length", c->length, 3 * (c->key_motif + c->value_motif), LARGEST_LENGTH,
                             "the probe, its answer and one more pair must fit");
    return status;
}

static aira_status check_others(mad *m) {
    const mad_config *c = &m->config;
    aira_status status = AIRA_OK;
    switch (c->task) {
    case MAD_COPYING:
        status = check_range(m, "vocab", c->vocab, 3, LARGEST_VOCAB, "content, blank and copy tokens must fit");
        if (!status) status = check_range(m, "length", c->length, 3, LARGEST_LENGTH, "a token must be copied");
        if (!status)
            status = check_range(m, "copy_tokens", c->copy_tokens, 1, (c->length - 1) / 2,
                                 "every copied token takes two places beside the copy token");
        break;
    case MAD_COMPRESSION:
        status = check_range(m, "vocab", c->vocab, 2, LARGEST_VOCAB, "content and aggregation tokens must fit");
        if (!status) status = check_range(m, "length", c->length, 2, LARGEST_LENGTH, "content must fit");
        break;
    default: /* memorization */
        status = check_range(m, "vocab", c->vocab, 3, LARGEST_VOCAB, "a key, a value and the insert token must fit");
        if (!status) status = check_range(m, "length", c->length, 2, LARGEST_LENGTH, "a pair must fit");
        if (!status) status = check_even(m);
        if (!status) divide_vocab(m, c->vocab - 1);
        break;
    }
    return status;
}

#define OR_BASELINE(M) \
    if (c->M == 0) c->M = base->M

aira_status mad_settle(const aira_host *host, const mad_config *given, mad *m) {
    *m = (mad){.host = host, .config = *given};
    mad_config *c = &m->config;
    const mad_config *base = &baseline[c->task];
    aira_status status = check_foreign(m, given);
    if (status) return status;
    OR_BASELINE(vocab);
    OR_BASELINE(length);
    OR_BASELINE(train_rows);
    OR_BASELINE(noise_vocab);
    OR_BASELINE(noise);
    OR_BASELINE(copy_tokens);
    OR_BASELINE(key_motif);
    OR_BASELINE(value_motif);
    if (c->task == MAD_RECALL || c->task == MAD_NOISY_RECALL) return check_recall(m);
    return c->task == MAD_FUZZY_RECALL ? check_fuzzy(m) : check_others(m);
}

int64_t mad_row_length(const mad *m) {
    bool shifted_inside = m->config.task == MAD_RECALL || m->config.task == MAD_NOISY_RECALL;
    return m->config.length - (shifted_inside ? 1 : 0);
}

double mad_guess(const mad *m) {
    if (m->config.task == MAD_COMPRESSION) return 1.0 / (double)m->config.vocab;
    if (m->config.task == MAD_COPYING) return 1.0 / (double)(m->config.vocab - 2);
    return 1.0 / m->values;
}
