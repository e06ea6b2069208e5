/* core/report/strips.c - architectures as rows of coloured cells, one per layer, and the map of the top cluster.
 * Colours are classes of the page's style sheet, so that light, dark and print differ there alone; every cell that has
 * room for it also names its token, and all have a title.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/compose/notation.h"
#include "core/report/internal.h"

/* Cells of a row that begins at x, y. */
static void cells(aira__buf *b, const report_data *d, const uint16_t *layers, int n, int x, int y, int cell) {
    for (int i = 0; i < n; i++) {
        const char *token = layers[i] < d->n_tokens ? d->tokens[layers[i]] : "?";
        int colour = layers[i] % REPORT_COLOURS;
        aira__buf_printf(b, "<rect class=\"t%d\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"22\"/>", colour, x + i * cell,
                         y, cell - (cell > 6 ? 2 : 1));
        if (cell >= 22 && strlen(token) <= (cell >= 30 ? 3u : 2u)) {
            aira__buf_printf(b, "<text class=\"k%d\" x=\"%d\" y=\"%d\">", colour, x + i * cell + cell / 2 - 1, y + 15);
            report_escape(b, token);
            aira__buf_text(b, "</text>");
        }
    }
}

static void support_bars(aira__buf *b, const double *support, int n, int x, int y, int cell) {
    for (int i = 0; i < n; i++)
        aira__buf_printf(b,
                         "<rect class=\"track\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"4\"/><rect class=\"support\" "
                         "x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"4\"/>",
                         x + i * cell, y, cell - 2, x + i * cell, y, (cell - 2) * fmin(fmax(support[i], 0), 1));
}

void report_strip(aira__buf *b, const report_data *d, const uint16_t *layers, int n, const double *support) {
    int cell = n <= 20 ? 30 : n <= 36 ? 22 : n <= 80 ? 10 : 5, height = support ? 29 : 22;
    aira__buf_printf(b, "<svg class=\"strip\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" aria-hidden=\"true\">",
                     n * cell, height, n * cell, height);
    cells(b, d, layers, n, 0, 0, cell);
    if (support) support_bars(b, support, n, 0, 25, cell);
    aira__buf_text(b, "</svg>");
}

void report_mini_strip(aira__buf *b, const uint16_t *layers, int n) {
    int cell = n <= 16 ? 9 : n <= 32 ? 6 : 3;
    aira__buf_printf(b, "<svg class=\"mini\" width=\"%d\" height=\"12\" aria-hidden=\"true\">", n * cell);
    for (int i = 0; i < n; i++)
        aira__buf_printf(b, "<rect class=\"t%d\" x=\"%d\" width=\"%d\" height=\"12\"/>", layers[i] % REPORT_COLOURS,
                         i * cell, cell - (cell > 3 ? 1 : 0));
    aira__buf_text(b, "</svg>");
}

/* Layers of an architecture in text, malloc'ed; NULL where it is none of these tokens. */
static uint16_t *layers_of(const report_data *d, const char *architecture, int *n) {
    uint16_t *layers = malloc(AIRA__NOTATION_MAX * sizeof *layers);
    if (layers && d->n_tokens > 0 &&
        aira__notation_parse(architecture, (const char *const *)d->tokens, d->n_tokens, layers, AIRA__NOTATION_MAX, n,
                             NULL) == AIRA_OK)
        return layers;
    free(layers);
    return NULL;
}

void report_strip_text(aira__buf *b, const report_data *d, const char *architecture, const json_t *support) {
    int n = 0;
    uint16_t *layers = layers_of(d, architecture, &n);
    double *shares = support && layers ? malloc(((size_t)n + 1) * sizeof *shares) : NULL;
    for (int i = 0; shares && i < n; i++) shares[i] = json_number_value(json_array_get(support, (size_t)i));
    if (layers) report_strip(b, d, layers, n, shares);
    free(layers);
    free(shares);
}

/* --------------------------------------------------------------------- map */

typedef struct map {
    int left, cell, y;
} map;

