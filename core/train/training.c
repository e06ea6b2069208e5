/* core/train/training.c - builds a training and runs its evaluations; see training.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/optimizer.h"
#include "core/train/metrics.h"
#include "core/train/step.h"
#include "core/train/training_internal.h"

#define ACCURACY_BATCH 128
#define ENDLESS_ROWS 1280  /* evaluated of a split without end */
#define EVALUATION_GAP 100 /* least steps between evaluations, where the recipe does not say */

/* --- creation --- */

static aira__model_spec model_spec(const aira__training *t, int64_t batch) {
    const aira__training_options *o = &t->options;
    return (aira__model_spec){.backbone = o->backbone,
                              .backbone_self = o->backbone_self,
                              .layers = o->layers,
                              .n_layers = o->n_layers,
                              .vocab = o->info->vocab,
                              .classes = o->info->classes,
                              .batch = batch,
                              .input_length = o->info->input_length,
                              .target_length = o->info->target_length,
                              .compute_dtype = o->recipe->precision,
                              .causal = o->causal};
}

/* Rows of a split that are evaluated. */
static int64_t rows_of(const aira__recipe *recipe, const aira_dataset_info *info, uint32_t split) {
    int64_t rows = info->n_rows[split], wanted = recipe->eval_rows;
    if (rows == 0) return wanted > 0 ? wanted : ENDLESS_ROWS;
    return wanted > 0 && wanted < rows ? wanted : rows;
}

static int64_t batch_of(const aira__recipe *recipe, const aira_dataset_info *info) {
    return recipe->batch > 0 ? recipe->batch : info->batch > 0 ? info->batch : ACCURACY_BATCH;
}

int64_t aira__training_rows(const aira__recipe *recipe, const aira_dataset_info *info, bool scored) {
    int64_t all = info->n_rows[AIRA_SPLIT_TRAIN], batch = batch_of(recipe, info);
    if (all > 0 && all < batch) batch = all;
    if (recipe->accumulate > 1) batch /= recipe->accumulate;
    if (!scored) return batch;
    int64_t rows = info->metric == AIRA_METRIC_ACCURACY ? ACCURACY_BATCH : batch;
    int64_t most = 1; /* rows of the largest split: no batch needs more */
    for (uint32_t split = AIRA_SPLIT_SEARCH; split < AIRA_N_SPLITS; split++) {
        if (rows_of(recipe, info, split) > most) most = rows_of(recipe, info, split);
    }
    return most < rows ? most : rows;
}

static aira_status plan_length(aira__training *t, aira_error *error) {
    const aira__training_options *o = &t->options;
    const aira__recipe *recipe = o->recipe;
    int64_t rows = o->info->n_rows[AIRA_SPLIT_TRAIN];
    int64_t batch = batch_of(recipe, o->info);
    if (recipe->epochs > 0 && rows == 0) {
        return aira__fail(error, AIRA_E_CONFIG,
                          "the recipe is bounded in epochs, but the data set has no end; use steps or tokens");
    }
    aira_status status = aira__batches_start(&t->batches, rows, batch, o->seed, error);
    if (status != AIRA_OK) return status;
    const aira_dataset *dataset = o->dataset->plugin->table;
    t->batches.in_order = (dataset->flags & AIRA_DATASET_IN_ORDER) != 0;
    batch = t->batches.batch;
    t->total = aira__recipe_steps(recipe, batch, rows, o->info->input_length);
    int64_t epoch = aira__batches_per_epoch(&t->batches);
    int64_t usual = epoch == 0 ? 0 : epoch > EVALUATION_GAP ? epoch : EVALUATION_GAP;
    t->eval_every = recipe->eval_every > 0 ? recipe->eval_every : usual;
    int64_t parts = recipe->accumulate > 1 ? recipe->accumulate : 1;
    if (batch % parts != 0) {
        return aira__fail(error, AIRA_E_CONFIG,
                          "a batch of %lld sequences has no %lld equal parts; change recipe.batch or recipe.accumulate",
                          (long long)batch, (long long)parts);
    }
    t->run_batch = aira__training_rows(recipe, o->info, false);
    t->eval_batch = aira__training_rows(recipe, o->info, true);
    const aira_optimizer *optimizer = recipe->optimizer->plugin->table;
    t->base_rate = optimizer->learning_rate(recipe->optimizer->self);
    return AIRA_OK;
}

