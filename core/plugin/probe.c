/* core/plugin/probe.c - the parent's side of the probe; see probe.h. */
#include "core/plugin/probe.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/plugin/helper.h"

/* Its environment: where libraries are found, and what sanitizers need; no secrets. */
static void pick_environment(char *kept[8]) {
    static const char *const names[] = {
        "LD_LIBRARY_PATH=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS="};
    int n = 0;
    for (char **e = environ; *e != NULL; e++)
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (n < 7 && strncmp(*e, names[i], strlen(names[i])) == 0) kept[n++] = *e;
    kept[n] = NULL;
}

static int start(const char *probe, const char *file, int theirs, pid_t *pid) {
    char *environment[8], *argv[] = {(char *)"aira-probe", (char *)(uintptr_t)file, NULL};
    pick_environment(environment);
    aira__helper_start how = {probe, argv, environment, theirs, -1, -1, -1, NULL};
    return aira__helper_spawn(&how, pid);
}

/* Collects the answer until the other end closes, the buffer is full or the deadline has passed. */
static size_t collect(int ours, char *answer, size_t room, double deadline) {
    size_t n = 0;
    while (n < room) {
        double left = deadline - aira__now();
        if (left <= 0) break;
        struct pollfd wait = {.fd = ours, .events = POLLIN};
        int ready = poll(&wait, 1, (int)(left * 1000) + 1);
        if (ready < 0 && errno != EINTR) break;
        if (ready <= 0) continue;
        ssize_t got = recv(ours, answer + n, room - n, MSG_DONTWAIT);
        if (got == 0) break;
        if (got > 0)
            n += (size_t)got;
        else if (errno != EINTR && errno != EAGAIN)
            break;
    }
    return n;
}

/* Waits for the end, at most until the deadline; then kills the group. false: it had to be killed. */
static bool finish(pid_t pid, double deadline, int *status) {
    bool in_time = true;
    for (long wait_ns = 50000;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid) break;
        if (got < 0 && errno != EINTR) {
            *status = -1;
            break;
        }
        if (in_time && aira__now() > deadline) {
            in_time = false;
            kill(-pid, SIGKILL);
        }
        nanosleep(&(struct timespec){0, wait_ns}, NULL);
        if (wait_ns < 5000000) wait_ns *= 2;
    }
    kill(-pid, SIGKILL); /* whatever it started */
    return in_time;
}

static void judge_end(const char *nonce, const char *answer, size_t n, int status, bool in_time, aira__verdict *v,
                      bool *lasting) {
    v->good = false;
    *lasting = true;
    if (!in_time) {
        *lasting = false;
        snprintf(v->reason, sizeof v->reason, "loading it took more than %d seconds", AIRA__PROBE_WALL_SECONDS);
    } else if (status == -1) {
        *lasting = false;
        snprintf(v->reason, sizeof v->reason,
                 "the end of its probe was not seen: another part of this program reaps "
                 "child processes");
    } else if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL)) {
        *lasting = WTERMSIG(status) == SIGXCPU;
        snprintf(v->reason, sizeof v->reason,
                 *lasting ? "loading it used more than %d seconds of CPU time: an endless loop?"
                          : "its probe was killed (%d seconds of CPU time, or out of memory)",
                 AIRA__PROBE_CPU_SECONDS);
    } else if (WIFSIGNALED(status)) {
        snprintf(v->reason, sizeof v->reason, "loading it crashes: %s", strsignal(WTERMSIG(status)));
    } else if (n < AIRA__PROBE_NONCE + 1 || memcmp(answer, nonce, AIRA__PROBE_NONCE) != 0) {
        snprintf(v->reason, sizeof v->reason,
                 "it left the probe early, with exit status %d: a constructor ends the "
                 "process",
                 WEXITSTATUS(status));
    } else if (WEXITSTATUS(status) != 0) {
        snprintf(v->reason, sizeof v->reason, "its probe ended with exit status %d", WEXITSTATUS(status));
    } else {
        const char *text = answer + AIRA__PROBE_NONCE;
        v->good = text[0] == 'g';
        *lasting = text[0] != 'm'; /* 'm': refused, but maybe only on this machine today */
        snprintf(v->reason, sizeof v->reason, "%.*s", v->good ? 0 : (int)(n - AIRA__PROBE_NONCE - 1), text + 1);
        for (char *c = v->reason; *c != 0; c++)
            if (*c == '\n') *c = ' ';
    }
}

aira_status aira__probe_run(const char *probe, const char *file, aira__verdict *verdict, bool *lasting,
                            aira_error *error) {
    char nonce[AIRA__PROBE_NONCE], answer[AIRA__PROBE_NONCE + 1 + sizeof verdict->reason];
    if (getrandom(nonce, sizeof nonce, 0) != (ssize_t)sizeof nonce)
        return aira__fail(error, AIRA_E_FAILED, "no random bytes for the probe: %s", strerror(errno));
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
        return aira__fail(error, AIRA_E_FAILED, "no socket for the probe: %s", strerror(errno));
    aira_status status = AIRA_OK;
    pid_t pid;
    int reason = start(probe, file, sockets[1], &pid);
    close(sockets[1]);
    if (reason != 0) {
        status = aira__fail(error, AIRA_E_FAILED, "cannot start %s: %s", probe, strerror(reason));
    } else {
        double deadline = aira__now() + AIRA__PROBE_WALL_SECONDS;
        if (send(sockets[0], nonce, sizeof nonce, MSG_NOSIGNAL) != (ssize_t)sizeof nonce)
            memset(answer, 0, sizeof answer); /* it is gone already: the exit status tells why */
        size_t n = collect(sockets[0], answer, sizeof answer, deadline);
        int end = 0;
        bool in_time = finish(pid, deadline, &end);
        judge_end(nonce, answer, n, end, in_time, verdict, lasting);
    }
    close(sockets[0]);
    return status;
}
