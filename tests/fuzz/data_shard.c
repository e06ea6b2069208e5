/* tests/fuzz/data_shard.c - token shards: whatever the header says, the tokens lie inside the file. */
#include <stdlib.h>

#include "plugins/datasets/tokens/shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t widths[] = {0, 2, 4};
    for (int i = 0; i < 3; i++) {
        shard s;
        const char *wrong = NULL;
        if (!shard_parse(data, size, widths[i], &s, &wrong)) {
            if (wrong == NULL) abort();
            continue;
        }
        if ((s.width != 2 && s.width != 4) || (widths[i] && s.width != widths[i])) abort();
        if (s.n == 0) continue;
        if (s.data < data || s.n > size / s.width || s.data + s.n * s.width != data + size) abort();
        uint32_t last;
        memcpy(&last, s.data + (s.n - 1) * s.width, s.width);
    }
    return 0;
}
