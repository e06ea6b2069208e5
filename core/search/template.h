/* core/search/template.h - prompt templates: small, strict, without surprises.
 *
 *   {{name}}                         the value; numbers as %.6g, a list or null is an error
 *   {{#each name}} ... {{/each}}     once per element; the element's members hide outer names
 *   {{#if name}} ... {{else}} ... {{/if}}   null, false, "" and [] are false
 *   {{! comment }}
 *
 * A line that holds nothing but a block tag or a comment leaves no line behind. A name that is not defined is an error
 * with file:line, in a branch that is taken or not: a prompt with a hole in it is never sent. Blocks nest 16 deep;
 * the output is at most 16 MiB.
 */
#ifndef AIRA_SEARCH_TEMPLATE_H
#define AIRA_SEARCH_TEMPLATE_H

#include <jansson.h>

#include "core/base/error.h"

/* Remembers what elements of the lists `memory` and `best` rendered to, where that follows from the element alone: a
   prompt names hundreds of them, and the next prompt nearly the same. The elements, and the templates' texts, must
   neither change nor go away while it is used. One thread at a time. NULL when out of memory, which is fine. */
typedef struct aira__template_cache aira__template_cache;
aira__template_cache *aira__template_cache_create(void);
void aira__template_cache_destroy(aira__template_cache *); /* NULL is fine */

/* name: for messages. cache may be NULL. *out is malloc'ed, NULL on failure. values is an object. */
aira_status aira__template_render(const char *text, const char *name, const json_t *values, aira__template_cache *cache,
                                  char **out, aira_error *);

#endif
