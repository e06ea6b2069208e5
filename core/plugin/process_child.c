/* core/plugin/process_child.c - see process_child.h.
 *
 * Input is handed over as an anonymous file, not through a pipe: a command that does not read it can neither block the
 * host nor raise SIGPIPE in it.
 */
#include "core/plugin/process_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/plugin/helper.h"

#define OUTPUT_BYTES ((uint64_t)16 << 20)
#define MAX_ENV 256u

/* A caller's older, shorter struct reads as zeros at its end. */
static aira_process_limits take_limits(const aira_process_limits *given) {
    aira_process_limits limits = {.size = sizeof limits};
    if (given != NULL) memcpy(&limits, given, given->size < sizeof limits ? given->size : sizeof limits);
    return limits;
}

static bool take_environment(const aira_process_limits *limits, char *kept[MAX_ENV + 5], aira_error *error) {
    static const char *const names[] = {"PATH=", "HOME=", "LANG=", "TMPDIR="};
    unsigned n = 0;
    for (char **e = environ; *e != NULL; e++)
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (n < 4 && strncmp(*e, names[i], strlen(names[i])) == 0) kept[n++] = *e;
    if (limits->n_env > MAX_ENV) {
        aira__fail(error, AIRA_E_CONFIG, "%u environment variables, at most %u are possible", limits->n_env, MAX_ENV);
        return false;
    }
    for (uint32_t i = 0; i < limits->n_env; i++) {
        const char *entry = limits->env[i], *equals = entry != NULL ? strchr(entry, '=') : NULL;
        if (equals == NULL || equals == entry) {
            aira__fail(error, AIRA_E_CONFIG, "environment entry %u is not of the form NAME=value", i);
            return false;
        }
        unsigned at = 0; /* a given one replaces an inherited one */
        while (at < n && strncmp(kept[at], entry, (size_t)(equals - entry) + 1) != 0) at++;
        kept[at] = (char *)(uintptr_t)entry;
        if (at == n) n++;
    }
    kept[n] = NULL;
    return true;
}

/* Opens path for appending output, above descriptor 3. -1 after an error. */
static int open_output(const char *path, aira_error *error) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) aira__fail(error, AIRA_E_IO, "cannot write %s: %s", path, strerror(errno));
    return file;
}

/* The first packet: it runs, or why it does not. */
static aira_status await_start(const char *command, const aira__child *c, aira_error *error) {
    aira__supervise_note note;
    ssize_t n;
    do n = recv(c->socket, &note, sizeof note, 0);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof note && note.what == AIRA__SUPERVISE_STARTED) return AIRA_OK;
    if (n == (ssize_t)sizeof note && note.what == AIRA__SUPERVISE_NOT_STARTED)
        return aira__fail(error, AIRA_E_FAILED, "cannot start '%s': %s", command, strerror(note.a));
    return aira__fail(error, AIRA_E_FAILED, "cannot start '%s': its supervisor ended at once", command);
}

