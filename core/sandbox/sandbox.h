/* core/sandbox/sandbox.h - runs one command where it can reach nothing: foreign code is compiled and traced in here.
 *
 * A run sees the system's compiler and libraries (or only the libraries that the command needs), read-only, the files
 * that it was handed, and a private /box and /tmp of limited size that vanish with it. It has no network, no
 * environment, no other process, no descriptor but 0, 1 and 2, no capability, a filter on system calls, and limits on
 * wall time, CPU time, memory, processes and output. Nothing of the host's file system can be written to; what it
 * gives back is its standard output and its standard error, cut at a limit, and nothing that it says is believed.
 *
 * The helper program aira-box stands between host and command: it drops root, sets limits, starts bubblewrap, watches
 * the memory of everything inside, and kills all of it when a limit is reached, when told to, or when the host dies.
 *
 * Threads: any number of runs at once.
 */
#ifndef AIRA_SANDBOX_SANDBOX_H
#define AIRA_SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

/* What stands between the code and this machine. */
typedef enum {
    AIRA_SANDBOX_NONE,      /* nothing works here: nothing is run */
    AIRA_SANDBOX_LIMITS,    /* limits and the filter alone; files can be read. Only where `unconfined` asks for it */
    AIRA_SANDBOX_NAMESPACE, /* namespaces, filter, limits; memory is watched from outside */
    AIRA_SANDBOX_CGROUP     /* the same, and the kernel bounds memory and processes of the whole run */
} aira__sandbox_level;
const char *aira__sandbox_level_name(aira__sandbox_level); /* "none", "limits", "namespace", "cgroup" */

typedef enum {
    AIRA_SANDBOX_OK,      /* exit status 0 */
    AIRA_SANDBOX_EXIT,    /* another exit status */
    AIRA_SANDBOX_SIGNAL,  /* it crashed or killed itself */
    AIRA_SANDBOX_TIMEOUT, /* wall or CPU time */
    AIRA_SANDBOX_MEMORY,
    AIRA_SANDBOX_OUTPUT, /* more output than allowed */
    AIRA_SANDBOX_REFUSED /* it made a system call that is answered with death (sockets, ptrace, mounts, ...) */
} aira__sandbox_cause;
bool aira__sandbox_is_stop(aira__sandbox_cause);           /* a limit or a refused call: it did not end by itself */
const char *aira__sandbox_cause_name(aira__sandbox_cause); /* "ok", "exit", "signal", "timeout", "memory", "output",
                                                              "refused" */

typedef struct aira__sandbox_file {
    const char *path; /* absolute, inside: "/box/mechanism.c" (writable), "/aira/..." (read-only) */
    const void *data;
    size_t n;
    bool executable;
} aira__sandbox_file;

typedef struct aira__sandbox_limits { /* 0: the default in brackets */
    double wall_seconds;              /* [10] */
    double cpu_seconds;               /* [10] of one process */
    int64_t memory;                   /* bytes, all processes together [512 MiB] */
    int64_t disk;                     /* bytes of /box, and of /tmp [64 MiB] */
    int64_t output;                   /* bytes of standard output [16 MiB]; standard error: 64 KiB, then cut */
    int processes;                    /* [32] */
} aira__sandbox_limits;

typedef struct aira__sandbox_run {
    const char *const *argv; /* NULL-terminated; argv[0] is a path inside. "aira-box" is the helper itself */
    const aira__sandbox_file *files;
    int n_files;
    const void *input; /* standard input */
    size_t n_input;
    bool compiler;   /* the system's compilers, headers and libraries are there; else only libraries of aira-box */
    bool single;     /* the command cannot start processes (trace): the limit on its own addresses is enough, and no
                        control group is made, which takes milliseconds */
    bool unconfined; /* run with limits and filter only where there are no namespaces; files are then in a temporary
                        folder which replaces the prefix "/box" and "/aira" of paths and arguments */
    aira__sandbox_limits limits;
} aira__sandbox_run;

typedef struct aira__sandbox_result {
    aira__sandbox_cause cause;
    aira__sandbox_level level;
    int exit_status, signal;
    double seconds;      /* wall time of the command, by our clock */
    double setup;        /* wall time of everything around it: what confinement costs */
    int64_t peak_memory; /* bytes, as seen by the watch; 0: it ended before the first look */
    char *out, *err;     /* malloc'ed, zero-terminated */
    size_t n_out, n_err;
    char sentence[256]; /* what ended it, in words; "" when ok */
} aira__sandbox_result;

/* Can foreign code be confined here? reason (may be NULL) says what is missing. Found out by running a command inside.
 */
aira__sandbox_level aira__sandbox_available(char *reason, size_t size);

/* Runs the command to its end. AIRA_OK: it was run, result tells how it ended (whatever the cause). An error: it could
   not be run; AIRA_E_UNSUPPORTED where this machine cannot confine and `unconfined` was not asked for. */
aira_status aira__sandbox_run_command(const aira__sandbox_run *, aira__sandbox_result *, aira_error *);
void aira__sandbox_result_release(aira__sandbox_result *);

#endif
