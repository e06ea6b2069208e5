/* test_mamba.c - looks back only, and further than its convolution; refusals. */
#include "tests/support/plugin_lab.h"

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(mamba, .init = open_it, .fini = close_it);

Test(mamba, looks_back) {
    const lab_place place = {2, 9, 16, true, NULL, NULL}; /* bidirectional places do not change that */
    bool moved[9];
    lab_moves(&l, "{use: mamba}", &place, 2, moved);
    for (int t = 0; t < 9; t++) cr_expect(moved[t] == (t >= 2), "output %d", t);
}

Test(mamba, sizes) {
    /* rank ceil(20 / 16) = 2, inner 40 */
    int64_t expected = 80 * 20 + 40 * 4 + 40 + (2 + 8) * 40 + 40 * 2 + 40 + 40 * 4 + 40 + 20 * 40;
    cr_expect_eq(lab_parameters(&l, "{use: mamba}", 20), expected);
}

Test(mamba, refusals) { lab_refusal(&l, "{use: mamba, dt_min: 0.2, dt_max: 0.1}", 16, "dt_min must not be larger"); }
