/* test_s4d.c - the layer is the recurrence that it says, one way and both ways; padding is not seen; sizes; refusals.
 */
#include <complex.h>

#include "tests/support/plugin_lab.h"

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(s4d, .init = open_it, .fini = close_it);

enum { B = 2, T = 9, C = 6, N = 3 };
enum { STEP, DECAY, FREQUENCY, C_RE, C_IM, D, W, BIAS, BACK_RE, BACK_IM, VALUES };
static const char *const names[] = {"log_dt",     "log_decay", "frequency", "C.re",      "C.im", "D",
                                    "out.weight", "out.bias",  "C_back.re", "C_back.im", NULL};

/* What the modes of channel c have heard: of the past and the present, and (back) of the future. */
static void listen(double **v, int c, const double *u, bool back, double *y) {
    for (int n = 0; n < N; n++) {
        int at = c * N + n;
        double complex A = -exp(v[DECAY][at]) + I * v[FREQUENCY][at], step = cexp(exp(v[STEP][c]) * A);
        double complex hold = (step - 1) / A, h = 0;
        double complex out = v[C_RE][at] + I * v[C_IM][at];
        for (int t = 0; t < T; t++) {
            h = step * h + hold * u[t * C];
            y[t] += 2 * creal(out * h);
        }
        if (!back) continue;
        out = v[BACK_RE][at] + I * v[BACK_IM][at];
        h = 0;
        for (int t = T - 2; t >= 0; t--) {
            h = step * (h + hold * u[(t + 1) * C]);
            y[t] += 2 * creal(out * h);
        }
    }
}

/* x [T,C] to y [T,C] */
static void recurrence(double **v, const double *x, const double *mask, bool back, double *y) {
    double u[T * C], heard[T], inner[T * C];
    for (int k = 0; k < T * C; k++) u[k] = x[k] * (mask ? mask[k / C] : 1);
    for (int c = 0; c < C; c++) {
        memset(heard, 0, sizeof heard);
        listen(v, c, u + c, back, heard);
        for (int t = 0; t < T; t++) {
            double z = heard[t] + v[D][c] * x[t * C + c];
            inner[t * C + c] = z * 0.5 * (1 + erf(z / sqrt(2)));
        }
    }
    for (int k = 0; k < T * C; k++) {
        double value = v[BIAS][k % C], gate = v[BIAS][C + k % C];
        for (int c = 0; c < C; c++) {
            value += v[W][k % C * C + c] * inner[k / C * C + c];
            gate += v[W][(C + k % C) * C + c] * inner[k / C * C + c];
        }
        y[k] = value / (1 + exp(-gate));
    }
}

static void check(bool bidirectional, const double *mask) {
    const lab_place place = {B, T, C, bidirectional, mask, NULL};
    const char *wanted[VALUES + 1];
    memcpy(wanted, names, sizeof wanted);
    if (!bidirectional) wanted[BACK_RE] = NULL;
    double *v[VALUES] = {NULL}, *x = lab_input(&place, -1), expected[T * C];
    double *y = lab_run_with(&l, "{use: s4d, state: 3}", &place, x, wanted, v);
    for (int b = 0; b < B; b++) {
        recurrence(v, x + b * T * C, mask ? mask + b * T : NULL, bidirectional, expected);
        for (int k = 0; k < T * C; k++)
            cr_expect_float_eq(y[b * T * C + k], expected[k], 1e-9, "%d: %g, not %g", k, y[b * T * C + k], expected[k]);
    }
    for (int k = 0; k < VALUES; k++) free(v[k]);
    free(x);
    free(y);
}

Test(s4d, is_its_recurrence) {
    static const double mask[B * T] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1};
    check(false, NULL);
    check(true, NULL);
    check(false, mask);
    check(true, mask);
}

Test(s4d, looks_where_it_may) {
    lab_place place = {2, 7, 16, false, NULL, NULL};
    bool moved[7];
    lab_moves(&l, "{use: s4d, state: 4}", &place, 3, moved);
    for (int t = 0; t < 7; t++) cr_expect(moved[t] == (t >= 3), "output %d", t);
    place.bidirectional = true;
    lab_moves(&l, "{use: s4d, state: 4}", &place, 3, moved);
    for (int t = 0; t < 7; t++) cr_expect(moved[t], "output %d", t);
}

Test(s4d, sizes) {
    /* step, poles, C, D, gated Linear; a place that may look ahead has a second C */
    cr_expect_eq(lab_parameters(&l, "{use: s4d, state: 8}", 20), 20 + 4 * 20 * 8 + 20 + 40 * 20 + 40);
}

Test(s4d, refusals) { lab_refusal(&l, "{use: s4d, dt_min: 0.2, dt_max: 0.1}", 16, "dt_min must not be larger"); }
