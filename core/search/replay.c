/* core/search/replay.c - see replay.h. */
#include "core/search/replay.h"

#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/answer.h"
#include "core/search/budget.h"
#include "core/search/candidate.h"
#include "core/search/journal.h"
#include "core/search/question.h"
#include "core/search/standing.h"
#include "core/search/tree.h"

#define MAX_DIFFERENCES 100 /* after so many the rest says nothing new */

typedef struct recorded_node {
    char operator_name[16], hash[65], status[16];
    int64_t parent, other_parent;
    double search_score, selection_score, spread;
    uint32_t n_seeds, standing;
    char *note, *cause, *architecture;
} recorded_node;

typedef struct recorded_call {
    int64_t idx, attempt;
    char request_hash[65], prompt[65], answer[65], state[16];
    bool analysis;
} recorded_call;

typedef struct replay {
    aira__registry *registry;
    aira__journal *journal;
    json_t *study, *differences;
    json_t *quotas; /* as the run shared out its budget, stage by stage */
    aira__asking asking;
    const char **tokens;
    int n_tokens;
    /* of the current search */
    int64_t search;
    recorded_node *nodes;
    recorded_call *calls;
    int n_nodes, n_calls, at_call; /* calls before at_call belong to nodes that have been decided */
    aira__memory memory;
    sqlite3_stmt *scores;
} replay;

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

static void differ(replay *r, uint32_t idx, const char *format, const char *a, const char *b) {
    char text[512], detail[400];
    if (json_array_size(r->differences) >= MAX_DIFFERENCES) return;
    snprintf(detail, sizeof detail, format, a, b);
    snprintf(text, sizeof text, "search %" PRId64 " node %u: %s", r->search, idx, detail);
    json_array_append_new(r->differences, json_string(text));
}

static aira_status take_node(void *context, const aira__journal_node *row, aira_error *error) {
    replay *r = context;
    recorded_node *more = realloc(r->nodes, (size_t)(r->n_nodes + 1) * sizeof *more);
    if (!more) return no_memory(error);
    r->nodes = more;
    recorded_node *n = &more[r->n_nodes++];
    *n = (recorded_node){.parent = row->parent,
                         .other_parent = row->other_parent,
                         .search_score = row->search_score,
                         .selection_score = row->selection_score,
                         .spread = row->spread,
                         .n_seeds = (uint32_t)row->seeds,
                         .standing = aira__standing_code(row->standing),
                         .note = row->note ? strdup(row->note) : NULL,
                         .cause = row->cause ? strdup(row->cause) : NULL,
                         .architecture = row->architecture ? strdup(row->architecture) : NULL};
    snprintf(n->operator_name, sizeof n->operator_name, "%s", row->operator_name);
    snprintf(n->hash, sizeof n->hash, "%s", row->hash ? row->hash : "");
    snprintf(n->status, sizeof n->status, "%s", row->status);
    return AIRA_OK;
}

static aira_status take_call(void *context, const aira__journal_call *row, aira_error *error) {
    replay *r = context;
    recorded_call *more = realloc(r->calls, (size_t)(r->n_calls + 1) * sizeof *more);
    if (!more) return no_memory(error);
    r->calls = more;
    recorded_call *c = &more[r->n_calls++];
    *c = (recorded_call){
        .idx = row->idx, .attempt = row->attempt, .analysis = !strcmp(row->operator_name, AIRA__OPERATOR_ANALYSE)};
    snprintf(c->prompt, sizeof c->prompt, "%s", row->prompt);
    snprintf(c->request_hash, sizeof c->request_hash, "%s", row->request_hash);
    snprintf(c->answer, sizeof c->answer, "%s", row->answer ? row->answer : "");
    snprintf(c->state, sizeof c->state, "%s", row->state);
    return AIRA_OK;
}

