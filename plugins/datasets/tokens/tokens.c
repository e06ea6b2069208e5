/* tokens.c - language modelling over packed token files, however a tokenizer left them.
 *
 * Formats: llm.c shards, .npy, raw uint16 or uint32 (see shard.h). `train`, `validation` and `test` are lists of paths
 * or wildcards; the files of one list are read in the order given, those of a wildcard in order of name. Search and
 * selection (and test, without files of its own) are disjoint stretches of the validation tokens, by share.
 *
 * sampler crop: training rows are uniform crops of the stream of all files, documents not separated, as BabiStories is
 * trained on. sampler contexts: the files are pre-cut contexts of length + 1 tokens, as DCLM's tokshuf writes them
 * (length 2048); each file is cut on its own and its rest is dropped. `pad` names the id that fills up last contexts.
 *
 * Metric: mean nats per token, or bits per byte when `token_bytes` names an .npy table with the length in bytes of
 * every token's text; tokens of length 0 (begin and end of text ...) then count on neither side. The table decides what
 * a byte is: raw lengths by default, or a published table when its numbers are to be compared with.
 */
#include <glob.h>

#include "../common/stream.h"
#include "shard.h"

enum { CROP, CONTEXTS };
static const char *const samplers[] = {"crop", "contexts", NULL};
static const char *const dtypes[] = {"auto", "uint16", "uint32", NULL};

typedef struct tokens_config {
    aira_list train, validation, test;
    const char *token_bytes, *advice;
    int64_t vocab, length, pad, train_rows, evaluation_rows, batch;
    double search_share, selection_share, test_share;
    int32_t sampler, dtype;
} tokens_config;

static const aira_field fields[] = {
    {"train", "token files that train: paths or wildcards", AIRA_T_LIST | AIRA_T_PATH, AIRA_REQUIRED,
     (uint32_t)offsetof(tokens_config, train), 0, 0, 0, 0, NULL, NULL},
    {"validation", "token files of search and selection, and of test without files of its own",
     AIRA_T_LIST | AIRA_T_PATH, AIRA_REQUIRED, (uint32_t)offsetof(tokens_config, validation), 0, 0, 0, 0, NULL, NULL},
    {"test", "token files of the test split", AIRA_T_LIST | AIRA_T_PATH, 0, (uint32_t)offsetof(tokens_config, test), 0,
     0, 0, 0, NULL, NULL},
    {"vocab", "ids are below this", AIRA_T_INT, AIRA_REQUIRED, (uint32_t)offsetof(tokens_config, vocab), 0, 0, 2,
     2147483647, NULL, NULL},
    AIRA_F_INT(tokens_config, length, 512, 1, 1 << 24, "tokens of a row"),
    AIRA_F_CHOICE(tokens_config, sampler, samplers, CROP,
                  "crop: random crops of the stream; contexts: the files are pre-cut into length + 1 tokens"),
    AIRA_F_CHOICE(tokens_config, dtype, dtypes, 0, "element type of files without a header"),
    AIRA_F_INT(tokens_config, pad, -1, -1, 2147483647, "contexts: id of the padding, not counted; -1: none"),
    {"token_bytes", ".npy table of every id's length in bytes; the metric is then bits per byte", AIRA_T_PATH, 0,
     (uint32_t)offsetof(tokens_config, token_bytes), 0, 0, 0, 0, NULL, NULL},
    AIRA_F_REAL(tokens_config, search_share, 0.4, 1e-9, 1, "weight of the search split in the validation files"),
    AIRA_F_REAL(tokens_config, selection_share, 0.3, 1e-9, 1, "weight of the selection split in the validation files"),
    AIRA_F_REAL(tokens_config, test_share, 0.3, 1e-9, 1, "weight of the test split there, if it has no files"),
    {"train_rows", "training rows, reused every epoch; 0: all contexts, or a fresh crop every time", AIRA_T_COUNT, 0,
     (uint32_t)offsetof(tokens_config, train_rows), 0, 0, 0, 1e15, NULL, NULL},
    {"evaluation_rows", "most rows of each other split, spread evenly over it; 0: all", AIRA_T_COUNT, 0,
     (uint32_t)offsetof(tokens_config, evaluation_rows), 0, 0, 0, 1e15, NULL, NULL},
    AIRA_F_INT(tokens_config, batch, 32, 1, 1 << 20, "suggested rows of a batch"),
    AIRA_F_STR(tokens_config, advice,
               "put token files there: llm.c shards, .npy of uint16 or uint32, or raw ids with the key dtype",
               "what to tell someone whose files are missing"),
};
static const aira_schema schema = AIRA_SCHEMA(tokens_config, fields);

