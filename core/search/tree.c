/* core/search/tree.c - see tree.h. */
#include "core/search/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/compose/notation.h"
#include "core/search/standing.h"

static const char *const operator_names[] = {"draft", "improve", "debug", "crossover"};
#define N_OPERATORS (sizeof operator_names / sizeof operator_names[0])

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

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
    *tree = (aira__tree){.seed = seed,
                         .parallel = parallel ? parallel : 1,
                         .higher_is_better = higher_is_better,
                         .seeds = 1,
                         .n_searches = 1,
                         .best = {-1, -1}};
}

aira_status aira__tree_shape(aira__tree *tree, uint32_t n_layers, const char *const *tokens, uint32_t n_tokens,
                             aira_error *error) {
    free(tree->room);
    tree->room = calloc((size_t)n_layers + 1, sizeof *tree->room);
    tree->tokens = tokens;
    tree->n_tokens = n_tokens;
    tree->n_layers = n_layers;
    return tree->room ? AIRA_OK : no_memory(error);
}

void aira__tree_confirm(aira__tree *tree, uint32_t seeds, double alpha, uint32_t n_searches) {
    tree->seeds = seeds < 1 ? 1 : seeds < AIRA__MAX_SEEDS ? seeds : AIRA__MAX_SEEDS;
    tree->alpha = alpha;
    tree->n_searches = n_searches ? n_searches : 1;
}

static void release_strings(aira__tree_node *node) {
    free(node->architecture);
    free(node->note);
    free(node->cause);
    node->architecture = node->note = node->cause = NULL;
}

void aira__tree_release(aira__tree *tree) {
    for (uint32_t i = 0; i < tree->n; i++) {
        release_strings(&tree->nodes[i]);
        free(tree->nodes[i].layers);
        free(tree->nodes[i].scores);
    }
    free(tree->nodes);
    free(tree->views);
    free(tree->room);
    free(tree->buckets);
    *tree = (aira__tree){0};
}

static double draw(const aira_journal_view *view, uint32_t which) {
    uint32_t words[4];
    aira_philox(aira_key(view->seed, "scaffold"), view->n_nodes, which, words);
    uint64_t bits = (uint64_t)words[0] << 32 | words[1];
    return (double)(bits >> 11) * 1.1102230246251565e-16;
}

/* What a scaffold may know of a node now that it is committed. */
static void show_outcome(aira__tree *tree, uint32_t idx) {
    const aira__tree_node *node = &tree->nodes[idx];
    aira_node_view *view = &tree->views[idx];
    bool good = node->status == AIRA_NODE_GOOD;
    view->status = node->status;
    view->score = good ? node->search_score : NAN;
    view->duplicate = node->duplicate_of >= 0;
    view->layers = node->layers;
    view->n_seeds = good ? node->n_seeds : 0;
    view->standing = good ? node->standing : AIRA_STANDING_NONE;
}

/* The first committed node of this hash goes there, or is there. */
static uint32_t bucket_of(const aira__tree *tree, const char *hash) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *p = hash; *p; p++) h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    uint32_t at = (uint32_t)(h ^ h >> 32) & (tree->n_buckets - 1);
    while (tree->buckets[at] && strcmp(tree->nodes[tree->buckets[at] - 1].hash, hash))
        at = (at + 1) & (tree->n_buckets - 1);
    return at;
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

static aira_status check_proposal(const aira__tree *tree, aira_error *error) {
    if (!tree->n_layers)
        return aira__fail(error, AIRA_E_FAILED,
                          "the scaffold proposes sequences of tokens, and this task asks for none");
    for (uint32_t i = 0; i < tree->n_layers; i++)
        if (tree->room[i] >= tree->n_tokens)
            return aira__fail(error, AIRA_E_FAILED, "the scaffold proposed token %u for layer %u, and there are %u",
                              tree->room[i], i, tree->n_tokens);
    return AIRA_OK;
}

