/* tests/fuzz/json_service.c - what servers send as JSON: parsed or refused with a sentence; what is quoted or edited
 * can be parsed again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/http/json_service.h"
#include "core/plugin/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const drop[] = {"a", "choices.0.delta", "usage"};
    aira__host host;
    aira_json_service json;
    uint64_t n;
    if (aira__host_init(&host, NULL) != AIRA_OK) return 0;
    aira__json_service_init(&host.table, &json);
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    aira_json *value = json.parse(&json, text, size);
    if (value) {
        (void)json.text(&json, value, "choices.0.delta.content", &n);
        (void)json.integer(&json, value, "usage.prompt_tokens", -1);
        (void)json.count(&json, value, "choices");
        (void)json.type(&json, value, text);
    }
    json.release(&json, value);
    char *quoted = json.quote(&json, text, size), *edited = json.edit(&json, "{\"a\":{\"b\":1}}", text, drop, 3);
    aira_json *back = json.parse(&json, quoted, strlen(quoted));
    if (!back || json.type(&json, back, "") != AIRA_JSON_TEXT) abort();
    json.release(&json, back);
    if (edited) {
        back = json.parse(&json, edited, strlen(edited));
        if (!back || json.type(&json, back, "a") != AIRA_JSON_NONE) abort();
        json.release(&json, back);
    }
    free(quoted);
    free(edited);
    free(text);
    aira__host_finish(&host);
    return 0;
}