typedef struct tokens {
    const aira_host *host;
    const tokens_config *config;
    stream streams[3]; /* train, validation, test */
    windows w;
    mapped table_file;
    data_npy table; /* data NULL: none */
} tokens;

static aira_status add_shard(tokens *t, stream *s, const char *path) {
    static const uint32_t widths[] = {0, 2, 4};
    piece p = {0};
    aira_status status = data_map(t->host, path, t->config->advice, &p.file);
    if (status) return status;
    shard found;
    const char *wrong;
    if (!shard_parse(p.file.bytes, p.file.n, widths[t->config->dtype], &found, &wrong)) {
        data_unmap(&p.file);
        return data_fail(t->host, AIRA_E_CORRUPT, "'%s': %s", path, wrong);
    }
    uint64_t context = (uint64_t)t->config->length + 1;
    if (t->config->sampler == CONTEXTS && found.row && found.row != context) {
        data_unmap(&p.file);
        return data_fail(t->host, AIRA_E_CONFIG,
                         "'%s' holds contexts of %llu tokens; with sampler contexts length must be %llu", path,
                         (unsigned long long)found.row, (unsigned long long)found.row - 1);
    }
    p.data = found.data;
    p.width = found.width;
    p.n = t->config->sampler == CONTEXTS ? found.n / context * context : found.n;
    return stream_add(t->host, s, &p, path);
}

static aira_status add_list(tokens *t, stream *s, const aira_list *list) {
    const char *const *items = list->items;
    aira_status status = AIRA_OK;
    for (uint64_t i = 0; i < list->n && !status; i++) {
        glob_t found = {0};
        int result = glob(items[i], GLOB_NOCHECK, NULL, &found); /* a plain path that is missing comes back as it is */
        if (result != 0) status = data_fail(t->host, AIRA_E_IO, "the files '%s' cannot be listed", items[i]);
        for (size_t j = 0; j < found.gl_pathc && !status && result == 0; j++)
            status = add_shard(t, s, found.gl_pathv[j]);
        globfree(&found);
    }
    return status;
}

static aira_status open_table(tokens *t) {
    const char *path = t->config->token_bytes, *wrong;
    aira_status status = data_map(t->host, path, "token_bytes is an .npy table with one integer per id",
                                  &t->table_file);
    if (status) return status;
    if (!data_npy_parse(t->table_file.bytes, t->table_file.n, &t->table, &wrong))
        return data_fail(t->host, AIRA_E_CORRUPT, "'%s': %s", path, wrong);
    if (t->table.elements != (uint64_t)t->config->vocab)
        return data_fail(t->host, AIRA_E_CONFIG, "'%s' has %llu lengths, but vocab is %lld", path,
                         (unsigned long long)t->table.elements, (long long)t->config->vocab);
    for (uint64_t i = 0; i < t->table.elements; i++)
        if (data_npy_int(&t->table, i) < 0)
            return data_fail(t->host, AIRA_E_CORRUPT, "'%s': the length of id %llu is negative", path,
                             (unsigned long long)i);
    return AIRA_OK;
}

