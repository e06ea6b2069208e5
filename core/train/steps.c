/* core/train/steps.c - single steps of a training and runs of them; see training.h.
 *
 * On a device with queues the steps of a run are handed over one after another, each with its batch, and waited for
 * once; losses and gradient norms come back then. Elsewhere every step is waited for. Either way the device does the
 * same work in the same order. A step is one run of a graph, or one for each part of its batch.
 */
#include <math.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/train/step.h"
#include "core/train/training_internal.h"

/* A scalar in the storage type of the graphs. */
typedef union scalar {
    float narrow;
    double wide;
} scalar;

/* What a step sends back. */
typedef struct sent {
    scalar loss, grad_norm;
} sent;

static bool is_wide(const aira__training *t) { return t->graphs[AIRA__GRAPH_STEP]->storage_dtype == AIRA_F64; }
static uint64_t scalar_bytes(const aira__training *t) { return is_wide(t) ? sizeof(double) : sizeof(float); }
static double value_of(const aira__training *t, const scalar *s) { return is_wide(t) ? s->wide : (double)s->narrow; }

/* Reads rows of a split into the batch buffers. */
aira_status aira__training_read_rows(aira__training *t, uint32_t split, uint64_t seed, uint32_t n, aira_error *error) {
    const aira__instance *dataset = t->options.dataset;
    const aira_dataset *table = dataset->plugin->table;
    if (t->options.host != NULL) aira__host_clear_failure(t->options.host);
    aira_status status = table->rows(dataset->self, split, seed, t->indices, n, t->inputs, t->targets);
    if (status == AIRA_OK) return AIRA_OK;
    const char *why = t->options.host != NULL ? aira__host_last_failure(t->options.host) : "";
    return aira__fail(error, status, "data set %s: %s", dataset->plugin->id, why[0] ? why : "it gave no reason");
}

aira_status aira__training_set_batch(aira__training *t, uint32_t graph, int64_t first, int64_t rows,
                                     aira_error *error) {
    const aira_dataset_info *info = t->options.info;
    const int32_t *inputs = t->inputs + first * info->input_length;
    const int32_t *targets = t->targets + first * info->target_length;
    uint64_t in = (uint64_t)(rows * info->input_length) * sizeof *inputs;
    uint64_t out = (uint64_t)(rows * info->target_length) * sizeof *targets;
    aira_status status = aira__session_set_input(t->session, graph, "tokens", 0, inputs, in, error);
    return status != AIRA_OK ? status : aira__session_set_input(t->session, graph, "targets", 0, targets, out, error);
}

aira_status aira__training_set_draw(aira__training *t, uint32_t graph, int64_t draw, aira_error *error) {
    int32_t number = (int32_t)draw;
    if (!aira__graph_has_input(t->graphs[graph], "draw")) return AIRA_OK;
    return aira__session_set_input(t->session, graph, "draw", 0, &number, sizeof number, error);
}

static aira_status set_scalar(aira__training *t, uint32_t graph, const char *name, double value, aira_error *error) {
    scalar s;
    if (is_wide(t))
        s.wide = value;
    else
        s.narrow = (float)value;
    return aira__session_set_input(t->session, graph, name, 0, &s, scalar_bytes(t), error);
}

/* A finite training set is one draw for everybody; an endless one is drawn by the training's seed. */
static uint64_t train_seed(const aira__training *t) { return t->batches.rows > 0 ? 0 : t->options.seed; }

/* Targets that count, of rows of the batch buffers. */
static int64_t counted(const aira__training *t, int64_t first, int64_t rows) {
    const aira_dataset_info *info = t->options.info;
    const int32_t *targets = t->targets + first * info->target_length;
    int64_t n = 0;
    for (int64_t k = 0; k < rows * info->target_length; k++) n += targets[k] >= 0 && targets[k] < info->classes;
    return n;
}

