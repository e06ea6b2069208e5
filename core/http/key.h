/* core/http/key.h - secrets: where they come from, and what is done so that they go nowhere else.
 *
 * A configuration names a variable or a file, never the key. The key is read when it is needed, lives in one buffer,
 * goes into one header, and is wiped. A process that has read one cannot be dumped or traced by its equals: no core
 * file, /proc/PID/environ and /proc/PID/mem closed. Sentences name the variable or the file, never what is in it.
 */
#ifndef AIRA_HTTP_KEY_H
#define AIRA_HTTP_KEY_H

#include <jansson.h>
#include <stddef.h>

#include "core/base/error.h"

typedef struct aira__key {
    char *text; /* NULL: no key */
    size_t n;
    char source[300]; /* "the variable MY_KEY", "the file /a/key" */
} aira__key;

/* env, file: as in aira_http_request; both NULL: no key, AIRA_OK. AIRA_E_CONFIG for a name that is none, AIRA_E_DENIED
   for a key that is not there or not usable (file: regular, mode 0600 or less). Release in any case. */
aira_status aira__key_read(const char *env, const char *file, aira__key *, aira_error *);
void aira__key_release(aira__key *); /* wipes */

/* Overwrites every occurrence of the key by asterisks. */
void aira__key_redact(const aira__key *, char *text, size_t n);

/* The keys `api_key_env` and `api_key_file` of a plugin's canonical configuration, if it has them: can they be read? */
aira_status aira__key_check(const json_t *canonical, aira_error *);

/* No core files, no tracing by processes of the same user, from now on. */
void aira__key_protect(void);

#endif
