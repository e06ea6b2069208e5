/* plugins/agents/list/list.c - an agent that answers with architectures from a list: node i gets the i-th.
 *
 * For architectures that were found elsewhere: a published one, those of another run (`aira rescore`), a grid. With
 * scaffold one_shot and as many drafts as there are entries, every one is trained once.
 */
#include <stdio.h>
#include <string.h>

#include "aira/agent.h"

typedef struct list {
    aira_list architectures;
} list;

static const aira_field fields[] = {
    {"architectures", "architectures in run-length form, in the order of nodes", AIRA_T_LIST | AIRA_T_STR,
     AIRA_REQUIRED, (uint32_t)offsetof(list, architectures), 0, 0, 0, 0, NULL, NULL},
};
static const aira_schema schema = AIRA_SCHEMA(list, fields);

typedef struct instance {
    const aira_host *host;
    list config;
} instance;

static aira_status create(const aira_host *host, const void *config, void **self) {
    const list *given = config;
    if (given->architectures.n == 0)
        return host->fail(host, AIRA_E_CONFIG, "agent list: `architectures` is empty; give at least one");
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "agent list: out of memory");
    made->host = host;
    made->config = *given;
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    const instance *me = self;
    static const char before[] = "From the list.\n\n```yaml\nlayers: \"", after[] = "\"\n```\n";
    const aira_usage usage = {.size = sizeof usage}; /* it costs nothing */
    const char *const *architectures = me->config.architectures.items;
    if (AIRA_HAS(aira_sink, sink, usage)) sink->usage(sink, &usage);
    if (request->node < 0 || (uint64_t)request->node >= me->config.architectures.n) {
        char sentence[120];
        snprintf(sentence, sizeof sentence,
                 "agent list: its %llu architectures are used up; ask for no more nodes than that",
                 (unsigned long long)me->config.architectures.n);
        return me->host->fail(me->host, AIRA_E_FAILED, sentence);
    }
    const char *architecture = architectures[request->node];
    aira_status status = sink->text(sink, before, sizeof before - 1);
    if (status == AIRA_OK) status = sink->text(sink, architecture, strlen(architecture));
    return status == AIRA_OK ? sink->text(sink, after, sizeof after - 1) : status;
}

static const aira_agent table = {sizeof(aira_agent), 0, complete};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("agent", aira_agent, &table, "list", "1.0.0", "Architectures from a list", &schema),
    .create = create, .destroy = destroy};
AIRA_MANIFEST("agent", "list", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