/* One run on rows of the batch; `all`: targets of the whole step that count. */
static aira_status run_part(aira__training *t, uint32_t graph, int64_t step, int64_t first, int64_t rows, double rate,
                            int64_t all, aira_error *error) {
    int64_t parts = t->batches.batch / t->run_batch;
    aira_status status = aira__training_set_batch(t, graph, first, rows, error);
    if (status == AIRA_OK) status = aira__training_set_draw(t, graph, step * parts + first / t->run_batch, error);
    if (status == AIRA_OK && parts > 1) {
        double share = all > 0 ? (double)counted(t, first, rows) / (double)all : 0;
        status = set_scalar(t, graph, "share", share, error);
        if (status == AIRA_OK) status = set_scalar(t, graph, "keep", first > 0, error);
    }
    if (status == AIRA_OK && graph != t->part) {
        status = set_scalar(t, graph, "lr", rate, error);
        if (status == AIRA_OK) status = set_scalar(t, graph, "step", (double)(step + 1), error);
    }
    return status == AIRA_OK ? aira__session_run(t->session, graph, error) : status;
}

bool aira__training_is_measured(const aira__training *t, int64_t step) {
    int64_t every = t->options.recipe->metrics_every;
    return every <= 1 || step % every == 0 || step + 1 == t->total ||
           (t->eval_every > 0 && (step + 1) % t->eval_every == 0);
}

/* Hands one step over, part by part; back is filled, of a step that is measured, when the session has been
   finished. */
static aira_status hand_over(aira__training *t, aira__step_result *r, sent *back, aira_error *error) {
    int64_t rows = aira__batches_rows(&t->batches, r->step, t->indices);
    uint32_t graph = AIRA__GRAPH_STEP;
    uint64_t bytes = scalar_bytes(t);
    r->tokens = rows * t->options.info->input_length;
    aira_status status = aira__training_read_rows(t, AIRA_SPLIT_TRAIN, train_seed(t), (uint32_t)rows, error);
    int64_t all = status == AIRA_OK && t->part != 0 ? counted(t, 0, rows) : 0;
    for (int64_t first = 0; first < rows && status == AIRA_OK; first += t->run_batch) {
        int64_t n = rows - first < t->run_batch ? rows - first : t->run_batch;
        graph = first + n < rows ? t->part : n < t->run_batch ? t->partial : AIRA__GRAPH_STEP;
        status = run_part(t, graph, r->step, first, n, r->lr, all, error);
    }
    if (status != AIRA_OK || !r->measured) return status;
    status = aira__session_get_output(t->session, graph, "loss", 0, &back->loss, bytes, error);
    if (status == AIRA_OK)
        status = aira__session_get_output(t->session, graph, "grad_norm", 0, &back->grad_norm, bytes, error);
    return status;
}

aira_status aira__training_steps(aira__training *t, int n, double progress, aira__step_result *results, int *done,
                                 bool *nan, aira_error *error) {
    sent back[AIRA__STEPS_AHEAD];
    double start = aira__now();
    aira_status status = AIRA_OK, finished;
    if (n > AIRA__STEPS_AHEAD) n = AIRA__STEPS_AHEAD;
    memset(back, 0, sizeof back);
    *done = 0;
    *nan = false;
    aira__session_queue(t->session);
    for (int k = 0; k < n && status == AIRA_OK; k++) {
        int64_t step = t->next + k;
        double rate = aira__schedule_rate(&t->options.recipe->schedule, t->base_rate, step, t->total, progress);
        results[k] = (aira__step_result){step, 0, aira__training_is_measured(t, step), NAN, rate, NAN, 0};
        status = hand_over(t, &results[k], &back[k], error);
    }
    /* also after a failure: the device still writes to back */
    finished = aira__session_finish(t->session, status == AIRA_OK ? error : NULL);
    if (status == AIRA_OK) status = finished;
    if (status != AIRA_OK) return status;
    double seconds = (aira__now() - start) / n;
    for (int k = 0; k < n; k++) {
        aira__step_result *r = &results[k];
        if (r->measured) r->loss = value_of(t, &back[k].loss);
        if (r->measured) r->grad_norm = value_of(t, &back[k].grad_norm);
        r->seconds = seconds;
        t->next++;
        t->elapsed += seconds;
        ++*done;
        if (!r->measured || isfinite(r->loss)) continue;
        *nan = true;
        return aira__fail(error, AIRA_E_FAILED, "the loss is not finite (%g) at step %lld; try a smaller learning rate",
                          r->loss, (long long)r->step);
    }
    return AIRA_OK;
}

aira_status aira__training_step(aira__training *t, double progress, aira__step_result *result, bool *nan,
                                aira_error *error) {
    int done = 0;
    return aira__training_steps(t, 1, progress, result, &done, nan, error);
}
