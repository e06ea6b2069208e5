/* base_uniform.c - many uniform numbers at once are those that are drawn one by one. */
#include <criterion/criterion.h>

#include "aira/rng.h"
#include "core/base/uniform.h"

enum { MOST = 700 };

Test(uniform, equals_single_draws) {
    static double many[MOST + 1];
    aira_rng rng = aira_rng_make(aira_key(1, "uniform"), 0);
    for (int round = 0; round < 300; round++) {
        uint64_t key = aira_rng_u64(&rng), from = round % 3 ? aira_rng_below(&rng, 1000) : aira_rng_u64(&rng) >> 8;
        int64_t n = aira_rng_below(&rng, MOST);
        if (round % 5 == 0) from = (4ull << 32) - aira_rng_below(&rng, 400); /* the counter's second word */
        double a = aira_rng_normal(&rng), b = aira_rng_normal(&rng), c = aira_rng_normal(&rng);
        aira__uniform_map map = round % 2 ? (aira__uniform_map){0, 1, 1, 1} : (aira__uniform_map){a, b, c, 1 / c};
        many[n] = -1;
        aira__uniforms(key, from, n, &map, many);
        for (int64_t k = 0; k < n; k++) {
            double u = (double)aira_element_uniform(key, 0, from + (uint64_t)k);
            if (round % 2 == 0) u = (a + b * u) * c * (1 / c);
            cr_assert_eq(many[k], u, "%lld of %lld from %llu", (long long)k, (long long)n, (unsigned long long)from);
        }
        cr_assert_eq(many[n], -1);
    }
}
