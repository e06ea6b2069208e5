/* Replies of a confined child: any bytes are refused, or give a part that can be spliced into a graph. */
#include <stdlib.h>
#include <string.h>

#include "core/sandbox/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const aira_shape shape = {{1, 4, 8}, 3, 0};
    aira__trace_reply reply;
    aira__traced traced;
    char *bytes = malloc(size + 1);
    if (bytes == NULL) return 0;
    memcpy(bytes, data, size);
    if (aira__trace_open("fuzz", bytes, size, &reply, NULL) != AIRA_OK) {
        free(bytes);
        return 0;
    }
    if (aira__trace_take(&reply, "fuzz", &shape, &traced, NULL) == AIRA_OK) {
        aira_graph *g = aira__graph_create(AIRA_F32, NULL);
        aira_tensor *x = aira__graph_input(g, "x", AIRA_F32, &shape);
        aira__graph_splice(g, &traced.part, x);
        aira__graph_destroy(g);
        aira__traced_release(&traced);
    }
    aira__trace_reply_release(&reply);
    return 0;
}
