/* core/search/tree.c - see tree.h. */
#include "core/search/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"

static const char *const operator_names[] = {"draft", "improve", "debug", "crossover"};
#define N_OPERATORS (sizeof operator_names / sizeof operator_names[0])

const char *aira__operator_name(uint32_t code) { return code < N_OPERATORS ? operator_names[code] : "?"; }

int64_t aira__operator_code(const char *name) {
    for (size_t i = 0; i < N_OPERATORS; i++)
        if (!strcmp(name, operator_names[i])) return (int64_t)i;
    return -1;
}

const char *aira__status_name(uint32_t status) {
    return status == AIRA_NODE_GOOD ? "good" : status == AIRA_NODE_BUGGY ? "buggy" : "pending";
}

void aira__tree_init(aira__tree *tree, uint64_t seed, uint32_t parallel, bool higher_is_better) {
    *tree = (aira__tree){.seed = seed, .parallel = parallel ? parallel : 1, .higher_is_better = higher_is_better};
}

static void release_strings(aira__tree_node *node) {
    free(node->architecture);
    free(node->note);
    free(node->cause);
    node->architecture = node->note = node->cause = NULL;
}

void aira__tree_release(aira__tree *tree) {
    for (uint32_t i = 0; i < tree->n; i++) release_strings(&tree->nodes[i]);
    free(tree->nodes);
    *tree = (aira__tree){0};
}

static double draw(const aira_journal_view *view, uint32_t which) {
    uint32_t words[4];
    aira_philox(aira_key(view->seed, "scaffold"), view->n_nodes, which, words);
    uint64_t bits = (uint64_t)words[0] << 32 | words[1];
    return (double)(bits >> 11) * 1.1102230246251565e-16;
}

static void fill_view(const aira__tree *tree, aira_node_view *views) {
    for (uint32_t i = 0; i < tree->n; i++) {
        const aira__tree_node *node = &tree->nodes[i];
        bool known = i < tree->committed;
        views[i] = (aira_node_view){.size = sizeof views[i],
                                    .status = known ? node->status : AIRA_NODE_PENDING,
                                    .operator_code = node->operator_code,
                                    .parent = node->parent,
                                    .other_parent = node->other_parent,
                                    .score = known && node->status == AIRA_NODE_GOOD ? node->search_score : NAN,
                                    .duplicate = known && node->duplicate_of >= 0};
        if (node->parent >= 0) views[node->parent].n_children++;
        if (node->other_parent >= 0 && node->other_parent != node->parent) views[node->other_parent].n_children++;
        if (node->operator_code == AIRA_OPERATOR_DEBUG && node->parent >= 0)
            views[i].debug_depth = views[node->parent].debug_depth + 1;
    }
}

static aira_status check_parent(const aira__tree *tree, int64_t parent, bool needed, aira_error *error) {
    if (parent < 0) {
        if (needed)
            return aira__fail(error, AIRA_E_FAILED, "the scaffold named no parent for an operator that needs one");
        return AIRA_OK;
    }
    if (parent >= (int64_t)tree->committed)
        return aira__fail(error, AIRA_E_FAILED, "the scaffold named node %lld as a parent, which %s", (long long)parent,
                          parent < (int64_t)tree->n ? "is still pending" : "does not exist");
    return AIRA_OK;
}

static aira_status check_action(const aira__tree *tree, aira_action *action, aira_error *error) {
    if (action->act != AIRA_ACT_ASK) {
        if (action->act == AIRA_ACT_WAIT && tree->committed == tree->n)
            return aira__fail(error, AIRA_E_FAILED, "the scaffold waits although no node is pending");
        if (action->act != AIRA_ACT_WAIT && action->act != AIRA_ACT_STOP)
            return aira__fail(error, AIRA_E_FAILED, "the scaffold answered with an unknown action (%u)", action->act);
        return AIRA_OK;
    }
    uint32_t code = action->operator_code;
    if (code >= N_OPERATORS)
        return aira__fail(error, AIRA_E_FAILED, "the scaffold asked for an unknown operator (%u)", code);
    if (code == AIRA_OPERATOR_DRAFT) action->parent = action->other_parent = -1;
    if (code != AIRA_OPERATOR_CROSSOVER) action->other_parent = -1;
    aira_status status = check_parent(tree, action->parent, code != AIRA_OPERATOR_DRAFT, error);
    if (status == AIRA_OK) status = check_parent(tree, action->other_parent, code == AIRA_OPERATOR_CROSSOVER, error);
    return status;
}

static bool is_barren(const aira__tree *tree) {
    if (tree->committed < AIRA__BARREN_NODES) return false;
    for (uint32_t i = tree->committed - AIRA__BARREN_NODES; i < tree->committed; i++)
        if (tree->nodes[i].hash[0] && tree->nodes[i].duplicate_of < 0) return false;
    return true;
}

