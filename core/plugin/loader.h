/* core/plugin/loader.h - one file from path to checked descriptor: read, manifest, private copy, probe, dlopen,
 * copy-in.
 *
 * Either everything succeeded and the descriptor is complete, or nothing remains of the attempt but a sentence.
 */
#ifndef AIRA_PLUGIN_LOADER_H
#define AIRA_PLUGIN_LOADER_H

#include <limits.h>
#include <stdbool.h>

#include "core/plugin/descriptor.h"

typedef struct aira__loader {
    bool ready;            /* the members below are filled */
    char folder[PATH_MAX]; /* of the cache */
    char probe[PATH_MAX];
    char key[65]; /* SHA-256 of the probe program: names the rules that verdicts were made by */
} aira__loader;

typedef struct aira__loaded {
    char sha256[65];
    aira_manifest manifest;
    aira__descriptor descriptor;
} aira__loaded;

/* Start from a zeroed loader. Sentences do not name the file. */
aira_status aira__loader_load(aira__loader *, const char *path, aira__loaded *out, aira_error *);

#endif
