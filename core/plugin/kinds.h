/* core/plugin/kinds.h - the kinds of plugins: the size of their tables and the slots that must be set.
 *
 * One table for the loader, the probe, the tests and the documentation. A slot that include/aira marks "may be NULL" or
 * gives a meaning for NULL is not listed.
 */
#ifndef AIRA_PLUGIN_KINDS_H
#define AIRA_PLUGIN_KINDS_H

#include <stdbool.h>
#include <stdint.h>

#define AIRA__KIND_MAX_SLOTS 12

typedef struct aira__slot {
    const char *name; /* NULL ends the list */
    uint32_t offset;  /* of a pointer in the table */
} aira__slot;

typedef struct aira__kind {
    const char *name;
    uint32_t size;   /* of the table today */
    uint32_t size_1; /* of the table in ABI 1.0: the least that is accepted */
    aira__slot required[AIRA__KIND_MAX_SLOTS];
} aira__kind;

#define AIRA__N_KINDS 9
extern const aira__kind aira__kinds[AIRA__N_KINDS];

const aira__kind *aira__kind_find(const char *name); /* NULL if unknown */
const char *aira__kind_names(void);                  /* "primitive, backbone, ..." */
bool aira__plugin_id_valid(const char *id);          /* [a-z][a-z0-9_]*, at most 47 bytes */

#endif
