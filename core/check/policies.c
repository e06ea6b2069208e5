/* policies.c - conformance of data sets, aggregators and scaffolds: pure functions, driven on made-up input.
 *
 * Each is called twice with the same arguments and must answer the same; answers must lie in the range that the
 * contract gives.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/aggregator.h"
#include "aira/dataset.h"
#include "aira/rng.h"
#include "aira/scaffold.h"
#include "core/check/check.h"

static const char *failure(const aira__subject *s) {
    const char *text = aira__host_last_failure(aira__registry_host(s->registry));
    return text[0] ? text : "no reason given";
}

/* --- data sets ------------------------------------------------------------------------------------------------------
 */

enum { ROWS = 4 };

typedef struct rows {
    int32_t *inputs, *targets;
} rows;

static bool in_range(const int32_t *ids, int64_t n, int64_t limit, bool ignorable, int64_t *bad) {
    for (*bad = 0; *bad < n; ++*bad) {
        int32_t id = ids[*bad];
        if ((id < 0 || id >= limit) && !(ignorable && id == AIRA_IGNORE)) return false;
    }
    return true;
}

/* Reads ROWS rows of a split at once and one by one in reverse order; false after a verdict. */
static bool check_split(const aira__subject *s, const aira_dataset *table, const aira_dataset_info *info,
                        uint32_t split, const rows *a, const rows *b) {
    static const char *const names[] = {"train", "search", "selection", "test"};
    const char *name = "rows";
    int64_t T = info->input_length, L = info->target_length, bad;
    uint64_t indices[ROWS];
    uint32_t n = ROWS;
    if (info->n_rows[split] > 0 && info->n_rows[split] < ROWS) n = (uint32_t)info->n_rows[split];
    for (uint32_t k = 0; k < n; k++) indices[k] = k;
    aira_status status = table->rows(s->self, split, 42, indices, n, a->inputs, a->targets);
    for (uint32_t k = n; k-- > 0 && !status;)
        status = table->rows(s->self, split, 42, &indices[k], 1, b->inputs + k * T, b->targets + k * L);
    if (status) {
        aira__say(s, name, AIRA_CHECK_FAIL, "split %s: %.300s", names[split], failure(s));
    } else if (memcmp(a->inputs, b->inputs, n * (size_t)T * sizeof(int32_t)) != 0 ||
               memcmp(a->targets, b->targets, n * (size_t)L * sizeof(int32_t)) != 0) {
        aira__say(s, name, AIRA_CHECK_FAIL, "split %s: rows read together and one by one differ", names[split]);
    } else if (!in_range(a->inputs, n * T, info->vocab, false, &bad)) {
        aira__say(s, name, AIRA_CHECK_FAIL, "split %s: input id %d is not in 0..%lld", names[split], a->inputs[bad],
                  (long long)info->vocab - 1);
    } else if (!in_range(a->targets, n * L, info->classes, true, &bad)) {
        aira__say(s, name, AIRA_CHECK_FAIL, "split %s: target id %d is not in 0..%lld and not %d", names[split],
                  a->targets[bad], (long long)info->classes - 1, AIRA_IGNORE);
    } else {
        return true;
    }
    return false;
}

static void check_rows(const aira__subject *s, const aira_dataset *table, const aira_dataset_info *info) {
    const char *name = aira__start(s, "rows");
    size_t most = (size_t)(ROWS * (info->input_length + info->target_length));
    int32_t *memory = calloc(2 * most, sizeof *memory);
    if (!memory) {
        aira__say(s, name, AIRA_CHECK_FAIL, "out of memory for rows of %lld ids", (long long)info->input_length);
        return;
    }
    rows a = {memory, memory + ROWS * info->input_length};
    rows b = {memory + most, memory + most + ROWS * info->input_length};
    bool good = true;
    for (uint32_t split = 0; split < AIRA_N_SPLITS && good; split++) good = check_split(s, table, info, split, &a, &b);
    free(memory);
    if (good) aira__say(s, name, AIRA_CHECK_PASS, "all splits: ids in range, the same rows together and one by one");
}

