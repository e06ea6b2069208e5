/* core/graph/asked.c - what a place offers, and what a build function asked of it; see splice.h. */
#include <string.h>

#include "core/graph/internal.h"

#define MAX_ASKED 64u

const aira__asked *aira__graph_asked(const aira_graph *graph, uint32_t *n) {
    *n = graph->context->n_asked;
    return graph->context->asked;
}

const aira__drawn *aira__graph_drawn(const aira_graph *graph, uint32_t *n) {
    *n = graph->context->n_drawn;
    return graph->context->drawn;
}

aira_tensor *aira__graph_place(const aira_graph *graph, aira__asked *question) {
    for (uint32_t k = 0; k < graph->context->n_places; k++) {
        const aira__place *p = &graph->context->places[k];
        if ((p->tensor != NULL) != question->tensor || strcmp(p->name, question->name) != 0) continue;
        question->known = true;
        question->value = p->value;
        return p->tensor;
    }
    return NULL;
}

bool aira__graph_offered(const aira_graph *graph, uint32_t k, const char **name, int64_t *value, aira_tensor **tensor) {
    if (k >= graph->context->n_places) return false;
    const aira__place *p = &graph->context->places[k];
    *name = p->name;
    *value = p->value;
    *tensor = p->tensor;
    return true;
}

void aira__graph_remember_asked(aira_graph *graph, const aira__asked *answer) {
    aira__graph_context *c = graph->context;
    for (uint32_t k = 0; k < c->n_asked; k++)
        if (c->asked[k].tensor == answer->tensor && strcmp(c->asked[k].name, answer->name) == 0) return;
    if (c->n_asked == MAX_ASKED) {
        aira__graph_fail(graph, AIRA_E_FAILED, "the place is asked for more than %u different values", MAX_ASKED);
        return;
    }
    if (!aira__graph_grow(graph, (void **)&c->asked, &c->cap_asked, c->n_asked, sizeof *c->asked)) return;
    aira__asked copy = *answer;
    copy.name = aira__graph_copy_text(graph, answer->name);
    if (copy.name != NULL) c->asked[c->n_asked++] = copy;
}

void aira__graph_remember_drawn(aira_graph *graph, uint32_t op, const char *name) {
    aira__graph_context *c = graph->context;
    if (!aira__graph_grow(graph, (void **)&c->drawn, &c->cap_drawn, c->n_drawn, sizeof *c->drawn)) return;
    const char *copy = aira__graph_copy_text(graph, name);
    if (copy != NULL) c->drawn[c->n_drawn++] = (aira__drawn){op, copy};
}
