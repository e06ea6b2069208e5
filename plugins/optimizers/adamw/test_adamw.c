/* test_adamw.c - against the formula in double precision, for long; decay and who is spared. */
#include "tests/support/plugin_update.h"

enum { N = 5, STEPS = 300 };

static void formula(double *p, const double *gradients, double lr, double decay, double b1, double b2) {
    double m[N] = {0}, v[N] = {0};
    for (int step = 0; step < STEPS; step++) {
        for (int k = 0; k < N; k++) {
            double g = gradients[step * N + k];
            p[k] *= 1 - lr * decay;
            m[k] = b1 * m[k] + (1 - b1) * g;
            v[k] = b2 * v[k] + (1 - b2) * g * g;
            p[k] -= lr * m[k] / (1 - pow(b1, step + 1)) / (sqrt(v[k] / (1 - pow(b2, step + 1))) + 1e-8);
        }
    }
}

static double difference(const plugin_lab *l, const char *yaml, uint32_t dtype, bool no_decay, double decay, double b1,
                         double b2) {
    double p[N] = {1, -2, 0.5, 3, -0.1}, q[N], gradients[STEPS * N], worst = 0;
    memcpy(q, p, sizeof q);
    aira__draw_values(3, "gradients", AIRA_F64, 0, gradients, STEPS * N);
    update_run(l, yaml, dtype, no_decay, 0.01, p, gradients, N, STEPS);
    formula(q, gradients, 0.01, decay, b1, b2);
    for (int k = 0; k < N; k++) worst = fmax(worst, fabs(p[k] - q[k]));
    return worst;
}

Test(adamw, follows_the_formula) {
    plugin_lab l;
    lab_open(&l);
    cr_expect(difference(&l, "{use: adamw}", AIRA_F64, false, 0, 0.9, 0.999) < 1e-12);
    cr_expect(difference(&l, "{use: adamw}", AIRA_F32, false, 0, 0.9, 0.999) < 3e-6);
    cr_expect(difference(&l, "{use: adamw, weight_decay: 0.1}", AIRA_F64, false, 0.1, 0.9, 0.999) < 1e-12);
    cr_expect(difference(&l, "{use: adamw, weight_decay: 0.1}", AIRA_F64, true, 0, 0.9, 0.999) < 1e-12);
    cr_expect(difference(&l, "{use: adamw, weight_decay: 0.1, decay_all: true}", AIRA_F64, true, 0.1, 0.9, 0.999) <
              1e-12);
    cr_expect(difference(&l, "{use: adamw, beta1: 0, beta2: 0.98}", AIRA_F64, false, 0, 0, 0.98) < 1e-12);
    lab_close(&l);
}

/* The first step moves every parameter by the learning rate, also in fp32, where 1 - 0.999 has few digits. */
Test(adamw, first_step_is_the_learning_rate) {
    plugin_lab l;
    lab_open(&l);
    double p[3] = {0, 0, 0};
    const double gradient[3] = {1e-3, -5, 40};
    update_run(&l, "{use: adamw}", AIRA_F32, false, 0.01, p, gradient, 3, 1);
    cr_expect_float_eq(p[0], -0.01 / (1 + 1e-5), 2e-9, "%.10g", p[0]);
    cr_expect_float_eq(p[1], 0.01, 2e-9, "%.10g", p[1]);
    cr_expect_float_eq(p[2], -0.01, 2e-9, "%.10g", p[2]);
    lab_close(&l);
}
