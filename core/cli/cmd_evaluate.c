/* core/cli/cmd_evaluate.c - `aira evaluate`: trains one candidate, an architecture or a source, and prints its score.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/cli/cli.h"
#include "core/cli/device.h"
#include "core/compose/notation.h"
#include "core/search/answer.h"
#include "core/search/design.h"
#include "core/train/design.h"
#include "core/train/task_design.h"

int aira__cmd_evaluate(aira__cli *cli, int argc, char **argv);

typedef struct evaluate_options {
    const char *architecture, *source, *task, *split, *device;
    aira__cli_list set; /* options of a design: "width=64" */
    uint64_t seed;
    int64_t threads;
} evaluate_options;

typedef struct progress {
    const aira__task *task;
    double last;
    bool quiet;
} progress;

static int show(void *context, const aira__evaluation *so_far, int proxy, int64_t step, int64_t steps) {
    progress *p = context;
    double now = aira__now();
    if (p->quiet || now - p->last < 2) return 0;
    p->last = now;
    const aira__curve *curve = &so_far->proxies[proxy].curve;
    char total[32] = "";
    if (steps > 0) snprintf(total, sizeof total, " of %lld", (long long)steps);
    fprintf(stderr, "%s: step %lld%s, loss %.4f, %.0f s\n", p->task->proxies[proxy].name, (long long)step + 1, total,
            curve->n > 0 ? curve->points[curve->n - 1].loss : 0.0, so_far->seconds);
    return 0;
}

static json_t *result_json(const char *architecture, const aira__evaluation *e, const aira__task *task,
                           const evaluate_options *o, uint32_t split) {
    double flops = 0;
    for (int k = 0; k < e->n_proxies; k++) {
        if (e->proxies[k].flops_per_step > flops) flops = e->proxies[k].flops_per_step;
    }
    return json_pack("{s:s, s:o, s:s, s:f, s:I, s:s, s:o, s:I, s:f}", "architecture", architecture, "score",
                     aira__json_number(e->score[split]), "metric", task->metric, "seconds", e->seconds, "seed",
                     (json_int_t)o->seed, "split", o->split, "proxies", aira__evaluation_proxies(e, task, split),
                     "parameters", (json_int_t)e->parameters, "flops_per_step", flops);
}

static void print_table(const char *architecture, const aira__evaluation *e, const aira__task *task,
                        const evaluate_options *o, uint32_t split) {
    for (int k = 0; k < e->n_proxies; k++) {
        const aira__proxy_result *p = &e->proxies[k];
        printf("%-32s %-14s %.4f  (%lld steps, %.1f s, loss %.4f)\n", p->name,
               aira__metric_name(task->proxies[k].info.metric), p->scores[split].score, (long long)p->steps, p->seconds,
               p->scores[split].loss);
    }
    printf("%s: %s %.4f on split %s, seed %llu, %lld parameters, %.1f s\n", architecture, task->metric, e->score[split],
           o->split, (unsigned long long)o->seed, (long long)e->parameters, e->seconds);
}

/* The name, the score and what was checked; or the failure. checks: of a design, else NULL. */
static int tell(aira__cli *cli, const char *name, const aira__evaluation *result, const aira__task *task,
                const evaluate_options *o, uint32_t split, json_t *checks) {
    size_t k;
    json_t *check;
    if (cli->json) {
        json_t *json = result_json(name, result, task, o, split);
        if (json != NULL && checks != NULL) json_object_set(json, "checks", checks);
        return aira__cli_print_json(cli, json);
    }
    json_array_foreach(checks, k, check) {
        printf("%-28s %-5s %s\n", aira__json_string(check, "name", ""), aira__json_string(check, "verdict", ""),
               aira__json_string(check, "text", ""));
    }
    print_table(name, result, task, o, split);
    return 0;
}

