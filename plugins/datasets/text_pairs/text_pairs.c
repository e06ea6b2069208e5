/* text_pairs.c - do two texts belong together? Long Range Arena's retrieval: tab-separated files of pairs.
 *
 * A line is: label (0 or 1, "1.0" too), two ids that are not looked at, two texts; nothing is quoted. Of `path` the
 * files new_aan_pairs.train.tsv, .eval.tsv and .test.tsv are read, as the benchmark's release calls them; or each file
 * has a key. The eval file's lines are put in an order drawn once for all (files may be sorted, or take turns); the
 * first half of them is search, the second selection.
 *
 * A row is the first text, cut and padded to `length`, then the second. Labels and texts are read when their row is
 * asked for; describing only counts lines.
 */
#include <stdlib.h>

#include "../common/bytes.h"
#include "../common/files.h"
#include "aira/rng.h"

typedef struct config {
    const char *path, *train_file, *eval_file, *test_file, *advice;
    int64_t length, batch;
} config;

typedef struct pairs {
    mapped file;
    char *path;
    uint64_t *starts; /* of every line, and the end */
    int64_t n;
} pairs;

typedef struct dealt {
    uint64_t draw;
    int64_t line;
} dealt;

typedef struct text_pairs {
    const aira_host *host;
    const config *c;
    pairs files[3]; /* train, eval, test */
    dealt *order;   /* of the eval file's lines */
} text_pairs;

