/* core/search/journal_write.c - one function per kind of row. See journal.h. */
#include "core/base/clock.h"
#include "core/search/journal_internal.h"

aira_status aira__journal_set_study(aira__journal *j, const char *key, const char *value, aira_error *error) {
    return aira__journal_do(j, error, "INSERT OR REPLACE INTO study(key, value) VALUES(?, ?)", "ss", key, value);
}

aira_status aira__journal_set_result(aira__journal *j, const char *kind, const char *name, const char *value,
                                     aira_error *error) {
    return aira__journal_do(j, error, "INSERT OR REPLACE INTO result(kind, name, value) VALUES(?, ?, ?)", "sss", kind,
                            name, value);
}

aira_status aira__journal_add_search(aira__journal *j, const aira__journal_search *s, aira_error *error) {
    return aira__journal_do(j, error,
                            "INSERT INTO search(id, agent, scaffold, seed, task_hash, parallel, label, state, reason, "
                            "origin) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            "issisissss", s->id, s->agent, s->scaffold, (int64_t)s->seed, s->task_hash, s->parallel,
                            s->label, s->state, s->reason, s->origin);
}

aira_status aira__journal_search_state(aira__journal *j, int64_t id, const char *state, const char *reason,
                                       aira_error *error) {
    return aira__journal_do(j, error, "UPDATE search SET state = ?, reason = ? WHERE id = ?", "ssi", state, reason, id);
}

aira_status aira__journal_add_candidate(aira__journal *j, const char *hash, const char *kind, const char *architecture,
                                        const char *canonical, aira_error *error) {
    return aira__journal_do(j, error,
                            "INSERT OR IGNORE INTO candidate(hash, kind, architecture, canonical) VALUES(?, ?, ?, ?)",
                            "ssss", hash, kind, architecture, canonical);
}

aira_status aira__journal_add_node(aira__journal *j, const aira__journal_node *n, aira_error *error) {
    return aira__journal_do(j, error,
                            "INSERT INTO node_row(search, idx, operator, parent, other_parent, seed, hash, status, "
                            "created, view) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            "iisIIissdI", n->search, n->idx, n->operator_name, n->parent, n->other_parent,
                            (int64_t)n->seed, n->hash, n->status, n->created, n->view);
}

aira_status aira__journal_finish_node(aira__journal *j, const aira__journal_node *n, aira_error *error) {
    return aira__journal_do(j, error,
                            "UPDATE node_row SET hash = ?, duplicate_of = ?, status = ?, note = ?, cause = ?, "
                            "search_score = ?, selection_score = ?, finished = ?, seeds = NULLIF(?, 0), spread = ?, "
                            "standing = ? WHERE search = ? AND idx = ?",
                            "sIsssdddidsii", n->hash, n->duplicate_of, n->status, n->note, n->cause, n->search_score,
                            n->selection_score, n->finished, n->seeds, n->spread, n->standing, n->search, n->idx);
}

aira_status aira__journal_set_plan(aira__journal *j, int64_t search, int64_t idx, const char *body, aira_error *error) {
    char hash[65];
    aira_status status = aira__journal_put_text(j, body, hash, error);
    if (status != AIRA_OK) return status;
    return aira__journal_do(j, error, "UPDATE node_row SET plan = ? WHERE search = ? AND idx = ?", "sii", hash, search,
                            idx);
}

aira_status aira__journal_set_analysis(aira__journal *j, int64_t search, int64_t idx, const char *body,
                                       aira_error *error) {
    char hash[65];
    aira_status status = aira__journal_put_text(j, body, hash, error);
    if (status != AIRA_OK) return status;
    return aira__journal_do(j, error, "UPDATE node_row SET analysis = ? WHERE search = ? AND idx = ?", "sii", hash,
                            search, idx);
}

aira_status aira__journal_begin_call(aira__journal *j, const aira__journal_call *c, aira_error *error) {
    return aira__journal_do(j, error,
                            "INSERT INTO call(search, idx, operator, attempt, request_hash, prompt, state, started) "
                            "VALUES(?, ?, ?, ?, ?, ?, 'asked', ?) ON CONFLICT(search, idx, operator, attempt) DO "
                            "UPDATE SET request_hash = excluded.request_hash, prompt = excluded.prompt, "
                            "state = 'asked', started = excluded.started, answer = NULL, error = NULL",
                            "iisissd", c->search, c->idx, c->operator_name, c->attempt, c->request_hash, c->prompt,
                            c->started);
}

aira_status aira__journal_end_call(aira__journal *j, const aira__journal_call *c, aira_error *error) {
    return aira__journal_do(j, error,
                            "UPDATE call SET answer = ?, state = ?, error = ?, input_tokens = ?, cached_tokens = ?, "
                            "cache_write_tokens = ?, output_tokens = ?, reasoning_tokens = ?, money_usd = ?, "
                            "seconds = ?, tries = NULLIF(?, 0), partial = ?, model = ?, notes = ? "
                            "WHERE search = ? AND idx = ? AND operator = ? AND attempt = ?",
                            "sssIIIIIDDisssiisi", c->answer, c->state, c->error, c->input_tokens, c->cached_tokens,
                            c->cache_write_tokens, c->output_tokens, c->reasoning_tokens, c->money_usd, c->seconds,
                            c->tries, c->partial, c->model, c->notes, c->search, c->idx, c->operator_name, c->attempt);
}

aira_status aira__journal_add_evaluation(aira__journal *j, const aira__journal_evaluation *e, bool *added,
                                         aira_error *error) {
    aira_status status = aira__journal_do(
        j, error,
        "INSERT OR IGNORE INTO evaluation(hash, task_hash, seed, status, cause, error, search_score, selection_score, "
        "test_score, metrics, curve, parameters, flops, seconds, hashes, purpose, search) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULLIF(?, 0))",
        "ssisssdddssIddssi", e->hash, e->task_hash, (int64_t)e->seed, e->status, e->cause, e->error, e->search_score,
        e->selection_score, e->test_score, e->metrics, e->curve, e->parameters, e->flops, e->seconds, e->hashes,
        e->purpose, e->search);
    if (added) *added = status == AIRA_OK && sqlite3_changes(j->db) > 0;
    return status;
}

aira_status aira__journal_event(aira__journal *j, const char *kind, int64_t search, int64_t idx, const char *text,
                                aira_error *error) {
    return aira__journal_do(j, error, "INSERT INTO event(time, kind, search, idx, text) VALUES(?, ?, ?, ?, ?)", "dsIIs",
                            aira__wall(), kind, search, idx, text);
}
