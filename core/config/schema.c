/* core/config/schema.c - filling a plugin's struct from a mapping by its declared table; printing the table.
 *
 * A schema comes from a plugin, so nothing in it is trusted: aira__schema_check runs before every use and keeps a wrong
 * offset from becoming a wild write. Rows of other minor versions were brought to today's layout when it was loaded.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/config/internal.h"
#include "core/config/schema_check.h"

aira_status aira__schema_check(const aira_schema *schema, aira_error *error) {
    if (schema == NULL) return AIRA_OK;
    if (schema->size < sizeof *schema || schema->field_stride != sizeof(aira_field))
        return aira__fail(error, AIRA_E_CORRUPT, "its schema is not of this program's layout");
    aira_status status = aira__schema_check_frame(schema, error);
    return status == AIRA_OK ? aira__schema_check_fields(schema, error) : status;
}

void *aira__filled_alloc(aira__filled *filled, size_t size) {
    if (filled->n == filled->capacity) {
        int capacity = filled->capacity == 0 ? 8 : 2 * filled->capacity;
        void **blocks = realloc(filled->blocks, (size_t)capacity * sizeof *blocks);
        if (blocks == NULL) return NULL;
        filled->blocks = blocks;
        filled->capacity = capacity;
    }
    void *block = calloc(1, size);
    if (block != NULL) filled->blocks[filled->n++] = block;
    return block;
}

void aira__filled_release(aira__filled *filled) {
    if (filled == NULL) return;
    for (int i = 0; i < filled->n; i++) free(filled->blocks[i]);
    free(filled->blocks);
    free(filled);
}

static bool in_list(const char *const *list, const char *key) {
    for (int i = 0; list != NULL && list[i] != NULL; i++)
        if (strcmp(list[i], key) == 0) return true;
    return false;
}

static void report_unknown_keys(const aira_schema *schema, aira__node *map, const char *const *skip,
                                aira__diagnostics *diagnostics) {
    const char *names[AIRA__SCHEMA_MAX_FIELDS];
    bool required[AIRA__SCHEMA_MAX_FIELDS];
    int n = schema != NULL ? (int)schema->n_fields : 0;
    for (int i = 0; i < n; i++) {
        const aira_field *field = &schema->fields[i];
        names[i] = field->key;
        required[i] = (field->flags & AIRA_REQUIRED) != 0;
    }
    for (int i = 0; i < map->n_items; i++) {
        aira__node *child = map->items[i];
        bool known = in_list(skip, child->key);
        for (int k = 0; k < n && !known; k++) known = strcmp(names[k], child->key) == 0;
        if (known) continue;
        aira__diagnose_unknown(diagnostics, child, names, required, n);
        child->used = true; /* said once */
    }
}

/* The value of one key, default included; NULL: reported. */
static json_t *value_of(const aira_field *field, aira__node *map, const aira__node *place,
                        aira__diagnostics *diagnostics) {
    aira__node *child = aira__map_get(map, field->key);
    if (child != NULL) return aira__field_from_node(field, child, diagnostics);
    if (field->flags & AIRA_REQUIRED) {
        aira__diagnose(diagnostics, place, "key '%s' is missing: %s", field->key, field->doc);
        return NULL;
    }
    json_t *value = aira__field_default(field);
    if (value == NULL) aira__diagnose_memory(diagnostics);
    return value;
}

bool aira__schema_fill(const aira_schema *schema, aira__node *map, const char *const *skip, void *config,
                       aira__filled **memory, json_t **canonical, aira__diagnostics *diagnostics) {
    int before = aira__diagnostics_count(diagnostics);
    aira_error error = {0};
    const aira__node *place = map;
    if (canonical != NULL) *canonical = NULL;
    *memory = calloc(1, sizeof **memory);
    json_t *object = json_object();
    if (*memory == NULL || object == NULL) aira__diagnose_memory(diagnostics);
    if (aira__schema_check(schema, &error) != AIRA_OK) aira__diagnose(diagnostics, place, "%s", error.text);
    if (map != NULL && map->kind != AIRA_NODE_MAP) {
        if (map->kind == AIRA_NODE_LIST || !in_list(skip, "use"))
            aira__diagnose(diagnostics, map, "a mapping (key: value) is expected here, not a %s",
                           map->kind == AIRA_NODE_LIST ? "list" : "single value");
        map = NULL; /* "kind: id": every default */
    }
    if (aira__diagnostics_count(diagnostics) != before) {
        json_decref(object);
        return false;
    }
    uint32_t n = schema != NULL ? schema->n_fields : 0;
    if (schema != NULL && schema->config_size > 0) memset(config, 0, schema->config_size);
    if (map != NULL) report_unknown_keys(schema, map, skip, diagnostics);
    for (uint32_t i = 0; i < n; i++) {
        const aira_field *field = &schema->fields[i];
        json_t *value = value_of(field, map, place, diagnostics);
        if (value == NULL) continue;
        if (!aira__field_store(field, value, config, *memory) || json_object_set_new(object, field->key, value) != 0)
            aira__diagnose_memory(diagnostics);
    }
    bool good = aira__diagnostics_count(diagnostics) == before;
    if (good && canonical != NULL)
        *canonical = object;
    else
        json_decref(object);
    return good;
}

