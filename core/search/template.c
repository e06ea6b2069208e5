/* core/search/template.c - one recursive walk over the text; see template.h.
 *
 * A branch that is not taken is walked too, with output switched off, so that its names are checked as well. The body
 * of an empty #each cannot be checked (there is no element that would define its names) and is only matched for tags.
 */
#include "core/search/template.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"

#define MAX_DEPTH 16
#define MAX_OUTPUT ((size_t)16 << 20)
#define MAX_NAME 64

typedef enum { TAG_VALUE, TAG_EACH, TAG_IF, TAG_ELSE, TAG_END_EACH, TAG_END_IF, TAG_COMMENT } tag_kind;

typedef struct tag {
    tag_kind kind;
    char name[MAX_NAME];
    const char *begin, *end; /* the text that it takes up, a whole line where it stands alone */
    int line;
} tag;

typedef struct kept { /* what an element rendered to, in the body of one #each */
    const json_t *element;
    const char *body;
    char *text;
    size_t n;
} kept;

struct aira__template_cache {
    kept *slots; /* open addressing; text NULL: free */
    size_t n, room;
};

typedef struct renderer {
    const char *text, *name;
    const json_t *scopes[MAX_DEPTH + 2]; /* innermost last */
    int n_scopes;
    int element; /* scope of the element that is being rendered for the cache; 0: none */
    bool outer;  /* a name was looked for beyond that element */
    aira__template_cache *cache;
    aira__buf out;
    aira_error *error;
} renderer;

/* ---- the cache ---- */

aira__template_cache *aira__template_cache_create(void) { return calloc(1, sizeof(aira__template_cache)); }

void aira__template_cache_destroy(aira__template_cache *cache) {
    if (!cache) return;
    for (size_t i = 0; i < cache->room; i++) free(cache->slots[i].text);
    free(cache->slots);
    free(cache);
}

static kept *slot_of(kept *slots, size_t room, const json_t *element, const char *body) {
    uint64_t hash = ((uint64_t)(uintptr_t)element ^ (uint64_t)(uintptr_t)body << 20) * 0x9e3779b97f4a7c15ull;
    size_t at = (size_t)(hash >> 32) & (room - 1);
    while (slots[at].text && (slots[at].element != element || slots[at].body != body)) at = (at + 1) & (room - 1);
    return &slots[at];
}

static const kept *find_kept(const aira__template_cache *cache, const json_t *element, const char *body) {
    if (!cache->room) return NULL;
    const kept *k = slot_of(cache->slots, cache->room, element, body);
    return k->text ? k : NULL;
}

/* Without memory for it, the element is rendered again the next time. */
static void keep(aira__template_cache *cache, const json_t *element, const char *body, const char *text, size_t n) {
    if (2 * cache->n >= cache->room) {
        size_t room = cache->room ? 2 * cache->room : 256;
        kept *slots = calloc(room, sizeof *slots);
        if (!slots) return;
        for (size_t i = 0; i < cache->room; i++)
            if (cache->slots[i].text)
                *slot_of(slots, room, cache->slots[i].element, cache->slots[i].body) = cache->slots[i];
        free(cache->slots);
        cache->slots = slots;
        cache->room = room;
    }
    char *copy = malloc(n + 1);
    if (!copy) return;
    memcpy(copy, text, n);
    copy[n] = 0;
    *slot_of(cache->slots, cache->room, element, body) = (kept){element, body, copy, n};
    cache->n++;
}

/* ---- tags ---- */

static aira_status fail_at(const renderer *r, const char *at, const char *sentence, const char *what) {
    int line = 1;
    for (const char *p = r->text; p < at; p++) line += *p == '\n';
    return aira__fail(r->error, AIRA_E_CONFIG, "%s:%d: error: %s%s%s", r->name, line, sentence, what ? " " : "",
                      what ? what : "");
}

/* A block tag alone on its line takes the line with it. */
static void widen(const renderer *r, tag *t) {
    const char *before = t->begin, *after = t->end;
    while (before > r->text && (before[-1] == ' ' || before[-1] == '\t')) before--;
    while (*after == ' ' || *after == '\t' || *after == '\r') after++;
    if ((before > r->text && before[-1] != '\n') || (*after != '\n' && *after != 0)) return;
    t->begin = before;
    t->end = *after ? after + 1 : after;
}

