/* test_sgd.c - against the formula in double precision. */
#include "tests/support/plugin_update.h"

enum { N = 4, STEPS = 50 };

static double difference(const plugin_lab *l, const char *yaml, double momentum, double decay, bool nesterov) {
    double p[N] = {1, -2, 0.5, 3}, q[N], m[N] = {0}, gradients[STEPS * N], worst = 0;
    memcpy(q, p, sizeof q);
    aira__draw_values(3, "gradients", AIRA_F64, 0, gradients, STEPS * N);
    update_run(l, yaml, AIRA_F64, false, 0.01, p, gradients, N, STEPS);
    for (int step = 0; step < STEPS; step++) {
        for (int k = 0; k < N; k++) {
            double d = gradients[step * N + k] + decay * q[k];
            m[k] = momentum * m[k] + d;
            q[k] -= 0.01 * (nesterov ? d + momentum * m[k] : m[k]);
        }
    }
    for (int k = 0; k < N; k++) worst = fmax(worst, fabs(p[k] - q[k]));
    return worst;
}

Test(sgd, follows_the_formula) {
    plugin_lab l;
    lab_open(&l);
    cr_expect(difference(&l, "{use: sgd}", 0, 0, false) < 1e-13);
    cr_expect(difference(&l, "{use: sgd, momentum: 0.9}", 0.9, 0, false) < 1e-13);
    cr_expect(difference(&l, "{use: sgd, momentum: 0.9, nesterov: true, weight_decay: 0.1}", 0.9, 0.1, true) < 1e-13);
    lab_close(&l);
}
