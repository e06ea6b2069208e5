/* core/plugin/probe_judge.c - what the probe process does with the file; see probe.h. */
#include <dlfcn.h>
#include <string.h>

#include "core/plugin/descriptor.h"
#include "core/plugin/manifest.h"
#include "core/plugin/probe.h"

aira_status aira__probe_judge(const char *file, aira_error *error) {
    aira_manifest manifest;
    aira_status status = aira__manifest_read_file(file, &manifest, error);
    if (status != AIRA_OK) return status;
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) {
        const char *text = dlerror(), *after = text != NULL ? strstr(text, ".so: ") : NULL;
        return aira__fail(error, AIRA_E_IO, "the system's loader refuses it: %s",
                          after != NULL  ? after + 5
                          : text != NULL ? text
                                         : "no reason given");
    }
    const aira_plugin *(*entry)(void);
    void *symbol = dlsym(library, "aira_plugin_v1");
    if (symbol == NULL)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "it does not export the function aira_plugin_v1: write AIRA_EXPORT "
                          "before it");
    memcpy(&entry, &symbol, sizeof entry);
    const aira_plugin *first = entry();
    if (entry() != first)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "aira_plugin_v1 returns another descriptor at its second call: it must "
                          "be constant");
    aira__descriptor copy;
    status = aira__descriptor_copy(first, &manifest, &copy, error);
    if (status == AIRA_OK) aira__descriptor_release(&copy);
    return status;
}
