/* core/cli/cmd_data.c - aira data: writes rows of a data set as inputs.npy and targets.npy.
 *
 * So that anyone can compare: the files hold exactly the rows that trainings and evaluations are given. These draw
 * finite splits with seed 0 and endless ones with the seed of the training. The data set is a task's proxy
 * (`proxies:`), a file's own `dataset:`, or a mapping on the command line. Of a task only the chosen proxy's data set
 * is read; `aira validate` looks at the rest. Both files are written whole or not at all.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "aira/dataset.h"
#include "core/base/fs.h"
#include "core/base/npy.h"
#include "core/cli/cli.h"
#include "core/train/task.h"

enum { chunk_rows = 512 };

static const char *const split_names[AIRA_N_SPLITS] = {"train", "search", "selection", "test"};

typedef struct {
    const char *dataset, *split, *out;
    int64_t n, proxy;
    uint64_t seed;
} request;

/* One opened data set and where its rows go. */
typedef struct {
    aira__instance *instance;
    const aira_dataset *table;
    const aira_host *host;
    aira_dataset_info info;
    uint32_t split;
    uint64_t seed;
    int64_t n;
    char *paths[2];
} source;

static int find_split(const aira__cli *cli, const char *name, uint32_t *split) {
    for (*split = 0; *split < AIRA_N_SPLITS; ++*split)
        if (strcmp(name, split_names[*split]) == 0) return 0;
    return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--split must be train, search, selection or test, not '%s'", name);
}

/* The mapping that configures the data set; NULL after a diagnostic. */
static aira__node *find_node(aira__node *root, int64_t proxy, aira__diagnostics *d) {
    if (root->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, root, "expected a task, a mapping with proxies, or one with dataset");
        return NULL;
    }
    aira__node *own = aira__map_get(root, "dataset"), *proxies = aira__map_get(root, "proxies");
    if (own != NULL && proxy < 0) return own;
    if (proxies == NULL || proxies->kind != AIRA_NODE_LIST) {
        aira__diagnose(d, root, "there is neither a list 'proxies' nor a mapping 'dataset' to take rows from");
        return NULL;
    }
    if (proxy < 0 && proxies->n_items > 1) {
        aira__diagnose(d, proxies, "the task has %d proxies; choose one with --proxy 0 to --proxy %d", proxies->n_items,
                       proxies->n_items - 1);
        return NULL;
    }
    if (proxy < 0) proxy = 0;
    if (proxy >= proxies->n_items) {
        aira__diagnose(d, proxies, "there is no proxy %" PRId64 "; the first is 0, the last %d", proxy,
                       proxies->n_items - 1);
        return NULL;
    }
    aira__node *item = proxies->items[proxy];
    aira__node *node = item->kind == AIRA_NODE_MAP ? aira__map_get(item, "dataset") : NULL;
    if (node == NULL) aira__diagnose(d, item, "the proxy has no key 'dataset'");
    return node;
}

static aira__instance *open_instance(aira__registry *registry, const request *r, const aira__cli_arguments *a,
                                     aira__diagnostics *d) {
    aira__document *document = r->dataset != NULL ? aira__document_parse(r->dataset, "--dataset", d)
                                                  : aira__document_load(a->names[0], a->overrides, a->n_overrides, d);
    aira__instance *instance = NULL;
    if (document != NULL && aira__diagnostics_count(d) == 0) {
        aira__node *root = aira__document_root(document);
        aira__node *node = r->dataset != NULL ? root : find_node(root, r->proxy, d);
        if (node != NULL) instance = aira__instance_create(registry, "dataset", node, NULL, d);
    }
    aira__document_destroy(document);
    return instance;
}

/* The plugin's own sentence for a failed call. */
static aira_status plugin_failed(const source *s, aira_status status, aira_error *error) {
    const char *text = aira__host_last_failure(s->host);
    return aira__fail(error, status, "dataset '%s': %s", s->instance->plugin->id,
                      text[0] != 0 ? text : "it failed without saying why");
}

static aira_status describe(source *s, aira_error *error) {
    s->info.size = sizeof s->info;
    aira__host_clear_failure(s->host);
    aira_status status = s->table->describe(s->instance->self, &s->info);
    if (status != AIRA_OK) return plugin_failed(s, status, error);
    if (s->info.input_length < 1 || s->info.target_length < 1)
        return aira__fail(error, AIRA_E_FAILED, "dataset '%s' describes rows without positions",
                          s->instance->plugin->id);
    int64_t rows = s->info.n_rows[s->split];
    if (s->n == 0) s->n = rows;
    if (s->n == 0)
        return aira__fail(error, AIRA_E_CONFIG, "the %s split is endless; say how many rows with --n",
                          split_names[s->split]);
    if (s->n < 0 || (rows > 0 && s->n > rows))
        return aira__fail(error, AIRA_E_CONFIG, "--n is %" PRId64 ", but the %s split has %" PRId64 " rows", s->n,
                          split_names[s->split], rows);
    return AIRA_OK;
}

static aira_status write_chunks(const source *s, aira__npy_writer *const writers[2], int32_t *const data[2],
                                aira_error *error) {
    const int64_t lengths[2] = {s->info.input_length, s->info.target_length};
    aira_status status = AIRA_OK;
    for (int64_t first = 0; first < s->n && status == AIRA_OK; first += chunk_rows) {
        uint64_t indices[chunk_rows];
        int64_t n = s->n - first < chunk_rows ? s->n - first : chunk_rows;
        for (int64_t i = 0; i < n; i++) indices[i] = (uint64_t)(first + i);
        aira__host_clear_failure(s->host);
        status = s->table->rows(s->instance->self, s->split, s->seed, indices, (uint32_t)n, data[0], data[1]);
        if (status != AIRA_OK) return plugin_failed(s, status, error);
        for (int i = 0; i < 2 && status == AIRA_OK; i++)
            status = aira__npy_writer_add(writers[i], data[i], n * lengths[i], error);
    }
    return status;
}

