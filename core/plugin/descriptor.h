/* core/plugin/descriptor.h - judges the descriptor that aira_plugin_v1 returns and copies it into host memory.
 *
 * Copy-in is clamped by size: what an older plugin lacks reads as zero, which always means the old behaviour; what a
 * newer plugin adds must be zero, because a field that this program does not know cannot be honoured. The probe runs
 * the same code first, so that a pointer into nowhere kills the probe and not the host.
 */
#ifndef AIRA_PLUGIN_DESCRIPTOR_H
#define AIRA_PLUGIN_DESCRIPTOR_H

#include "aira/plugin.h"
#include "core/base/error.h"
#include "core/plugin/kinds.h"

/* aira_host.minor of this program: raised when a slot is appended to aira_host or aira_ops. */
#define AIRA__HOST_MINOR 0u

/* A copied descriptor: plugin.table and plugin.config point into this block; texts and functions are the plugin's. */
typedef struct aira__descriptor {
    aira_plugin plugin;
    aira_schema schema;
    aira_field *fields; /* malloc'ed */
    void *table;        /* malloc'ed, kind->size bytes */
    const aira__kind *kind;
} aira__descriptor;

/* Checks raw against the rules and against the manifest of the same file; fills out. Nothing to release on failure. */
aira_status aira__descriptor_copy(const aira_plugin *raw, const aira_manifest *manifest, aira__descriptor *out,
                                  aira_error *error);
void aira__descriptor_release(aira__descriptor *);

#endif
