/* core/search/diff.c - unified diffs between sources: applied as models write them, and made for readers. See design.h.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/search/design.h"

#define MOST_LINES 4000
#define CONTEXT 3

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

/* The lines of a text, each ended by a zero byte in a copy of it. */
typedef struct lines {
    char *copy;
    const char **line;
    int n;
} lines;

static bool split(const char *text, size_t size, lines *out) {
    size_t n = 1;
    for (size_t i = 0; i < size; i++) n += text[i] == '\n';
    *out = (lines){malloc(size + 1), malloc(n * sizeof *out->line), 0};
    if (!out->copy || !out->line) return false;
    memcpy(out->copy, text, size);
    out->copy[size] = 0;
    for (char *at = out->copy; *at;) {
        char *end = strchr(at, '\n');
        if (end) *end = 0;
        size_t length = strlen(at);
        if (length && at[length - 1] == '\r') at[length - 1] = 0;
        out->line[out->n++] = at;
        at = end ? end + 1 : at + length;
        if (!end) break;
    }
    return true;
}

static void release(lines *l) {
    free(l->copy);
    free(l->line);
    *l = (lines){0};
}

/* Equal but for blanks at the ends. */
static bool same(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    while (n && strchr(" \t\r", a[n - 1])) n--;
    while (m && strchr(" \t\r", b[m - 1])) m--;
    return n == m && !memcmp(a, b, n);
}

/* ---- applying ---- */

typedef struct hunk {
    int at, first, end; /* the old line that it names (0: none); its lines in the diff */
} hunk;

/* The old side of a diff line: its text, or NULL where the line adds one. A line without a mark is an empty one that
   lost its blank. */
static const char *old_side(const char *line) { return *line == '+' ? NULL : *line == 0 ? line : line + 1; }

static bool ignored(const char *line) { return *line == '\\'; }

/* Does the old side of the hunk stand at line `at` of the source? *n: how many lines it has. */
static bool fits(const lines *source, const lines *diff, const hunk *h, int at, int *n) {
    *n = 0;
    for (int i = h->first; i < h->end; i++) {
        const char *old = ignored(diff->line[i]) ? NULL : old_side(diff->line[i]);
        if (!old) continue;
        if (at + *n >= source->n || !same(source->line[at + *n], old)) return false;
        ++*n;
    }
    return true;
}

/* The place nearest to the hunk's own number, not before `from`; -1: there is none. */
static int find_place(const lines *source, const lines *diff, const hunk *h, int from, int *n) {
    int wanted = h->at > 0 ? h->at - 1 : from, best = -1;
    for (int at = from; at <= source->n; at++)
        if (fits(source, diff, h, at, n) && (best < 0 || abs(at - wanted) < abs(best - wanted))) best = at;
    if (best >= 0) (void)fits(source, diff, h, best, n);
    return best;
}

static aira_status no_place(const lines *diff, const hunk *h, int number, aira_error *error) {
    const char *first = "";
    for (int i = h->first; i < h->end && !*first; i++) {
        const char *old = ignored(diff->line[i]) ? NULL : old_side(diff->line[i]);
        if (old) first = old + strspn(old, " \t");
    }
    return aira__fail(error, AIRA_E_FAILED,
                      "hunk %d of the diff does not fit: its old lines, from `%.80s` on, do not stand together in the "
                      "source, after what the hunks before it change; repeat them exactly, or give the whole file",
                      number, first);
}

/* The next hunk from line *i of the diff on. */
static bool next_hunk(const lines *diff, int *i, hunk *h) {
    while (*i < diff->n && strncmp(diff->line[*i], "@@", 2)) ++*i;
    if (*i == diff->n) return false;
    h->at = 0;
    if (sscanf(diff->line[*i], "@@ -%d", &h->at) != 1) h->at = 0;
    h->first = ++*i;
    while (*i < diff->n && strncmp(diff->line[*i], "@@", 2) && strncmp(diff->line[*i], "--- ", 4) &&
           strncmp(diff->line[*i], "diff ", 5))
        ++*i;
    h->end = *i;
    while (h->end > h->first && !*diff->line[h->end - 1]) h->end--; /* blank lines before the closing fence */
    return true;
}

/* A line that is no part of a diff would be taken for context. */
static aira_status check_marks(const lines *diff, const hunk *h, int number, aira_error *error) {
    bool changes = false;
    for (int i = h->first; i < h->end; i++) {
        const char *line = diff->line[i];
        if (*line && !strchr(" +-\\\t", *line))
            return aira__fail(error, AIRA_E_FAILED,
                              "hunk %d of the diff holds the line `%.60s`; every line begins with a blank, + or -",
                              number, line);
        changes = changes || *line == '+' || *line == '-';
    }
    return changes ? AIRA_OK : aira__fail(error, AIRA_E_FAILED, "hunk %d of the diff changes nothing", number);
}

