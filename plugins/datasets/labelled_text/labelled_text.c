/* labelled_text.c - classification of whole texts, byte by byte: one folder per class, one file per text.
 *
 * Two layouts are known. With folders train and test (and val), as aclImdb has them, each holds one folder per class:
 * test is the test split; search and selection share val, or where there is none are held out of train. Otherwise the
 * folders below `path` are the classes, and the texts are dealt out into `folds`: fold number `fold` is the test split,
 * search and selection are held out of the others. Texts are dealt class by class in the order of their names, so that
 * every split has the classes' shares, and within a split the classes take turns. A folder `unsup` is no class.
 *
 * What a text says is read when its row is asked for, and at no other time; describing looks at names only.
 */
#include <dirent.h>
#include <stdlib.h>

#include "../common/bytes.h"
#include "../common/files.h"
#include "listing.h"

typedef struct config {
    const char *path, *advice;
    int64_t length, folds, fold, batch;
    double search_share, selection_share;
} config;

typedef struct labelled_text {
    const aira_host *host;
    const config *c;
    listing lists[3]; /* train or everything, val, test */
    const listing_text **rows[AIRA_N_SPLITS];
    int64_t n_rows[AIRA_N_SPLITS];
} labelled_text;

static const aira_field fields[] = {
    {"path", "folder with train and test (as aclImdb), or with one folder of text files per class", AIRA_T_PATH,
     AIRA_REQUIRED, (uint32_t)offsetof(config, path), 0, 0, 0, 0, NULL, NULL},
    AIRA_F_INT(config, length, 4096, 1, 1 << 24, "bytes of a row; longer texts are cut"),
    AIRA_F_INT(config, folds, 10, 2, 1000, "without a folder test: parts that the texts are dealt into"),
    AIRA_F_INT(config, fold, 0, 0, 999, "without a folder test: the part that is the test split, from 0"),
    AIRA_F_REAL(config, search_share, 0.05, 1e-9, 0.4, "share of the training texts held out for the search split"),
    AIRA_F_REAL(config, selection_share, 0.05, 1e-9, 0.4, "share held out for the selection split"),
    AIRA_F_INT(config, batch, 32, 1, 1 << 20, "suggested rows of a batch"),
    AIRA_F_STR(config, advice,
               "get aclImdb_v1.tar.gz (Large Movie Review Dataset, https://ai.stanford.edu/~amaas/data/sentiment) "
               "and unpack it, or name a folder with one folder of text files per class",
               "what to tell someone whose files are missing"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);

static void forget(labelled_text *t) {
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) {
        t->host->release(t->host, t->rows[s]);
        t->rows[s] = NULL;
        t->n_rows[s] = 0;
    }
    for (int k = 0; k < 3; k++) listing_release(t->host, &t->lists[k]);
}

/* Takes every text of a listing whose place among its class's texts, of n, chosen() accepts. */
typedef bool chooser(const config *c, uint32_t split, int64_t place);

/* Classes take turns, so that the first rows of a split stand for all of them. */
static int in_turns(const void *a, const void *b) {
    const listing_text *x = *(const listing_text *const *)a, *y = *(const listing_text *const *)b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return (x->label > y->label) - (x->label < y->label);
}

static aira_status take(labelled_text *t, uint32_t split, const listing *from, chooser *chosen) {
    const listing_text **rows = t->host->alloc(t->host, (uint64_t)(from->n + 1) * sizeof *rows);
    if (!rows) return t->host->fail(t->host, AIRA_E_MEMORY, "out of memory for the list of texts");
    int64_t n = 0;
    for (int64_t k = 0; k < from->n; k++) {
        if (chosen(t->c, split, from->texts[k].place)) rows[n++] = &from->texts[k];
    }
    qsort(rows, (size_t)n, sizeof *rows, in_turns);
    t->rows[split] = rows;
    t->n_rows[split] = n;
    static const char *const names[] = {"train", "search", "selection", "test"};
    if (n > 0) return AIRA_OK;
    return data_fail(t->host, AIRA_E_CONFIG,
                     "the %s split of '%s' would have no text; give more texts or larger shares", names[split],
                     t->c->path);
}

/* The split that text number `place` of its class's training texts is dealt to: evenly spread over the names. */
static uint32_t held(const config *c, int64_t place) {
    double search = c->search_share, both = search + c->selection_share;
    int64_t before = (int64_t)((double)place * both), after = (int64_t)((double)(place + 1) * both);
    if (after == before) return AIRA_SPLIT_TRAIN;
    double share = search / both;
    return (int64_t)((double)after * share) > (int64_t)((double)before * share) ? AIRA_SPLIT_SEARCH
                                                                                : AIRA_SPLIT_SELECTION;
}

static bool all(const config *c, uint32_t split, int64_t place) {
    (void)c, (void)split, (void)place;
    return true;
}
static bool held_out(const config *c, uint32_t split, int64_t place) { return held(c, place) == split; }
static bool halves(const config *c, uint32_t split, int64_t place) {
    (void)c;
    return (place % 2 == 0) == (split == AIRA_SPLIT_SEARCH);
}
static bool folded(const config *c, uint32_t split, int64_t place) {
    int64_t part = place % c->folds, rest = place / c->folds * (c->folds - 1) + part - (part > c->fold);
    if (part == c->fold) return split == AIRA_SPLIT_TEST;
    return split != AIRA_SPLIT_TEST && held(c, rest) == split;
}

