/* plugins/executors/table/test_table.c - leases are answered from the table, with files as a worker writes them. */
#include <criterion/criterion.h>
#include <math.h>

#include "aira/executor.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/plugin/registry.h"
#include "tests/support/folder.h"

typedef struct lab {
    test_folder folder;
    aira__registry *registry;
    aira__instance *executor;
    char why[600]; /* where there is no instance */
} lab;

static void open_lab(lab *l, const char *csv) {
    aira_error error = {0};
    char path[600];
    memset(l, 0, sizeof *l);
    test_folder_make(&l->folder);
    test_folder_write(&l->folder, "table.csv", csv, strlen(csv));
    cr_assert_eq(aira__registry_create(NULL, &l->registry, &error), AIRA_OK, "%s", error.text);
    snprintf(path, sizeof path, "%s/table.csv", l->folder.path);
    json_t *config = json_pack("{s:s, s:s}", "use", "table", "path", path);
    if (aira__instance_create_json(l->registry, "executor", config, &l->executor, &error) != AIRA_OK)
        snprintf(l->why, sizeof l->why, "%.590s", error.text);
    json_decref(config);
}

static void close_lab(lab *l) {
    aira__instance_destroy(l->executor);
    aira__registry_destroy(l->registry);
    test_folder_remove(&l->folder);
}

/* Adds an evaluation of layers "mA M" under a seed to a lease. */
static void want(json_t *evaluations, const char *id, const char *layers, int seed) {
    json_t *list = json_array();
    char copy[256], *state = NULL;
    snprintf(copy, sizeof copy, "%s", layers);
    for (char *token = strtok_r(copy, " ", &state); token; token = strtok_r(NULL, " ", &state))
        json_array_append_new(list, json_string(token));
    json_array_append_new(evaluations,
                          json_pack("{s:s, s:o, s:[], s:{s:s}, s:i, s:[s,s]}", "id", id, "layers", list, "options",
                                    "task", "task", "t", "seed", seed, "splits", "search", "selection"));
}

/* Takes over evaluations. */
static aira_status submit(lab *l, json_t *evaluations, const char *name) {
    aira_error error = {0};
    char folder[600], file[700];
    uint64_t handle = 0;
    aira_lease_state state = {.size = sizeof state};
    snprintf(folder, sizeof folder, "%s/%s", l->folder.path, name);
    snprintf(file, sizeof file, "%s/lease.json", folder);
    cr_assert_eq(aira__make_dirs(folder, &error), AIRA_OK);
    json_t *lease = json_pack("{s:i, s:s, s:o}", "version", 1, "lease", name, "evaluations", evaluations);
    cr_assert_eq(aira__json_write_file(file, lease, &error), AIRA_OK);
    json_decref(lease);
    const aira_executor *table = l->executor->plugin->table;
    aira_lease given = {.size = sizeof given, .id = name, .folder = folder};
    aira_status status = table->submit(l->executor->self, &given, &handle);
    if (status != AIRA_OK) return status;
    cr_assert_eq(table->poll(l->executor->self, handle, &state), AIRA_OK);
    cr_assert_eq(state.state, AIRA_LEASE_DONE);
    table->forget(l->executor->self, handle);
    return AIRA_OK;
}

static json_t *result(const lab *l, const char *name) {
    char path[700];
    aira_error error = {0};
    snprintf(path, sizeof path, "%s/%s", l->folder.path, name);
    json_t *value = aira__json_load_file(path, &error);
    cr_assert(value, "%s", error.text);
    return value;
}