/* Takes the graph; *index: its place, if wanted. */
static bool add_graph(aira__training *t, aira_graph *graph, uint32_t *index) {
    if (graph == NULL) return false;
    if (index != NULL) *index = t->n_graphs;
    t->graphs[t->n_graphs++] = graph;
    return true;
}

static aira_status build_graphs(aira__training *t, aira_error *error) {
    const aira__recipe *recipe = t->options.recipe;
    int64_t partial = aira__batches_partial(&t->batches) % t->run_batch;
    aira__model_spec whole = model_spec(t, t->run_batch), held = model_spec(t, t->eval_batch);
    aira__model_spec rest = model_spec(t, partial);
    bool built = add_graph(t, aira__evaluation_build(&held, error), NULL) &&
                 add_graph(t, aira__step_build(&whole, recipe, error), NULL) &&
                 (partial == 0 || add_graph(t, aira__step_build(&rest, recipe, error), &t->partial)) &&
                 (recipe->accumulate <= 1 || add_graph(t, aira__part_build(&whole, recipe, error), &t->part));
    return built ? AIRA_OK : error != NULL && error->status != AIRA_OK ? error->status : AIRA_E_FAILED;
}

/* The session's plan, and what it will need. */
static aira_status plan_session(aira__training *t, aira_error *error) {
    const aira__training_options *o = &t->options;
    aira__session_options options = {.seed = o->seed, .queue = o->queue};
    aira_status status = aira__session_plan(o->device, o->device_self, o->host, t->graphs, t->n_graphs, &options,
                                            &t->session, error);
    if (status == AIRA_OK) aira__session_footprint(t->session, &t->need);
    return status;
}

static aira_status check_memory(const aira__training *t, aira_error *error) {
    const aira__training_options *o = &t->options;
    aira_device_info info = {.size = sizeof info};
    bool known = o->device->info(o->device_self, &info) == AIRA_OK && info.memory_bytes > 0;
    bool device = known && (o->memory_limit == 0 || info.memory_bytes < o->memory_limit);
    uint64_t limit = device ? info.memory_bytes : o->memory_limit;
    uint64_t bytes = t->need.variables + t->need.activations + t->need.io;
    if (limit == 0 || bytes <= limit) return AIRA_OK;
    bool large = bytes >= 1ull << 30;
    double unit = large ? 1073741824.0 : 1048576.0;
    return aira__fail(error, AIRA_E_MEMORY,
                      "the training needs %.1f %s (parameters and optimizer %.1f, activations %.1f), %s %.1f%s; use a "
                      "smaller batch or model, recipe.accumulate, or recipe.recompute=block",
                      (double)bytes / unit, large ? "GiB" : "MiB", (double)t->need.variables / unit,
                      (double)t->need.activations / unit, device ? "the device has" : "", (double)limit / unit,
                      device ? "" : " are allowed");
}

static aira_status allocate(aira__training *t, aira_error *error) {
    const aira_dataset_info *info = t->options.info;
    size_t rows = (size_t)(t->eval_batch > t->batches.batch ? t->eval_batch : t->batches.batch);
    size_t answers = (size_t)t->eval_batch * (size_t)info->target_length;
    t->indices = malloc(rows * sizeof *t->indices);
    t->inputs = malloc(rows * (size_t)info->input_length * sizeof *t->inputs);
    t->targets = malloc(rows * (size_t)info->target_length * sizeof *t->targets);
    t->prediction = malloc(answers * sizeof *t->prediction);
    t->nll = malloc(answers * sizeof *t->nll);
    t->counts = malloc(3 * (size_t)info->classes * sizeof *t->counts);
    if (t->indices != NULL && t->inputs != NULL && t->targets != NULL && t->prediction != NULL && t->nll != NULL &&
        t->counts != NULL) {
        return AIRA_OK;
    }
    return aira__fail(error, AIRA_E_MEMORY, "out of memory for a batch of %zu rows; use a smaller batch", rows);
}

