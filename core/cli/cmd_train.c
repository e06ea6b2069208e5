/* core/cli/cmd_train.c - `aira train MODEL.yaml`: trains a model; log, weights, checkpoints, resume.
 *
 * --steps N trains N steps from where the training stands; schedule and length stay those of the recipe. With
 * --checkpoint the state is also written every --every steps or minutes, whole or not at all, so a killed training goes
 * on with --resume, or, started by the same command line each time, with --continue. --score S says what the model at
 * the end scores on a split.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/cli/cli.h"
#include "core/cli/device.h"
#include "core/cli/train_log.h"
#include "core/config/internal.h"
#include "core/train/initial.h"
#include "core/train/model_file.h"
#include "core/train/peak.h"
#include "core/train/training.h"

int aira__cmd_train(aira__cli *cli, int argc, char **argv);

typedef struct train_options {
    const char *model, *weights, *log, *save, *resume, *checkpoint, *every, *device, *score;
    uint64_t seed;
    int64_t steps, threads;
    double peak; /* TFLOP/s; 0: by the device's name */
    bool go_on;
    int64_t every_steps; /* of `every`, one or the other; 0: none */
    double every_seconds;
} train_options;

typedef struct train_run {
    aira__cli *cli;
    const train_options *o;
    const aira__model_file *model;
    aira__training *training;
    FILE *log;
    aira__train_pace pace, whole;                                /* since the last line; since the start */
    double start, last_line, last_mark, last_saved, loss, score; /* score: NAN without --score */
    uint64_t taken;   /* bytes of the device before the first step; 0: unknown */
    bool due;         /* a checkpoint, at the next step that is measured */
    aira_error error; /* of a log or checkpoint that could not be written */
} train_run;

/* AIRA_N_SPLITS: none of that name is scored */
static uint32_t find_split(const char *name) {
    static const char *const names[AIRA_N_SPLITS] = {"", "search", "selection", "test"};
    uint32_t split = AIRA_SPLIT_SEARCH;
    while (split < AIRA_N_SPLITS && strcmp(name, names[split]) != 0) split++;
    return split;
}

static void save_now_and_then(train_run *r, const aira__step_result *s, double now) {
    const train_options *o = r->o;
    r->due = r->due || (o->every_steps > 0 && (s->step + 1) % o->every_steps == 0) ||
             (o->every_seconds > 0 && now - r->last_saved >= o->every_seconds);
    /* a step whose loss nobody read may have spoilt the parameters */
    if (o->checkpoint == NULL || !r->due || !s->measured || r->error.status != AIRA_OK) return;
    r->due = false;
    aira__training_save_checkpoint(r->training, o->checkpoint, &r->error);
    r->last_saved = r->last_mark = aira__now(); /* the next step's time is its own */
}

static int on_step(void *context, const aira__step_result *s, int64_t steps) {
    train_run *r = context;
    double now = aira__now();
    r->pace.steps++;
    r->pace.tokens += (double)s->tokens;
    r->pace.seconds += now - r->last_mark;
    r->whole.steps++;
    r->whole.tokens += (double)s->tokens;
    r->whole.seconds = now - r->start;
    r->last_mark = now;
    if (s->measured) {
        r->loss = s->loss;
        if (r->log != NULL) aira__train_log_write(r->log, r->o->log, s, &r->pace, &r->error);
    }
    save_now_and_then(r, s, now);
    if (!r->cli->quiet && s->measured && now - r->last_line >= 2) {
        r->last_line = now;
        fprintf(stderr, "step %lld%s%.0lld loss %.4f, %.2f s per step, %.0f tokens/s", (long long)s->step + 1,
                steps > 0 ? " of " : "", (long long)steps, s->loss, r->pace.seconds / (double)r->pace.steps,
                r->pace.tokens / r->pace.seconds);
        if (r->pace.peak_tflops > 0) fprintf(stderr, ", MFU %.1f %%", 100 * aira__train_mfu(&r->pace));
        fputc('\n', stderr);
    }
    if (s->measured) r->pace.steps = 0, r->pace.tokens = r->pace.seconds = 0;
    return r->error.status != AIRA_OK;
}

