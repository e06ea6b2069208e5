/* plugins/agents/templates/test_templates.c - mechanisms are whole sources, new, reproducible, and near their parents.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/agent.h"
#include "core/plugin/registry.h"
#include "core/search/answer.h"
#include "core/search/design.h"

typedef struct told {
    char text[16384];
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
    json_t *canonical = json_pack("{s:s}", "use", "templates");
    cr_assert_eq(aira__registry_create(NULL, &registry, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__instance_create_json(registry, "agent", canonical, &agent, &error), AIRA_OK, "%s", error.text);
    json_decref(canonical);
}
static void close_agent(void) {
    aira__instance_destroy(agent);
    aira__registry_destroy(registry);
}
TestSuite(templates, .init = open_agent, .fini = close_agent);

static aira_agent_request request_for(const char *operator_name, uint64_t seed) {
    return (aira_agent_request){.size = sizeof(aira_agent_request),
                                .operator_name = operator_name,
                                .state_json = "{}",
                                .seed = seed,
                                .parent = -1,
                                .other_parent = -1,
                                .request_hash = "",
                                .kind = "design"};
}

/* The source that the agent answers with, malloc'ed. */
static char *ask(const aira_agent_request *request) {
    told *t = calloc(1, sizeof *t);
    aira_sink sink = {.size = sizeof sink, .core = t, .text = hear, .usage = ignore_usage, .cancelled = never};
    aira_error error = {0};
    const aira_agent *table = agent->plugin->table;
    char *source = NULL;
    json_t *options = NULL;
    cr_assert_eq(table->complete(agent->self, request, &sink), AIRA_OK);
    cr_assert_eq(aira__design_parse(t->text, NULL, NULL, NULL, &source, &options, &error), AIRA_OK, "%s: %s",
                 error.text, t->text);
    json_decref(options);
    free(t);
    return source;
}

/* How many of the choices of two sources differ, counting those that only one has. */
static int distance(const char *a, const char *b) {
    char words[2][400];
    const char *sources[] = {a, b};
    int n = 0;
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(sources[i], "/* genes:");
        cr_assert_not_null(at);
        snprintf(words[i], sizeof words[i], "%.*s ", (int)(strstr(at, "*/") - at - 9), at + 9);
    }
    for (int i = 0; i < 2; i++) {
        char copy[400];
        strcpy(copy, words[i]);
        for (char *save = NULL, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
            char with[64];
            snprintf(with, sizeof with, " %s ", word);
            n += !strstr(words[1 - i], with);
        }
    }
    return n;
}

Test(templates, answers_follow_from_the_seed) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        aira_agent_request request = request_for("draft", seed), other = request_for("draft", seed + 1000);
        char *a = ask(&request), *b = ask(&request), *c = ask(&other);
        cr_assert_str_eq(a, b);
        cr_assert(strstr(a, "AIRA_MANIFEST(\"primitive\""));
        free(a);
        free(b);
        free(c);
    }
}

Test(templates, an_improvement_is_near_its_parent_and_new) {
    int nearest = 100;
    for (uint64_t seed = 0; seed < 40; seed++) {
        aira_agent_request draft = request_for("draft", seed), improve = request_for("improve", seed);
        char *parent = ask(&draft), name[49], node[80];
        improve.parent = 0;
        improve.parent_source = parent;
        aira__mechanism_name(parent, name);
        snprintf(node, sizeof node, "%s-12345678", name);
        aira_seen_node seen = {
            .idx = 0, .parent = -1, .operator_name = "draft", .architecture = node, .status = "good"};
        improve.n_nodes = 1;
        improve.nodes = &seen;
        char *child = ask(&improve);
        int d = distance(parent, child);
        cr_assert(d > 0, "the parent itself: %s", name);
        if (d < nearest) nearest = d;
        free(parent);
        free(child);
    }
    cr_assert_eq(nearest, 2, "one choice changed counts on both sides");
}

Test(templates, a_crossover_takes_from_both) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        aira_agent_request a = request_for("draft", seed), b = request_for("draft", seed + 500);
        aira_agent_request both = request_for("crossover", seed);
        char *first = ask(&a), *second = ask(&b);
        both.parent_source = first;
        both.other_parent_source = second;
        char *child = ask(&both);
        cr_assert(distance(child, first) + distance(child, second) <= 2 * distance(first, second) + 8);
        free(first);
        free(second);
        free(child);
    }
}

Test(templates, what_it_cannot_do_is_said) {
    aira_agent_request request = request_for("draft", 1);
    told t = {""};
    aira_sink sink = {.size = sizeof sink, .core = &t, .text = hear, .usage = ignore_usage, .cancelled = never};
    const aira_agent *table = agent->plugin->table;
    request.kind = "compose";
    cr_assert_eq(table->complete(agent->self, &request, &sink), AIRA_E_UNSUPPORTED);
    request = request_for("improve", 1); /* of somebody else's source: a fresh one */
    request.parent_source = "int x;\n";
    free(ask(&request));
}
