/* core/train/evaluate.c - trains a candidate on every proxy of a task and scores it; see evaluate.h. */
#include "core/train/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/json.h"

typedef struct evaluating {
    const aira__evaluate_options *options;
    aira__evaluation *out;
    aira__layer *layers;
    int n_layers;
    aira__sha256_ctx data;
    int proxy;
    double start, deadline;
} evaluating;

/* The first rows of each split stand for the data. */
static aira_status hash_data(evaluating *e, const aira__proxy *proxy, aira_error *error) {
    const aira_dataset *table = proxy->dataset->plugin->table;
    const aira_dataset_info *info = &proxy->info;
    size_t in = (size_t)info->input_length, out = (size_t)info->target_length;
    int32_t *row = malloc((in + out) * sizeof *row);
    char *canonical = aira__json_canonical(proxy->dataset->canonical);
    aira_status status = row != NULL && canonical != NULL
                             ? AIRA_OK
                             : aira__fail(error, AIRA_E_MEMORY, "out of memory for a row of %s", proxy->name);
    if (canonical != NULL) aira__sha256_add(&e->data, canonical, strlen(canonical));
    for (uint32_t split = 0; split < AIRA_N_SPLITS && status == AIRA_OK; split++) {
        uint64_t first = 0;
        if (split == AIRA_SPLIT_TEST) continue; /* opened at the end only */
        status = table->rows(proxy->dataset->self, split, 0, &first, 1, row, row + in);
        if (status != AIRA_OK) aira__fail(error, status, "data set %s gave no row of split %u", proxy->name, split);
        aira__sha256_add(&e->data, row, (in + out) * sizeof *row);
    }
    free(canonical);
    free(row);
    return status;
}

static int on_step(void *context, const aira__step_result *result, int64_t steps) {
    evaluating *e = context;
    const aira__evaluate_options *o = e->options;
    e->out->proxies[e->proxy].steps = result->step + 1;
    e->out->seconds = aira__now() - e->start;
    return o->progress != NULL ? o->progress(o->context, e->out, e->proxy, result->step, steps) : 0;
}

static const char *cause_of(aira_status status, bool nan) {
    if (nan) return "nan";
    switch (status) {
    case AIRA_E_MEMORY:
        return "memory";
    case AIRA_E_IO:
    case AIRA_E_CORRUPT:
        return "data";
    case AIRA_E_TIMEOUT:
        return "timeout";
    default:
        return "build";
    }
}

/* What the task allows of the whole model, known before the first step. */
static aira_status check_limits(const aira__task *task, const aira__training *training, aira_error *error) {
    int64_t parameters = aira__training_parameters(training);
    double flops = aira__training_flops_per_token(training);
    if (task->limit_parameters > 0 && parameters > task->limit_parameters)
        return aira__fail(error, AIRA_E_FAILED, "the model has %lld parameters, the task allows %lld",
                          (long long)parameters, (long long)task->limit_parameters);
    if (task->limit_flops > 0 && flops > task->limit_flops)
        return aira__fail(error, AIRA_E_FAILED,
                          "the model computes %.4g FLOPs per token (three times those of its forward pass), the task "
                          "allows %.4g",
                          flops, task->limit_flops);
    return AIRA_OK;
}

static aira_status run_training(evaluating *e, aira__training *training, aira__proxy_result *result,
                                aira_error *error) {
    const aira__evaluate_options *o = e->options;
    aira__run_hooks hooks = {.step = on_step, .context = e, .deadline = e->deadline, .ahead = true};
    bool nan = false;
    double start = aira__now();
    result->parameters = aira__training_parameters(training);
    result->flops_per_step = aira__training_flops_per_step(training);
    const char *cause = NULL;
    aira_status status = check_limits(o->task, training, error);
    if (status != AIRA_OK) {
        e->out->cause = "limit";
        return status;
    }
    status = aira__training_run(training, 0, &hooks, &result->curve, &nan, error);
    if (status == AIRA_OK && o->trained != NULL)
        status = o->trained(o->trained_context, training, e->proxy, &cause, error);
    for (uint32_t split = AIRA_SPLIT_SEARCH; split < AIRA_N_SPLITS && status == AIRA_OK; split++) {
        if (o->splits[split]) status = aira__training_evaluate(training, split, &result->scores[split], error);
    }
    if (status == AIRA_OK) {
        for (uint32_t split = AIRA_SPLIT_SEARCH; split < AIRA_N_SPLITS; split++) {
            if (!o->splits[split] || isfinite(result->scores[split].score)) continue;
            nan = true;
            status = aira__fail(error, AIRA_E_FAILED, "the score is not a number after step %lld",
                                (long long)result->steps);
        }
    }
    result->steps = aira__training_next_step(training);
    result->flops = result->flops_per_step * (double)result->steps;
    result->seconds = aira__now() - start;
    e->out->cause = status == AIRA_OK ? NULL : cause != NULL ? cause : cause_of(status, nan);
    return status;
}

