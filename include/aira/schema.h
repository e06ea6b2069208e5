/* aira/schema.h - how a plugin declares the YAML keys that it accepts.
 *
 * The host parses, checks and stores; the plugin sees a filled C struct and never YAML. Errors carry file:line:column,
 * the accepted keys and a "did you mean". `aira describe PLUGIN` prints this table.
 *
 * Stored C types: INT, COUNT, BYTES int64_t; SEED uint64_t; REAL, DURATION (seconds), FLOPS double; BOOL and CHOICE
 * (index into choices) int32_t; STR const char * (owned by the host until destroy, NULL where absent);
 * LIST_x aira_list whose items are of x's stored type.
 */
#ifndef AIRA_SCHEMA_H
#define AIRA_SCHEMA_H

#include "abi.h"

#define AIRA_T_INT 1u
#define AIRA_T_REAL 2u
#define AIRA_T_BOOL 3u
#define AIRA_T_STR 4u
#define AIRA_T_CHOICE 5u
#define AIRA_T_SEED 6u     /* 64-bit unsigned, exact */
#define AIRA_T_COUNT 7u    /* 128, 2K, 1.5M, 3B (decimal thousands) */
#define AIRA_T_BYTES 8u    /* 2GiB, 64MiB, 100 */
#define AIRA_T_DURATION 9u /* 90s, 5m, 2h, 1d; a bare number is seconds */
#define AIRA_T_FLOPS 10u   /* 4e19 */
#define AIRA_T_PATH 11u    /* as STR; relative paths are taken from the file that holds the key */
#define AIRA_T_LIST 0x100u /* or-ed: a list of the type below it, e.g. AIRA_T_LIST | AIRA_T_STR */

#define AIRA_REQUIRED 1u /* flags: the key must be given */

typedef struct aira_list {
    const void *items; /* host-owned until destroy */
    uint64_t n;
} aira_list;

/* One accepted key. def is ignored for STR, PATH and LIST; sdef is their default text ("a b c" for lists). */
typedef struct aira_field {
    const char *key;
    const char *doc;            /* one sentence, with the unit */
    uint32_t type;              /* AIRA_T_x */
    uint32_t flags;             /* AIRA_REQUIRED */
    uint32_t offset;            /* where in the config struct the host stores the value */
    uint32_t reserved;          /* 0 */
    double def;                 /* default; for CHOICE the index */
    double min, max;            /* inclusive bounds for numbers and list items; both 0: unbounded */
    const char *sdef;           /* default of STR, PATH, LIST; NULL: absent */
    const char *const *choices; /* NULL-terminated; CHOICE only */
} aira_field;

typedef struct aira_schema {
    uint32_t size;        /* sizeof(aira_schema) */
    uint32_t config_size; /* bytes of the config struct */
    uint32_t n_fields;
    uint32_t field_stride; /* sizeof(aira_field) */
    const aira_field *fields;
} aira_schema;

/* Row makers, so that a table reads like the YAML it accepts. S is the config struct, M its member. */
#define AIRA_F_INT(S, M, def, min, max, doc) \
    { #M, doc, AIRA_T_INT, 0, (uint32_t)offsetof(S, M), 0, def, min, max, NULL, NULL }
#define AIRA_F_REAL(S, M, def, min, max, doc) \
    { #M, doc, AIRA_T_REAL, 0, (uint32_t)offsetof(S, M), 0, def, min, max, NULL, NULL }
#define AIRA_F_BOOL(S, M, def, doc) \
    { #M, doc, AIRA_T_BOOL, 0, (uint32_t)offsetof(S, M), 0, def, 0, 0, NULL, NULL }
#define AIRA_F_STR(S, M, sdef, doc) \
    { #M, doc, AIRA_T_STR, 0, (uint32_t)offsetof(S, M), 0, 0, 0, 0, sdef, NULL }
#define AIRA_F_CHOICE(S, M, choices, def, doc) \
    { #M, doc, AIRA_T_CHOICE, 0, (uint32_t)offsetof(S, M), 0, def, 0, 0, NULL, choices }
#define AIRA_SCHEMA(S, fields)                                                                                \
    {                                                                                                         \
        (uint32_t)sizeof(aira_schema), (uint32_t)sizeof(S), (uint32_t)(sizeof(fields) / sizeof((fields)[0])), \
            (uint32_t)sizeof(aira_field), fields                                                              \
    }

#endif
