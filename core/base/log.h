/* core/base/log.h - lines for a human on standard error.
 *
 * One call is one line and one write, so lines of several threads or processes do not mix. Standard output belongs to
 * results.
 */
#ifndef AIRA_BASE_LOG_H
#define AIRA_BASE_LOG_H

#include "aira/plugin.h" /* the levels, AIRA_LOG_x, are those that plugins use */

/* "aira: error: ..." (no word before INFO lines). At most 4,000 bytes are kept. Lines above the level of the
   environment variable AIRA_LOG (error, warn, info, debug; info where unset) are dropped. */
void aira__log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
