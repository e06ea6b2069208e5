/* core/train/design.c - see design.h. */
#include "core/train/design.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/check/mechanism.h"
#include "core/check/trial.h"
#include "core/train/mechanism.h"
#include "core/train/task_design.h"

typedef struct designing {
    aira__registry *registry;
    const aira__evaluate_options *asked;
    const json_t *options;
    aira__task *task; /* with the candidate's options in it */
    aira__mechanism *mechanism;
    json_t *checks;
    char failed[48]; /* name of the first check that failed */
    char sentence[512];
    const char *cause;
} designing;

/* ---- checks ---- */

/* Adds a report's lines to the evaluation's; the first failed one becomes its failure. */
static aira_status take_report(designing *d, const aira__check_report *report, const char *where, aira_error *error) {
    for (int k = 0; k < report->n; k++) {
        const aira__check_line *line = &report->lines[k];
        char name[80];
        snprintf(name, sizeof name, "%s%s", line->name, where);
        json_array_append_new(d->checks, json_pack("{s:s, s:s, s:s}", "name", name, "verdict",
                                                   aira__verdict_name(line->verdict), "text", line->text));
        if (line->verdict != AIRA_CHECK_FAIL || d->failed[0] != 0) continue;
        if (strcmp(line->name, "limits") == 0)
            snprintf(d->failed, sizeof d->failed, "limit"); /* as when the whole model exceeds them */
        else
            snprintf(d->failed, sizeof d->failed, "check:%s", line->name);
        const char *cause = aira__mechanism_cause(d->mechanism, d->failed); /* a build may misbehave at one length */
        if (cause != d->failed) snprintf(d->failed, sizeof d->failed, "%s", cause);
    }
    if (report->passed) return AIRA_OK;
    char text[1700];
    aira__check_message(report, text, sizeof text);
    d->cause = d->failed;
    return aira__fail(error, AIRA_E_FAILED, "a check failed%s: %s", where, text);
}

static aira__check_report *new_report(aira_error *error) {
    aira__check_report *report = calloc(1, sizeof *report);
    if (report == NULL) (void)aira__fail(error, AIRA_E_MEMORY, "out of memory for a check");
    return report;
}

static bool is_causal(const aira__instance *backbone) {
    const aira_backbone *table = backbone->plugin->table;
    return (table->flags & AIRA_BACKBONE_BIDIRECTIONAL) == 0;
}

static int64_t width_of(const aira__instance *backbone) {
    const aira_backbone *table = backbone->plugin->table;
    return table->width(backbone->self);
}

/* The places of the mechanism in one proxy's models: its layers, in training and when it is scored. */
static aira__primitive_place *places_of(const designing *d, const aira__proxy *p, const aira__instance *backbone,
                                        int *n) {
    int64_t length = p->info.input_length, width = width_of(backbone);
    aira__primitive_place *places = calloc((size_t)d->task->layers * 2, sizeof *places);
    *n = 0;
    for (int k = 0; places != NULL && k < d->task->layers; k++) {
        if (d->task->pattern_layers[k % d->task->n_pattern] >= 0) continue;
        for (int training = 0; training < 2; training++) {
            places[(*n)++] = (aira__primitive_place){.batch = aira__training_rows(&p->recipe, &p->info, !training),
                                                     .length = length,
                                                     .width = width,
                                                     .causal = is_causal(backbone),
                                                     .training = training == 1,
                                                     .masked = !is_causal(backbone),
                                                     .layer = k,
                                                     .depth = d->task->layers,
                                                     .vocab = p->info.vocab,
                                                     .classes = p->info.classes,
                                                     .target_length = p->info.target_length};
        }
    }
    return places;
}

static int mechanism_layers(const aira__task *task) {
    int n = 0;
    for (int k = 0; k < task->layers; k++) n += task->pattern_layers[k % task->n_pattern] < 0;
    return n;
}

