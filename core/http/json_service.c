/* core/http/json_service.c - see json_service.h. An aira_json is a json_t under another name. */
#include "core/http/json_service.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/error.h"

#define MAX_BYTES ((uint64_t)16 << 20)
#define MAX_DEPTH 64

static const aira_host *host_of(const aira_json_service *s) { return s->core; }

static aira_json *refuse(const aira_json_service *s, aira_status status, const char *sentence) {
    (void)host_of(s)->fail(host_of(s), status, sentence);
    return NULL;
}

/* Deeper than allowed? Brackets are counted outside of texts only; what is no JSON may be miscounted, never missed. */
static bool too_deep(const char *text, size_t n) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH) return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static json_t *load(const aira_json_service *s, const char *text, uint64_t n) {
    json_error_t where;
    char sentence[300];
    if (n > MAX_BYTES) return (json_t *)refuse(s, AIRA_E_CORRUPT, "JSON of more than 16 MiB is refused");
    if (too_deep(text, (size_t)n)) return (json_t *)refuse(s, AIRA_E_CORRUPT, "JSON nested deeper than 64 is refused");
    json_t *value = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &where);
    if (value) return value;
    snprintf(sentence, sizeof sentence, "not valid JSON, byte %d: %s", where.position, where.text);
    return (json_t *)refuse(s, AIRA_E_CORRUPT, sentence);
}

static aira_json *parse(const aira_json_service *s, const char *text, uint64_t n) {
    return (aira_json *)load(s, text, n);
}

static void release(const aira_json_service *s, aira_json *value) {
    (void)s;
    json_decref((json_t *)value);
}

/* The next name of a path; false at its end. */
static bool next_name(const char **path, char name[128]) {
    size_t n = strcspn(*path, ".");
    if (**path == 0) return false;
    snprintf(name, 128, "%.*s", (int)(n < 127 ? n : 127), *path);
    *path += n + ((*path)[n] == '.');
    return true;
}

static json_t *step(const json_t *value, const char *name) {
    if (json_is_object(value)) return json_object_get(value, name);
    size_t digits = strspn(name, "0123456789");
    if (!json_is_array(value) || digits == 0 || name[digits] || digits > 9) return NULL;
    return json_array_get(value, strtoul(name, NULL, 10));
}

static json_t *find(const aira_json *from, const char *path) {
    json_t *value = (json_t *)(uintptr_t)from;
    char name[128];
    while (value && next_name(&path, name)) value = step(value, name);
    return value;
}

static int32_t type(const aira_json_service *s, const aira_json *from, const char *path) {
    const json_t *value = find(from, path);
    (void)s;
    if (!value) return AIRA_JSON_NONE;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return AIRA_JSON_OBJECT;
    case JSON_ARRAY:
        return AIRA_JSON_LIST;
    case JSON_STRING:
        return AIRA_JSON_TEXT;
    case JSON_INTEGER:
    case JSON_REAL:
        return AIRA_JSON_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return AIRA_JSON_BOOL;
    default:
        return AIRA_JSON_NULL;
    }
}

static const char *text_at(const aira_json_service *s, const aira_json *from, const char *path, uint64_t *n) {
    const json_t *value = find(from, path);
    (void)s;
    if (n) *n = json_string_length(value);
    return json_string_value(value);
}