aira_status aira__training_create(const aira__training_options *options, aira__training **out, aira_error *error) {
    aira_error local = {AIRA_OK, ""};
    *out = NULL;
    if (error == NULL) error = &local;
    error->status = AIRA_OK;
    aira__training *t = calloc(1, sizeof *t);
    if (t == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a training");
    t->options = *options;
    t->search_step = -1;
    aira_status status = plan_length(t, error);
    if (status == AIRA_OK) status = build_graphs(t, error);
    if (status == AIRA_OK) status = plan_session(t, error);
    if (status == AIRA_OK) status = check_memory(t, error);
    if (status == AIRA_OK) status = allocate(t, error);
    if (status == AIRA_OK) status = aira__session_start(t->session, error);
    if (status == AIRA_OK) status = aira__session_initialise(t->session, &options->seed, error);
    if (status != AIRA_OK) {
        aira__training_destroy(t);
        return status;
    }
    *out = t;
    return AIRA_OK;
}

void aira__training_destroy(aira__training *t) {
    if (t == NULL) return;
    aira__session_destroy(t->session);
    for (uint32_t g = 0; g < t->n_graphs; g++) aira__graph_destroy(t->graphs[g]);
    aira__batches_release(&t->batches);
    free(t->indices);
    free(t->inputs);
    free(t->targets);
    free(t->prediction);
    free(t->nll);
    free(t->counts);
    free(t);
}

int64_t aira__training_step_count(const aira__training *t) { return t->total; }
int64_t aira__training_batch(const aira__training *t) { return t->batches.batch; }
int64_t aira__training_next_step(const aira__training *t) { return t->next; }
int64_t aira__training_eval_every(const aira__training *t) { return t->eval_every; }

int64_t aira__training_parameters(const aira__training *t) {
    aira__counts counts;
    aira__graph_count(t->graphs[AIRA__GRAPH_EVALUATION], &counts);
    return counts.parameters;
}

static double flops_of(const aira__training *t, uint32_t graph) {
    aira__counts counts;
    aira__graph_count(t->graphs[graph], &counts);
    return counts.flops - counts.flops_again;
}

double aira__training_flops_per_step(const aira__training *t) {
    int64_t parts = t->batches.batch / t->run_batch;
    return flops_of(t, AIRA__GRAPH_STEP) + (parts > 1 ? (double)(parts - 1) * flops_of(t, t->part) : 0);
}

double aira__training_flops_per_token(const aira__training *t) {
    return 3 * flops_of(t, AIRA__GRAPH_EVALUATION) / (double)(t->eval_batch * t->options.info->input_length);
}

void aira__training_memory(const aira__training *t, aira__footprint *need) { *need = t->need; }

/* --- evaluation --- */

typedef struct tally {
    double macro, weight, nats, counted_nats;
    int64_t right, answers, bytes;
} tally;

static void count_batch(aira__training *t, int64_t rows, tally *sum) {
    const aira_dataset_info *info = t->options.info;
    const aira__instance *dataset = t->options.dataset;
    const aira_dataset *table = dataset->plugin->table;
    int64_t n = rows * info->target_length;
    double macro = aira__macro_accuracy(t->prediction, t->targets, n, info->classes, t->counts, &sum->right,
                                        &sum->answers);
    if (!isnan(macro)) {
        sum->macro += macro * (double)rows;
        sum->weight += (double)rows;
    }
    for (int64_t k = 0; k < n; k++) {
        if (t->targets[k] < 0 || t->targets[k] >= info->classes) continue;
        bool known = AIRA_HAS(aira_dataset, table, token_bytes);
        int64_t bytes = known ? table->token_bytes(dataset->self, t->targets[k]) : 1;
        sum->nats += t->nll[k];
        if (bytes > 0) sum->counted_nats += t->nll[k];
        sum->bytes += bytes > 0 ? bytes : 0;
    }
}

aira_status aira__training_forward(aira__training *t, aira_error *error) {
    uint64_t answers = (uint64_t)(t->eval_batch * t->options.info->target_length);
    aira__session_queue(t->session);
    aira_status status = aira__training_set_batch(t, AIRA__GRAPH_EVALUATION, 0, t->eval_batch, error);
    if (status == AIRA_OK) status = aira__training_set_draw(t, AIRA__GRAPH_EVALUATION, 0, error);
    if (status == AIRA_OK) status = aira__session_run(t->session, AIRA__GRAPH_EVALUATION, error);
    if (status == AIRA_OK) {
        status = aira__session_get_output(t->session, AIRA__GRAPH_EVALUATION, "prediction", 0, t->prediction,
                                          answers * sizeof *t->prediction, error);
    }
    if (status == AIRA_OK) {
        status = aira__session_get_output(t->session, AIRA__GRAPH_EVALUATION, "nll", 0, t->nll,
                                          answers * sizeof *t->nll, error);
    }
    aira_status finished = aira__session_finish(t->session, status == AIRA_OK ? error : NULL);
    return status == AIRA_OK ? finished : status;
}

/* One batch of the split from row `first`; a short one is filled up with rows that do not count. */
static aira_status evaluate_batch(aira__training *t, uint32_t split, int64_t first, int64_t rows, tally *sum,
                                  aira_error *error) {
    const aira_dataset_info *info = t->options.info;
    uint64_t answers = (uint64_t)(t->eval_batch * info->target_length);
    for (int64_t k = 0; k < rows; k++) t->indices[k] = (uint64_t)(first + k);
    aira_status status = aira__training_read_rows(t, split, 0, (uint32_t)rows, error);
    if (status != AIRA_OK) return status;
    for (int64_t k = rows * info->input_length; k < t->eval_batch * info->input_length; k++) t->inputs[k] = 0;
    for (int64_t k = rows * info->target_length; k < (int64_t)answers; k++) t->targets[k] = AIRA_IGNORE;
    status = aira__training_forward(t, error);
    if (status == AIRA_OK) count_batch(t, rows, sum);
    return status;
}

aira_status aira__training_evaluate(aira__training *t, uint32_t split, aira__scores *scores, aira_error *error) {
    if (split == AIRA_SPLIT_SEARCH && t->search_step == t->next) {
        *scores = t->search;
        return AIRA_OK;
    }
    tally sum = {0};
    int64_t rows = rows_of(t->options.recipe, t->options.info, split);
    for (int64_t first = 0; first < rows; first += t->eval_batch) {
        int64_t n = rows - first < t->eval_batch ? rows - first : t->eval_batch;
        aira_status status = evaluate_batch(t, split, first, n, &sum, error);
        if (status != AIRA_OK) return status;
    }
    double answers = sum.answers > 0 ? (double)sum.answers : NAN;
    *scores = (aira__scores){.accuracy = sum.weight > 0 ? sum.macro / sum.weight : NAN,
                             .accuracy_pooled = (double)sum.right / answers,
                             .loss = sum.nats / answers,
                             .bits_per_byte = sum.bytes > 0 ? sum.counted_nats / (M_LN2 * (double)sum.bytes) : NAN,
                             .rows = rows,
                             .targets = sum.answers};
    uint32_t metric = t->options.info->metric;
    scores->score = metric == AIRA_METRIC_ACCURACY          ? scores->accuracy
                    : metric == AIRA_METRIC_ACCURACY_POOLED ? scores->accuracy_pooled
                    : metric == AIRA_METRIC_LOSS            ? scores->loss
                                                            : scores->bits_per_byte;
    if (split == AIRA_SPLIT_SEARCH) {
        t->search = *scores;
        t->search_step = t->next;
    }
    return AIRA_OK;
}
