/* tests/fuzz/schema.c - any YAML into a struct with every declared type: what is accepted gives, through its canonical
 * JSON, the same struct again; and any JSON into the same struct.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    int64_t i, count, bytes;
    double real, duration, flops;
    int32_t flag, choice;
    const char *s, *path;
    uint64_t seed;
    aira_list ints, texts, choices;
} settings;

static const char *const values[] = {"a", "bb", NULL};
#define FIELD(name, type) \
    { #name, "doc", type, 0, (uint32_t)offsetof(settings, name), 0, 0, 0, 0, NULL, NULL }
static const aira_field fields[] = {
    AIRA_F_INT(settings, i, 1, -5, 1000, "doc"),
    FIELD(count, AIRA_T_COUNT),
    FIELD(bytes, AIRA_T_BYTES),
    FIELD(real, AIRA_T_REAL),
    FIELD(duration, AIRA_T_DURATION),
    FIELD(flops, AIRA_T_FLOPS),
    FIELD(flag, AIRA_T_BOOL),
    AIRA_F_CHOICE(settings, choice, values, 1, "doc"),
    FIELD(s, AIRA_T_STR),
    FIELD(path, AIRA_T_PATH),
    FIELD(seed, AIRA_T_SEED),
    FIELD(ints, AIRA_T_LIST | AIRA_T_INT),
    FIELD(texts, AIRA_T_LIST | AIRA_T_STR),
    {"choices", "doc", AIRA_T_LIST | AIRA_T_CHOICE, 0, (uint32_t)offsetof(settings, choices), 0, 0, 0, 0, NULL, values},
};
static const aira_schema schema = AIRA_SCHEMA(settings, fields);

static void from_yaml(const char *text) {
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    aira__document *document = aira__document_parse(text, "fuzz.yaml", diagnostics);
    settings first, second;
    aira__filled *memory, *again;
    json_t *canonical;
    if (document != NULL) {
        if (aira__schema_fill(&schema, aira__document_root(document), NULL, &first, &memory, &canonical, diagnostics)) {
            if (aira__schema_fill_json(&schema, canonical, &second, &again, NULL, NULL) != AIRA_OK) abort();
            if (memcmp(&first, &second, offsetof(settings, s)) != 0 || first.seed != second.seed ||
                first.ints.n != second.ints.n || (first.s == NULL) != (second.s == NULL))
                abort();
            aira__filled_release(again);
            json_decref(canonical);
        }
        aira__filled_release(memory);
    }
    aira__document_destroy(document);
    aira__diagnostics_destroy(diagnostics);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (text == NULL) abort();
    if (size > 0) memcpy(text, data, size);
    text[size] = 0;
    from_yaml(text);
    json_t *json = aira__json_parse(text, size, "fuzz.json", NULL);
    settings filled;
    aira__filled *memory = NULL;
    if (json != NULL) {
        aira_status status = aira__schema_fill_json(&schema, json, &filled, &memory, NULL, NULL);
        if (status != AIRA_OK && status != AIRA_E_CONFIG) abort();
        aira__filled_release(memory);
    }
    json_decref(json);
    free(text);
    return 0;
}