static aira_status read_name(const renderer *r, const char *from, const char *to, tag *t) {
    while (from < to && *from == ' ') from++;
    while (to > from && to[-1] == ' ') to--;
    size_t n = (size_t)(to - from);
    if (n == 0 || n >= MAX_NAME) return fail_at(r, t->begin, "a tag needs a name of 1 to 63 characters", NULL);
    for (size_t i = 0; i < n; i++) {
        char c = from[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
            return fail_at(r, t->begin, "names of variables are lower-case letters, digits and _", NULL);
    }
    memcpy(t->name, from, n);
    t->name[n] = 0;
    return AIRA_OK;
}

/* Two of these characters in a row, or NULL. A prompt has thousands of tags; strstr takes several times as long. */
static const char *find_pair(const char *p, char c) {
    for (p = strchr(p, c); p && p[1] != c; p = strchr(p + 1, c)) continue;
    return p;
}

/* The next tag at or after p. *found is false at the end of the text. */
static aira_status next_tag(const renderer *r, const char *p, tag *t, bool *found) {
    memset(t, 0, sizeof *t);
    t->begin = find_pair(p, '{');
    *found = t->begin != NULL;
    if (!*found) return AIRA_OK;
    const char *inner = t->begin + 2, *close = find_pair(inner, '}');
    if (!close) return fail_at(r, t->begin, "{{ without }}", NULL);
    t->end = close + 2;
    if (*inner == '!') {
        t->kind = TAG_COMMENT;
        widen(r, t);
        return AIRA_OK;
    }
    size_t n = (size_t)(close - inner);
    aira_status status = AIRA_OK;
    if (n > 6 && !strncmp(inner, "#each ", 6)) {
        t->kind = TAG_EACH;
        status = read_name(r, inner + 6, close, t);
    } else if (n > 4 && !strncmp(inner, "#if ", 4)) {
        t->kind = TAG_IF;
        status = read_name(r, inner + 4, close, t);
    } else if (n == 5 && !strncmp(inner, "/each", 5)) {
        t->kind = TAG_END_EACH;
    } else if (n == 3 && !strncmp(inner, "/if", 3)) {
        t->kind = TAG_END_IF;
    } else if (n == 4 && !strncmp(inner, "else", 4)) {
        t->kind = TAG_ELSE;
    } else {
        t->kind = TAG_VALUE;
        return read_name(r, inner, close, t);
    }
    widen(r, t);
    return status;
}

static const json_t *look_up(renderer *r, const char *name) {
    for (int i = r->n_scopes - 1; i >= 0; i--) {
        const json_t *value = json_object_get(r->scopes[i], name);
        r->outer = r->outer || i < r->element || (!value && i == r->element);
        if (value) return value;
    }
    return NULL;
}

static bool truth(const json_t *value) {
    if (json_is_string(value)) return json_string_length(value) > 0;
    if (json_is_array(value)) return json_array_size(value) > 0;
    return !json_is_null(value) && !json_is_false(value);
}

static aira_status put(renderer *r, const char *bytes, size_t n, bool live, const char *at) {
    if (!live || n == 0) return AIRA_OK;
    if (r->out.size + n > MAX_OUTPUT) return fail_at(r, at, "the prompt becomes larger than 16 MiB", NULL);
    if (!aira__buf_add(&r->out, bytes, n)) return aira__fail(r->error, AIRA_E_MEMORY, "out of memory");
    return AIRA_OK;
}

static aira_status put_value(renderer *r, const tag *t, bool live) {
    const json_t *value = look_up(r, t->name);
    char number[64];
    if (!value) return fail_at(r, t->begin, "undefined variable", t->name);
    if (json_is_string(value)) return put(r, json_string_value(value), json_string_length(value), live, t->begin);
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof number, "%.6g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(number, sizeof number, "%s", json_is_true(value) ? "true" : "false");
    else if (!live)
        return AIRA_OK; /* guarded by an #if that was not taken */
    else
        return fail_at(r, t->begin, "neither text nor number:", t->name);
    return put(r, number, strlen(number), live, t->begin);
}

/* Renders from *p to the tag that ends this block (or the end of the text), which goes to *last. checked: undefined
   names are errors. */
static aira_status walk(renderer *r, const char **p, int depth, bool live, bool checked, tag *last, bool *ended);

static aira_status walk_each(renderer *r, const char **p, const tag *open, int depth, bool live, bool checked) {
    const json_t *list = look_up(r, open->name);
    if (!list && checked) return fail_at(r, open->begin, "undefined variable", open->name);
    if (list && !json_is_array(list)) return fail_at(r, open->begin, "#each needs a list:", open->name);
    const char *body = *p, *after = NULL;
    size_t n = live && list ? json_array_size(list) : 0;
    size_t i = 0;
    tag last = {0};
    bool ended = false, keeps = r->cache && (!strcmp(open->name, "memory") || !strcmp(open->name, "best"));
    do {
        const json_t *item = n ? json_array_get(list, i) : NULL;
        bool scoped = json_is_object(item), outer = r->outer;
        int element = r->element;
        const kept *known = keeps && scoped && after ? find_kept(r->cache, item, body) : NULL;
        aira_status status = known ? put(r, known->text, known->n, true, body) : AIRA_OK;
        if (status != AIRA_OK) return status;
        if (known) continue;
        size_t from = r->out.size;
        if (scoped) r->scopes[r->n_scopes++] = item;
        if (keeps && scoped) r->element = r->n_scopes - 1;
        r->outer = false;
        *p = body;
        status = walk(r, p, depth + 1, live && n, checked && n, &last, &ended);
        if (scoped) r->n_scopes--;
        if (status != AIRA_OK) return status;
        if (!ended || last.kind != TAG_END_EACH) return fail_at(r, open->begin, "#each without {{/each}}", NULL);
        after = *p;
        if (keeps && scoped && !r->outer && !find_kept(r->cache, item, body))
            keep(r->cache, item, body, r->out.data ? r->out.data + from : "", r->out.size - from);
        r->outer = r->outer || outer;
        r->element = element;
    } while (++i < n);
    *p = after;
    return AIRA_OK;
}

static aira_status walk_if(renderer *r, const char **p, const tag *open, int depth, bool live, bool checked) {
    const json_t *value = look_up(r, open->name);
    if (!value && checked) return fail_at(r, open->begin, "undefined variable", open->name);
    bool yes = value && truth(value);
    tag last = {0};
    bool ended = false;
    aira_status status = walk(r, p, depth + 1, live && yes, checked, &last, &ended);
    if (status == AIRA_OK && ended && last.kind == TAG_ELSE)
        status = walk(r, p, depth + 1, live && !yes, checked, &last, &ended);
    if (status != AIRA_OK) return status;
    if (!ended || last.kind != TAG_END_IF) return fail_at(r, open->begin, "#if without {{/if}}", NULL);
    return AIRA_OK;
}

static aira_status walk(renderer *r, const char **p, int depth, bool live, bool checked, tag *last, bool *ended) {
    *ended = false;
    if (depth > MAX_DEPTH) return fail_at(r, *p, "blocks nest more than 16 deep", NULL);
    for (;;) {
        tag t;
        bool found = false;
        aira_status status = next_tag(r, *p, &t, &found);
        const char *stop = found ? t.begin : *p + strlen(*p);
        if (status == AIRA_OK && stop > *p) status = put(r, *p, (size_t)(stop - *p), live, *p);
        if (status != AIRA_OK || !found) {
            *p = stop;
            return status;
        }
        *p = t.end;
        switch (t.kind) {
        case TAG_VALUE:
            if (checked || look_up(r, t.name)) status = put_value(r, &t, live);
            break;
        case TAG_EACH:
            status = walk_each(r, p, &t, depth, live, checked);
            break;
        case TAG_IF:
            status = walk_if(r, p, &t, depth, live, checked);
            break;
        case TAG_COMMENT:
            break;
        default:
            *last = t;
            *ended = true;
            return AIRA_OK;
        }
        if (status != AIRA_OK) return status;
    }
}

aira_status aira__template_render(const char *text, const char *name, const json_t *values, aira__template_cache *cache,
                                  char **out, aira_error *error) {
    renderer r = {.text = text, .name = name, .scopes = {values}, .n_scopes = 1, .cache = cache, .error = error};
    const char *p = text;
    tag last = {0};
    bool ended = false;
    *out = NULL;
    aira_status status = walk(&r, &p, 0, true, true, &last, &ended);
    if (status == AIRA_OK && ended)
        status = fail_at(&r, last.begin, "this closes or continues a block that is not open", NULL);
    if (status == AIRA_OK && !(*out = aira__buf_take(&r.out)))
        status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
    aira__buf_free(&r.out);
    return status;
}
