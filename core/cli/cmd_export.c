/* core/cli/cmd_export.c - `aira export`: the mechanism of a node, to be used elsewhere.
 *
 * As a plugin it is a folder that builds outside the tree with the installed SDK alone: the source, CMakeLists.txt,
 * test.sh, a task in which the mechanism stands as a token beside the others, README.md with what it scored.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/cli/cli.h"
#include "core/cli/templates.h"
#include "core/search/candidate.h"
#include "core/search/design.h"
#include "core/search/journal.h"
#include "core/search/run.h"
#include "core/train/task.h"
#include "core/train/task_design.h"

int aira__cmd_export(aira__cli *cli, int argc, char **argv);

typedef struct exported {
    const char *run_dir;
    int64_t search, idx;
    char hash[65], name[49];
    double search_score, selection_score;
    aira__candidate candidate;
    json_t *study;
} exported;

/* ---- which node ---- */

/* "1:7", or the one that the run submitted. */
static aira_status find_node(aira__journal *journal, const char *text, exported *e, aira_error *error) {
    int used = 0;
    if (strcmp(text, "submitted") == 0) {
        json_t *summary = aira__run_summary(journal, e->run_dir, error);
        const json_t *submitted = json_object_get(summary, "submitted");
        e->search = aira__json_int(submitted, "search", -1);
        e->idx = aira__json_int(submitted, "node", -1);
        json_decref(summary);
        if (e->idx < 0) return aira__fail(error, AIRA_E_CONFIG, "%s has submitted nothing yet", e->run_dir);
        return AIRA_OK;
    }
    if (sscanf(text, "%9" SCNd64 ":%9" SCNd64 "%n", &e->search, &e->idx, &used) == 2 && text[used] == 0) return AIRA_OK;
    return aira__fail(error, AIRA_E_CONFIG, "a node is SEARCH:IDX, for instance 1:7, or submitted, not '%s'", text);
}

static aira_status take_node(void *context, const aira__journal_node *row, aira_error *error) {
    exported *e = context;
    (void)error;
    if (row->idx != e->idx) return AIRA_OK;
    snprintf(e->hash, sizeof e->hash, "%s", row->hash != NULL ? row->hash : "none");
    e->search_score = row->search_score;
    e->selection_score = row->selection_score;
    return AIRA_OK;
}

static aira_status read_node(aira__journal *journal, const char *node, exported *e, aira_error *error) {
    aira_status status = find_node(journal, node, e, error);
    if (status == AIRA_OK) status = aira__journal_each_node(journal, e->search, take_node, e, error);
    if (status != AIRA_OK) return status;
    if (e->hash[0] == 0) return aira__fail(error, AIRA_E_CONFIG, "%s has no node %s", e->run_dir, node);
    if (strcmp(e->hash, "none") == 0)
        return aira__fail(error, AIRA_E_CONFIG, "node %s has no candidate: its answer could not be used", node);
    status = aira__candidate_load(journal, e->hash, &e->candidate, error);
    if (status == AIRA_OK && strcmp(aira__candidate_kind(&e->candidate), "design") != 0)
        return aira__fail(
            error, AIRA_E_CONFIG,
            "node %s is an architecture, `%s`; only mechanisms are exported (an architecture is a line of "
            "`aira evaluate --arch`)",
            node, e->candidate.architecture);
    char *config = status == AIRA_OK ? aira__journal_get_study(journal, "config", error) : NULL;
    if (status == AIRA_OK)
        e->study = config != NULL ? aira__json_parse(config, strlen(config), "the journal's study", error) : NULL;
    free(config);
    return status == AIRA_OK && e->study == NULL ? AIRA_E_CORRUPT : status;
}

/* ---- as a plugin ---- */

static aira_status write_text(const char *folder, const char *name, const char *text, aira_error *error) {
    char *path = aira__path_join(folder, name);
    aira_status status = path != NULL && text != NULL ? aira__file_write_atomic(path, text, strlen(text), error)
                                                      : aira__fail(error, AIRA_E_MEMORY, "out of memory");
    free(path);
    return status;
}

/* The run's task with the candidate's options, its mechanism a token like the others: {"use": its id}. */
static json_t *compose_task(const exported *e, aira_error *error) {
    const json_t *options = json_object_get(e->candidate.canonical, "options");
    json_t *task = aira__design_apply(json_object_get(e->study, "task"), options, error);
    json_t *candidate = json_object_get(task, "candidate");
    if (task == NULL) return NULL;
    json_object_set_new(candidate, "kind", json_string("compose"));
    json_object_del(candidate, "pattern");
    json_object_del(candidate, "configurable");
    json_object_del(json_object_get(task, "limits"), "cost_exponent"); /* of sources alone */
    json_object_set_new(json_object_get(task, "tokens"), AIRA__MECHANISM, json_pack("{s:s}", "use", e->name));
    return task;
}

/* The pattern repeated to the task's depth: "X M X M". malloc'ed. */
static char *architecture(const exported *e, const json_t *task) {
    const json_t *pattern = json_object_get(json_object_get(json_object_get(e->study, "task"), "candidate"), "pattern");
    aira__buf text = {0};
    int64_t layers = aira__json_int(json_object_get(task, "candidate"), "layers", 0);
    for (int64_t k = 0; k < layers && json_array_size(pattern) > 0; k++)
        aira__buf_printf(&text, "%s%s", k > 0 ? " " : "",
                         json_string_value(json_array_get(pattern, (size_t)k % json_array_size(pattern))));
    return aira__buf_take(&text);
}

