/* core/search/final.c - the one time that the test split is opened: after the searches, on fresh seeds (docs/trust.md).
 *
 * What a search reports as its best is the best of many noisy scores, and so too good. The winner and what it is
 * compared with are therefore trained once more, on seeds that no search has seen, and scored on a split that nobody
 * has seen. What is opened is written down, with its event, before anything is trained; from then on a resumed run
 * completes exactly that and chooses nothing again.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aira/rng.h"
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/compose/notation.h"
#include "core/search/candidate.h"
#include "core/search/run_internal.h"
#include "core/search/trust.h"

#define WAIT_MICROSECONDS 10000

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

/* ---- fresh seeds ---- */

static bool used_in_search(const aira__run *run, uint64_t seed) {
    for (int i = 0; i < run->n_searches; i++)
        for (uint32_t k = 0; k < run->searches[i].tree.seeds; k++)
            if (aira__confirm_seed(run->searches[i].tree.seed, k) == seed) return true;
    return false;
}

/* They follow from the study's name and the seeds of its searches. */
static json_t *fresh_seeds(const aira__run *run, int n) {
    char text[128], hash[65];
    aira__sha256_ctx ctx;
    const char *name = aira__json_string(run->study, "study", "");
    aira__sha256_start(&ctx);
    aira__sha256_add(&ctx, name, strlen(name));
    for (int i = 0; i < run->n_searches; i++) {
        int length = snprintf(text, sizeof text, "/%" PRIu64, run->searches[i].tree.seed);
        aira__sha256_add(&ctx, text, (size_t)length);
    }
    aira__sha256_finish_hex(&ctx, hash);
    hash[16] = 0;
    uint64_t key = aira_key(strtoull(hash, NULL, 16), "final");
    json_t *seeds = json_array();
    for (uint32_t k = 1; seeds && (int)json_array_size(seeds) < n; k++) {
        uint32_t words[4];
        aira_philox(key, 0, k, words);
        uint64_t seed = ((uint64_t)words[0] << 32 | words[1]) >> 1;
        if (!used_in_search(run, seed) && json_array_append_new(seeds, json_integer((json_int_t)seed))) {
            json_decref(seeds);
            return NULL;
        }
    }
    return seeds;
}

/* ---- what is opened ---- */

static aira_status append(json_t *list, json_t *value, aira_error *error) {
    return value && !json_array_append_new(list, value) ? AIRA_OK : no_memory(error);
}

static aira_status add_node(const aira__search *s, int64_t idx, const char *role, const char *name, json_t *entries,
                            aira_error *error) {
    const aira__tree_node *node = &s->tree.nodes[idx];
    return append(entries,
                  json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:{s:f, s:o}}", "role", role, "name", name, "hash",
                            node->hash, "architecture", node->architecture ? node->architecture : "", "search",
                            (json_int_t)s->id, "node", (json_int_t)idx, "searched", "search", node->search_score,
                            "selection", aira__json_number(node->selection_score)),
                  error);
}

static aira_status add_baseline(aira__run *run, const char *name, json_t *entries, aira_error *error) {
    const char *architecture = aira__json_string(json_object_get(run->study, "baselines"), name, "");
    int n_layers = run->asking.n_layers, n = 0, n_tokens = 0;
    uint16_t *layers = calloc((size_t)n_layers + 1, sizeof *layers);
    const char **tokens = aira__baseline_tokens(run->study, &n_tokens);
    aira__candidate c = {0};
    aira_status status = layers && tokens ? AIRA_OK : no_memory(error);
    if (status == AIRA_OK) status = aira__notation_parse(architecture, tokens, n_tokens, layers, n_layers, &n, error);
    if (status == AIRA_OK) status = aira__candidate_make(layers, n, tokens, &c, error);
    if (status == AIRA_OK)
        status = aira__journal_add_candidate(run->journal, c.hash, "compose", c.architecture, c.text, error);
    if (status == AIRA_OK)
        status = append(entries,
                        json_pack("{s:s, s:s, s:s, s:s, s:n, s:n, s:n}", "role", "baseline", "name", name, "hash",
                                  c.hash, "architecture", c.architecture, "search", "node", "searched"),
                        error);
    aira__candidate_release(&c);
    free(tokens);
    free(layers);
    return status;
}

static int64_t first_good(const aira__tree *tree) {
    for (uint32_t i = 0; i < tree->committed; i++)
        if (tree->nodes[i].status == AIRA_NODE_GOOD) return i;
    return -1;
}

