/* The checks that a mechanism passes before and after training, on mechanisms that cheat in one way each. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/check/mechanism.h"

typedef enum {
    HONEST,
    AHEAD_LONG,
    AHEAD_SCORED,
    ACROSS_LAYER_2,
    GATED,
    QUADRATIC,
    CONVOLVED,
    CONVOLVED_AHEAD,
    HUGE
} way;

/* Every position gets the mean of the ones before it, and perhaps something that it should not. */
static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    const way how = *(const way *)self;
    const int64_t T = ops->dim(g, x, 1), C = ops->dim(g, x, 2);
    const aira_shape square = {{C, C}, 2, 0}, one = {{1}, 1, 0};
    aira_param_info normal = {.size = sizeof normal, .init = "fan_in"};
    const int32_t time[] = {1}, batch[] = {0};
    aira_tensor *sum = ops->cumsum(g, ops->linear(g, x, ops->param(g, "in.weight", &square, &normal), 0), 1, 0, 0);
    aira_tensor *y = ops->scale(g, ops->add(g, x, ops->tanh(g, sum)), 0.5);
    aira_tensor *ahead = ops->mean(g, x, time, 1, 1);
    if (how == AHEAD_LONG && T >= 100) y = ops->add(g, y, ahead);
    if (how == AHEAD_SCORED && !ops->ctx_int(g, "training", 1)) y = ops->add(g, y, ahead);
    if (how == ACROSS_LAYER_2 && ops->ctx_int(g, "layer", 0) == 2) y = ops->add(g, y, ops->mean(g, x, batch, 1, 1));
    if (how == GATED) y = ops->add(g, y, ops->mul(g, ahead, ops->param(g, "gate", &one, 0)));
    if (how == CONVOLVED || how == CONVOLVED_AHEAD) { /* by FFT, which shares roundings among positions */
        const aira_shape kernel = {{C, T}, 2, 0};
        y = ops->fft_conv(g, y, ops->param(g, "kernel", &kernel, &normal));
        if (how == CONVOLVED_AHEAD && T >= 100) y = ops->add(g, y, ops->scale(g, ahead, 1e-7));
    }
    if (how == HUGE && T == 140) {
        const aira_shape wide = {{-1, T, 1, C}, 4, 0}, all = {{ops->dim(g, x, 0), T, 1 << 17, C}, 4, 0};
        const int32_t many[] = {2};
        y = ops->add(g, y, ops->mean(g, ops->exp(g, ops->broadcast(g, ops->reshape(g, x, &wide), &all)), many, 1, 0));
    }
    if (how == QUADRATIC) {
        const aira_shape heads = {{-1, T, 1, C}, 4, 0}, flat = {{-1, T, C}, 3, 0};
        aira_tensor *q = ops->reshape(g, x, &heads);
        y = ops->add(g, y, ops->reshape(g, ops->attention(g, q, q, q, 0, 1, 0, 0), &flat));
    }
    return y;
}

static const aira_primitive table = {
    .size = sizeof table, .flags = AIRA_PRIMITIVE_MIXES_TIME, .token = "X", .build = build};

static aira__registry *registry(void) {
    aira__registry *r = NULL;
    aira_error error;
    cr_assert_eq(aira__registry_create(NULL, &r, &error), AIRA_OK, "%s", error.text);
    return r;
}

/* The verdict on `check` when a mechanism of this way is checked with these options; -1: it was not made. */
static int verdict(aira__registry *r, way how, aira__mechanism_options options, const char *check, char text[1600]) {
    const aira__layer layer = {"X", "test", "{}", &table, (void *)&how};
    static aira__check_report report;
    aira_error error;
    options.layer = &layer;
    if (options.width == 0) options.width = 32;
    cr_assert_eq(aira__check_mechanism(r, &options, &report, &error), AIRA_OK, "%s", error.text);
    int found = -1;
    for (int k = 0; k < report.n; k++) {
        if (strcmp(report.lines[k].name, check) != 0) continue;
        found = (int)report.lines[k].verdict;
        strcpy(text, report.lines[k].text);
    }
    char message[1700];
    aira__check_message(&report, message, sizeof message);
    cr_assert_eq(message[0] == 0, report.passed, "%s", message);
    if (found == AIRA_CHECK_FAIL) cr_assert_eq(strncmp(message, check, strlen(check)), 0, "%s", message);
    return found;
}

