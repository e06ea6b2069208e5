/* core/config/schema_check.c - see schema_check.h */
#include "core/config/schema_check.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/config/internal.h"

#define MAX_CONFIG (1u << 20)
#define MAX_STRIDE 4096u
#define FIELD_1_0 72u /* sizeof(aira_field) in ABI 1.0 */
#define MAX_CHOICES 256u

aira_status aira__schema_check_frame(const aira_schema *s, aira_error *error) {
    if (s->n_fields > AIRA__SCHEMA_MAX_FIELDS)
        return aira__fail(error, AIRA_E_CORRUPT, "its schema has %u keys, at most %d are possible", s->n_fields,
                          AIRA__SCHEMA_MAX_FIELDS);
    if (s->config_size > MAX_CONFIG)
        return aira__fail(error, AIRA_E_CORRUPT, "its configuration has %u bytes, at most %u are possible",
                          s->config_size, MAX_CONFIG);
    if (s->field_stride < FIELD_1_0 || s->field_stride > MAX_STRIDE || s->field_stride % 8 != 0)
        return aira__fail(error, AIRA_E_CORRUPT, "rows of its schema have %u bytes, expected %u or more",
                          s->field_stride, FIELD_1_0);
    if (s->n_fields > 0 && s->fields == NULL)
        return aira__fail(error, AIRA_E_CORRUPT, "its schema has %u keys and no rows", s->n_fields);
    return AIRA_OK;
}

/* [a-z][a-z0-9_]*, at most 47 bytes: what YAML and overrides can name without quotes. */
static bool key_valid(const char *key) {
    size_t n = strnlen(key, 48);
    return n < 48 && key[0] >= 'a' && key[0] <= 'z' && strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static bool is_number(uint32_t type) {
    return (type & AIRA_T_LIST) == 0 && type != AIRA_T_STR && type != AIRA_T_PATH && type != AIRA_T_CHOICE &&
           type != AIRA_T_BOOL;
}

static aira_status check_choices(const aira_field *f, aira_error *error) {
    uint32_t n = 0;
    if (f->choices == NULL) return aira__fail(error, AIRA_E_CORRUPT, "key '%s' is a choice without choices", f->key);
    while (n < MAX_CHOICES && f->choices[n] != NULL) n++;
    if (n == 0 || n == MAX_CHOICES)
        return aira__fail(error, AIRA_E_CORRUPT, "the choices of key '%s' are empty or not NULL-terminated", f->key);
    bool list = (f->type & AIRA_T_LIST) != 0;
    if (!list && !(f->def >= 0 && f->def < n && f->def == floor(f->def)))
        return aira__fail(error, AIRA_E_CORRUPT, "the default of key '%s' is no index of its %u choices", f->key, n);
    return AIRA_OK;
}

/* The default becomes a value once: of its type, and small enough for it. */
static aira_status check_default(const aira_field *f, aira_error *error) {
    if (f->flags & AIRA_REQUIRED) return AIRA_OK; /* never used */
    bool whole = f->type == AIRA_T_INT || f->type == AIRA_T_COUNT || f->type == AIRA_T_BYTES;
    bool fits = !(whole && fabs(f->def) > 9e18) && !(f->type == AIRA_T_SEED && (f->def < 0 || f->def > 1.8e19));
    json_t *value = fits ? aira__field_default(f) : NULL;
    json_decref(value);
    if (value != NULL) return AIRA_OK;
    return aira__fail(error, AIRA_E_CORRUPT, "the default of key '%s' is not of its type", f->key);
}

static aira_status check_row(const aira_schema *s, uint32_t row, aira_error *error) {
    const aira_field *f = &s->fields[row];
    if (f->key == NULL || !key_valid(f->key))
        return aira__fail(error, AIRA_E_CORRUPT, "key %u of its schema is not of the form [a-z][a-z0-9_]*", row);
    if (strcmp(f->key, "use") == 0 || strcmp(f->key, "at_scale") == 0)
        return aira__fail(error, AIRA_E_CORRUPT, "its schema declares the key '%s', which belongs to the host", f->key);
    if (f->doc == NULL || f->doc[0] == 0)
        return aira__fail(error, AIRA_E_CORRUPT, "key '%s' of its schema has no doc", f->key);
    uint64_t bytes = aira__type_bytes(f->type);
    if (bytes == 0)
        return aira__fail(error, AIRA_E_UNSUPPORTED, "key '%s' has type %u, which this program does not know", f->key,
                          f->type);
    if ((f->flags & ~AIRA_REQUIRED) != 0 || f->reserved != 0)
        return aira__fail(error, AIRA_E_UNSUPPORTED, "key '%s' sets a flag that this program does not know", f->key);
    if (f->offset % (bytes == 4 ? 4 : 8) != 0 || f->offset > s->config_size || bytes > s->config_size - f->offset)
        return aira__fail(error, AIRA_E_CORRUPT, "key '%s' lies outside its configuration struct", f->key);
    if ((f->type & ~AIRA_T_LIST) == AIRA_T_CHOICE) {
        aira_status status = check_choices(f, error);
        if (status != AIRA_OK) return status;
    }
    if (!isfinite(f->def) || !isfinite(f->min) || !isfinite(f->max) || f->min > f->max)
        return aira__fail(error, AIRA_E_CORRUPT, "the bounds of key '%s' are no interval", f->key);
    bool bounded = f->min != 0 || f->max != 0;
    if (is_number(f->type) && bounded && !(f->flags & AIRA_REQUIRED) && (f->def < f->min || f->def > f->max))
        return aira__fail(error, AIRA_E_CORRUPT, "the default %g of key '%s' is outside %g .. %g", f->def, f->key,
                          f->min, f->max);
    return check_default(f, error);
}

aira_status aira__schema_check_fields(const aira_schema *s, aira_error *error) {
    for (uint32_t i = 0; i < s->n_fields; i++) {
        aira_status status = check_row(s, i, error);
        if (status != AIRA_OK) return status;
        const aira_field *f = &s->fields[i];
        for (uint32_t j = 0; j < i; j++) {
            const aira_field *g = &s->fields[j];
            if (strcmp(f->key, g->key) == 0)
                return aira__fail(error, AIRA_E_CORRUPT, "its schema declares the key '%s' twice", f->key);
            if (f->offset < g->offset + aira__type_bytes(g->type) && g->offset < f->offset + aira__type_bytes(f->type))
                return aira__fail(error, AIRA_E_CORRUPT,
                                  "keys '%s' and '%s' share the same place in the "
                                  "configuration struct",
                                  g->key, f->key);
        }
    }
    return AIRA_OK;
}
