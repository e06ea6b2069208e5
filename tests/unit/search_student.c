/* tests/unit/search_student.c - Student's t against closed forms and the printed tables. */
#include <criterion/criterion.h>
#include <math.h>

#include "core/search/student.h"

Test(student, tails) {
    cr_assert_float_eq(aira__student_tail(0, 3), 0.5, 1e-14);
    for (double t = -40; t < 40; t += 0.37) {
        double one = 0.5 - atan(t) / M_PI, two = 0.5 - t / (2 * sqrt(2 + t * t)); /* closed forms of 1 and 2 degrees */
        cr_assert_float_eq(aira__student_tail(t, 1), one, 1e-13, "t %g", t);
        cr_assert_float_eq(aira__student_tail(t, 2), two, 1e-13, "t %g", t);
        cr_assert_float_eq(aira__student_tail(t, 1e5), 0.5 * erfc(t / sqrt(2)), 1e-5, "t %g", t);
    }
    cr_assert_float_eq(aira__student_tail(1e6, 1) * 1e6 * M_PI, 1, 1e-6, "far out, relative accuracy stays");
    cr_assert_eq(aira__student_tail(INFINITY, 2), 0);
    cr_assert(isnan(aira__student_tail(NAN, 2)) && isnan(aira__student_tail(1, 0)));
}

Test(student, quantiles) {
    static const struct {
        double tail, df, t;
    } table[] = {{0.025, 1, 12.706}, {0.025, 2, 4.303}, {0.05, 2, 2.920}, {0.025, 4, 2.776}, {0.01, 30, 2.457}};
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_assert_float_eq(aira__student_quantile(table[i].tail, table[i].df), table[i].t, 6e-4);
    cr_assert_float_eq(aira__student_quantile(0.975, 2), -4.303, 6e-4);
    for (double df = 1; df < 50; df++)
        cr_assert_float_eq(aira__student_tail(aira__student_quantile(1e-6, df), df), 1e-6, 1e-13);
    cr_assert(isnan(aira__student_quantile(0, 2)));
}

Test(student, means) {
    const double values[] = {1, 2, 6};
    cr_assert_float_eq(aira__mean(values, 3), 3, 1e-15);
    cr_assert_float_eq(aira__spread(values, 3), sqrt(7), 1e-15);
    cr_assert_float_eq(aira__mean_margin(values, 3, 0.95), 4.30265 * sqrt(7.0 / 3), 1e-4);
    cr_assert(isnan(aira__spread(values, 1)) && isnan(aira__mean_margin(values, 1, 0.95)) &&
              isnan(aira__mean(NULL, 0)));
}