void aira__check_dataset(aira__subject *s) {
    const aira_dataset *table = s->plugin->table;
    const char *name = aira__start(s, "describes");
    aira_dataset_info info = {.size = sizeof info};
    if (!table->describe || !table->rows) {
        aira__say(s, name, AIRA_CHECK_FAIL, "describe and rows must be set");
        return;
    }
    aira_status status = table->describe(s->self, &info);
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", failure(s));
    else if (info.vocab < 1 || info.classes < 1 || info.input_length < 1 || info.target_length < 1 || info.batch < 1 ||
             info.metric < AIRA_METRIC_ACCURACY || info.metric > AIRA_METRIC_ACCURACY_POOLED)
        aira__say(s, name, AIRA_CHECK_FAIL, "vocab, classes, lengths and batch must be positive, metric one of 1..4");
    else {
        aira__say(s, name, AIRA_CHECK_PASS, "%lld ids, %lld classes, rows of %lld to %lld, %lld training rows",
                  (long long)info.vocab, (long long)info.classes, (long long)info.input_length,
                  (long long)info.target_length, (long long)info.n_rows[AIRA_SPLIT_TRAIN]);
        check_rows(s, table, &info);
    }
}

/* --- aggregators ----------------------------------------------------------------------------------------------------
 */

enum { DEPTH = 6, CANDIDATES = 12, TOKENS = 3 };

static void drop_note(void *core, const char *text) {
    (void)core;
    (void)text;
}

void aira__check_aggregator(aira__subject *s) {
    static const char *const tokens[TOKENS] = {"A", "B", "C"};
    const aira_aggregator *table = s->plugin->table;
    const char *name = aira__start(s, "combines");
    uint16_t layers[CANDIDATES][DEPTH], chosen[2][DEPTH] = {{0}};
    double support[2][DEPTH] = {{0}};
    aira_scored candidates[CANDIDATES];
    aira_rng rng = aira_rng_make(aira_key(1, "check.aggregator"), 0);
    for (int k = 0; k < CANDIDATES; k++) {
        for (int d = 0; d < DEPTH; d++) layers[k][d] = (uint16_t)aira_rng_below(&rng, TOKENS);
        candidates[k] = (aira_scored){layers[k], 0.9 - 0.05 * k};
    }
    const aira_aggregate_in in = {sizeof in, DEPTH, TOKENS, CANDIDATES, tokens, candidates};
    aira_status status = table->combine ? AIRA_OK : AIRA_E_FAILED;
    uint32_t cluster[2] = {0};
    bool good = true;
    for (int k = 0; k < 2 && !status; k++) {
        aira_aggregate_out out = {sizeof out, 0, chosen[k], support[k], NULL, drop_note};
        status = table->combine(s->self, &in, &out);
        cluster[k] = out.cluster_size;
    }
    for (int d = 0; d < DEPTH && good; d++)
        good = chosen[0][d] < TOKENS && support[0][d] >= 0 && support[0][d] <= 1 + 1e-12;
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%s", table->combine ? failure(s) : "combine is NULL");
    else if (!good || cluster[0] < 1 || cluster[0] > CANDIDATES)
        aira__say(s, name, AIRA_CHECK_FAIL, "a token, a support or the cluster's size is out of range");
    else if (memcmp(chosen[0], chosen[1], sizeof chosen[0]) != 0 || cluster[0] != cluster[1] ||
             memcmp(support[0], support[1], sizeof support[0]) != 0)
        aira__say(s, name, AIRA_CHECK_FAIL, "called twice with the same candidates, two different answers");
    else
        aira__say(s, name, AIRA_CHECK_PASS, "%d made-up candidates, %u in the top cluster; the same answer twice",
                  CANDIDATES, cluster[0]);
}

/* --- scaffolds ------------------------------------------------------------------------------------------------------
 */

enum { NODES = 60, VIEW_LAYERS = 8, VIEW_TOKENS = 3 };

static double view_draw(const aira_journal_view *view, uint32_t which) {
    aira_rng rng = aira_rng_make(aira_key(view->seed, "check.scaffold"), (uint64_t)view->n_nodes << 32 | which);
    return aira_rng_uniform(&rng);
}

