/* core/plugin/descriptor.c - see descriptor.h. Schemas are judged in core/config/schema_check.c. */
#include "core/plugin/descriptor.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "aira/optimizer.h"
#include "aira/primitive.h"
#include "core/config/schema_check.h"

#define DESCRIPTOR_1_0 96u /* sizeof(aira_plugin) in ABI 1.0 */
#define SCHEMA_1_0 24u     /* sizeof(aira_schema) in ABI 1.0; literals, for they must not follow the headers */
#define SANE_SIZE 4096u    /* no descriptor or table of this major is larger */

/* size bytes from "from" into room bytes at "to"; false when a byte beyond room is not zero. */
static bool copy_in(void *to, size_t room, const void *from, size_t size) {
    memset(to, 0, room);
    memcpy(to, from, size < room ? size : room);
    for (size_t i = room; i < size; i++)
        if (((const unsigned char *)from)[i] != 0) return false;
    return true;
}

static bool is_line(const char *text, size_t longest) {
    if (text == NULL || text[0] == 0) return false;
    size_t n = strnlen(text, longest + 1);
    return n <= longest && memchr(text, '\n', n) == NULL;
}

static aira_status check_texts(const aira_plugin *p, const aira_manifest *m, aira_error *error) {
    struct {
        const char *name, *here, *manifest;
    } rows[] = {{"kind", p->kind, m->kind}, {"id", p->id, m->id}, {"version", p->version, m->version}};
    for (int i = 0; i < 3; i++) {
        if (rows[i].here == NULL) return aira__fail(error, AIRA_E_CORRUPT, "its descriptor has no %s", rows[i].name);
        if (strncmp(rows[i].here, rows[i].manifest, 48) != 0)
            return aira__fail(error, AIRA_E_CORRUPT,
                              "manifest and descriptor disagree: %s is '%s' in the manifest and '%.48s' in the "
                              "descriptor",
                              rows[i].name, rows[i].manifest, rows[i].here);
    }
    if (p->abi_major != m->abi_major || p->abi_minor != m->abi_minor)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "manifest and descriptor disagree: ABI %u.%u in the manifest and %u.%u in the descriptor",
                          m->abi_major, m->abi_minor, p->abi_major, p->abi_minor);
    if (!is_line(p->license, 200))
        return aira__fail(error, AIRA_E_CORRUPT, "its descriptor has no license: one line, an SPDX expression");
    if (!is_line(p->summary, 400))
        return aira__fail(error, AIRA_E_CORRUPT, "its descriptor has no summary: one line of at most 400 bytes");
    return AIRA_OK;
}

static aira_status check_numbers(const aira_plugin *p, aira_error *error) {
    if (p->reserved != 0)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "its descriptor has a non-zero reserved field that this program does "
                          "not know");
    if (p->host_minor_min > AIRA__HOST_MINOR)
        return aira__fail(error, AIRA_E_UNSUPPORTED,
                          "it needs a host of ABI 1.%u or newer, this program is 1.%u: use a newer aira",
                          p->host_minor_min, AIRA__HOST_MINOR);
    if ((p->create == NULL) != (p->destroy == NULL))
        return aira__fail(error, AIRA_E_CORRUPT, "it has %s without %s: set both or neither",
                          p->create != NULL ? "create" : "destroy", p->create != NULL ? "destroy" : "create");
    if (p->table == NULL) return aira__fail(error, AIRA_E_CORRUPT, "its descriptor has no table");
    return AIRA_OK;
}

static aira_status copy_table(aira__descriptor *out, aira_error *error) {
    const aira__kind *kind = out->kind;
    uint32_t size;
    memcpy(&size, out->plugin.table, sizeof size);
    if (size != out->plugin.kind_size)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "its descriptor says that the %s table has %u bytes, the table itself says %u: a table of "
                          "another kind or a stale object file",
                          kind->name, out->plugin.kind_size, size);
    if (size < kind->size_1 || size > SANE_SIZE)
        return aira__fail(error, AIRA_E_CORRUPT, "its %s table has %u bytes, expected %u or more", kind->name, size,
                          kind->size_1);
    out->table = calloc(1, kind->size);
    if (out->table == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while copying its table");
    if (!copy_in(out->table, kind->size, out->plugin.table, size))
        return aira__fail(error, AIRA_E_UNSUPPORTED,
                          "its %s table sets a slot that this program does not know: use a newer aira", kind->name);
    for (const aira__slot *slot = kind->required; slot->name != NULL; slot++) {
        void *value;
        memcpy(&value, (const char *)out->table + slot->offset, sizeof value);
        if (value == NULL)
            return aira__fail(error, AIRA_E_CORRUPT, "its %s table lacks the mandatory slot '%s'", kind->name,
                              slot->name);
    }
    uint32_t used = size < kind->size ? size : kind->size;
    memcpy(out->table, &used, sizeof used);
    out->plugin.table = out->table;
    return AIRA_OK;
}