/* "name=number" of --set, as the task's options take them. */
static aira_status read_options(const aira__task *task, const aira__cli_list *set, json_t **options,
                                aira_error *error) {
    *options = aira__design_defaults(task->configurable);
    aira_status status = *options != NULL ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory");
    for (int i = 0; i < set->n && status == AIRA_OK; i++) {
        char name[64];
        size_t n = strcspn(set->items[i], "=");
        snprintf(name, sizeof name, "%.*s", (int)(n < 63 ? n : 63), set->items[i]);
        const json_t *declared = json_object_get(task->configurable, name);
        json_t *value = json_loads(set->items[i][n] == '=' ? set->items[i] + n + 1 : "", JSON_DECODE_ANY, NULL);
        json_t *stored = NULL;
        if (declared == NULL)
            status = aira__fail(error, AIRA_E_CONFIG, "--set %s: task %s has no such option", set->items[i],
                                task->name);
        else if (aira__design_option_value(name, declared, value, &stored, error) != AIRA_OK)
            status = error->status = AIRA_E_CONFIG;
        else if (json_object_set(*options, name, stored) != 0)
            status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
        json_decref(stored);
        json_decref(value);
    }
    return status;
}

/* A source of a design task: the same way as in a search, without one. */
static int run_source(aira__cli *cli, const aira__task *task, const evaluate_options *o, uint32_t split,
                      const aira__evaluate_options *options) {
    aira_error error = {AIRA_OK, ""};
    char *text = NULL, *source = NULL;
    size_t n = 0;
    json_t *values = NULL, *checks = NULL;
    aira__candidate candidate = {0};
    aira__evaluation result = {.status = AIRA_OK};
    aira_status status = aira__file_read(o->source, AIRA__SOURCE_MAX, &text, &n, &error);
    if (status == AIRA_OK) status = read_options(task, &o->set, &values, &error);
    if (status == AIRA_OK && (source = aira__source_normalise(text, n)) == NULL)
        status = aira__fail(&error, AIRA_E_MEMORY, "out of memory");
    if (status == AIRA_OK) status = aira__candidate_design(source, values, &candidate, &error);
    if (status == AIRA_OK)
        status = aira__design_evaluate(cli->registry, options, source, values, &result, &checks, &error);
    int code = status == AIRA_OK ? tell(cli, candidate.architecture, &result, task, o, split, checks)
                                 : aira__cli_fail(cli, &error);
    aira__evaluation_release(&result);
    aira__candidate_release(&candidate);
    json_decref(values);
    json_decref(checks);
    free(source);
    free(text);
    return code;
}

static int run(aira__cli *cli, const aira__task *task, const evaluate_options *o, uint32_t split,
               aira__instance *device) {
    aira_error error = {AIRA_OK, ""};
    uint16_t layers[AIRA__NOTATION_MAX];
    int n = 0;
    if (o->source != NULL && !task->design)
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "the candidates of task %s are architectures: give --arch A",
                                   task->name);
    if (o->source == NULL && task->n_tokens == 0)
        return aira__cli_fail_text(cli, AIRA_E_CONFIG,
                                   "the candidates of task %s are sources, and it has no tokens to compare them with: "
                                   "give --source FILE",
                                   task->name);
    if (o->source == NULL && aira__notation_parse(o->architecture, task->token_names, task->n_tokens, layers,
                                                  AIRA__NOTATION_MAX, &n, &error) != AIRA_OK) {
        aira__fail_in(&error, "--arch");
        return aira__cli_fail(cli, &error);
    }
    if (o->source == NULL && task->layers > 0 && n != task->layers) {
        return aira__cli_fail_text(cli, AIRA_E_CONFIG,
                                   "--arch \"%s\" has %d layers; task %s wants %d (candidate.layers)", o->architecture,
                                   n, task->name, task->layers);
    }
    progress p = {task, aira__now(), cli->quiet};
    aira__evaluate_options options = {.task = task,
                                      .layers = layers,
                                      .n_layers = n,
                                      .seed = o->seed,
                                      .device = device->plugin->table,
                                      .device_self = device->self,
                                      .queue = aira__instance_extension(device, AIRA_EXT_DEVICE_QUEUE),
                                      .host = aira__registry_host(cli->registry),
                                      .seconds = task->limit_seconds,
                                      .progress = show,
                                      .context = &p};
    options.splits[split] = true;
    if (o->source != NULL) return run_source(cli, task, o, split, &options);
    aira__evaluation result;
    char *architecture = aira__notation_format(layers, n, task->token_names);
    aira_status status = aira__evaluate(&options, &result, &error);
    int code = 0;
    if (status != AIRA_OK) {
        code = aira__cli_fail(cli, &error);
    } else if (architecture == NULL) {
        code = aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory for the result");
    } else {
        code = tell(cli, architecture, &result, task, o, split, NULL);
    }
    aira__evaluation_release(&result);
    free(architecture);
    return code;
}

