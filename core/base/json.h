/* core/base/json.h - the few things that are wanted around jansson.
 *
 * The canonical text (sorted keys, compact, 17-digit numbers) of a value is its identity: hashes are taken of it alone,
 * never of text that came from elsewhere.
 */
#ifndef AIRA_BASE_JSON_H
#define AIRA_BASE_JSON_H

#include <jansson.h>

#include "core/base/error.h"

/* malloc'ed sorted compact text; any JSON value. NULL when out of memory or value is NULL. */
char *aira__json_canonical(const json_t *value);
/* SHA-256 of the canonical text. */
aira_status aira__json_hash(const json_t *value, char out[65], aira_error *);
/* A new reference, or NULL with "file:line:column: sentence". Duplicate keys are refused; at most 256 MiB. */
json_t *aira__json_load_file(const char *path, aira_error *);
/* The same from memory; name stands for the file in the sentence. */
json_t *aira__json_parse(const char *text, size_t n, const char *name, aira_error *);
/* Writes canonical text and a newline, atomically. */
aira_status aira__json_write_file(const char *path, const json_t *value, aira_error *);

/* Members with a fallback where absent or of another type. */
const char *aira__json_string(const json_t *object, const char *key, const char *fallback);
int64_t aira__json_int(const json_t *object, const char *key, int64_t fallback);
double aira__json_real(const json_t *object, const char *key, double fallback); /* integers too */
/* A real, or null for what JSON cannot hold (NaN, infinities). */
json_t *aira__json_number(double value);

#endif
