/* core/config/field.c - one declared key: from YAML or JSON to its canonical JSON value, and from that into the struct.
 *
 * The canonical value is the middle of both ways in, so that a struct filled from a study file and one filled in a
 * worker from the study's canonical JSON are the same. SEED values beyond 63 bits are decimal strings there, because
 * JSON integers are signed; absent STR, PATH and LIST are null.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/config/internal.h"

#define SCALAR_TYPE(type) ((type) & ~AIRA_T_LIST)

const char *aira__type_words(uint32_t type) {
    switch (SCALAR_TYPE(type)) {
    case AIRA_T_INT:
        return "a whole number";
    case AIRA_T_REAL:
        return "a number";
    case AIRA_T_BOOL:
        return "true or false";
    case AIRA_T_STR:
        return "a text";
    case AIRA_T_CHOICE:
        return "one of the accepted values";
    case AIRA_T_SEED:
        return "a whole number from 0 to 18446744073709551615";
    case AIRA_T_COUNT:
        return "a count (128, 2K, 1.5M, 3B)";
    case AIRA_T_BYTES:
        return "a size in bytes (100, 64MiB, 2GiB)";
    case AIRA_T_DURATION:
        return "a duration (90s, 5m, 2h, 1d)";
    case AIRA_T_FLOPS:
        return "a number of operations (4e19)";
    case AIRA_T_PATH:
        return "a path";
    default:
        return "of a known type";
    }
}

uint64_t aira__type_bytes(uint32_t type) {
    switch (type) {
    case AIRA_T_INT:
    case AIRA_T_COUNT:
    case AIRA_T_BYTES:
    case AIRA_T_SEED:
    case AIRA_T_REAL:
    case AIRA_T_DURATION:
    case AIRA_T_FLOPS:
        return 8;
    case AIRA_T_BOOL:
    case AIRA_T_CHOICE:
        return 4;
    case AIRA_T_STR:
    case AIRA_T_PATH:
        return sizeof(char *);
    default:
        break;
    }
    bool list = (type & AIRA_T_LIST) != 0 && SCALAR_TYPE(type) != type;
    return list && aira__type_bytes(SCALAR_TYPE(type)) > 0 ? sizeof(aira_list) : 0;
}

static json_t *seed_json(uint64_t seed) {
    if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    return json_string(text);
}

/* A path that means the same from every folder. */
static json_t *absolute_path(const char *path) {
    char *real = realpath(path, NULL);
    char *folder = real == NULL && path[0] != '/' ? realpath(".", NULL) : NULL;
    aira__buf text = {0};
    if (folder != NULL) aira__buf_printf(&text, "%s/", folder);
    aira__buf_text(&text, real != NULL ? real : path);
    char *whole = aira__buf_take(&text);
    json_t *json = whole != NULL ? json_string(whole) : NULL;
    free(whole);
    free(folder);
    free(real);
    return json;
}

/* A plain text of the given type, without range; NULL where it is not of that form. */
static json_t *text_to_json(const aira_field *field, const char *text) {
    int64_t whole;
    uint64_t seed;
    double real;
    bool truth;
    switch (SCALAR_TYPE(field->type)) {
    case AIRA_T_INT:
        return aira__text_int(text, &whole) ? json_integer(whole) : NULL;
    case AIRA_T_COUNT:
        return aira__text_count(text, &whole) ? json_integer(whole) : NULL;
    case AIRA_T_BYTES:
        return aira__text_bytes(text, &whole) ? json_integer(whole) : NULL;
    case AIRA_T_SEED:
        return aira__text_seed(text, &seed) ? seed_json(seed) : NULL;
    case AIRA_T_REAL:
        return aira__text_real(text, &real) ? json_real(real) : NULL;
    case AIRA_T_FLOPS:
        return aira__text_real(text, &real) && real >= 0 ? json_real(real) : NULL;
    case AIRA_T_DURATION:
        return aira__text_duration(text, &real) ? json_real(real) : NULL;
    case AIRA_T_BOOL:
        return aira__text_bool(text, &truth) ? json_boolean(truth) : NULL;
    case AIRA_T_CHOICE:
        for (int i = 0; field->choices[i] != NULL; i++)
            if (strcmp(field->choices[i], text) == 0) return json_string(text);
        return NULL;
    case AIRA_T_STR:
        return json_string(text);
    case AIRA_T_PATH:
        return text[0] != 0 ? absolute_path(text) : NULL;
    default:
        return NULL;
    }
}

static bool in_range(const aira_field *field, const json_t *value) {
    if (field->min == 0 && field->max == 0) return true;
    uint64_t seed = 0;
    double number = json_is_number(value) ? json_number_value(value) : 0;
    if (SCALAR_TYPE(field->type) == AIRA_T_SEED && json_is_string(value) &&
        aira__text_seed(json_string_value(value), &seed))
        number = (double)seed;
    else if (!json_is_number(value))
        return true;
    return number >= field->min && number <= field->max;
}

