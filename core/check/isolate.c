/* isolate.c - the checks in a child process: a plugin under test may crash, hang or exit without taking the host along.
 *
 * The child sends one JSON object per line through a pipe; begin lines say which check runs, so that its death has a
 * place. The parent waits with a limit and then kills the child's process group.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/check/check.h"

/* --- child ----------------------------------------------------------------------------------------------------------
 */

static void send_line(int fd, const char *name, const char *verdict, const char *text) {
    json_t *line = json_pack("{s:s, s:s, s:s}", "name", name, "verdict", verdict, "text", text);
    char *bytes = line ? aira__json_canonical(line) : NULL;
    json_decref(line);
    if (!bytes) _exit(3);
    size_t size = strlen(bytes);
    bytes[size] = '\n'; /* in place of the zero byte: written with its length */
    for (size_t done = 0; done < size + 1;) {
        ssize_t n = write(fd, bytes + done, size + 1 - done);
        if (n < 0 && errno != EINTR) _exit(3);
        if (n > 0) done += (size_t)n;
    }
    free(bytes);
}

static void child_begin(void *context, const char *name) { send_line(*(int *)context, name, "begin", ""); }
static void child_verdict(void *context, const char *name, aira__verdict verdict, const char *text) {
    send_line(*(int *)context, name, aira__verdict_name(verdict), text);
}

static void child(aira__registry *registry, const aira__check_options *options, int fd) {
    aira_error error = {0};
    aira__check_sink sink = {&fd, child_begin, child_verdict};
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no orphan that hangs for ever */
    aira_status status = aira__check_run(registry, options, &sink, &error);
    if (status) send_line(fd, "", status == AIRA_E_CONFIG ? "bad" : "error", error.text);
    send_line(fd, "", "end", "");
    _exit(0);
}

/* --- parent ---------------------------------------------------------------------------------------------------------
 */

typedef struct reader {
    aira__check_report *report;
    char current[32];
    bool ended;
    aira_status status;
    aira_error *error;
} reader;

static void add(reader *r, const char *name, aira__verdict verdict, const char *text) {
    aira__check_report *report = r->report;
    if (verdict == AIRA_CHECK_FAIL) report->passed = false;
    if (report->n == (int)(sizeof report->lines / sizeof *report->lines)) return;
    aira__check_line *line = &report->lines[report->n++];
    snprintf(line->name, sizeof line->name, "%s", name);
    snprintf(line->text, sizeof line->text, "%s", text);
    line->verdict = verdict;
}

static void take_line(reader *r, const char *bytes, size_t n) {
    json_t *line = aira__json_parse(bytes, n, "the check's pipe", NULL);
    const char *name = aira__json_string(line, "name", ""), *verdict = aira__json_string(line, "verdict", "");
    const char *text = aira__json_string(line, "text", "");
    if (strcmp(verdict, "begin") == 0) snprintf(r->current, sizeof r->current, "%s", name);
    if (strcmp(verdict, "end") == 0) r->ended = true;
    if (strcmp(verdict, "bad") == 0) r->status = aira__fail(r->error, AIRA_E_CONFIG, "%s", text);
    if (strcmp(verdict, "error") == 0) r->status = aira__fail(r->error, AIRA_E_FAILED, "%s", text);
    for (int k = 0; k < 3; k++) {
        if (strcmp(verdict, aira__verdict_name((aira__verdict)k)) == 0) add(r, name, (aira__verdict)k, text);
    }
    json_decref(line);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reads lines until the pipe closes or the time is up; false in the latter case. */
static bool read_lines(reader *r, int fd, double seconds) {
    aira__buf buffer = {0};
    double deadline = now() + seconds;
    bool in_time = true;
    for (;;) {
        double left = deadline - now();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        char bytes[4096];
        if (left <= 0) {
            in_time = false;
            break;
        }
        if (poll(&wait, 1, (int)(left * 1000) + 1) <= 0) continue;
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        aira__buf_add(&buffer, bytes, (size_t)n);
        char *newline;
        while (buffer.data && (newline = memchr(buffer.data, '\n', buffer.size))) {
            size_t length = (size_t)(newline - buffer.data);
            take_line(r, buffer.data, length);
            memmove(buffer.data, newline + 1, buffer.size - length - 1);
            buffer.size -= length + 1;
        }
    }
    aira__buf_free(&buffer);
    return in_time;
}

static void judge(reader *r, bool in_time, int status, double seconds) {
    const char *during = r->current[0] ? r->current : "start";
    char text[256];
    if (r->ended) return;
    if (!in_time)
        snprintf(text, sizeof text, "still busy after %.0f s in check %s; killed", seconds, during);
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "died of signal %d (%s) in check %s", WTERMSIG(status), strsignal(WTERMSIG(status)),
                 during);
    else
        snprintf(text, sizeof text, "ended the process with status %d in check %s", WEXITSTATUS(status), during);
    add(r, "survives", AIRA_CHECK_FAIL, text);
}

aira_status aira__check_isolated(aira__registry *registry, const aira__check_options *options,
                                 aira__check_report *report, aira_error *error) {
    int ends[2], status = 0;
    double seconds = options->seconds > 0 ? options->seconds : 120;
    memset(report, 0, sizeof *report);
    report->passed = true;
    const aira__plugin_entry *entry;
    const char *path;
    aira_status located = aira__check_locate(registry, options->target, &entry, &path, error);
    if (located) return located;
    snprintf(report->path, sizeof report->path, "%s", path);
    if (pipe(ends)) return aira__fail(error, AIRA_E_IO, "no pipe for the check: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return aira__fail(error, AIRA_E_FAILED, "no process for the check: %s", strerror(errno));
    }
    if (pid == 0) {
        close(ends[0]);
        child(registry, options, ends[1]);
    }
    setpgid(pid, pid); /* also here: the child may not have run yet */
    close(ends[1]);
    reader r = {.report = report, .error = error};
    bool in_time = read_lines(&r, ends[0], seconds);
    close(ends[0]);
    if (!in_time) kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    judge(&r, in_time, status, seconds);
    return r.status;
}