aira_status aira__child_start(const char *const *argv, uint32_t n_argv, const aira_process_limits *given,
                              aira__child_files files, aira__child *c, aira_error *error) {
    aira_process_limits limits = take_limits(given);
    char path[PATH_MAX], seconds[32], bytes[32], *environment[MAX_ENV + 5];
    if (n_argv == 0 || argv[0] == NULL || argv[0][0] == 0)
        return aira__fail(error, AIRA_E_CONFIG, "an empty command line cannot be started");
    aira_status status = aira__helper_find("aira-supervise", path, error);
    if (status != AIRA_OK) return status;
    if (!take_environment(&limits, environment, error)) return AIRA_E_CONFIG;
    snprintf(seconds, sizeof seconds, "%.6f", limits.seconds > 0 ? limits.seconds : 0.0);
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)limits.memory_bytes);

    char **command = calloc((size_t)n_argv + 4, sizeof *command);
    int sockets[2] = {-1, -1}, out = -1, err = -1;
    if (command == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while starting %s", argv[0]);
    command[0] = (char *)(uintptr_t) "aira-supervise";
    command[1] = seconds;
    command[2] = bytes;
    for (uint32_t i = 0; i < n_argv; i++) command[3 + i] = (char *)(uintptr_t)argv[i];
    if (files.out < 0 && limits.stdout_path != NULL && (out = open_output(limits.stdout_path, error)) < 0)
        status = AIRA_E_IO;
    if (status == AIRA_OK && limits.stderr_path != NULL && (err = open_output(limits.stderr_path, error)) < 0)
        status = AIRA_E_IO;
    if (status == AIRA_OK && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
        status = aira__fail(error, AIRA_E_FAILED, "no socket for a child process: %s", strerror(errno));
    if (status == AIRA_OK) {
        int inherited = fcntl(2, F_GETFD) >= 0 ? 2 : -1; /* the host's standard error may be closed */
        aira__helper_start how = {path,
                                  command,
                                  environment,
                                  sockets[1],
                                  files.in,
                                  files.out >= 0 ? files.out : out,
                                  err >= 0 ? err : inherited,
                                  limits.cwd};
        int reason = aira__helper_spawn(&how, &c->pid);
        if (reason != 0)
            status = aira__fail(error, AIRA_E_FAILED, "cannot start '%s'%s%s: %s", argv[0],
                                limits.cwd != NULL ? " in " : "", limits.cwd != NULL ? limits.cwd : "",
                                strerror(reason));
    }
    if (sockets[1] >= 0) close(sockets[1]);
    if (out >= 0) close(out);
    if (err >= 0) close(err);
    free(command);
    if (status != AIRA_OK) {
        if (sockets[0] >= 0) close(sockets[0]);
        return status;
    }
    c->socket = sockets[0];
    status = await_start(argv[0], c, error);
    if (status != AIRA_OK) aira__child_stop(c);
    return status;
}

void aira__child_stop(aira__child *c) {
    close(c->socket); /* the supervisor kills its group */
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

void aira__child_ended(aira_process_state *state, const aira__supervise_note *note) {
    state->running = 0;
    state->exit_status = note != NULL ? note->a : -1;
    state->signal = note != NULL ? note->b : SIGKILL;
    state->timed_out = note != NULL ? note->timed_out : 0;
}

/* An anonymous file that holds the input, at its beginning; -1 where there is none or after an error. */
static int input_file(const void *input, uint64_t n, aira_error *error) {
    int file = memfd_create("aira-input", MFD_CLOEXEC);
    const char *from = input;
    for (uint64_t done = 0; file >= 0 && done < n;) {
        ssize_t wrote = write(file, from + done, n - done);
        if (wrote >= 0) {
            done += (uint64_t)wrote;
        } else if (errno != EINTR) {
            int reason = errno;
            close(file);
            errno = reason;
            file = -1;
        }
    }
    if (file < 0 || lseek(file, 0, SEEK_SET) != 0)
        aira__fail(error, AIRA_E_FAILED, "cannot hold the input of a command: %s", strerror(errno));
    return file;
}

/* Reads what is there; false at the end of the output. */
static bool collect(int from, aira__child_io *io, size_t *room, uint64_t limit) {
    for (;;) {
        if (io->n_output == *room) {
            size_t grown = *room > 0 ? 2 * *room : 65536;
            if (grown > limit + 1) grown = (size_t)limit + 1;
            char *data = grown > *room ? realloc(io->output, grown) : NULL;
            if (data == NULL) return false; /* over the limit, or no memory: n_output tells which */
            io->output = data;
            *room = grown;
        }
        ssize_t n = read(from, io->output + io->n_output, *room - io->n_output);
        if (n > 0)
            io->n_output += (size_t)n;
        else if (n == 0)
            return false;
        else if (errno != EINTR)
            return errno == EAGAIN;
    }
}

/* Until the command has ended and its output is read. */
static aira_status follow(const char *command, aira__child *c, int output, uint64_t limit, aira__child_io *io,
                          aira_error *error) {
    size_t room = 0;
    aira_status status = AIRA_OK;
    bool reading = output >= 0, running = true;
    while (running) {
        struct pollfd on[2] = {{.fd = c->socket, .events = POLLIN}, {.fd = reading ? output : -1, .events = POLLIN}};
        poll(on, 2, io->cancelled != NULL ? 20 : 1000);
        if (on[0].revents != 0) {
            aira__supervise_note note;
            ssize_t n = recv(c->socket, &note, sizeof note, MSG_DONTWAIT);
            if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
                aira__child_ended(&io->state, n == (ssize_t)sizeof note ? &note : NULL);
                running = false;
            }
        }
        if (reading && (on[1].revents != 0 || !running)) reading = collect(output, io, &room, limit);
        bool too_much = io->n_output > limit;
        bool stop = too_much || (io->cancelled != NULL && running && io->cancelled(io->context) != 0);
        if (status != AIRA_OK || !stop) continue;
        status = too_much ? aira__fail(error, AIRA_E_FAILED, "'%s' wrote more than %llu bytes", command,
                                       (unsigned long long)limit)
                          : aira__fail(error, AIRA_E_CANCELLED, "'%s' was cancelled", command);
        if (running && send(c->socket, "k", 1, MSG_NOSIGNAL) < 0) kill(c->pid, SIGKILL);
    }
    return status;
}

aira_status aira__child_run(const char *const *argv, uint32_t n_argv, const aira_process_limits *given,
                            aira__child_io *io, aira_error *error) {
    aira_process_limits limits = take_limits(given);
    uint64_t limit = limits.output_bytes > 0 ? limits.output_bytes : OUTPUT_BYTES;
    aira__child_files files = {-1, -1};
    aira__child c;
    int output[2] = {-1, -1};
    io->state = (aira_process_state){.size = sizeof io->state, .exit_status = -1};
    if (io->n_input > 0 && (files.in = input_file(io->input, io->n_input, error)) < 0) return AIRA_E_FAILED;
    aira_status status = AIRA_OK;
    if (limits.stdout_path == NULL && (pipe2(output, O_CLOEXEC) != 0 || fcntl(output[0], F_SETFL, O_NONBLOCK) != 0))
        status = aira__fail(error, AIRA_E_FAILED, "no pipe for '%s': %s", argv[0], strerror(errno));
    files.out = output[1];
    if (status == AIRA_OK) status = aira__child_start(argv, n_argv, &limits, files, &c, error);
    if (files.in >= 0) close(files.in);
    if (output[1] >= 0) close(output[1]);
    if (status == AIRA_OK) {
        status = follow(argv[0], &c, output[0], limit, io, error);
        aira__child_stop(&c);
        if (status == AIRA_OK && io->state.timed_out)
            status = aira__fail(error, AIRA_E_TIMEOUT, "'%s' took more than %g seconds and was killed", argv[0],
                                limits.seconds);
    }
    if (output[0] >= 0) close(output[0]);
    return status;
}