static aira_status apply(const lines *source, const lines *diff, aira__buf *out, aira_error *error) {
    int at = 0, i = 0, number = 0, n = 0;
    hunk h;
    while (next_hunk(diff, &i, &h)) {
        aira_status status = check_marks(diff, &h, ++number, error);
        if (status != AIRA_OK) return status;
        int place = find_place(source, diff, &h, at, &n);
        if (place < 0) return no_place(diff, &h, number, error);
        while (at < place) aira__buf_printf(out, "%s\n", source->line[at++]);
        for (int k = h.first; k < h.end; k++) {
            const char *line = diff->line[k];
            if (ignored(line)) continue;
            if (*line == '+') aira__buf_printf(out, "%s\n", line + 1);
            if (*line == ' ' || *line == '\t' || !*line) aira__buf_printf(out, "%s\n", source->line[at]);
            if (*line != '+') at++;
        }
    }
    while (at < source->n) aira__buf_printf(out, "%s\n", source->line[at++]);
    return number ? AIRA_OK
                  : aira__fail(error, AIRA_E_FAILED,
                               "the diff has no hunk; one begins with a line such as @@ -10,6 +10,7 @@");
}

aira_status aira__diff_apply(const char *source, const char *diff, size_t n, char **out, aira_error *error) {
    lines s = {0}, d = {0};
    aira__buf text = {0};
    *out = NULL;
    aira_status status = split(source, strlen(source), &s) && split(diff, n, &d) ? AIRA_OK : no_memory(error);
    if (status == AIRA_OK) status = apply(&s, &d, &text, error);
    char *whole = status == AIRA_OK ? aira__buf_take(&text) : NULL;
    if (whole) *out = aira__source_normalise(whole, strlen(whole));
    if (status == AIRA_OK && !*out) status = no_memory(error);
    free(whole);
    aira__buf_free(&text);
    release(&s);
    release(&d);
    return status;
}

/* ---- making ---- */

/* length[i][k]: of the longest common subsequence of the lines from i and from k on. */
static uint16_t *common(const lines *a, const lines *b) {
    size_t w = (size_t)b->n + 1;
    uint16_t *length = calloc(((size_t)a->n + 1) * w, sizeof *length);
    for (int i = a->n - 1; length && i >= 0; i--)
        for (int k = b->n - 1; k >= 0; k--) {
            uint16_t down = length[(size_t)(i + 1) * w + (size_t)k], right = length[(size_t)i * w + (size_t)k + 1];
            length[(size_t)i * w + (size_t)k] = !strcmp(a->line[i], b->line[k])
                                                    ? (uint16_t)(length[(size_t)(i + 1) * w + (size_t)k + 1] + 1)
                                                : down > right ? down
                                                               : right;
        }
    return length;
}

typedef struct edit {
    char mark; /* ' ', '-', '+' */
    int a, b;  /* the line, in both sources */
} edit;

static int list_edits(const lines *a, const lines *b, const uint16_t *length, edit *edits) {
    size_t w = (size_t)b->n + 1;
    int n = 0, i = 0, k = 0;
    while (i < a->n || k < b->n) {
        bool both = i < a->n && k < b->n;
        if (both && !strcmp(a->line[i], b->line[k])) {
            edits[n++] = (edit){' ', i++, k++};
        } else if (i < a->n &&
                   (k == b->n || length[(size_t)(i + 1) * w + (size_t)k] >= length[(size_t)i * w + (size_t)k + 1])) {
            edits[n++] = (edit){'-', i++, k};
        } else {
            edits[n++] = (edit){'+', i, k++};
        }
    }
    return n;
}

static void write_hunks(const lines *a, const lines *b, const edit *edits, int n, aira__buf *out) {
    for (int i = 0; i < n;) {
        while (i < n && edits[i].mark == ' ') i++;
        if (i == n) break;
        int first = i > CONTEXT ? i - CONTEXT : 0, end = i, quiet = 0, old = 0, new = 0;
        for (; end < n && quiet <= 2 * CONTEXT; end++) quiet = edits[end].mark == ' ' ? quiet + 1 : 0;
        end -= quiet > CONTEXT ? quiet - CONTEXT : 0;
        for (int k = first; k < end; k++) {
            old += edits[k].mark != '+';
            new += edits[k].mark != '-';
        }
        aira__buf_printf(out, "@@ -%d,%d +%d,%d @@\n", edits[first].a + (old > 0), old, edits[first].b + (new > 0),
                         new);
        for (int k = first; k < end; k++)
            aira__buf_printf(out, "%c%s\n", edits[k].mark,
                             edits[k].mark == '+' ? b->line[edits[k].b] : a->line[edits[k].a]);
        i = end;
    }
}

char *aira__diff_make(const char *from, const char *to) {
    lines a = {0}, b = {0};
    aira__buf out = {0};
    char *text = NULL;
    uint16_t *length = NULL;
    edit *edits = NULL;
    if (split(from, strlen(from), &a) && split(to, strlen(to), &b)) {
        bool small = a.n <= MOST_LINES && b.n <= MOST_LINES && strcmp(from, to) != 0;
        length = small ? common(&a, &b) : NULL;
        edits = small ? malloc(((size_t)a.n + (size_t)b.n + 1) * sizeof *edits) : NULL;
        if (length && edits) write_hunks(&a, &b, edits, list_edits(&a, &b, length, edits), &out);
        text = small && !(length && edits) ? NULL : aira__buf_take(&out);
    }
    free(length);
    free(edits);
    release(&a);
    release(&b);
    return text;
}
