/* plugins/agents/mutate/test_mutate.c - proposals are valid, new, reproducible, and near their parent. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/agent.h"
#include "core/plugin/registry.h"
#include "core/search/answer.h"

static const char *const tokens[] = {"mA", "M", "Mb"};

typedef struct told {
    char text[1024];
} told;

static aira_status hear(const aira_sink *sink, const char *bytes, uint64_t n) {
    told *t = sink->core;
    strncat(t->text, bytes, (size_t)n);
    return AIRA_OK;
}
static void ignore_usage(const aira_sink *sink, const aira_usage *usage) {
    (void)sink;
    (void)usage;
}
static int32_t never(const aira_sink *sink) {
    (void)sink;
    return 0;
}

static aira__registry *registry;
static aira__instance *agent;

static void open_agent(void) {
    aira_error error = {0};
    json_t *canonical = json_pack("{s:s}", "use", "mutate");
    cr_assert_eq(aira__registry_create(NULL, &registry, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__instance_create_json(registry, "agent", canonical, &agent, &error), AIRA_OK, "%s", error.text);
    json_decref(canonical);
}
static void close_agent(void) {
    aira__instance_destroy(agent);
    aira__registry_destroy(registry);
}
TestSuite(mutate, .init = open_agent, .fini = close_agent);

/* Asks and parses; raw may be NULL. */
static void propose(const aira_agent_request *request, uint16_t layers[4], char raw[1024]) {
    told t = {""};
    aira_sink sink = {.size = sizeof sink, .core = &t, .text = hear, .usage = ignore_usage, .cancelled = never};
    aira_error error = {0};
    const aira_agent *table = agent->plugin->table;
    cr_assert_eq(table->complete(agent->self, request, &sink), AIRA_OK);
    cr_assert_eq(aira__answer_parse(t.text, tokens, 3, 4, layers, &error), AIRA_OK, "%s: %s", t.text, error.text);
    if (raw) strcpy(raw, t.text);
}

static aira_agent_request request_for(const char *operator_name, uint64_t seed) {
    return (aira_agent_request){.size = sizeof(aira_agent_request),
                                .operator_name = operator_name,
                                .state_json = "{}",
                                .seed = seed,
                                .n_layers = 4,
                                .n_tokens = 3,
                                .tokens = tokens,
                                .parent = -1,
                                .other_parent = -1,
                                .request_hash = ""};
}

Test(mutate, is_a_function_of_the_seed) {
    uint16_t layers[4];
    char a[1024], b[1024], c[1024];
    aira_agent_request one = request_for("draft", 1), two = request_for("draft", 2);
    propose(&one, layers, a);
    propose(&one, layers, b);
    propose(&two, layers, c);
    cr_assert_str_eq(a, b);
    cr_assert_str_neq(a, c);
}

Test(mutate, drafts_uniformly) {
    int counts[4][3] = {{0}};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        uint16_t layers[4];
        aira_agent_request request = request_for("draft", seed);
        propose(&request, layers, NULL);
        for (int i = 0; i < 4; i++) counts[i][layers[i]]++;
    }
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 3; k++)
            cr_assert(abs(counts[i][k] - 1000) < 130, "layer %d token %d: %d", i, k, counts[i][k]);
}

Test(mutate, improves_near_the_parent_and_never_repeats) {
    const aira_seen_node nodes[] = {{0, -1, "draft", "2mA M Mb", "good", 0.5, NULL},
                                    {1, -1, "draft", "4M", "good", 0.1, NULL},
                                    {2, -1, "draft", NULL, "pending", 0, NULL}};
    static const uint16_t parent[] = {0, 0, 1, 2}, rotated[] = {2, 0, 0, 1};
    for (uint64_t seed = 0; seed < 500; seed++) {
        uint16_t layers[4];
        aira_agent_request request = request_for("improve", seed);
        request.nodes = nodes;
        request.n_nodes = 3;
        request.parent = 0;
        propose(&request, layers, NULL);
        int changed = 0;
        for (int i = 0; i < 4; i++) changed += layers[i] != parent[i];
        cr_assert(changed > 0, "the parent again");
        cr_assert(changed <= 2 || !memcmp(layers, rotated, sizeof layers), "%d layers changed", changed);
    }
}

