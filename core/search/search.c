/* core/search/search.c - one search of a run: what the tree decides becomes rows, questions and evaluations.
 *
 * Order of writing. All rows of a round of run.c are one transaction; after it the questions go out and the leases are
 * started that the rows announce. So a node's row, its decision and its first call are durable before the agent is
 * asked; an answer before what it proposes is trained; a result before its lease's folder goes. Restoring is therefore:
 * rows that are not pending are the committed prefix, and a pending node continues from its last call. A node that the
 * scaffold proposed has no call; its row names the candidate from the start.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/compose/notation.h"
#include "core/search/candidate.h"
#include "core/search/run_internal.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

static int64_t least(int64_t a, int64_t b) { return a < 0 ? b : b < 0 ? a : a < b ? a : b; }

static aira__slot *free_slot(aira__search *s) {
    for (uint32_t i = 0; i < s->tree.parallel; i++)
        if (s->slots[i].phase == AIRA__SLOT_FREE) return &s->slots[i];
    return NULL;
}

static void clear_slot(aira__slot *slot) {
    aira__candidate_release(&slot->candidate);
    aira__ask_release(&slot->ask);
    slot->phase = AIRA__SLOT_FREE;
    slot->restored = slot->analysed = false;
}

void aira__search_release(aira__search *s) {
    for (uint32_t i = 0; s->slots && i < s->tree.parallel; i++) {
        aira__slot *slot = &s->slots[i];
        clear_slot(slot);
        aira__request_release(&slot->request);
        if (slot->analyst != slot->agent) aira__instance_destroy(slot->analyst);
        aira__instance_destroy(slot->agent);
    }
    free(s->slots);
    aira__asking_release(&s->asking);
    aira__memory_release(&s->memory);
    aira__tree_release(&s->tree);
    aira__instance_destroy(s->scaffold);
    free(s->label);
    free(s->held);
    *s = (aira__search){0};
}

/* ---- asking ---- */

aira_status aira__search_journal_call(aira__run *run, const aira__slot *slot, aira_error *error) {
    char prompt[65];
    aira_status status = aira__journal_put_prompt(run->journal, slot->request.messages, prompt, error);
    if (status != AIRA_OK) return status;
    aira__journal_call call = {.search = slot->search->id,
                               .idx = slot->idx,
                               .operator_name = slot->request.request.operator_name,
                               .attempt = slot->request.request.attempt,
                               .request_hash = slot->request.hash,
                               .prompt = prompt,
                               .started = aira__wall()};
    return aira__journal_begin_call(run->journal, &call, error);
}

void aira__search_ask(aira__run *run, aira__slot *slot, const aira__instance *agent) {
    aira__ask_release(&slot->ask);
    slot->asked = agent;
    slot->ask = (aira__ask){.agent = agent->plugin->table,
                            .self = agent->self,
                            .host = aira__registry_host(run->options->registry),
                            .request = &slot->request.request,
                            .owner = slot};
    run->asking_now++;
    slot->next = NULL;
    if (!run->to_ask) run->to_ask_end = &run->to_ask;
    *run->to_ask_end = slot;
    run->to_ask_end = &slot->next;
}

void aira__search_send(aira__run *run) {
    while (run->to_ask) {
        aira__slot *slot = run->to_ask;
        run->to_ask = slot->next;
        slot->asked_at = aira__now();
        aira__pool_submit(run->pool, &slot->ask);
    }
}

/* Row first, then the question. */
static aira_status ask(aira__run *run, aira__slot *slot, aira_error *error) {
    aira_status status = aira__search_journal_call(run, slot, error);
    slot->phase = AIRA__SLOT_ASKING;
    if (status == AIRA_OK) aira__search_ask(run, slot, slot->agent);
    return status;
}

/* The slot's candidate goes to the journal and is wanted from the queue. */
static aira_status want_candidate(aira__run *run, aira__slot *slot, aira_error *error) {
    const aira__candidate *c = &slot->candidate;
    aira_status status = aira__journal_add_candidate(run->journal, c->hash, aira__candidate_kind(c), c->architecture,
                                                     c->text, error);
    if (status == AIRA_OK) status = aira__search_want(run, slot->search, slot->idx, 0, c, error);
    slot->phase = AIRA__SLOT_EVALUATING;
    return status;
}

static aira_status want_layers(aira__run *run, aira__slot *slot, const uint16_t *layers, aira_error *error) {
    aira_status status = aira__candidate_make(layers, run->asking.n_layers, run->tokens, &slot->candidate, error);
    return status == AIRA_OK ? want_candidate(run, slot, error) : status;
}

