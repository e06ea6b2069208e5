/* core/base/json.c - see json.h */
#include "core/base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"

char *aira__json_canonical(const json_t *value) {
    return json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
}

aira_status aira__json_hash(const json_t *value, char out[65], aira_error *error) {
    char *text = aira__json_canonical(value);
    if (text == NULL) return aira__fail(error, AIRA_E_MEMORY, "no memory for the canonical text of a JSON value");
    aira__sha256_hex(text, strlen(text), out);
    free(text);
    return AIRA_OK;
}

json_t *aira__json_parse(const char *text, size_t n, const char *name, aira_error *error) {
    json_error_t where;
    json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (value == NULL)
        aira__fail(error, AIRA_E_CORRUPT, "%s:%d:%d: not valid JSON: %s", name, where.line > 0 ? where.line : 1,
                   where.column > 0 ? where.column : 1, where.text);
    return value;
}

json_t *aira__json_load_file(const char *path, aira_error *error) {
    char *text;
    size_t n;
    if (aira__file_read(path, (size_t)256 << 20, &text, &n, error) != AIRA_OK) return NULL;
    json_t *value = aira__json_parse(text, n, path, error);
    free(text);
    return value;
}

aira_status aira__json_write_file(const char *path, const json_t *value, aira_error *error) {
    char *text = aira__json_canonical(value);
    if (text == NULL) return aira__fail(error, AIRA_E_MEMORY, "no memory for the JSON of '%s'", path);
    size_t n = strlen(text);
    text[n] = '\n'; /* in place of the zero: the length is passed */
    aira_status status = aira__file_write_atomic(path, text, n + 1, error);
    free(text);
    return status;
}

const char *aira__json_string(const json_t *object, const char *key, const char *fallback) {
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : fallback;
}

int64_t aira__json_int(const json_t *object, const char *key, int64_t fallback) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

double aira__json_real(const json_t *object, const char *key, double fallback) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

json_t *aira__json_number(double value) { return isfinite(value) ? json_real(value) : json_null(); }
