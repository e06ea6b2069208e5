/* core/base/log.c - see log.h */
#include "core/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const words[] = {"debug", "info", "warn", "error"}; /* by AIRA_LOG_x */

static int wanted_level(void) {
    const char *wanted = getenv("AIRA_LOG");
    for (int i = 0; wanted != NULL && i < 4; i++)
        if (strcmp(wanted, words[i]) == 0) return i;
    return AIRA_LOG_INFO;
}

void aira__log(int level, const char *format, ...) {
    if (level < AIRA_LOG_DEBUG || level > AIRA_LOG_ERROR) level = AIRA_LOG_INFO;
    if (level < wanted_level()) return;
    char line[4096];
    int start = snprintf(line, sizeof line, level == AIRA_LOG_INFO ? "aira: " : "aira: %s: ", words[level]);
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line + start, sizeof line - (size_t)start - 1, format, arguments);
    va_end(arguments);
    size_t size = (size_t)start + (n < 0 ? 0 : (size_t)n);
    if (size > sizeof line - 2) size = sizeof line - 2;
    line[size++] = '\n';
    for (size_t done = 0; done < size;) { /* nowhere to report that standard error itself is gone */
        ssize_t written = write(STDERR_FILENO, line + done, size - done);
        if (written <= 0) return;
        done += (size_t)written;
    }
}
