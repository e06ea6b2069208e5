/* test_mlp.c - sizes, position by position, refusals. */
#include "tests/support/plugin_lab.h"

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(mlp, .init = open_it, .fini = close_it);

Test(mlp, sizes) {
    cr_expect_eq(lab_parameters(&l, "{use: mlp}", 64), 2 * 64 * 256);
    cr_expect_eq(lab_parameters(&l, "{use: mlp, hidden: 10, bias: true}", 64), 2 * 64 * 10 + 10 + 64);
    cr_expect_eq(lab_parameters(&l, "{use: mlp, expansion: 1.5}", 64), 2 * 64 * 96);
}

Test(mlp, position_by_position) {
    const lab_place place = {2, 5, 16, true, NULL, NULL};
    bool moved[5];
    lab_moves(&l, "{use: mlp}", &place, 3, moved);
    for (int t = 0; t < 5; t++) cr_expect(moved[t] == (t == 3), "output %d", t);
}

Test(mlp, refusals) { lab_refusal(&l, "{use: mlp, expansion: 0.01}", 64, "less than 1"); }