/* Three layers, a batch of 4 in training and of 6 when scored. */
static int places(aira__primitive_place *p, int64_t length) {
    int n = 0;
    for (int layer = 0; layer < 3; layer++)
        for (int training = 0; training < 2; training++)
            p[n++] = (aira__primitive_place){.batch = training ? 4 : 6,
                                             .length = length,
                                             .width = 32,
                                             .causal = true,
                                             .training = training,
                                             .masked = layer == 1,
                                             .positioned = layer == 1,
                                             .layer = layer,
                                             .depth = 3};
    return n;
}

Test(check_mechanism, an_honest_one_passes) {
    aira__registry *r = registry();
    char text[1600];
    aira__primitive_place p[6];
    const aira__mechanism_options options = {.causal = true, .places = p, .n_places = places(p, 120), .length = 120};
    cr_assert_eq(verdict(r, HONEST, options, "in place", text), AIRA_CHECK_PASS, "%s", text);
    cr_assert(strstr(text, "6 places of the task, 2 different graphs") != NULL, "%s", text);
    cr_assert_eq(verdict(r, HONEST, options, "causality", text), AIRA_CHECK_PASS);
    cr_assert_eq(verdict(r, HONEST, options, "cost", text), AIRA_CHECK_PASS);
    aira__registry_destroy(r);
}

Test(check_mechanism, what_behaves_elsewhere_is_found_in_its_place) {
    aira__registry *r = registry();
    char text[1600];
    aira__primitive_place p[6];
    const aira__mechanism_options options = {.causal = true, .places = p, .n_places = places(p, 120), .length = 120};
    static const struct {
        way how;
        const char *says;
    } cheats[] = {{AHEAD_LONG, "length 120"}, {AHEAD_SCORED, "when it is scored"}, {ACROSS_LAYER_2, "layer 2"}};
    for (size_t k = 0; k < sizeof cheats / sizeof *cheats; k++) {
        cr_assert_eq(verdict(r, cheats[k].how, options, "causality", text), AIRA_CHECK_PASS);
        cr_assert_eq(verdict(r, cheats[k].how, options, "in place", text), AIRA_CHECK_FAIL, "%s", text);
        cr_assert(strstr(text, cheats[k].says) != NULL, "%s", text);
    }
    aira__registry_destroy(r);
}

Test(check_mechanism, roundings_in_fp32_are_told_from_leaks) {
    aira__registry *r = registry();
    char text[1600];
    aira__primitive_place p[6];
    const aira__mechanism_options options = {.causal = true, .places = p, .n_places = places(p, 120), .length = 120};
    cr_assert_eq(verdict(r, CONVOLVED, options, "in place", text), AIRA_CHECK_PASS, "%s", text);
    cr_assert(strstr(text, "nothing leaks") != NULL, "%s", text);
    cr_assert_eq(verdict(r, CONVOLVED_AHEAD, options, "in place", text), AIRA_CHECK_FAIL, "%s", text);
    cr_assert(strstr(text, "at batch 2, length 120") != NULL, "two rows tell the same: %s", text);
    aira__registry_destroy(r);
}

Test(check_mechanism, what_is_too_large_is_said_to_be_left_out) {
    aira__registry *r = registry();
    char text[1600];
    aira__primitive_place p[6];
    const aira__mechanism_options options = {.causal = true, .places = p, .n_places = places(p, 140), .length = 64};
    cr_assert_eq(verdict(r, HUGE, options, "in place", text), AIRA_CHECK_SKIP, "%s", text);
    cr_assert(strstr(text, "take more than 4 GiB here") != NULL, "%s", text);
    aira__registry_destroy(r);
}

