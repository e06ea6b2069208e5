/* compose_aggregate.c - candidates out of journals (subsets, several runs, what does not belong together) and whole
 * aggregations. */
#include "tests/support/synthetic_journal.h"

#include "core/compose/aggregate.h"

static aira__registry *registry(void) {
    aira__registry *made = NULL;
    aira_error error = {0};
    char *path = aira__path_join(getenv("AIRA_BUILD_DIR") ? getenv("AIRA_BUILD_DIR") : "build", "lib/aira/plugins");
    const char *paths[] = {path};
    aira__registry_options options = {.paths = paths, .n_paths = 1, .no_builtin = true};
    cr_assert_eq(aira__registry_create(&options, &made, &error), AIRA_OK, "%s", error.text);
    free(path);
    return made;
}

/* A journal in memory with these nodes; scores below 0 mean: none. */
typedef struct row {
    int search;
    const char *hash, *layers; /* digits of tokens */
    double score;
} row;

static sqlite3 *journal(const char *task, const char *higher, const row *rows, int n) {
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    char *sql = sqlite3_mprintf("CREATE TABLE study(key, value); CREATE TABLE search(id, agent, label, task_hash);"
                                "CREATE TABLE candidate(hash, kind, canonical); CREATE TABLE node_row(search, idx, "
                                "hash, status, selection_score);"
                                "INSERT INTO study VALUES('higher_is_better', %Q), ('tokens', '[\"mA\",\"M\"]');"
                                "INSERT INTO search VALUES(1, '{\"use\":\"mutate\"}', 'first', %Q), (2, "
                                "'{\"use\":\"command\",\"model\":\"m1\"}', '', %Q)",
                                higher, task, task);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_free(sql);
    for (int i = 0; i < n; i++) {
        char layers[256] = "";
        for (const char *l = rows[i].layers; *l; l++)
            snprintf(layers + strlen(layers), sizeof layers - strlen(layers), "%s\"%s\"", *layers ? "," : "",
                     *l == '0' ? "mA" : "M");
        sql = sqlite3_mprintf(
            "INSERT INTO candidate SELECT %Q, 'compose', '{\"layers\":[%s]}' WHERE NOT EXISTS(SELECT 1 FROM "
            "candidate WHERE hash = %Q); INSERT INTO node_row VALUES(%d, %d, %Q, %Q, %s)",
            rows[i].hash, layers, rows[i].hash, rows[i].search, i, rows[i].hash, rows[i].score < 0 ? "buggy" : "good",
            rows[i].score < 0 ? "NULL" : "0");
        cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
        sqlite3_free(sql);
        if (rows[i].score < 0) continue;
        sql = sqlite3_mprintf("UPDATE node_row SET selection_score = %!.17g WHERE idx = %d", rows[i].score, i);
        cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_free(sql);
    }
    return db;
}

static const row five[] = {
    {1, "a", "01", 0.5}, {1, "b", "00", 0.9}, {1, "b", "00", 0.9}, {1, "c", "11", -1}, {2, "d", "10", 0.7}};

