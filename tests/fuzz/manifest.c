/* tests/fuzz/manifest.c - the walk through an ELF file to a plugin's manifest: whatever the bytes, a manifest of which
 * every text ends, or a sentence. */
#include <stdlib.h>
#include <string.h>

#include "core/plugin/kinds.h"
#include "core/plugin/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    aira_manifest manifest;
    aira_error error = {0};
    if (aira__manifest_read(data, size, &manifest, &error) != AIRA_OK) {
        if (error.text[0] == 0) abort();
        return 0;
    }
    if (memchr(manifest.version, 0, sizeof manifest.version) == NULL || aira__kind_find(manifest.kind) == NULL ||
        !aira__plugin_id_valid(manifest.id) || manifest.abi_major != AIRA_ABI_MAJOR)
        abort();
    return 0;
}
