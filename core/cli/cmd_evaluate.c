/* core/cli/cmd_evaluate.c - `aira evaluate`: trains one architecture on a task and prints its score. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/cli/cli.h"
#include "core/cli/device.h"
#include "core/compose/notation.h"
#include "core/train/evaluate.h"

int aira__cmd_evaluate(aira__cli *cli, int argc, char **argv);

typedef struct evaluate_options {
    const char *architecture, *task, *split, *device;
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

static int run(aira__cli *cli, const aira__task *task, const evaluate_options *o, uint32_t split,
               aira__instance *device) {
    aira_error error = {AIRA_OK, ""};
    uint16_t layers[AIRA__NOTATION_MAX];
    int n = 0;
    if (aira__notation_parse(o->architecture, task->token_names, task->n_tokens, layers, AIRA__NOTATION_MAX, &n,
                             &error) != AIRA_OK) {
        aira__fail_in(&error, "--arch");
        return aira__cli_fail(cli, &error);
    }
    if (task->layers > 0 && n != task->layers) {
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
    aira__evaluation result;
    char *architecture = aira__notation_format(layers, n, task->token_names);
    aira_status status = aira__evaluate(&options, &result, &error);
    int code = 0;
    if (status != AIRA_OK) {
        code = aira__cli_fail(cli, &error);
    } else if (architecture == NULL) {
        code = aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory for the result");
    } else if (cli->json) {
        code = aira__cli_print_json(cli, result_json(architecture, &result, task, o, split));
    } else {
        print_table(architecture, &result, task, o, split);
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
        {"arch", "A", "architecture, e.g. \"2mA 2M\"", AIRA__CLI_TEXT, &o.architecture, true},
        {"task", "FILE", "task to train and score on", AIRA__CLI_TEXT, &o.task, true},
        {"seed", "N", "of initial values and order of data (default 1)", AIRA__CLI_SEED, &o.seed, false},
        {"split", "S", "search (default), selection or test", AIRA__CLI_TEXT, &o.split, false},
        {"device", "D", "device plugin (default cpu), or \"{use: cuda, gpu: 1}\"", AIRA__CLI_TEXT, &o.device, false},
        {"threads", "N", "threads of the device (default: one per core)", AIRA__CLI_INT, &o.threads, false}};
    const aira__cli_spec spec = {.arguments = "--arch A --task FILE [key=value...]",
                                 .summary = "Trains one architecture on a task and prints its score.",
                                 .options = options,
                                 .n_options = sizeof options / sizeof options[0],
                                 .overrides = true};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
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
