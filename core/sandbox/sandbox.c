/* core/sandbox/sandbox.c - the host's side of a run: asks the helper, collects output up to its limit; see sandbox.h.
 */
#include "core/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/plugin/helper.h"
#include "core/sandbox/box.h"

#define ERROR_BYTES ((size_t)64 * 1024)

const char *aira__sandbox_level_name(aira__sandbox_level level) {
    static const char *const names[] = {"none", "limits", "namespace", "cgroup"};
    return names[level];
}

const char *aira__sandbox_cause_name(aira__sandbox_cause cause) {
    static const char *const names[] = {"ok", "exit", "signal", "timeout", "memory", "output", "refused"};
    return names[cause];
}

static aira__sandbox_limits with_defaults(aira__sandbox_limits l) {
    if (l.wall_seconds <= 0) l.wall_seconds = 10;
    if (l.cpu_seconds <= 0) l.cpu_seconds = 10;
    if (l.memory <= 0) l.memory = (int64_t)512 << 20;
    if (l.disk <= 0) l.disk = (int64_t)64 << 20;
    if (l.output <= 0) l.output = (int64_t)16 << 20;
    if (l.processes <= 0) l.processes = 32;
    return l;
}

/* --- the request
 * ------------------------------------------------------------------------------------------------------ */

static void add_piece(aira__buf *b, const void *data, uint64_t n) {
    aira__buf_add(b, &n, sizeof n);
    aira__buf_add(b, data != NULL ? data : "", n);
    aira__buf_add(b, "", 1);
}

static void add_text(aira__buf *b, const char *text) { add_piece(b, text, strlen(text)); }

static aira_status write_request(const aira__sandbox_run *run, const aira__sandbox_limits *limits, aira__buf *b,
                                 aira_error *error) {
    aira__box_head head = {.wall_seconds = limits->wall_seconds,
                           .cpu_seconds = limits->cpu_seconds,
                           .memory = limits->memory,
                           .disk = limits->disk,
                           .processes = (uint32_t)limits->processes,
                           .compiler = run->compiler,
                           .unconfined = run->unconfined,
                           .single = run->single,
                           .n_files = (uint32_t)run->n_files};
    while (run->argv[head.n_arguments] != NULL) head.n_arguments++;
    if (head.n_arguments == 0 || head.n_arguments > AIRA__BOX_MAX_ARGUMENTS || run->n_files < 0 ||
        head.n_files > AIRA__BOX_MAX_FILES)
        return aira__fail(error, AIRA_E_FAILED, "a confined command has %u arguments and %d files, at most %u and %u",
                          head.n_arguments, run->n_files, AIRA__BOX_MAX_ARGUMENTS, AIRA__BOX_MAX_FILES);
    aira__buf_add(b, &head, sizeof head);
    for (uint32_t k = 0; k < head.n_arguments; k++) add_text(b, run->argv[k]);
    for (int k = 0; k < run->n_files; k++) {
        add_text(b, run->files[k].executable ? "x" : "-");
        add_text(b, run->files[k].path);
        add_piece(b, run->files[k].data, run->files[k].n);
    }
    add_piece(b, run->input, run->n_input);
    if (b->failed) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a confined command");
    head.bytes = b->size - sizeof head;
    memcpy(b->data, &head, sizeof head);
    if (head.bytes > AIRA__BOX_MAX_REQUEST)
        return aira__fail(error, AIRA_E_FAILED, "a confined command is handed more than %llu bytes",
                          (unsigned long long)AIRA__BOX_MAX_REQUEST);
    return AIRA_OK;
}

/* --- the conversation
 * -------------------------------------------------------------------------------------------------- */

typedef struct talk {
    int socket, out, err; /* -1: closed */
    const char *request;
    size_t left;
    aira__buf text, errors;
    size_t max_out;
    bool too_much, told;
    aira__box_note note;
    size_t n_note;
} talk;

static void close_end(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* One read; what is beyond max is dropped. false: nothing more will come. */
static bool take(int fd, aira__buf *b, size_t max, bool *too_much) {
    char bytes[65536];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (n <= 0) return false;
    size_t room = max - b->size, keep = (size_t)n < room ? (size_t)n : room;
    aira__buf_add(b, bytes, keep);
    if (keep < (size_t)n && too_much != NULL) *too_much = true;
    return true;
}

static void speak(talk *t, short happened) {
    if (happened & POLLOUT && t->left > 0) {
        ssize_t n = send(t->socket, t->request, t->left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            t->request += n;
            t->left -= (size_t)n;
        } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
            t->left = 0; /* the helper is gone; its silence tells */
        }
    }
    if (happened & (POLLIN | POLLHUP | POLLERR)) {
        ssize_t n = recv(t->socket, (char *)&t->note + t->n_note, sizeof t->note - t->n_note, MSG_DONTWAIT);
        if (n > 0) t->n_note += (size_t)n;
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN) || t->n_note == sizeof t->note)
            close_end(&t->socket);
    }
}

