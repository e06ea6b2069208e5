/* tests/unit/search_journal.c - the journal: what comes back, what is refused, and who may write. */
#include <criterion/criterion.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/search/journal.h"
#include "core/search/lock.h"

static char folder[64], path[96];

static void make_folder(void) {
    strcpy(folder, "/tmp/aira-journal-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/journal.db", folder);
}

static void remove_folder(void) { (void)aira__remove_tree(folder, NULL); }

TestSuite(journal, .init = make_folder, .fini = remove_folder);

static aira__journal *open_journal(aira__journal_options options) {
    aira__journal *j = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__journal_open(path, &options, &j, &error), AIRA_OK, "%s", error.text);
    return j;
}

static void refused(aira__journal_options options, aira_status status, const char *words) {
    aira__journal *j = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__journal_open(path, &options, &j, &error), status, "%s", error.text);
    cr_assert_null(j);
    cr_assert(strstr(error.text, words) && strstr(error.text, path), "%s", error.text);
}

static void run_sql(const char *sql) {
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static aira_status count_node(void *context, const aira__journal_node *row, aira_error *error) {
    (void)error;
    int *n = context;
    cr_assert_eq(row->idx, *n);
    if (*n == 0) {
        cr_assert_str_eq(row->status, "good");
        cr_assert_str_eq(row->architecture, "2M");
        cr_assert_eq(row->search_score, 0.1 + 0.2, "scores come back bit for bit");
        cr_assert(isnan(row->selection_score));
        cr_assert_eq(row->parent, -1);
        cr_assert_eq(row->seed, UINT64_MAX);
    } else {
        cr_assert_str_eq(row->status, "pending");
        cr_assert_eq(row->parent, 0);
        cr_assert_null(row->hash);
    }
    ++*n;
    return AIRA_OK;
}

Test(journal, gives_back_what_was_written) {
    aira_error error = {0};
    aira__journal *j = open_journal((aira__journal_options){.create = true});
    char hash[65];
    aira__journal_node first = {.search = 1,
                                .idx = 0,
                                .operator_name = "draft",
                                .parent = -1,
                                .other_parent = -1,
                                .seed = UINT64_MAX,
                                .status = "pending",
                                .created = 1};
    aira__journal_node second = first;
    second.idx = 1;
    second.operator_name = "improve";
    second.parent = 0;
    cr_assert_eq(aira__journal_add_node(j, &first, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__journal_add_node(j, &second, &error), AIRA_OK);
    cr_assert_neq(aira__journal_add_node(j, &second, &error), AIRA_OK, "a node twice");
    cr_assert_eq(aira__journal_add_candidate(j, "h1", "compose", "2M", "{}", &error), AIRA_OK);
    first.hash = "h1";
    first.duplicate_of = -1;
    first.status = "good";
    first.search_score = 0.1 + 0.2;
    first.selection_score = NAN;
    cr_assert_eq(aira__journal_finish_node(j, &first, &error), AIRA_OK);
    cr_assert_eq(aira__journal_put_text(j, "hello \xc3\xa4", hash, &error), AIRA_OK);
    cr_assert_eq(aira__journal_put_text(j, "hello \xc3\xa4", hash, &error), AIRA_OK);
    cr_assert_eq(aira__journal_number(j, "SELECT count(*) FROM text", -1), 1, "texts are stored once");
    aira__journal_close(j);

    j = open_journal((aira__journal_options){.read_only = true});
    int n = 0;
    cr_assert_eq(aira__journal_each_node(j, 1, count_node, &n, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(n, 2);
    char *text = aira__journal_get_text(j, hash, &error);
    cr_assert_str_eq(text, "hello \xc3\xa4");
    free(text);
    cr_assert_null(aira__journal_get_study(j, "absent", &error));
    cr_assert_neq(aira__journal_set_study(j, "a", "b", &error), AIRA_OK, "written although read-only");
    aira__journal_close(j);
}

Test(journal, takes_a_result_once) {
    aira_error error = {0};
    bool added = false;
    aira__journal *j = open_journal((aira__journal_options){.create = true});
    aira__journal_evaluation e = {.hash = "h",
                                  .task_hash = "t",
                                  .seed = 3,
                                  .purpose = "search",
                                  .status = "ok",
                                  .search_score = 0.5,
                                  .selection_score = 0.4,
                                  .test_score = NAN,
                                  .parameters = -1,
                                  .flops = NAN,
                                  .seconds = 1};
    cr_assert_eq(aira__journal_add_evaluation(j, &e, &added, &error), AIRA_OK);
    cr_assert(added);
    e.search_score = 0.9;
    cr_assert_eq(aira__journal_add_evaluation(j, &e, &added, &error), AIRA_OK);
    cr_assert_not(added);
    cr_assert_eq(aira__journal_number(j, "SELECT search_score FROM evaluation", -1), 0.5);
    aira__journal_close(j);
}

Test(journal, a_call_asked_again_keeps_its_row) {
    aira_error error = {0};
    aira__journal *j = open_journal((aira__journal_options){.create = true});
    aira__journal_call c = {.search = 1, .operator_name = "draft", .request_hash = "r", .prompt = "p", .started = 1};
    cr_assert_eq(aira__journal_begin_call(j, &c, &error), AIRA_OK);
    cr_assert_eq(aira__journal_begin_call(j, &c, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__journal_number(j, "SELECT count(*) FROM call", -1), 1);
    c.state = "answered";
    c.answer = "a";
    c.input_tokens = c.output_tokens = c.cached_tokens = c.reasoning_tokens = -1;
    c.money_usd = -1;
    cr_assert_eq(aira__journal_end_call(j, &c, &error), AIRA_OK);
    cr_assert_eq(
        aira__journal_number(j, "SELECT count(*) FROM call WHERE money_usd IS NULL AND input_tokens IS NULL", -1), 1,
        "unknown is NULL, not 0");
    aira__journal_close(j);
}

Test(journal, rolls_back) {
    aira_error error = {0};
    aira__journal *j = open_journal((aira__journal_options){.create = true});
    cr_assert_eq(aira__journal_begin(j, &error), AIRA_OK);
    cr_assert_eq(aira__journal_set_study(j, "a", "b", &error), AIRA_OK);
    aira__journal_rollback(j);
    cr_assert_null(aira__journal_get_study(j, "a", &error));
    aira__journal_close(j);
}

Test(journal, is_marked_and_in_wal) {
    aira__journal *j = open_journal((aira__journal_options){.create = true});
    cr_assert_eq(aira__journal_number(j, "PRAGMA user_version", -1), AIRA__JOURNAL_VERSION);
    cr_assert_eq(aira__journal_number(j, "PRAGMA application_id", -1), 0x41495241);
    cr_assert_eq(aira__journal_number(j, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'", -1), 1);
    aira__journal_close(j);
}

Test(journal, on_a_network_it_shuts_others_out) {
    aira__journal *j = open_journal((aira__journal_options){.create = true, .network_forced = true}), *other = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__journal_number(j, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'delete'", -1),
                 1);
    cr_assert_eq(aira__journal_set_study(j, "a", "b", &error), AIRA_OK);
    aira__journal_options read_only = {.read_only = true};
    cr_assert_neq(aira__journal_open(path, &read_only, &other, &error), AIRA_OK);
    cr_assert(strstr(error.text, "keeps the journal to itself"), "%s", error.text);
    aira__journal_close(j);
}

Test(journal, refuses_what_it_does_not_know) {
    aira__journal_options plain = {0}, create = {.create = true}, read_only = {.read_only = true};
    refused(plain, AIRA_E_CONFIG, "there is no journal");
    aira__journal_close(open_journal(create));
    refused(create, AIRA_E_CONFIG, "exists already");
    run_sql("PRAGMA user_version = 99");
    refused(plain, AIRA_E_UNSUPPORTED, "newer aira (journal version 99");
    refused(read_only, AIRA_E_UNSUPPORTED, "newer aira");
    run_sql("PRAGMA user_version = 2; PRAGMA application_id = 7");
    refused(plain, AIRA_E_CORRUPT, "not a journal of aira");
    cr_assert_eq(aira__file_write_atomic(path, "this is no database, and long enough to look like one", 53, NULL),
                 AIRA_OK);
    refused(plain, AIRA_E_CORRUPT, "the journal is damaged");
    cr_assert_eq(aira__file_write_atomic(path, "", 0, NULL), AIRA_OK);
    refused(read_only, AIRA_E_CORRUPT, "empty");
}

Test(journal, lock_names_its_holder) {
    aira__lock *mine = NULL, *second = NULL;
    aira_error error = {0};
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld on ", (long)getpid());
    cr_assert_null(aira__lock_holder(folder));
    cr_assert_eq(aira__lock_take(folder, &mine, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__lock_take(folder, &second, &error), AIRA_E_FAILED);
    cr_assert(strstr(error.text, pid) && strstr(error.text, "in use"), "%s", error.text);
    char *holder = aira__lock_holder(folder);
    cr_assert(holder && strstr(holder, pid));
    free(holder);
    aira__lock_release(mine);
    cr_assert_null(aira__lock_holder(folder));
    cr_assert_eq(aira__lock_take(folder, &mine, &error), AIRA_OK);
    aira__lock_release(mine);
}

/* Every table's columns, as text. */
static void describe_tables(sqlite3 *db, char *text, size_t size) {
    sqlite3_stmt *s = NULL;
    size_t used = 0;
    const char *sql =
        "SELECT m.type || ' ' || m.name || ': ' || t.name || ' ' || t.type || ' ' || t.\"notnull\" || ' ' || "
        "t.pk FROM sqlite_master m JOIN pragma_table_info(m.name) t WHERE m.type IN ('table', 'view') "
        "ORDER BY m.name, t.cid";
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    while (sqlite3_step(s) == SQLITE_ROW)
        used += (size_t)snprintf(text + used, size - used, "%s\n", (const char *)sqlite3_column_text(s, 0));
    cr_assert_gt(used, 1000);
    sqlite3_finalize(s);
}

Test(journal, is_what_the_contract_says) {
    char contract_path[1024], *contract = NULL;
    static char promised[16384], made[16384];
    const char *source = getenv("AIRA_SOURCE_DIR");
    snprintf(contract_path, sizeof contract_path, "%s/docs/contract.md", source ? source : ".");
    cr_assert_eq(aira__file_read(contract_path, 1 << 20, &contract, NULL, NULL), AIRA_OK);
    char *sql = strstr(contract, "```sql\n"), *end = sql ? strstr(sql + 7, "```") : NULL;
    cr_assert(end);
    *end = 0;
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql + 7, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    describe_tables(db, promised, sizeof promised);
    sqlite3_close(db);
    aira__journal *j = open_journal((aira__journal_options){.create = true});
    describe_tables(aira__journal_db(j), made, sizeof made);
    aira__journal_close(j);
    cr_assert_str_eq(promised, made);
    free(contract);
}

Test(journal, prompts_are_stored_in_parts) {
    aira_error error = {0};
    aira__journal *j = open_journal((aira__journal_options){.create = true});
    static const char *const contents[] = {
        "", "\n", "one", "one\n", "a\n\nb\n\n\nc", "- x\n- y\n  more\n\n- x\n", "\n\n- \n-\n - z \r\n\r\nend\n\n"};
    size_t n = sizeof contents / sizeof contents[0];
    json_t *messages = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(messages,
                              json_pack("{s:s, s:s}", "role", i % 2 ? "user" : "assistant", "content", contents[i]));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", contents[i]));
    char hash[65], again[65];
    cr_assert_eq(aira__journal_put_prompt(j, messages, hash, &error), AIRA_OK, "%s", error.text);
    double rows = aira__journal_number(j, "SELECT count(*) FROM text", -1);
    cr_assert_eq(aira__journal_put_prompt(j, messages, again, &error), AIRA_OK, "%s", error.text);
    cr_assert_str_eq(hash, again);
    cr_assert_eq(aira__journal_number(j, "SELECT count(*) FROM text", -1), rows, "what is there is stored again");
    cr_assert_eq(aira__journal_number(j, "SELECT count(*) FROM text WHERE body = '- x' || char(10)", -1), 1,
                 "a list's item is a part of its own");
    json_t *back = aira__journal_messages(aira__journal_db(j), hash, &error);
    cr_assert(json_equal(messages, back), "not the messages that were put");
    char *text = aira__journal_prompt(aira__journal_db(j), hash, &error);
    cr_assert(strstr(text, "[user]\none\n") && strstr(text, "\n[system]\n"), "%s", text);
    free(text);
    json_decref(back);
    cr_assert_null(aira__journal_messages(aira__journal_db(j), "absent", &error));
    cr_assert(strstr(error.text, "lost a prompt"), "%s", error.text);
    /* parts of a rolled-back transaction are not taken for stored ones */
    json_t *other = json_pack("[{s:s, s:s}]", "role", "user", "content", "never seen before");
    cr_assert_eq(aira__journal_begin(j, &error), AIRA_OK);
    cr_assert_eq(aira__journal_put_prompt(j, other, hash, &error), AIRA_OK);
    aira__journal_rollback(j);
    cr_assert_eq(aira__journal_put_prompt(j, other, hash, &error), AIRA_OK);
    back = aira__journal_messages(aira__journal_db(j), hash, &error);
    cr_assert(json_equal(other, back), "%s", error.text);
    json_decref(back);
    json_decref(other);
    json_decref(messages);
    aira__journal_close(j);
}

Test(journal, prompts_of_version_1_are_read) {
    aira_error error = {0};
    aira__journal *j = open_journal((aira__journal_options){.create = true});
    const char *whole = "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"operator\":\"draft\",\"seed\":\"1\","
                        "\"state\":{\"node\":0}}";
    char hash[65];
    cr_assert_eq(aira__journal_put_text(j, whole, hash, &error), AIRA_OK);
    json_t *back = aira__journal_messages(aira__journal_db(j), hash, &error);
    cr_assert_eq(json_array_size(back), 1, "%s", error.text);
    json_decref(back);
    back = aira__journal_request_v1(aira__journal_db(j), hash, &error);
    cr_assert(json_object_get(back, "state"));
    json_decref(back);
    aira__journal_close(j);
}
