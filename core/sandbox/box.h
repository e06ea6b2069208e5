/* core/sandbox/box.h - what host and helper program (aira-box) say to each other, and what the helper consists of.
 *
 * The host starts aira-box with a stream socket as descriptor 3 and pipes as 1 and 2, and sends one request: the head
 * below, then each argument, each file (path, content) and the standard input, every piece after its length. The
 * helper makes files out of memory for all of it, so no descriptor and no path of the host is passed on. Any further
 * byte, or the end of the socket, kills the run. When everything inside has ended, the helper sends one note.
 */
#ifndef AIRA_SANDBOX_BOX_H
#define AIRA_SANDBOX_BOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/sandbox/sandbox.h"

#define AIRA__BOX_MAX_REQUEST ((uint64_t)64 << 20)
#define AIRA__BOX_MAX_FILES 64u
#define AIRA__BOX_MAX_ARGUMENTS 256u

typedef struct aira__box_head {
    uint64_t bytes; /* of everything after the head */
    double wall_seconds, cpu_seconds;
    int64_t memory, disk;
    uint32_t processes, compiler, unconfined;
    uint32_t n_arguments, n_files, single;
} aira__box_head;

typedef struct aira__box_request { /* points into one block of memory */
    aira__box_head head;
    char *arguments[AIRA__BOX_MAX_ARGUMENTS + 1];
    aira__sandbox_file files[AIRA__BOX_MAX_FILES];
    const void *input;
    uint64_t n_input;
} aira__box_request;

typedef struct aira__box_note {
    uint32_t ran;        /* 0: confinement failed, text says where */
    uint32_t cause;      /* AIRA_SANDBOX_TIMEOUT or _MEMORY where the helper ended it, else AIRA_SANDBOX_OK */
    uint32_t level;      /* aira__sandbox_level */
    int32_t exit_status; /* or -1 */
    int32_t signal;      /* or 0 */
    uint32_t reserved;
    double started, ended; /* aira__now() */
    int64_t peak_memory;
    char text[200];
} aira__box_note;

/* Outside: reads the request from descriptor 3, runs it, sends the note. Exit status of the helper. */
int aira__box_outside(void);
/* Inside, as the first program in the sandbox: arguments are the limit on processes, the descriptor that is told of the
   start, and the command. Becomes the command; what "aira-box" itself is asked for is done without another program:
   "trace FILE" (trace_child.h), "escape WHICH PATH" (selftest.h), nothing at all. */
int aira__box_inside(int argc, char **argv);

/* In the child between fork and exec: limits, no root, then bubblewrap or the command itself. Does not return.
   report: descriptor for the reason of a failure. */
void aira__box_become(const aira__box_request *, int started, int report, const char *cgroup, const char *folder);

/* --- watching: everything that descends from pid -------------------------------------------------------------------
 */

typedef struct aira__box_usage {
    int64_t memory; /* bytes: anonymous and shared pages */
    int processes;
} aira__box_usage;
void aira__box_measure(pid_t pid, aira__box_usage *);
void aira__box_kill_children(void); /* of this process, until none is left */

/* --- cgroups: a group of our own below the one that we are in ------------------------------------------------------
 */

#define AIRA__BOX_CGROUP 512
/* Makes one that bounds memory and processes; false where that is not possible. path gets its folders, one for each
   hierarchy, separated by ':'. */
bool aira__box_cgroup_open(int64_t memory, int processes, char path[AIRA__BOX_CGROUP]);
void aira__box_cgroup_enter(const char *path);   /* this process */
bool aira__box_cgroup_ran_out(const char *path); /* memory was refused and something was killed for it */
void aira__box_cgroup_close(const char *path);

#endif
