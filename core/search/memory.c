/* core/search/memory.c - see memory.h. */
#include "core/search/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

static const char *const names[AIRA__N_MEMORIES] = {"none", "simple", "ancestral", "sibling"};

const char *aira__memory_name(aira__memory_kind kind) { return names[kind]; }

int aira__memory_find(const char *name) {
    for (int i = 0; i < AIRA__N_MEMORIES; i++)
        if (!strcmp(names[i], name)) return i;
    return -1;
}

void aira__memory_init(aira__memory *m, const aira__tree *tree) { *m = (aira__memory){.tree = tree}; }

void aira__memory_release(aira__memory *m) {
    for (uint32_t i = 0; i < m->capacity; i++) {
        free(m->nodes[i].plan);
        free(m->nodes[i].analysis);
        free(m->nodes[i].known);
        json_decref(m->nodes[i].entry);
    }
    free(m->nodes);
    free(m->good);
    *m = (aira__memory){0};
}

static aira__remembered *node_of(aira__memory *m, uint32_t idx) {
    if (idx >= m->capacity) {
        uint32_t capacity = m->capacity ? m->capacity : 64;
        while (capacity <= idx) capacity *= 2;
        aira__remembered *more = realloc(m->nodes, capacity * sizeof *more);
        if (!more) return NULL;
        memset(more + m->capacity, 0, (capacity - m->capacity) * sizeof *more);
        m->nodes = more;
        m->capacity = capacity;
    }
    return &m->nodes[idx];
}

/* A copy that ends at a character's end, with "..." where something is missing. */
static char *shortened(const char *text) {
    size_t n = strlen(text), keep = n;
    if (n > AIRA__MEMORY_TEXT) {
        keep = AIRA__MEMORY_TEXT - 3;
        while (keep && ((unsigned char)text[keep] & 0xC0) == 0x80) keep--;
    }
    char *copy = malloc(keep + 4);
    if (!copy) return NULL;
    memcpy(copy, text, keep);
    memcpy(copy + keep, keep < n ? "..." : "", keep < n ? 4 : 1);
    return copy;
}

static bool replace(char **to, const char *text) {
    char *copy = text && *text ? shortened(text) : NULL;
    if (text && *text && !copy) return false;
    if (!copy) return true;
    free(*to);
    *to = copy;
    return true;
}

aira_status aira__memory_keep(aira__memory *m, uint32_t idx, const char *plan, const char *analysis,
                              aira_error *error) {
    aira__remembered *node = node_of(m, idx);
    if (node && replace(&node->plan, plan) && replace(&node->analysis, analysis)) return AIRA_OK;
    return aira__fail(error, AIRA_E_MEMORY, "out of memory");
}

const char *aira__memory_plan(const aira__memory *m, uint32_t idx) {
    return idx < m->capacity ? m->nodes[idx].plan : NULL;
}

/* ---- one node ---- */

static json_t *text_or_null(const char *text) { return text ? json_string(text) : json_null(); }

static json_t *make_entry(const aira__memory *m, uint32_t idx, bool known) {
    const aira__tree_node *node = &m->tree->nodes[idx];
    const aira__remembered *kept = known && idx < m->capacity ? &m->nodes[idx] : NULL;
    const char *status = !known ? "pending" : node->duplicate_of >= 0 ? "duplicate" : aira__status_name(node->status);
    bool good = known && node->status == AIRA_NODE_GOOD;
    return json_pack("{s:I, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "idx", (json_int_t)idx, "operator",
                     aira__operator_name(node->operator_code), "parent",
                     node->parent < 0 ? json_null() : json_integer(node->parent), "architecture",
                     text_or_null(known ? node->architecture : NULL), "score",
                     good ? aira__json_number(node->search_score) : json_null(), "status", status, "note",
                     text_or_null(known ? node->note : NULL), "plan", text_or_null(kept ? kept->plan : NULL),
                     "analysis", text_or_null(kept ? kept->analysis : NULL));
}

json_t *aira__memory_entry(aira__memory *m, uint32_t idx, uint32_t view) {
    aira__remembered *node = idx < view ? node_of(m, idx) : NULL;
    if (idx >= view) return make_entry(m, idx, false);
    if (node && !node->entry) node->entry = make_entry(m, idx, true);
    return node ? json_incref(node->entry) : NULL;
}

