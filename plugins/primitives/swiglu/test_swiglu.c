/* test_swiglu.c - the inner width is 8/3 of the width, rounded up to a multiple of 16. */
#include "tests/support/plugin_lab.h"

Test(swiglu, inner_width) {
    static const int64_t widths[][2] = {{128, 352}, {96, 256}, {100, 272}, {6, 16}, {2048, 5472}};
    plugin_lab l;
    lab_open(&l);
    for (size_t k = 0; k < sizeof widths / sizeof *widths; k++)
        cr_expect_eq(lab_parameters(&l, "{use: swiglu}", widths[k][0]), 3 * widths[k][0] * widths[k][1]);
    cr_expect_eq(lab_parameters(&l, "{use: swiglu, multiple_of: 1}", 128), 3 * 128 * 341);
    cr_expect_eq(lab_parameters(&l, "{use: swiglu, hidden: 20}", 128), 3 * 128 * 20);
    lab_close(&l);
}
