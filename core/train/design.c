/* core/train/design.c - see design.h. */
#include "core/train/design.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/check/check.h"
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

static void begin(void *context, const char *name) {
    (void)context;
    (void)name;
}

static void verdict(void *context, const char *name, aira__verdict v, const char *text) {
    designing *d = context;
    json_array_append_new(d->checks,
                          json_pack("{s:s, s:s, s:s}", "name", name, "verdict", aira__verdict_name(v), "text", text));
    if (v != AIRA_CHECK_FAIL || d->failed[0] != 0) return;
    snprintf(d->failed, sizeof d->failed, "check:%.40s", name);
    snprintf(d->sentence, sizeof d->sentence, "%s: %s", name, text);
}

static aira_status failed_check(designing *d, const char *when, aira_error *error) {
    if (d->failed[0] == 0) return AIRA_OK;
    d->cause = d->failed;
    return aira__fail(error, AIRA_E_FAILED, "check failed%s: %s", when, d->sentence);
}

/* The mechanism alone, all parameters redrawn. */
static aira_status check_mechanism(designing *d, int64_t width, aira_error *error) {
    const aira__check_sink sink = {d, begin, verdict};
    const aira__check_options options = {.target = "mechanism"};
    aira__subject subject = {.registry = d->registry, .options = &options, .sink = &sink};
    aira_status status = aira__lab_open(d->registry, &subject.lab, error);
    if (status != AIRA_OK) return status;
    aira__check_leaks(&subject, aira__mechanism_layer(d->mechanism), width);
    aira__lab_close(&subject.lab);
    return failed_check(d, "", error);
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
    if (status != AIRA_OK) return status;
    const aira__instance *backbone = d->task->backbone;
    const aira_backbone *table = backbone->plugin->table;
    int64_t width = table->width(backbone->self);
    status = aira__mechanism_open(source, &d->mechanism, &d->cause, error);
    if (status == AIRA_OK) status = aira__mechanism_trace(d->mechanism, width, true, &d->cause, error);
    return status == AIRA_OK ? check_mechanism(d, width, error) : status;
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
        status = aira__evaluate(&o, out, &local);
        for (int k = 0; k < out->n_proxies; k++) out->proxies[k].name = asked->task->proxies[k].name;
    }
    if (d.failed[0] != 0 && out->cause == d.failed) {
        memcpy(out->failed_check, d.failed, sizeof out->failed_check);
        out->cause = out->failed_check;
    }
    aira__mechanism_close(d.mechanism);
    aira__task_destroy(d.task);
    *checks = d.checks;
    return status == AIRA_OK ? AIRA_OK : aira__fail(error, status, "%s", local.text);
}
