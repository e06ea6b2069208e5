/* core/search/memory.h - what a search's agent is told of earlier nodes, within a limit.
 *
 * A search may have 10,000 nodes, a prompt may not. So a question carries a choice: the ten best nodes and, as far as
 * the limit reaches, the latest ones, in logical order. The limit is in tokens, estimated as bytes / 4. What a
 * committed node looks like never changes; it is made once and lent to every question after that.
 *
 * A question sees a view: the nodes before `view` are committed and shown with their outcome, those from there to its
 * own index are pending. Live questions have a growing view; a question that is rebuilt after a kill has an older one.
 *
 * Threads: one.
 */
#ifndef AIRA_SEARCH_MEMORY_H
#define AIRA_SEARCH_MEMORY_H

#include <jansson.h>

#include "core/base/buf.h"
#include "core/search/tree.h"

typedef enum {
    AIRA__MEMORY_NONE,
    AIRA__MEMORY_SIMPLE,    /* every good node that is no duplicate */
    AIRA__MEMORY_ANCESTRAL, /* from the parent's parent back to the nearest good node, that one included */
    AIRA__MEMORY_SIBLING,   /* the parent's other children; of a draft: the other drafts */
    AIRA__N_MEMORIES
} aira__memory_kind;
const char *aira__memory_name(aira__memory_kind); /* "none", ... */
int aira__memory_find(const char *name);          /* -1 if there is no such memory */

#define AIRA__MEMORY_BEST 10        /* nodes that are kept for their score */
#define AIRA__MEMORY_TEXT 1000      /* bytes of a plan or an analysis that a prompt shows */
#define AIRA__MEMORY_TOKENS 4000    /* default limit */
#define AIRA__MEMORY_TOKENS_MIN 200 /* limits that a study may set */
#define AIRA__MEMORY_TOKENS_MAX 1000000

typedef struct aira__remembered {
    char *plan, *analysis; /* NULL or at most AIRA__MEMORY_TEXT bytes */
    json_t *entry;         /* made when first wanted */
    char *known;           /* the same for the state: canonical JSON without plan and analysis */
} aira__remembered;

typedef struct aira__memory {
    const aira__tree *tree;
    aira__remembered *nodes;
    uint32_t capacity;
    uint32_t *good; /* committed good nodes that are no duplicates, in order */
    uint32_t n_good, good_capacity;
    uint32_t looked_at; /* nodes that `good` has been told of */
    uint32_t best[AIRA__MEMORY_BEST], n_best, best_view;
} aira__memory;

void aira__memory_init(aira__memory *, const aira__tree *); /* the tree outlives it */
void aira__memory_release(aira__memory *);

/* Keeps (shortened) texts of a node. NULL: nothing to keep. Before the node is committed. */
aira_status aira__memory_keep(aira__memory *, uint32_t idx, const char *plan, const char *analysis, aira_error *);
const char *aira__memory_plan(const aira__memory *, uint32_t idx); /* NULL if there is none */

/* {"idx", "operator", "parent", "architecture", "score", "status", "note", "plan", "analysis"}; what is not known is
   null. status: "good", "buggy", "duplicate", "pending". New reference, NULL when out of memory. */
json_t *aira__memory_entry(aira__memory *, uint32_t idx, uint32_t view);
/* The entries that a question of node idx with this parent is given; *omitted: how many did not fit. */
json_t *aira__memory_recall(aira__memory *, aira__memory_kind, uint32_t idx, uint32_t view, int64_t parent,
                            int64_t tokens, int64_t *omitted);
/* The best nodes of the view, best first, ties: earliest. */
json_t *aira__memory_best(aira__memory *, uint32_t view);
/* The choice of all nodes before idx, whatever their status: as entries, and as canonical JSON (with neither plan nor
   analysis), which is added to text. Either may be NULL. */
bool aira__memory_nodes(aira__memory *, uint32_t idx, uint32_t view, int64_t tokens, json_t **entries, aira__buf *text);

#endif
