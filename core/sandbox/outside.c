/* core/sandbox/outside.c - the helper's own part: takes the request, starts the child, watches it; see box.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/plugin/helper.h"
#include "core/sandbox/box.h"

#define TICK_MS 5

typedef struct watch {
    const aira__box_request *request;
    aira__box_note note;
    pid_t child;
    int signals, started, report;
    char cgroup[AIRA__BOX_CGROUP];
    char folder[64]; /* "": name spaces are used */
} watch;

/* --- the request
 * ------------------------------------------------------------------------------------------------------ */

static bool receive(void *data, uint64_t n) {
    for (uint64_t done = 0; done < n;) {
        ssize_t got = recv(AIRA__HELPER_SOCKET, (char *)data + done, n - done, 0);
        if (got == 0 || (got < 0 && errno != EINTR)) return false;
        if (got > 0) done += (uint64_t)got;
    }
    return true;
}

typedef struct cursor {
    char *at;
    uint64_t left;
    bool bad;
} cursor;

/* The next piece; its content is followed by a zero byte that its length does not count. */
static char *piece(cursor *c, uint64_t *n) {
    uint64_t length = 0;
    if (c->left >= sizeof length) memcpy(&length, c->at, sizeof length);
    if (c->left < sizeof length || length >= c->left - sizeof length || c->at[sizeof length + length] != 0) {
        c->bad = true;
        return NULL;
    }
    char *content = c->at + sizeof length;
    c->at += sizeof length + length + 1;
    c->left -= sizeof length + length + 1;
    if (n != NULL) *n = length;
    return content;
}

static bool take_request(aira__box_request *r) {
    memset(r, 0, sizeof *r);
    if (!receive(&r->head, sizeof r->head) || r->head.bytes > AIRA__BOX_MAX_REQUEST) return false;
    if (r->head.n_arguments == 0 || r->head.n_arguments > AIRA__BOX_MAX_ARGUMENTS) return false;
    if (r->head.n_files > AIRA__BOX_MAX_FILES) return false;
    char *block = malloc(r->head.bytes + 1); /* lives as long as the helper */
    if (block == NULL || !receive(block, r->head.bytes)) return false;
    cursor c = {block, r->head.bytes, false};
    for (uint32_t k = 0; k < r->head.n_arguments; k++) r->arguments[k] = piece(&c, NULL);
    for (uint32_t k = 0; k < r->head.n_files; k++) {
        uint64_t n = 0;
        const char *mode = piece(&c, NULL);
        r->files[k].executable = mode != NULL && mode[0] == 'x';
        r->files[k].path = piece(&c, NULL);
        r->files[k].data = piece(&c, &n);
        r->files[k].n = n;
    }
    r->input = piece(&c, &r->n_input);
    return !c.bad && c.left == 0;
}

/* --- starting -------------------------------------------------------------------------------------------------------
 */

static bool make_folder(watch *w) {
    snprintf(w->folder, sizeof w->folder, "/tmp/aira-box-XXXXXX");
    if (mkdtemp(w->folder) == NULL) {
        w->folder[0] = 0;
        return false;
    }
    return geteuid() != 0 || chown(w->folder, 65534, 65534) == 0 ||
           errno == EINVAL; /* no such user in this name space */
}

