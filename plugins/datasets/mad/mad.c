/* mad.c - the six synthetic tasks of Mechanistic Architecture Design (Poli et al. 2024, arXiv 2403.17844).
 *
 * Each task isolates one skill of a sequence model: recall from the context (plain, noisy, fuzzy), memory for facts,
 * compression, copying with selection. All of them are generated, so data cost nothing and cannot be contaminated.
 * This file joins the plugin's table to one generator per file; settings.c holds baselines and limits.
 *
 * A row is a pure function of (seed, split, index): its random stream is keyed by the seed and the task's name, and
 * split and index are the stream's number within that key, so no two rows of any splits share a draw and rows may be
 * made in any order on any thread. Training rows are finite and repeat every epoch, as in the benchmark. The map of
 * memorization hangs on map_seed alone, so that all seeds and splits ask for the same facts.
 */
#include "mad.h"

static const char *const label_names[] = {[MAD_LABELS_TASK] = "task", [MAD_LABELS_RANDOM] = "random", NULL};

static const aira_field fields[] = {
    {"task", "which of the six tasks", AIRA_T_CHOICE, AIRA_REQUIRED, (uint32_t)offsetof(mad_config, task), 0, 0, 0, 0,
     NULL, mad_task_names},
    AIRA_F_INT(mad_config, vocab, 0, 0, 1 << 24, "tokens of the vocabulary, special ones included; 0: baseline"),
    AIRA_F_INT(mad_config, length, 0, 0, 1 << 24, "tokens of a sequence; 0: baseline"),
    {"train_rows", "training sequences, reused every epoch; 0: baseline", AIRA_T_COUNT, 0,
     (uint32_t)offsetof(mad_config, train_rows), 0, 0, 0, 1e12, NULL, NULL},
    {"test_rows", "sequences of each of the search, selection and test splits", AIRA_T_COUNT, 0,
     (uint32_t)offsetof(mad_config, test_rows), 0, 1280, 1, 1e12, NULL, NULL},
    AIRA_F_INT(mad_config, noise_vocab, 0, 0, 1 << 24, "noisy recall: noise tokens within vocab; 0: baseline"),
    AIRA_F_REAL(mad_config, noise, 0, 0, 1, "noisy recall: probability that a slot is noise; 0: baseline"),
    AIRA_F_INT(mad_config, copy_tokens, 0, 0, 1 << 23, "selective copying: tokens to copy; 0: baseline"),
    AIRA_F_INT(mad_config, key_motif, 0, 0, MAD_MOTIF_MAX, "fuzzy recall: tokens of the largest key; 0: baseline"),
    AIRA_F_INT(mad_config, value_motif, 0, 0, MAD_MOTIF_MAX, "fuzzy recall: tokens of the largest value; 0: baseline"),
    {"map_seed", "memorization: seed of the map from keys to values", AIRA_T_SEED, 0,
     (uint32_t)offsetof(mad_config, map_seed), 0, 12345, 0, 0, NULL, NULL},
    {"labels", "task: its own; random: every target is a draw, so that nothing can be learnt (null studies)",
     AIRA_T_CHOICE, 0, (uint32_t)offsetof(mad_config, labels), MAD_LABELS_TASK, 0, 0, 0, NULL, label_names},
};
static const aira_schema schema = AIRA_SCHEMA(mad_config, fields);

static uint64_t no_scratch(const mad *m) {
    (void)m;
    return 1;
}

static const struct {
    mad_row *row;
    uint64_t (*scratch)(const mad *m);
    const char *stream;
} tasks[MAD_TASKS] = {
    [MAD_RECALL] = {mad_recall_row, mad_recall_scratch, "mad.in-context-recall"},
    [MAD_NOISY_RECALL] = {mad_recall_row, mad_recall_scratch, "mad.noisy-in-context-recall"},
    [MAD_FUZZY_RECALL] = {mad_fuzzy_row, mad_fuzzy_scratch, "mad.fuzzy-in-context-recall"},
    [MAD_MEMORIZATION] = {mad_memorization_row, no_scratch, "mad.memorization"},
    [MAD_COMPRESSION] = {mad_compression_row, no_scratch, "mad.compression"},
    [MAD_COPYING] = {mad_copying_row, mad_copying_scratch, "mad.selective-copying"},
};