/* What a table's values must be beyond being set. */
static aira_status check_kind(const aira__descriptor *d, aira_error *error) {
    if (strcmp(d->kind->name, "primitive") == 0) {
        const char *token = ((const aira_primitive *)d->table)->token;
        size_t n = strnlen(token, 16);
        bool good = n >= 1 && n < 16 && ((token[0] | 32) >= 'a' && (token[0] | 32) <= 'z');
        for (size_t i = 1; good && i < n; i++)
            good = ((token[i] | 32) >= 'a' && (token[i] | 32) <= 'z') || (token[i] >= '0' && token[i] <= '9');
        if (!good)
            return aira__fail(error, AIRA_E_CORRUPT, "its token '%.16s' is not a letter followed by letters or digits",
                              token);
    }
    if (strcmp(d->kind->name, "optimizer") == 0) {
        const aira_optimizer *o = d->table;
        if (o->n_states > AIRA_OPTIMIZER_MAX_STATES)
            return aira__fail(error, AIRA_E_CORRUPT, "it has %u states per parameter, at most %d are possible",
                              o->n_states, AIRA_OPTIMIZER_MAX_STATES);
        if (o->n_states > 0 && o->state_names == NULL)
            return aira__fail(error, AIRA_E_CORRUPT, "it has %u states per parameter and no state_names", o->n_states);
        for (uint32_t i = 0; i < o->n_states; i++)
            if (o->state_names[i] == NULL || o->state_names[i][0] == 0)
                return aira__fail(error, AIRA_E_CORRUPT, "its state %u has no name", i);
    }
    return AIRA_OK;
}

static aira_status copy_schema(aira__descriptor *out, aira_error *error) {
    const aira_schema *raw = out->plugin.config;
    if (raw == NULL) return AIRA_OK;
    if (raw->size < SCHEMA_1_0 || raw->size > SANE_SIZE)
        return aira__fail(error, AIRA_E_CORRUPT, "its schema has %u bytes, expected %u or more", raw->size, SCHEMA_1_0);
    if (!copy_in(&out->schema, sizeof out->schema, raw, raw->size))
        return aira__fail(error, AIRA_E_UNSUPPORTED, "its schema sets a member that this program does not know");
    aira_status status = aira__schema_check_frame(&out->schema, error);
    if (status != AIRA_OK) return status;
    uint32_t n = out->schema.n_fields, stride = out->schema.field_stride;
    out->fields = calloc(n > 0 ? n : 1, sizeof(aira_field));
    if (out->fields == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while copying its schema");
    for (uint32_t i = 0; i < n; i++)
        if (!copy_in(&out->fields[i], sizeof(aira_field), (const char *)raw->fields + (size_t)i * stride, stride))
            return aira__fail(error, AIRA_E_UNSUPPORTED,
                              "row %u of its schema sets a member that this program does not know", i);
    out->schema.size = sizeof(aira_schema);
    out->schema.field_stride = sizeof(aira_field);
    out->schema.fields = out->fields;
    out->plugin.config = &out->schema;
    return aira__schema_check_fields(&out->schema, error);
}

aira_status aira__descriptor_copy(const aira_plugin *raw, const aira_manifest *manifest, aira__descriptor *out,
                                  aira_error *error) {
    memset(out, 0, sizeof *out);
    if (raw == NULL) return aira__fail(error, AIRA_E_CORRUPT, "aira_plugin_v1 returned NULL");
    if (raw->size < DESCRIPTOR_1_0 || raw->size > SANE_SIZE)
        return aira__fail(error, AIRA_E_CORRUPT, "its descriptor has %u bytes, expected %u or more", raw->size,
                          DESCRIPTOR_1_0);
    if (!copy_in(&out->plugin, sizeof out->plugin, raw, raw->size))
        return aira__fail(error, AIRA_E_UNSUPPORTED,
                          "its descriptor sets a field that this program does not know: use a newer aira");
    out->plugin.size = sizeof(aira_plugin);
    out->kind = aira__kind_find(manifest->kind);
    if (out->kind == NULL) return aira__fail(error, AIRA_E_UNSUPPORTED, "its kind '%s' is unknown", manifest->kind);
    aira_status status = check_texts(&out->plugin, manifest, error);
    if (status == AIRA_OK) status = check_numbers(&out->plugin, error);
    if (status == AIRA_OK) status = copy_table(out, error);
    if (status == AIRA_OK) status = check_kind(out, error);
    if (status == AIRA_OK) status = copy_schema(out, error);
    if (status != AIRA_OK) aira__descriptor_release(out);
    return status;
}

void aira__descriptor_release(aira__descriptor *d) {
    free(d->fields);
    free(d->table);
    memset(d, 0, sizeof *d);
}
