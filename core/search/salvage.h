/* core/search/salvage.h - a damaged journal: what is wrong with it, and a new one made of what can still be read.
 *
 * Rows are read forwards up to the damage and backwards down to it; texts and candidates that no longer have their hash
 * are left out. Of the nodes a search keeps those before the first that is lost or was pending, so that it can go on
 * from there; evaluations are all kept, so nothing that was trained and can be read is trained again. What is decided
 * after the damage need not be what an undamaged run had decided.
 */
#ifndef AIRA_SEARCH_SALVAGE_H
#define AIRA_SEARCH_SALVAGE_H

#include "core/base/error.h"

/* Adds to a sentence about a damaged journal what of it can be read, and the command that saves that. Leaves errors of
   other kinds alone. */
void aira__salvage_explain(const char *dir, aira_error *);
/* Puts a journal of what can be read into the place of the damaged one, which is kept as journal.damaged.db. sentence:
   what was saved and what was lost; a journal that is whole stays as it is. Nobody may be at work in dir. */
aira_status aira__salvage(const char *dir, char *sentence, size_t size, aira_error *);

#endif
