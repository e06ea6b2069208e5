/* part.h - a part of a test's cases, so that tools which slow a GPU a hundred times see all of them side by side. */
#ifndef AIRA_TESTS_SUPPORT_PART_H
#define AIRA_TESTS_SUPPORT_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* Whether AIRA_TEST_PART asks for a part of the cases. What takes long and says nothing of kernels, such as traces in
   which every step runs many times, is then left out. */
static inline bool test_is_part(void) { return getenv("AIRA_TEST_PART") != NULL; }

/* Whether case k belongs to the part that AIRA_TEST_PART names: "i/n", every n-th case from number i on; each is then
   announced by a line, so that how far a part came is known when its time is over. All do where it is not set. */
static inline bool test_in_part(size_t k) {
    const char *part = getenv("AIRA_TEST_PART");
    size_t i = 0, n = 1;
    if (part && (sscanf(part, "%zu/%zu", &i, &n) != 2 || i >= n)) {
        fprintf(stderr, "AIRA_TEST_PART is a part and how many there are, such as 0/4, not %s\n", part);
        exit(2);
    }
    if (k % n != i) return false;
    if (part) {
        printf("case %zu\n", k);
        fflush(stdout);
    }
    return true;
}

#endif