Test(candidates, distinct_scored_best_first) {
    aira__journal_source source = {"run", journal("t", "true", five, 5)};
    aira__candidates c;
    aira_error error = {0};
    cr_assert_eq(aira__candidates_read(&source, 1, NULL, 0, &c, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(c.n, 3);
    cr_assert(c.n_layers == 2 && c.n_tokens == 2);
    cr_expect_str_eq(c.tokens[0], "mA");
    cr_expect(c.scores[0] == 0.9 && c.scores[1] == 0.7 && c.scores[2] == 0.5);
    cr_expect_str_eq(c.hashes[1], "d");
    cr_expect(c.layers[2] == 1 && c.layers[3] == 0);
    aira__candidates_release(&c);
    sqlite3_close(source.db);
}

Test(candidates, losses_are_flipped) {
    aira__journal_source source = {"run", journal("t", "false", five, 5)};
    aira__candidates c;
    cr_assert_eq(aira__candidates_read(&source, 1, NULL, 0, &c, NULL), AIRA_OK);
    cr_expect(!c.higher_is_better && c.scores[0] == -0.5 && c.scores[2] == -0.9);
    aira__candidates_release(&c);
    sqlite3_close(source.db);
}

Test(candidates, named_agents) {
    aira__journal_source source = {"run", journal("t", "true", five, 5)};
    static const struct {
        const char *name;
        int n;
    } cases[] = {{"mutate", 2}, {"first", 2}, {"command", 1}, {"m1", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aira__candidates c;
        aira_error error = {0};
        cr_assert_eq(aira__candidates_read(&source, 1, &cases[i].name, 1, &c, &error), AIRA_OK, "%s", error.text);
        cr_expect_eq(c.n, cases[i].n, "%s", cases[i].name);
        aira__candidates_release(&c);
    }
    aira__candidates c;
    aira_error error = {0};
    const char *unknown = "gpt";
    cr_expect_eq(aira__candidates_read(&source, 1, &unknown, 1, &c, &error), AIRA_E_CONFIG);
    cr_expect(strstr(error.text, "`gpt`") && strstr(error.text, "command, first, m1, mutate"), "%s", error.text);
    aira__candidates_release(&c);
    sqlite3_close(source.db);
}

Test(candidates, several_runs) {
    static const row others[] = {{1, "b", "00", 0.7}, {1, "e", "11", 0.6}}, deep[] = {{1, "x", "0101", 0.6}},
                     failed[] = {{1, "x", "01", -1}};
    aira__journal_source sources[2] = {{"one", journal("t", "true", five, 5)},
                                       {"two", journal("t", "true", others, 2)}};
    aira__candidates c;
    aira_error error = {0};
    for (int turn = 0; turn < 2; turn++) { /* the order of runs does not matter */
        cr_assert_eq(aira__candidates_read(sources, 2, NULL, 0, &c, &error), AIRA_OK, "%s", error.text);
        cr_assert_eq(c.n, 4);
        cr_expect_str_eq(c.hashes[0], "b");
        cr_expect_float_eq(c.scores[0], 0.8, 1e-12, "the mean of both runs");
        aira__candidates_release(&c);
        aira__journal_source swap = sources[0];
        sources[0] = sources[1];
        sources[1] = swap;
    }
    const struct {
        sqlite3 *db;
        const char *says;
        aira_status status;
    } bad[] = {{journal("t", "true", deep, 1), "4 layers, others have 2", AIRA_E_CONFIG},
               {journal("u", "true", others, 2), "another task", AIRA_E_CONFIG},
               {journal("t", "false", others, 2), "more is better in one", AIRA_E_CONFIG}};
    for (size_t i = 0; i < 3; i++) {
        sqlite3 *good = sources[1].db;
        sources[1] = (aira__journal_source){"two", bad[i].db};
        cr_expect_eq(aira__candidates_read(sources, 2, NULL, 0, &c, &error), bad[i].status);
        cr_expect(strstr(error.text, bad[i].says), "%s", error.text);
        aira__candidates_release(&c);
        sources[1].db = good;
        sqlite3_close(bad[i].db);
    }
    aira__journal_source nothing = {"three", journal("t", "true", failed, 1)};
    cr_expect_eq(aira__candidates_read(&nothing, 1, NULL, 0, &c, &error), AIRA_E_FAILED);
    cr_expect(strstr(error.text, "nothing to aggregate"), "%s", error.text);
    aira__candidates_release(&c);
    sqlite3_close(nothing.db);
    for (int i = 0; i < 2; i++) sqlite3_close(sources[i].db);
}

Test(aggregate, every_shipped_aggregator_on_a_real_journal) {
    char *folder = synthetic_run(400, 2, 6, false), *path = aira__path_join(folder, "journal.db");
    aira__journal *j = NULL;
    aira_error error = {0};
    const aira__journal_options options = {.read_only = true};
    cr_assert_eq(aira__journal_open(path, &options, &j, &error), AIRA_OK, "%s", error.text);
    aira__journal_source source = {folder, aira__journal_db(j)};
    aira__candidates c;
    cr_assert_eq(aira__candidates_read(&source, 1, NULL, 0, &c, &error), AIRA_OK, "%s", error.text);
    aira__registry *r = registry();
    static const char *const by[] = {"n0", "n1", "n2", "n_all"};
    for (int i = 0; i < 4; i++) {
        json_t *config = json_pack("{s:s}", "use", by[i]), *result = NULL;
        aira__instance *aggregator = NULL;
        cr_assert_eq(aira__instance_create_json(r, "aggregator", config, &aggregator, &error), AIRA_OK, "%s",
                     error.text);
        cr_assert_eq(aira__aggregate(r, aggregator, &c, &result, &error), AIRA_OK, "%s", error.text);
        cr_expect_str_eq(json_string_value(json_object_get(result, "by")), by[i]);
        cr_expect_eq(json_array_size(json_object_get(result, "support")), 6);
        int size = (int)json_integer_value(json_object_get(result, "cluster_size")), n;
        cr_expect(size > 0 && size < c.n);
        uint16_t layers[6];
        const char *text = json_string_value(json_object_get(result, "architecture"));
        cr_assert_eq(aira__notation_parse(text, synthetic_tokens, 3, layers, 6, &n, &error), AIRA_OK, "%s", error.text);
        cr_expect_eq(n, 6);
        cr_expect(layers[0] == 0 && layers[5] == 1, "scores reward attention first and MLP last, got %s", text);
        json_decref(result);
        json_decref(config);
        aira__instance_destroy(aggregator);
    }
    aira__registry_destroy(r);
    aira__candidates_release(&c);
    aira__journal_close(j);
    cr_assert_eq(aira__remove_tree(folder, NULL), AIRA_OK);
    free(path);
    free(folder);
}