aira_status aira__tree_step(const aira__tree *tree, const aira_scaffold *scaffold, void *self, int64_t max_nodes,
                            int64_t max_evaluations, aira__step *step, aira_error *error) {
    uint32_t pending = tree->n - tree->committed;
    *step = (aira__step){.kind = AIRA__STEP_COMMIT};
    step->action = (aira_action){.size = sizeof step->action, .act = AIRA_ACT_STOP, .parent = -1, .other_parent = -1};
    if (pending >= tree->parallel) return AIRA_OK;
    if (max_nodes >= 0 && (int64_t)tree->n >= max_nodes) {
        step->kind = AIRA__STEP_STOP;
        step->quota = true;
        step->action.reason = "the budget in candidates is used up";
        return AIRA_OK;
    }
    if (max_evaluations >= 0 && aira__tree_evaluations(tree) + (int64_t)pending >= max_evaluations) {
        if (pending) return AIRA_OK; /* one of them may turn out to cost nothing */
        step->kind = AIRA__STEP_STOP;
        step->quota = true;
        step->action.reason = "the budget in evaluations is used up";
        return AIRA_OK;
    }
    if (max_nodes < 0 && is_barren(tree)) {
        step->kind = AIRA__STEP_STOP;
        step->action.reason = "none of the last 100 nodes was a new candidate";
        return AIRA_OK;
    }
    aira_node_view *views = calloc(tree->n ? tree->n : 1, sizeof *views);
    if (!views) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    fill_view(tree, views);
    aira_journal_view view = {.size = sizeof view,
                              .higher_is_better = tree->higher_is_better,
                              .n_nodes = tree->n,
                              .node_stride = sizeof *views,
                              .nodes = views,
                              .seed = tree->seed,
                              .draw = draw};
    aira_status status = scaffold->next(self, &view, &step->action);
    free(views);
    if (status != AIRA_OK) return aira__fail(error, status, "the scaffold failed at node %u", tree->n);
    status = check_action(tree, &step->action, error);
    step->kind = step->action.act == AIRA_ACT_ASK    ? AIRA__STEP_ASK
                 : step->action.act == AIRA_ACT_STOP ? AIRA__STEP_STOP
                                                     : AIRA__STEP_COMMIT;
    return status;
}

int64_t aira__tree_add(aira__tree *tree, uint32_t operator_code, int64_t parent, int64_t other_parent) {
    if (tree->n == tree->capacity) {
        uint32_t capacity = tree->capacity ? tree->capacity * 2 : 64;
        aira__tree_node *more = realloc(tree->nodes, capacity * sizeof *more);
        if (!more) return -1;
        tree->nodes = more;
        tree->capacity = capacity;
    }
    tree->nodes[tree->n] = (aira__tree_node){.operator_code = operator_code,
                                             .parent = parent,
                                             .other_parent = other_parent,
                                             .status = AIRA_NODE_PENDING,
                                             .search_score = NAN,
                                             .selection_score = NAN,
                                             .duplicate_of = -1};
    return tree->n++;
}

static bool copy_string(char **to, const char *from) {
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

aira_status aira__tree_finish(aira__tree *tree, uint32_t idx, const aira__outcome *outcome, aira_error *error) {
    aira__tree_node *node = &tree->nodes[idx];
    release_strings(node);
    if (!copy_string(&node->architecture, outcome->architecture) || !copy_string(&node->note, outcome->note) ||
        !copy_string(&node->cause, outcome->cause))
        return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    node->hash[0] = 0;
    if (outcome->hash) strncat(node->hash, outcome->hash, sizeof node->hash - 1);
    node->status = outcome->status;
    node->search_score = outcome->search_score;
    node->selection_score = outcome->selection_score;
    node->finished = true;
    return AIRA_OK;
}

const aira__tree_node *aira__tree_commit(aira__tree *tree) {
    aira__tree_node *node = &tree->nodes[tree->committed];
    node->duplicate_of = -1;
    for (uint32_t i = 0; i < tree->committed && node->hash[0]; i++)
        if (!strcmp(tree->nodes[i].hash, node->hash)) {
            node->duplicate_of = i;
            break;
        }
    tree->committed++;
    return node;
}

int64_t aira__tree_evaluations(const aira__tree *tree) {
    int64_t n = 0;
    for (uint32_t i = 0; i < tree->committed; i++) n += tree->nodes[i].hash[0] && tree->nodes[i].duplicate_of < 0;
    return n;
}

int64_t aira__tree_best(const aira__tree *tree, bool selection) {
    int64_t best = -1;
    double best_score = 0;
    for (uint32_t i = 0; i < tree->committed; i++) {
        const aira__tree_node *node = &tree->nodes[i];
        double score = selection ? node->selection_score : node->search_score;
        if (node->status != AIRA_NODE_GOOD || isnan(score)) continue;
        if (best < 0 || (tree->higher_is_better ? score > best_score : score < best_score)) {
            best = i;
            best_score = score;
        }
    }
    return best;
}