static bool start(watch *w) {
    int started[2], report[2];
    const aira__box_head *h = &w->request->head;
    if (pipe2(started, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0) return false;
    if (h->unconfined && !make_folder(w)) return false;
    /* bubblewrap itself and the first program inside are counted as well */
    bool grouped = !h->single && aira__box_cgroup_open(h->memory, (int)h->processes + 4, w->cgroup);
    w->note.level = h->unconfined ? AIRA_SANDBOX_LIMITS : grouped ? AIRA_SANDBOX_CGROUP : AIRA_SANDBOX_NAMESPACE;
    w->child = fork();
    if (w->child == 0) {
        fcntl(started[1], F_SETFD, 0);
        aira__box_become(w->request, started[1], report[1], w->cgroup, w->folder[0] != 0 ? w->folder : NULL);
        _exit(127);
    }
    close(started[1]);
    close(report[1]);
    w->started = started[0];
    w->report = report[0];
    fcntl(w->started, F_SETFL, O_NONBLOCK);
    return w->child > 0;
}

/* --- watching -------------------------------------------------------------------------------------------------------
 */

static void end_with(watch *w, aira__sandbox_cause cause) {
    if (w->note.cause == AIRA_SANDBOX_OK) w->note.cause = cause;
    kill(w->child, SIGKILL); /* with bubblewrap, everything in its process name space dies as well */
}

static void look(watch *w) {
    char byte;
    aira__box_usage usage;
    if (w->note.started == 0 && read(w->started, &byte, 1) == 1) w->note.started = aira__now();
    aira__box_measure(w->child, &usage);
    if (usage.memory > w->note.peak_memory) w->note.peak_memory = usage.memory;
    if (usage.memory > w->request->head.memory || (w->cgroup[0] != 0 && aira__box_cgroup_ran_out(w->cgroup)))
        end_with(w, AIRA_SANDBOX_MEMORY);
    /* inside a user name space the kernel counts; without one it would count the user's other processes, too */
    if (w->folder[0] != 0 && usage.processes > (int)w->request->head.processes) end_with(w, AIRA_SANDBOX_REFUSED);
}

/* Until the child has ended; its wait status. */
static int watch_child(watch *w) {
    double begin = aira__now();
    bool listening = true;
    for (;;) {
        struct pollfd on[3] = {{.fd = w->signals, .events = POLLIN},
                               {.fd = listening ? AIRA__HELPER_SOCKET : -1, .events = POLLIN},
                               {.fd = w->note.started == 0 ? w->started : -1, .events = POLLIN}};
        poll(on, 3, TICK_MS);
        struct signalfd_siginfo info;
        if (on[0].revents != 0 && read(w->signals, &info, sizeof info) < 0 && errno != EAGAIN) end_with(w, 0);
        int status;
        for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) != 0;) {
            if (ended == w->child) return status;
            if (ended < 0 && errno != EINTR) return SIGKILL;
        }
        look(w);
        if (on[1].revents != 0) {
            listening = false;
            end_with(w, AIRA_SANDBOX_OK);
        }
        double from = w->note.started > 0 ? w->note.started : begin;
        if (aira__now() - from >= w->request->head.wall_seconds) end_with(w, AIRA_SANDBOX_TIMEOUT);
    }
}

static void finish(watch *w, int status) {
    char byte;
    w->note.ended = aira__now();
    if (w->note.started == 0 && read(w->started, &byte, 1) == 1) w->note.started = w->note.ended;
    ssize_t n = read(w->report, w->note.text, sizeof w->note.text - 1);
    w->note.ran = w->note.started != 0 && n <= 0;
    if (n < 0) w->note.text[0] = 0;
    if (WIFSIGNALED(status)) {
        w->note.exit_status = -1;
        w->note.signal = WTERMSIG(status);
    } else {
        w->note.exit_status = WEXITSTATUS(status);
        if (w->note.exit_status > 128 && w->note.exit_status < 128 + 65 && w->folder[0] == 0) {
            w->note.signal = w->note.exit_status - 128; /* bubblewrap says it this way */
            w->note.exit_status = -1;
        }
    }
    if (w->cgroup[0] != 0 && w->note.cause == AIRA_SANDBOX_OK && aira__box_cgroup_ran_out(w->cgroup))
        w->note.cause = AIRA_SANDBOX_MEMORY;
}

/* The kernel takes milliseconds to let go of a group, and nobody has to wait for that. */
static void close_group(const watch *w) {
    pid_t pid = fork();
    if (pid > 0) return;
    aira__box_cgroup_close(w->cgroup);
    if (pid == 0) _exit(0);
}

int aira__box_outside(void) {
    static aira__box_request request;
    watch w = {.request = &request};
    aira_error error;
    sigset_t all, chld;
    sigfillset(&all);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    int bad = close_range(AIRA__HELPER_SOCKET + 1, ~0u, 0) | fcntl(AIRA__HELPER_SOCKET, F_SETFD, FD_CLOEXEC) |
              sigprocmask(SIG_SETMASK, &all, NULL) | prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    w.signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (bad != 0 || w.signals < 0 || !take_request(&request)) return 3;
    if (start(&w)) {
        close_range(0, 2, 0); /* the host must see the end of its pipes when everything inside has ended */
        int status = watch_child(&w);
        finish(&w, status);
    } else {
        snprintf(w.note.text, sizeof w.note.text, "%s", strerror(errno));
    }
    aira__box_kill_children();
    if (w.cgroup[0] != 0) close_group(&w);
    if (w.folder[0] != 0 && aira__remove_tree(w.folder, &error) != AIRA_OK)
        snprintf(w.note.text, sizeof w.note.text, "%.190s", error.text);
    return send(AIRA__HELPER_SOCKET, &w.note, sizeof w.note, MSG_NOSIGNAL) == (ssize_t)sizeof w.note ? 0 : 4;
}