static aira_status save_weights(train_run *r, aira_error *error) {
    char *canonical = aira__json_canonical(r->model->canonical);
    if (canonical == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for the weights' metadata");
    const char *keys[] = {"architecture", "model"}, *values[] = {r->model->architecture, canonical};
    aira_status status = aira__training_save_weights(r->training, r->o->save, keys, values, 2, error);
    free(canonical);
    return status;
}

static aira_status score(train_run *r, aira_error *error) {
    aira__scores scores;
    aira_status status = aira__training_evaluate(r->training, find_split(r->o->score), &scores, error);
    if (status == AIRA_OK) r->score = scores.score;
    return status;
}

/* The checkpoint that the training goes on from, or NULL. */
static const char *resumed_from(const train_options *o) {
    return o->resume != NULL ? o->resume : o->go_on && aira__file_exists(o->checkpoint) ? o->checkpoint : NULL;
}

static aira_status begin(train_run *r, aira_error *error) {
    const train_options *o = r->o;
    const char *from = resumed_from(o);
    aira_status status = AIRA_OK;
    if (from != NULL)
        status = aira__training_load_checkpoint(r->training, from, error);
    else if (o->weights != NULL)
        status = aira__training_load_weights(r->training, o->weights, error);
    if (status != AIRA_OK || o->log == NULL) return status;
    return aira__train_log_open(o->log, aira__training_next_step(r->training), &r->log, error);
}

static aira_status train(train_run *r, aira_error *error) {
    const train_options *o = r->o;
    bool nan = false;
    aira_status status = begin(r, error);
    if (status != AIRA_OK) return status;
    aira__run_hooks hooks = {.step = on_step, .context = r};
    r->start = r->last_line = r->last_mark = r->last_saved = aira__now();
    if (o->steps != 0) status = aira__training_run(r->training, o->steps > 0 ? o->steps : 0, &hooks, NULL, &nan, error);
    if (r->error.status != AIRA_OK && error != NULL) *error = r->error;
    if (r->log != NULL && fclose(r->log) != 0 && status == AIRA_OK) {
        status = aira__fail(error, AIRA_E_IO, "%s cannot be written: %s", o->log, strerror(errno));
    }
    if (status == AIRA_OK && o->checkpoint != NULL)
        status = aira__training_save_checkpoint(r->training, o->checkpoint, error);
    if (status == AIRA_OK && o->save != NULL) status = save_weights(r, error);
    if (status == AIRA_OK && o->score != NULL) status = score(r, error);
    return status;
}

static json_t *result_json(const train_run *r) {
    const aira__train_pace *p = &r->whole;
    double speed = p->steps > 0 && p->seconds > 0 ? p->tokens / p->seconds : NAN;
    aira__footprint need;
    aira__training_memory(r->training, &need);
    return json_pack("{s:I, s:o, s:f, s:o, s:I, s:f, s:o, s:o, s:{s:I, s:I, s:I, s:o}, s:s?, s:o, s:s}", "steps",
                     (json_int_t)p->steps, "loss", aira__json_number(p->steps > 0 ? r->loss : NAN), "seconds",
                     aira__now() - r->start, "tokens_per_second", aira__json_number(speed), "parameters",
                     (json_int_t)aira__training_parameters(r->training), "flops_per_token", p->flops_per_token,
                     "peak_tflops", aira__json_number(p->peak_tflops > 0 ? p->peak_tflops : NAN), "mfu",
                     aira__json_number(p->steps > 0 ? aira__train_mfu(p) : NAN), "memory", "variables",
                     (json_int_t)need.variables, "activations", (json_int_t)need.activations, "io", (json_int_t)need.io,
                     "taken", r->taken > 0 ? json_integer((json_int_t)r->taken) : json_null(), "weights", r->o->save,
                     "score", aira__json_number(r->score), "metric", aira__metric_name(r->model->info.metric));
}

/* What is known before the first step. */
static void measure_up(train_run *r, const aira__training_options *options) {
    aira_device_info info = {.size = sizeof info};
    aira__footprint need;
    bool known = options->device->info(options->device_self, &info) == AIRA_OK;
    double peak = r->o->peak > 0 ? r->o->peak : known ? aira__peak_tflops(info.name, options->recipe->precision) : 0;
    r->taken = known ? info.memory_taken : 0;
    r->pace.peak_tflops = r->whole.peak_tflops = peak;
    r->pace.flops_per_token = r->whole.flops_per_token = aira__training_flops_per_token(r->training);
    if (r->cli->quiet) return;
    aira__training_memory(r->training, &need);
    fprintf(stderr, "%s: %.2f M parameters, %.4g MFLOP per token; predicted memory %.2f GiB", r->model->name,
            (double)aira__training_parameters(r->training) / 1e6, r->pace.flops_per_token / 1e6,
            (double)(need.variables + need.activations + need.io) / 1073741824.0);
    if (r->taken > 0) fprintf(stderr, ", %.2f with what the device works in,", (double)r->taken / 1073741824.0);
    if (known) fprintf(stderr, " of %.1f on %s", (double)info.memory_bytes / 1073741824.0, info.name);
    if (peak > 0) fprintf(stderr, "; peak %.4g TFLOP/s", peak);
    fputc('\n', stderr);
}

/* The model without what may differ between a training and its resumption. */
static char *identity_of(const aira__model_file *model) { return aira__json_canonical(model->canonical); }

static int run(aira__cli *cli, const train_options *o, aira__model_file *model, aira__instance *device) {
    aira_error error = {AIRA_OK, ""};
    train_run r = {.cli = cli, .o = o, .model = model, .score = NAN, .error = {AIRA_OK, ""}};
    char *identity = identity_of(model);
    aira__training_options options = {.device = device->plugin->table,
                                      .device_self = device->self,
                                      .queue = aira__instance_extension(device, AIRA_EXT_DEVICE_QUEUE),
                                      .host = aira__registry_host(cli->registry),
                                      .backbone = model->backbone->plugin->table,
                                      .backbone_self = model->backbone->self,
                                      .layers = model->layers,
                                      .n_layers = (uint32_t)model->n_layers,
                                      .dataset = model->dataset,
                                      .info = &model->info,
                                      .recipe = &model->recipe,
                                      .seed = o->seed,
                                      .causal = true,
                                      .identity = identity};
    aira_status status = aira__training_create(&options, &r.training, &error);
    if (status == AIRA_OK) {
        measure_up(&r, &options);
        status = train(&r, &error);
    }
    int code = status == AIRA_OK ? 0 : aira__cli_fail(cli, &error);
    if (code == 0 && cli->json) {
        code = aira__cli_print_json(cli, result_json(&r));
    } else if (code == 0) {
        if (!cli->quiet)
            fprintf(stderr, "%lld steps, loss %.4f, %lld parameters, %.1f s\n", (long long)r.whole.steps, r.loss,
                    (long long)aira__training_parameters(r.training), aira__now() - r.start);
        if (o->score != NULL) printf("%s %.6g\n", aira__metric_name(model->info.metric), r.score);
    }
    aira__training_destroy(r.training);
    free(identity);
    return code;
}

/* --steps 0 --save W: no device, no memory for activations, so that it works for a model of any size. */
static int initialise(aira__cli *cli, const train_options *o, const aira__model_file *model) {
    aira_error error = {AIRA_OK, ""};
    int64_t parameters = 0;
    double start = aira__now();
    char *canonical = aira__json_canonical(model->canonical);
    if (canonical == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory for the weights' metadata");
    const char *keys[] = {"architecture", "model"}, *values[] = {model->architecture, canonical};
    aira__model_spec spec = {.backbone = model->backbone->plugin->table,
                             .backbone_self = model->backbone->self,
                             .layers = model->layers,
                             .n_layers = (uint32_t)model->n_layers,
                             .vocab = model->vocab,
                             .classes = model->classes,
                             .batch = 1,
                             .input_length = model->info.input_length,
                             .target_length = model->info.target_length,
                             .compute_dtype = AIRA_F32,
                             .causal = true};
    aira_status status = aira__initial_save(&spec, o->seed, o->save, keys, values, 2, &parameters, &error);
    free(canonical);
    if (status != AIRA_OK) return aira__cli_fail(cli, &error);
    if (!cli->json) return 0;
    return aira__cli_print_json(cli, json_pack("{s:i, s:n, s:f, s:n, s:I, s:n, s:n, s:n, s:n, s:s}", "steps", 0, "loss",
                                               "seconds", aira__now() - start, "tokens_per_second", "parameters",
                                               (json_int_t)parameters, "flops_per_token", "peak_tflops", "mfu",
                                               "memory", "weights", o->save));
}

static int check(aira__cli *cli, const train_options *o, const aira__model_file *model) {
    if (model->dataset == NULL) {
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "%s: training needs a 'dataset'", o->model);
    }
    if (model->info.input_length == 0) { /* only without data: initial weights do not depend on the length */
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "%s: the data set cannot be read and gives no 'length'",
                                   o->model);
    }
    if ((o->every != NULL || o->go_on) && o->checkpoint == NULL) {
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--%s has an effect together with --checkpoint FILE only",
                                   o->go_on ? "continue" : "every");
    }
    if (o->resume != NULL && o->go_on) {
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "give --resume or --continue, not both");
    }
    if (o->score != NULL && find_split(o->score) == AIRA_N_SPLITS) {
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--score takes search, selection or test, not '%s'", o->score);
    }
    if (o->resume != NULL && o->weights != NULL) {
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "give --resume or --weights, not both");
    }
    return -1;
}