static aira_status check_action(const aira__tree *tree, aira_action *action, bool proposes, aira_error *error) {
    bool proposal = action->act == AIRA_ACT_PROPOSE;
    if (action->act == AIRA_ACT_ASK && proposes)
        return aira__fail(error, AIRA_E_FAILED, "the scaffold asks an agent although it says that it never does");
    if (action->act != AIRA_ACT_ASK && !proposal) {
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
    if (status == AIRA_OK && proposal) status = check_proposal(tree, error);
    return status;
}

aira_status aira__tree_step(const aira__tree *tree, const aira_scaffold *scaffold, void *self, int64_t max_nodes,
                            int64_t max_evaluations, aira__step *step, aira_error *error) {
    uint32_t pending = tree->n - tree->committed;
    *step = (aira__step){.kind = AIRA__STEP_COMMIT};
    step->action = (aira_action){
        .size = sizeof step->action, .act = AIRA_ACT_STOP, .parent = -1, .other_parent = -1, .layers = tree->room};
    if (pending >= tree->parallel) return AIRA_OK;
    if (max_nodes >= 0 && (int64_t)tree->n >= max_nodes) {
        step->kind = AIRA__STEP_STOP;
        step->quota = true;
        step->action.reason = "the budget in candidates is used up";
        return AIRA_OK;
    }
    if (max_evaluations >= 0 && tree->n_trainings + ((int64_t)pending + 1) * tree->seeds > max_evaluations) {
        if (pending) return AIRA_OK; /* one of them may turn out to cost nothing */
        step->kind = AIRA__STEP_STOP;
        step->quota = true;
        step->action.reason = "the budget in evaluations is used up";
        return AIRA_OK;
    }
    if (max_nodes < 0 && tree->committed - tree->last_new >= AIRA__BARREN_NODES) {
        step->kind = AIRA__STEP_STOP;
        step->action.reason = "none of the last 100 nodes was a new candidate";
        return AIRA_OK;
    }
    aira_journal_view view = {.size = sizeof view,
                              .higher_is_better = tree->higher_is_better,
                              .n_nodes = tree->n,
                              .node_stride = sizeof *tree->views,
                              .nodes = tree->views,
                              .seed = tree->seed,
                              .draw = draw,
                              .n_layers = tree->n_layers,
                              .n_tokens = tree->n_tokens};
    /* No token: what the scaffold does not fill in is found out. */
    if (tree->room) memset(tree->room, 0xff, tree->n_layers * sizeof *tree->room);
    aira_status status = scaffold->next(self, &view, &step->action);
    if (status != AIRA_OK) return aira__fail(error, status, "the scaffold failed at node %u", tree->n);
    step->action.layers = tree->room;
    status = check_action(tree, &step->action, scaffold->flags & AIRA_SCAFFOLD_PROPOSES, error);
    step->kind = step->action.act == AIRA_ACT_ASK       ? AIRA__STEP_ASK
                 : step->action.act == AIRA_ACT_PROPOSE ? AIRA__STEP_PROPOSE
                 : step->action.act == AIRA_ACT_STOP    ? AIRA__STEP_STOP
                                                        : AIRA__STEP_COMMIT;
    return status;
}

/* Room for one more node, and for its hash. */
static bool grow(aira__tree *tree) {
    if (tree->n < tree->capacity) return true;
    uint32_t capacity = tree->capacity ? tree->capacity * 2 : 64;
    aira__tree_node *nodes = realloc(tree->nodes, capacity * sizeof *nodes);
    if (nodes) tree->nodes = nodes;
    aira_node_view *views = realloc(tree->views, capacity * sizeof *views);
    if (views) tree->views = views;
    uint32_t *buckets = calloc((size_t)capacity * 2, sizeof *buckets);
    if (!nodes || !views || !buckets) {
        free(buckets);
        return false;
    }
    free(tree->buckets);
    tree->buckets = buckets;
    tree->n_buckets = capacity * 2;
    tree->capacity = capacity;
    for (uint32_t i = 0; i < tree->committed; i++)
        if (tree->nodes[i].hash[0] && tree->nodes[i].duplicate_of < 0)
            buckets[bucket_of(tree, tree->nodes[i].hash)] = i + 1;
    return true;
}

int64_t aira__tree_add(aira__tree *tree, uint32_t operator_code, int64_t parent, int64_t other_parent) {
    if (!grow(tree)) return -1;
    tree->nodes[tree->n] = (aira__tree_node){.operator_code = operator_code,
                                             .parent = parent,
                                             .other_parent = other_parent,
                                             .status = AIRA_NODE_PENDING,
                                             .search_score = NAN,
                                             .selection_score = NAN,
                                             .duplicate_of = -1};
    aira_node_view *views = tree->views, *view = &views[tree->n];
    *view = (aira_node_view){.size = sizeof *view,
                             .status = AIRA_NODE_PENDING,
                             .operator_code = operator_code,
                             .parent = parent,
                             .other_parent = other_parent,
                             .score = NAN};
    if (parent >= 0) views[parent].n_children++;
    if (other_parent >= 0 && other_parent != parent) views[other_parent].n_children++;
    if (operator_code == AIRA_OPERATOR_DEBUG && parent >= 0) view->debug_depth = views[parent].debug_depth + 1;
    return tree->n++;
}

static aira_status make_layers(const aira__tree *tree, aira__tree_node *node, aira_error *error) {
    if (!node->layers) node->layers = malloc(((size_t)tree->n_layers + 1) * sizeof *node->layers);
    return node->layers ? AIRA_OK : no_memory(error);
}

aira_status aira__tree_propose(aira__tree *tree, uint32_t idx, const uint16_t *layers, aira_error *error) {
    aira__tree_node *node = &tree->nodes[idx];
    aira_status status = make_layers(tree, node, error);
    if (status == AIRA_OK) memcpy(node->layers, layers, tree->n_layers * sizeof *layers);
    if (status == AIRA_OK) tree->views[idx].layers = node->layers;
    return status;
}

static aira_status read_layers(const aira__tree *tree, uint32_t idx, aira_error *error) {
    aira__tree_node *node = &tree->nodes[idx];
    int n = 0;
    if (!tree->n_layers || !node->architecture) return AIRA_OK;
    aira_status status = make_layers(tree, node, error);
    if (status != AIRA_OK) return status;
    status = aira__notation_parse(node->architecture, tree->tokens, (int)tree->n_tokens, node->layers,
                                  (int)tree->n_layers, &n, NULL);
    if (status == AIRA_OK && n == (int)tree->n_layers) return AIRA_OK;
    return aira__fail(error, AIRA_E_CORRUPT, "the architecture of node %u, \"%.200s\", is none of this task's", idx,
                      node->architecture);
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
        return no_memory(error);
    node->hash[0] = 0;
    if (outcome->hash) strncat(node->hash, outcome->hash, sizeof node->hash - 1);
    node->status = outcome->status;
    node->search_score = outcome->search_score;
    node->selection_score = outcome->selection_score;
    node->n_seeds = outcome->status == AIRA_NODE_GOOD;
    node->spread = NAN;
    free(node->scores);
    node->scores = NULL;
    node->kept = node->voided = false;
    node->standing = AIRA_STANDING_NONE;
    aira_status status = read_layers(tree, idx, error);
    node->finished = status == AIRA_OK;
    return status;
}

static void update_best(aira__tree *tree, uint32_t idx, bool selection) {
    const aira__tree_node *node = &tree->nodes[idx];
    int64_t *best = &tree->best[selection];
    double score = selection ? node->selection_score : node->search_score;
    if (node->status != AIRA_NODE_GOOD || isnan(score) || (selection && node->n_seeds < tree->seeds)) return;
    double record = *best < 0 ? NAN : selection ? tree->nodes[*best].selection_score : tree->nodes[*best].search_score;
    if (*best < 0 || (tree->higher_is_better ? score > record : score < record)) *best = idx;
}

int64_t aira__tree_first(const aira__tree *tree, const char *hash) {
    return tree->n_buckets && hash[0] ? (int64_t)tree->buckets[bucket_of(tree, hash)] - 1 : -1;
}

/* What is known of the original, its further seeds included. The strings stay the node's own if they can. */
static void copy_original(aira__tree_node *node, const aira__tree_node *original) {
    if (node->status != original->status) {
        char *note = NULL, *cause = NULL;
        if (copy_string(&note, original->note) && copy_string(&cause, original->cause)) {
            free(node->note);
            free(node->cause);
            node->note = note;
            node->cause = cause;
        } else {
            free(note); /* out of memory: the reason is missing, the outcome is right */
        }
    }
    node->status = original->status;
    node->search_score = original->search_score;
    node->selection_score = original->selection_score;
    node->n_seeds = original->n_seeds;
    node->spread = original->spread;
    node->standing = original->standing;
}

static void commit_new(aira__tree *tree, uint32_t idx) {
    aira__tree_node *node = &tree->nodes[idx];
    bool all = node->status == AIRA_NODE_GOOD && node->n_seeds == tree->seeds && tree->seeds > 1;
    tree->buckets[bucket_of(tree, node->hash)] = idx + 1;
    tree->last_new = idx + 1;
    tree->n_trainings += all || node->voided ? tree->seeds : 1;
    if (all && !node->kept) aira__standing_judge(tree, idx, tree->best[0]);
}

const aira__tree_node *aira__tree_commit(aira__tree *tree) {
    uint32_t idx = tree->committed;
    aira__tree_node *node = &tree->nodes[idx];
    node->duplicate_of = aira__tree_first(tree, node->hash);
    tree->test = (aira__tree_test){.against = -1, .gain = NAN, .p = NAN, .level = NAN};
    if (node->duplicate_of >= 0)
        copy_original(node, &tree->nodes[node->duplicate_of]);
    else if (node->hash[0])
        commit_new(tree, idx);
    tree->committed++;
    show_outcome(tree, idx);
    update_best(tree, idx, false);
    update_best(tree, idx, true);
    return node;
}

int64_t aira__tree_evaluations(const aira__tree *tree) { return tree->n_trainings; }

int64_t aira__tree_best(const aira__tree *tree, bool selection) { return tree->best[selection]; }
