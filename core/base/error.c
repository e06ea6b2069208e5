/* core/base/error.c - see error.h */
#include "core/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

aira_status aira__fail(aira_error *error, aira_status status, const char *format, ...) {
    if (error == NULL) return status;
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

aira_status aira__fail_in(aira_error *error, const char *format, ...) {
    if (error == NULL) return AIRA_E_FAILED;
    char prefix[512], whole[sizeof error->text + sizeof prefix];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    int n = snprintf(whole, sizeof whole, "%s: %s", prefix, error->text);
    size_t keep = n < 0 ? 0 : (size_t)n < sizeof error->text ? (size_t)n : sizeof error->text - 1;
    memcpy(error->text, whole, keep);
    error->text[keep] = 0;
    return error->status;
}
