/* text.c - byte-level language modelling over plain text: a file, or a folder of .txt files.
 *
 * An id is a byte, as it stands in the file: byte-order marks, carriage returns and broken UTF-8 included, so nothing
 * is lost and the score is bits per byte of the file itself. The files of a folder are read in the order of their
 * names, end to end.
 *
 * Splits are disjoint stretches. With `path`, one text is cut in order into train, search, selection and test; the
 * shares of the last three are keys, the rest trains. With `train_file` and `validation_file` (and `test_file`), the
 * splits that have no file of their own share the validation file in proportion to their shares.
 * Neighbouring stretches come from one text, so the first bytes of one continue the last ones of the other; that is as
 * it should be for language modelling, and no byte is in two splits.
 */
#include <dirent.h>
#include <stdlib.h>

#include "../common/stream.h"

typedef struct text_config {
    const char *path, *train_file, *validation_file, *test_file, *advice;
    int64_t length, train_rows, evaluation_rows, batch;
    double search_share, selection_share, test_share;
} text_config;

static const aira_field fields[] = {
    {"path", "one text file, or a folder whose .txt files are read in order of name; cut into all splits", AIRA_T_PATH,
     0, (uint32_t)offsetof(text_config, path), 0, 0, 0, 0, NULL, NULL},
    {"train_file", "instead of path: the text that trains", AIRA_T_PATH, 0, (uint32_t)offsetof(text_config, train_file),
     0, 0, 0, 0, NULL, NULL},
    {"validation_file", "with train_file: the text of search and selection, and of test without test_file", AIRA_T_PATH,
     0, (uint32_t)offsetof(text_config, validation_file), 0, 0, 0, 0, NULL, NULL},
    {"test_file", "with train_file: the text of the test split", AIRA_T_PATH, 0,
     (uint32_t)offsetof(text_config, test_file), 0, 0, 0, 0, NULL, NULL},
    AIRA_F_INT(text_config, length, 256, 1, 1 << 24, "bytes of a row"),
    AIRA_F_REAL(text_config, search_share, 0.04, 1e-9, 0.9, "share of the text for the search split"),
    AIRA_F_REAL(text_config, selection_share, 0.03, 1e-9, 0.9, "share of the text for the selection split"),
    AIRA_F_REAL(text_config, test_share, 0.03, 1e-9, 0.9, "share of the text for the test split"),
    {"train_rows", "training rows, reused every epoch; 0: a fresh crop every time", AIRA_T_COUNT, 0,
     (uint32_t)offsetof(text_config, train_rows), 0, 0, 0, 1e15, NULL, NULL},
    {"evaluation_rows", "most rows of each other split, spread evenly over it; 0: all", AIRA_T_COUNT, 0,
     (uint32_t)offsetof(text_config, evaluation_rows), 0, 0, 0, 1e15, NULL, NULL},
    AIRA_F_INT(text_config, batch, 64, 1, 1 << 20, "suggested rows of a batch"),
    AIRA_F_STR(text_config, advice, "put a plain text file there, or a folder with .txt files",
               "what to tell someone whose files are missing"),
};
static const aira_schema schema = AIRA_SCHEMA(text_config, fields);

typedef struct text {
    const aira_host *host;
    const text_config *config;
    stream streams[3]; /* the whole or training text, validation, test */
    windows w;
} text;

static aira_status add_file(text *t, stream *s, const char *path) {
    piece p = {.width = 1};
    aira_status status = data_map(t->host, path, t->config->advice, &p.file);
    if (status) return status;
    p.data = p.file.bytes;
    p.n = p.file.n;
    return stream_add(t->host, s, &p, path);
}

