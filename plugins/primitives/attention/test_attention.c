/* test_attention.c - what a query sees: causality, window, mask; rotation depends on distances only; refusals. */
#include "tests/support/plugin_lab.h"

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(attention, .init = open_it, .fini = close_it);

Test(attention, sees_what_it_should) {
    static const struct {
        const char *yaml;
        bool bidirectional;
        int64_t changed, first, last; /* outputs first .. last move */
    } cases[] = {
        {"{use: attention, heads: 4}", false, 2, 2, 7},
        {"{use: attention, heads: 4}", true, 2, 0, 7},
        {"{use: attention, heads: 4, window: 3}", false, 2, 2, 4},
        {"{use: attention, heads: 4, window: 1}", false, 2, 2, 2},
        {"{use: attention, heads: 4, window: 2}", true, 3, 2, 4},
        {"{use: attention, heads: 4, kv_heads: 2, window: 100}", false, 0, 0, 7},
    };
    const int64_t T = 8;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const lab_place place = {2, T, 16, cases[k].bidirectional, NULL, NULL};
        bool moved[8];
        lab_moves(&l, cases[k].yaml, &place, cases[k].changed, moved);
        for (int64_t t = 0; t < T; t++)
            cr_expect_eq(moved[t], t >= cases[k].first && t <= cases[k].last, "%s: output %lld", cases[k].yaml,
                         (long long)t);
    }
}

Test(attention, masked_position_is_seen_by_itself_only) {
    const double mask[8] = {1, 1, 0, 1, 1, 1, 1, 1};
    for (int bidirectional = 0; bidirectional < 2; bidirectional++) {
        const lab_place place = {1, 8, 16, bidirectional, mask, NULL};
        bool moved[8];
        lab_moves(&l, "{use: attention, heads: 4}", &place, 2, moved);
        for (int t = 0; t < 8; t++) cr_expect(moved[t] == (t == 2), "output %d", t); /* 2: through its own query */
    }
}

Test(attention, rotation_knows_distances_only) {
    const double here[6] = {0, 1, 2, 3, 4, 5}, there[6] = {90, 91, 92, 93, 94, 95}, apart[6] = {0, 2, 4, 6, 8, 10};
    lab_place place = {1, 6, 16, false, NULL, NULL};
    double *x = lab_input(&place, -1), *plain = lab_run(&l, "{use: attention, heads: 4}", &place, x), *y[3];
    const double *positions[3] = {here, there, apart};
    for (int k = 0; k < 3; k++) {
        place.positions = positions[k];
        y[k] = lab_run(&l, "{use: attention, heads: 4}", &place, x);
    }
    double same = 0, shifted = 0, stretched = 0;
    for (int k = 0; k < 6 * 16; k++) {
        same = fmax(same, fabs(plain[k] - y[0][k]));
        shifted = fmax(shifted, fabs(y[0][k] - y[1][k]));
        stretched = fmax(stretched, fabs(y[0][k] - y[2][k]));
    }
    cr_expect(same < 1e-12 && shifted < 1e-10 && stretched > 1e-3, "%g %g %g", same, shifted, stretched);
    for (int k = 0; k < 3; k++) free(y[k]);
    free(plain);
    free(x);
}

Test(attention, refusals) {
    lab_refusal(&l, "{use: attention, heads: 3}", 16, "heads must divide the width");
    lab_refusal(&l, "{use: attention, heads: 4, kv_heads: 3}", 16, "multiple of kv_heads");
    lab_refusal(&l, "{use: attention, heads: 16}", 16, "rope_dims must be even");
    lab_refusal(&l, "{use: attention, heads: 4, rope_dims: 6}", 16, "rope_dims must be even and at most head_dim");
}
