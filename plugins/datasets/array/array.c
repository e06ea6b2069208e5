/* array.c - rows that somebody has written down: inputs.npy and targets.npy.
 *
 * The layout is what `aira data --out` and the MAD benchmark's published files have: a folder per split with
 * inputs.npy [N, T] and targets.npy [N, T'], integers, ignored targets -100. `path` is the folder of the folders train,
 * search, selection and test; each may be named by a key of its own instead. Rows come in the order of the file.
 *
 * Where search and selection have no folder, `holdout` rows of each are taken from the end of the training rows, never
 * from the test rows. Everything is checked before the first row is given: shapes agree between splits, ids lie in the
 * vocabulary, targets in the classes or at -100.
 */
#include "../common/files.h"
#include "../common/npy.h"

#include <math.h>

static const char *const metrics[] = {"accuracy", "loss", "bits_per_byte", NULL};
static const uint32_t metric_of[] = {AIRA_METRIC_ACCURACY, AIRA_METRIC_LOSS, AIRA_METRIC_BITS_PER_BYTE};
static const char *const split_names[AIRA_N_SPLITS] = {"train", "search", "selection", "test"};

typedef struct array_config {
    const char *path, *splits[AIRA_N_SPLITS];
    int64_t vocab, classes, holdout, batch;
    int32_t metric, reserved;
} array_config;

#define SPLIT_FIELD(KEY, SPLIT)                                                                                  \
    {                                                                                                            \
        KEY, "folder with inputs.npy and targets.npy of this split, instead of the one in path", AIRA_T_PATH, 0, \
            (uint32_t)(offsetof(array_config, splits) + (SPLIT) * sizeof(char *)), 0, 0, 0, 0, NULL, NULL        \
    }

static const aira_field fields[] = {
    {"path", "folder of the folders train, search, selection and test", AIRA_T_PATH, 0,
     (uint32_t)offsetof(array_config, path), 0, 0, 0, 0, NULL, NULL},
    SPLIT_FIELD("train", AIRA_SPLIT_TRAIN),
    SPLIT_FIELD("search", AIRA_SPLIT_SEARCH),
    SPLIT_FIELD("selection", AIRA_SPLIT_SELECTION),
    SPLIT_FIELD("test", AIRA_SPLIT_TEST),
    AIRA_F_INT(array_config, vocab, 0, 0, 2147483647, "input ids are below this; 0: the largest id of all files + 1"),
    AIRA_F_INT(array_config, classes, 0, 0, 2147483647,
               "targets are below this; 0: vocab, or the largest target + 1 if that is more"),
    {"holdout", "rows of each of search and selection, taken from the end of train where they have no folder",
     AIRA_T_COUNT, 0, (uint32_t)offsetof(array_config, holdout), 0, 0, 0, 1e12, NULL, NULL},
    AIRA_F_CHOICE(array_config, metric, metrics, 0, "what the rows are scored by"),
    AIRA_F_INT(array_config, batch, 128, 1, 1 << 20, "suggested rows of a batch"),
};
static const aira_schema schema = AIRA_SCHEMA(array_config, fields);

typedef struct side { /* inputs or targets of a split */
    mapped file;
    data_npy array;
} side;

typedef struct array {
    const aira_host *host;
    const array_config *config;
    side files[AIRA_N_SPLITS][2]; /* empty where a split has no folder */
    uint64_t first[AIRA_N_SPLITS], n[AIRA_N_SPLITS];
    uint32_t from[AIRA_N_SPLITS]; /* the split whose files it reads */
    int64_t length[2];
} array;

static void close_files(array *a) {
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++)
        for (int i = 0; i < 2; i++) {
            data_unmap(&a->files[s][i].file);
            a->files[s][i] = (side){0};
        }
}

