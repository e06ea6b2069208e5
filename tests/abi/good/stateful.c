/* A good plugin with create and destroy, a service, and a failure that it explains. */
#include "aira/ext/process.h"
#include "aira/primitive.h"

typedef struct config {
    int64_t size;
    double rate;
    int32_t kind;
    const char *text;
} config;

typedef struct self {
    const aira_host *host;
    const config *config;
} self;

static aira_tensor *build(void *state, const aira_ops *ops, aira_graph *graph, aira_tensor *x) {
    const self *s = state;
    return ops->scale(graph, x, s->config->rate);
}

static aira_status create(const aira_host *host, const void *given, void **out) {
    const config *c = given;
    if (c->size == 13) return host->fail(host, AIRA_E_CONFIG, "size 13 is not possible here");
    if (host->service(host, AIRA_SERVICE_PROCESS) == NULL || host->service(host, "aira.nothing/1") != NULL)
        return host->fail(host, AIRA_E_UNSUPPORTED, "services are wrong");
    self *s = host->alloc(host, sizeof *s);
    if (s == NULL) return host->fail(host, AIRA_E_MEMORY, "out of memory");
    s->host = host;
    s->config = c;
    *out = s;
    return AIRA_OK;
}

static void destroy(void *state) {
    self *s = state;
    s->host->release(s->host, s);
}

static const char *const kinds[] = {"round", "square", NULL};
static const aira_field fields[] = {
    AIRA_F_INT(config, size, 3, 1, 100, "how large"),
    AIRA_F_REAL(config, rate, 0.5, 0, 1, "how much"),
    AIRA_F_CHOICE(config, kind, kinds, 1, "of what form"),
    AIRA_F_STR(config, text, "none", "what to say"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);
static const aira_primitive table = {.size = sizeof table, .token = "St", .build = build};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "stateful", "1.0.0", "keeps a state", &schema),
    .create = create, .destroy = destroy};
AIRA_MANIFEST("primitive", "stateful", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