/* Until the helper has told its note or is gone, or the deadline has passed. */
static void converse(talk *t, double deadline) {
    while (t->socket >= 0) {
        double left = deadline - aira__now();
        if (left <= 0) break;
        struct pollfd on[3] = {{.fd = t->socket, .events = (short)(POLLIN | (t->left > 0 ? POLLOUT : 0))},
                               {.fd = t->out, .events = POLLIN},
                               {.fd = t->err, .events = POLLIN}};
        if (poll(on, 3, (int)(left * 1000) + 1) < 0 && errno != EINTR) break;
        if (on[1].revents && !take(t->out, &t->text, t->max_out, &t->too_much)) close_end(&t->out);
        if (on[2].revents && !take(t->err, &t->errors, ERROR_BYTES, NULL)) close_end(&t->err);
        if (on[0].revents) speak(t, on[0].revents);
        if (t->too_much && !t->told && t->socket >= 0)
            t->told = send(t->socket, "k", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
    }
    while (t->out >= 0 && !t->too_much && take(t->out, &t->text, t->max_out, &t->too_much)) continue;
    while (t->err >= 0 && take(t->err, &t->errors, ERROR_BYTES, NULL)) continue;
}

static aira_status start(talk *t, pid_t *pid, aira_error *error) {
    char path[PATH_MAX], *argv[] = {(char *)(uintptr_t) "aira-box", NULL}, *environment[] = {NULL};
    int sockets[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    aira_status status = aira__helper_find("aira-box", path, error);
    if (status != AIRA_OK) return status;
    int reason = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0 || pipe2(out, O_CLOEXEC) != 0 ||
        pipe2(err, O_CLOEXEC) != 0)
        reason = errno;
    if (reason == 0) {
        aira__helper_start how = {path, argv, environment, sockets[1], -1, out[1], err[1], "/"};
        reason = aira__helper_spawn(&how, pid);
    }
    close_end(&sockets[1]);
    close_end(&out[1]);
    close_end(&err[1]);
    t->socket = sockets[0];
    t->out = out[0];
    t->err = err[0];
    if (reason == 0) {
        fcntl(t->out, F_SETFL, O_NONBLOCK);
        fcntl(t->err, F_SETFL, O_NONBLOCK);
        return AIRA_OK;
    }
    return aira__fail(error, AIRA_E_FAILED, "cannot start %s: %s", path, strerror(reason));
}

/* --- the end
 * ------------------------------------------------------------------------------------------------------------ */

bool aira__sandbox_is_stop(aira__sandbox_cause cause) {
    return cause == AIRA_SANDBOX_TIMEOUT || cause == AIRA_SANDBOX_MEMORY || cause == AIRA_SANDBOX_OUTPUT ||
           cause == AIRA_SANDBOX_REFUSED;
}

static void judge(const talk *t, const aira__sandbox_limits *limits, aira__sandbox_result *r) {
    const aira__box_note *n = &t->note;
    r->exit_status = n->exit_status;
    r->signal = n->signal;
    r->cause = t->too_much                   ? AIRA_SANDBOX_OUTPUT
               : n->cause != AIRA_SANDBOX_OK ? (aira__sandbox_cause)n->cause
               : n->signal == SIGSYS         ? AIRA_SANDBOX_REFUSED
               : n->signal == SIGXCPU        ? AIRA_SANDBOX_TIMEOUT
               : n->signal != 0              ? AIRA_SANDBOX_SIGNAL
               : n->exit_status != 0         ? AIRA_SANDBOX_EXIT
                                             : AIRA_SANDBOX_OK;
    char *s = r->sentence;
    size_t size = sizeof r->sentence;
    switch (r->cause) {
    case AIRA_SANDBOX_OK:
        s[0] = 0;
        break;
    case AIRA_SANDBOX_EXIT:
        snprintf(s, size, "it ended with exit status %d", r->exit_status);
        break;
    case AIRA_SANDBOX_SIGNAL:
        snprintf(s, size, "it died of signal %d (%s)", r->signal, strsignal(r->signal));
        break;
    case AIRA_SANDBOX_TIMEOUT:
        snprintf(s, size, "it took more than %.3g seconds",
                 n->signal == SIGXCPU ? limits->cpu_seconds : limits->wall_seconds);
        break;
    case AIRA_SANDBOX_MEMORY:
        snprintf(s, size, "it used more than %lld MiB of memory", (long long)(limits->memory >> 20));
        break;
    case AIRA_SANDBOX_OUTPUT:
        snprintf(s, size, "it wrote more than %lld bytes of output", (long long)limits->output);
        break;
    case AIRA_SANDBOX_REFUSED:
        snprintf(s, size,
                 "it made a system call that is refused here (sockets, other processes, mounts, shared memory)");
        break;
    }
}

static aira_status collect(talk *t, const aira__sandbox_limits *limits, double begin, aira__sandbox_result *r,
                           aira_error *error) {
    if (t->n_note < sizeof t->note)
        return aira__fail(error, AIRA_E_FAILED, "the helper aira-box ended without a word: was it killed?");
    if (!t->note.ran && t->note.cause == AIRA_SANDBOX_OK) {
        t->note.text[sizeof t->note.text - 1] = 0;
        const char *said = t->errors.data != NULL ? t->errors.data : "";
        return aira__fail(error, AIRA_E_UNSUPPORTED, "foreign code cannot be confined here: %s%s%.*s", t->note.text,
                          t->note.text[0] != 0 && said[0] != 0 ? "; " : "", (int)strcspn(said, "\n"), said);
    }
    judge(t, limits, r);
    r->level = t->note.level <= AIRA_SANDBOX_CGROUP ? (aira__sandbox_level)t->note.level : AIRA_SANDBOX_NONE;
    r->seconds = t->note.started > 0 ? t->note.ended - t->note.started : 0;
    r->setup = aira__now() - begin - r->seconds;
    r->peak_memory = t->note.peak_memory;
    r->n_out = t->text.size;
    r->n_err = t->errors.size;
    r->out = aira__buf_take(&t->text);
    r->err = aira__buf_take(&t->errors);
    if (r->out != NULL && r->err != NULL) return AIRA_OK;
    aira__sandbox_result_release(r);
    return aira__fail(error, AIRA_E_MEMORY, "out of memory for the output of a confined command");
}

static aira_status run_at(const aira__sandbox_run *run, aira__sandbox_result *result, aira_error *error) {
    aira__sandbox_limits limits = with_defaults(run->limits);
    aira__buf request = {0};
    double begin = aira__now();
    memset(result, 0, sizeof *result);
    aira_status status = write_request(run, &limits, &request, error);
    talk t = {-1, -1, -1, request.data, request.size, .max_out = (size_t)limits.output};
    pid_t pid = 0;
    if (status == AIRA_OK) status = start(&t, &pid, error);
    if (status == AIRA_OK) {
        converse(&t, begin + limits.wall_seconds + 10); /* the helper keeps the time; this is for its own death */
        close_end(&t.socket);
        if (t.n_note < sizeof t.note) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
        status = collect(&t, &limits, begin, result, error);
    }
    close_end(&t.socket);
    close_end(&t.out);
    close_end(&t.err);
    aira__buf_free(&t.text);
    aira__buf_free(&t.errors);
    aira__buf_free(&request);
    return status;
}

void aira__sandbox_result_release(aira__sandbox_result *r) {
    free(r->out);
    free(r->err);
    r->out = r->err = NULL;
}

/* --- what this machine offers ------------------------------------------------------------------------------------- */

aira__sandbox_level aira__sandbox_available(char *reason, size_t size) {
    static const char *const nothing[] = {"aira-box", NULL};
    aira__sandbox_run run = {.argv = nothing};
    aira__sandbox_result result;
    aira_error error = {0};
    aira__sandbox_level level = AIRA_SANDBOX_NONE;
    aira_status status = run_at(&run, &result, &error);
    if (status == AIRA_OK && result.cause == AIRA_SANDBOX_OK) level = result.level;
    if (reason != NULL && size > 0) {
        const char *why = level != AIRA_SANDBOX_NONE ? "" : status != AIRA_OK ? error.text : result.sentence;
        snprintf(reason, size, "%s", why);
    }
    aira__sandbox_result_release(&result);
    return level;
}

aira_status aira__sandbox_run_command(const aira__sandbox_run *run, aira__sandbox_result *result, aira_error *error) {
    aira_error why = {0};
    aira__sandbox_run taken = *run;
    taken.unconfined = false; /* not taken where there is better */
    aira_status status = run_at(&taken, result, &why);
    if (status != AIRA_E_UNSUPPORTED) return status == AIRA_OK ? AIRA_OK : aira__fail(error, status, "%s", why.text);
    if (run->unconfined) return run_at(run, result, error);
    return aira__fail(error, AIRA_E_UNSUPPORTED,
                      "%.600s. Foreign code is refused on this machine: install bubblewrap and allow user name spaces, "
                      "or write unconfined: true beside the source if you trust it",
                      why.text);
}