/* A node in the state's form; lent where it is committed, else *made, which the caller frees. */
static const char *known_text(aira__memory *m, uint32_t idx, uint32_t view, char **made) {
    aira__remembered *node = idx < view ? node_of(m, idx) : NULL;
    *made = NULL;
    if (node && node->known) return node->known;
    json_t *entry = aira__memory_entry(m, idx, view), *small = json_copy(entry);
    (void)json_object_del(small, "plan");
    (void)json_object_del(small, "analysis");
    char *text = aira__json_canonical(small);
    json_decref(small);
    json_decref(entry);
    if (node)
        node->known = text;
    else
        *made = text;
    return text;
}

/* ---- the best ---- */

static bool better(const aira__memory *m, uint32_t a, uint32_t b) {
    double x = m->tree->nodes[a].search_score, y = m->tree->nodes[b].search_score;
    if (x != y) return m->tree->higher_is_better ? x > y : x < y;
    return a < b;
}

static void insert_best(const aira__memory *m, uint32_t *best, uint32_t *n, uint32_t idx) {
    uint32_t at = *n;
    while (at && better(m, idx, best[at - 1])) at--;
    if (at == AIRA__MEMORY_BEST) return;
    uint32_t last = *n < AIRA__MEMORY_BEST ? (*n)++ : AIRA__MEMORY_BEST - 1;
    for (uint32_t i = last; i > at; i--) best[i] = best[i - 1];
    best[at] = idx;
}

static bool counts(const aira__tree_node *node) {
    return node->status == AIRA_NODE_GOOD && node->duplicate_of < 0 && !isnan(node->search_score);
}

/* Brings `good` and `best` up to the view; best starts anew for an older one. */
static bool look(aira__memory *m, uint32_t view) {
    for (; m->looked_at < view; m->looked_at++) {
        if (!counts(&m->tree->nodes[m->looked_at])) continue;
        if (m->n_good == m->good_capacity) {
            uint32_t capacity = m->good_capacity ? m->good_capacity * 2 : 64;
            uint32_t *more = realloc(m->good, capacity * sizeof *more);
            if (!more) return false;
            m->good = more;
            m->good_capacity = capacity;
        }
        m->good[m->n_good++] = m->looked_at;
    }
    if (view < m->best_view) m->best_view = m->n_best = 0;
    for (; m->best_view < view; m->best_view++)
        if (counts(&m->tree->nodes[m->best_view])) insert_best(m, m->best, &m->n_best, m->best_view);
    return true;
}

json_t *aira__memory_best(aira__memory *m, uint32_t view) {
    json_t *list = json_array();
    bool ok = list && look(m, view);
    for (uint32_t i = 0; ok && i < m->n_best; i++)
        ok = !json_array_append_new(list, aira__memory_entry(m, m->best[i], view));
    if (ok) return list;
    json_decref(list);
    return NULL;
}

/* ---- choosing ---- */

typedef struct choice {
    uint32_t *idx; /* increasing */
    uint32_t n;
} choice;

static int by_idx(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static size_t length_of(const char *text) { return text ? strlen(text) : 0; }

/* Bytes that a node takes up in a prompt, about. */
static size_t cost_of(const aira__memory *m, uint32_t idx) {
    const aira__tree_node *node = &m->tree->nodes[idx];
    const aira__remembered *kept = idx < m->capacity ? &m->nodes[idx] : NULL;
    return 48 + length_of(node->architecture) + length_of(node->note) +
           (kept ? length_of(kept->plan) + length_of(kept->analysis) : 0);
}

/* Of list (in order): the best that fit, then the latest that fit. known: costs are those of the state's form. */
static bool choose(aira__memory *m, const uint32_t *list, uint32_t n, const uint32_t *best, uint32_t n_best,
                   uint32_t view, int64_t tokens, bool known, choice *out) {
    size_t room = (size_t)tokens * 4, most = n < 16 ? n : 16;
    bool taken[AIRA__MEMORY_BEST] = {false};
    *out = (choice){malloc((most + AIRA__MEMORY_BEST) * sizeof *out->idx), 0};
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t k = 0; k < (pass ? n : n_best); k++) {
            uint32_t idx = pass ? list ? list[n - 1 - k] : n - 1 - k : best[k];
            bool had = false;
            for (uint32_t i = 0; pass && i < n_best; i++) had = had || (taken[i] && best[i] == idx);
            if (had) continue;
            char *made = NULL;
            size_t cost = known ? length_of(known_text(m, idx, view, &made)) + 1 : cost_of(m, idx);
            free(made);
            if (cost > room && pass) return out->idx != NULL; /* older ones would leave a gap */
            if (cost > room) continue;
            room -= cost;
            if (!pass) taken[k] = true;
            if (out->idx && out->n == most + AIRA__MEMORY_BEST) {
                most *= 2;
                uint32_t *more = realloc(out->idx, (most + AIRA__MEMORY_BEST) * sizeof *more);
                if (!more) {
                    free(out->idx);
                    out->n = 0;
                }
                out->idx = more;
            }
            if (!out->idx) return false;
            out->idx[out->n++] = idx;
        }
    }
    return out->idx != NULL;
}

