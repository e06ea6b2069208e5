/* tests/fuzz/sse.c - server-sent events: any bytes, cut anywhere, give the same events as uncut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/http/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int collect(void *context, const char *name, char *data, size_t n) {
    aira__buf *out = context;
    if (data[n] != 0 || strlen(name) > 63) abort();
    (void)aira__buf_text(out, name);
    (void)aira__buf_add(out, "|", 1);
    (void)aira__buf_add(out, data, n);
    (void)aira__buf_add(out, "]", 1);
    return 0;
}

static aira__buf feed(const char *bytes, size_t size, size_t step) {
    aira__sse s = {0};
    aira__buf out = {0};
    for (size_t i = 0; i < size; i += step)
        if (aira__sse_feed(&s, bytes + i, size - i < step ? size - i : step, collect, &out)) abort();
    if (aira__sse_end(&s, collect, &out)) abort();
    aira__sse_release(&s);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    const char *bytes = (const char *)data + 1;
    aira__buf whole = feed(bytes, size - 1, size), cut = feed(bytes, size - 1, 1 + data[0] % 16);
    if (whole.size != cut.size || (whole.size && memcmp(whole.data, cut.data, whole.size))) abort();
    aira__buf_free(&whole);
    aira__buf_free(&cut);
    return 0;
}
