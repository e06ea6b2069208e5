/* core/sandbox/cgroup.c - a control group of our own, where the system lets us make one; see box.h.
 *
 * Version 2 offers memory and processes in one folder, version 1 has a hierarchy for each. A group is made below the
 * one that this process is in, nowhere else. Where a controller is missing (version 2 gives none to children of a group
 * that holds processes) there is no group, and the watch does the work alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/sandbox/box.h"

static bool put_number(const char *folder, const char *name, long long number) {
    char path[AIRA__BOX_CGROUP + 64], text[32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return false;
    int n = snprintf(text, sizeof text, "%lld", number);
    bool good = write(file, text, (size_t)n) == n;
    close(file);
    return good;
}

/* The folder of a new group below our own in one hierarchy; "" in path if there is none. controller "" is version 2. */
static bool make_group(const char *controller, char *path, size_t size) {
    char line[1024], place[512] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    path[0] = 0;
    if (file == NULL) return false;
    while (place[0] == 0 && fgets(line, sizeof line, file) != NULL) {
        char *names = strchr(line, ':'), *at = names != NULL ? strchr(names + 1, ':') : NULL;
        if (at == NULL) continue;
        *at = 0;
        at[1 + strcspn(at + 1, "\n")] = 0;
        if (strcmp(names + 1, controller) == 0) snprintf(place, sizeof place, "%s", at + 1);
    }
    fclose(file);
    if (place[0] == 0) return false;
    int n = snprintf(path, size, "/sys/fs/cgroup%s%s%s/aira-box-%d", controller[0] != 0 ? "/" : "", controller,
                     strcmp(place, "/") == 0 ? "" : place, (int)getpid());
    if (n > 0 && (size_t)n < size && strchr(path, ' ') == NULL && mkdir(path, 0755) == 0) return true;
    path[0] = 0;
    return false;
}

static bool open_version_2(int64_t memory, int processes, char *path) {
    if (access("/sys/fs/cgroup/cgroup.controllers", R_OK) != 0) return false;
    if (!make_group("", path, AIRA__BOX_CGROUP)) return false;
    if (put_number(path, "memory.max", memory) && put_number(path, "pids.max", processes)) {
        put_number(path, "memory.swap.max", 0); /* absent where there is no swap accounting */
        put_number(path, "memory.oom.group", 1);
        return true;
    }
    rmdir(path);
    path[0] = 0;
    return false;
}

static bool open_version_1(int64_t memory, int processes, char *path) {
    char of_memory[AIRA__BOX_CGROUP / 2 - 1], of_processes[AIRA__BOX_CGROUP / 2 - 1];
    if (!make_group("memory", of_memory, sizeof of_memory)) return false;
    bool good = make_group("pids", of_processes, sizeof of_processes);
    good = good && put_number(of_memory, "memory.limit_in_bytes", memory) &&
           put_number(of_processes, "pids.max", processes);
    if (good) {
        put_number(of_memory, "memory.memsw.limit_in_bytes", memory); /* absent where swap is not counted */
        snprintf(path, AIRA__BOX_CGROUP, "%s:%s", of_memory, of_processes);
        return true;
    }
    rmdir(of_memory);
    if (of_processes[0] != 0) rmdir(of_processes);
    return false;
}

bool aira__box_cgroup_open(int64_t memory, int processes, char path[AIRA__BOX_CGROUP]) {
    path[0] = 0;
    if (open_version_2(memory, processes, path) || open_version_1(memory, processes, path)) return true;
    path[0] = 0;
    return false;
}

static void each(const char *path, void (*act)(void *context, const char *folder), void *context) {
    char copy[AIRA__BOX_CGROUP], *rest = copy;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *folder; (folder = strsep(&rest, ":")) != NULL;)
        if (folder[0] != 0) act(context, folder);
}

static void enter(void *context, const char *folder) {
    bool *good = context;
    *good = put_number(folder, "cgroup.procs", 0) && *good;
}

void aira__box_cgroup_enter(const char *path) {
    bool good = true;
    each(path, enter, &good);
    if (!good) _exit(125); /* never without the bounds that were promised */
}

static void look(void *context, const char *folder) {
    static const char *const names[] = {"memory.events", "memory.oom_control"};
    bool *ran_out = context;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char file_path[AIRA__BOX_CGROUP + 64], line[128];
        long long count;
        snprintf(file_path, sizeof file_path, "%s/%s", folder, names[k]);
        FILE *file = fopen(file_path, "re");
        if (file == NULL) continue;
        while (fgets(line, sizeof line, file) != NULL)
            if (sscanf(line, "oom_kill %lld", &count) == 1 && count > 0) *ran_out = true;
        fclose(file);
    }
}

bool aira__box_cgroup_ran_out(const char *path) {
    bool ran_out = false;
    each(path, look, &ran_out);
    return ran_out;
}

static void take_away(void *context, const char *folder) {
    (void)context;
    for (int k = 0; k < 100 && rmdir(folder) != 0 && errno == EBUSY; k++)
        nanosleep(&(struct timespec){0, 1000000}, NULL); /* the last process is still being counted out */
}

void aira__box_cgroup_close(const char *path) { each(path, take_away, NULL); }
