/* core/compose/aggregate.c - runs an aggregator plugin over candidates and says what came out; see aggregate.h.
 *
 * The plugin is pure and sees plain arrays. Everything that it hands back is checked before it becomes an architecture.
 */
#include "core/compose/aggregate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/aggregator.h"
#include "core/compose/notation.h"

static aira_status no_memory(aira_error *error) {
    (void)aira__fail(error, AIRA_E_MEMORY, "out of memory while aggregating");
    return AIRA_E_MEMORY;
}

static void keep_note(void *core, const char *text) {
    json_t *notes = core;
    json_t *line = json_string(text);
    if (!line) line = json_string("a note of the aggregator is not valid UTF-8");
    if (line) json_array_append_new(notes, line); /* a note lost for lack of memory loses nothing else */
}

static aira_status check(const aira__candidates *in, const aira_aggregate_out *out, const char *id, aira_error *error) {
    for (int i = 0; i < in->n_layers; i++) {
        if (out->layers[i] >= in->n_tokens)
            return aira__fail(error, AIRA_E_FAILED,
                              "aggregator %s chose token %u for layer %d, but there are %d tokens", id, out->layers[i],
                              i + 1, in->n_tokens);
        if (!(out->support[i] >= 0 && out->support[i] <= 1 + 1e-9))
            return aira__fail(error, AIRA_E_FAILED, "aggregator %s gave layer %d a support of %g; it must lie in 0..1",
                              id, i + 1, out->support[i]);
    }
    return AIRA_OK;
}

static json_t *describe(const aira__candidates *in, const aira_aggregate_out *out, const char *id, json_t *notes) {
    char *architecture = aira__notation_format(out->layers, in->n_layers, (const char *const *)in->tokens);
    json_t *support = json_array();
    for (int i = 0; support && i < in->n_layers; i++)
        if (json_array_append_new(support, json_real(out->support[i] > 1 ? 1 : out->support[i]))) {
            json_decref(support);
            support = NULL;
        }
    json_t *result = architecture && support
                         ? json_pack("{s:s, s:s, s:O, s:i, s:O}", "by", id, "architecture", architecture, "support",
                                     support, "cluster_size", (int)out->cluster_size, "notes", notes)
                         : NULL;
    json_decref(support);
    free(architecture);
    return result;
}

static aira_status combine(aira__registry *registry, const aira__instance *aggregator, const aira__candidates *in,
                           aira_aggregate_out *out, aira_error *error) {
    const aira_aggregator *table = aggregator->plugin->table;
    const aira_host *host = aira__registry_host(registry);
    aira_scored *scored = malloc((size_t)in->n * sizeof *scored);
    if (!scored) return no_memory(error);
    for (int i = 0; i < in->n; i++)
        scored[i] = (aira_scored){in->layers + (size_t)i * (size_t)in->n_layers, in->scores[i]};
    aira_aggregate_in given = {.size = sizeof given,
                               .n_layers = (uint32_t)in->n_layers,
                               .n_tokens = (uint32_t)in->n_tokens,
                               .n_candidates = (uint32_t)in->n,
                               .tokens = (const char *const *)in->tokens,
                               .candidates = scored};
    aira__host_clear_failure(host);
    aira_status status = table->combine(aggregator->self, &given, out);
    free(scored);
    if (!status) return check(in, out, aggregator->plugin->id, error);
    const char *why = aira__host_last_failure(host);
    return aira__fail(error, status, "aggregator %s: %s", aggregator->plugin->id,
                      *why ? why : "failed without a reason");
}

aira_status aira__aggregate(aira__registry *registry, const aira__instance *aggregator, const aira__candidates *in,
                            json_t **result, aira_error *error) {
    *result = NULL;
    if (in->n == 0 || in->n_layers == 0)
        return aira__fail(error, AIRA_E_FAILED, "nothing to aggregate: no candidate has a selection score");
    json_t *notes = json_array();
    aira_aggregate_out out = {.size = sizeof out, .core = notes, .note = keep_note};
    out.layers = calloc((size_t)in->n_layers, sizeof *out.layers);
    out.support = calloc((size_t)in->n_layers, sizeof *out.support);
    aira_status status = notes && out.layers && out.support ? combine(registry, aggregator, in, &out, error)
                                                            : no_memory(error);
    if (!status) {
        *result = describe(in, &out, aggregator->plugin->id, notes);
        if (!*result) status = no_memory(error);
    }
    free(out.layers);
    free(out.support);
    json_decref(notes);
    return status;
}
