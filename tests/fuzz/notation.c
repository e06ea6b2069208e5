/* tests/fuzz/notation.c - architecture notation: whatever comes in, what is accepted survives a round trip. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/compose/notation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const uint16_t *layers, int n, const char *const *tokens, int n_tokens) {
    char *text = aira__notation_format(layers, n, tokens);
    uint16_t again[256];
    int m = 0;
    aira_error error;
    if (!text || aira__notation_parse(text, tokens, n_tokens, again, 256, &m, &error) != AIRA_OK) abort();
    if (m != n || memcmp(again, layers, (size_t)n * sizeof *layers) != 0) abort();
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const tokens[] = {"mA", "M", "Mb", "MoE", "A2"};
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    uint16_t layers[256];
    int n = 0;
    aira_error error;
    if (aira__notation_parse(text, tokens, 5, layers, 256, &n, &error) == AIRA_OK) round_trip(layers, n, tokens, 5);
    aira__notation any;
    if (aira__notation_parse_any(text, &any, &error) == AIRA_OK && any.n <= 256)
        round_trip(any.layers, any.n, (const char *const *)any.tokens, any.n_tokens);
    aira__notation_release(&any);
    free(text);
    return 0;
}
