/* train_queue.c - trainings on a device with queues: a device of the test keeps what it is given until finish, so that
 * whatever relies on work being done earlier shows. Curves, scores and stops are those of a device that waits.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "core/train/task.h"
#include "core/train/training.h"
#include "tests/support/engine.h"

/* --- the cpu device, late --- */

typedef struct late_call {
    void *buffer, *to, *from, *program, *buffers[AIRA_N_BUFFERS];
    uint64_t offset, bytes, seed;
} late_call;

typedef struct late_device {
    const aira_device *device;
    void *self;
    late_call calls[1024];
    int n, finishes, runs;
    bool broken; /* run fails */
} late_device;

static void work_off(late_device *late) {
    for (int k = 0; k < late->n; k++) {
        late_call *c = &late->calls[k];
        if (c->from)
            cr_assert_eq(late->device->upload(late->self, c->buffer, c->offset, c->from, c->bytes), AIRA_OK);
        else if (c->to)
            cr_assert_eq(late->device->download(late->self, c->buffer, c->offset, c->to, c->bytes), AIRA_OK);
        else
            cr_assert_eq(late->device->run(late->self, c->program, c->buffers, c->seed), AIRA_OK);
        free(c->from);
    }
    late->n = 0;
}

static aira_status keep_call(late_device *late, late_call call) {
    if (late->n == 1024) work_off(late);
    late->calls[late->n++] = call;
    return AIRA_OK;
}

static aira_status late_upload(void *self, void *buffer, uint64_t offset, const void *from, uint64_t bytes) {
    void *copy = malloc(bytes + 1);
    memcpy(copy, from, bytes);
    return keep_call(self, (late_call){.buffer = buffer, .from = copy, .offset = offset, .bytes = bytes});
}

static aira_status late_download(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes) {
    return keep_call(self, (late_call){.buffer = buffer, .to = to, .offset = offset, .bytes = bytes});
}

static aira_status late_run(void *self, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    late_device *late = self;
    late_call call = {.program = program, .seed = seed};
    memcpy(call.buffers, buffers, sizeof call.buffers);
    if (late->broken && late->runs >= 3) return AIRA_E_FAILED;
    late->runs++;
    return keep_call(late, call);
}

static aira_status late_finish(void *self) {
    late_device *late = self;
    late->finishes++;
    work_off(late);
    return AIRA_OK;
}

static const aira_device_queue late_queue = {.size = sizeof late_queue,
                                             .upload = late_upload,
                                             .download = late_download,
                                             .run = late_run,
                                             .finish = late_finish};

/* The device's own calls: what is waiting comes first. */
static aira_status info(void *self, aira_device_info *out) {
    const late_device *late = self;
    return late->device->info(late->self, out);
}
static int32_t supports(void *self, uint32_t op, const aira_plan_tensor *tensors, uint32_t n_in, uint32_t n_out,
                        const int64_t *i, uint32_t n_i) {
    const late_device *late = self;
    return late->device->supports(late->self, op, tensors, n_in, n_out, i, n_i);
}
static aira_status buffer_create(void *self, uint64_t bytes, void **buffer) {
    const late_device *late = self;
    return late->device->buffer_create(late->self, bytes, buffer);
}
static void buffer_destroy(void *self, void *buffer) {
    const late_device *late = self;
    late->device->buffer_destroy(late->self, buffer);
}
static aira_status upload(void *self, void *buffer, uint64_t offset, const void *from, uint64_t bytes) {
    late_device *late = self;
    work_off(late);
    return late->device->upload(late->self, buffer, offset, from, bytes);
}
static aira_status download(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes) {
    late_device *late = self;
    work_off(late);
    return late->device->download(late->self, buffer, offset, to, bytes);
}
static aira_status compile(void *self, const aira_plan *plan, void **program) {
    const late_device *late = self;
    return late->device->compile(late->self, plan, program);
}
static void program_destroy(void *self, void *program) {
    const late_device *late = self;
    late->device->program_destroy(late->self, program);
}
static aira_status run(void *self, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    late_device *late = self;
    work_off(late);
    return late->device->run(late->self, program, buffers, seed);
}
static const aira_device late_table = {.size = sizeof late_table,
                                       .info = info,
                                       .supports = supports,
                                       .buffer_create = buffer_create,
                                       .buffer_destroy = buffer_destroy,
                                       .upload = upload,
                                       .download = download,
                                       .compile = compile,
                                       .program_destroy = program_destroy,
                                       .run = run};

/* --- a small training --- */

typedef struct small {
    test_engine engine;
    late_device late;
    aira__diagnostics *d;
    aira__document *document;
    aira__task *task;
    aira__layer *layers;
    aira__training *training;
    int hooks, stop_at; /* calls of the hook; the step at which it stops, -1: never */
} small;

