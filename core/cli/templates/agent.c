/* @NAME@.c - an agent: proposes architectures at random, one token more often than the others.
 *
 * An answer is prose with one fenced yaml block that holds `layers:`. Chance comes from the request's seed alone, so a
 * run can be repeated. An agent that asks somebody else polls sink->cancelled while it waits.
 *
 * Build it: cc -O2 -fPIC -shared -fvisibility=hidden -I @INCLUDE@ @NAME@.c -lm -o @NAME@.so
 * Check it: aira check ./@NAME@.so
 */
#include <string.h>

#include "aira/agent.h"
#include "aira/rng.h"

typedef struct config {
    double favour;
} config;

static aira_status put(const aira_sink *sink, const char *text) { return sink->text(sink, text, strlen(text)); }

static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    const config *c = self;
    aira_rng rng = aira_rng_make(request->seed, 0);
    if (sink->cancelled(sink)) return AIRA_E_CANCELLED;
    uint32_t favourite = aira_rng_below(&rng, request->n_tokens);
    aira_status status = put(sink, "A random proposal.\n\n```yaml\nlayers: \"");
    for (uint32_t layer = 0; layer < request->n_layers && status == AIRA_OK; layer++) {
        uint32_t any = aira_rng_below(&rng, request->n_tokens);
        uint32_t token = aira_rng_uniform(&rng) < c->favour ? favourite : any;
        if (layer > 0) status = put(sink, " ");
        if (status == AIRA_OK) status = put(sink, request->tokens[token]);
    }
    if (status == AIRA_OK) status = put(sink, "\"\n```\n");
    aira_usage usage = {.size = sizeof usage,
                        .input_tokens = -1,
                        .cached_input_tokens = -1,
                        .output_tokens = -1,
                        .reasoning_tokens = -1,
                        .money_usd = 0};
    sink->usage(sink, &usage);
    return status;
}

static const aira_field fields[] = {
    AIRA_F_REAL(config, favour, 0.3, 0, 1, "how often the favourite token of an answer is taken"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);
static const aira_agent table = {.size = sizeof table, .complete = complete};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("agent", aira_agent, &table, "@NAME@", "0.1.0",
                                                          "random proposals with a favourite token", &schema)};
AIRA_MANIFEST("agent", "@NAME@", "0.1.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