static aira_status run_proxy(evaluating *e, int k, aira_error *error) {
    const aira__evaluate_options *o = e->options;
    const aira__proxy *proxy = &o->task->proxies[k];
    const aira__instance *backbone = proxy->backbone != NULL ? proxy->backbone : o->task->backbone;
    aira__proxy_result *result = &e->out->proxies[k];
    aira__training_options options = {.device = o->device,
                                      .device_self = o->device_self,
                                      .queue = o->queue,
                                      .host = o->host,
                                      .backbone = backbone->plugin->table,
                                      .backbone_self = backbone->self,
                                      .layers = e->layers,
                                      .n_layers = (uint32_t)e->n_layers,
                                      .dataset = proxy->dataset,
                                      .info = &proxy->info,
                                      .recipe = &proxy->recipe,
                                      .seed = o->seed,
                                      .causal = true,
                                      .memory_limit = (uint64_t)o->task->limit_memory};
    aira__training *training = NULL;
    e->proxy = k;
    aira_status status = hash_data(e, proxy, error);
    if (status != AIRA_OK) {
        e->out->cause = "data";
        return status;
    }
    status = aira__training_create(&options, &training, error);
    if (status != AIRA_OK) e->out->cause = status == AIRA_E_MEMORY ? "memory" : "build";
    if (status == AIRA_OK) status = run_training(e, training, result, error);
    aira__training_destroy(training);
    return status;
}

static void add_up(evaluating *e) {
    aira__evaluation *out = e->out;
    const aira__task *task = e->options->task;
    for (uint32_t split = 0; split < AIRA_N_SPLITS; split++) {
        double sum = 0, weight = 0;
        for (int k = 0; k < out->n_proxies; k++) {
            sum += task->proxies[k].weight * out->proxies[k].scores[split].score;
            weight += task->proxies[k].weight;
        }
        bool wanted = split != AIRA_SPLIT_TRAIN && e->options->splits[split] && out->status == AIRA_OK;
        out->score[split] = wanted ? sum / weight : NAN;
    }
    for (int k = 0; k < out->n_proxies; k++) {
        const aira__proxy_result *p = &out->proxies[k];
        out->steps += p->steps;
        out->flops += p->flops;
        if (p->parameters > out->parameters) out->parameters = p->parameters;
    }
}

static aira_status start(evaluating *e, aira_error *error) {
    const aira__evaluate_options *o = e->options;
    const aira__task *task = o->task;
    e->out->proxies = calloc((size_t)task->n_proxies, sizeof *e->out->proxies);
    e->layers = o->mechanism != NULL ? aira__task_design_layers(task, o->mechanism)
                                     : aira__task_layers(task, o->layers, o->n_layers);
    e->n_layers = o->mechanism != NULL ? task->layers : o->n_layers;
    if (e->out->proxies == NULL || e->layers == NULL) {
        return aira__fail(error, AIRA_E_MEMORY, "out of memory for an evaluation");
    }
    e->out->n_proxies = task->n_proxies;
    for (int k = 0; k < task->n_proxies; k++) {
        e->out->proxies[k].name = task->proxies[k].name;
        for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) e->out->proxies[k].scores[s].score = NAN;
    }
    if (task->layers > 0 && e->n_layers != task->layers) {
        return aira__fail(error, AIRA_E_CONFIG, "the architecture has %d layers, task %s wants %d", e->n_layers,
                          task->name, task->layers);
    }
    return AIRA_OK;
}

aira_status aira__evaluate(const aira__evaluate_options *options, aira__evaluation *out, aira_error *error) {
    aira_error local = {AIRA_OK, ""};
    *out = (aira__evaluation){.status = AIRA_OK};
    evaluating e = {.options = options, .out = out, .start = aira__now()};
    aira__sha256_start(&e.data);
    if (options->seconds > 0) e.deadline = e.start + options->seconds;
    aira_status status = start(&e, &local);
    if (status != AIRA_OK) out->cause = status == AIRA_E_MEMORY ? "memory" : "build";
    for (int k = 0; k < out->n_proxies && status == AIRA_OK; k++) {
        status = run_proxy(&e, k, &local);
        if (status != AIRA_OK) aira__fail_in(&local, "%s", out->proxies[k].name);
    }
    out->status = status;
    out->seconds = aira__now() - e.start;
    add_up(&e);
    aira__sha256_finish_hex(&e.data, out->data_hash);
    free(e.layers);
    if (status == AIRA_OK) return AIRA_OK;
    snprintf(out->error, sizeof out->error, "%s", local.text);
    return aira__fail(error, status, "%s", local.text);
}

void aira__evaluation_release(aira__evaluation *e) {
    for (int k = 0; k < e->n_proxies; k++) free(e->proxies[k].curve.points);
    free(e->proxies);
    e->proxies = NULL;
    e->n_proxies = 0;
}

json_t *aira__evaluation_proxies(const aira__evaluation *e, const aira__task *task, uint32_t split) {
    json_t *list = json_array();
    for (int k = 0; list != NULL && k < e->n_proxies; k++) {
        const aira__proxy_result *p = &e->proxies[k];
        const aira__scores *s = &p->scores[split];
        bool known = s->rows > 0;
        json_t *one = json_pack("{s:s, s:s, s:o, s:{s:o, s:o, s:o, s:o}, s:I, s:f, s:o}", "dataset", p->name, "metric",
                                aira__metric_name(task->proxies[k].info.metric), "score", aira__json_number(s->score),
                                "metrics", "accuracy", aira__json_number(known ? s->accuracy : NAN), "accuracy_pooled",
                                aira__json_number(known ? s->accuracy_pooled : NAN), "loss",
                                aira__json_number(known ? s->loss : NAN), "bits_per_byte",
                                aira__json_number(known ? s->bits_per_byte : NAN), "steps", (json_int_t)p->steps,
                                "seconds", p->seconds, "curve", aira__curve_json(&p->curve));
        if (one == NULL || json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