json_t *aira__field_default(const aira_field *field) {
    if (field->type & AIRA_T_LIST) {
        if (field->sdef == NULL) return json_null();
        json_t *list = json_array();
        for (const char *p = field->sdef + strspn(field->sdef, " "); *p != 0; p += strspn(p, " ")) {
            size_t n = strcspn(p, " ");
            char *word = strndup(p, n);
            json_t *item = word != NULL ? text_to_json(field, word) : NULL;
            free(word);
            if (json_array_append_new(list, item) != 0) {
                json_decref(list);
                return NULL;
            }
            p += n;
        }
        return list;
    }
    switch (field->type) {
    case AIRA_T_INT:
    case AIRA_T_COUNT:
    case AIRA_T_BYTES:
        return json_integer((json_int_t)field->def);
    case AIRA_T_SEED:
        return seed_json((uint64_t)field->def);
    case AIRA_T_BOOL:
        return json_boolean(field->def != 0);
    case AIRA_T_CHOICE:
        return json_string(field->choices[(int)field->def]);
    case AIRA_T_STR:
        return field->sdef != NULL ? json_string(field->sdef) : json_null();
    case AIRA_T_PATH:
        return field->sdef != NULL ? absolute_path(field->sdef) : json_null();
    default:
        return json_real(field->def);
    }
}

static void choice_list(const aira_field *field, aira__buf *text) {
    for (int i = 0; field->choices[i] != NULL; i++) aira__buf_printf(text, " %s", field->choices[i]);
}

static void diagnose_value(const aira_field *field, const aira__node *node, aira__diagnostics *diagnostics) {
    bool item = (field->type & AIRA_T_LIST) != 0;
    bool scalar = node->kind == AIRA_NODE_SCALAR, empty = scalar && !node->quoted && node->text[0] == 0;
    const char *found = !scalar ? (node->kind == AIRA_NODE_MAP ? "a mapping" : "a list") : empty ? "empty" : node->text;
    const char *quote = scalar && !empty ? "'" : "";
    if (SCALAR_TYPE(field->type) != AIRA_T_CHOICE) {
        const char *why = scalar && node->quoted ? " in quotes" : "";
        aira__diagnose(diagnostics, node, "%s'%s' must be %s, not %s%.100s%s%s", item ? "an item of " : "", field->key,
                       aira__type_words(field->type), quote, found, quote, why);
        return;
    }
    aira__buf list = {0};
    int n = 0;
    while (field->choices[n] != NULL) n++;
    choice_list(field, &list);
    const char *nearest = scalar ? aira__nearest(node->text, field->choices, n) : NULL;
    aira__diagnose(diagnostics, node, "%s'%s' cannot be %s%.100s%s%s%s%s\n    accepted values:%s",
                   item ? "an item of " : "", field->key, quote, found, quote,
                   nearest != NULL ? ", did you mean '" : "", nearest != NULL ? nearest : "",
                   nearest != NULL ? "'?" : "", list.data != NULL ? list.data : "");
    aira__buf_free(&list);
}

static json_t *scalar_from_node(const aira_field *field, aira__node *node, aira__diagnostics *diagnostics) {
    uint32_t type = SCALAR_TYPE(field->type);
    bool text_like = type == AIRA_T_STR || type == AIRA_T_CHOICE || type == AIRA_T_PATH;
    bool usable = node->kind == AIRA_NODE_SCALAR && aira__scalar_type_of(node) != AIRA__NULL &&
                  (text_like || !node->quoted);
    node->used = true;
    json_t *value = NULL;
    if (usable && type == AIRA_T_PATH) {
        char *path = aira__node_path(node, diagnostics);
        if (path == NULL) return NULL;
        value = absolute_path(path);
        free(path);
    } else if (usable) {
        value = text_to_json(field, node->text);
    }
    if (value == NULL) {
        diagnose_value(field, node, diagnostics);
    } else if (!in_range(field, value)) {
        char min[32], max[32];
        aira__number_text(field->min, min);
        aira__number_text(field->max, max);
        aira__diagnose(diagnostics, node, "%s'%s' must be within %s to %s, not %s",
                       field->type & AIRA_T_LIST ? "an item of " : "", field->key, min, max, node->text);
        json_decref(value);
        value = NULL;
    }
    return value;
}

