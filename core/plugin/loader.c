/* core/plugin/loader.c - see loader.h. Libraries are never unloaded: reloading means another file, hence another path.
 */
#include "core/plugin/loader.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/plugin/cache.h"
#include "core/plugin/helper.h"
#include "core/plugin/manifest.h"
#include "core/plugin/probe.h"

static aira_status prepare(aira__loader *l, aira_error *error) {
    if (l->ready) return AIRA_OK;
    aira_status status = aira__helper_find("aira-probe", l->probe, error);
    if (status == AIRA_OK) status = aira__sha256_file(l->probe, l->key, error);
    if (status == AIRA_OK) status = aira__cache_open(l->folder, error);
    l->ready = status == AIRA_OK;
    return status;
}

/* The probe's opinion of a copy, from the cache or asked now. */
static aira_status check_verdict(const aira__loader *l, const char *sha256, const char *copy, aira_error *error) {
    aira__verdict verdict;
    if (!aira__cache_verdict_read(l->folder, sha256, l->key, &verdict)) {
        bool lasting;
        aira_status status = aira__probe_run(l->probe, copy, &verdict, &lasting, error);
        if (status != AIRA_OK) return status;
        if (lasting) status = aira__cache_verdict_write(l->folder, sha256, l->key, &verdict, error);
        if (status != AIRA_OK) return status;
    }
    return verdict.good ? AIRA_OK : aira__fail(error, AIRA_E_CORRUPT, "%s", verdict.reason);
}

static aira_status open_library(const char *copy, aira__loaded *out, aira_error *error) {
    void *library = dlopen(copy, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) return aira__fail(error, AIRA_E_IO, "the system's loader refuses it: %s", dlerror());
    void *symbol = dlsym(library, "aira_plugin_v1");
    if (symbol == NULL) return aira__fail(error, AIRA_E_CORRUPT, "it does not export the function aira_plugin_v1");
    const aira_plugin *(*entry)(void);
    memcpy(&entry, &symbol, sizeof entry);
    return aira__descriptor_copy(entry(), &out->manifest, &out->descriptor, error);
}

aira_status aira__loader_load(aira__loader *l, const char *path, aira__loaded *out, aira_error *error) {
    char *bytes = NULL, copy[PATH_MAX];
    size_t n = 0;
    memset(out, 0, sizeof *out);
    aira_status status = aira__file_read(path, AIRA__PLUGIN_MAX_BYTES, &bytes, &n, error);
    if (status == AIRA_OK) status = aira__manifest_read(bytes, n, &out->manifest, error);
    if (status == AIRA_OK) status = prepare(l, error);
    if (status == AIRA_OK) {
        aira__sha256_hex(bytes, n, out->sha256);
        status = aira__cache_store(l->folder, out->sha256, bytes, n, copy, error);
    }
    free(bytes);
    if (status == AIRA_OK) status = check_verdict(l, out->sha256, copy, error);
    if (status == AIRA_OK) status = open_library(copy, out, error);
    return status;
}
