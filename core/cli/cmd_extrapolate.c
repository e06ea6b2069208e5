/* core/cli/cmd_extrapolate.c - `aira extrapolate`: an architecture stretched or stacked to a size, with its costs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/cli/cli.h"
#include "core/compose/extrapolate.h"
#include "core/train/task.h"

int aira__cmd_extrapolate(aira__cli *cli, int argc, char **argv);

typedef struct extrapolate_options {
    const char *architecture, *to, *by, *task, *out;
} extrapolate_options;

static double number_in(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static void line(const char *name, const char *tokens, const json_t *e) {
    printf("%-10s %5.0f layers%s, body %.1f M, total %.1f M, %.4g GFLOP per token, %.0f KV bytes per token\n", name,
           number_in(e, "layers"), tokens, number_in(e, "parameters_body") / 1e6,
           number_in(e, "parameters_total") / 1e6, number_in(e, "flops_per_token") / 1e9,
           number_in(e, "kv_bytes_per_token"));
}

static int print_text(aira__cli *cli, const json_t *e) {
    aira__buf counts = {0};
    const char *token;
    const json_t *many, *active = json_object_get(e, "parameters_active");
    json_object_foreach(json_object_get(e, "tokens"), token, many) {
        aira__buf_printf(&counts, "%s%lld %s", counts.size ? ", " : " (", (long long)json_integer_value(many), token);
    }
    aira__buf_text(&counts, ")");
    printf("%s\n", json_string_value(json_object_get(e, "architecture")));
    line(json_string_value(json_object_get(e, "by")), counts.data ? counts.data : "", e);
    if (json_integer_value(active) < json_integer_value(json_object_get(e, "parameters_body")))
        printf("%-10s %.1f M of the body's parameters per token\n", "active", json_number_value(active) / 1e6);
    line("Llama 3.2", "", json_object_get(e, "llama"));
    if (json_is_string(json_object_get(e, "model")))
        printf("model: %s\n", json_string_value(json_object_get(e, "model")));
    aira__buf_free(&counts);
    return fflush(stdout) != 0 ? aira__cli_fail_text(cli, AIRA_E_IO, "standard output cannot be written") : 0;
}

static int extrapolate(aira__cli *cli, const extrapolate_options *o, const json_t *tokens) {
    aira__extrapolation e;
    aira_error error = {AIRA_OK, ""};
    int code;
    if (aira__extrapolate(cli->registry, tokens, o->architecture, o->to, o->by, &e, &error) != AIRA_OK)
        return aira__cli_fail(cli, &error);
    if (o->out != NULL && aira__file_write_atomic(o->out, e.model, strlen(e.model), &error) != AIRA_OK)
        code = aira__cli_fail(cli, &error);
    else if (o->out != NULL && json_object_set_new(e.result, "model", json_string(o->out)) != 0)
        code = aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory for the result");
    else
        code = cli->json ? aira__cli_print_json(cli, json_incref(e.result)) : print_text(cli, e.result);
    aira__extrapolation_release(&e);
    return code;
}

int aira__cmd_extrapolate(aira__cli *cli, int argc, char **argv) {
    extrapolate_options o = {.by = "stretch"};
    const aira__cli_option options[] = {
        {"arch", "A", "architecture, e.g. \"2mA 4M\"", AIRA__CLI_TEXT, &o.architecture, true},
        {"to", "SIZE", "350M, 1B, 3B or 8B: the body of Llama 3.2 of that size", AIRA__CLI_TEXT, &o.to, true},
        {"by", "RULE", "stretch (the default) or stack", AIRA__CLI_TEXT, &o.by, false},
        {"task", "FILE", "task whose tokens say `at_scale`; default: mA attention, M swiglu, Mb mamba2", AIRA__CLI_TEXT,
         &o.task, false},
        {"out", "MODEL.yaml", "also write the model, for `aira train`", AIRA__CLI_TEXT, &o.out, false}};
    const aira__cli_spec spec = {"--arch A --to SIZE [--by RULE]",
                                 "makes a small architecture as large as Llama 3.2 and prints what it costs.", options,
                                 5, .max_names = 0};
    aira__cli_arguments arguments;
    aira_error error = {AIRA_OK, ""};
    int code = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (code >= 0) return code;
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (registry == NULL) return aira__cli_fail(cli, &error);
    if (o.task == NULL) return extrapolate(cli, &o, NULL);
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    if (diagnostics == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    aira__task *task = aira__task_load_file(registry, o.task, NULL, 0, false, diagnostics);
    code = task != NULL ? extrapolate(cli, &o, json_object_get(task->canonical, "tokens"))
                        : aira__cli_fail_diagnostics(cli, diagnostics);
    aira__task_destroy(task);
    aira__diagnostics_destroy(diagnostics);
    return code;
}
