/* core/plugin/process_child.h - one supervised child: starting it, and running it to its end; used by process.c. */
#ifndef AIRA_PLUGIN_PROCESS_CHILD_H
#define AIRA_PLUGIN_PROCESS_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "core/plugin/process.h"

typedef struct aira__child {
    pid_t pid;  /* of the supervisor */
    int socket; /* to it */
} aira__child;

typedef struct aira__child_files {
    int in, out; /* descriptors for 0 and 1; -1: /dev/null, or limits->stdout_path */
} aira__child_files;

/* Returns when the command runs or could not be started. */
aira_status aira__child_start(const char *const *argv, uint32_t n_argv, const aira_process_limits *, aira__child_files,
                              aira__child *, aira_error *);
void aira__child_stop(aira__child *); /* kills and waits */
/* note NULL: the supervisor itself was killed. */
void aira__child_ended(aira_process_state *, const aira__supervise_note *note);

typedef struct aira__child_io {
    const void *input;
    uint64_t n_input;
    int32_t (*cancelled)(void *);
    void *context;
    char *output; /* malloc'ed by run, freed by the caller */
    size_t n_output;
    aira_process_state state;
} aira__child_io;
aira_status aira__child_run(const char *const *argv, uint32_t n_argv, const aira_process_limits *, aira__child_io *,
                            aira_error *);

#endif
