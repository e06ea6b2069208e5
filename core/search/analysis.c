/* core/search/analysis.c - what an evaluated node teaches, asked of an agent where the search has an analyst.
 *
 * The analysis is part of the node: it is asked for when the evaluation is known and before the node is committed, so
 * later questions see it whatever the order in which things arrive. Its call is journaled like any other, under the
 * operator `analyse`. It is an extra: whatever goes wrong with it, the node keeps its outcome and has no analysis.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/search/run_internal.h"

/* A candidate that a committed node had already was analysed there. */
static bool seen_before(const aira__slot *slot) {
    const aira__tree_node *nodes = slot->search->tree.nodes;
    for (uint32_t i = 0; i < slot->view; i++)
        if (!strcmp(nodes[i].hash, slot->candidate.hash)) return true;
    return false;
}

typedef struct earlier {
    aira__run *run;
    aira__slot *slot;
} earlier;

/* An analysis that an earlier session brought to its end. */
static aira_status take_earlier(void *context, const aira__journal_call *row, aira_error *error) {
    const earlier *e = context;
    if (strcmp(row->operator_name, AIRA__OPERATOR_ANALYSE) != 0) return AIRA_OK;
    if (!strcmp(row->state, "asked"))
        return aira__journal_event(e->run->journal, "repeat", row->search, row->idx,
                                   "the analysis was under way when the run ended, and is asked for again", error);
    char *text = !strcmp(row->state, "answered") && row->answer
                     ? aira__journal_get_text(e->run->journal, row->answer, error)
                     : NULL;
    aira_status status = aira__analysis_answered(e->run, e->slot, text, error);
    free(text);
    return status;
}

aira_status aira__analysis_begin(aira__run *run, aira__slot *slot, bool *asked, aira_error *error) {
    aira__search *s = slot->search;
    earlier e = {run, slot};
    aira_status status = AIRA_OK;
    *asked = false;
    if (!slot->analyst || slot->analysed) return AIRA_OK;
    slot->analysed = seen_before(slot);
    if (!slot->analysed && slot->restored)
        status = aira__journal_calls_of(run->journal, s->id, slot->idx, take_earlier, &e, error);
    if (status != AIRA_OK || slot->analysed) return status;
    status = aira__request_analyse(&s->asking, slot->idx, slot->view, slot->candidate.hash,
                                   slot->candidate.architecture, &slot->request, error);
    if (status == AIRA_OK) status = aira__search_journal_call(run, slot, error);
    if (status != AIRA_OK) return status;
    slot->phase = AIRA__SLOT_ANALYSING;
    *asked = true;
    aira__search_ask(run, slot, slot->analyst);
    return AIRA_OK;
}

aira_status aira__analysis_answered(aira__run *run, aira__slot *slot, const char *text, aira_error *error) {
    aira__search *s = slot->search;
    char *analysis = text ? aira__answer_prose(text) : NULL;
    aira_status status = text && !analysis ? aira__fail(error, AIRA_E_MEMORY, "out of memory") : AIRA_OK;
    if (status == AIRA_OK && analysis && *analysis) {
        status = aira__journal_set_analysis(run->journal, s->id, slot->idx, analysis, error);
        if (status == AIRA_OK) status = aira__memory_keep(&s->memory, slot->idx, NULL, analysis, error);
    }
    free(analysis);
    slot->analysed = true;
    slot->phase = AIRA__SLOT_EVALUATING; /* its result is known: the search collects it now */
    return status;
}