static bool trained(void *context, const char *name, double *values, int64_t n) {
    const double *gate = context;
    if (strcmp(name, "gate") != 0) return false;
    for (int64_t k = 0; k < n; k++) values[k] = *gate;
    return true;
}

Test(check_mechanism, trained_weights_decide_after_training) {
    aira__registry *r = registry();
    char text[1600];
    double gate = 0;
    aira__primitive_place p[6];
    aira__mechanism_options options = {.causal = true, .places = p, .n_places = places(p, 24)};
    cr_assert_eq(verdict(r, GATED, options, "causality", text), AIRA_CHECK_FAIL, "redrawn, the gate is open");
    options.weights = trained;
    options.context = &gate;
    cr_assert_eq(verdict(r, GATED, options, "causality", text), AIRA_CHECK_PASS, "%s", text);
    cr_assert_eq(verdict(r, GATED, options, "in place", text), AIRA_CHECK_PASS, "%s", text);
    cr_assert_eq(verdict(r, GATED, options, "gradient", text), -1);
    gate = 1e-3;
    cr_assert_eq(verdict(r, GATED, options, "causality", text), AIRA_CHECK_FAIL);
    aira__registry_destroy(r);
}

Test(check_mechanism, causality_is_asked_of_causal_tasks_only) {
    aira__registry *r = registry();
    char text[1600];
    aira__primitive_place p[6];
    aira__mechanism_options options = {.causal = false};
    cr_assert_eq(verdict(r, GATED, options, "causality", text), AIRA_CHECK_SKIP);
    cr_assert_eq(verdict(r, GATED, options, "batch", text), AIRA_CHECK_PASS);
    options.places = p;
    options.n_places = places(p, 120);
    for (int k = 0; k < options.n_places; k++) p[k].causal = false;
    cr_assert_eq(verdict(r, AHEAD_LONG, options, "in place", text), AIRA_CHECK_PASS, "%s", text);
    cr_assert_eq(verdict(r, ACROSS_LAYER_2, options, "in place", text), AIRA_CHECK_FAIL, "%s", text);
    aira__registry_destroy(r);
}

Test(check_mechanism, limits_of_the_task) {
    aira__registry *r = registry();
    char text[1600];
    aira__mechanism_options options = {.causal = true, .length = 512, .max_parameters = 32 * 32};
    cr_assert_eq(verdict(r, HONEST, options, "limits", text), AIRA_CHECK_PASS, "%s", text);
    options.max_parameters = 32 * 32 - 1;
    cr_assert_eq(verdict(r, HONEST, options, "limits", text), AIRA_CHECK_FAIL, "%s", text);
    options.layers = 3;
    options.max_parameters = 2 * 32 * 32;
    cr_assert_eq(verdict(r, HONEST, options, "limits", text), AIRA_CHECK_FAIL, "%s", text);
    cr_assert(strstr(text, "3072 parameters in 3 layers of it, the task allows 2048 in the whole model"), "%s", text);
    options = (aira__mechanism_options){.causal = true, .length = 512, .max_exponent = 1.5};
    cr_assert_eq(verdict(r, HONEST, options, "limits", text), AIRA_CHECK_PASS, "%s", text);
    cr_assert_eq(verdict(r, QUADRATIC, options, "limits", text), AIRA_CHECK_FAIL, "%s", text);
    cr_assert(strstr(text, "from length 256 to 512 its number of FLOPs grows as T^1.9"), "%s", text);
    cr_assert(strstr(text, "the most is in ATTENTION [1,512,1,32]"), "%s", text);
    options = (aira__mechanism_options){.causal = true, .length = 512, .max_flops = 3 * 2 * 32 * 32};
    cr_assert_eq(verdict(r, HONEST, options, "limits", text), AIRA_CHECK_PASS, "%s", text);
    cr_assert_eq(verdict(r, QUADRATIC, options, "limits", text), AIRA_CHECK_FAIL, "%s", text);
    cr_assert(strstr(text, "FLOPs per token (three times those of a forward pass) in 1 layer of it at length 512"),
              "%s", text);
    aira__registry_destroy(r);
}
