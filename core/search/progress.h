/* core/search/progress.h - what a running study shows on standard error.
 *
 * On a terminal a frame of at most AIRA__FRAME_LINES lines is redrawn twice a second; elsewhere every committed node is
 * a line. Counts are kept as nodes are committed, so that a redraw costs the same at ten nodes and at ten thousand.
 * Drawing is apart from showing: a frame is text made from an aira__progress_view, and tests look at that.
 */
#ifndef AIRA_SEARCH_PROGRESS_H
#define AIRA_SEARCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/search/budget.h"

#define AIRA__FRAME_LINES 20
#define AIRA__PROGRESS_OPERATORS 8
#define AIRA__PROGRESS_HISTORY 240 /* points that the sparkline knows, at most */
#define AIRA__PROGRESS_SEARCHES 9  /* that are shown one by one */

typedef struct aira__progress_search {
    const char *label;
    int64_t id;
    uint64_t seed;
    int64_t nodes, limit;     /* limit -1: none */
    double best;              /* NAN */
    const char *architecture; /* of the best, or NULL */
    const char *state;        /* "done", "running" */
} aira__progress_search;

/* Kept from commit to commit. */
typedef struct aira__progress_counts {
    int64_t operators[AIRA__PROGRESS_OPERATORS], nodes, duplicates, failed;
    bool higher_is_better;
    double best, before; /* of all searches by search score, and the best before it; NAN */
    double when;         /* aira__now() of the best */
    int64_t best_search, best_node;
    char architecture[256];
    double history[AIRA__PROGRESS_HISTORY]; /* best so far, after every `every`th node */
    int n_history;
    int64_t every; /* nodes between points of history */
} aira__progress_counts;

typedef struct aira__progress_view {
    const char *study;
    const aira__progress_counts *counts;
    const aira__budget *budget;
    const aira__usage *usage, *before; /* now, and when this session began */
    double seconds, session;           /* wall time of the study, and of this session */
    double best_age;                   /* seconds since the best was found */
    int running, waiting, asking;
    int n_searches, n_done, n_shown;
    aira__progress_search searches[AIRA__PROGRESS_SEARCHES];
} aira__progress_view;

/* counts zeroed by the caller but for higher_is_better; scores NAN where there are none. */
void aira__progress_count(aira__progress_counts *, uint32_t operator_code, bool good, bool duplicate, double score,
                          int64_t search, int64_t node, const char *architecture, double now);
/* Whole lines, each at most `columns` wide and ended by "\n"; at most `rows` of them. utf8: bars and a sparkline may
   use block characters. Returns how many. */
int aira__progress_frame(const aira__progress_view *, int columns, int rows, bool utf8, aira__buf *);
/* Seconds until the first limit is reached at the session's pace; NAN: there is none, or nothing can be said. */
double aira__progress_eta(const aira__progress_view *);

typedef struct aira__progress {
    bool tty, quiet, utf8, colour;
    int drawn;                     /* lines of the frame that is on the screen */
    int widths[AIRA__FRAME_LINES]; /* theirs */
    double last, began;
    aira__usage before;
    aira__progress_counts counts;
} aira__progress;

#endif