static aira_status open_side(array *a, const char *folder, uint32_t split, int i) {
    static const char *const names[] = {"inputs.npy", "targets.npy"};
    char path[4096];
    const char *wrong;
    side *s = &a->files[split][i];
    if (snprintf(path, sizeof path, "%s/%s", folder, names[i]) >= (int)sizeof path)
        return data_fail(a->host, AIRA_E_IO, "the path of the %s split is too long", split_names[split]);
    aira_status status = data_map(
        a->host, path, "a split is a folder with inputs.npy and targets.npy, as `aira data --out` writes it", &s->file);
    if (status) return status;
    if (!data_npy_parse(s->file.bytes, s->file.n, &s->array, &wrong))
        return data_fail(a->host, AIRA_E_CORRUPT, "'%s': %s", path, wrong);
    const data_npy *npy = &s->array;
    if (npy->rank != 2 || npy->elements == 0 || npy->shape[1] > INT32_MAX)
        return data_fail(a->host, AIRA_E_CORRUPT, "'%s' must have two axes, rows and positions, not empty", path);
    if (a->length[i] == 0) a->length[i] = (int64_t)npy->shape[1];
    if (a->length[i] != (int64_t)npy->shape[1])
        return data_fail(a->host, AIRA_E_CORRUPT, "rows of '%s' have %llu positions, those of other splits %lld", path,
                         (unsigned long long)npy->shape[1], (long long)a->length[i]);
    if (i == 1 && npy->shape[0] != a->files[split][0].array.shape[0])
        return data_fail(a->host, AIRA_E_CORRUPT, "'%s' has %llu rows, but inputs.npy beside it has %llu", path,
                         (unsigned long long)npy->shape[0], (unsigned long long)a->files[split][0].array.shape[0]);
    return AIRA_OK;
}

static aira_status open_split(array *a, uint32_t split) {
    const array_config *c = a->config;
    char below[4096];
    const char *folder = c->splits[split];
    struct stat about;
    if (!folder && c->path) {
        if (snprintf(below, sizeof below, "%s/%s", c->path, split_names[split]) >= (int)sizeof below)
            return data_fail(a->host, AIRA_E_IO, "path is too long");
        bool may_lack = split == AIRA_SPLIT_SEARCH || split == AIRA_SPLIT_SELECTION;
        if (!may_lack || stat(below, &about) == 0) folder = below;
    }
    a->from[split] = split;
    if (!folder) return AIRA_OK;
    aira_status status = open_side(a, folder, split, 0);
    if (!status) status = open_side(a, folder, split, 1);
    if (!status) a->n[split] = a->files[split][0].array.shape[0];
    return status;
}

/* Rows for the splits that have no folder, from the end of train. */
static aira_status hold_out(array *a) {
    uint64_t wanted = (uint64_t)a->config->holdout;
    bool used = false;
    for (uint32_t s = AIRA_SPLIT_SEARCH; s <= AIRA_SPLIT_SELECTION; s++) {
        if (a->n[s]) continue;
        if (wanted == 0)
            return data_fail(a->host, AIRA_E_CONFIG,
                             "there is no folder for the %s split; write one, or give holdout, the number of rows "
                             "to take from the end of train",
                             split_names[s]);
        if (wanted >= a->n[AIRA_SPLIT_TRAIN])
            return data_fail(a->host, AIRA_E_CONFIG, "holdout %llu leaves no rows to train on",
                             (unsigned long long)wanted);
        a->from[s] = AIRA_SPLIT_TRAIN;
        a->n[s] = wanted;
        a->first[s] = a->n[AIRA_SPLIT_TRAIN] -= wanted;
        used = true;
    }
    if (wanted && !used)
        return data_fail(a->host, AIRA_E_CONFIG,
                         "holdout has no effect, search and selection have folders; leave it out");
    return AIRA_OK;
}

