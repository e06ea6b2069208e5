/* tests/fuzz/design.c - answers that are source: whatever comes in, what is accepted is normalised and within its
 * limit, a refusal has a reason, and the diff between two accepted sources leads from one to the other. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/search/answer.h"
#include "core/search/design.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char parent[] = "#include \"aira/primitive.h\"\n\nint a;\nint b;\nint c;\nint b;\nint d;\n";

static void check_source(const char *source, const json_t *options) {
    size_t n = strlen(source);
    aira__candidate candidate = {0};
    aira_error error = {0};
    if (n == 0 || n > AIRA__SOURCE_MAX || source[n - 1] != '\n') abort();
    char *again = aira__source_normalise(source, n), *diff = aira__diff_make(parent, source), *there = NULL;
    if (!again || strcmp(again, source) != 0 || !diff) abort();
    if (diff[0] &&
        (aira__diff_apply(parent, diff, strlen(diff), &there, &error) != AIRA_OK || strcmp(there, source) != 0))
        abort();
    if (aira__candidate_design(source, options, &candidate, &error) == AIRA_OK) { /* not where it is no UTF-8 */
        char name[49];
        aira__mechanism_name(source, name);
        if (strlen(candidate.hash) != 64 || strncmp(candidate.architecture, name, strlen(name)) != 0) abort();
    }
    aira__candidate_release(&candidate);
    free(again);
    free(diff);
    free(there);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static json_t *declared = NULL; /* of this process */
    if (!declared) declared = json_loads("{\"lr\": {\"default\": 0.5, \"from\": 0, \"to\": 1}}", 0, NULL);
    char *text = malloc(size + 1), *source = NULL;
    json_t *options = NULL;
    aira_error error = {0};
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    if (aira__design_parse(text, parent, NULL, declared, &source, &options, &error) == AIRA_OK) {
        check_source(source, options);
    } else if (error.text[0] == 0) {
        abort();
    }
    free(source);
    json_decref(options);
    free(text);
    return 0;
}