/* path/name is a folder */
static bool has(const labelled_text *t, const char *name) {
    char path[4096];
    struct stat about;
    int n = snprintf(path, sizeof path, "%s/%s", t->c->path, name);
    return n < (int)sizeof path && stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static aira_status read_list(labelled_text *t, int k, const char *name) {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s%s%s", t->c->path, name[0] ? "/" : "", name);
    if (n >= (int)sizeof path) return data_fail(t->host, AIRA_E_IO, "path '%s' is too long", t->c->path);
    return listing_read(t->host, path, t->c->advice, &t->lists[k]);
}

/* train and its companions must have the same classes. */
static aira_status same_classes(const labelled_text *t, int k, const char *name) {
    const listing *a = &t->lists[0], *b = &t->lists[k];
    bool same = a->n_classes == b->n_classes;
    for (int64_t i = 0; same && i < a->n_classes; i++) same = strcmp(a->classes[i], b->classes[i]) == 0;
    if (same) return AIRA_OK;
    return data_fail(t->host, AIRA_E_CORRUPT, "'%s/train' and '%s/%s' do not have the same class folders; %s",
                     t->c->path, t->c->path, name, t->c->advice);
}

static aira_status read_parts(labelled_text *t) {
    if (!has(t, "train"))
        return data_fail(t->host, AIRA_E_IO, "there is '%s/test', but no '%s/train'; %s", t->c->path, t->c->path,
                         t->c->advice);
    bool val = has(t, "val");
    aira_status status = read_list(t, 0, "train");
    if (!status) status = read_list(t, 2, "test");
    if (!status) status = same_classes(t, 2, "test");
    if (!status && val) status = read_list(t, 1, "val");
    if (!status && val) status = same_classes(t, 1, "val");
    if (!status) status = take(t, AIRA_SPLIT_TRAIN, &t->lists[0], val ? all : held_out);
    for (uint32_t s = AIRA_SPLIT_SEARCH; s <= AIRA_SPLIT_SELECTION && !status; s++)
        status = take(t, s, &t->lists[val ? 1 : 0], val ? halves : held_out);
    return status ? status : take(t, AIRA_SPLIT_TEST, &t->lists[2], all);
}

static aira_status read_folds(labelled_text *t) {
    if (has(t, "train"))
        return data_fail(t->host, AIRA_E_IO, "there is '%s/train', but no '%s/test'; %s", t->c->path, t->c->path,
                         t->c->advice);
    aira_status status = read_list(t, 0, "");
    for (uint32_t s = 0; s < AIRA_N_SPLITS && !status; s++) status = take(t, s, &t->lists[0], folded);
    return status;
}

static aira_status describe(void *self, aira_dataset_info *info) {
    labelled_text *t = self;
    forget(t);
    aira_status status = has(t, "test") ? read_parts(t) : read_folds(t);
    if (status) return status;
    info->metric = AIRA_METRIC_ACCURACY_POOLED;
    info->vocab = BYTES_VOCAB;
    info->classes = t->lists[0].n_classes;
    info->input_length = t->c->length;
    info->target_length = 1;
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) info->n_rows[s] = t->n_rows[s];
    info->batch = t->c->batch;
    info->best = 1;
    info->worst = 1.0 / (double)info->classes;
    return AIRA_OK;
}

static aira_status rows(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets) {
    const labelled_text *t = self;
    (void)seed;
    if (split >= AIRA_N_SPLITS) return data_fail(t->host, AIRA_E_FAILED, "there is no split %u", split);
    for (uint32_t i = 0; i < n; i++) {
        if (indices[i] >= (uint64_t)t->n_rows[split])
            return data_fail(t->host, AIRA_E_FAILED, "row %llu is beyond the %lld texts of its split",
                             (unsigned long long)indices[i], (long long)t->n_rows[split]);
        const listing_text *text = t->rows[split][indices[i]];
        mapped file;
        aira_status status = data_map(t->host, text->path, t->c->advice, &file);
        if (status) return status;
        bytes_encode(file.bytes, file.n, t->c->length, inputs + (int64_t)i * t->c->length);
        targets[i] = text->label;
        data_unmap(&file);
    }
    return AIRA_OK;
}

static aira_status create(const aira_host *host, const void *given, void **self) {
    const config *c = given;
    if (c->fold >= c->folds) return host->fail(host, AIRA_E_CONFIG, "fold counts from 0 and must be below folds");
    labelled_text *t = host->alloc(host, sizeof *t);
    if (!t) return host->fail(host, AIRA_E_MEMORY, "out of memory");
    t->host = host;
    t->c = c;
    *self = t;
    return AIRA_OK;
}

static void destroy(void *self) {
    labelled_text *t = self;
    forget(t);
    t->host->release(t->host, t);
}

static const aira_dataset table = {.size = sizeof(aira_dataset), .describe = describe, .rows = rows};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("dataset", aira_dataset, &table, "labelled_text", "1.0.0",
                           "classification of whole texts byte by byte: a folder of text files per class", &schema),
    .create = create,
    .destroy = destroy,
};

AIRA_MANIFEST("dataset", "labelled_text", "1.0.0")

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
