/* core/search/literature.h - a folder of Markdown notes that prompts quote from.
 *
 *     literature: notes            # of a search; files NAME.md in it, and in folders in it
 *
 * A note's topic is its sub-folder ("general" beside them), its title the first heading, else its name. The notes
 * become part of the study, so a run does not depend on the folder. Which ones a question shows follows from words:
 * each note is scored by the words that it shares with the question's subject, rare words counting more; the best ones
 * that fit the limit are shown, by topic.
 */
#ifndef AIRA_SEARCH_LITERATURE_H
#define AIRA_SEARCH_LITERATURE_H

#include <jansson.h>

#include "core/base/error.h"

#define AIRA__LITERATURE_TOKENS 2000   /* default limit, estimated as bytes / 4 */
#define AIRA__LITERATURE_MAX (4 << 20) /* bytes of all notes of a folder */
#define AIRA__LITERATURE_NOTES 1000    /* notes of a folder */

/* [{"topic", "title", "text"}] in the order of their paths; a new reference. AIRA_E_CONFIG with the file. */
aira_status aira__literature_load(const char *folder, json_t **notes, aira_error *);

/* The notes to show: [{"topic", "notes": [{"title", "text"}]}], topics in order of their best note. A note that alone
   is longer than the limit is shortened. New reference; NULL when out of memory. subject: any text. */
json_t *aira__literature_choose(const json_t *notes, const char *subject, int64_t tokens);

#endif