static void open_small(small *s, const char *recipe, bool queue) {
    char text[1024];
    *s = (small){.stop_at = -1};
    snprintf(text, sizeof text,
             "task: small\ncandidate: {kind: compose, layers: 2, backbone: {use: mad_lm, width: 16}}\n"
             "tokens: {mA: {use: attention, heads: 2}, M: {use: mlp}}\nproxies: [{dataset: {use: mad, task: "
             "memorization, vocab: 16, length: 8, train_rows: 20, test_rows: 40}, recipe: {%s}}]\n",
             recipe);
    s->engine = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    s->late = (late_device){.device = s->engine.device, .self = s->engine.self};
    s->d = aira__diagnostics_create();
    s->document = aira__document_parse(text, "small.yaml", s->d);
    s->task = aira__task_load(s->engine.registry, aira__document_root(s->document), true, s->d);
    cr_assert_not_null(s->task, "%s", aira__diagnostics_text(s->d));
    const uint16_t layers[] = {0, 1};
    s->layers = aira__task_layers(s->task, layers, 2);
    aira__proxy *proxy = &s->task->proxies[0];
    aira__training_options options = {.device = queue ? &late_table : s->engine.device,
                                      .device_self = queue ? (void *)&s->late : s->engine.self,
                                      .queue = queue ? &late_queue : NULL,
                                      .host = s->engine.host,
                                      .backbone = s->task->backbone->plugin->table,
                                      .backbone_self = s->task->backbone->self,
                                      .layers = s->layers,
                                      .n_layers = 2,
                                      .dataset = proxy->dataset,
                                      .info = &proxy->info,
                                      .recipe = &proxy->recipe,
                                      .seed = 3,
                                      .causal = true};
    aira_error error = {0};
    cr_assert_eq(aira__training_create(&options, &s->training, &error), AIRA_OK, "%s", error.text);
    s->late.finishes = 0;
}

static void close_small(small *s) {
    aira__training_destroy(s->training);
    free(s->layers);
    aira__task_destroy(s->task);
    aira__document_destroy(s->document);
    aira__diagnostics_destroy(s->d);
    test_engine_close(&s->engine);
}

static int on_step(void *context, const aira__step_result *r, int64_t steps) {
    small *s = context;
    (void)steps;
    cr_assert_eq(r->step, s->hooks, "steps are told in order, each once");
    s->hooks++;
    return r->step == s->stop_at;
}

static aira_status train(small *s, int64_t steps, aira__curve *curve, bool *nan) {
    aira__run_hooks hooks = {.step = on_step, .context = s, .ahead = true};
    aira_error error = {0};
    return aira__training_run(s->training, steps, &hooks, curve, nan, &error);
}

static void expect_same(const aira__curve *a, const aira__curve *b) {
    cr_assert_eq(a->n, b->n, "%d points and %d", a->n, b->n);
    for (int k = 0; k < a->n; k++) {
        const aira__point *x = &a->points[k], *y = &b->points[k];
        cr_assert_eq(x->step, y->step);
        cr_assert_eq(memcmp(&x->loss, &y->loss, sizeof x->loss), 0, "loss of point %d", k);
        cr_assert(isnan(x->score) ? isnan(y->score) : x->score == y->score, "score of point %d", k);
    }
}

/* Both devices run the recipe; curves, ends and calls of the hook must agree. */
static void compare(const char *recipe, int64_t steps, aira_status expected) {
    small plain, late;
    aira__curve a = {0}, b = {0};
    bool nan_a, nan_b;
    open_small(&plain, recipe, false);
    open_small(&late, recipe, true);
    cr_assert_eq(train(&plain, steps, &a, &nan_a), expected);
    cr_assert_eq(train(&late, steps, &b, &nan_b), expected);
    expect_same(&a, &b);
    cr_assert_eq(nan_a, nan_b);
    cr_assert_eq(plain.hooks, late.hooks);
    cr_assert_eq(aira__training_next_step(plain.training), aira__training_next_step(late.training));
    free(a.points);
    free(b.points);
    close_small(&plain);
    close_small(&late);
}

Test(train_queue, curves_are_the_same) {
    compare("batch: 8, steps: 150, eval_every: 40, clip: 1, optimizer: {use: adamw, lr: 3e-3}, "
            "schedule: {kind: cosine, warmup: 4, final: 1e-4}",
            0, AIRA_OK);
    compare("batch: 8, steps: 90, eval_every: 1000, log_every: 7", 0, AIRA_OK);
    compare("batch: 8, steps: 90, eval_every: 33, precision: fp64", 61, AIRA_OK);
}

Test(train_queue, stops_are_the_same) {
    compare("batch: 8, steps: 200, eval_every: 20, early_stop: 0.2, optimizer: {use: adamw, lr: 3e-3}", 0, AIRA_OK);
    compare("batch: 8, steps: 80, eval_every: 1000, optimizer: {use: sgd, lr: 1000}", 0, AIRA_E_FAILED);
}

Test(train_queue, steps_are_not_waited_for) {
    small s;
    aira__curve curve = {0};
    bool nan;
    open_small(&s, "batch: 8, steps: 101, eval_every: 1000", true);
    cr_assert_eq(train(&s, 0, &curve, &nan), AIRA_OK);
    cr_assert_eq(curve.n, 101);
    cr_assert_lt(s.late.finishes, 40, "%d waits for 101 steps", s.late.finishes);
    free(curve.points);
    close_small(&s);
}

Test(train_queue, asked_to_stop_between_steps_under_way) {
    small s;
    bool nan;
    open_small(&s, "batch: 8, steps: 100, eval_every: 1000", true);
    s.stop_at = 17;
    cr_assert_eq(train(&s, 0, NULL, &nan), AIRA_E_CANCELLED);
    cr_assert_eq(s.hooks, 18);
    cr_assert_not(nan);
    close_small(&s);
}

Test(train_queue, a_failure_waits_for_what_is_under_way) {
    small s;
    bool nan;
    open_small(&s, "batch: 8, steps: 100, eval_every: 1000", true);
    s.late.broken = true;
    cr_assert_eq(train(&s, 0, NULL, &nan), AIRA_E_FAILED);
    cr_assert_eq(s.late.n, 0, "calls are left that would write to what is gone");
    cr_assert_not(nan);
    close_small(&s);
}