json_t *aira__field_from_node(const aira_field *field, aira__node *node, aira__diagnostics *diagnostics) {
    if ((field->type & AIRA_T_LIST) == 0) return scalar_from_node(field, node, diagnostics);
    node->used = true;
    if (node->kind != AIRA_NODE_LIST) {
        aira__diagnose(diagnostics, node, "'%s' must be a list, not %s; write %s: [...]", field->key,
                       node->kind == AIRA_NODE_MAP ? "a mapping" : "a single value", field->key);
        return NULL;
    }
    json_t *list = json_array();
    bool good = list != NULL;
    for (int i = 0; i < node->n_items; i++) { /* all of them, to report all mistakes */
        json_t *item = scalar_from_node(field, node->items[i], diagnostics);
        good = item != NULL && json_array_append_new(list, item) == 0 && good;
    }
    if (good) return list;
    json_decref(list);
    return NULL;
}

static bool json_fits(const aira_field *field, const json_t *value) {
    uint64_t seed;
    switch (SCALAR_TYPE(field->type)) {
    case AIRA_T_INT:
    case AIRA_T_COUNT:
    case AIRA_T_BYTES:
        return json_is_integer(value);
    case AIRA_T_SEED:
        return (json_is_integer(value) && json_integer_value(value) >= 0) ||
               (json_is_string(value) && aira__text_seed(json_string_value(value), &seed));
    case AIRA_T_REAL:
    case AIRA_T_DURATION:
    case AIRA_T_FLOPS:
        return json_is_number(value);
    case AIRA_T_BOOL:
        return json_is_boolean(value);
    case AIRA_T_CHOICE:
        for (int i = 0; json_is_string(value) && field->choices[i] != NULL; i++)
            if (strcmp(field->choices[i], json_string_value(value)) == 0) return true;
        return false;
    default:
        return json_is_string(value);
    }
}

json_t *aira__field_from_json(const aira_field *field, const json_t *value, aira_error *error) {
    bool list = (field->type & AIRA_T_LIST) != 0, good = true;
    uint32_t type = SCALAR_TYPE(field->type);
    if (json_is_null(value) && (field->flags & AIRA_REQUIRED) == 0 &&
        (list || type == AIRA_T_STR || type == AIRA_T_PATH))
        return json_null();
    if (list) good = json_is_array(value);
    for (size_t i = 0; list && good && i < json_array_size(value); i++)
        good = json_fits(field, json_array_get(value, i)) && in_range(field, json_array_get(value, i));
    if (!list) good = json_fits(field, value) && in_range(field, value);
    if (good) return json_deep_copy(value);
    aira__fail(error, AIRA_E_CONFIG, "'%s' must be %s%s%s", field->key, list ? "a list, each " : "",
               aira__type_words(type), field->min != 0 || field->max != 0 ? " within its range" : "");
    return NULL;
}

static uint64_t seed_value(const json_t *value) {
    uint64_t seed = 0;
    if (json_is_integer(value)) return (uint64_t)json_integer_value(value);
    return json_is_string(value) && aira__text_seed(json_string_value(value), &seed) ? seed : 0;
}

/* Writes one scalar of the stored type at `at`. */
static bool store_scalar(const aira_field *field, const json_t *value, void *at, aira__filled *filled) {
    int64_t whole;
    double real;
    int32_t index = 0;
    uint64_t seed;
    char *copy;
    switch (SCALAR_TYPE(field->type)) {
    case AIRA_T_INT:
    case AIRA_T_COUNT:
    case AIRA_T_BYTES:
        whole = json_integer_value(value);
        return memcpy(at, &whole, sizeof whole) != NULL;
    case AIRA_T_SEED:
        seed = seed_value(value);
        return memcpy(at, &seed, sizeof seed) != NULL;
    case AIRA_T_BOOL:
        index = json_is_true(value);
        return memcpy(at, &index, sizeof index) != NULL;
    case AIRA_T_CHOICE:
        while (strcmp(field->choices[index], json_string_value(value)) != 0) index++;
        return memcpy(at, &index, sizeof index) != NULL;
    case AIRA_T_STR:
    case AIRA_T_PATH:
        if (json_is_null(value)) return true; /* the struct is zeroed: NULL */
        copy = aira__filled_alloc(filled, json_string_length(value) + 1);
        if (copy == NULL) return false;
        memcpy(copy, json_string_value(value), json_string_length(value));
        return memcpy(at, &copy, sizeof copy) != NULL;
    default:
        real = json_number_value(value);
        return memcpy(at, &real, sizeof real) != NULL;
    }
}

bool aira__field_store(const aira_field *field, const json_t *value, void *config, aira__filled *filled) {
    char *at = (char *)config + field->offset;
    if ((field->type & AIRA_T_LIST) == 0) return store_scalar(field, value, at, filled);
    size_t n = json_array_size(value), size = aira__type_bytes(SCALAR_TYPE(field->type));
    char *items = n > 0 ? aira__filled_alloc(filled, n * size) : NULL;
    if (n > 0 && items == NULL) return false;
    for (size_t i = 0; i < n; i++)
        if (!store_scalar(field, json_array_get(value, i), items + i * size, filled)) return false;
    aira_list list = {items, n};
    memcpy(at, &list, sizeof list);
    return true;
}
