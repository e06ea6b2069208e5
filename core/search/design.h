/* core/search/design.h - from an agent's prose to the source of a mechanism.
 *
 * What counts, after reasoning is dropped: one fenced block tagged c with the whole file, or, where there is a parent,
 * one tagged diff (or patch) with a unified diff against the parent's source; and, where the task has options, at most
 * one tagged yaml that sets some of them (what it leaves out is as in the parent, without a parent as in the task).
 * Anything else is refused with a sentence that the agent gets back. Nothing is compiled here.
 *
 * Normalised source: LF, no blanks at ends of lines, no blank lines at the beginning and the end, a final newline.
 */
#ifndef AIRA_SEARCH_DESIGN_H
#define AIRA_SEARCH_DESIGN_H

#include <jansson.h>

#include "core/base/error.h"

#define AIRA__SOURCE_MAX 65536 /* bytes of a source */

/* parent_source, parent_options: NULL where there is no parent with a source. declared: the task's configurable
   options. *source is malloc'ed and normalised, *options a new object with all declared options. AIRA_E_FAILED with the
   reason; AIRA_E_MEMORY. */
aira_status aira__design_parse(const char *text, const char *parent_source, const json_t *parent_options,
                               const json_t *declared, char **source, json_t **options, aira_error *);

/* malloc'ed; NULL when out of memory. */
char *aira__source_normalise(const char *text, size_t n);

/* A unified diff applied to a normalised source. Line numbers are a hint: a hunk goes where its old lines are, nearest
   to where it says. *out is malloc'ed and normalised; AIRA_E_FAILED with the hunk that does not fit. */
aira_status aira__diff_apply(const char *source, const char *diff, size_t n, char **out, aira_error *);

/* The diff that leads from one source to another, as unified text with 3 lines of context; "" where they are the same.
   malloc'ed; NULL when out of memory. Sources beyond 4,000 lines: "". */
char *aira__diff_make(const char *from, const char *to);

/* The id that a source gives itself (the second word of AIRA_MANIFEST), "mechanism" where none can be read. */
void aira__mechanism_name(const char *source, char name[49]);

#endif
