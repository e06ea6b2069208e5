/* core/plugin/probe.h - lets another process load a plugin first.
 *
 * dlopen of a damaged file can kill a process before any plugin code runs, and constructors run inside dlopen. So the
 * small program aira-probe does it first, in its own process group, with limits on CPU time and memory and without
 * privileges to gain. It is believed only when it returns the parent's nonce and then exits with status 0: a
 * constructor that calls exit(0) knows neither.
 *
 * Conversation over descriptor 3 (a socket pair): parent sends 16 random bytes; the probe reads them before it opens
 * the file, loads and judges it, and answers the 16 bytes, 'g' or 'b', and the reason.
 */
#ifndef AIRA_PLUGIN_PROBE_H
#define AIRA_PLUGIN_PROBE_H

#include <stdbool.h>

#include "core/base/error.h"
#include "core/plugin/cache.h"

#define AIRA__PROBE_NONCE 16
#define AIRA__PROBE_CPU_SECONDS 2
#define AIRA__PROBE_WALL_SECONDS 10

/* Runs it on one file. An error means that the question could not be asked. *lasting: the verdict follows from the
   file alone and may be kept (not so where a library is missing or the machine was too slow). */
aira_status aira__probe_run(const char *probe, const char *file, aira__verdict *, bool *lasting, aira_error *);

/* What the probe process does: loads file, calls its entry twice, judges the descriptor. */
aira_status aira__probe_judge(const char *file, aira_error *);

#endif
