/* aira/ext/json.h - service "aira.json/1": reading and writing JSON, so that a plugin needs no library for it.
 *
 * Paths are member names and array indices with dots between: "choices.0.delta.content". "" is the value itself. A path
 * that leads nowhere is no error. Everything is [any thread]; one value is used by one thread at a time.
 */
#ifndef AIRA_EXT_JSON_H
#define AIRA_EXT_JSON_H

#include "../abi.h"

#define AIRA_SERVICE_JSON "aira.json/1"

#define AIRA_JSON_NONE 0 /* nothing there */
#define AIRA_JSON_NULL 1
#define AIRA_JSON_BOOL 2
#define AIRA_JSON_NUMBER 3
#define AIRA_JSON_TEXT 4
#define AIRA_JSON_LIST 5
#define AIRA_JSON_OBJECT 6

typedef struct aira_json aira_json;

typedef struct aira_json_service {
    uint32_t size, minor;
    void *core;
    /* NULL after host->fail: not JSON (position), duplicate keys, invalid UTF-8, more than 16 MiB, nested deeper than
       64. Ended with release. */
    aira_json *(*parse)(const struct aira_json_service *, const char *text, uint64_t n);
    void (*release)(const struct aira_json_service *, aira_json *);                         /* NULL is fine */
    int32_t (*type)(const struct aira_json_service *, const aira_json *, const char *path); /* AIRA_JSON_x */
    /* NULL where there is no text. Valid until release; NUL-terminated, but may hold zero bytes too. n may be NULL. */
    const char *(*text)(const struct aira_json_service *, const aira_json *, const char *path, uint64_t *n);
    int64_t (*integer)(const struct aira_json_service *, const aira_json *, const char *path, int64_t fallback);
    double (*number)(const struct aira_json_service *, const aira_json *, const char *path, double fallback);
    int64_t (*count)(const struct aira_json_service *, const aira_json *,
                     const char *path); /* of a list or object; -1 */
    /* Texts below are host->alloc memory, NUL-terminated; NULL after host->fail. */
    /* "text" in quotes, escaped; bytes that are not UTF-8 become U+FFFD. */
    char *(*quote)(const struct aira_json_service *, const char *text, uint64_t n);
    /* The object `text` with the members of the object `more` put in (objects inside objects are merged, anything else
       is replaced) and then the n paths of `drop` removed; keys sorted, compact. more NULL: none. */
    char *(*edit)(const struct aira_json_service *, const char *text, const char *more, const char *const *drop,
                  uint64_t n_drop);
} aira_json_service;

#endif