/* A new node: rows first, then the question goes out. */
static aira_status start_node(aira__run *run, aira__search *s, const aira_action *action, aira_error *error) {
    bool proposed = action->act == AIRA_ACT_PROPOSE;
    aira__slot *slot = free_slot(s);
    int64_t idx = aira__tree_add(&s->tree, action->operator_code, action->parent, action->other_parent);
    if (idx < 0 || !slot) return no_memory(error);
    slot->idx = (uint32_t)idx;
    slot->view = s->tree.committed;
    aira_status status = proposed ? aira__tree_propose(&s->tree, slot->idx, action->layers, error)
                                  : aira__request_first(&s->asking, slot->idx, slot->view, &slot->request, error);
    aira__ledger_add_node(&run->ledger, s->id);
    if (status == AIRA_OK && proposed) status = want_layers(run, slot, action->layers, error);
    aira__journal_node row = {.search = s->id,
                              .idx = idx,
                              .operator_name = aira__operator_name(action->operator_code),
                              .parent = action->parent,
                              .other_parent = action->other_parent,
                              .seed = s->tree.seed,
                              .status = "pending",
                              .created = aira__wall(),
                              .view = slot->view,
                              .hash = proposed ? slot->candidate.hash : NULL};
    if (status == AIRA_OK) status = aira__journal_add_node(run->journal, &row, error);
    if (status == AIRA_OK) status = aira__journal_event(run->journal, "decision", s->id, idx, action->reason, error);
    if (status == AIRA_OK && !proposed) status = ask(run, slot, error);
    return status;
}

/* ---- outcomes ---- */

static aira_status finish_slot(aira__slot *slot, const aira__outcome *outcome, aira_error *error) {
    aira_status status = aira__tree_finish(&slot->search->tree, slot->idx, outcome, error);
    clear_slot(slot);
    return status;
}

/* The prose of an answer is its plan. */
static aira_status keep_plan(aira__run *run, aira__slot *slot, const char *answer, aira_error *error) {
    aira__search *s = slot->search;
    char *plan = aira__answer_prose(answer);
    if (!plan) return no_memory(error);
    aira_status status = AIRA_OK;
    if (*plan) status = aira__journal_set_plan(run->journal, s->id, slot->idx, plan, error);
    if (status == AIRA_OK) status = aira__memory_keep(&s->memory, slot->idx, plan, NULL, error);
    free(plan);
    return status;
}

/* The answer could not be used: ask again, or give the node up. said NULL: the agent itself failed. */
static aira_status answer_refused(aira__run *run, aira__slot *slot, const char *said, const char *reason,
                                  aira_error *error) {
    aira_status status = AIRA_OK;
    if (slot->request.request.attempt + 1 >= AIRA__MAX_ATTEMPTS) {
        aira__outcome outcome = {AIRA_NODE_BUGGY, NULL, NULL, reason, said ? "answer" : "agent", NAN, NAN};
        if (said) status = keep_plan(run, slot, said, error);
        return status == AIRA_OK ? finish_slot(slot, &outcome, error) : status;
    }
    status = aira__request_again(&slot->search->asking, said, said ? reason : NULL, &slot->request, error);
    return status == AIRA_OK ? ask(run, slot, error) : status;
}

static aira_status use_answer(aira__run *run, aira__slot *slot, const char *answer, aira_error *error) {
    aira_error reason;
    aira__candidate_release(&slot->candidate);
    aira_status status = aira__candidate_read(&slot->search->asking, slot->idx, answer, &slot->candidate, &reason,
                                              error);
    if (reason.status == AIRA_E_FAILED) return answer_refused(run, slot, answer, reason.text, error);
    if (status == AIRA_OK) status = keep_plan(run, slot, answer, error);
    return status == AIRA_OK ? want_candidate(run, slot, error) : status;
}

/* Nobody can be asked until a person has repaired something: the question stays open, and resuming asks it again. */
static aira_status hold(aira__run *run, aira__slot *slot, aira_error *error) {
    aira__search *s = slot->search;
    aira_status status = aira__call_end(run, slot, NULL, error);
    if (status == AIRA_OK && !s->held) {
        s->held = strdup(slot->ask.error);
        aira__log(AIRA_LOG_ERROR, "search %" PRId64 " (%s) is held: %s", s->id, s->label, slot->ask.error);
        status = s->held ? aira__journal_event(run->journal, "held", s->id, slot->idx, s->held, error)
                         : no_memory(error);
    }
    slot->phase = AIRA__SLOT_HELD;
    return status;
}

