/* aira/ext/process.h - service "aira.process/1": child processes without a shell. */
#ifndef AIRA_EXT_PROCESS_H
#define AIRA_EXT_PROCESS_H

#include "../abi.h"

#define AIRA_SERVICE_PROCESS "aira.process/1"

typedef struct aira_process_limits {
    uint32_t size, n_env;
    const char *const *env;  /* "NAME=value" beside PATH, HOME, LANG, TMPDIR; nothing else is inherited */
    const char *cwd;         /* NULL: the caller's */
    const char *stdout_path; /* file for standard output; NULL: discarded (spawn) or collected (run) */
    const char *stderr_path; /* NULL: the host's standard error */
    double seconds;          /* wall limit, whole process group killed; 0: none */
    uint64_t memory_bytes;   /* RLIMIT_DATA; 0: none */
    uint64_t output_bytes;   /* cap on collected output; 0: 16 MiB */
} aira_process_limits;

typedef struct aira_process_state {
    uint32_t size, running;
    int32_t exit_status, signal; /* exit_status -1 when ended by a signal */
    uint32_t timed_out, reserved;
} aira_process_state;

typedef struct aira_process_service {
    uint32_t size, minor;
    void *core;
    /* Runs argv (argv[0] searched on PATH), feeds input, collects output; blocks. *output is host->alloc memory,
       NUL-terminated. cancelled(context) is polled about every 20 ms (may be NULL). [any thread] */
    aira_status (*run)(const struct aira_process_service *, const char *const *argv, uint32_t n_argv, const void *input,
                       uint64_t n_input, const aira_process_limits *, char **output, uint64_t *n_output,
                       aira_process_state *, int32_t (*cancelled)(void *), void *context);
    /* Starts argv in its own process group, killed with the host. */
    aira_status (*spawn)(const struct aira_process_service *, const char *const *argv, uint32_t n_argv,
                         const aira_process_limits *, uint64_t *handle);
    aira_status (*poll)(const struct aira_process_service *, uint64_t handle, aira_process_state *); /* never blocks */
    aira_status (*kill)(const struct aira_process_service *, uint64_t handle); /* whole group, SIGKILL */
    void (*forget)(const struct aira_process_service *, uint64_t handle);
} aira_process_service;

#endif
