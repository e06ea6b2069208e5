/* core/search/progress.c - showing a running study; see progress.h.
 *
 * The frame is rewritten in place: up by the rows that it takes, each line cleared to its end, and what is below it
 * cleared too. A window that became narrower has folded the lines that were wider, so the rows are counted anew from
 * their widths at each redraw; that is all the care that SIGWINCH needs. TERM=dumb and pipes get lines, NO_COLOR a
 * frame without emphasis.
 */
#include "core/search/progress.h"

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

#define REDRAW_SECONDS 0.5

static bool speaks_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8");
    }
    return false;
}

static void count_node(aira__run *run, const aira__search *s, uint32_t idx) {
    const aira__tree_node *n = &s->tree.nodes[idx];
    aira__progress_count(&run->progress.counts, n->operator_code, n->status == AIRA_NODE_GOOD, n->duplicate_of >= 0,
                         n->search_score, s->id, idx, n->architecture, aira__now());
}

void aira__progress_begin(aira__run *run) {
    const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
    aira__progress *p = &run->progress;
    *p = (aira__progress){.quiet = run->options->quiet,
                          .tty = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0,
                          .utf8 = speaks_utf8(),
                          .colour = !(plain && *plain),
                          .began = aira__now(),
                          .before = run->ledger.study};
    p->counts.higher_is_better = run->asking.higher_is_better;
    for (int i = 0; p->tty && i < run->n_searches; i++) /* of earlier sessions; once */
        for (uint32_t k = 0; k < run->searches[i].tree.committed; k++) count_node(run, &run->searches[i], k);
}

/* Rows that the frame on the screen takes in a window of so many columns. */
static int rows_of(const aira__progress *p, int columns) {
    int rows = 0;
    for (int i = 0; i < p->drawn; i++) rows += p->widths[i] > columns ? (p->widths[i] + columns - 1) / columns : 1;
    return rows;
}

static void window(int *columns, int *rows) {
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    *columns = known && size.ws_col > 0 ? size.ws_col : 100;
    *rows = known && size.ws_row > 0 ? size.ws_row : 24;
}

void aira__progress_node(aira__run *run, const aira__search *s, uint32_t idx) {
    if (run->progress.quiet) return;
    if (run->progress.tty) {
        count_node(run, s, idx);
        return;
    }
    const aira__tree_node *node = &s->tree.nodes[idx];
    char outcome[256];
    if (node->status == AIRA_NODE_GOOD)
        snprintf(outcome, sizeof outcome, "%.6g%s%s", node->search_score,
                 node->duplicate_of >= 0 ? " (seen before)" : "",
                 aira__tree_best(&s->tree, false) == (int64_t)idx ? " (best of this search)" : "");
    else
        snprintf(outcome, sizeof outcome, "failed (%.40s): %.200s", node->cause ? node->cause : "unknown",
                 node->note ? node->note : "no reason");
    fprintf(stderr, "%7.1f s  search %" PRId64 " node %u  %-8s %s  %s\n", aira__run_seconds(run), s->id, idx,
            aira__operator_name(node->operator_code), node->architecture ? node->architecture : "-", outcome);
}

static void show_search(const aira__run *run, int i, aira__progress_search *out) {
    const aira__search *s = &run->searches[i];
    int64_t best = aira__tree_best(&s->tree, false), limit = s->quota_candidates;
    if (limit < 0 || (s->own_candidates >= 0 && s->own_candidates < limit)) limit = s->own_candidates;
    *out = (aira__progress_search){.label = s->label,
                                   .id = s->id,
                                   .seed = s->tree.seed,
                                   .nodes = s->tree.committed,
                                   .limit = limit,
                                   .best = best < 0 ? NAN : s->tree.nodes[best].search_score,
                                   .architecture = best < 0 ? NULL : s->tree.nodes[best].architecture,
                                   .state = s->done   ? "done"
                                            : s->held ? "held"
                                                      : "running"};
}

/* The searches that are at work come first where there is no room for all. */
static void show_searches(const aira__run *run, aira__progress_view *v) {
    bool all = run->n_searches <= AIRA__PROGRESS_SEARCHES;
    for (int i = 0; i < run->n_searches; i++) v->n_done += run->searches[i].done;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < run->n_searches && v->n_shown < AIRA__PROGRESS_SEARCHES; i++)
            if (all ? pass == 0 : run->searches[i].done == (pass == 1)) show_search(run, i, &v->searches[v->n_shown++]);
}

/* Display width of a line: characters, not bytes. */
static int width_of(const char *line, const char *end) {
    int n = 0;
    for (; line < end; line++) n += ((unsigned char)*line & 0xc0) != 0x80;
    return n;
}

static void draw(aira__progress *p, const char *text, int columns) {
    aira__buf out = {0};
    int up = rows_of(p, columns);
    if (up > 0) aira__buf_printf(&out, "\r\033[%dA", up);
    p->drawn = 0;
    for (const char *line = text, *end; *line && p->drawn < AIRA__FRAME_LINES; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) break;
        bool strong = p->colour && p->drawn < 2;
        aira__buf_text(&out, strong ? "\033[1m" : "");
        aira__buf_add(&out, line, (size_t)(end - line));
        aira__buf_text(&out, strong ? "\033[0m\033[K\n" : "\033[K\n");
        p->widths[p->drawn++] = width_of(line, end);
    }
    aira__buf_text(&out, "\033[J");
    if (out.data && !out.failed) fwrite(out.data, 1, out.size, stderr);
    fflush(stderr);
    aira__buf_free(&out);
}

void aira__progress_tick(aira__run *run) {
    double now = aira__now();
    aira__progress *p = &run->progress;
    if (p->quiet || !p->tty || now - p->last < REDRAW_SECONDS) return;
    p->last = now;
    aira__progress_view v = {.study = aira__json_string(run->study, "study", "study"),
                             .counts = &p->counts,
                             .budget = &run->budget,
                             .usage = &run->ledger.study,
                             .before = &p->before,
                             .seconds = aira__run_seconds(run),
                             .session = now - p->began,
                             .best_age = now - p->counts.when,
                             .asking = run->asking_now,
                             .n_searches = run->n_searches};
    int columns, rows;
    aira__queue_counts(run->queue, &v.running, &v.waiting);
    show_searches(run, &v);
    window(&columns, &rows);
    aira__buf frame = {0};
    /* The last row is the cursor's, and the last column would fold the line on some terminals. */
    aira__progress_frame(&v, columns > 1 ? columns - 1 : 1, rows > 2 ? rows - 1 : 1, p->utf8, &frame);
    if (frame.data && !frame.failed) draw(p, frame.data, columns);
    aira__buf_free(&frame);
}

void aira__progress_end(aira__run *run) {
    aira__progress *p = &run->progress;
    int columns, rows;
    if (p->drawn == 0) return;
    window(&columns, &rows);
    fprintf(stderr, "\r\033[%dA\033[J", rows_of(p, columns));
    fflush(stderr);
    p->drawn = 0;
}
