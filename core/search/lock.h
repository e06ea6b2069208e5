/* core/search/lock.h - one coordinator per run directory.
 *
 * <run>/lock is held with flock and carries "pid host", for the message that the second comer gets. The kernel drops
 * the lock with the process, however it ends, so nothing stale can remain.
 */
#ifndef AIRA_SEARCH_LOCK_H
#define AIRA_SEARCH_LOCK_H

#include "core/base/error.h"

typedef struct aira__lock aira__lock;

/* AIRA_E_FAILED with "in use by process P on H" if another holds it; AIRA_E_IO if the folder cannot be written. */
aira_status aira__lock_take(const char *run_dir, aira__lock **, aira_error *);
void aira__lock_release(aira__lock *); /* NULL is fine */
/* Who holds it, "process 123 on host", malloc'ed; NULL if nobody does. */
char *aira__lock_holder(const char *run_dir);

#endif