static void destroy(void *self) {
    mad *m = self;
    m->host->release(m->host, m->map);
    m->host->release(m->host, m);
}

static aira_status create(const aira_host *host, const void *config, void **self) {
    mad *m = host->alloc(host, sizeof *m);
    if (!m) return host->fail(host, AIRA_E_MEMORY, "out of memory");
    aira_status status = mad_settle(host, config, m);
    if (!status && m->config.task == MAD_MEMORIZATION) status = mad_memorization_map(m);
    if (status) {
        destroy(m);
        return status;
    }
    *self = m;
    return AIRA_OK;
}

static aira_status describe(void *self, aira_dataset_info *info) {
    const mad *m = self;
    info->metric = AIRA_METRIC_ACCURACY;
    info->vocab = info->classes = m->config.vocab;
    info->input_length = info->target_length = mad_row_length(m);
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) info->n_rows[s] = m->config.test_rows;
    info->n_rows[AIRA_SPLIT_TRAIN] = m->config.train_rows;
    info->batch = 128;
    info->best = 1;
    info->worst = m->config.labels == MAD_LABELS_RANDOM ? 1.0 / (double)m->config.vocab : mad_guess(m);
    return AIRA_OK;
}

/* Replaces the targets of a row by draws that depend on seed, split and index alone. */
static void draw_labels(const mad *m, uint64_t seed, uint64_t stream, int64_t length, int32_t *targets) {
    aira_rng r = aira_rng_make(aira_key(seed, "mad.labels"), stream);
    for (int64_t i = 0; i < length; i++) {
        int32_t label = (int32_t)aira_rng_below(&r, (uint32_t)m->config.vocab);
        if (targets[i] != AIRA_IGNORE) targets[i] = label;
    }
}

static aira_status rows(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets) {
    const mad *m = self;
    const aira_host *host = m->host;
    int64_t length = mad_row_length(m);
    if (split >= AIRA_N_SPLITS) return host->fail(host, AIRA_E_FAILED, "there is no such split");
    uint64_t limit = (uint64_t)(split == AIRA_SPLIT_TRAIN ? m->config.train_rows : m->config.test_rows);
    uint64_t key = aira_key(seed, tasks[m->config.task].stream);
    void *scratch = host->alloc(host, tasks[m->config.task].scratch(m));
    if (!scratch) return host->fail(host, AIRA_E_MEMORY, "out of memory for the scratch space of a row");
    aira_status status = AIRA_OK;
    for (uint32_t i = 0; i < n && !status; i++) {
        if (indices[i] >= limit) {
            status = host->fail(host, AIRA_E_FAILED, "a row index is beyond the rows of its split");
            continue;
        }
        uint64_t stream = (uint64_t)split << 60 | indices[i];
        aira_rng r = aira_rng_make(key, stream);
        tasks[m->config.task].row(m, &r, split != AIRA_SPLIT_TRAIN, scratch, inputs + i * length, targets + i * length);
        if (m->config.labels == MAD_LABELS_RANDOM) draw_labels(m, seed, stream, length, targets + i * length);
    }
    host->release(host, scratch);
    return status;
}

static const aira_dataset table = {.size = sizeof(aira_dataset), .describe = describe, .rows = rows};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("dataset", aira_dataset, &table, "mad", "1.0.0",
                           "six synthetic tasks: recall (plain, noisy, fuzzy), memorization, compression, copying",
                           &schema),
    .create = create,
    .destroy = destroy,
};

AIRA_MANIFEST("dataset", "mad", "1.0.0")

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
