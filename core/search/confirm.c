/* core/search/confirm.c - a running search's contenders: their further seeds, and the events that tell of their tests.
 *
 * The rules are standing.c's. Nothing is written about a contender before it is committed: that it is one follows from
 * the committed nodes, and its results are evaluations like all others, so a kill in between costs nothing.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/search/candidate.h"
#include "core/search/run_internal.h"

aira_status aira__search_want(aira__run *run, aira__search *s, uint32_t idx, uint32_t k, const aira__candidate *c,
                              aira_error *error) {
    aira__want want = {.hash = c->hash,
                       .canonical = c->canonical,
                       .seed = aira__confirm_seed(s->tree.seed, k),
                       .purpose = k ? AIRA__FOR_CONFIRM : AIRA__FOR_SEARCH,
                       .search = s->id,
                       .order = (uint64_t)idx * AIRA__MAX_SEEDS + k};
    return aira__queue_add(run->queue, &want, error);
}

static bool find(void *context, const char *hash, uint64_t seed, aira__purpose purpose, aira__result *out) {
    return aira__queue_find(context, hash, seed, purpose, out);
}

aira_status aira__search_confirm(aira__run *run, aira__search *s, bool *ready, aira_error *error) {
    *ready = true;
    if (!aira__standing_contends(&s->tree)) return AIRA_OK;
    uint32_t idx = s->tree.committed;
    aira__candidate candidate = {0};
    aira_status status = aira__candidate_load(run->journal, s->tree.nodes[idx].hash, &candidate, error);
    for (uint32_t k = 1; status == AIRA_OK && k < s->tree.seeds; k++)
        status = aira__search_want(run, s, idx, k, &candidate, error);
    aira__candidate_release(&candidate);
    return status == AIRA_OK ? aira__standing_fill(&s->tree, find, run->queue, ready, error) : status;
}

aira_status aira__search_tell_test(aira__run *run, const aira__search *s, uint32_t idx, aira_error *error) {
    const aira__tree_test *t = &s->tree.test;
    const aira__tree_node *node = &s->tree.nodes[idx];
    char text[300];
    int n = snprintf(text, sizeof text, "%s: contender %u against node %" PRId64 ", gain %.6g on %u further seeds",
                     aira__standing_name(node->standing), t->number, t->against, t->gain, s->tree.seeds - 1);
    if (isnan(t->p))
        snprintf(text + n, sizeof text - (size_t)n, ", not testable: %s",
                 t->df < 1 ? "a test needs two further seeds" : "the scores show no spread");
    else
        snprintf(text + n, sizeof text - (size_t)n, ", p = %.3g (t with %g degrees of freedom), needed %.3g", t->p,
                 t->df, t->level);
    return aira__journal_event(run->journal, "standing", s->id, idx, text, error);
}

aira_status aira__search_recommit(const aira__run *run, aira__search *s, const aira__journal_node *row,
                                  const aira__outcome *recorded, aira_error *error) {
    uint32_t idx = (uint32_t)row->idx;
    aira__outcome first;
    bool complete = true;
    (void)aira__standing_first(&s->tree, recorded, find, run->queue, &first);
    aira_status status = aira__tree_finish(&s->tree, idx, &first, error);
    if (status == AIRA_OK && aira__standing_contends(&s->tree))
        status = aira__standing_fill(&s->tree, find, run->queue, &complete, error);
    if (status == AIRA_OK && !complete)
        aira__standing_keep(&s->tree, idx, recorded, (uint32_t)row->seeds, row->spread,
                            aira__standing_code(row->standing));
    if (status == AIRA_OK) (void)aira__tree_commit(&s->tree);
    return status;
}
