/* core/plugin/process.h - the service "aira.process/1": child processes without a shell, whole groups, no orphans.
 *
 * Every child is run by a small supervisor (tools/aira-supervise.c) in between: it puts the command into its own
 * process group, keeps the wall limit, adopts whatever the command leaves behind, and kills all of it when told to,
 * when time is up, or when the socket to the host closes - which is what the kernel does when the host dies, however it
 * dies. So no thread and no signal handler is needed here, and poll never blocks.
 */
#ifndef AIRA_PLUGIN_PROCESS_H
#define AIRA_PLUGIN_PROCESS_H

#include <stdint.h>

#include "aira/ext/process.h"
#include "aira/plugin.h"
#include "core/base/error.h"

typedef struct aira__process aira__process;

/* host: gets the sentences of failures and allocates collected output; must outlive the service. */
aira_status aira__process_create(const aira_host *host, aira__process **, aira_error *);
/* Kills what still runs and waits for its end. NULL is fine. */
void aira__process_destroy(aira__process *);
const aira_process_service *aira__process_table(const aira__process *);

/* What the supervisor tells the host, one packet each. */
#define AIRA__SUPERVISE_STARTED 1u
#define AIRA__SUPERVISE_NOT_STARTED 2u /* a: errno */
#define AIRA__SUPERVISE_ENDED 3u       /* a: exit status or -1, b: signal or 0 */
typedef struct aira__supervise_note {
    uint32_t what;
    int32_t a, b;
    uint32_t timed_out;
} aira__supervise_note;

#endif
