/* core/search/standing.c - see standing.h. */
#include "core/search/standing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/search/student.h"

uint64_t aira__confirm_seed(uint64_t search_seed, uint32_t k) {
    uint32_t words[4];
    if (k == 0) return search_seed;
    aira_philox(aira_key(search_seed, "confirm"), 0, k, words);
    return ((uint64_t)words[0] << 32 | words[1]) >> 1;
}

static const char *const names[] = {
    [AIRA_STANDING_NONE] = NULL, [AIRA_STANDING_PROVISIONAL] = "provisional", [AIRA_STANDING_CONFIRMED] = "confirmed"};

const char *aira__standing_name(uint32_t standing) {
    return standing < sizeof names / sizeof names[0] ? names[standing] : NULL;
}

uint32_t aira__standing_code(const char *name) {
    for (uint32_t i = 1; name && i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(names[i], name)) return i;
    return AIRA_STANDING_NONE;
}

double aira__standing_level(const aira__tree *tree, uint32_t j) {
    return tree->alpha / tree->n_searches / ((double)j * (j + 1.0));
}

static bool beats(const aira__tree *tree, double a, double b) { return tree->higher_is_better ? a > b : a < b; }

bool aira__standing_contends(const aira__tree *tree) {
    const aira__tree_node *node = &tree->nodes[tree->committed];
    int64_t incumbent = aira__tree_best(tree, false);
    if (tree->seeds < 2 || node->status != AIRA_NODE_GOOD || node->n_seeds != 1 || node->kept) return false;
    if (!node->hash[0] || aira__tree_first(tree, node->hash) >= 0) return false;
    return incumbent < 0 || beats(tree, node->search_score, tree->nodes[incumbent].search_score);
}

static aira_status make_void(aira__tree_node *node, const char *note, const char *cause, aira_error *error) {
    free(node->note);
    free(node->cause);
    node->note = strdup(note);
    node->cause = strdup(cause);
    node->status = AIRA_NODE_BUGGY;
    node->search_score = node->selection_score = NAN;
    node->n_seeds = 0;
    node->voided = true;
    return node->note && node->cause ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory");
}

aira_status aira__standing_fill(aira__tree *tree, aira__score_fn find, void *context, bool *complete,
                                aira_error *error) {
    aira__tree_node *node = &tree->nodes[tree->committed];
    double search[AIRA__MAX_SEEDS] = {node->search_score}, selection[AIRA__MAX_SEEDS] = {node->selection_score};
    char note[600] = "", cause[32] = "";
    *complete = true;
    for (uint32_t k = 1; k < tree->seeds; k++) {
        aira__result r;
        if (!find(context, node->hash, aira__confirm_seed(tree->seed, k), AIRA__FOR_CONFIRM, &r)) {
            *complete = false;
            return AIRA_OK;
        }
        search[k] = r.search_score;
        selection[k] = r.selection_score;
        if (r.ok || note[0]) continue;
        snprintf(note, sizeof note, "its first score beat the best, but training %u of %u on another seed failed: %s",
                 k + 1, tree->seeds, r.error ? r.error : "no reason");
        snprintf(cause, sizeof cause, "%s", r.cause ? r.cause : "crash");
    }
    if (note[0]) return make_void(node, note, cause, error);
    if (!(node->scores = malloc(tree->seeds * sizeof *node->scores)))
        return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    memcpy(node->scores, search, tree->seeds * sizeof *node->scores);
    node->n_seeds = tree->seeds;
    node->search_score = aira__mean(search, (int)tree->seeds);
    node->selection_score = aira__mean(selection, (int)tree->seeds);
    node->spread = aira__spread(search, (int)tree->seeds);
    return AIRA_OK;
}

bool aira__standing_first(const aira__tree *tree, const aira__outcome *recorded, aira__score_fn find, void *context,
                          aira__outcome *out) {
    aira__result r;
    *out = *recorded;
    if (!recorded->hash || !recorded->hash[0] || !find(context, recorded->hash, tree->seed, AIRA__FOR_SEARCH, &r))
        return false;
    out->status = r.ok ? AIRA_NODE_GOOD : AIRA_NODE_BUGGY;
    out->note = r.ok ? NULL : r.error;
    out->cause = r.ok ? NULL : r.cause;
    out->search_score = r.search_score;
    out->selection_score = r.selection_score;
    return true;
}

void aira__standing_keep(aira__tree *tree, uint32_t idx, const aira__outcome *recorded, uint32_t n_seeds, double spread,
                         uint32_t standing) {
    aira__tree_node *node = &tree->nodes[idx];
    node->status = recorded->status;
    node->search_score = recorded->search_score;
    node->selection_score = recorded->selection_score;
    node->n_seeds = n_seeds;
    node->spread = spread;
    node->standing = standing;
    node->kept = true;
}

/* Sum of squares that neither node nor seed explain, over the further seeds of all nodes up to idx that have them;
 *n: how many those are. The effects are least squares ones of a complete table: means of rows and columns. */
static double residual(const aira__tree *tree, uint32_t idx, uint32_t *n) {
    uint32_t further = tree->seeds - 1;
    double column[AIRA__MAX_SEEDS] = {0}, grand = 0, sum = 0;
    *n = 0;
    for (uint32_t i = 0; i <= idx; i++) {
        const double *scores = tree->nodes[i].scores;
        if (!scores) continue;
        ++*n;
        for (uint32_t k = 0; k < further; k++) column[k] += scores[k + 1];
    }
    for (uint32_t k = 0; k < further; k++) grand += column[k] /= *n;
    grand /= further;
    for (uint32_t i = 0; i <= idx; i++) {
        const double *scores = tree->nodes[i].scores;
        if (!scores) continue;
        double row = aira__mean(scores + 1, (int)further);
        for (uint32_t k = 0; k < further; k++) {
            double rest = scores[k + 1] - row - column[k] + grand;
            sum += rest * rest;
        }
    }
    return sum;
}

void aira__standing_judge(aira__tree *tree, uint32_t idx, int64_t incumbent) {
    aira__tree_node *node = &tree->nodes[idx];
    uint32_t n = 0, further = tree->seeds - 1;
    node->standing = AIRA_STANDING_PROVISIONAL;
    tree->test = (aira__tree_test){.against = incumbent, .gain = NAN, .p = NAN, .level = NAN};
    if (incumbent < 0) return; /* the reference */
    const aira__tree_node *best = &tree->nodes[incumbent];
    tree->test.number = ++tree->n_tests;
    tree->test.level = aira__standing_level(tree, tree->n_tests);
    if (!best->scores) return; /* taken over from a journal that has lost them */
    double gain[AIRA__MAX_SEEDS], sum = residual(tree, idx, &n), df = (n - 1.0) * (further - 1.0);
    for (uint32_t k = 0; k < further; k++)
        gain[k] = (node->scores[k + 1] - best->scores[k + 1]) * (tree->higher_is_better ? 1 : -1);
    tree->test.gain = aira__mean(gain, (int)further);
    if (df < 1) return;
    double own = aira__spread(gain, (int)further), variance = fmax(2 * sum / df, own * own);
    tree->test.df = df;
    /* No spread at all comes from scores too coarse to show any; it proves nothing. */
    if (!(variance > 0)) return;
    tree->test.p = aira__student_tail(tree->test.gain / sqrt(variance / further), df);
    if (tree->test.p <= tree->test.level && beats(tree, node->search_score, best->search_score))
        node->standing = AIRA_STANDING_CONFIRMED;
}
