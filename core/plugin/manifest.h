/* core/plugin/manifest.h - what a plugin file says about itself, read without running a byte of it.
 *
 * The manifest is an ELF note (include/aira/plugin.h) in a PT_NOTE segment, so it survives strip. The walk checks every
 * offset against the size of the file; whatever the bytes are, the outcome is a manifest or one sentence.
 */
#ifndef AIRA_PLUGIN_MANIFEST_H
#define AIRA_PLUGIN_MANIFEST_H

#include <stddef.h>

#include "aira/plugin.h"
#include "core/base/error.h"

/* Largest file that is read as a plugin. */
#define AIRA__PLUGIN_MAX_BYTES ((size_t)256 << 20)

/* Checks that size bytes are a shared object for this machine with exactly one well-formed manifest whose kind this
   host knows. Sentences do not name the file: the caller does. */
aira_status aira__manifest_read(const void *bytes, size_t size, aira_manifest *out, aira_error *error);
/* The same for a file, of which only the needed pages are read. */
aira_status aira__manifest_read_file(const char *path, aira_manifest *out, aira_error *error);

#endif
