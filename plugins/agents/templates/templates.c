/* plugins/agents/templates/templates.c - an offline agent for designs: mechanisms of a small grammar.
 *
 * What mutate is to architectures: it needs no network and costs nothing, so it makes the search for sources testable
 * and is the baseline that an LLM must beat. A mechanism is a choice of mixer, feature map, decay, heads, window, local
 * part, gate and norm (genes.c), written as C; the choices stand in a comment of the source, where the next question
 * finds them.
 *   draft: every choice at random;        improve: one choice of the parent changed;
 *   debug: two of them changed;           crossover: each choice from one of the parents;
 *   analyse: a sentence, because chance learns nothing.
 * What the search has seen (its primitive's id begins an earlier node's name) is avoided for `tries` draws, each eighth
 * of which goes one choice farther. Chance is request->seed alone, so the answer is a pure function of the request.
 */
#include <stdio.h>
#include <string.h>

#include "aira/agent.h"
#include "genes.h"

#define FARTHER 8
#define ROOM 12288 /* of an answer; the longest source has about 5,000 bytes */

typedef struct templates {
    int64_t tries;
} templates;

static const aira_field fields[] = {
    AIRA_F_INT(templates, tries, 64, 1, 100000, "draws to avoid a mechanism seen before"),
};
static const aira_schema schema = AIRA_SCHEMA(templates, fields);

typedef struct instance {
    templates config;
    const aira_host *host;
} instance;

static aira_status create(const aira_host *host, const void *config, void **self) {
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "agent templates: out of memory");
    made->config = *(const templates *)config;
    made->host = host;
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

/* A node is named by its primitive's id, a hyphen and eight digits of its hash. */
static int seen(const aira_agent_request *request, const char *id) {
    size_t n = strlen(id);
    for (uint32_t i = 0; i < request->n_nodes; i++) {
        const char *name = request->nodes[i].architecture;
        if (name && !strncmp(name, id, n) && name[n] == '-') return 1;
    }
    return 0;
}

/* Falls back to a fresh draw where the parents are missing or somebody else's. */
static const char *propose(const aira_agent_request *request, aira_rng *rng, genes *g) {
    genes other;
    const char *operator_name = request->operator_name;
    if (!strcmp(operator_name, "draft") || !genes_read(g, request->parent_source)) {
        genes_draw(g, rng);
        return "a fresh mechanism";
    }
    if (!strcmp(operator_name, "crossover") && genes_read(&other, request->other_parent_source)) {
        genes_cross(g, &other, rng);
        return "choices of both parents";
    }
    genes_change(g, rng);
    if (strcmp(operator_name, "debug")) return "the parent with one choice changed";
    genes_change(g, rng);
    return "the parent with two choices changed";
}

static aira_status say(const aira_sink *sink, const char *text) {
    aira_status status = sink->text(sink, text, strlen(text));
    if (status == AIRA_OK && AIRA_HAS(aira_sink, sink, usage)) {
        aira_usage usage = {.size = sizeof usage}; /* it costs nothing */
        sink->usage(sink, &usage);
    }
    return status;
}

static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    const instance *made = self;
    const aira_host *host = made->host;
    if (request->size < sizeof *request)
        return host->fail(host, AIRA_E_UNSUPPORTED, "agent templates: this host asks for no sources");
    if (strcmp(request->kind, "design"))
        return host->fail(
            host, AIRA_E_UNSUPPORTED,
            "agent templates: it writes mechanisms, and this task asks for architectures; mutate proposes "
            "those");
    if (!strcmp(request->operator_name, "analyse")) return say(sink, "Chance does not look at results.\n");
    genes g;
    char id[64];
    const char *what = "";
    aira_rng rng = aira_rng_make(aira_key(request->seed, "templates"), 0);
    for (int64_t i = 0; i < made->config.tries; i++) {
        what = propose(request, &rng, &g);
        for (int64_t k = 0; k < i / FARTHER; k++) genes_change(&g, &rng);
        genes_name(&g, id, sizeof id);
        if (!seen(request, id)) break;
    }
    char *text = host->alloc(host, ROOM);
    if (!text) return host->fail(host, AIRA_E_MEMORY, "agent templates: out of memory");
    int n = snprintf(text, ROOM, "I propose %s: %s.\n\n```c\n", what, id);
    aira_status status = AIRA_OK;
    if (!genes_source(&g, text + n, ROOM - (size_t)n - 8))
        status = host->fail(host, AIRA_E_FAILED, "agent templates: the source is longer than its room");
    if (status == AIRA_OK) status = say(sink, strcat(text, "```\n"));
    host->release(host, text);
    return status;
}

static const aira_agent table = {sizeof(aira_agent), 0, complete};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("agent", aira_agent, &table, "templates", "1.0.0",
                                                          "Offline: mechanisms of a small grammar, for design tasks",
                                                          &schema),
                                   .create = create, .destroy = destroy};
AIRA_MANIFEST("agent", "templates", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
