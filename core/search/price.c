/* core/search/price.c - see price.h */
#include "core/search/price.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/json.h"

static bool is_date(const char *text) {
    int year, month, day, n = 0;
    return sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &n) == 3 && n == 10 && text[10] == 0 && month >= 1 &&
           month <= 12 && day >= 1 && day <= 31;
}

/* Sets a price, or null where it is absent. */
static void read_price(aira__node *row, const char *key, bool needed, json_t *out, aira__diagnostics *d) {
    aira__node *node = aira__map_get(row, key);
    double value = aira__node_real(node, NAN, d);
    if (!node && needed)
        aira__diagnose(d, row, "a price needs `%s`, in USD per million tokens (0 where it is free)", key);
    else if (node && !(value >= 0))
        aira__diagnose(d, node, "%s is USD per million tokens, 0 or more", key);
    if (json_object_set_new(out, key, aira__json_number(value))) aira__diagnose(d, NULL, "out of memory");
}

static json_t *read_row(aira__node *row, aira__diagnostics *d) {
    static const char *const accepted[] = {"model",    "input",      "cached_input", "cache_write", "output",
                                           "currency", "valid_from", "source",       NULL};
    json_t *out = json_object();
    if (row->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, row, "a price is a mapping: {model: \"name-*\", input: 2.5, output: 10}");
        aira__node_mark_used(row);
        return out;
    }
    aira__node *model = aira__map_get(row, "model"), *currency = aira__map_get(row, "currency");
    aira__node *from = aira__map_get(row, "valid_from");
    if (!model) aira__diagnose(d, row, "a price names its `model`, or several by a pattern such as \"name-*\"");
    if (strcmp(aira__node_string(currency, "USD", d), "USD"))
        aira__diagnose(d, currency, "prices are in USD; other currencies are not known");
    const char *date = aira__node_string(from, "", d);
    if (from && !is_date(date)) aira__diagnose(d, from, "valid_from is a date such as 2026-01-31");
    if (json_object_set_new(out, "model", json_string(aira__node_string(model, "", d))) ||
        json_object_set_new(out, "currency", json_string("USD")) ||
        json_object_set_new(out, "valid_from", json_string(date)) ||
        json_object_set_new(out, "source", json_string(aira__node_string(aira__map_get(row, "source"), "", d))))
        aira__diagnose(d, NULL, "out of memory");
    read_price(row, "input", true, out, d);
    read_price(row, "cached_input", false, out, d);
    read_price(row, "cache_write", false, out, d);
    read_price(row, "output", true, out, d);
    aira__map_finish(row, accepted, d);
    return out;
}

static json_t *read_rows(aira__node *list, aira__diagnostics *d) {
    json_t *rows = json_array();
    if (list->kind != AIRA_NODE_LIST) {
        aira__diagnose(d, list, "prices is a list of {model: ..., input: ..., output: ...}, or a file that holds one");
        aira__node_mark_used(list);
        return rows;
    }
    for (int i = 0; i < list->n_items; i++)
        if (json_array_append_new(rows, read_row(list->items[i], d))) aira__diagnose(d, NULL, "out of memory");
    return rows;
}

json_t *aira__prices_load(const char *path, aira__diagnostics *d) {
    static const char *const accepted[] = {"prices", NULL};
    aira__document *document = aira__document_load(path, NULL, 0, d);
    aira__node *root = document ? aira__document_root(document) : NULL;
    aira__node *list = root && root->kind == AIRA_NODE_MAP ? aira__map_get(root, "prices") : NULL;
    json_t *rows = list ? read_rows(list, d) : json_array();
    if (root && !list)
        aira__diagnose(d, root, "a price file is a mapping with the key `prices`");
    else if (root)
        aira__map_finish(root, accepted, d);
    aira__document_destroy(document);
    return rows;
}

json_t *aira__prices_read(aira__node *node, aira__diagnostics *d) {
    if (!node) return json_array();
    if (node->kind != AIRA_NODE_SCALAR) return read_rows(node, d);
    char *path = aira__node_path(node, d);
    json_t *rows = path ? aira__prices_load(path, d) : json_array();
    free(path);
    return rows;
}

const json_t *aira__price_find(const json_t *study, const char *model, double when) {
    const json_t *row, *best = NULL;
    char today[32] = "";
    size_t i;
    time_t seconds = (time_t)when;
    struct tm parts;
    if (!model) return NULL;
    if (gmtime_r(&seconds, &parts)) strftime(today, sizeof today, "%Y-%m-%d", &parts);
    json_array_foreach(json_object_get(study, "prices"), i, row) {
        const char *from = aira__json_string(row, "valid_from", "");
        if (fnmatch(aira__json_string(row, "model", ""), model, 0) != 0 || strcmp(from, today) > 0) continue;
        if (!best || strcmp(from, aira__json_string(best, "valid_from", "")) > 0) best = row;
    }
    return best;
}

double aira__price_money(const json_t *row, const aira_usage *u) {
    double input = aira__json_real(row, "input", -1), output = aira__json_real(row, "output", -1);
    double cached = aira__json_real(row, "cached_input", input), write = aira__json_real(row, "cache_write", -1);
    int64_t read = u->cached_input_tokens > 0 ? u->cached_input_tokens : 0;
    int64_t written = u->cache_write_tokens > 0 ? u->cache_write_tokens : 0;
    if (!row || u->input_tokens < 0 || u->output_tokens < 0 || (written > 0 && write < 0)) return -1;
    int64_t plain = u->input_tokens > read + written ? u->input_tokens - read - written : 0;
    return ((double)plain * input + (double)read * cached + (written > 0 ? (double)written * write : 0) +
            (double)u->output_tokens * output) /
           1e6;
}
