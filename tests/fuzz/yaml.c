/* tests/fuzz/yaml.c - any bytes as YAML: refused with a sentence, or a tree that converts to JSON. */
#include <stdlib.h>
#include <string.h>

#include "core/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    if (text == NULL || diagnostics == NULL) abort();
    if (size > 0) memcpy(text, data, size);
    text[size] = 0;
    aira__document *document = aira__document_parse(text, "fuzz.yaml", diagnostics);
    if ((document == NULL) != (aira__diagnostics_count(diagnostics) > 0)) abort();
    if (document != NULL) {
        json_t *json = aira__node_to_json(aira__document_root(document));
        aira__map_finish(aira__document_root(document), NULL, diagnostics);
        json_decref(json);
    }
    aira__document_destroy(document);
    aira__diagnostics_destroy(diagnostics);
    free(text);
    return 0;
}