static int64_t integer(const aira_json_service *s, const aira_json *from, const char *path, int64_t fallback) {
    const json_t *value = find(from, path);
    (void)s;
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

static double number(const aira_json_service *s, const aira_json *from, const char *path, double fallback) {
    const json_t *value = find(from, path);
    (void)s;
    return json_is_number(value) ? json_number_value(value) : fallback;
}

static int64_t count(const aira_json_service *s, const aira_json *from, const char *path) {
    const json_t *value = find(from, path);
    (void)s;
    return json_is_array(value)    ? (int64_t)json_array_size(value)
           : json_is_object(value) ? (int64_t)json_object_size(value)
                                   : -1;
}

/* Copies into host memory; takes text over. */
static char *hand_over(const aira_json_service *s, char *text, size_t n) {
    char *copy = text ? host_of(s)->alloc(host_of(s), n + 1) : NULL;
    if (copy) memcpy(copy, text, n); /* alloc zeroes */
    free(text);
    if (!copy) (void)refuse(s, AIRA_E_MEMORY, "out of memory");
    return copy;
}

/* Bytes of one valid UTF-8 character at text, 0 if it is none. */
static size_t utf8_length(const unsigned char *t, size_t n) {
    size_t want = t[0] < 0x80                   ? 1
                  : t[0] >= 0xC2 && t[0] < 0xE0 ? 2
                  : t[0] >= 0xE0 && t[0] < 0xF0 ? 3
                  : t[0] >= 0xF0 && t[0] < 0xF5 ? 4
                                                : 0;
    if (want == 0 || want > n) return 0;
    for (size_t i = 1; i < want; i++)
        if ((t[i] & 0xC0) != 0x80) return 0;
    if ((t[0] == 0xE0 && t[1] < 0xA0) || (t[0] == 0xED && t[1] > 0x9F) || (t[0] == 0xF0 && t[1] < 0x90) ||
        (t[0] == 0xF4 && t[1] > 0x8F))
        return 0;
    return want;
}

static char *quote(const aira_json_service *s, const char *text, uint64_t n) {
    aira__buf out = {0};
    (void)aira__buf_add(&out, "\"", 1);
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = utf8_length((const unsigned char *)text + i, (size_t)n - i);
        if (length == 0)
            (void)aira__buf_text(&out, "\xEF\xBF\xBD");
        else if (c == '"' || c == '\\')
            (void)aira__buf_printf(&out, "\\%c", c);
        else if (c == '\n')
            (void)aira__buf_text(&out, "\\n");
        else if (c < 0x20)
            (void)aira__buf_printf(&out, "\\u%04x", c);
        else
            (void)aira__buf_add(&out, text + i, length);
        i += length ? length : 1;
    }
    (void)aira__buf_add(&out, "\"", 1);
    size_t size = out.size;
    return hand_over(s, aira__buf_take(&out), size);
}

/* Both objects; false: out of memory. Depth is bounded by load. */
static bool merge(json_t *into, const json_t *more) { // NOLINT(misc-no-recursion)
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)more, key, value) {
        json_t *old = json_object_get(into, key);
        bool fine = json_is_object(old) && json_is_object(value) ? merge(old, value)
                                                                 : json_object_set(into, key, value) == 0;
        if (!fine) return false;
    }
    return true;
}

static void drop_path(json_t *object, const char *path) {
    char name[128];
    while (object && next_name(&path, name)) {
        if (*path == 0) {
            if (json_is_object(object)) (void)json_object_del(object, name);
            return;
        }
        object = step(object, name);
    }
}

static char *edit(const aira_json_service *s, const char *text, const char *more, const char *const *drop,
                  uint64_t n_drop) {
    json_t *object = load(s, text, strlen(text)), *added = object && more ? load(s, more, strlen(more)) : NULL;
    char *out = NULL;
    if (object && (!more || added)) {
        if (!json_is_object(object) || (more && !json_is_object(added))) {
            (void)refuse(s, AIRA_E_CORRUPT, "a JSON object is needed: {\"key\": value}");
        } else if (added && !merge(object, added)) {
            (void)refuse(s, AIRA_E_MEMORY, "out of memory");
        } else {
            for (uint64_t i = 0; i < n_drop; i++) drop_path(object, drop[i]);
            char *canonical = json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT);
            out = hand_over(s, canonical, canonical ? strlen(canonical) : 0);
        }
    }
    json_decref(object);
    json_decref(added);
    return out;
}

void aira__json_service_init(const aira_host *host, aira_json_service *table) {
    *table = (aira_json_service){.size = sizeof *table,
                                 .core = (void *)(uintptr_t)host,
                                 .parse = parse,
                                 .release = release,
                                 .type = type,
                                 .text = text_at,
                                 .integer = integer,
                                 .number = number,
                                 .count = count,
                                 .quote = quote,
                                 .edit = edit};
}