static void close_files(tokens *t) {
    for (int i = 0; i < 3; i++) stream_release(t->host, &t->streams[i]);
    data_unmap(&t->table_file);
    t->table = (data_npy){0};
}

static aira_status open_files(tokens *t) {
    const tokens_config *c = t->config;
    aira_status status = add_list(t, &t->streams[0], &c->train);
    if (!status) status = add_list(t, &t->streams[1], &c->validation);
    if (!status) status = add_list(t, &t->streams[2], &c->test);
    if (!status && c->token_bytes) status = open_table(t);
    bool own_test = c->test.n > 0;
    const double weight[AIRA_N_SPLITS] = {0, c->search_share, c->selection_share, own_test ? 0 : c->test_share};
    span_divide(&t->streams[1], c->sampler == CONTEXTS ? (uint64_t)c->length + 1 : 1, weight, t->w.splits);
    t->w.splits[AIRA_SPLIT_TRAIN] = (span){&t->streams[0], 0, t->streams[0].n};
    if (own_test) t->w.splits[AIRA_SPLIT_TEST] = (span){&t->streams[2], 0, t->streams[2].n};
    return status;
}

static aira_status create(const aira_host *host, const void *config, void **self) {
    const tokens_config *c = config;
    if (c->train.n == 0 || c->validation.n == 0)
        return host->fail(host, AIRA_E_CONFIG, "train and validation must each name a file at least");
    if (c->pad >= 0 && c->sampler != CONTEXTS)
        return host->fail(host, AIRA_E_CONFIG,
                          "pad has no effect with sampler crop; leave it out or say sampler: contexts");
    tokens *t = host->alloc(host, sizeof *t);
    if (!t) return host->fail(host, AIRA_E_MEMORY, "out of memory");
    t->host = host;
    t->config = config;
    *self = t;
    return AIRA_OK;
}

static void destroy(void *self) {
    tokens *t = self;
    close_files(t);
    t->host->release(t->host, t);
}

static aira_status describe(void *self, aira_dataset_info *info) {
    tokens *t = self;
    const tokens_config *c = t->config;
    close_files(t);
    t->w = (windows){.host = t->host,
                     .name = "tokens",
                     .length = c->length,
                     .vocab = c->vocab,
                     .pad = c->pad,
                     .contexts = c->sampler == CONTEXTS};
    aira_status status = open_files(t);
    if (!status) status = windows_count(&t->w, c->train_rows, c->evaluation_rows);
    if (status) return status;
    info->metric = t->table.data ? AIRA_METRIC_BITS_PER_BYTE : AIRA_METRIC_LOSS;
    info->vocab = info->classes = c->vocab;
    info->input_length = info->target_length = c->length;
    for (uint32_t i = 0; i < AIRA_N_SPLITS; i++) info->n_rows[i] = (int64_t)t->w.rows[i];
    info->batch = c->batch;
    info->best = NAN;
    info->worst = t->table.data ? NAN : log((double)c->vocab); /* a uniform guess */
    return AIRA_OK;
}

static aira_status rows(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets) {
    return windows_rows(&((tokens *)self)->w, split, seed, indices, n, inputs, targets);
}

/* Without a table the metric is the loss per token and every id counts as one. */
static int64_t token_bytes(void *self, int32_t token) {
    const tokens *t = self;
    if (!t->table.data) return 1;
    return token >= 0 && (uint64_t)token < t->table.elements ? data_npy_int(&t->table, (uint64_t)token) : 0;
}

static const aira_dataset table = {
    .size = sizeof(aira_dataset), .describe = describe, .rows = rows, .token_bytes = token_bytes};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("dataset", aira_dataset, &table, "tokens", "1.0.0",
                           "language modelling over packed token files: llm.c shards, .npy, raw", &schema),
    .create = create,
    .destroy = destroy,
};

AIRA_MANIFEST("dataset", "tokens", "1.0.0")

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