/* The nodes that a memory is about, in order; malloc'ed. */
static uint32_t *candidates(aira__memory *m, aira__memory_kind kind, uint32_t idx, uint32_t view, int64_t parent,
                            uint32_t *n) {
    const aira__tree_node *nodes = m->tree->nodes;
    uint32_t *list = malloc(((size_t)view + 1) * sizeof *list);
    *n = 0;
    if (!list) return NULL;
    if (kind == AIRA__MEMORY_ANCESTRAL) {
        int64_t at = parent >= 0 && nodes[parent].status != AIRA_NODE_GOOD ? nodes[parent].parent : -1;
        for (; at >= 0 && *n < view; at = nodes[at].parent) {
            list[(*n)++] = (uint32_t)at;
            if (nodes[at].status == AIRA_NODE_GOOD) break;
        }
        if (*n) qsort(list, *n, sizeof *list, by_idx);
    } else if (kind == AIRA__MEMORY_SIBLING) {
        for (uint32_t i = 0; i < view; i++)
            if (i != idx && nodes[i].parent == parent) list[(*n)++] = i;
    }
    return list;
}

json_t *aira__memory_recall(aira__memory *m, aira__memory_kind kind, uint32_t idx, uint32_t view, int64_t parent,
                            int64_t tokens, int64_t *omitted) {
    json_t *list = json_array();
    uint32_t *own = NULL, n = 0, best[AIRA__MEMORY_BEST], n_best = 0;
    choice c = {0};
    *omitted = 0;
    bool ok = list && look(m, view);
    if (ok && kind == AIRA__MEMORY_SIMPLE) {
        n = m->n_good;
        while (n && m->good[n - 1] >= view) n--;
        ok = choose(m, m->good, n, m->best, m->n_best, view, tokens, false, &c);
    } else if (ok && kind != AIRA__MEMORY_NONE) {
        own = candidates(m, kind, idx, view, parent, &n);
        for (uint32_t i = 0; own && i < n; i++)
            if (counts(&m->tree->nodes[own[i]])) insert_best(m, best, &n_best, own[i]);
        ok = own && choose(m, own, n, best, n_best, view, tokens, false, &c);
    }
    if (c.n) qsort(c.idx, c.n, sizeof *c.idx, by_idx);
    for (uint32_t i = 0; ok && i < c.n; i++) ok = !json_array_append_new(list, aira__memory_entry(m, c.idx[i], view));
    *omitted = (int64_t)n - c.n;
    free(c.idx);
    free(own);
    if (ok) return list;
    json_decref(list);
    return NULL;
}

bool aira__memory_nodes(aira__memory *m, uint32_t idx, uint32_t view, int64_t tokens, json_t **entries,
                        aira__buf *text) {
    choice c = {0};
    bool ok = look(m, view) && choose(m, NULL, idx, m->best, m->n_best, view, tokens, true, &c);
    if (entries) ok = (*entries = json_array()) && ok;
    if (c.n) qsort(c.idx, c.n, sizeof *c.idx, by_idx);
    if (text) aira__buf_text(text, "[");
    for (uint32_t i = 0; ok && i < c.n; i++) {
        char *made = NULL;
        if (text) {
            const char *known = known_text(m, c.idx[i], view, &made);
            if (i) aira__buf_text(text, ",");
            ok = known && aira__buf_text(text, known);
        }
        if (ok && entries) ok = !json_array_append_new(*entries, aira__memory_entry(m, c.idx[i], view));
        free(made);
    }
    if (text) ok = aira__buf_text(text, "]") && ok;
    free(c.idx);
    if (ok || !entries) return ok;
    json_decref(*entries);
    *entries = NULL;
    return false;
}
