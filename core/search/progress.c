/* core/search/progress.c - what a running study shows on standard error.
 *
 * On a terminal one line is redrawn a few times a second; elsewhere every committed node is a line. NO_COLOR and
 * TERM=dumb need no care: no colour is used, and a dumb terminal gets lines.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/search/run_internal.h"

#define REDRAW_SECONDS 0.2

void aira__progress_begin(aira__run *run) {
    const char *term = getenv("TERM");
    run->progress = (aira__progress){.quiet = run->options->quiet,
                                     .tty = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0};
}

static void clear_line(aira__run *run) {
    if (run->progress.line_open) fputs("\r\033[K", stderr);
    run->progress.line_open = false;
}

/* The best committed node of all searches by search score. */
static const aira__tree_node *best_of_all(const aira__run *run) {
    const aira__tree_node *best = NULL;
    for (int i = 0; i < run->n_searches; i++) {
        int64_t idx = aira__tree_best(&run->searches[i].tree, false);
        if (idx < 0) continue;
        const aira__tree_node *node = &run->searches[i].tree.nodes[idx];
        bool better = !best || (run->asking.higher_is_better ? node->search_score > best->search_score
                                                             : node->search_score < best->search_score);
        if (better) best = node;
    }
    return best;
}

void aira__progress_node(aira__run *run, const aira__search *s, uint32_t idx) {
    if (run->progress.quiet || run->progress.tty) return;
    const aira__tree_node *node = &s->tree.nodes[idx];
    char outcome[256];
    if (node->status == AIRA_NODE_GOOD)
        snprintf(outcome, sizeof outcome, "%.6g%s%s", node->search_score,
                 node->duplicate_of >= 0 ? " (seen before)" : "",
                 aira__tree_best(&s->tree, false) == (int64_t)idx ? " (best of this search)" : "");
    else
        snprintf(outcome, sizeof outcome, "failed: %.230s", node->note ? node->note : "no reason");
    fprintf(stderr, "%7.1f s  search %" PRId64 " node %u  %-8s %s  %s\n", aira__run_seconds(run), s->id, idx,
            aira__operator_name(node->operator_code), node->architecture ? node->architecture : "-", outcome);
}

void aira__progress_tick(aira__run *run) {
    double now = aira__now();
    if (run->progress.quiet || !run->progress.tty || now - run->progress.last < REDRAW_SECONDS) return;
    run->progress.last = now;
    int64_t nodes = 0, done = 0;
    int running = 0, waiting = 0;
    for (int i = 0; i < run->n_searches; i++) {
        nodes += run->searches[i].tree.committed;
        done += run->searches[i].done;
    }
    aira__queue_counts(run->queue, &running, &waiting);
    char limit[32] = "", best[160] = "none yet", line[512];
    if (run->budget.candidates >= 0) snprintf(limit, sizeof limit, "/%" PRId64, run->budget.candidates);
    const aira__tree_node *node = best_of_all(run);
    if (node) snprintf(best, sizeof best, "%.4g  %s", node->search_score, node->architecture ? node->architecture : "");
    double seconds = aira__run_seconds(run);
    snprintf(line, sizeof line,
             "%s  %02d:%02d:%02d  nodes %" PRId64 "%s  searches %" PRId64 "/%d  training %d (+%d)  "
             "asking %d  best %s",
             aira__json_string(run->study, "study", "study"), (int)seconds / 3600, (int)seconds / 60 % 60,
             (int)seconds % 60, nodes, limit, done, run->n_searches, running, waiting, run->asking_now, best);
    struct winsize size;
    int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col - 1 : 119;
    fprintf(stderr, "\r\033[K%.*s", width, line);
    fflush(stderr);
    run->progress.line_open = true;
}

void aira__progress_end(aira__run *run) { clear_line(run); }
