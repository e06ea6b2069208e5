/* core/cli/train_log.c - see train_log.h */
#include "core/cli/train_log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"

#define LARGEST_LOG ((size_t)1 << 32)

double aira__train_mfu(const aira__train_pace *pace) {
    if (!(pace->peak_tflops > 0) || !(pace->seconds > 0)) return NAN;
    return pace->flops_per_token * pace->tokens / pace->seconds / (pace->peak_tflops * 1e12);
}

/* Bytes of the whole lines of steps before `next`. */
static size_t kept_bytes(const char *text, size_t n, int64_t next) {
    size_t kept = 0;
    while (kept < n) {
        const char *end = memchr(text + kept, '\n', n - kept);
        if (end == NULL) break;
        json_t *line = json_loadb(text + kept, (size_t)(end - text) - kept, 0, NULL);
        bool earlier = line != NULL && aira__json_int(line, "step", INT64_MAX) < next;
        json_decref(line);
        if (!earlier) break;
        kept = (size_t)(end - text) + 1;
    }
    return kept;
}

static aira_status cannot_write(const char *path, aira_error *error) {
    return aira__fail(error, AIRA_E_IO, "%s cannot be written: %s", path, strerror(errno));
}

aira_status aira__train_log_open(const char *path, int64_t next, FILE **file, aira_error *error) {
    if (next > 0 && aira__file_exists(path)) {
        char *text = NULL;
        size_t n = 0;
        aira_status status = aira__file_read(path, LARGEST_LOG, &text, &n, error);
        if (status != AIRA_OK) return status;
        size_t kept = kept_bytes(text, n, next);
        if (kept < n) status = aira__file_write_atomic(path, text, kept, error);
        free(text);
        if (status != AIRA_OK) return status;
    }
    *file = fopen(path, next > 0 ? "a" : "w");
    return *file != NULL ? AIRA_OK : cannot_write(path, error);
}

aira_status aira__train_log_write(FILE *file, const char *path, const aira__step_result *s,
                                  const aira__train_pace *pace, aira_error *error) {
    double speed = pace->seconds > 0 ? pace->tokens / pace->seconds : NAN;
    json_t *line = json_pack("{s:I, s:o, s:f, s:o, s:f, s:f, s:o, s:f, s:o, s:o}", "step", (json_int_t)s->step, "loss",
                             aira__json_number(s->loss), "lr", s->lr, "grad_norm", aira__json_number(s->grad_norm),
                             "seconds", s->seconds, "step_ms",
                             1e3 * pace->seconds / (double)(pace->steps > 0 ? pace->steps : 1), "tokens_per_second",
                             aira__json_number(speed), "flops_per_token", pace->flops_per_token, "peak_tflops",
                             aira__json_number(pace->peak_tflops > 0 ? pace->peak_tflops : NAN), "mfu",
                             aira__json_number(aira__train_mfu(pace)));
    bool written = line != NULL && json_dumpf(line, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF &&
                   fflush(file) == 0;
    json_decref(line);
    return written ? AIRA_OK : cannot_write(path, error);
}