static void forget_search(replay *r) {
    for (int i = 0; i < r->n_nodes; i++) {
        free(r->nodes[i].note);
        free(r->nodes[i].cause);
        free(r->nodes[i].architecture);
    }
    free(r->nodes);
    free(r->calls);
    r->nodes = NULL;
    r->calls = NULL;
    r->n_nodes = r->n_calls = r->at_call = 0;
}

/* An evaluation of the journal, as the queue of the run had it. */
static bool find_score(void *context, const char *hash, uint64_t seed, aira__purpose purpose, aira__result *out) {
    replay *r = context;
    const char *sql = "SELECT status, search_score, selection_score, cause, error FROM evaluation WHERE hash = ? AND "
                      "seed = ? AND purpose = ?";
    if (!r->scores && sqlite3_prepare_v2(aira__journal_db(r->journal), sql, -1, &r->scores, NULL) != SQLITE_OK)
        return false;
    sqlite3_stmt *s = r->scores;
    sqlite3_reset(s);
    sqlite3_bind_text(s, 1, hash, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(s, 2, (int64_t)seed);
    sqlite3_bind_text(s, 3, aira__purpose_name(purpose), -1, SQLITE_STATIC);
    if (sqlite3_step(s) != SQLITE_ROW) return false;
    *out = (aira__result){.ok = !strcmp((const char *)sqlite3_column_text(s, 0), "ok"),
                          .search_score = sqlite3_column_type(s, 1) == SQLITE_NULL ? NAN : sqlite3_column_double(s, 1),
                          .selection_score = sqlite3_column_type(s, 2) == SQLITE_NULL ? NAN
                                                                                      : sqlite3_column_double(s, 2),
                          .test_score = NAN,
                          .cause = (const char *)sqlite3_column_text(s, 3),
                          .error = (const char *)sqlite3_column_text(s, 4)};
    return true;
}

/* Compares a question that was built again with the one that was asked. Version 1 asked in other words. */
static void check_call(replay *r, uint32_t idx, const aira__request *request, const recorded_call *c) {
    if (!strcmp(request->hash, c->request_hash)) return;
    json_t *v1 = aira__journal_request_v1(aira__journal_db(r->journal), c->prompt, NULL);
    if (!v1)
        differ(r, idx, "the question differs (recorded %.12s, now %.12s): a prompt or the state has changed",
               c->request_hash, request->hash);
    json_decref(v1);
}

/* The candidate of an answer: its hash, or the reason why there is none. */
static aira_status read_answer(const replay *r, uint32_t idx, const char *text, char hash[65], aira_error *reason,
                               aira_error *error) {
    aira__candidate candidate = {0};
    aira_status status = aira__candidate_read(&r->asking, idx, text, &candidate, reason, error);
    if (status == AIRA_OK) memcpy(hash, candidate.hash, 65);
    aira__candidate_release(&candidate);
    return reason->status == AIRA_E_FAILED ? AIRA_OK : status;
}

static aira_status keep_prose(replay *r, uint32_t idx, const char *text, bool analysis, aira_error *error) {
    char *prose = text ? aira__answer_prose(text) : NULL;
    aira_status status = text && !prose ? no_memory(error)
                                        : aira__memory_keep(&r->memory, idx, analysis ? NULL : prose,
                                                            analysis ? prose : NULL, error);
    free(prose);
    return status;
}

/* Goes through a node's calls and parses its last answer: the candidate's hash, or "" with the reason. */
static aira_status repeat_calls(replay *r, const aira__tree *tree, uint32_t idx, char hash[65], aira_error *error) {
    aira__request request = {0};
    char *text = NULL;
    hash[0] = 0;
    aira_status status = aira__request_first(&r->asking, idx, tree->committed, &request, error);
    for (; status == AIRA_OK && r->at_call < r->n_calls; r->at_call++) {
        const recorded_call *c = &r->calls[r->at_call];
        if (c->idx > (int64_t)idx || (c->idx == (int64_t)idx && c->analysis)) break;
        if (c->idx < (int64_t)idx || !strcmp(c->state, "asked")) continue;
        check_call(r, idx, &request, c);
        bool answered = !strcmp(c->state, "answered");
        aira_error reason = {0};
        free(text);
        text = answered && c->answer[0] ? aira__journal_get_text(r->journal, c->answer, error) : NULL;
        if (text) status = read_answer(r, idx, text, hash, &reason, error);
        if (status == AIRA_OK && !hash[0])
            status = aira__request_again(&r->asking, text, text ? reason.text : NULL, &request, error);
    }
    if (status == AIRA_OK) status = keep_prose(r, idx, text, false, error);
    free(text);
    aira__request_release(&request);
    return status;
}

/* The analysis of a node, where it has one. */
static aira_status repeat_analysis(replay *r, const aira__tree *tree, uint32_t idx, aira_error *error) {
    const recorded_call *c = r->at_call < r->n_calls ? &r->calls[r->at_call] : NULL;
    if (!c || c->idx != (int64_t)idx || !c->analysis) return AIRA_OK;
    r->at_call++;
    const recorded_node *n = &r->nodes[idx];
    aira__request request = {0};
    if (!strcmp(c->state, "asked") || !n->architecture) return AIRA_OK;
    aira_status status = aira__request_analyse(&r->asking, idx, tree->committed, n->hash, n->architecture, &request,
                                               error);
    if (status == AIRA_OK) check_call(r, idx, &request, c);
    char *text = !strcmp(c->state, "answered") ? aira__journal_get_text(r->journal, c->answer, error) : NULL;
    if (status == AIRA_OK) status = keep_prose(r, idx, text, true, error);
    free(text);
    aira__request_release(&request);
    return status;
}

/* What the scaffold proposes now. */
static aira_status repeat_proposal(const replay *r, aira__tree *tree, uint32_t idx, const uint16_t *layers,
                                   char hash[65], aira_error *error) {
    aira__candidate candidate = {0};
    aira_status status = aira__tree_propose(tree, idx, layers, error);
    if (status == AIRA_OK) status = aira__candidate_make(layers, r->asking.n_layers, r->tokens, &candidate, error);
    memcpy(hash, candidate.hash, 65);
    aira__candidate_release(&candidate);
    return status;
}

static aira__outcome outcome_of(const recorded_node *n) {
    return (aira__outcome){!strcmp(n->status, "good") ? AIRA_NODE_GOOD : AIRA_NODE_BUGGY,
                           n->hash[0] ? n->hash : NULL,
                           n->architecture,
                           n->note,
                           n->cause,
                           n->search_score,
                           n->selection_score};
}

/* The decision is compared; the recorded outcome is taken over. */
static aira_status repeat_node(replay *r, aira__tree *tree, const aira_action *action, aira_error *error) {
    int64_t at = aira__tree_add(tree, action->operator_code, action->parent, action->other_parent);
    if (at < 0) return no_memory(error);
    uint32_t idx = (uint32_t)at;
    const recorded_node *n = &r->nodes[idx];
    const char *operator_name = aira__operator_name(action->operator_code);
    char hash[65], was[64], now[64];
    if (strcmp(operator_name, n->operator_name))
        differ(r, idx, "operator was %s, is now %s", n->operator_name, operator_name);
    if (action->parent != n->parent || action->other_parent != n->other_parent) {
        snprintf(was, sizeof was, "%" PRId64 "/%" PRId64, n->parent, n->other_parent);
        snprintf(now, sizeof now, "%" PRId64 "/%" PRId64, action->parent, action->other_parent);
        differ(r, idx, "parents were %s, are now %s", was, now);
    }
    aira_status status = action->act == AIRA_ACT_PROPOSE ? repeat_proposal(r, tree, idx, action->layers, hash, error)
                                                         : repeat_calls(r, tree, idx, hash, error);
    if (status == AIRA_OK) status = repeat_analysis(r, tree, idx, error);
    if (status != AIRA_OK) return status;
    bool pending = !strcmp(n->status, "pending");
    if (!pending && strcmp(hash, n->hash))
        differ(r, idx, "candidate was %.12s, is now %.12s", n->hash[0] ? n->hash : "none", hash[0] ? hash : "none");
    aira__outcome outcome = outcome_of(n), first;
    if (pending) return AIRA_OK;
    if (!aira__standing_first(tree, &outcome, find_score, r, &first) && n->hash[0])
        differ(r, idx, "has no evaluation in the journal%s%s", "", "");
    return aira__tree_finish(tree, idx, &first, error);
}

/* Commits the next node with the seeds that the journal holds, and compares what comes of it with what is recorded. */
static aira_status repeat_commit(replay *r, aira__tree *tree, aira_error *error) {
    uint32_t idx = tree->committed;
    const recorded_node *n = &r->nodes[idx];
    bool complete = true;
    aira_status status = AIRA_OK;
    if (aira__standing_contends(tree)) status = aira__standing_fill(tree, find_score, r, &complete, error);
    if (status != AIRA_OK) return status;
    if (!complete) {
        differ(r, idx, "its further seeds are not in the journal%s%s", "", "");
        aira__outcome recorded = {!strcmp(n->status, "good") ? AIRA_NODE_GOOD : AIRA_NODE_BUGGY,
                                  NULL,
                                  NULL,
                                  NULL,
                                  NULL,
                                  n->search_score,
                                  n->selection_score};
        aira__standing_keep(tree, idx, &recorded, n->n_seeds, n->spread, n->standing);
    }
    const aira__tree_node *now = aira__tree_commit(tree);
    bool same = !strcmp(aira__status_name(now->status), n->status) && now->standing == n->standing;
    if (now->status == AIRA_NODE_GOOD)
        same = same && now->search_score == n->search_score && now->n_seeds == n->n_seeds;
    if (!same) differ(r, idx, "its score and standing do not follow from its evaluations%s%s", "", "");
    return AIRA_OK;
}

/* Nodes that a fork took over: they were decided in the run that search.origin ("DIR search:idx") names, perhaps by
   another scaffold. */
static uint32_t taken_over(const replay *r) {
    sqlite3_stmt *s = NULL;
    long long idx = -1;
    if (sqlite3_prepare_v2(aira__journal_db(r->journal), "SELECT origin FROM search WHERE id = ?", -1, &s, NULL) ==
            SQLITE_OK &&
        sqlite3_bind_int64(s, 1, r->search) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        const char *origin = (const char *)sqlite3_column_text(s, 0), *colon = origin ? strrchr(origin, ':') : NULL;
        if (colon) idx = strtoll(colon + 1, NULL, 10);
    }
    sqlite3_finalize(s);
    return idx < 0 || idx >= r->n_nodes ? 0 : (uint32_t)idx + 1;
}

/* What the answers of a taken-over node taught, for the prompts of later ones. */
static aira_status take_prose(replay *r, uint32_t idx, aira_error *error) {
    char *plan = NULL, *analysis = NULL;
    for (; r->at_call < r->n_calls && r->calls[r->at_call].idx <= (int64_t)idx; r->at_call++) {
        const recorded_call *c = &r->calls[r->at_call];
        char **into = c->analysis ? &analysis : &plan;
        free(*into);
        *into = !strcmp(c->state, "answered") && c->answer[0] ? aira__journal_get_text(r->journal, c->answer, error)
                                                              : NULL;
    }
    aira_status status = keep_prose(r, idx, plan, false, error);
    if (status == AIRA_OK && analysis) status = keep_prose(r, idx, analysis, true, error);
    free(plan);
    free(analysis);
    return status;
}

/* As a resumed run puts its nodes back: nothing is decided, nothing compared. */
static aira_status take_over(replay *r, aira__tree *tree, aira_error *error) {
    aira_status status = AIRA_OK;
    uint32_t n_taken = taken_over(r);
    for (uint32_t i = 0; status == AIRA_OK && i < n_taken; i++) {
        const recorded_node *n = &r->nodes[i];
        int64_t code = aira__operator_code(n->operator_name);
        aira__outcome recorded = outcome_of(n), first;
        bool complete = true;
        if (code < 0 || aira__tree_add(tree, (uint32_t)code, n->parent, n->other_parent) < 0) return no_memory(error);
        status = take_prose(r, i, error);
        (void)aira__standing_first(tree, &recorded, find_score, r, &first);
        if (status == AIRA_OK) status = aira__tree_finish(tree, i, &first, error);
        if (status == AIRA_OK && aira__standing_contends(tree))
            status = aira__standing_fill(tree, find_score, r, &complete, error);
        if (!complete) aira__standing_keep(tree, i, &recorded, n->n_seeds, n->spread, n->standing);
        if (status == AIRA_OK) (void)aira__tree_commit(tree);
    }
    return status;
}

static int64_t least(int64_t a, int64_t b) { return a < 0 ? b : b < 0 ? a : a < b ? a : b; }

/* A limit of this search: its share at a stage, or less if it has one of its own. which: 0 candidates, 1 evaluations.
 */
static int64_t limit_of(const replay *r, const aira__budget *own, size_t stage, int which) {
    const json_t *pair = json_array_get(json_array_get(r->quotas, stage), (size_t)r->search - 1);
    int64_t share = pair ? json_integer_value(json_array_get(pair, (size_t)which)) : -1;
    return least(share, which ? own->evaluations : own->candidates);
}

/* Decides until the recorded nodes are used up. */
static aira_status repeat_tree(replay *r, aira__tree *tree, const aira__instance *scaffold, const aira__budget *own,
                               aira_error *error) {
    aira_status status = AIRA_OK;
    size_t stage = 0;
    bool stopping = false;
    while (status == AIRA_OK && tree->n < (uint32_t)r->n_nodes) {
        aira__step step = {.kind = AIRA__STEP_COMMIT};
        if (!stopping)
            status = aira__tree_step(tree, scaffold->plugin->table, scaffold->self, limit_of(r, own, stage, 0),
                                     limit_of(r, own, stage, 1), &step, error);
        if (status != AIRA_OK) break;
        if (step.kind == AIRA__STEP_ASK || step.kind == AIRA__STEP_PROPOSE) {
            status = repeat_node(r, tree, &step.action, error);
        } else if (step.kind == AIRA__STEP_STOP && step.quota) {
            stopping = true;
        } else if (step.kind == AIRA__STEP_COMMIT && tree->committed < tree->n &&
                   tree->nodes[tree->committed].finished) {
            status = repeat_commit(r, tree, error);
        } else if (stopping && tree->committed == tree->n && ++stage < json_array_size(r->quotas)) {
            stopping = false;
        } else {
            differ(r, tree->n, "was decided then; now %s%s",
                   step.kind == AIRA__STEP_STOP ? "the scaffold stops" : "nothing is left to decide it from", "");
            break;
        }
    }
    while (status == AIRA_OK && tree->committed < tree->n && tree->nodes[tree->committed].finished)
        status = repeat_commit(r, tree, error); /* the last ones, which no decision needed */
    return status;
}

static aira_status replay_search(replay *r, const json_t *config, aira_error *error) {
    aira__instance *scaffold = NULL;
    aira__tree tree;
    aira__budget own;
    aira__budget_from_json(json_object_get(config, "budget"), &own);
    uint64_t seed = (uint64_t)aira__json_int(config, "seed", 1);
    aira__tree_init(&tree, seed, (uint32_t)aira__json_int(config, "parallel", 1),
                    json_is_true(json_object_get(r->study, "higher_is_better")));
    aira__memory_init(&r->memory, &tree);
    const json_t *confirm = json_object_get(r->study, "confirm");
    aira__tree_confirm(&tree, (uint32_t)aira__json_int(confirm, "seeds", 1), aira__json_real(confirm, "alpha", 0.05),
                       (uint32_t)aira__json_int(confirm, "searches", 1));
    aira_status status = aira__asking_open(r->study, config, &tree, &r->memory, r->journal, &r->asking, error);
    if (status == AIRA_OK) status = aira__journal_each_node(r->journal, r->search, take_node, r, error);
    if (status == AIRA_OK) status = aira__journal_each_call(r->journal, r->search, take_call, r, error);
    if (status == AIRA_OK)
        status = aira__instance_create_json(r->registry, "scaffold", json_object_get(config, "scaffold"), &scaffold,
                                            error);
    if (status == AIRA_OK)
        status = aira__tree_shape(&tree, r->asking.design ? 0 : (uint32_t)r->asking.n_layers, r->tokens,
                                  (uint32_t)r->n_tokens, error);
    if (status == AIRA_OK) status = take_over(r, &tree, error);
    if (status == AIRA_OK) status = repeat_tree(r, &tree, scaffold, &own, error);
    aira__instance_destroy(scaffold);
    aira__asking_release(&r->asking);
    aira__memory_release(&r->memory);
    aira__tree_release(&tree);
    return status;
}

static aira_status open_study(replay *r, aira_error *error) {
    char *config = aira__journal_get_study(r->journal, "config", error);
    r->study = config ? aira__json_parse(config, strlen(config), "the journal's study", error) : NULL;
    free(config);
    r->differences = json_array();
    if (!r->study) return aira__fail(error, AIRA_E_CORRUPT, "the journal holds no study");
    char *quotas = aira__journal_get_study(r->journal, "quotas", error);
    r->quotas = quotas ? aira__json_parse(quotas, strlen(quotas), "the journal's quotas", error) : json_array();
    free(quotas);
    if (!r->quotas) return AIRA_E_CORRUPT;
    const json_t *tokens = json_object_get(r->study, "tokens"), *token;
    size_t i;
    r->n_tokens = (int)json_array_size(tokens);
    r->tokens = calloc((size_t)r->n_tokens + 1, sizeof *r->tokens);
    if (!r->tokens || !r->differences) return no_memory(error);
    json_array_foreach(tokens, i, token) r->tokens[i] = json_string_value(token);
    return AIRA_OK;
}

aira_status aira__replay(aira__registry *registry, const char *dir, json_t **result, aira_error *error) {
    replay r = {.registry = registry};
    aira__journal_options options = {.read_only = true, .check = true};
    char *path = aira__path_join(dir, "journal.db");
    int64_t nodes = 0;
    *result = NULL;
    aira_status status = path ? aira__journal_open(path, &options, &r.journal, error) : no_memory(error);
    free(path);
    if (status == AIRA_OK) status = open_study(&r, error);
    const json_t *searches = json_object_get(r.study, "searches");
    for (size_t i = 0; status == AIRA_OK && i < json_array_size(searches); i++) {
        r.search = (int64_t)i + 1;
        status = replay_search(&r, json_array_get(searches, i), error);
        nodes += r.n_nodes;
        forget_search(&r);
    }
    if (status == AIRA_OK) {
        *result = json_pack("{s:s, s:I, s:I, s:b, s:O}", "run_dir", dir, "searches",
                            (json_int_t)json_array_size(searches), "nodes", (json_int_t)nodes, "same",
                            json_array_size(r.differences) == 0, "differences", r.differences);
        if (!*result) status = no_memory(error);
    }
    forget_search(&r);
    sqlite3_finalize(r.scores);
    aira__journal_close(r.journal);
    json_decref(r.study);
    json_decref(r.differences);
    json_decref(r.quotas);
    free(r.tokens);
    return status;
}
