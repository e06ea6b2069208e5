/* core/plugin/cache.h - a private folder of plugin copies named by content, and what is known about each.
 *
 * <folder>/<sha256>.so       the bytes that were checked; the only path that is ever given to dlopen, so what was
 * checked is what runs, an overwritten original cannot crash a running host, and two versions of one file never share a
 * name <folder>/<sha256>.verdict  the probe's answer, valid for one probe program (its key); a changed file or a
 * changed probe is a new question, so nothing goes stale
 *
 * The folder belongs to the user alone (0700): $XDG_CACHE_HOME/aira/plugins, ~/.cache/aira/plugins, or below TMPDIR
 * where there is no usable home. Copies unused for 30 days are removed when a new one is stored.
 */
#ifndef AIRA_PLUGIN_CACHE_H
#define AIRA_PLUGIN_CACHE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

/* Finds or makes the folder. */
aira_status aira__cache_open(char folder[PATH_MAX], aira_error *);
/* Makes sure that <folder>/<sha256>.so holds exactly these bytes; copy gets its path. */
aira_status aira__cache_store(const char *folder, const char *sha256, const void *bytes, size_t n, char copy[PATH_MAX],
                              aira_error *);

/* Removes what was not stored for 30 days; aira__cache_store does it as well. */
void aira__cache_prune(const char *folder);
/* Any other file of the folder, whole under its name or not there. */
aira_status aira__cache_keep(const char *folder, const char *path, const void *bytes, size_t n, aira_error *);

typedef struct aira__verdict {
    bool good;
    char reason[1024]; /* "" when good */
} aira__verdict;

/* true when a verdict of this key is there. */
bool aira__cache_verdict_read(const char *folder, const char *sha256, const char *key, aira__verdict *);
aira_status aira__cache_verdict_write(const char *folder, const char *sha256, const char *key, const aira__verdict *,
                                      aira_error *);

#endif
