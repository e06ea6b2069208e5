/* plugins/agents/recorded/recorded.c - answers of an earlier run, so that a study can be repeated without an LLM.
 *
 * The host owns journals and therefore finds the answer (service aira.recording/1); this plugin only names the place.
 */
#include "aira/agent.h"
#include "aira/ext/recording.h"

typedef struct recorded {
    const char *path;
} recorded;

static const aira_field fields[] = {
    {"path", "run directory, journal, or JSONL file of {\"request\": hash, \"text\": answer}", AIRA_T_PATH,
     AIRA_REQUIRED, (uint32_t)offsetof(recorded, path), 0, 0, 0, 0, NULL, NULL},
};
static const aira_schema schema = AIRA_SCHEMA(recorded, fields);

typedef struct instance {
    const aira_host *host;
    const aira_recording_service *service;
    const char *path; /* the host's, valid until destroy */
} instance;

static aira_status create(const aira_host *host, const void *config, void **self) {
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "agent recorded: out of memory");
    made->host = host;
    made->path = ((const recorded *)config)->path;
    made->service = host->service(host, AIRA_SERVICE_RECORDING);
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    instance *made = self;
    /* Asked again here: the host may offer the service after it has created its plugins. */
    if (!made->service) made->service = made->host->service(made->host, AIRA_SERVICE_RECORDING);
    if (!made->service)
        return made->host->fail(made->host, AIRA_E_UNSUPPORTED,
                                "agent recorded: this host offers no " AIRA_SERVICE_RECORDING "; use `aira run`");
    return made->service->answer(made->service, made->path, request, sink);
}

static const aira_agent table = {sizeof(aira_agent), 0, complete};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("agent", aira_agent, &table, "recorded", "1.0.0", "Answers of an earlier run", &schema),
    .create = create, .destroy = destroy};
AIRA_MANIFEST("agent", "recorded", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