Test(mutate, gives_something_when_all_is_seen) {
    char all[81][16];
    aira_seen_node nodes[81];
    for (int i = 0; i < 81; i++) {
        snprintf(all[i], sizeof all[i], "%s %s %s %s", tokens[i % 3], tokens[i / 3 % 3], tokens[i / 9 % 3],
                 tokens[i / 27]);
        nodes[i] = (aira_seen_node){i, -1, "draft", all[i], "good", 0, NULL};
    }
    uint16_t layers[4];
    aira_agent_request request = request_for("draft", 1);
    request.nodes = nodes;
    request.n_nodes = 81;
    propose(&request, layers, NULL);
}

Test(mutate, crosses_a_prefix_with_the_rest_of_another) {
    const aira_seen_node nodes[] = {{0, -1, "draft", "4mA", "good", 0.5, NULL},
                                    {1, -1, "draft", "4M", "good", 0.1, NULL}};
    int cuts[5] = {0};
    for (uint64_t seed = 0; seed < 600; seed++) {
        uint16_t layers[4];
        aira_agent_request request = request_for("crossover", seed);
        request.nodes = nodes;
        request.n_nodes = 2;
        request.parent = 0;
        request.other_parent = 1;
        propose(&request, layers, NULL);
        int cut = 0;
        while (cut < 4 && layers[cut] == 0) cut++;
        for (int i = cut; i < 4; i++) cr_assert_eq(layers[i], 1, "seed %d", (int)seed);
        cr_assert(cut >= 1 && cut <= 3, "both parents give something");
        cuts[cut]++;
    }
    for (int cut = 1; cut <= 3; cut++) cr_assert_gt(cuts[cut], 140, "cut %d: %d times", cut, cuts[cut]);
}

Test(mutate, analyses_in_a_sentence) {
    told t = {""};
    aira_sink sink = {.size = sizeof sink, .core = &t, .text = hear, .usage = ignore_usage, .cancelled = never};
    aira_agent_request request = request_for("analyse", 1);
    const aira_agent *table = agent->plugin->table;
    cr_assert_eq(table->complete(agent->self, &request, &sink), AIRA_OK);
    cr_assert(t.text[0] && !strstr(t.text, "layers"));
}

Test(mutate, goes_farther_when_the_neighbours_are_known) {
    char all[81][16];
    aira_seen_node nodes[81];
    int n = 0;
    for (int i = 0; i < 81; i++) { /* all but those of 2 2 . . */
        int digits[] = {i / 27, i / 9 % 3, i / 3 % 3, i % 3};
        if (digits[0] == 2 && digits[1] == 2 && digits[2] != 0) continue;
        char *at = all[n];
        for (int k = 0; k < 4;) {
            int run = 1;
            while (k + run < 4 && digits[k + run] == digits[k]) run++;
            at += run > 1 ? sprintf(at, "%s%d%s", k ? " " : "", run, tokens[digits[k]])
                          : sprintf(at, "%s%s", k ? " " : "", tokens[digits[k]]);
            k += run;
        }
        nodes[n] = (aira_seen_node){n, -1, "draft", all[n], "good", 0, NULL};
        n++;
    }
    int fresh = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        uint16_t layers[4];
        aira_agent_request request = request_for("improve", seed);
        request.nodes = nodes;
        request.n_nodes = (uint32_t)n;
        request.parent = 0; /* 4mA: everything unknown differs in three layers or four */
        propose(&request, layers, NULL);
        fresh += layers[0] == 2 && layers[1] == 2 && layers[2] != 0;
    }
    cr_assert_gt(fresh, 25, "%d of 50 were new", fresh);
}