aira_status aira__search_answered(aira__run *run, aira__slot *slot, aira_error *error) {
    aira__ask *a = &slot->ask;
    run->asking_now--;
    if (a->status == AIRA_E_DENIED && slot->phase == AIRA__SLOT_ASKING) return hold(run, slot, error);
    if (a->status == AIRA_E_CANCELLED && run->draining) { /* it waited for its server; the question stays open */
        slot->phase = AIRA__SLOT_HELD;
        return aira__call_end(run, slot, NULL, error);
    }
    char *text = aira__clean_text(&a->text);
    if (!text) return no_memory(error);
    aira_status status = aira__call_end(run, slot, text, error);
    slot->search->moved = true;
    if (status == AIRA_OK && (run->draining || slot->search->done)) {
        clear_slot(slot); /* it is written down; who goes on from here goes on from there */
    } else if (status == AIRA_OK && slot->phase == AIRA__SLOT_ANALYSING) {
        status = aira__analysis_answered(run, slot, a->status == AIRA_OK ? text : NULL, error);
    } else if (status == AIRA_OK) {
        char failure[sizeof a->error];
        memcpy(failure, a->error, sizeof failure);
        status = a->status == AIRA_OK ? use_answer(run, slot, text, error)
                                      : answer_refused(run, slot, NULL, failure, error);
    }
    free(text);
    return status;
}

aira_status aira__search_collect(aira__run *run, aira__search *s, aira_error *error) {
    aira_status status = AIRA_OK;
    for (uint32_t i = 0; status == AIRA_OK && i < s->tree.parallel; i++) {
        aira__slot *slot = &s->slots[i];
        aira__result r;
        if (slot->phase != AIRA__SLOT_EVALUATING ||
            !aira__queue_find(run->queue, slot->candidate.hash, s->tree.seed, AIRA__FOR_SEARCH, &r))
            continue;
        bool asked = false;
        status = aira__analysis_begin(run, slot, &asked, error);
        if (status != AIRA_OK || asked) continue;
        aira__outcome outcome = {r.ok ? AIRA_NODE_GOOD : AIRA_NODE_BUGGY,
                                 slot->candidate.hash,
                                 slot->candidate.architecture,
                                 r.ok ? NULL : r.error,
                                 r.ok ? NULL : r.cause,
                                 r.search_score,
                                 r.selection_score};
        status = finish_slot(slot, &outcome, error);
    }
    return status;
}

/* ---- deciding ---- */

static aira_status commit_node(aira__run *run, aira__search *s, aira_error *error) {
    uint32_t idx = s->tree.committed;
    const aira__tree_node *node = aira__tree_commit(&s->tree);
    char seconds[32];
    aira__journal_node row = {.search = s->id,
                              .idx = idx,
                              .hash = node->hash[0] ? node->hash : NULL,
                              .duplicate_of = node->duplicate_of,
                              .status = aira__status_name(node->status),
                              .note = node->note,
                              .cause = node->cause,
                              .search_score = node->search_score,
                              .selection_score = node->selection_score,
                              .finished = aira__wall(),
                              .seeds = node->status == AIRA_NODE_GOOD ? node->n_seeds : 0,
                              .spread = node->spread,
                              .standing = aira__standing_name(node->standing)};
    snprintf(seconds, sizeof seconds, "%.3f", aira__run_seconds(run));
    aira_status status = aira__journal_finish_node(run->journal, &row, error);
    if (status == AIRA_OK && s->tree.test.number) status = aira__search_tell_test(run, s, idx, error);
    if (status == AIRA_OK) status = aira__journal_set_study(run->journal, "seconds", seconds, error);
    if (status == AIRA_OK) aira__progress_node(run, s, idx);
    return status;
}

static aira_status stop(aira__run *run, aira__search *s, const aira__step *step, aira_error *error) {
    s->stopping = true;
    s->quota = step->quota;
    return aira__journal_search_state(run->journal, s->id, "running", step->action.reason, error);
}

