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

/* name: for messages. *out is malloc'ed, NULL on failure. values is an object. */
aira_status aira__template_render(const char *text, const char *name, const json_t *values, char **out, aira_error *);

#endif
