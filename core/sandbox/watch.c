/* core/sandbox/watch.c - how much memory a run uses, and the end of everything that belongs to it; see box.h. */
#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/sandbox/box.h"

#define MAX_PROCESSES 4096

typedef struct list {
    pid_t pid[MAX_PROCESSES];
    int n;
} list;

/* Children that one thread of pid has made. */
static void add_children_of(pid_t pid, const char *thread, list *l) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)pid, thread);
    FILE *file = fopen(path, "re");
    if (file == NULL) return;
    for (int child; l->n < MAX_PROCESSES && fscanf(file, "%d", &child) == 1;) l->pid[l->n++] = (pid_t)child;
    fclose(file);
}

static void add_children(pid_t pid, list *l) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    if (threads == NULL) return;
    for (const struct dirent *e; (e = readdir(threads)) != NULL;)
        if (isdigit((unsigned char)e->d_name[0])) add_children_of(pid, e->d_name, l);
    closedir(threads);
}

/* Pages that belong to the process alone or are shared memory; pages of files do not count. */
static int64_t memory_of(pid_t pid) {
    char path[64], text[256];
    long long kib, sum = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    while (fgets(text, sizeof text, file) != NULL)
        if (sscanf(text, "RssAnon: %lld", &kib) == 1 || sscanf(text, "RssShmem: %lld", &kib) == 1) sum += kib;
    fclose(file);
    return sum * 1024;
}

void aira__box_measure(pid_t pid, aira__box_usage *usage) {
    list l = {.n = 1};
    *usage = (aira__box_usage){0, 0};
    l.pid[0] = pid;
    for (int k = 0; k < l.n; k++) {
        usage->memory += memory_of(l.pid[k]);
        add_children(l.pid[k], &l);
    }
    usage->processes = l.n;
}

void aira__box_kill_children(void) {
    for (int round = 0; round < 2000; round++) {
        while (waitpid(-1, NULL, WNOHANG) > 0) continue;
        list l = {.n = 0};
        add_children(getpid(), &l);
        if (l.n == 0) return;
        for (int k = 0; k < l.n; k++) {
            kill(l.pid[k], SIGKILL);
            add_children(l.pid[k], &l);
        }
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
}