Test(table, answers_from_rows_and_says_what_is_missing) {
    lab l;
    open_lab(&l, "# a comment\nseed, test,architecture,search,selection,seconds,note\n"
                 "1,0.1,2mA M,0.25,0.5,2.5,x\n2,,2mA M,0.75,,,\n,,M 2mA,1e-3,2,,\n3,,3M,,,,diverged\n");
    cr_assert_str_eq(l.why, "");
    json_t *all = json_array();
    want(all, "a-1", "mA mA M", 1);
    want(all, "a-2", "mA mA M", 2);
    want(all, "b-77", "M mA mA", 77);
    want(all, "a-3", "mA mA M", 3);
    want(all, "c-3", "M M M", 3);
    cr_assert_eq(submit(&l, all, "1"), AIRA_OK);
    json_t *one = result(&l, "1/a-1.json"), *scores = json_object_get(one, "scores");
    cr_assert_str_eq(aira__json_string(one, "status", ""), "ok");
    cr_assert_str_eq(aira__json_string(one, "id", ""), "a-1");
    cr_assert_eq(json_object_size(scores), 2, "only the splits that were asked for");
    cr_assert(aira__json_real(scores, "search", 0) == 0.25 && aira__json_real(scores, "selection", 0) == 0.5);
    cr_assert_eq(aira__json_real(one, "seconds", 0), 2.5);
    json_decref(one);
    one = result(&l, "1/a-2.json");
    cr_assert_eq(aira__json_real(json_object_get(one, "scores"), "search", 0), 0.75);
    cr_assert(json_is_null(json_object_get(json_object_get(one, "scores"), "selection")));
    json_decref(one);
    one = result(&l, "1/b-77.json");
    cr_assert_eq(aira__json_real(json_object_get(one, "scores"), "selection", 0), 2);
    json_decref(one);
    one = result(&l, "1/a-3.json");
    cr_assert_str_eq(aira__json_string(one, "status", ""), "failed");
    cr_assert_str_eq(aira__json_string(one, "cause", ""), "data");
    cr_assert(strstr(aira__json_string(one, "error", ""), "no row for \"mA mA M\" with seed 3"));
    json_decref(one);
    one = result(&l, "1/c-3.json");
    cr_assert(strstr(aira__json_string(one, "error", ""), "table.csv:6 has no search score"), "%s",
              aira__json_string(one, "error", ""));
    json_decref(one);
    all = json_array();
    want(all, "../evil", "M M M", 3);
    cr_assert_neq(submit(&l, all, "2"), AIRA_OK);
    close_lab(&l);
}

Test(table, refuses_tables_with_the_place) {
    static const struct {
        const char *csv, *words;
    } cases[] = {
        {"", "no rows"},
        {"architecture,search\n", "no rows"},
        {"layers,search\nM,1\n", "table.csv:1: the first line must name"},
        {"architecture,search\nM,1\nM,x1\n", "table.csv:3: a score or time is not a number"},
        {"architecture,search\n,1\n", "table.csv:2: the architecture"},
        {"architecture,search\n0M,1\n", "table.csv:2: the architecture"},
        {"architecture,search\n999999999M,1\n", "table.csv:2: the architecture"},
        {"architecture,seed,search\nM,-1,1\n", "table.csv:2: the seed"},
        {"architecture,seed,search\n2M,1,1\n\nM M,1,1\n", "table.csv:4: the table has"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lab l;
        open_lab(&l, cases[i].csv);
        cr_assert(!l.executor && strstr(l.why, cases[i].words), "%zu: %s", i, l.why);
        close_lab(&l);
    }
}

Test(table, draws_a_row_for_a_seed_without_one) {
    lab l;
    char name[32];
    int count[3] = {0};
    open_lab(&l, "architecture,seed,search\nM,1,0\nM,2,1\nmA,1,7\nM,3,2\n");
    aira__instance_destroy(l.executor);
    char path[600];
    aira_error error = {0};
    snprintf(path, sizeof path, "%s/table.csv", l.folder.path);
    json_t *config = json_pack("{s:s, s:s, s:s}", "use", "table", "path", path, "seeds", "drawn"), *all = json_array();
    cr_assert_eq(aira__instance_create_json(l.registry, "executor", config, &l.executor, &error), AIRA_OK, "%s",
                 error.text);
    json_decref(config);
    for (int k = 1; k < 304; k++) {
        snprintf(name, sizeof name, "e-%d", k);
        want(all, name, "M", k);
    }
    cr_assert_eq(submit(&l, all, "1"), AIRA_OK);
    for (int k = 1; k < 304; k++) {
        snprintf(name, sizeof name, "1/e-%d.json", k);
        json_t *one = result(&l, name);
        int score = (int)aira__json_real(json_object_get(one, "scores"), "search", 9);
        cr_assert(score <= 2 && (k > 3 || score == k - 1), "seed %d: %d", k, score);
        count[score]++;
        json_decref(one);
    }
    for (int i = 0; i < 3; i++) cr_assert(abs(count[i] - 101) < 40, "row %d: %d times", i, count[i]);
    close_lab(&l);
}

Test(table, answers_large_leases) {
    lab l;
    char name[32];
    open_lab(&l, "architecture,search\n2mA M,0.5\n");
    json_t *all = json_array();
    for (int k = 0; k < 300; k++) {
        snprintf(name, sizeof name, "e-%d", k);
        want(all, name, "mA mA M", k);
    }
    cr_assert_eq(submit(&l, all, "1"), AIRA_OK);
    for (int k = 0; k < 300; k++) {
        snprintf(name, sizeof name, "1/e-%d.json", k);
        json_t *one = result(&l, name);
        cr_assert_str_eq(aira__json_string(one, "status", ""), "ok");
        json_decref(one);
    }
    close_lab(&l);
}