static int start(aira__cli *cli, const train_options *o, aira__model_file *model) {
    aira_error error = {AIRA_OK, ""};
    int status = check(cli, o, model);
    if (status >= 0) return status;
    bool bare = !o->go_on && o->weights == NULL && o->resume == NULL && o->checkpoint == NULL && o->score == NULL;
    if (o->steps == 0 && o->save != NULL && bare) return initialise(cli, o, model);
    aira__instance *device = aira__cli_device(cli, o->device, o->threads, &error);
    if (device == NULL) return aira__cli_fail(cli, &error);
    status = run(cli, o, model, device);
    aira__instance_destroy(device);
    return status;
}

int aira__cmd_train(aira__cli *cli, int argc, char **argv) {
    train_options o = {.seed = 1, .steps = -1};
    const aira__cli_option options[] = {
        {"weights", "W", "start from these weights (safetensors)", AIRA__CLI_TEXT, &o.weights, false},
        {"log", "L.jsonl", "one JSON line per step", AIRA__CLI_TEXT, &o.log, false},
        {"save", "W", "write the weights at the end", AIRA__CLI_TEXT, &o.save, false},
        {"steps", "N", "train N steps (default: the recipe's; 0: only initialise)", AIRA__CLI_INT, &o.steps, false},
        {"checkpoint", "C", "write the state of the training there at the end", AIRA__CLI_TEXT, &o.checkpoint, false},
        {"every", "N", "and every N steps, or so often: 10m", AIRA__CLI_TEXT, &o.every, false},
        {"resume", "C", "continue from a checkpoint", AIRA__CLI_TEXT, &o.resume, false},
        {"score", "S", "at the end, score split search, selection or test", AIRA__CLI_TEXT, &o.score, false},
        {"continue", NULL, "from --checkpoint where there is one: the same command until done", AIRA__CLI_SWITCH,
         &o.go_on, false},
        {"peak", "TFLOPS", "of the device, for MFU (default: the data sheet's, by name)", AIRA__CLI_REAL, &o.peak,
         false},
        {"seed", "N", "of initial values and order of data (default 1)", AIRA__CLI_SEED, &o.seed, false},
        {"device", "D", "device plugin (default cpu), or \"{use: cuda, gpu: 1}\"", AIRA__CLI_TEXT, &o.device, false},
        {"threads", "N", "threads of the device (default: one per core)", AIRA__CLI_INT, &o.threads, false}};
    const aira__cli_spec spec = {.arguments = "MODEL.yaml [key=value...]",
                                 .summary = "Trains a model at any scale.",
                                 .options = options,
                                 .n_options = sizeof options / sizeof options[0],
                                 .min_names = 1,
                                 .max_names = 1,
                                 .overrides = true};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    o.model = arguments.names[0];
    if (o.every != NULL && !aira__text_count(o.every, &o.every_steps) &&
        !aira__text_duration(o.every, &o.every_seconds)) {
        return aira__cli_fail_text(cli, AIRA_E_CONFIG,
                                   "--every must be a number of steps or a time such as 10m, not '%s'", o.every);
    }
    aira_error error = {AIRA_OK, ""};
    aira__registry *registry = aira__cli_registry(cli, &error);
    aira__diagnostics *d = aira__diagnostics_create();
    if (registry == NULL || d == NULL) {
        aira__diagnostics_destroy(d);
        return registry == NULL ? aira__cli_fail(cli, &error)
                                : aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    }
    aira__model_file *model = aira__model_file_load(registry, o.model, arguments.overrides, arguments.n_overrides,
                                                    o.steps != 0, d);
    status = model == NULL ? aira__cli_fail_diagnostics(cli, d) : start(cli, &o, model);
    aira__model_file_destroy(model);
    aira__diagnostics_destroy(d);
    return status;
}