aira_status aira__search_advance(aira__run *run, aira__search *s, aira_error *error) {
    aira_status status = AIRA_OK;
    while (status == AIRA_OK && !s->done) {
        aira__step step = {.kind = AIRA__STEP_COMMIT};
        if (!s->stopping) {
            status = aira__tree_step(&s->tree, s->scaffold->plugin->table, s->scaffold->self,
                                     least(s->own_candidates, s->quota_candidates),
                                     least(s->own_evaluations, s->quota_evaluations), &step, error);
            if (status != AIRA_OK) return aira__fail_in(error, "search %" PRId64 " (%s)", s->id, s->label);
        }
        if (step.kind == AIRA__STEP_STOP) {
            status = stop(run, s, &step, error);
        } else if (step.kind == AIRA__STEP_ASK || step.kind == AIRA__STEP_PROPOSE) {
            status = start_node(run, s, &step.action, error);
        } else if (s->tree.committed == s->tree.n) {
            s->done = true; /* only when stopping: a tree without pending nodes has nothing to wait for */
        } else if (s->tree.nodes[s->tree.committed].finished) {
            bool ready = true;
            status = aira__search_confirm(run, s, &ready, error);
            if (status == AIRA_OK && !ready) break;
            if (status == AIRA_OK) status = commit_node(run, s, error);
        } else {
            break;
        }
    }
    return status;
}

/* ---- restoring ---- */

typedef struct restoring {
    aira__run *run;
    aira__search *search;
    int64_t *views; /* of its pending nodes, from the first one on; at most `parallel` */
} restoring;

/* A pending node whose candidate is known was proposed. */
static aira_status restore_proposal(const restoring *r, uint32_t idx, const char *architecture, aira_error *error) {
    const aira__asking *asking = &r->run->asking;
    uint16_t *layers = calloc((size_t)asking->n_layers + 1, sizeof *layers);
    int n = 0;
    if (!layers) return no_memory(error);
    aira_status status = aira__notation_parse(architecture, r->run->tokens, r->run->n_tokens, layers, asking->n_layers,
                                              &n, error);
    if (status == AIRA_OK && n == asking->n_layers)
        status = aira__tree_propose(&r->search->tree, idx, layers, error);
    else
        status = aira__fail(error, AIRA_E_CORRUPT,
                            "the journal's candidate of node %u of search %" PRId64 " is damaged", idx, r->search->id);
    free(layers);
    return status;
}

static aira_status restore_memory(const restoring *r, const aira__journal_node *row, aira_error *error) {
    char *plan = row->plan ? aira__journal_get_text(r->run->journal, row->plan, error) : NULL;
    char *analysis = row->analysis ? aira__journal_get_text(r->run->journal, row->analysis, error) : NULL;
    bool lost = (row->plan && !plan) || (row->analysis && !analysis);
    aira_status status = lost ? aira__fail(error, AIRA_E_CORRUPT,
                                           "the journal has lost the plan of node %" PRId64 " of search %" PRId64,
                                           row->idx, row->search)
                              : aira__memory_keep(&r->search->memory, (uint32_t)row->idx, plan, analysis, error);
    free(plan);
    free(analysis);
    return status;
}

static aira_status restore_node(void *context, const aira__journal_node *row, aira_error *error) {
    const restoring *r = context;
    aira__search *s = r->search;
    int64_t code = aira__operator_code(row->operator_name);
    if (code < 0 || row->idx != (int64_t)s->tree.n)
        return aira__fail(error, AIRA_E_CORRUPT, "the journal's nodes of search %" PRId64 " are not in order", s->id);
    if (aira__tree_add(&s->tree, (uint32_t)code, row->parent, row->other_parent) < 0) return no_memory(error);
    if (!strcmp(row->status, "pending")) {
        if (row->idx - s->tree.committed >= s->tree.parallel)
            return aira__fail(error, AIRA_E_CORRUPT, "the journal holds a pending node too many of search %" PRId64,
                              s->id);
        r->views[row->idx - s->tree.committed] = row->view;
        return row->architecture ? restore_proposal(r, (uint32_t)row->idx, row->architecture, error) : AIRA_OK;
    }
    if (s->tree.committed != row->idx)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "the journal's nodes of search %" PRId64 " were not committed in order", s->id);
    aira__outcome outcome = {!strcmp(row->status, "good") ? AIRA_NODE_GOOD : AIRA_NODE_BUGGY,
                             row->hash,
                             row->architecture,
                             row->note,
                             row->cause,
                             row->search_score,
                             row->selection_score};
    aira_status status = restore_memory(r, row, error);
    return status == AIRA_OK ? aira__search_recommit(r->run, s, row, &outcome, error) : status;
}

typedef struct last_call { /* of one pending node */
    char prompt[65], answer[65], state[16];
    int64_t attempt;
    char *error;
} last_call;