static void row_name(aira__buf *b, const map *m, const char *name) {
    aira__buf_printf(b, "<text class=\"rowname\" x=\"%d\" y=\"%d\">", m->left - 10, m->y + 16);
    report_escape(b, name);
    aira__buf_text(b, "</text>");
}

static double share_of(const report_data *d, int layer, int token) {
    int with = 0;
    for (int m = 0; m < d->n_cluster; m++) {
        const report_node *n = &d->nodes[d->cluster[m]];
        with += layer < n->n_layers && n->layers[layer] == token;
    }
    return (double)with / d->n_cluster;
}

static void frequency_row(aira__buf *b, const report_data *d, const map *m, int token, int depth) {
    row_name(b, m, d->tokens[token]);
    for (int l = 0; l < depth; l++) {
        double share = share_of(d, l, token);
        int x = m->left + l * m->cell;
        aira__buf_printf(b,
                         "<rect class=\"track\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"22\"/><rect class=\"t%d\" "
                         "x=\"%d\" y=\"%d\" width=\"%d\" height=\"22\" opacity=\"%.2f\"/>",
                         x, m->y, m->cell - 2, token % REPORT_COLOURS, x, m->y, m->cell - 2, share);
        if (m->cell >= 30 && share > 0)
            aira__buf_printf(b, "<text class=\"share%s%d\" x=\"%d\" y=\"%d\">%.0f</text>",
                             share > 0.6 ? " k" : " light", token % REPORT_COLOURS, x + m->cell / 2 - 1, m->y + 15,
                             100 * share);
    }
}

static void aligned_row(aira__buf *b, const report_data *d, map *m, const char *name, const char *architecture,
                        const json_t *support, int depth) {
    int n = 0;
    uint16_t *layers = layers_of(d, architecture, &n);
    if (layers && n == depth) {
        row_name(b, m, name);
        cells(b, d, layers, n, m->left, m->y, m->cell);
        for (int i = 0; i < n && support; i++) {
            double share = json_number_value(json_array_get(support, (size_t)i));
            support_bars(b, &share, 1, m->left + i * m->cell, m->y + 24, m->cell);
        }
        m->y += 34;
    }
    free(layers);
}

/* Share of each token at each layer; below it, aligned, what the aggregators made of it and what was submitted. */
void report_cluster_map(aira__buf *b, const report_data *d) {
    int depth = d->n_cluster ? d->nodes[d->cluster[0]].n_layers : 0, longest = 6;
    size_t i;
    const json_t *a;
    if (depth == 0 || depth > 400) return;
    for (int t = 0; t < d->n_tokens; t++) longest = (int)fmax(longest, (double)strlen(d->tokens[t]));
    map m = {.left = 24 + 8 * (longest < 20 ? longest : 20), .cell = depth <= 22 ? 34 : depth <= 36 ? 22 : 10};
    int width = m.left + depth * m.cell,
        height = 26 * d->n_tokens + 30 + 34 * ((int)json_array_size(d->aggregated) + 1);
    aira__buf_printf(b,
                     "<div class=\"scroll\"><svg class=\"plot map\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                     "role=\"img\" aria-label=\"share of each token at each layer\">",
                     width, height, width, height);
    for (int t = 0; t < d->n_tokens; t++, m.y += 26) frequency_row(b, d, &m, t, depth);
    for (int l = 0; l < depth; l += m.cell >= 22 ? 1 : 5)
        aira__buf_printf(b, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%d</text>",
                         m.left + l * m.cell + m.cell / 2 - 1, m.y + 12, l + 1);
    m.y += 26;
    json_array_foreach(d->aggregated, i, a) {
        aligned_row(b, d, &m, report_string_in(a, "by"), report_string_in(a, "architecture"),
                    json_object_get(a, "support"), depth);
    }
    if (d->submitted >= 0) aligned_row(b, d, &m, "submitted", d->nodes[d->submitted].architecture, NULL, depth);
    aira__buf_text(b, "</svg></div>");
}
