/* core/sandbox/inside.c - the first program inside: limits that only count there, one byte that says that the command
 * starts now, and nothing left open; see box.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/sandbox/box.h"
#include "core/sandbox/selftest.h"
#include "core/sandbox/trace_child.h"

int aira__box_inside(int argc, char **argv) {
    if (argc < 3) return 126;
    rlim_t processes = (rlim_t)strtoul(argv[0], NULL, 10);
    int started = (int)strtol(argv[1], NULL, 10);
    struct rlimit limit = {processes, processes};
    if (processes > 0 && setrlimit(RLIMIT_NPROC, &limit) != 0) return 126;
    if (write(started, "s", 1) != 1 || close_range(3, ~0u, 0) != 0) return 126;
    if (strcmp(argv[2], "aira-box") == 0 && argc == 5 && strcmp(argv[3], "trace") == 0)
        return aira__trace_child(argv[4]);
    if (strcmp(argv[2], "aira-box") == 0 && argc == 6 && strcmp(argv[3], "escape") == 0)
        return aira__sandbox_escape(argv[4], argv[5]);
    if (strcmp(argv[2], "aira-box") == 0 && argc == 3) return 0; /* asks only whether it works */
    execvp(argv[2], argv + 2);
    fprintf(stderr, "cannot start %s: %s\n", argv[2], strerror(errno));
    return 127;
}
