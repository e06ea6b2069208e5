/* core/plugin/schema_check.c - see schema_check.h */
#include "core/plugin/schema_check.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/plugin/kinds.h"

#define MAX_FIELDS 512u
#define MAX_CONFIG (1u << 20)
#define MAX_STRIDE 4096u
#define FIELD_1_0 72u /* sizeof(aira_field) in ABI 1.0 */
#define MAX_CHOICES 256u

aira_status aira__schema_check_frame(const aira_schema *s, aira_error *error) {
    if (s->n_fields > MAX_FIELDS)
        return aira__fail(error, AIRA_E_CORRUPT, "its schema has %u keys, at most %u are possible", s->n_fields,
                          MAX_FIELDS);
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

/* Bytes of a stored value, 0 for an unknown type. All types are aligned to their size, lists to 8. */
static uint32_t stored_bytes(uint32_t type) {
    uint32_t item = type & ~AIRA_T_LIST;
    if (item < AIRA_T_INT || item > AIRA_T_PATH) return 0;
    if (type & AIRA_T_LIST) return sizeof(aira_list);
    return item == AIRA_T_BOOL || item == AIRA_T_CHOICE ? sizeof(int32_t) : 8;
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

static aira_status check_row(const aira_schema *s, uint32_t row, aira_error *error) {
    const aira_field *f = &s->fields[row];
    if (f->key == NULL || strnlen(f->key, 48) == 48 || !aira__plugin_id_valid(f->key))
        return aira__fail(error, AIRA_E_CORRUPT, "key %u of its schema is not of the form [a-z][a-z0-9_]*", row);
    if (strcmp(f->key, "use") == 0 || strcmp(f->key, "at_scale") == 0)
        return aira__fail(error, AIRA_E_CORRUPT, "its schema declares the key '%s', which belongs to the host", f->key);
    if (f->doc == NULL || f->doc[0] == 0)
        return aira__fail(error, AIRA_E_CORRUPT, "key '%s' of its schema has no doc", f->key);
    uint32_t bytes = stored_bytes(f->type);
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
    if (isnan(f->def) || isnan(f->min) || isnan(f->max) || f->min > f->max)
        return aira__fail(error, AIRA_E_CORRUPT, "the bounds of key '%s' are no interval", f->key);
    bool bounded = f->min != 0 || f->max != 0;
    if (is_number(f->type) && bounded && !(f->flags & AIRA_REQUIRED) && (f->def < f->min || f->def > f->max))
        return aira__fail(error, AIRA_E_CORRUPT, "the default %g of key '%s' is outside %g .. %g", f->def, f->key,
                          f->min, f->max);
    return AIRA_OK;
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
            if (f->offset < g->offset + stored_bytes(g->type) && g->offset < f->offset + stored_bytes(f->type))
                return aira__fail(error, AIRA_E_CORRUPT,
                                  "keys '%s' and '%s' share the same place in the "
                                  "configuration struct",
                                  g->key, f->key);
        }
    }
    return AIRA_OK;
}
