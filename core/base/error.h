/* core/base/error.h - errors are values: a status and one sentence for a human.
 *
 * A function that can fail takes an aira_error as its last argument, may be given NULL, and returns aira_status.
 * The sentence says what went wrong, where (file:line:column, candidate, path), and what to do.
 */
#ifndef AIRA_BASE_ERROR_H
#define AIRA_BASE_ERROR_H

#include "aira/abi.h"

typedef struct aira_error {
    aira_status status;
    char text[2044];
} aira_error;

/* Stores the sentence (cut to fit) and returns status. error may be NULL. */
aira_status aira__fail(aira_error *error, aira_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before a sentence that is already there and returns its status. */
aira_status aira__fail_in(aira_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
