/* core/search/budget.c - see budget.h. */
#include "core/search/budget.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

static const aira__budget unlimited = {-1, -1, -1, -1, -1, -1, -1, 0};

/* A limit of 0 would mean a study that does nothing; it is a mistake. */
static int64_t count_limit(aira__node *map, const char *key, aira__diagnostics *diagnostics) {
    aira__node *node = aira__map_get(map, key);
    if (!node) return -1;
    int64_t value = aira__node_count(node, 1, diagnostics);
    if (value < 1) aira__diagnose(diagnostics, node, "%s must be at least 1; leave the key out for no limit", key);
    return value;
}

static double check_positive(aira__node *node, double value, aira__diagnostics *diagnostics) {
    if (node && !(value > 0))
        aira__diagnose(diagnostics, node, "%s must be above 0; leave the key out for no limit", node->key);
    return node ? value : -1;
}

/* "20 USD", "20" */
static double money(aira__node *node, aira__diagnostics *diagnostics) {
    if (!node) return -1;
    const char *text = aira__node_string(node, "1", diagnostics);
    char *end = NULL;
    double value = strtod(text, &end);
    while (*end == ' ') end++;
    if (end == text || (*end && strcmp(end, "USD")))
        aira__diagnose(diagnostics, node, "money is written as `20 USD`; other currencies are not known");
    return check_positive(node, value, diagnostics);
}

void aira__budget_read(aira__node *node, aira__budget *out, aira__diagnostics *diagnostics) {
    static const char *const accepted[] = {"candidates", "evaluations",    "wall", "device_seconds", "flops", "tokens",
                                           "money",      "allow_unpriced", NULL};
    *out = unlimited;
    if (!node) return;
    if (node->kind != AIRA_NODE_MAP) {
        aira__diagnose(diagnostics, node, "budget is a mapping, e.g. {candidates: 24, wall: 2h}");
        return;
    }
    out->candidates = count_limit(node, "candidates", diagnostics);
    out->evaluations = count_limit(node, "evaluations", diagnostics);
    out->tokens = count_limit(node, "tokens", diagnostics);
    aira__node *item = aira__map_get(node, "wall");
    out->wall = check_positive(item, aira__node_duration(item, -1, diagnostics), diagnostics);
    item = aira__map_get(node, "device_seconds");
    out->device_seconds = check_positive(item, aira__node_duration(item, -1, diagnostics), diagnostics);
    item = aira__map_get(node, "flops");
    out->flops = check_positive(item, aira__node_real(item, -1, diagnostics), diagnostics);
    out->money_usd = money(aira__map_get(node, "money"), diagnostics);
    out->allow_unpriced = aira__node_bool(aira__map_get(node, "allow_unpriced"), false, diagnostics);
    aira__map_finish(node, accepted, diagnostics);
}

bool aira__budget_limits(const aira__budget *b) {
    return b->candidates >= 0 || b->evaluations >= 0 || b->wall >= 0 || b->device_seconds >= 0 || b->flops >= 0 ||
           b->tokens >= 0 || b->money_usd >= 0;
}

static json_t *limit_json(double value) { return value < 0 ? json_null() : json_real(value); }
static json_t *count_json(int64_t value) { return value < 0 ? json_null() : json_integer(value); }

json_t *aira__budget_json(const aira__budget *b) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "candidates", count_json(b->candidates), "evaluations",
                     count_json(b->evaluations), "wall", limit_json(b->wall), "device_seconds",
                     limit_json(b->device_seconds), "flops", limit_json(b->flops), "tokens", count_json(b->tokens),
                     "money", limit_json(b->money_usd), "allow_unpriced", b->allow_unpriced != 0);
}

void aira__budget_from_json(const json_t *object, aira__budget *out) {
    out->candidates = aira__json_int(object, "candidates", -1);
    out->evaluations = aira__json_int(object, "evaluations", -1);
    out->wall = aira__json_real(object, "wall", -1);
    out->device_seconds = aira__json_real(object, "device_seconds", -1);
    out->flops = aira__json_real(object, "flops", -1);
    out->tokens = aira__json_int(object, "tokens", -1);
    out->money_usd = aira__json_real(object, "money", -1);
    out->allow_unpriced = json_is_true(json_object_get(object, "allow_unpriced"));
}

static json_t *whole_json(double value) { return isnan(value) ? json_null() : json_integer((json_int_t)value); }

json_t *aira__usage_json(const aira__usage *u, const aira__budget *b) {
    json_t *limits = json_pack("{s:o, s:o, s:o, s:o, s:o}", "seconds", limit_json(b->wall), "device_seconds",
                               limit_json(b->device_seconds), "flops", limit_json(b->flops), "tokens",
                               count_json(b->tokens), "money_usd", limit_json(b->money_usd));
    return json_pack("{s:{s:I, s:o}, s:{s:I, s:o}, s:o, s:o, s:o, s:o, s:o, s:o}", "candidates", "used",
                     (json_int_t)u->candidates, "limit", count_json(b->candidates), "evaluations", "used",
                     (json_int_t)u->evaluations, "limit", count_json(b->evaluations), "seconds",
                     aira__json_number(u->seconds), "device_seconds", aira__json_number(u->device_seconds), "flops",
                     aira__json_number(u->flops), "tokens", whole_json(u->tokens), "money_usd",
                     aira__json_number(u->money_usd), "limits", limits);
}

aira__limit aira__budget_reached(const aira__budget *b, const aira__usage *u, char *sentence, size_t size) {
    const struct {
        const char *name;
        double used, limit;
    } rows[] = {{"wall time (s)", u->seconds, b->wall},
                {"device seconds", u->device_seconds, b->device_seconds},
                {"FLOPs", u->flops, b->flops},
                {"tokens", u->tokens, (double)b->tokens},
                {"money (USD)", u->money_usd, b->money_usd}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].limit >= 0 && rows[i].used >= rows[i].limit) {
            snprintf(sentence, size, "the budget in %s is used up: %g of %g", rows[i].name, rows[i].used,
                     rows[i].limit);
            return i == 0 ? AIRA__LIMIT_WALL : AIRA__LIMIT_OTHER;
        }
    bool money = b->money_usd >= 0 && u->unpriced > 0 && !b->allow_unpriced,
         tokens = b->tokens >= 0 && u->uncounted > 0;
    if (money || tokens)
        snprintf(sentence, size,
                 "the budget in %s cannot be kept, because an agent does not tell what its answers cost; "
                 "limit candidates instead",
                 money ? "money" : "tokens");
    return money || tokens ? AIRA__LIMIT_OTHER : AIRA__LIMIT_NONE;
}

void aira__budget_share(int64_t total, int n, int64_t *out) {
    for (int i = 0; i < n; i++) out[i] = total < 0 ? -1 : total / n + (i < total % n);
}
