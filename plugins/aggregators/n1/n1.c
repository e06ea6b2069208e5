/* plugins/aggregators/n1/n1.c - the most frequent token given the one chosen before it; see ../common/ncluster.h. */
#include "../common/ncluster.h"

static aira_status create(const aira_host *host, const void *config, void **self) {
    return ncluster_create(host, config, 1, self);
}

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("aggregator", aira_aggregator, &ncluster_table, "n1", "1.0.0",
                           "Most frequent token of each layer, given the layer before", &ncluster_schema),
    .create = create,
    .destroy = ncluster_destroy,
};
AIRA_MANIFEST("aggregator", "n1", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