#define PATH(key, doc) \
    { #key, doc, AIRA_T_PATH, 0, (uint32_t)offsetof(config, key), 0, 0, 0, 0, NULL, NULL }
static const aira_field fields[] = {
    PATH(path, "folder with new_aan_pairs.train.tsv, new_aan_pairs.eval.tsv, new_aan_pairs.test.tsv"),
    PATH(train_file, "instead of the folder's: the pairs that train"),
    PATH(eval_file, "instead of the folder's: the pairs of search and selection"),
    PATH(test_file, "instead of the folder's: the pairs of the test split"),
    AIRA_F_INT(config, length, 4000, 1, 1 << 23, "bytes of each text; longer ones are cut"),
    AIRA_F_INT(config, batch, 32, 1, 1 << 20, "suggested pairs of a batch"),
    AIRA_F_STR(
        config, advice,
        "get lra_release.gz of Long Range Arena (https://github.com/google-research/long-range-arena) and name its "
        "folder tsv_data, or give files of lines: label, id, id, text, text, separated by tabs",
        "what to tell someone whose files are missing"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);

static void forget(text_pairs *t) {
    for (int k = 0; k < 3; k++) {
        data_unmap(&t->files[k].file);
        t->host->release(t->host, t->files[k].path);
        t->host->release(t->host, t->files[k].starts);
        t->files[k] = (pairs){{NULL, 0}, NULL, NULL, 0};
    }
    t->host->release(t->host, t->order);
    t->order = NULL;
}

/* The end of the line that begins at `at`, its newline included. */
static uint64_t line_end(const mapped *file, uint64_t at) {
    const uint8_t *end = memchr(file->bytes + at, '\n', (size_t)(file->n - at));
    return end ? (uint64_t)(end - file->bytes) + 1 : file->n;
}

static aira_status open_pairs(const text_pairs *t, const char *path, pairs *p) {
    p->path = data_copy_text(t->host, path);
    aira_status status = p->path ? data_map(t->host, path, t->c->advice, &p->file)
                                 : t->host->fail(t->host, AIRA_E_MEMORY, "out of memory");
    if (status) return status;
    for (uint64_t at = 0; at < p->file.n; at = line_end(&p->file, at)) p->n++;
    if (p->n < 2) return data_fail(t->host, AIRA_E_CORRUPT, "'%s' holds fewer than two pairs", path);
    p->starts = t->host->alloc(t->host, (uint64_t)(p->n + 1) * sizeof *p->starts);
    if (!p->starts) return t->host->fail(t->host, AIRA_E_MEMORY, "out of memory for the lines of a file of pairs");
    int64_t line = 0;
    for (uint64_t at = 0; at < p->file.n; at = line_end(&p->file, at)) p->starts[line++] = at;
    p->starts[line] = p->file.n;
    return AIRA_OK;
}

static int by_draw(const void *a, const void *b) {
    const dealt *x = a, *y = b;
    if (x->draw != y->draw) return x->draw < y->draw ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

static aira_status deal(text_pairs *t) {
    int64_t n = t->files[1].n;
    t->order = t->host->alloc(t->host, (uint64_t)n * sizeof *t->order);
    if (!t->order) return t->host->fail(t->host, AIRA_E_MEMORY, "out of memory for the order of the eval pairs");
    for (int64_t k = 0; k < n; k++) t->order[k] = (dealt){aira_key((uint64_t)k, "text_pairs.eval"), k};
    qsort(t->order, (size_t)n, sizeof *t->order, by_draw);
    return AIRA_OK;
}

static aira_status describe(void *self, aira_dataset_info *info) {
    text_pairs *t = self;
    static const char *const names[] = {"train", "eval", "test"};
    const char *const given[] = {t->c->train_file, t->c->eval_file, t->c->test_file};
    forget(t);
    for (int k = 0; k < 3; k++) {
        char path[4096];
        int n = given[k] ? snprintf(path, sizeof path, "%s", given[k])
                         : snprintf(path, sizeof path, "%s/new_aan_pairs.%s.tsv", t->c->path, names[k]);
        if (n >= (int)sizeof path)
            return data_fail(t->host, AIRA_E_IO, "the path of the %s file is too long", names[k]);
        aira_status status = open_pairs(t, path, &t->files[k]);
        if (status) return status;
    }
    aira_status status = deal(t);
    if (status) return status;
    info->metric = AIRA_METRIC_ACCURACY_POOLED;
    info->vocab = BYTES_VOCAB;
    info->classes = 2;
    info->input_length = 2 * t->c->length;
    info->target_length = 1;
    info->n_rows[AIRA_SPLIT_TRAIN] = t->files[0].n;
    info->n_rows[AIRA_SPLIT_SEARCH] = (t->files[1].n + 1) / 2;
    info->n_rows[AIRA_SPLIT_SELECTION] = t->files[1].n / 2;
    info->n_rows[AIRA_SPLIT_TEST] = t->files[2].n;
    info->batch = t->c->batch;
    info->best = 1;
    info->worst = 0.5;
    return AIRA_OK;
}

/* Columns of a line; at[k] and n[k] of column k. */
static bool columns(const uint8_t *line, uint64_t length, const uint8_t *at[5], uint64_t n[5]) {
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) length--;
    for (int k = 0; k < 5; k++) {
        const uint8_t *tab = k < 4 ? memchr(line, '\t', (size_t)length) : line + length;
        if (!tab) return false;
        at[k] = line;
        n[k] = (uint64_t)(tab - line);
        length -= k < 4 ? n[k] + 1 : n[k];
        line = tab + 1;
    }
    return true;
}

static bool read_label(const uint8_t *at, uint64_t n, int32_t *label) {
    bool known = (n == 1 || (n == 3 && at[1] == '.' && at[2] == '0')) && (at[0] == '0' || at[0] == '1');
    if (known) *label = at[0] - '0';
    return known;
}

static aira_status read_row(const text_pairs *t, const pairs *p, int64_t line, int32_t *input, int32_t *target) {
    const uint8_t *at[5];
    uint64_t n[5], start = p->starts[line], length = p->starts[line + 1] - start;
    if (!columns(p->file.bytes + start, length, at, n))
        return data_fail(t->host, AIRA_E_CORRUPT,
                         "%s:%lld: a line of pairs is label, id, id, text, text, separated by tabs", p->path,
                         (long long)line + 1);
    if (!read_label(at[0], n[0], target))
        return data_fail(t->host, AIRA_E_CORRUPT, "%s:%lld: the label must be 0 or 1", p->path, (long long)line + 1);
    bytes_encode(at[3], n[3], t->c->length, input);
    bytes_encode(at[4], n[4], t->c->length, input + t->c->length);
    return AIRA_OK;
}

static aira_status rows(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets) {
    const text_pairs *t = self;
    (void)seed;
    if (split >= AIRA_N_SPLITS) return data_fail(t->host, AIRA_E_FAILED, "there is no split %u", split);
    bool shared = split == AIRA_SPLIT_SEARCH || split == AIRA_SPLIT_SELECTION;
    const pairs *p = &t->files[split == AIRA_SPLIT_TRAIN ? 0 : shared ? 1 : 2];
    for (uint32_t i = 0; i < n; i++) {
        uint64_t before = split == AIRA_SPLIT_SELECTION ? (uint64_t)(p->n + 1) / 2 : 0;
        uint64_t rest = split == AIRA_SPLIT_SEARCH ? (uint64_t)p->n / 2 : before;
        if (indices[i] >= (uint64_t)p->n - rest)
            return data_fail(t->host, AIRA_E_FAILED, "row %llu is beyond the pairs of its split",
                             (unsigned long long)indices[i]);
        int64_t line = shared ? t->order[before + indices[i]].line : (int64_t)indices[i];
        aira_status status = read_row(t, p, line, inputs + (int64_t)i * 2 * t->c->length, targets + i);
        if (status) return status;
    }
    return AIRA_OK;
}

static aira_status create(const aira_host *host, const void *given, void **self) {
    const config *c = given;
    if (!c->path && (!c->train_file || !c->eval_file || !c->test_file))
        return host->fail(host, AIRA_E_CONFIG, "give path, or train_file, eval_file and test_file");
    text_pairs *t = host->alloc(host, sizeof *t);
    if (!t) return host->fail(host, AIRA_E_MEMORY, "out of memory");
    t->host = host;
    t->c = c;
    *self = t;
    return AIRA_OK;
}

static void destroy(void *self) {
    text_pairs *t = self;
    forget(t);
    t->host->release(t->host, t);
}

static const aira_dataset table = {.size = sizeof(aira_dataset), .describe = describe, .rows = rows};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("dataset", aira_dataset, &table, "text_pairs", "1.0.0",
                           "do two texts belong together, byte by byte: Long Range Arena's retrieval", &schema),
    .create = create,
    .destroy = destroy,
};

AIRA_MANIFEST("dataset", "text_pairs", "1.0.0")

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
