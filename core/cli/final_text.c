/* core/cli/final_text.c - see final_text.h. */
#include "core/cli/final_text.h"

#include <stdio.h>

#include "core/base/json.h"

static void print_node(const char *name, const json_t *node) {
    const char *standing = aira__json_string(node, "standing", NULL);
    long long seeds = (long long)aira__json_int(node, "seeds", 1);
    if (!json_is_object(node)) return;
    printf("%-11s %-24s %.6g (search %lld, node %lld", name, aira__json_string(node, "architecture", "?"),
           aira__json_real(node, "score", 0), (long long)aira__json_int(node, "search", 0),
           (long long)aira__json_int(node, "node", 0));
    if (standing) printf(", %s, mean of %lld seeds", standing, seeds);
    printf(")\n");
}

static void print_gain(const json_t *gain) {
    const json_t *interval = json_object_get(gain, "interval"), *covers = json_object_get(gain, "covers_zero");
    const char *of = aira__json_string(gain, "of", "?"), *over = aira__json_string(gain, "over", "?");
    if (!json_is_number(json_object_get(gain, "gain"))) {
        printf("gain        %s over %s: unknown, a training failed\n", of, over);
        return;
    }
    printf("gain        %s over %s: %+.4g", of, over, aira__json_real(gain, "gain", 0));
    if (json_array_size(interval) == 2)
        printf(" [%+.4g, %+.4g]", json_number_value(json_array_get(interval, 0)),
               json_number_value(json_array_get(interval, 1)));
    printf(" on the test split, %lld fresh seeds", (long long)aira__json_int(gain, "seeds", 0));
    if (json_is_number(json_object_get(gain, "searched")))
        printf(" (as searched %+.4g)", aira__json_real(gain, "searched", 0));
    printf(": %s\n", json_is_null(covers)   ? "too few to tell it from noise"
                     : json_is_true(covers) ? "may be luck"
                                            : "more than luck");
}

/* "failed 3 of 8 nodes: 2 compile, 1 refused"; nothing where none has. */
static void print_failed(const json_t *summary) {
    const json_t *failed = json_object_get(summary, "failed"), *n;
    const char *cause;
    json_int_t all = 0;
    json_object_foreach((json_t *)(uintptr_t)failed, cause, n) all += json_integer_value(n);
    if (all == 0) return;
    printf("failed      %lld of %lld nodes", (long long)all, (long long)aira__json_int(summary, "nodes", 0));
    const char *lead = ": ";
    json_object_foreach((json_t *)(uintptr_t)failed, cause, n) {
        printf("%s%lld %s", lead, (long long)json_integer_value(n), cause);
        lead = ", ";
    }
    printf("\n");
}

void aira__print_scores(const json_t *summary) {
    const json_t *final = json_object_get(summary, "final"), *item;
    size_t i;
    print_failed(summary);
    print_node("best", json_object_get(summary, "best"));
    print_node("submitted", json_object_get(summary, "submitted"));
    json_array_foreach(json_object_get(final, "test"), i, item) {
        double mean = aira__json_real(json_object_get(item, "test"), "mean", 0);
        if (json_is_null(json_object_get(item, "error")))
            printf("test        %-24s %.6g (%s)\n", aira__json_string(item, "architecture", "?"), mean,
                   aira__json_string(item, "name", "?"));
    }
    json_array_foreach(json_object_get(final, "gain"), i, item) print_gain(item);
}