/* What is wrong with the action, or NULL. */
static const char *fault(const aira_action *action, const aira_journal_view *view, bool proposes) {
    int64_t n = view->n_nodes;
    if (action->act > AIRA_ACT_PROPOSE) return "an unknown act";
    if (action->act == AIRA_ACT_ASK && proposes) return "asks an agent although it says that it proposes";
    for (uint32_t i = 0; action->act == AIRA_ACT_PROPOSE && i < view->n_layers; i++)
        if (action->layers[i] >= view->n_tokens) return "proposes a token that does not exist";
    if (action->act == AIRA_ACT_WAIT) return "waits although no node is pending";
    if (action->act == AIRA_ACT_STOP) return NULL;
    if (action->operator_code > AIRA_OPERATOR_CROSSOVER) return "an unknown operator";
    if (action->parent < -1 || action->parent >= n) return "a parent that does not exist";
    if (action->other_parent < -1 || action->other_parent >= n) return "a second parent that does not exist";
    if (action->operator_code == AIRA_OPERATOR_DRAFT) return action->parent == -1 ? NULL : "a draft with a parent";
    if (action->parent == -1) return "an improvement, debugging or crossover of nothing";
    bool buggy = view->nodes[action->parent].status == AIRA_NODE_BUGGY;
    if (action->operator_code == AIRA_OPERATOR_DEBUG) return buggy ? NULL : "debugs a node that works";
    return buggy ? "builds on a node that does not work" : NULL;
}

/* What an agent would have answered, or what was proposed, goes to layers. */
static void add_node(aira_node_view *nodes, uint16_t *layers, uint32_t n, const aira_action *action) {
    aira_rng rng = aira_rng_make(aira_key(3, "check.node"), n);
    for (uint32_t i = 0; i < VIEW_LAYERS; i++)
        layers[i] = action->act == AIRA_ACT_PROPOSE ? action->layers[i]
                                                    : (uint16_t)(aira_rng_uniform(&rng) * VIEW_TOKENS);
    bool buggy = aira_rng_uniform(&rng) < 0.25, debug = action->operator_code == AIRA_OPERATOR_DEBUG;
    nodes[n] = (aira_node_view){.size = sizeof *nodes,
                                .status = buggy ? AIRA_NODE_BUGGY : AIRA_NODE_GOOD,
                                .operator_code = action->operator_code,
                                .parent = action->parent,
                                .other_parent = action->other_parent,
                                .score = buggy ? NAN : aira_rng_uniform(&rng),
                                .layers = layers,
                                .n_seeds = !buggy};
    if (action->parent < 0) return;
    nodes[action->parent].n_children++;
    nodes[n].debug_depth = debug ? nodes[action->parent].debug_depth + 1 : 0;
}

void aira__check_scaffold(aira__subject *s) {
    const aira_scaffold *table = s->plugin->table;
    const char *name = aira__start(s, "decides");
    aira_node_view nodes[NODES];
    uint16_t layers[NODES][VIEW_LAYERS], first[VIEW_LAYERS], second[VIEW_LAYERS];
    bool proposes = table->flags & AIRA_SCAFFOLD_PROPOSES;
    memset(nodes, 0, sizeof nodes);
    uint32_t n = 0, asked[4] = {0};
    const char *wrong = table->next ? NULL : "next is NULL";
    bool stopped = false;
    while (n < NODES && !wrong && !stopped) {
        const aira_journal_view view = {sizeof view, 1,         n,           sizeof *nodes, nodes,
                                        9,           view_draw, VIEW_LAYERS, VIEW_TOKENS};
        aira_action a = {.size = sizeof a, .parent = -1, .other_parent = -1, .layers = first}, b = a;
        memset(first, 0, sizeof first);
        memset(second, 0, sizeof second);
        b.layers = second;
        if (table->next(s->self, &view, &a) || table->next(s->self, &view, &b)) {
            wrong = failure(s);
        } else if (a.act != b.act || a.operator_code != b.operator_code || a.parent != b.parent ||
                   a.other_parent != b.other_parent || memcmp(first, second, sizeof first)) {
            wrong = "asked twice about the same journal, two different answers";
        } else {
            wrong = fault(&a, &view, proposes);
        }
        stopped = a.act == AIRA_ACT_STOP;
        if (wrong || stopped) break;
        asked[a.operator_code]++;
        add_node(nodes, layers[n], n, &a);
        n++;
    }
    if (wrong)
        aira__say(s, name, AIRA_CHECK_FAIL, "after %u nodes: %.300s", n, wrong);
    else
        aira__say(s, name, AIRA_CHECK_PASS, "%u made-up nodes (%u draft, %u improve, %u debug, %u crossover)%s", n,
                  asked[0], asked[1], asked[2], asked[3], stopped ? ", then stops" : "");
}
