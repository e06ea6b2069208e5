/* core/config/internal.h - what the files of core/config share and nobody else sees. */
#ifndef AIRA_CONFIG_INTERNAL_H
#define AIRA_CONFIG_INTERNAL_H

#include "core/config/config.h"

/* Documents: every node and text of a document lies in its arena and dies with it. */
typedef struct aira__arena_block aira__arena_block;
struct aira__document {
    aira__arena_block *blocks;
    aira__node *root;
};
aira__document *aira__document_new(void);
void *aira__document_alloc(aira__document *, size_t size); /* zeroed; NULL when out of memory */
char *aira__document_text(aira__document *, const char *text, size_t n);
aira__node *aira__node_new(aira__document *, aira__node_kind, const char *file, int line, int column);
bool aira__node_append(aira__document *, aira__node *parent, aira__node *child);
aira__node *aira__map_find(const aira__node *map, const char *key); /* without marking it used */

/* parse.c: text into a tree of the given document. file must live as long as it. NULL: reported. */
aira__node *aira__yaml_parse(aira__document *, const char *text, size_t n, const char *file, aira__diagnostics *);

/* A sentence at a place of its own. */
void aira__diagnose_at(aira__diagnostics *, const char *file, int line, int column, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void aira__diagnose_memory(aira__diagnostics *);
/* "unknown key 'x', did you mean 'y'?" and the accepted keys at the key's own place. required: bit per name or NULL. */
void aira__diagnose_unknown(aira__diagnostics *, const aira__node *child, const char *const *names,
                            const bool *required, int n);

/* number.c: texts into numbers; false: not of that form (or not in range). */
typedef enum { AIRA__NULL, AIRA__BOOL, AIRA__INT, AIRA__REAL, AIRA__STRING } aira__scalar_type;
aira__scalar_type aira__scalar_type_of(const aira__node *scalar);
bool aira__text_int(const char *text, int64_t *value);
bool aira__text_seed(const char *text, uint64_t *value);
bool aira__text_real(const char *text, double *value); /* finite */
bool aira__text_bool(const char *text, bool *value);
bool aira__text_count(const char *text, int64_t *value);
bool aira__text_bytes(const char *text, int64_t *value);
bool aira__text_duration(const char *text, double *seconds);
void aira__number_text(double value, char text[32]); /* shortest that reads back */

/* field.c: one declared key as a JSON value (its canonical form) and as a member of the struct. */
json_t *aira__field_default(const aira_field *);
json_t *aira__field_from_node(const aira_field *, aira__node *, aira__diagnostics *); /* NULL: reported */
/* Checks a value that came as JSON; a new reference or NULL with a sentence. */
json_t *aira__field_from_json(const aira_field *, const json_t *, aira_error *);
bool aira__field_store(const aira_field *, const json_t *, void *config, aira__filled *); /* false: no memory */
const char *aira__type_words(uint32_t type);                                              /* "a whole number" */
uint64_t aira__type_bytes(uint32_t type); /* of the stored member; 0: unknown type */

struct aira__filled {
    void **blocks;
    int n, capacity;
};
void *aira__filled_alloc(aira__filled *, size_t size);

#endif
