/* test_gla.c - the scan is the sum over pairs of positions that it stands for, one way and both ways; refusals. */
#include "tests/support/plugin_lab.h"

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(gla, .init = open_it, .fini = close_it);

enum { B = 2, T = 7, C = 8, H = 2, V = C / H, K = V / 2 };
enum { Q, KEY, VALUE, R, GATE, GATE_BIAS, NORM, OUT, N_VALUES };
static const char *const names[] = {"q.weight",  "k.weight",    "v.weight",   "r.weight", "gate.weight",
                                    "gate.bias", "norm.weight", "out.weight", NULL};

/* row of w [rows,C] times x [C] */
static double dot(const double *w, int row, const double *x) {
    double sum = 0;
    for (int c = 0; c < C; c++) sum += w[row * C + c] * x[c];
    return sum;
}

/* y of head h at time t before its norm: sum over s of q.k v times the gates between s and t */
static void head(double **w, const double *x, const double *mask, bool both, int h, int t, double *y) {
    memset(y, 0, V * sizeof *y);
    for (int s = 0; s < T; s++) {
        if (s > t && !both) continue;
        double weight = 0, decay = 0;
        for (int i = 0; i < K; i++) weight += dot(w[Q], h * K + i, x + t * C) * dot(w[KEY], h * K + i, x + s * C);
        /* forward, the gate of a position acts on what came before it; backward on what comes after it */
        for (int m = s < t ? s + 1 : t; m < (s < t ? t + 1 : s); m++)
            decay += log1p(exp(-(dot(w[GATE], h, x + m * C) + w[GATE_BIAS][h]))) / 16 + 1e-6;
        weight *= exp(-decay) * (mask ? mask[s] : 1);
        for (int j = 0; j < V; j++) y[j] += weight * dot(w[VALUE], h * V + j, x + s * C);
    }
}

static void sequence(double **w, const double *x, const double *mask, bool both, double *y) {
    for (int t = 0; t < T; t++) {
        double inner[C];
        for (int h = 0; h < H; h++) {
            double *of = inner + h * V, square = 0;
            head(w, x, mask, both, h, t, of);
            for (int j = 0; j < V; j++) square += of[j] * of[j] / V;
            for (int j = 0; j < V; j++) {
                double r = dot(w[R], h * V + j, x + t * C);
                of[j] *= w[NORM][j] / sqrt(square + 1e-5) * r / (1 + exp(-r));
            }
        }
        for (int c = 0; c < C; c++) y[t * C + c] = dot(w[OUT], c, inner);
    }
}

Test(gla, is_the_sum_over_pairs) {
    static const double mask[B * T] = {1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 1};
    for (int k = 0; k < 4; k++) {
        const lab_place place = {B, T, C, k / 2 == 1, k % 2 ? mask : NULL, NULL};
        double *w[N_VALUES], *x = lab_input(&place, -1), expected[T * C];
        double *y = lab_run_with(&l, "{use: gla, heads: 2}", &place, x, names, w);
        for (int b = 0; b < B; b++) {
            sequence(w, x + b * T * C, place.mask ? mask + b * T : NULL, place.bidirectional, expected);
            for (int e = 0; e < T * C; e++)
                cr_expect_float_eq(y[b * T * C + e], expected[e], 1e-8, "%d %d: %g, not %g", k, e, y[b * T * C + e],
                                   expected[e]);
        }
        for (int i = 0; i < N_VALUES; i++) free(w[i]);
        free(x);
        free(y);
    }
}

Test(gla, sizes) {
    cr_expect_eq(lab_parameters(&l, "{use: gla, heads: 4}", 16), 2 * 8 * 16 + 3 * 16 * 16 + 4 * 16 + 4 + 4);
}

Test(gla, refusals) {
    lab_refusal(&l, "{use: gla, heads: 3}", 16, "heads must divide");
    lab_refusal(&l, "{use: gla, heads: 16, key_ratio: 0.1}", 16, "keys would have no dimension");
}
