/* tests/fuzz/answer.c - answers of language models: whatever comes in, what is accepted has the length and alphabet
 * that was asked for, and a refusal has a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/search/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const tokens[] = {"mA", "M", "Mb"};
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    uint16_t layers[4] = {9, 9, 9, 9};
    aira_error error = {0};
    if (aira__answer_parse(text, tokens, 3, 4, layers, &error) == AIRA_OK) {
        aira__candidate candidate;
        for (int i = 0; i < 4; i++)
            if (layers[i] > 2) abort();
        if (aira__candidate_make(layers, 4, tokens, &candidate, &error) != AIRA_OK) abort();
        aira__candidate_release(&candidate);
    } else if (error.text[0] == 0) {
        abort();
    }
    free(text);
    return 0;
}