static int is_text_file(const struct dirent *entry) {
    size_t n = strlen(entry->d_name);
    return n > 4 && strcmp(entry->d_name + n - 4, ".txt") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static aira_status add_folder(text *t, stream *s, const char *path) {
    struct dirent **entries;
    int n = scandir(path, &entries, is_text_file, by_name);
    if (n < 0) return data_fail(t->host, AIRA_E_IO, "folder '%s' cannot be read: %s", path, strerror(errno));
    aira_status status = AIRA_OK;
    if (n == 0) status = data_fail(t->host, AIRA_E_IO, "folder '%s' holds no .txt file; %s", path, t->config->advice);
    for (int i = 0; i < n; i++) {
        char file[4096];
        int length = snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (!status && length >= (int)sizeof file)
            status = data_fail(t->host, AIRA_E_IO, "a path in folder '%s' is too long", path);
        if (!status) status = add_file(t, s, file);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static aira_status add_path(text *t, stream *s, const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode) ? add_folder(t, s, path) : add_file(t, s, path);
}

static aira_status check_keys(const text *t) {
    const text_config *c = t->config;
    if (c->path && (c->train_file || c->validation_file || c->test_file))
        return t->host->fail(t->host, AIRA_E_CONFIG,
                             "give either path (one text, cut into the splits) or train_file and "
                             "validation_file, not both");
    if (!c->path && (!c->train_file || !c->validation_file))
        return t->host->fail(t->host, AIRA_E_CONFIG,
                             "give path (one text, cut into the splits), or train_file and validation_file");
    if (c->search_share + c->selection_share + c->test_share > 0.95)
        return t->host->fail(t->host, AIRA_E_CONFIG,
                             "search_share, selection_share and test_share leave less than 0.05 for training");
    return AIRA_OK;
}

static aira_status open_files(text *t) {
    const text_config *c = t->config;
    double rest = c->search_share + c->selection_share + c->test_share;
    if (c->path) {
        aira_status status = add_path(t, &t->streams[0], c->path);
        const double weight[AIRA_N_SPLITS] = {1 - rest, c->search_share, c->selection_share, c->test_share};
        span_divide(&t->streams[0], 1, weight, t->w.splits);
        return status;
    }
    aira_status status = add_path(t, &t->streams[0], c->train_file);
    if (!status) status = add_path(t, &t->streams[1], c->validation_file);
    if (!status && c->test_file) status = add_path(t, &t->streams[2], c->test_file);
    const double weight[AIRA_N_SPLITS] = {0, c->search_share, c->selection_share, c->test_file ? 0 : c->test_share};
    span_divide(&t->streams[1], 1, weight, t->w.splits);
    t->w.splits[AIRA_SPLIT_TRAIN] = (span){&t->streams[0], 0, t->streams[0].n};
    if (c->test_file) t->w.splits[AIRA_SPLIT_TEST] = (span){&t->streams[2], 0, t->streams[2].n};
    return status;
}

static void close_files(text *t) {
    for (int i = 0; i < 3; i++) stream_release(t->host, &t->streams[i]);
}

static aira_status create(const aira_host *host, const void *config, void **self) {
    text *t = host->alloc(host, sizeof *t);
    if (!t) return host->fail(host, AIRA_E_MEMORY, "out of memory");
    t->host = host;
    t->config = config;
    aira_status status = check_keys(t);
    if (status)
        host->release(host, t);
    else
        *self = t;
    return status;
}

static void destroy(void *self) {
    text *t = self;
    close_files(t);
    t->host->release(t->host, t);
}

static aira_status describe(void *self, aira_dataset_info *info) {
    text *t = self;
    const text_config *c = t->config;
    t->w = (windows){.host = t->host, .name = "text", .length = c->length, .vocab = 256, .pad = -1};
    close_files(t);
    aira_status status = open_files(t);
    if (!status) status = windows_count(&t->w, c->train_rows, c->evaluation_rows);
    if (status) return status;
    info->metric = AIRA_METRIC_BITS_PER_BYTE;
    info->vocab = info->classes = 256;
    info->input_length = info->target_length = c->length;
    for (uint32_t i = 0; i < AIRA_N_SPLITS; i++) info->n_rows[i] = (int64_t)t->w.rows[i];
    info->batch = c->batch;
    info->best = NAN;
    info->worst = 8; /* a uniform guess */
    return AIRA_OK;
}

static aira_status rows(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets) {
    return windows_rows(&((text *)self)->w, split, seed, indices, n, inputs, targets);
}

static const aira_dataset table = {.size = sizeof(aira_dataset), .describe = describe, .rows = rows};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("dataset", aira_dataset, &table, "text", "1.0.0",
                           "byte-level language modelling over plain text files, bits per byte", &schema),
    .create = create,
    .destroy = destroy,
};

AIRA_MANIFEST("dataset", "text", "1.0.0")

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
