/* plugins/agents/mutate/mutate.c - an offline agent: random drafts, small random changes of the parent.
 *
 * It needs no network and costs nothing, so it is the baseline that an LLM must beat, and what the quickstart uses.
 *   draft, debug: every layer uniform over the alphabet;
 *   improve: one of: one other token, two other tokens, two positions swapped, the sequence rotated by one;
 *   crossover: a prefix of one parent, the rest of the other;
 *   analyse: a sentence, because chance learns nothing.
 * Architectures that the request lists are avoided for `tries` proposals, which go farther with time: after every 16 in
 * vain one more layer is replaced. So a parent whose neighbours are all known still has new children. Then the last one
 * is given all the same. Chance is request->seed alone, so the answer is a pure function of the request.
 */
#include <stdio.h>
#include <string.h>

#include "aira/agent.h"
#include "aira/rng.h"

#define MAX_LAYERS 4096u
#define FARTHER 16 /* tries in vain before one more layer is replaced */

typedef struct mutate {
    int64_t tries;
} mutate;

static const aira_field fields[] = {
    AIRA_F_INT(mutate, tries, 64, 1, 100000, "proposals drawn to avoid an architecture seen before"),
};
static const aira_schema schema = AIRA_SCHEMA(mutate, fields);

/* Reads run-length notation as the host writes it ("2mA M") into token indices; 0 when it is anything else. */
static int read_layers(const aira_agent_request *request, const char *text, uint16_t *layers) {
    uint32_t n = 0;
    if (!text) return 0;
    for (;;) {
        while (*text == ' ') text++;
        if (*text == 0) return n == request->n_layers;
        uint32_t count = 0;
        while (*text >= '0' && *text <= '9' && count <= MAX_LAYERS) count = count * 10 + (uint32_t)(*text++ - '0');
        if (count == 0) count = 1;
        size_t length = strcspn(text, " ");
        uint32_t token = 0;
        while (token < request->n_tokens &&
               (strlen(request->tokens[token]) != length || memcmp(request->tokens[token], text, length)))
            token++;
        if (token == request->n_tokens || n + count > request->n_layers) return 0;
        while (count--) layers[n++] = (uint16_t)token;
        text += length;
    }
}

/* layers as run-length notation; the caller's buffer holds it because tokens are short. 0 when it would not fit. */
static int write_layers(const aira_agent_request *request, const uint16_t *layers, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < request->n_layers;) {
        uint32_t run = 1;
        while (i + run < request->n_layers && layers[i + run] == layers[i]) run++;
        const char *space = i ? " " : "", *token = request->tokens[layers[i]];
        int n = run == 1 ? snprintf(text + used, size - used, "%s%s", space, token)
                         : snprintf(text + used, size - used, "%s%u%s", space, (unsigned)run, token);
        if (n < 0 || (size_t)n >= size - used) return 0;
        used += (size_t)n;
        i += run;
    }
    return 1;
}

static const aira_seen_node *node_of(const aira_agent_request *request, int64_t idx) {
    for (uint32_t i = 0; i < request->n_nodes; i++)
        if (request->nodes[i].idx == idx) return &request->nodes[i];
    return NULL;
}

static void draw_fresh(const aira_agent_request *request, aira_rng *rng, uint16_t *layers) {
    for (uint32_t i = 0; i < request->n_layers; i++) layers[i] = (uint16_t)aira_rng_below(rng, request->n_tokens);
}

static void change_one(const aira_agent_request *request, aira_rng *rng, uint16_t *layers) {
    uint32_t at = aira_rng_below(rng, request->n_layers);
    if (request->n_tokens > 1)
        layers[at] = (uint16_t)((layers[at] + 1 + aira_rng_below(rng, request->n_tokens - 1)) % request->n_tokens);
}

/* Changes a copy of the parent in place; what was done, for the prose. */
static const char *vary(const aira_agent_request *request, aira_rng *rng, uint16_t *layers) {
    uint32_t n = request->n_layers;
    switch (aira_rng_below(rng, 4)) {
    case 0:
        change_one(request, rng, layers);
        return "one layer replaced";
    case 1:
        change_one(request, rng, layers);
        change_one(request, rng, layers);
        return "two layers replaced";
    case 2: {
        uint32_t a = aira_rng_below(rng, n), b = aira_rng_below(rng, n);
        uint16_t kept = layers[a];
        layers[a] = layers[b];
        layers[b] = kept;
        return "two layers swapped";
    }
    default: {
        uint16_t last = layers[n - 1];
        memmove(layers + 1, layers, (n - 1) * sizeof *layers);
        layers[0] = last;
        return "the sequence rotated by one layer";
    }
    }
}