static aira_status check_ids(array *a, int64_t limit[2]) {
    static const char *const sides[] = {"inputs.npy", "targets.npy"};
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) {
        for (int i = 0; i < 2; i++) {
            const data_npy *npy = &a->files[s][i].array;
            int64_t given = i == 0 ? a->config->vocab : a->config->classes;
            int64_t most = given ? given : INT32_MAX;
            for (uint64_t e = 0; e < npy->elements; e++) {
                int64_t id = data_npy_int(npy, e);
                if (id >= limit[i] && id < most) limit[i] = id + 1;
                if ((id < 0 && !(i == 1 && id == AIRA_IGNORE)) || id >= most)
                    return data_fail(a->host, AIRA_E_CORRUPT,
                                     "%s of the %s split holds %lld in row %llu; accepted are 0 to %lld%s", sides[i],
                                     split_names[s], (long long)id, (unsigned long long)(e / npy->shape[1]),
                                     (long long)most - 1, i == 1 ? " and -100" : "");
            }
        }
    }
    return AIRA_OK;
}

static aira_status create(const aira_host *host, const void *config, void **self) {
    const array_config *c = config;
    if (!c->path && !(c->splits[AIRA_SPLIT_TRAIN] && c->splits[AIRA_SPLIT_TEST]))
        return host->fail(host, AIRA_E_CONFIG,
                          "give path, the folder of the folders train and test, or the keys train and test");
    array *a = host->alloc(host, sizeof *a);
    if (!a) return host->fail(host, AIRA_E_MEMORY, "out of memory");
    a->host = host;
    a->config = config;
    *self = a;
    return AIRA_OK;
}

static void destroy(void *self) {
    array *a = self;
    close_files(a);
    a->host->release(a->host, a);
}

static aira_status describe(void *self, aira_dataset_info *info) {
    array *a = self;
    const array_config *c = a->config;
    close_files(a);
    *a = (array){.host = a->host, .config = c};
    aira_status status = AIRA_OK;
    for (uint32_t s = 0; s < AIRA_N_SPLITS && !status; s++) status = open_split(a, s);
    if (!status) status = hold_out(a);
    int64_t limit[2] = {1, 1};
    if (!status) status = check_ids(a, limit);
    if (status) return status;
    info->metric = metric_of[c->metric];
    info->vocab = c->vocab ? c->vocab : limit[0];
    info->classes = c->classes ? c->classes : limit[1] > info->vocab ? limit[1] : info->vocab;
    info->input_length = a->length[0];
    info->target_length = a->length[1];
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) info->n_rows[s] = (int64_t)a->n[s];
    info->batch = c->batch;
    info->best = info->metric == AIRA_METRIC_ACCURACY ? 1 : NAN;
    info->worst = NAN;
    return AIRA_OK;
}

static aira_status rows(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets) {
    (void)seed; /* the rows are what they are */
    const array *a = self;
    if (split >= AIRA_N_SPLITS) return data_fail(a->host, AIRA_E_FAILED, "there is no split %u", split);
    const side *files = a->files[a->from[split]];
    int32_t *out[2] = {inputs, targets};
    for (uint32_t i = 0; i < n; i++) {
        if (indices[i] >= a->n[split])
            return data_fail(a->host, AIRA_E_FAILED, "row %llu is beyond the %llu rows of the %s split",
                             (unsigned long long)indices[i], (unsigned long long)a->n[split], split_names[split]);
        for (int k = 0; k < 2; k++) {
            uint64_t length = (uint64_t)a->length[k], from = (a->first[split] + indices[i]) * length;
            for (uint64_t e = 0; e < length; e++)
                out[k][i * length + e] = (int32_t)data_npy_int(&files[k].array, from + e);
        }
    }
    return AIRA_OK;
}

static const aira_dataset table = {
    .size = sizeof(aira_dataset), .flags = AIRA_DATASET_IN_ORDER, .describe = describe, .rows = rows};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("dataset", aira_dataset, &table, "array", "1.0.0",
                           "rows from inputs.npy and targets.npy, as `aira data --out` writes them", &schema),
    .create = create,
    .destroy = destroy,
};

AIRA_MANIFEST("dataset", "array", "1.0.0")

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