aira_status aira__schema_fill_json(const aira_schema *schema, const json_t *object, void *config, aira__filled **memory,
                                   json_t *whole, aira_error *error) {
    *memory = calloc(1, sizeof **memory);
    if (*memory == NULL) return aira__fail(error, AIRA_E_MEMORY, "no memory for a configuration");
    aira_status status = aira__schema_check(schema, error);
    if (status != AIRA_OK) return status;
    if (!json_is_object(object)) return aira__fail(error, AIRA_E_CONFIG, "a configuration must be a JSON object");
    uint32_t n = schema != NULL ? schema->n_fields : 0;
    if (schema != NULL && schema->config_size > 0) memset(config, 0, schema->config_size);
    size_t taken = json_object_get(object, "use") != NULL;
    for (uint32_t i = 0; i < n; i++) {
        const aira_field *field = &schema->fields[i];
        const json_t *given = json_object_get(object, field->key);
        if (given == NULL && (field->flags & AIRA_REQUIRED))
            return aira__fail(error, AIRA_E_CONFIG, "key '%s' is missing: %s", field->key, field->doc);
        taken += given != NULL;
        json_t *value = given != NULL ? aira__field_from_json(field, given, error) : aira__field_default(field);
        if (value == NULL)
            return given != NULL ? AIRA_E_CONFIG : aira__fail(error, AIRA_E_MEMORY, "no memory for '%s'", field->key);
        bool stored = aira__field_store(field, value, config, *memory);
        if (whole != NULL && json_object_set(whole, field->key, value) != 0) stored = false;
        json_decref(value);
        if (!stored) return aira__fail(error, AIRA_E_MEMORY, "no memory for '%s'", field->key);
    }
    if (taken == json_object_size(object)) return AIRA_OK;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        bool known = strcmp(key, "use") == 0;
        for (uint32_t i = 0; i < n && !known; i++) known = strcmp(schema->fields[i].key, key) == 0;
        if (!known) return aira__fail(error, AIRA_E_CONFIG, "unknown key '%s'", key);
    }
    return AIRA_OK;
}

static const char *type_name(uint32_t type) {
    static const char *const names[] = {"?",    "int",   "real",  "bool",     "text",  "choice",
                                        "seed", "count", "bytes", "duration", "FLOPs", "path"};
    uint32_t scalar = type & ~AIRA_T_LIST;
    return scalar < sizeof names / sizeof names[0] ? names[scalar] : "?";
}

static void print_field(const aira_field *field, FILE *file) {
    char type[64], range[80] = "", min[32], max[32];
    snprintf(type, sizeof type, "%s%s", field->type & AIRA_T_LIST ? "list of " : "", type_name(field->type));
    aira__number_text(field->min, min);
    aira__number_text(field->max, max);
    if (field->min != 0 || field->max != 0) snprintf(range, sizeof range, " [%s, %s]", min, max);
    json_t *value = field->flags & AIRA_REQUIRED ? NULL : aira__field_default(field);
    char *text = value != NULL && !json_is_null(value) ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6))
                                                       : NULL;
    fprintf(file, "  %-18s %s%s%s%s\n", field->key, type, range,
            field->flags & AIRA_REQUIRED ? ", required"
            : text != NULL               ? ", default "
                                         : "",
            text != NULL ? text : "");
    free(text);
    json_decref(value);
    fprintf(file, "  %-18s %s\n", "", field->doc);
    if ((field->type & ~AIRA_T_LIST) == AIRA_T_CHOICE) {
        fprintf(file, "  %-18s values:", "");
        for (int i = 0; field->choices[i] != NULL; i++) fprintf(file, " %s", field->choices[i]);
        fprintf(file, "\n");
    }
}

void aira__schema_print(const aira_schema *schema, FILE *file) {
    aira_error error = {0};
    if (aira__schema_check(schema, &error) != AIRA_OK) {
        fprintf(file, "  %s\n", error.text);
        return;
    }
    if (schema == NULL || schema->n_fields == 0) fprintf(file, "  no keys\n");
    for (uint32_t i = 0; schema != NULL && i < schema->n_fields; i++) {
        const aira_field *field = &schema->fields[i];
        print_field(field, file);
    }
}