static aira_status restore_call(void *context, const aira__journal_call *row, aira_error *error) {
    last_call *call = context; /* attempts come in order: the last one stays */
    if (!strcmp(row->operator_name, AIRA__OPERATOR_ANALYSE)) return AIRA_OK;
    snprintf(call->prompt, sizeof call->prompt, "%s", row->prompt);
    snprintf(call->answer, sizeof call->answer, "%s", row->answer ? row->answer : "");
    snprintf(call->state, sizeof call->state, "%s", row->state);
    call->attempt = row->attempt;
    free(call->error);
    call->error = strdup(row->error ? row->error : "the agent failed");
    return call->error ? AIRA_OK : no_memory(error);
}

/* Version 1 did not write down what a decision saw, but the whole state: its first nodes are those that had ended. */
static int64_t view_of_v1(aira__run *run, const char *prompt) {
    json_t *request = aira__journal_request_v1(aira__journal_db(run->journal), prompt, NULL), *node;
    int64_t view = 0;
    size_t i;
    json_array_foreach(json_object_get(json_object_get(request, "state"), "nodes"), i, node) {
        if (!strcmp(aira__json_string(node, "status", "pending"), "pending")) break;
        view++;
    }
    json_decref(request);
    return view;
}

/* The slot's question as it was asked last. */
static aira_status restore_question(aira__run *run, aira__slot *slot, const last_call *call, int64_t view,
                                    aira_error *error) {
    aira__search *s = slot->search;
    json_t *messages = aira__journal_messages(aira__journal_db(run->journal), call->prompt, error);
    if (!messages)
        return aira__fail_in(error, "the journal has lost the question of node %u of search %" PRId64, slot->idx,
                             s->id);
    if (view < 0) view = view_of_v1(run, call->prompt);
    slot->view = view < s->tree.committed ? (uint32_t)view : s->tree.committed;
    return aira__request_restore(&s->asking, slot->idx, slot->view, call->attempt, messages, &slot->request, error);
}

static aira_status continue_call(aira__run *run, aira__slot *slot, const last_call *call, aira_error *error) {
    if (!strcmp(call->state, "asked")) {
        aira_status status = aira__journal_event(run->journal, "repeat", slot->search->id, slot->idx,
                                                 "the call was under way when the run ended, and is made again", error);
        return status == AIRA_OK ? ask(run, slot, error) : status;
    }
    if (!strcmp(call->state, "failed")) return answer_refused(run, slot, NULL, call->error, error);
    char *text = aira__journal_get_text(run->journal, call->answer, error);
    if (!text)
        return aira__fail(error, AIRA_E_CORRUPT, "the journal has lost the answer of node %u of search %" PRId64,
                          slot->idx, slot->search->id);
    aira_status status = use_answer(run, slot, text, error);
    free(text);
    return status;
}

static aira_status continue_node(const restoring *r, uint32_t idx, aira_error *error) {
    aira__search *s = r->search;
    aira__slot *slot = free_slot(s);
    int64_t view = r->views[idx - s->tree.committed];
    last_call call = {.attempt = -1};
    if (!slot) return no_memory(error);
    slot->idx = idx;
    slot->restored = true;
    if (s->tree.nodes[idx].layers) {
        slot->view = view < 0 ? s->tree.committed : (uint32_t)view;
        return want_layers(r->run, slot, s->tree.nodes[idx].layers, error);
    }
    aira_status status = aira__journal_calls_of(r->run->journal, s->id, idx, restore_call, &call, error);
    if (status == AIRA_OK && call.attempt < 0)
        status = aira__fail(error, AIRA_E_CORRUPT,
                            "the journal lacks the question of pending node %u of search %" PRId64, idx, s->id);
    if (status == AIRA_OK) status = restore_question(r->run, slot, &call, view, error);
    if (status == AIRA_OK) status = continue_call(r->run, slot, &call, error);
    free(call.error);
    return status;
}

aira_status aira__search_restore(aira__run *run, aira__search *s, aira_error *error) {
    restoring r = {run, s, calloc(s->tree.parallel, sizeof *r.views)};
    if (!r.views) return no_memory(error);
    aira_status status = aira__journal_each_node(run->journal, s->id, restore_node, &r, error);
    for (uint32_t i = s->tree.committed; status == AIRA_OK && !s->cut && !run->spent && i < s->tree.n; i++)
        status = continue_node(&r, i, error);
    free(r.views);
    return status;
}