/* One proposal. Falls back to a fresh draw where the operator's parents are missing. */
static const char *propose(const aira_agent_request *request, aira_rng *rng, uint16_t *layers, uint16_t *other) {
    const aira_seen_node *parent = node_of(request, request->parent);
    int has_parent = parent && read_layers(request, parent->architecture, layers);
    if (has_parent && !strcmp(request->operator_name, "improve")) return vary(request, rng, layers);
    if (has_parent && !strcmp(request->operator_name, "crossover")) {
        const aira_seen_node *second = node_of(request, request->other_parent);
        if (second && read_layers(request, second->architecture, other)) {
            uint32_t cut = 1 + aira_rng_below(rng, request->n_layers > 1 ? request->n_layers - 1 : 1);
            for (uint32_t i = cut; i < request->n_layers; i++) layers[i] = other[i];
            return "the beginning of one parent joined to the end of the other";
        }
        return vary(request, rng, layers);
    }
    draw_fresh(request, rng, layers);
    return "a fresh random sequence";
}

/* Requests hold run-length notation as write_layers makes it, so texts are compared: a long search has many. The first
   proposal is looked for among all nodes; only where it was known is a table of them worth making. */
typedef struct known {
    const aira_agent_request *request;
    uint32_t *slots; /* 1 + index of a node; 0: free. NULL: no table */
    uint32_t mask;
} known;

static uint32_t slot_of(const known *k, const char *notation) {
    uint64_t hash = aira_key(0, notation);
    uint32_t at = (uint32_t)hash & k->mask;
    while (k->slots[at] && strcmp(k->request->nodes[k->slots[at] - 1].architecture, notation)) at = (at + 1) & k->mask;
    return at;
}

/* Out of memory is no failure: then all nodes are looked through every time. */
static void make_table(known *k, const aira_host *host) {
    uint32_t n = k->request->n_nodes, room = 64;
    while (room < 2 * n && room < 1u << 30) room *= 2;
    k->slots = host->alloc(host, (uint64_t)room * sizeof *k->slots);
    k->mask = room - 1;
    for (uint32_t i = 0; k->slots && i < n; i++) {
        const char *architecture = k->request->nodes[i].architecture;
        if (architecture) k->slots[slot_of(k, architecture)] = i + 1;
    }
}

static int seen(const known *k, const char *notation) {
    if (k->slots) return k->slots[slot_of(k, notation)] != 0;
    for (uint32_t i = 0; i < k->request->n_nodes; i++) {
        const char *architecture = k->request->nodes[i].architecture;
        if (architecture && !strcmp(architecture, notation)) return 1;
    }
    return 0;
}

typedef struct instance {
    mutate config;
    const aira_host *host;
} instance;

static aira_status create(const aira_host *host, const void *config, void **self) {
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "agent mutate: out of memory");
    made->config = *(const mutate *)config;
    made->host = host;
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

/* An answer, which costs nothing. */
static aira_status say(const aira_sink *sink, const char *text) {
    aira_status status = sink->text(sink, text, strlen(text));
    if (status == AIRA_OK && AIRA_HAS(aira_sink, sink, usage)) {
        aira_usage usage = {.size = sizeof usage};
        sink->usage(sink, &usage);
    }
    return status;
}

static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    const instance *made = self;
    const aira_host *host = made->host;
    uint32_t n = request->n_layers;
    if (n == 0 || n > MAX_LAYERS || request->n_tokens == 0)
        return host->fail(host, AIRA_E_UNSUPPORTED,
                          "agent mutate: it proposes sequences of tokens, and this task asks for none");
    if (!strcmp(request->operator_name, "analyse")) return say(sink, "Chance does not look at results.\n");
    size_t size = (size_t)n * 72 + 256;
    uint16_t *layers = host->alloc(host, 2 * (uint64_t)n * sizeof *layers);
    char *notation = host->alloc(host, size), *text = host->alloc(host, size);
    aira_status status = AIRA_OK;
    if (!layers || !notation || !text) status = host->fail(host, AIRA_E_MEMORY, "agent mutate: out of memory");
    aira_rng rng = aira_rng_make(aira_key(request->seed, "mutate"), 0);
    const char *what = "";
    known all = {request, NULL, 0};
    for (int64_t i = 0; status == AIRA_OK && i < made->config.tries; i++) {
        what = propose(request, &rng, layers, layers + n);
        for (int64_t k = 0; k < i / FARTHER; k++) change_one(request, &rng, layers);
        if (!write_layers(request, layers, notation, size - 128))
            status = host->fail(host, AIRA_E_UNSUPPORTED, "agent mutate: the architecture is too long to write");
        if (status != AIRA_OK || !seen(&all, notation)) break;
        if (i == 0) make_table(&all, host);
    }
    if (status == AIRA_OK) {
        snprintf(text, size, "I propose %s.\n\n```yaml\nlayers: \"%s\"\n```\n", what, notation);
        status = say(sink, text);
    }
    host->release(host, layers);
    host->release(host, notation);
    host->release(host, text);
    host->release(host, all.slots);
    return status;
}

static const aira_agent table = {sizeof(aira_agent), 0, complete};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("agent", aira_agent, &table, "mutate", "1.0.0",
                                                          "Offline: random drafts, random small changes of the parent",
                                                          &schema),
                                   .create = create, .destroy = destroy};
AIRA_MANIFEST("agent", "mutate", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
