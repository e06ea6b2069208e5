/* tests/bench/table_rate.c - evaluations per second of `executor: {use: table}`, result files included.
 *
 *     build/bench/bench_table_rate [FOLDER]
 *
 * 10,000 evaluations in leases of 100. FOLDER: where the leases are written, default the current one; what its disk
 * takes to flush a file is most of the time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aira/executor.h"
#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/plugin/registry.h"

enum { LEASES = 100, EACH = 100 };

static void need(aira_status status, const aira_error *error) {
    if (status == AIRA_OK) return;
    fprintf(stderr, "%s\n", error->text);
    exit(1);
}

static char *write_lease(const char *base, int lease, aira_error *error) {
    char path[4200];
    json_t *all = json_array();
    for (int k = 0; k < EACH; k++) {
        char id[32];
        snprintf(id, sizeof id, "e-%d", k);
        json_array_append_new(all, json_pack("{s:s, s:[s,s,s], s:[], s:{}, s:i, s:[s,s]}", "id", id, "layers", "mA",
                                             "mA", "M", "options", "task", "seed", k, "splits", "search", "selection"));
    }
    json_t *whole = json_pack("{s:i, s:o}", "version", 1, "evaluations", all);
    snprintf(path, sizeof path, "%s/%d", base, lease);
    need(aira__make_dirs(path, error), error);
    char *folder = strdup(path);
    strcat(path, "/lease.json");
    need(aira__json_write_file(path, whole, error), error);
    json_decref(whole);
    return folder;
}

int main(int argc, char **argv) {
    aira_error error = {0};
    aira__registry *registry = NULL;
    aira__instance *executor = NULL;
    char base[4096], csv[4200];
    snprintf(base, sizeof base, "%s/table-rate-XXXXXX", argc > 1 ? argv[1] : ".");
    if (!mkdtemp(base)) return perror(base), 1;
    snprintf(csv, sizeof csv, "%s/table.csv", base);
    FILE *file = fopen(csv, "w");
    if (!file || fputs("architecture,search,selection\n2mA M,0.5,0.5\n", file) < 0 || fclose(file))
        return perror(csv), 1;
    need(aira__registry_create(NULL, &registry, &error), &error);
    json_t *config = json_pack("{s:s, s:s}", "use", "table", "path", csv);
    need(aira__instance_create_json(registry, "executor", config, &executor, &error), &error);
    json_decref(config);
    char *folders[LEASES];
    for (int i = 0; i < LEASES; i++) folders[i] = write_lease(base, i, &error);
    const aira_executor *table = executor->plugin->table;
    double begin = aira__now();
    for (int i = 0; i < LEASES; i++) {
        uint64_t handle = 0;
        aira_lease lease = {.size = sizeof lease, .id = "rate", .folder = folders[i]};
        if (table->submit(executor->self, &lease, &handle) != AIRA_OK) {
            fprintf(stderr, "%s\n", aira__host_last_failure(aira__registry_host(registry)));
            return 1;
        }
        table->forget(executor->self, handle);
        free(folders[i]);
    }
    double seconds = aira__now() - begin;
    printf("%d evaluations in %.2f s: %.0f per second\n", LEASES * EACH, seconds, LEASES * EACH / seconds);
    need(aira__remove_tree(base, &error), &error);
    aira__instance_destroy(executor);
    aira__registry_destroy(registry);
    return 0;
}
