/* core/config/config.h - YAML with marks, and filling C structs from it by declared schemas.
 *
 * A document is a tree of aira__node; every node remembers file, line and column (1-based) of its origin, through
 * `extends:` and command-line overrides. Nothing is ignored: a reader takes the keys it knows (aira__map_get marks
 * them) and aira__map_finish reports the rest with the accepted keys and a "did you mean". Errors are collected, all of
 * them, in an aira__diagnostics.
 */
#ifndef AIRA_CONFIG_CONFIG_H
#define AIRA_CONFIG_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "aira/schema.h"
#include "core/base/error.h"

typedef enum { AIRA_NODE_SCALAR, AIRA_NODE_MAP, AIRA_NODE_LIST } aira__node_kind;

typedef struct aira__node aira__node;
typedef struct aira__document aira__document;       /* owns its nodes */
typedef struct aira__diagnostics aira__diagnostics; /* a growing list of sentences with places */

struct aira__node {
    aira__node_kind kind;
    bool quoted;      /* scalar written in quotes: always a string */
    bool used;        /* a reader took it */
    const char *file; /* "study.yaml" or "command line" */
    int line, column; /* 1-based; 0: not from a file */
    const char *key;  /* of this value in its map, or NULL */
    int key_line, key_column;
    const char *text;   /* scalar */
    aira__node **items; /* map values or list items */
    int n_items;
};

aira__diagnostics *aira__diagnostics_create(void);
void aira__diagnostics_destroy(aira__diagnostics *);
int aira__diagnostics_count(const aira__diagnostics *); /* errors */
/* "file:line:column: error: sentence"; node may be NULL */
void aira__diagnose(aira__diagnostics *, const aira__node *, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void aira__diagnostics_print(const aira__diagnostics *, FILE *);
const char *aira__diagnostics_text(const aira__diagnostics *); /* all, one per line */
/* Error i in parts; any out pointer may be NULL. file is "" and line 0 where it has no place. */
void aira__diagnostics_get(const aira__diagnostics *, int i, const char **file, int *line, int *column,
                           const char **sentence);
/* AIRA_OK if there are none, else AIRA_E_CONFIG with all sentences in error */
aira_status aira__diagnostics_status(const aira__diagnostics *, aira_error *);

/* YAML as accepted here: one document, 1.2 core schema (true/false, 0x1f, 1e3 is a real), no tags, anchors, aliases or
   `<<`; duplicate keys are errors. At most 8 MiB, depth 64, 50,000 nodes, 4,096 keys in a mapping, 1 MiB in a scalar.

   `extends: base.yaml` at the top of a file, seen from that file: mappings are merged key by key, anything else is
   replaced; a mapping whose `use:` names another plugin than the base's replaces it whole, since the other keys
   were that plugin's own.

   Reads a file, merges `extends:`, then applies overrides "a.b.0.c=value" (each must name a key that exists in the file
   or that a schema will know: it is created where absent, and refused later as an unknown key would be; a list index
   may also be the list's length, which appends). The value is YAML and replaces what was there. NULL on error. */
aira__document *aira__document_load(const char *path, const char *const *overrides, int n_overrides,
                                    aira__diagnostics *);
aira__document *aira__document_parse(const char *text, const char *name, aira__diagnostics *); /* from memory */
void aira__document_destroy(aira__document *);
aira__node *aira__document_root(aira__document *);

/* Maps. get returns NULL where absent and marks what it returns as used (not its children). */
aira__node *aira__map_get(aira__node *map, const char *key);
/* Reports keys that nobody took; accepted: NULL-terminated list for the message. */
void aira__map_finish(aira__node *map, const char *const *accepted, aira__diagnostics *);
void aira__node_mark_used(aira__node *); /* the whole subtree */

/* Scalars; report and return fallback on a wrong type. node NULL gives fallback. */
const char *aira__node_string(aira__node *, const char *fallback, aira__diagnostics *);
int64_t aira__node_int(aira__node *, int64_t fallback, int64_t min, int64_t max, aira__diagnostics *);
double aira__node_real(aira__node *, double fallback, aira__diagnostics *);
bool aira__node_bool(aira__node *, bool fallback, aira__diagnostics *);
int64_t aira__node_count(aira__node *, int64_t fallback, aira__diagnostics *);  /* 2K 1.5M 3B */
double aira__node_duration(aira__node *, double fallback, aira__diagnostics *); /* seconds */
int64_t aira__node_bytes(aira__node *, int64_t fallback, aira__diagnostics *);
/* the path as seen from the file that holds it (from the current folder for the command line), malloc'ed; NULL,
   reported, if it is not a text */
char *aira__node_path(aira__node *, aira__diagnostics *);

/* Fills config (schema->config_size bytes, zeroed by the callee) from map; keys in skip (NULL-terminated, e.g. "use",
   "at_scale") belong to the caller. Strings and lists are owned by *memory, released by aira__filled_release.
   canonical (may be NULL) gets a new json object of every key's value, defaults included: the configuration's identity.
 */
typedef struct aira__filled aira__filled;
/* A mistake in the schema itself (plugin's fault): unknown type, member outside the struct, default outside its
 * range... */
aira_status aira__schema_check(const aira_schema *, aira_error *);
/* schema NULL: no keys. map NULL: every default. A scalar where skip holds "use" is the short form `kind: id`: every
   default. PATH values become absolute. *memory is set even on failure (release it). */
bool aira__schema_fill(const aira_schema *schema, aira__node *map, const char *const *skip, void *config,
                       aira__filled **memory, json_t **canonical, aira__diagnostics *);
/* The same from a canonical json object (no marks), e.g. in a worker; a member "use" is passed over. Keys that are not
   there get their defaults; whole (may be NULL) is an object that receives every key with its value. */
aira_status aira__schema_fill_json(const aira_schema *schema, const json_t *object, void *config, aira__filled **memory,
                                   json_t *whole, aira_error *);
void aira__filled_release(aira__filled *);
void aira__schema_print(const aira_schema *schema, FILE *); /* the table behind `aira describe` */

/* Nearest of names to word by edit distance, or NULL if none is near. */
const char *aira__nearest(const char *word, const char *const *names, int n_names);

json_t *aira__node_to_json(const aira__node *); /* typed by the YAML 1.2 core schema */

#endif