/* The mechanism alone, as the task's first model has it, all parameters redrawn. */
static aira_status check_mechanism(designing *d, aira_error *error) {
    const aira__proxy *first = &d->task->proxies[0];
    const aira__instance *backbone = first->backbone != NULL ? first->backbone : d->task->backbone;
    int n = 0;
    aira__primitive_place *places = places_of(d, first, backbone, &n);
    if (places == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a check");
    aira__mechanism_options options = {.layer = aira__mechanism_layer(d->mechanism),
                                       .width = width_of(backbone),
                                       .length = first->info.input_length,
                                       .causal = is_causal(backbone),
                                       .layers = mechanism_layers(d->task),
                                       .max_parameters = d->task->limit_parameters,
                                       .max_flops = d->task->limit_flops,
                                       .max_exponent = d->task->limit_exponent,
                                       .places = n > 0 ? places : NULL,
                                       .n_places = n};
    aira__check_report *report = new_report(error);
    aira_status status = report != NULL ? aira__check_mechanism(d->registry, &options, report, error) : AIRA_E_MEMORY;
    if (status == AIRA_OK) status = take_report(d, report, "", error);
    free(places);
    free(report);
    return status;
}

typedef struct trained_layer {
    aira__training *training;
    int layer;
} trained_layer;

static bool weights_of(void *context, const char *name, double *values, int64_t n) {
    const trained_layer *t = context;
    char full[256];
    snprintf(full, sizeof full, "layers.%d." AIRA__MECHANISM ".%s", t->layer, name);
    return aira__training_parameter(t->training, full, values, n);
}

/* Once more where every row is computed on its own. */
static aira_status probe_reference(designing *d, aira__training *training, bool *leak, int64_t *row,
                                   aira_error *error) {
    aira__lab lab;
    aira_status status = aira__lab_open(d->registry, &lab, error);
    if (status != AIRA_OK) return status;
    status = aira__training_probe(training, lab.table, lab.self, leak, row, error);
    aira__lab_close(&lab);
    return status;
}

/* The whole trained model, as it is about to be scored, at any size. What moves on the device at hand may be a rounding
   that its kernels share among rows: the device cpu decides. */
static aira_status probe_scoring(designing *d, aira__training *training, aira_error *error) {
    bool leak = false, moved;
    int64_t row = 0;
    char text[160];
    aira_status status = aira__training_probe(training, NULL, NULL, &leak, &row, error);
    moved = leak;
    if (status == AIRA_OK && moved) status = probe_reference(d, training, &leak, &row, error);
    if (status != AIRA_OK) return status;
    snprintf(text, sizeof text,
             leak    ? "row %lld of a batch moves when row 0 is replaced"
             : moved ? "rows of a batch stay identical on the device cpu; here they share roundings"
                     : "rows of a batch stay identical",
             (long long)row);
    json_array_append_new(
        d->checks, json_pack("{s:s, s:s, s:s}", "name", "scoring", "verdict", leak ? "fail" : "pass", "text", text));
    if (!leak) return AIRA_OK;
    snprintf(d->failed, sizeof d->failed, "check:scoring");
    return aira__fail(error, AIRA_E_FAILED, "a check failed, the trained model as it is scored: %s", text);
}

/* Every layer of the trained model again, with its weights: what was closed before may be open now. */
static aira_status check_trained(void *context, aira__training *training, int proxy, const char **cause,
                                 aira_error *error) {
    designing *d = context;
    const aira__proxy *p = &d->task->proxies[proxy];
    const aira__instance *backbone = p->backbone != NULL ? p->backbone : d->task->backbone;
    aira__check_report *report = new_report(error);
    aira_status status = report != NULL ? AIRA_OK : AIRA_E_MEMORY;
    for (int k = 0; k < d->task->layers && status == AIRA_OK; k++) {
        if (d->task->pattern_layers[k % d->task->n_pattern] >= 0) continue;
        trained_layer trained = {training, k};
        char where[48];
        snprintf(where, sizeof where, ", trained layer %d", k);
        aira__mechanism_options options = {.layer = aira__mechanism_layer(d->mechanism),
                                           .width = width_of(backbone),
                                           .length = p->info.input_length,
                                           .causal = is_causal(backbone),
                                           .weights = weights_of,
                                           .context = &trained};
        status = aira__check_mechanism(d->registry, &options, report, error);
        if (status == AIRA_OK) status = take_report(d, report, where, error);
    }
    if (status == AIRA_OK) status = probe_scoring(d, training, error);
    *cause = d->failed[0] != 0 ? d->failed : NULL;
    free(report);
    return status;
}

/* ---- the task with the candidate's options ---- */

static aira_status make_task(designing *d, aira_error *error) {
    json_t *json = aira__design_apply(d->asked->task->canonical, d->options, error);
    if (json == NULL) return error->status;
    aira_status status = aira__task_load_json(d->registry, json, &d->task, error);
    json_decref(json);
    return status == AIRA_OK ? AIRA_OK : aira__fail_in(error, "with the candidate's options");
}

static aira_status prepare(designing *d, const char *source, aira_error *error) {
    d->cause = "build";
    aira_status status = make_task(d, error);
    if (status == AIRA_OK) status = aira__mechanism_open(source, &d->mechanism, &d->cause, error);
    if (status == AIRA_OK)
        status = aira__mechanism_trace(d->mechanism, width_of(d->task->backbone), is_causal(d->task->backbone),
                                       &d->cause, error);
    if (status != AIRA_OK) return status;
    d->cause = "memory"; /* what keeps a check from being made at all */
    return check_mechanism(d, error);
}

/* ---- the whole ---- */

static void keep_failure(const designing *d, aira_status status, const aira_error *error, aira__evaluation *out) {
    *out = (aira__evaluation){.status = status, .cause = d->cause};
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) out->score[s] = NAN;
    snprintf(out->error, sizeof out->error, "%s", error->text);
}

aira_status aira__design_evaluate(aira__registry *registry, const aira__evaluate_options *asked, const char *source,
                                  const json_t *options, aira__evaluation *out, json_t **checks, aira_error *error) {
    designing d = {.registry = registry, .asked = asked, .options = options, .checks = json_array()};
    aira_error local = {AIRA_OK, ""};
    aira_status status = d.checks != NULL ? prepare(&d, source, &local)
                                          : aira__fail(&local, AIRA_E_MEMORY, "out of memory for a design");
    if (status != AIRA_OK) {
        keep_failure(&d, status, &local, out);
    } else {
        aira__evaluate_options o = *asked;
        o.task = d.task;
        o.mechanism = aira__mechanism_layer(d.mechanism);
        o.trained = check_trained;
        o.trained_context = &d;
        status = aira__evaluate(&o, out, &local);
        for (int k = 0; k < out->n_proxies; k++) out->proxies[k].name = asked->task->proxies[k].name;
    }
    if (status != AIRA_OK && d.mechanism != NULL) out->cause = aira__mechanism_cause(d.mechanism, out->cause);
    if (d.failed[0] != 0 && out->cause == d.failed) {
        memcpy(out->failed_check, d.failed, sizeof out->failed_check);
        out->cause = out->failed_check;
    }
    aira__mechanism_close(d.mechanism);
    aira__task_destroy(d.task);
    *checks = d.checks;
    return status == AIRA_OK ? AIRA_OK : aira__fail(error, status, "%s", local.text);
}
