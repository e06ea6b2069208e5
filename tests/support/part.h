/* part.h - a part of a test's cases, so that tools which slow a GPU a hundred times see all of them side by side. */
#ifndef AIRA_TESTS_SUPPORT_PART_H
#define AIRA_TESTS_SUPPORT_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* Whether case k belongs to the part that AIRA_TEST_PART names: "i/n", every n-th case from number i on. All do where
   it is not set. */
static inline bool test_in_part(size_t k) {
    const char *part = getenv("AIRA_TEST_PART");
    size_t i = 0, n = 1;
    if (part && (sscanf(part, "%zu/%zu", &i, &n) != 2 || i >= n)) {
        fprintf(stderr, "AIRA_TEST_PART is a part and how many there are, such as 0/4, not %s\n", part);
        exit(2);
    }
    return k % n == i;
}

#endif