/* The search whose submission has the best selection score; NULL: none has one. */
static const aira__search *winning_search(const aira__run *run) {
    const aira__search *winner = NULL;
    double best = NAN;
    for (int i = 0; i < run->n_searches; i++) {
        const aira__tree *tree = &run->searches[i].tree;
        int64_t idx = aira__tree_best(tree, true);
        if (idx < 0) continue;
        double score = tree->nodes[idx].selection_score;
        if (winner && !(tree->higher_is_better ? score > best : score < best)) continue;
        winner = &run->searches[i];
        best = score;
    }
    return winner;
}

/* A search's submission and, where it is wanted, its first good node. */
static aira_status add_search(const aira__search *s, const char *role, const char *name, bool reference,
                              json_t *entries, aira_error *error) {
    char first[64];
    snprintf(first, sizeof first, "first of search %" PRId64, s->id);
    aira_status status = add_node(s, aira__tree_best(&s->tree, true), role, name, entries, error);
    if (status == AIRA_OK && reference) status = add_node(s, first_good(&s->tree), "reference", first, entries, error);
    return status;
}

static aira_status choose(aira__run *run, const json_t *config, json_t *entries, aira_error *error) {
    const json_t *names = json_object_get(config, "baselines");
    const aira__search *winner = winning_search(run);
    const json_t *first = json_object_get(config, "first"); /* older studies do not say */
    bool reference = first ? json_is_true(first) : json_array_size(names) == 0;
    bool each = strcmp(aira__json_string(config, "of", "winner"), "winner") != 0;
    aira_status status = AIRA_OK;
    if (!winner) return AIRA_OK;
    if (!each) status = add_search(winner, "winner", "winner", reference, entries, error);
    for (int i = 0; each && status == AIRA_OK && i < run->n_searches; i++) {
        char name[64];
        snprintf(name, sizeof name, "search %" PRId64, run->searches[i].id);
        if (aira__tree_best(&run->searches[i].tree, true) >= 0)
            status = add_search(&run->searches[i], "submission", name, reference, entries, error);
    }
    for (size_t i = 0; status == AIRA_OK && i < json_array_size(names); i++)
        status = add_baseline(run, json_string_value(json_array_get(names, i)), entries, error);
    return status;
}

/* "winner 2Mb M Mb (search 1, node 3); baseline ..., on seeds ...", malloc'ed. */
static char *opening_sentence(const aira__run *run, const json_t *entries, const json_t *seeds) {
    aira__buf b = {0};
    aira__buf_printf(&b, "final scoring of study %s: ", aira__json_string(run->study, "study", ""));
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *e = json_array_get(entries, i);
        const char *role = aira__json_string(e, "role", ""), *name = aira__json_string(e, "name", "");
        aira__buf_printf(&b, "%s%s%s%s %s", i ? "; " : "", role, strcmp(role, name) ? " " : "",
                         strcmp(role, name) ? name : "", aira__json_string(e, "architecture", ""));
        if (json_is_integer(json_object_get(e, "node")))
            aira__buf_printf(&b, " (search %lld, node %lld)", (long long)aira__json_int(e, "search", 0),
                             (long long)aira__json_int(e, "node", 0));
    }
    aira__buf_printf(&b, "; on fresh seeds");
    for (size_t i = 0; i < json_array_size(seeds); i++)
        aira__buf_printf(&b, "%s %lld", i ? "," : "", (long long)json_integer_value(json_array_get(seeds, i)));
    return aira__buf_take(&b);
}

static aira_status write_opening(aira__run *run, const json_t *plan, const char *sentence, aira_error *error) {
    char *text = aira__json_canonical(plan);
    if (!text) return no_memory(error);
    aira_status status = aira__journal_begin(run->journal, error);
    if (status == AIRA_OK) {
        status = aira__journal_set_result(run->journal, "final", "opened", text, error);
        if (status == AIRA_OK) status = aira__journal_event(run->journal, "test_opened", -1, -1, sentence, error);
        if (status == AIRA_OK)
            status = aira__journal_commit(run->journal, error);
        else
            aira__journal_rollback(run->journal);
    }
    free(text);
    return status;
}

/* *plan: {"seeds", "of", "opened": {"time", "by", "text"}, "entries"}, as written down now or by an earlier session;
   NULL where nothing can be opened. */
