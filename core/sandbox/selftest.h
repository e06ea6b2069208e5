/* core/sandbox/selftest.h - tries to get out, and tells which way was open. For `aira doctor`. */
#ifndef AIRA_SANDBOX_SELFTEST_H
#define AIRA_SANDBOX_SELFTEST_H

#include "core/sandbox/sandbox.h"

#define AIRA__SELFTEST_MAX 24

typedef struct aira__selftest {
    aira__sandbox_level level;
    char reason[512]; /* why there is no sandbox; "" if there is one */
    int tried;
    int open;                                   /* ways out that worked */
    const char *open_names[AIRA__SELFTEST_MAX]; /* "reads a file of this machine" */
    double setup;                               /* seconds that starting one run costs */
} aira__selftest;

/* Takes about a second. An error only where it could not be tried (no temporary folder, a damaged helper). */
aira_status aira__sandbox_selftest(aira__selftest *, aira_error *);

/* Inside: "aira-box escape WHICH PATH"; WHICH is a number of the list of attempts. Exit status 42: out. */
int aira__sandbox_escape(const char *which, const char *path);

#endif
