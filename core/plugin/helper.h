/* core/plugin/helper.h - the small programs that belong to aira (aira-probe, aira-supervise) and how they are started.
 */
#ifndef AIRA_PLUGIN_HELPER_H
#define AIRA_PLUGIN_HELPER_H

#include <limits.h>
#include <sys/types.h>

#include "core/base/error.h"

/* Descriptor of the socket that a helper talks to its parent over. */
#define AIRA__HELPER_SOCKET 3

/* Beside the running program, in ../bin or in ../libexec/aira. */
aira_status aira__helper_find(const char *name, char path[PATH_MAX], aira_error *);

typedef struct aira__helper_start {
    const char *path;
    char *const *argv, *const *environment;
    int socket;       /* becomes AIRA__HELPER_SOCKET */
    int in, out, err; /* become 0, 1, 2; -1: /dev/null */
    const char *cwd;  /* NULL: unchanged */
} aira__helper_start;

/* In its own process group, with default signals, by posix_spawn (fast in large processes, safe beside threads).
   0 or an errno value. */
int aira__helper_spawn(const aira__helper_start *, pid_t *pid);

#endif