static uint32_t split_named(const char *name) {
    static const char *const names[] = {"train", "search", "selection", "test"};
    uint32_t k = 1;
    while (k < AIRA_N_SPLITS && strcmp(names[k], name) != 0) k++;
    return k;
}

int aira__cmd_evaluate(aira__cli *cli, int argc, char **argv) {
    evaluate_options o = {.split = "search", .seed = 1, .threads = 0};
    const aira__cli_option options[] = {
        {"arch", "A", "architecture, e.g. \"2mA 2M\"; for a design: reference mechanisms in its place", AIRA__CLI_TEXT,
         &o.architecture, false},
        {"source", "FILE", "instead: the C source of a mechanism, for tasks of kind design", AIRA__CLI_TEXT, &o.source,
         false},
        {"set", "NAME=X", "of a design: one of the task's options (repeatable)", AIRA__CLI_LIST, &o.set, false},
        {"task", "FILE", "task to train and score on", AIRA__CLI_TEXT, &o.task, true},
        {"seed", "N", "of initial values and order of data (default 1)", AIRA__CLI_SEED, &o.seed, false},
        {"split", "S", "search (default), selection or test", AIRA__CLI_TEXT, &o.split, false},
        {"device", "D", "device plugin (default cpu), or \"{use: cuda, gpu: 1}\"", AIRA__CLI_TEXT, &o.device, false},
        {"threads", "N", "threads of the device (default: one per core)", AIRA__CLI_INT, &o.threads, false}};
    const aira__cli_spec spec = {.arguments = "--arch A | --source FILE --task FILE [key=value...]",
                                 .summary = "Trains one candidate on a task and prints its score.",
                                 .options = options,
                                 .n_options = sizeof options / sizeof options[0],
                                 .overrides = true};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    if ((o.architecture != NULL) == (o.source != NULL))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "what is to be trained? give --arch A or --source FILE");
    if (o.set.n > 0 && o.source == NULL)
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--set is for --source; settings of a task are key=value");
    uint32_t split = split_named(o.split);
    if (split == AIRA_N_SPLITS) {
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--split is search, selection or test, not '%s'", o.split);
    }
    aira_error error = {AIRA_OK, ""};
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (registry == NULL) return aira__cli_fail(cli, &error);
    aira__diagnostics *d = aira__diagnostics_create();
    if (d == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    aira__task *task = aira__task_load_file(registry, o.task, arguments.overrides, arguments.n_overrides, true, d);
    aira__instance *device = NULL;
    if (task == NULL) {
        status = aira__cli_fail_diagnostics(cli, d);
    } else if ((device = aira__cli_device(cli, o.device, o.threads, &error)) == NULL) {
        status = aira__cli_fail(cli, &error);
    } else {
        status = run(cli, task, &o, split, device);
    }
    aira__instance_destroy(device);
    aira__task_destroy(task);
    aira__diagnostics_destroy(d);
    return status;
}
