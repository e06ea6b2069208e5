/* test_mamba2.c - looks back only, and further than its convolution; refusals. */
#include "tests/support/plugin_lab.h"

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(mamba2, .init = open_it, .fini = close_it);

Test(mamba2, looks_back) {
    const lab_place place = {2, 9, 16, true, NULL, NULL};
    bool moved[9];
    lab_moves(&l, "{use: mamba2, head_dim: 8, state: 4, groups: 2}", &place, 2, moved);
    for (int t = 0; t < 9; t++) cr_expect(moved[t] == (t >= 2), "output %d", t);
}

Test(mamba2, refusals) {
    lab_refusal(&l, "{use: mamba2, head_dim: 64}", 24, "head_dim must divide");
    lab_refusal(&l, "{use: mamba2, head_dim: 16, groups: 3}", 32, "multiple of groups");
    lab_refusal(&l, "{use: mamba2, head_dim: 16, dt_min: 1, dt_max: 0.1}", 32, "dt_min must not be larger");
    lab_refusal(&l, "{use: mamba2, head_dim: 16, a_min: 20}", 32, "a_min must not be larger");
}
