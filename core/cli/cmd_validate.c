/* core/cli/cmd_validate.c - `aira validate FILE...`: all mistakes of study, task, model and price files; runs nothing.
 *
 * A file says what it is by its top key (study, task, model, prices); the same reader that a run uses then takes it.
 * Every file is read, whatever the others hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cli/cli.h"
#include "core/search/price.h"
#include "core/search/study.h"
#include "core/train/model_file.h"
#include "core/train/task.h"

int aira__cmd_validate(aira__cli *cli, int argc, char **argv);

static const char *const kinds[] = {"study", "task", "model", "prices", NULL};

/* What the file says it is; NULL with diagnostics. */
static const char *kind_of(const char *path, const char *const *overrides, int n_overrides,
                           aira__diagnostics *diagnostics) {
    aira__document *document = aira__document_load(path, overrides, n_overrides, diagnostics);
    if (document == NULL) return NULL;
    const char *kind = NULL;
    aira__node *root = aira__document_root(document);
    for (int i = 0; kinds[i] != NULL && kind == NULL; i++)
        if (aira__map_get(root, kinds[i]) != NULL) kind = kinds[i];
    if (kind == NULL)
        aira__diagnose(diagnostics, root,
                       "no key says what this is; add study:, task: or model: with its name, or prices:");
    aira__document_destroy(document);
    return kind;
}

static const char *validate_file(aira__registry *registry, const char *path, const aira__cli_arguments *arguments,
                                 bool check_data, aira__diagnostics *diagnostics) {
    const char *const *overrides = arguments->overrides;
    int n = arguments->n_overrides;
    const char *kind = kind_of(path, overrides, n, diagnostics);
    if (kind == NULL) return NULL;
    if (strcmp(kind, "task") == 0) {
        aira__task *task = aira__task_load_file(registry, path, overrides, n, check_data, diagnostics);
        if (task != NULL) aira__task_destroy(task);
    } else if (strcmp(kind, "prices") == 0) {
        json_decref(aira__prices_load(path, diagnostics));
    } else if (strcmp(kind, "model") == 0) {
        aira__model_file *model = aira__model_file_load(registry, path, overrides, n, check_data, diagnostics);
        if (model != NULL) aira__model_file_destroy(model);
    } else {
        json_decref(aira__study_load(registry, path, overrides, n, NULL, check_data, diagnostics));
    }
    return kind;
}

static json_t *result_json(const aira__cli_arguments *arguments, const aira__diagnostics *diagnostics) {
    json_t *files = json_array(), *errors = json_array();
    bool good = true;
    for (int i = 0; i < arguments->n_names; i++)
        good = json_array_append_new(files, json_string(arguments->names[i])) == 0 && good;
    for (int i = 0; i < aira__diagnostics_count(diagnostics); i++) {
        const char *file, *sentence;
        int line, column;
        aira__diagnostics_get(diagnostics, i, &file, &line, &column, &sentence);
        json_t *error = json_pack("{s:s, s:o, s:o, s:s}", "file", file, "line",
                                  line > 0 ? json_integer(line) : json_null(), "column",
                                  line > 0 ? json_integer(column) : json_null(), "text", sentence);
        good = json_array_append_new(errors, error) == 0 && good;
    }
    json_t *result = json_pack("{s:o, s:o}", "files", files, "errors", errors);
    if (good) return result;
    json_decref(result);
    return NULL;
}

int aira__cmd_validate(aira__cli *cli, int argc, char **argv) {
    bool check_data = false;
    const aira__cli_option options[] = {{"data", NULL, "missing data files and keys of model servers are mistakes too",
                                         AIRA__CLI_SWITCH, &check_data, false}};
    const aira__cli_spec spec = {.arguments = "FILE... [key=value...]",
                                 .summary = "Reports all mistakes in study, task, model and price files; runs nothing.",
                                 .options = options,
                                 .n_options = 1,
                                 .min_names = 1,
                                 .max_names = -1,
                                 .overrides = true};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    aira_error error = {0};
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (registry == NULL) return aira__cli_fail(cli, &error);
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    if (diagnostics == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    for (int i = 0; i < arguments.n_names; i++) {
        int before = aira__diagnostics_count(diagnostics);
        const char *kind = validate_file(registry, arguments.names[i], &arguments, check_data, diagnostics);
        if (!cli->json && aira__diagnostics_count(diagnostics) == before)
            printf("%s: a %s, no mistakes\n", arguments.names[i], kind);
    }
    if (aira__diagnostics_count(diagnostics) > 0)
        status = aira__cli_fail_diagnostics(cli, diagnostics);
    else
        status = 0;
    if (cli->json && aira__cli_print_json(cli, result_json(&arguments, diagnostics)) != 0) status = 1;
    aira__diagnostics_destroy(diagnostics);
    return status;
}