static aira_status write_files(const source *s, aira_error *error) {
    const int64_t lengths[2] = {s->info.input_length, s->info.target_length};
    aira__npy_writer *writers[2] = {NULL, NULL};
    int32_t *data[2] = {NULL, NULL};
    aira_status status = AIRA_OK;
    for (int i = 0; i < 2 && status == AIRA_OK; i++) {
        const int64_t shape[2] = {s->n, lengths[i]};
        data[i] = calloc((size_t)lengths[i], chunk_rows * sizeof **data);
        status = data[i] != NULL ? aira__npy_writer_open(s->paths[i], AIRA_NPY_I32, shape, 2, &writers[i], error)
                                 : aira__fail(error, AIRA_E_MEMORY, "out of memory for %d rows", (int)chunk_rows);
    }
    if (status == AIRA_OK) status = write_chunks(s, writers, data, error);
    for (int i = 0; i < 2; i++) {
        if (writers[i] != NULL && status == AIRA_OK)
            status = aira__npy_writer_commit(writers[i], error);
        else if (writers[i] != NULL)
            aira__npy_writer_abandon(writers[i]);
        free(data[i]);
    }
    return status;
}

static json_t *number_or_null(double x) { return x == x ? json_real(x) : json_null(); }

static int print_result(aira__cli *cli, const source *s) {
    if (!cli->json) {
        printf("%s\n%s\n", s->paths[0], s->paths[1]);
        return 0;
    }
    const aira_dataset_info *info = &s->info;
    return aira__cli_print_json(
        cli, json_pack("{s:O, s:s, s:I, s:I, s:[I,I], s:[I,I], s:I, s:I, s:s, s:o, s:o, s:s, s:s}", "dataset",
                       s->instance->canonical, "split", split_names[s->split], "seed", (json_int_t)s->seed, "rows",
                       (json_int_t)s->n, "input_shape", (json_int_t)s->n, (json_int_t)info->input_length,
                       "target_shape", (json_int_t)s->n, (json_int_t)info->target_length, "vocab",
                       (json_int_t)info->vocab, "classes", (json_int_t)info->classes, "metric",
                       aira__metric_name(info->metric), "best", number_or_null(info->best), "worst",
                       number_or_null(info->worst), "inputs", s->paths[0], "targets", s->paths[1]));
}

static aira_status export_rows(source *s, const char *out, aira_error *error) {
    aira_status status = describe(s, error);
    if (status != AIRA_OK) return status;
    s->paths[0] = aira__path_join(out, "inputs.npy");
    s->paths[1] = aira__path_join(out, "targets.npy");
    if (s->paths[0] == NULL || s->paths[1] == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    status = aira__make_dirs(out, error);
    return status == AIRA_OK ? write_files(s, error) : status;
}

static int check_usage(const aira__cli *cli, const request *r, const aira__cli_arguments *a) {
    if ((r->dataset != NULL) == (a->n_names == 1))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "give either a task file or --dataset '{use: ...}'");
    if (r->dataset != NULL && a->n_overrides > 0)
        return aira__cli_fail_text(cli, AIRA_E_CONFIG,
                                   "'%s': overrides belong to a task file; write the key into "
                                   "--dataset",
                                   a->overrides[0]);
    if (r->n < 0) return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--n must not be negative");
    return 0;
}

int aira__cmd_data(aira__cli *cli, int argc, char **argv);
int aira__cmd_data(aira__cli *cli, int argc, char **argv) {
    request r = {.proxy = -1};
    const aira__cli_option options[] = {
        {"split", "NAME", "train, search, selection or test", AIRA__CLI_TEXT, &r.split, true},
        {"out", "DIR", "folder for inputs.npy and targets.npy", AIRA__CLI_TEXT, &r.out, true},
        {"n", "N", "the first N rows; all without it", AIRA__CLI_INT, &r.n, false},
        {"seed", "N", "of the draw; 0, what evaluations use, without it", AIRA__CLI_SEED, &r.seed, false},
        {"proxy", "K", "which of the task's proxies, from 0", AIRA__CLI_INT, &r.proxy, false},
        {"dataset", "YAML", "a data set instead of a task: '{use: mad, task: compression}'", AIRA__CLI_TEXT, &r.dataset,
         false},
    };
    const aira__cli_spec spec = {.arguments = "TASK.yaml --split NAME --out DIR [key=value...]",
                                 .summary = "Writes rows of a task's data set as int32 .npy files; -100: not counted.",
                                 .options = options,
                                 .n_options = sizeof options / sizeof options[0],
                                 .max_names = 1,
                                 .overrides = true};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    source s = {.seed = r.seed, .n = r.n};
    status = check_usage(cli, &r, &arguments);
    if (status == 0) status = find_split(cli, r.split, &s.split);
    if (status != 0) return status;
    aira_error error = {0};
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (registry == NULL) return aira__cli_fail(cli, &error);
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    if (diagnostics == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    s.instance = open_instance(registry, &r, &arguments, diagnostics);
    if (s.instance == NULL) {
        status = aira__cli_fail_diagnostics(cli, diagnostics);
    } else {
        s.table = s.instance->plugin->table;
        s.host = aira__registry_host(registry);
        status = export_rows(&s, r.out, &error) == AIRA_OK ? print_result(cli, &s) : aira__cli_fail(cli, &error);
    }
    aira__instance_destroy(s.instance);
    aira__diagnostics_destroy(diagnostics);
    for (int i = 0; i < 2; i++) free(s.paths[i]);
    return status;
}
