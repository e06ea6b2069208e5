/* Graphs from elsewhere: any bytes are refused or give a graph that writes itself back. */
#include <stdlib.h>

#include "core/graph/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    aira_graph *graph = NULL;
    aira__graph_limits limits = {.max_ops = 4096, .max_elements = 1 << 20};
    aira__bytes again;
    if (aira__graph_read(data, size, &limits, &graph, NULL) == AIRA_OK) {
        if (aira__graph_write(graph, &again, NULL) == AIRA_OK) free(again.data);
        aira_graph *plain = aira__graph_expand(graph, NULL, NULL, NULL);
        aira__graph_destroy(plain);
    }
    aira__graph_destroy(graph);
    return 0;
}
