/* test_linear_attention.c - causal and bidirectional forms agree where they must; masked positions are not seen. */
#include "tests/support/plugin_lab.h"

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(linear_attention, .init = open_it, .fini = close_it);

/* The last position sees everything either way: state-space form and direct form must agree there. */
Test(linear_attention, forms_agree_at_the_end) {
    const double mask[2 * 7] = {1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1};
    static const char *const yamls[] = {"{use: linear_attention, heads: 4}",
                                        "{use: linear_attention, heads: 2, feature: relu, eps: 0.1, bias: true}"};
    for (int k = 0; k < 4; k++) {
        lab_place place = {2, 7, 16, false, k % 2 ? mask : NULL, NULL};
        double *x = lab_input(&place, -1), *causal = lab_run(&l, yamls[k / 2], &place, x);
        place.bidirectional = true;
        double *whole = lab_run(&l, yamls[k / 2], &place, x);
        for (int b = 0; b < 2; b++) {
            for (int c = 0; c < 16; c++) {
                int at = (b * 7 + 6) * 16 + c;
                cr_expect_float_eq(causal[at], whole[at], 1e-10, "%g %g", causal[at], whole[at]);
            }
        }
        free(x);
        free(causal);
        free(whole);
    }
}

Test(linear_attention, masked_position_is_seen_by_itself_only) {
    const double mask[6] = {1, 0, 1, 1, 1, 1};
    for (int bidirectional = 0; bidirectional < 2; bidirectional++) {
        const lab_place place = {1, 6, 16, bidirectional, mask, NULL};
        bool moved[6];
        lab_moves(&l, "{use: linear_attention, heads: 4}", &place, 1, moved);
        for (int t = 0; t < 6; t++) cr_expect(moved[t] == (t == 1), "output %d", t);
    }
}

Test(linear_attention, refusals) { lab_refusal(&l, "{use: linear_attention, heads: 3}", 16, "heads must divide"); }
