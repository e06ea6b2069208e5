/* tools/aira-supervise.c - runs one command for the host and leaves nothing behind; see core/plugin/process.h.
 *
 * Started by the host only: aira-supervise SECONDS BYTES COMMAND [ARGUMENT...], with a socket as descriptor 3. Any
 * packet from the host, or the end of the socket, kills the command. SECONDS 0 and BYTES 0 mean no limit.
 *
 * The command is a process group of its own. The supervisor is the reaper of all its descendants, so those that left
 * the group are found as adopted children when the command has ended, and are killed as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/plugin/helper.h"
#include "core/plugin/process.h"

static void tell(uint32_t what, int a, int b, int timed_out) {
    aira__supervise_note note = {what, a, b, (uint32_t)timed_out};
    /* Without a host there is nobody to tell. */
    if (send(AIRA__HELPER_SOCKET, &note, sizeof note, MSG_NOSIGNAL) < 0) return;
}

/* In the child: becomes the command, or writes errno into the pipe. */
static void become(char **command, double bytes, pid_t supervisor, int report) {
    sigset_t none;
    sigemptyset(&none);
    int bad = setpgid(0, 0) | prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    struct rlimit no_core = {0, 0};
    bad |= setrlimit(RLIMIT_CORE, &no_core);
    if (bytes > 0) {
        struct rlimit memory = {(rlim_t)bytes, (rlim_t)bytes};
        bad |= setrlimit(RLIMIT_DATA, &memory);
    }
    bad |= sigprocmask(SIG_SETMASK, &none, NULL);
    if (bad == 0 && getppid() == supervisor) execvp(command[0], command);
    int reason = errno;
    if (write(report, &reason, sizeof reason) < 0) _exit(126);
    _exit(127);
}

/* Starts the command; its pid, or -1 with errno set. */
static pid_t start(char **command, double bytes) {
    int report[2], reason = 0;
    pid_t supervisor = getpid();
    if (pipe2(report, O_CLOEXEC) != 0) return -1;
    pid_t child = fork();
    if (child == 0) become(command, bytes, supervisor, report[1]);
    reason = errno;
    close(report[1]);
    ssize_t got = 0;
    if (child > 0) {
        do got = read(report[0], &reason, sizeof reason);
        while (got < 0 && errno == EINTR);
    }
    close(report[0]);
    if (child > 0 && got == 0) return child;
    if (child > 0) waitpid(child, NULL, 0);
    errno = reason;
    return -1;
}

/* Kills what the command left outside its group: adopted children, until there are none. */
static void sweep(void) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int round = 0; round < 1000; round++) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        FILE *file = fopen(path, "re");
        if (file == NULL) return;
        char *line = fgets(text, sizeof text, file);
        fclose(file);
        if (line == NULL) return;
        for (char *end; *line != 0; line = end) {
            long pid = strtol(line, &end, 10);
            if (end == line) break;
            kill((pid_t)pid, SIGKILL);
        }
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

/* Until the command has ended; its wait status. */
static int watch(pid_t child, int signals, double seconds, int *timed_out) {
    double deadline = aira__now() + seconds;
    bool listening = true;
    for (int status;;) {
        double left = deadline - aira__now();
        int wait_ms = seconds > 0 && !*timed_out ? (left < 0     ? 0
                                                    : left > 1e6 ? 1000000000
                                                                 : (int)(left * 1000) + 1)
                                                 : -1;
        struct pollfd on[2] = {{.fd = signals, .events = POLLIN},
                               {.fd = listening ? AIRA__HELPER_SOCKET : -1, .events = POLLIN}};
        poll(on, 2, wait_ms);
        struct signalfd_siginfo info;
        if (on[0].revents != 0 && read(signals, &info, sizeof info) < 0 && errno != EAGAIN) kill(-child, SIGKILL);
        for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) != 0;) {
            if (ended == child) return status;
            if (ended < 0 && errno != EINTR) return SIGKILL;
        }
        if (on[1].revents != 0) {
            char byte;
            listening = recv(AIRA__HELPER_SOCKET, &byte, 1, MSG_DONTWAIT) > 0;
            kill(-child, SIGKILL);
        }
        if (seconds > 0 && !*timed_out && aira__now() >= deadline) {
            *timed_out = 1;
            kill(-child, SIGKILL);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fputs("usage: aira-supervise SECONDS BYTES COMMAND...; started by aira, with a socket as descriptor 3\n",
              stderr);
        return 2;
    }
    double seconds = strtod(argv[1], NULL), bytes = strtod(argv[2], NULL);
    sigset_t all, chld;
    sigfillset(&all);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    int bad = sigprocmask(SIG_SETMASK, &all, NULL) | prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) |
              fcntl(AIRA__HELPER_SOCKET, F_SETFD, FD_CLOEXEC);
    int signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    bad |= close_range(AIRA__HELPER_SOCKET + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    pid_t child = bad == 0 && signals >= 0 ? start(argv + 3, bytes) : -1;
    if (child < 0) {
        tell(AIRA__SUPERVISE_NOT_STARTED, errno, 0, 0);
        return 1;
    }
    close_range(0, 2, 0); /* the host must see the end of its pipes when the command has ended */
    tell(AIRA__SUPERVISE_STARTED, 0, 0, 0);
    int timed_out = 0;
    int status = watch(child, signals, seconds, &timed_out);
    kill(-child, SIGKILL);
    sweep();
    tell(AIRA__SUPERVISE_ENDED, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
         WIFSIGNALED(status) ? WTERMSIG(status) : 0, timed_out);
    return 0;
}
