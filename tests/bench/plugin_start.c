/* tests/bench/plugin_start.c - what plugins cost at the start of a program: scan, and loading every one of this build.
 *
 *   bench_plugin_start [FOLDER...]     cold: nothing cached, every file is probed; warm: as every later start
 * Prints milliseconds; of the warm starts the best and the median of 21. Loading is once per process, so every figure
 * is a process of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/plugin/registry.h"

enum { RUNS = 21 };

/* Milliseconds of a start, and how many plugins it loaded. */
static double measure(int n_paths, char **paths, int *loaded) {
    aira_error error = {0};
    aira__registry *r;
    aira__registry_options options = {.paths = (const char *const *)paths, .n_paths = n_paths};
    double start = aira__now();
    if (aira__registry_create(&options, &r, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return -1;
    }
    *loaded = 0;
    for (int i = 0; i < aira__registry_count(r); i++) {
        const aira__plugin_entry *e = aira__registry_entry(r, i);
        *loaded += e->id[0] != 0 && aira__registry_find(r, e->kind, e->id, &error) != NULL;
    }
    double end = aira__now();
    aira__registry_destroy(r);
    return 1e3 * (end - start);
}

static double in_child(int n_paths, char **paths, int *loaded, double *cpu_ms) {
    struct {
        double ms, cpu_ms;
        int loaded;
    } result = {-1, -1, 0};
    int ends[2];
    if (pipe(ends) != 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        struct timespec used;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        double before = 1e3 * (double)used.tv_sec + 1e-6 * (double)used.tv_nsec;
        result.ms = measure(n_paths, paths, &result.loaded);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        result.cpu_ms = 1e3 * (double)used.tv_sec + 1e-6 * (double)used.tv_nsec - before;
        _exit(write(ends[1], &result, sizeof result) == (ssize_t)sizeof result ? 0 : 1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &result, sizeof result) != (ssize_t)sizeof result) result.ms = -1;
    close(ends[0]);
    if (child > 0) waitpid(child, NULL, 0);
    *loaded = result.loaded;
    *cpu_ms = result.cpu_ms;
    return result.ms;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    char folder[] = "/tmp/aira-bench-XXXXXX", command[64];
    int loaded = 0;
    double warm[RUNS], cpu[RUNS];
    if (mkdtemp(folder) == NULL || setenv("XDG_CACHE_HOME", folder, 1) != 0) return 1;
    double cold = in_child(argc - 1, argv + 1, &loaded, cpu);
    for (int i = 0; i < RUNS; i++) warm[i] = in_child(argc - 1, argv + 1, &loaded, &cpu[i]);
    qsort(warm, RUNS, sizeof warm[0], ascending);
    qsort(cpu, RUNS, sizeof cpu[0], ascending);
    printf("%d plugins: cold %.1f ms, warm %.1f ms (median of %d; best %.1f ms; processor time %.1f ms)\n", loaded,
           cold, warm[RUNS / 2], RUNS, warm[0], cpu[RUNS / 2]);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return cold < 0 || warm[0] < 0 || system(command) != 0;
}
