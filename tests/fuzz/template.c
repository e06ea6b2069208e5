/* tests/fuzz/template.c - prompt templates: whatever comes in is rendered or refused with a place. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/search/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *values = json_pack("{s:s, s:i, s:f, s:n, s:b, s:[{s:s},{s:s, s:[{s:i}]}], s:[]}", "a", "text", "b", 7, "c",
                               0.5, "d", "e", 0, "f", "a", "x", "g", "y", "h", "i", 1, "j");
    char *text = malloc(size + 1), *out = NULL;
    aira_error error = {0};
    if (text && values) {
        memcpy(text, data, size);
        text[size] = 0;
        aira_status status = aira__template_render(text, "fuzz.md", values, NULL, &out, &error);
        if ((status == AIRA_OK) != (out != NULL)) abort();
        if (status != AIRA_OK && strncmp(error.text, "fuzz.md:", 8)) abort();
    }
    free(text);
    free(out);
    json_decref(values);
    return 0;
}