static char *readme(const exported *e, const char *layers) {
    aira__buf b = {0};
    aira__buf_printf(&b,
                     "# %s\n\nA mechanism found by a search: node %" PRId64 ":%" PRId64 " of study `%s`, candidate "
                     "`%.12s`.\n",
                     e->name, e->search, e->idx, aira__json_string(e->study, "study", "?"), e->hash);
    if (isfinite(e->search_score))
        aira__buf_printf(&b, "It scored %.6g (%s, search split)", e->search_score,
                         aira__json_string(e->study, "metric", "score"));
    if (isfinite(e->search_score) && isfinite(e->selection_score))
        aira__buf_printf(&b, ", %.6g on the selection split", e->selection_score);
    if (isfinite(e->search_score)) aira__buf_text(&b, ".\n");
    aira__buf_printf(
        &b,
        "\n```sh\n./test.sh                          # builds it with one cc line, checks it\n"
        "cmake -B build -DCMAKE_PREFIX_PATH=PREFIX && cmake --build build   # the same; PREFIX: an installed aira\n"
        "aira evaluate --plugin-path \"$PWD\" --task task.yaml --arch \"%s\"\n```\n\n"
        "`task.yaml` is the task that it was found on, with the mechanism as token `" AIRA__MECHANISM
        "`: paths of data in it are those of that run.\n",
        layers);
    return aira__buf_take(&b);
}

static aira_status write_plugin(const exported *e, const char *folder, aira_error *error) {
    char source[64];
    aira__template_words w;
    aira__template_open(&w, e->name);
    if (mkdir(folder, 0777) != 0)
        return aira__fail(error, errno == EEXIST ? AIRA_E_CONFIG : AIRA_E_IO, "cannot make the folder %s: %s", folder,
                          strerror(errno));
    snprintf(source, sizeof source, "%s.c", e->name);
    json_t *task = compose_task(e, error);
    if (task == NULL) return error->status;
    char *yaml = aira__task_text(task), *layers = architecture(e, task),
         *about = layers != NULL ? readme(e, layers) : NULL;
    aira_status status = write_text(folder, source, aira__json_string(e->candidate.canonical, "source", ""), error);
    if (status == AIRA_OK) status = write_text(folder, "task.yaml", yaml, error);
    if (status == AIRA_OK) status = write_text(folder, "README.md", about, error);
    if (status == AIRA_OK)
        status = aira__template_write(folder, "CMakeLists.txt", aira__template_find("CMakeLists.txt.in"), &w, false,
                                      error);
    if (status == AIRA_OK)
        status = aira__template_write(folder, "test.sh", aira__template_find("export_test.sh.in"), &w, true, error);
    json_decref(task);
    free(yaml);
    free(layers);
    free(about);
    return status;
}

/* ---- the command ---- */

static int export_node(aira__cli *cli, const char *node, const char *as, const char *out, exported *e) {
    aira_error error = {AIRA_OK, ""};
    aira__journal *journal = NULL;
    const aira__journal_options options = {.read_only = true};
    char *path = aira__path_join(e->run_dir, "journal.db");
    aira_status status = path != NULL ? aira__journal_open(path, &options, &journal, &error)
                                      : aira__fail(&error, AIRA_E_MEMORY, "out of memory");
    free(path);
    if (status == AIRA_OK) status = read_node(journal, node, e, &error);
    aira__journal_close(journal);
    const char *source = aira__json_string(e->candidate.canonical, "source", "");
    if (status == AIRA_OK) {
        aira__mechanism_name(source, e->name);
        status = strcmp(as, "plugin") == 0 ? write_plugin(e, out, &error)
                                           : aira__file_write_atomic(out, source, strlen(source), &error);
    }
    if (status != AIRA_OK) return aira__cli_fail(cli, &error);
    if (cli->json)
        return aira__cli_print_json(cli, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "out", out, "as", as, "id",
                                                   e->name, "hash", e->hash, "search", (json_int_t)e->search, "node",
                                                   (json_int_t)e->idx));
    return printf("%s: %s of node %" PRId64 ":%" PRId64 "%s%s%s\n", out, e->name, e->search, e->idx,
                  strcmp(as, "plugin") == 0 ? "; build and check it with " : "", strcmp(as, "plugin") == 0 ? out : "",
                  strcmp(as, "plugin") == 0 ? "/test.sh" : "") < 0
               ? aira__cli_fail_text(cli, AIRA_E_IO, "standard output cannot be written")
               : 0;
}

int aira__cmd_export(aira__cli *cli, int argc, char **argv) {
    const char *as = "plugin", *out = NULL;
    const aira__cli_option options[] = {
        {"as", "FORM", "plugin (default): a folder that builds by itself; source: the C file", AIRA__CLI_TEXT, &as,
         false},
        {"out", "PATH", "the folder, which must not exist, or the file", AIRA__CLI_TEXT, &out, true}};
    const aira__cli_spec spec = {
        .arguments = "RUN_DIR NODE --out PATH [--as plugin|source]",
        .summary = "Writes the mechanism of a node (SEARCH:IDX, or submitted) of a run whose candidates are sources.",
        .options = options,
        .n_options = 2,
        .min_names = 2,
        .max_names = 2};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    if (strcmp(as, "plugin") != 0 && strcmp(as, "source") != 0)
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--as is plugin or source, not '%s'", as);
    exported e = {.run_dir = arguments.names[0], .search_score = NAN, .selection_score = NAN};
    if (!aira__is_dir(e.run_dir))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "%s: there is no such run directory", e.run_dir);
    status = export_node(cli, arguments.names[1], as, out, &e);
    aira__candidate_release(&e.candidate);
    json_decref(e.study);
    return status;
}