static aira_status open_test(aira__run *run, const json_t *config, json_t **plan, aira_error *error) {
    char *known = aira__journal_get_result(run->journal, "final", "opened", NULL), by[64];
    *plan = known ? aira__json_parse(known, strlen(known), "the journal's final scoring", error) : NULL;
    aira_status status = known && !*plan ? AIRA_E_CORRUPT : AIRA_OK;
    free(known);
    if (*plan || status != AIRA_OK) return status;
    json_t *entries = json_array(), *seeds = fresh_seeds(run, (int)aira__json_int(config, "seeds", 0));
    char *sentence = NULL;
    status = entries && seeds ? choose(run, config, entries, error) : no_memory(error);
    if (status == AIRA_OK && json_array_size(entries)) {
        snprintf(by, sizeof by, "aira %s", AIRA_VERSION);
        sentence = opening_sentence(run, entries, seeds);
        *plan = sentence ? json_pack("{s:O, s:s, s:{s:f, s:s, s:s}, s:O}", "seeds", seeds, "of",
                                     aira__json_string(config, "of", "winner"), "opened", "time", aira__wall(), "by",
                                     by, "text", sentence, "entries", entries)
                         : NULL;
        status = *plan ? write_opening(run, *plan, sentence, error) : no_memory(error);
    }
    json_decref(entries);
    json_decref(seeds);
    free(sentence);
    if (status != AIRA_OK) {
        json_decref(*plan);
        *plan = NULL;
    }
    return status;
}

/* ---- training ---- */

static aira_status want_all(aira__run *run, const json_t *plan, aira_error *error) {
    const json_t *entries = json_object_get(plan, "entries"), *seeds = json_object_get(plan, "seeds");
    aira_status status = AIRA_OK;
    for (size_t i = 0; status == AIRA_OK && i < json_array_size(entries); i++) {
        aira__candidate c = {0};
        status = aira__candidate_load(run->journal, aira__json_string(json_array_get(entries, i), "hash", ""), &c,
                                      error);
        for (size_t k = 0; status == AIRA_OK && k < json_array_size(seeds); k++) {
            aira__want want = {.hash = c.hash,
                               .canonical = c.canonical,
                               .seed = (uint64_t)json_integer_value(json_array_get(seeds, k)),
                               .purpose = AIRA__FOR_FINAL,
                               .order = i * AIRA__MAX_SEEDS + k};
            status = aira__queue_add(run->queue, &want, error);
        }
        aira__candidate_release(&c);
    }
    return status;
}

static bool all_known(const aira__run *run, const json_t *plan) {
    const json_t *entries = json_object_get(plan, "entries"), *seeds = json_object_get(plan, "seeds");
    for (size_t i = 0; i < json_array_size(entries); i++)
        for (size_t k = 0; k < json_array_size(seeds); k++) {
            aira__result r;
            if (!aira__queue_find(run->queue, aira__json_string(json_array_get(entries, i), "hash", ""),
                                  (uint64_t)json_integer_value(json_array_get(seeds, k)), AIRA__FOR_FINAL, &r))
                return false;
        }
    return true;
}

/* Until everything is known, or, after an interrupt, until what was running has ended. */
static aira_status train(aira__run *run, const json_t *plan, bool *interrupted, aira_error *error) {
    aira_status status = want_all(run, plan, error);
    int running = 0, waiting = 0;
    bool news = true, known = status == AIRA_OK && all_known(run, plan);
    while (status == AIRA_OK && !known) {
        if (!*interrupted && aira__run_interrupted(run)) {
            *interrupted = true;
            aira__queue_hold(run->queue, true);
        }
        status = aira__queue_pump(run->queue, &news, error);
        if (status == AIRA_OK) status = aira__queue_start(run->queue, error);
        aira__queue_counts(run->queue, &running, &waiting);
        if (*interrupted && !running) break;
        known = news && all_known(run, plan);
        if (!news) usleep(WAIT_MICROSECONDS);
        aira__progress_tick(run);
    }
    *interrupted = *interrupted && !known;
    return status;
}

aira_status aira__run_final(aira__run *run, bool *interrupted, aira_error *error) {
    const json_t *config = json_object_get(run->study, "final");
    json_t *plan = NULL, *summary = NULL;
    *interrupted = false;
    if (aira__json_int(config, "seeds", 0) < 1) return AIRA_OK;
    for (int i = 0; i < run->n_searches; i++) aira__queue_drop(run->queue, run->searches[i].id);
    aira__queue_hold(run->queue, false);
    aira_status status = open_test(run, config, &plan, error);
    if (status != AIRA_OK || !plan) return status;
    status = train(run, plan, interrupted, error);
    if (status == AIRA_OK && !*interrupted) {
        char *text = NULL;
        summary = aira__final_summary(run->queue, plan, run->asking.higher_is_better, error);
        if (!summary || !(text = aira__json_canonical(summary))) status = no_memory(error);
        if (status == AIRA_OK) status = aira__journal_set_result(run->journal, "final", "summary", text, error);
        free(text);
    }
    json_decref(summary);
    json_decref(plan);
    return status;
}
