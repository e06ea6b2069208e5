/* tests/unit/search_question.c - questions: what is shown, within which limits, and that they can be made again. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/search/question.h"

typedef struct scene {
    json_t *prompts, *study, *search;
    aira__asking asking;
    aira__tree tree;
    aira__memory memory;
} scene;

static void add(scene *s, uint32_t code, int64_t parent, const aira__outcome *outcome, const char *plan) {
    aira_error error = {0};
    int64_t idx = aira__tree_add(&s->tree, code, parent, -1);
    cr_assert_eq(aira__memory_keep(&s->memory, (uint32_t)idx, plan, NULL, &error), AIRA_OK);
    if (outcome) cr_assert_eq(aira__tree_finish(&s->tree, (uint32_t)idx, outcome, &error), AIRA_OK, "%s", error.text);
}

/* search: canonical keys of the search. Three drafts; the third has ended but is not committed. */
static void make_scene(scene *s, const char *search) {
    aira_error error = {0};
    *s = (scene){0};
    char *folder = aira__prompts_folder(false, &error);
    cr_assert(folder, "%s", error.text);
    cr_assert_eq(aira__prompts_load(folder, false, &s->prompts, &error), AIRA_OK, "%s", error.text);
    free(folder);
    s->study = json_pack("{s:O, s:[s, s], s:i, s:b, s:s, s:{s:s, s:{s:{s:s}, s:{s:s}}, s:[{s:{s:s, s:s}}]}}", "prompts",
                         s->prompts, "tokens", "mA", "M", "layers", 2, "higher_is_better", 1, "data", "THE DATA",
                         "task", "task", "toy", "tokens", "mA", "use", "attention", "M", "use", "mlp", "proxies",
                         "dataset", "use", "mad", "task", "memorization");
    s->search = json_loads(search, 0, NULL);
    cr_assert(s->study && s->search);
    aira__tree_init(&s->tree, 5, 3, true);
    aira__memory_init(&s->memory, &s->tree);
    cr_assert_eq(aira__asking_open(s->study, s->search, &s->tree, &s->memory, NULL, &s->asking, &error), AIRA_OK);
    const aira__outcome outcomes[] = {{AIRA_NODE_GOOD, "a", "mA M", NULL, NULL, 0.25, 0.2},
                                      {AIRA_NODE_BUGGY, "b", "2M", "the loss is not finite", "nan", NAN, NAN},
                                      {AIRA_NODE_GOOD, "c", "2mA", NULL, NULL, 0.75, 0.9}};
    for (uint32_t i = 0; i < 3; i++) add(s, AIRA_OPERATOR_DRAFT, -1, &outcomes[i], i ? "another plan" : "first plan");
    aira__tree_commit(&s->tree);
    aira__tree_commit(&s->tree);
}

static void release_scene(scene *s) {
    aira__asking_release(&s->asking);
    aira__memory_release(&s->memory);
    aira__tree_release(&s->tree);
    json_decref(s->study);
    json_decref(s->search);
    json_decref(s->prompts);
}

static void first(scene *s, uint32_t idx, uint32_t view, aira__request *r) {
    aira_error error = {0};
    cr_assert_eq(aira__request_first(&s->asking, idx, view, r, &error), AIRA_OK, "%s", error.text);
}

Test(question, shows_what_is_logically_known) {
    scene s;
    aira__request r = {0};
    make_scene(&s, "{}");
    add(&s, AIRA_OPERATOR_DEBUG, 1, NULL, NULL);
    first(&s, 3, 2, &r);
    const aira_agent_request *q = &r.request;
    cr_assert_str_eq(q->operator_name, "debug");
    cr_assert(q->n_layers == 2 && q->n_tokens == 2 && q->node == 3 && q->parent == 1 && q->other_parent == -1 &&
              q->attempt == 0 && q->higher_is_better && q->n_nodes == 3 && q->n_messages == 2);
    cr_assert_str_eq(q->tokens[0], "mA");
    cr_assert_str_eq(q->messages[0].role, "system");
    cr_assert_str_eq(q->messages[1].role, "user");
    cr_assert(strstr(q->messages[1].content, "the loss is not finite"), "%s", q->messages[1].content);
    cr_assert(strstr(q->messages[0].content, "layers: \"mA M\""), "%s", q->messages[0].content);
    cr_assert_eq(q->nodes[0].score, 0.25);
    cr_assert_str_eq(q->nodes[1].status, "buggy");
    cr_assert(isnan(q->nodes[1].score));
    cr_assert_str_eq(q->nodes[2].status, "pending", "its result is there but not committed");
    cr_assert(q->nodes[2].architecture == NULL && isnan(q->nodes[2].score));
    cr_assert_eq(q->seed, aira__request_seed(5, 3, 0));
    cr_assert_not(strstr(q->messages[1].content, "0.75") || strstr(q->state_json, "0.75"));
    aira__request_release(&r);
    release_scene(&s);
}

/* The hash is that of the canonical JSON, and the question can be made again when the tree has grown. */
Test(question, can_be_made_again) {
    scene s;
    aira__request r = {0}, again = {0};
    aira_error error = {0};
    make_scene(&s, "{\"complexity\": true}");
    add(&s, AIRA_OPERATOR_IMPROVE, 0, NULL, NULL);
    first(&s, 3, 2, &r);
    char seed[32], hash[65];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)r.request.seed);
    json_t *state = aira__json_parse(r.state, strlen(r.state), "state", &error);
    cr_assert(state, "%s", error.text);
    json_t *whole = json_pack("{s:O, s:s, s:s, s:O}", "messages", r.messages, "operator", "improve", "seed", seed,
                              "state", state);
    cr_assert_eq(aira__json_hash(whole, hash, &error), AIRA_OK);
    cr_assert_str_eq(hash, r.hash, "the state is not canonical, or the hash is of something else");
    aira__tree_commit(&s.tree);
    cr_assert_eq(aira__request_restore(&s.asking, 3, 2, 0, json_incref(r.messages), &again, &error), AIRA_OK);
    cr_assert_str_eq(again.hash, r.hash, "a restored question is another one");
    first(&s, 3, 2, &again);
    cr_assert_str_eq(again.hash, r.hash, "a question that is rendered later is another one");
    first(&s, 3, 3, &again);
    cr_assert_str_neq(again.hash, r.hash, "what it sees does not count");
    json_decref(whole);
    json_decref(state);
    aira__request_release(&again);
    aira__request_release(&r);
    release_scene(&s);
}

Test(question, retry_adds_answer_and_reason) {
    scene s;
    aira__request r = {0};
    aira_error error = {0};
    make_scene(&s, "{}");
    add(&s, AIRA_OPERATOR_IMPROVE, 0, NULL, NULL);
    first(&s, 3, 2, &r);
    uint64_t seed = r.request.seed;
    cr_assert_eq(aira__request_again(&s.asking, NULL, NULL, &r, &error), AIRA_OK, "%s", error.text);
    cr_assert(r.request.n_messages == 2 && r.request.attempt == 1, "an agent that failed is asked the same again");
    cr_assert_eq(aira__request_again(&s.asking, "my answer", "it has 3 layers", &r, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(r.request.n_messages, 4);
    cr_assert_str_eq(r.request.messages[2].role, "assistant");
    cr_assert_str_eq(r.request.messages[2].content, "my answer");
    cr_assert(strstr(r.request.messages[3].content, "it has 3 layers"));
    cr_assert(r.request.attempt == 2 && strstr(r.state, "\"attempt\":2") && r.request.seed != seed);
    aira__request_release(&r);
    release_scene(&s);
}

static bool remembers(scene *s, aira__memory_kind kind, uint32_t idx, int64_t parent, const char *wanted) {
    int64_t omitted = 0;
    char text[256] = "";
    json_t *list = aira__memory_recall(&s->memory, kind, idx, s->tree.committed, parent, 4000, &omitted), *entry;
    size_t i;
    json_array_foreach(list, i, entry)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%lld ", (long long)aira__json_int(entry, "idx", -1));
    json_decref(list);
    return !strcmp(text, wanted) && omitted == 0;
}

Test(question, memories) {
    scene s;
    make_scene(&s, "{}");
    aira__tree_commit(&s.tree);
    const aira__outcome bad = {.status = AIRA_NODE_BUGGY, .hash = "d", .architecture = "M mA", .note = "bad"},
                        twin = {AIRA_NODE_GOOD, "c", "2mA", NULL, NULL, 0.75, 0.9};
    add(&s, AIRA_OPERATOR_IMPROVE, 2, &bad, NULL);  /* 3 */
    add(&s, AIRA_OPERATOR_DEBUG, 3, &bad, NULL);    /* 4 */
    add(&s, AIRA_OPERATOR_DEBUG, 4, &bad, NULL);    /* 5 */
    add(&s, AIRA_OPERATOR_IMPROVE, 2, &twin, NULL); /* 6: a duplicate */
    for (int i = 0; i < 4; i++) aira__tree_commit(&s.tree);
    cr_expect(remembers(&s, AIRA__MEMORY_NONE, 7, 2, ""));
    cr_expect(remembers(&s, AIRA__MEMORY_SIMPLE, 7, 2, "0 2 "));
    cr_expect(remembers(&s, AIRA__MEMORY_SIBLING, 7, 2, "3 6 "));
    cr_expect(remembers(&s, AIRA__MEMORY_SIBLING, 7, -1, "0 1 2 "));
    cr_expect(remembers(&s, AIRA__MEMORY_ANCESTRAL, 7, 5, "2 3 4 "));
    cr_expect(remembers(&s, AIRA__MEMORY_ANCESTRAL, 7, 2, ""), "a working parent is told of elsewhere");
    release_scene(&s);
}

/* 2,000 nodes: the limit holds, the ten best and the latest are there, in order, and the rest is counted. */
Test(question, memory_is_capped) {
    scene s;
    make_scene(&s, "{\"memory_tokens\": 400}");
    aira__tree_commit(&s.tree);
    for (int i = 3; i < 2000; i++) {
        char hash[16];
        snprintf(hash, sizeof hash, "n%d", i);
        aira__outcome outcome = {AIRA_NODE_GOOD, hash, "mA M", NULL, NULL, i % 7 / 100.0 + (i == 500), 0};
        add(&s, AIRA_OPERATOR_IMPROVE, 2, &outcome, i == 500 ? "the winning plan" : "some plan or other");
        aira__tree_commit(&s.tree);
    }
    add(&s, AIRA_OPERATOR_IMPROVE, 500, NULL, NULL);
    aira__request r = {0};
    first(&s, 2000, 2000, &r);
    const char *prompt = r.request.messages[1].content;
    cr_assert(strlen(prompt) < 400 * 4 + 3000, "%zu bytes", strlen(prompt));
    cr_assert(strlen(r.state) < 400 * 4 + 1200, "%zu bytes", strlen(r.state));
    cr_assert(strstr(prompt, "Node 500:") && strstr(prompt, "Node 1999:") && strstr(prompt, "Node 2:"), "%s", prompt);
    cr_assert(strstr(prompt, "Node 2:") < strstr(prompt, "Node 500:"));
    cr_assert(strstr(prompt, "more are left out"));
    cr_assert(strstr(r.state, "\"nodes_total\":2000"));
    cr_assert_eq(r.request.n_nodes, 2000, "structured nodes are all there");
    cr_assert_eq(r.request.nodes[1234].idx, 1234);
    json_t *values = aira__prompt_values(&s.asking, 2000, 2000, NULL, NULL);
    cr_assert_eq(json_array_size(json_object_get(values, "memory")) +
                     (size_t)aira__json_int(values, "memory_omitted", 0),
                 1999, "good nodes are shown or counted");
    json_decref(values);
    aira__request_release(&r);
    release_scene(&s);
}

Test(question, complexity_cue) {
    scene s;
    aira__request r = {0};
    make_scene(&s, "{\"complexity\": true}");
    static const char *const cues[] = {"be simple.", "be simple.", "be normal.", "be normal.", "be complex."};
    for (uint32_t i = 0; i < 5; i++) {
        add(&s, AIRA_OPERATOR_IMPROVE, 0, NULL, NULL);
        first(&s, 3 + i, 2, &r);
        cr_expect(strstr(r.request.messages[1].content, cues[i]), "%u: %s", i, r.request.messages[1].content);
    }
    aira__request_release(&r);
    release_scene(&s);
}

/* Servers reuse what two prompts have in common from the start: all operators begin alike. */
Test(question, stable_parts_come_first) {
    scene s;
    aira__request draft = {0}, improve = {0};
    make_scene(&s, "{}");
    aira__tree_commit(&s.tree);
    add(&s, AIRA_OPERATOR_DRAFT, -1, NULL, NULL);
    add(&s, AIRA_OPERATOR_IMPROVE, 0, NULL, NULL);
    first(&s, 3, 3, &draft);
    first(&s, 4, 3, &improve);
    const char *a = draft.request.messages[1].content, *b = improve.request.messages[1].content;
    size_t same = 0;
    while (a[same] && a[same] == b[same]) same++;
    const char *now = strstr(a, "# Now");
    cr_assert(now && (size_t)(now - a) <= same, "%s", a);
    cr_assert(strstr(a, "THE DATA") < strstr(a, "first plan") && strstr(a, "first plan") < now, "%s", a);
    cr_assert_str_eq(draft.request.messages[0].content, improve.request.messages[0].content);
    aira__request_release(&draft);
    aira__request_release(&improve);
    release_scene(&s);
}

static void evaluation(aira__journal *j, const char *hash, const char *error_text, double score) {
    aira_error error = {0};
    aira__journal_evaluation e = {.hash = hash,
                                  .task_hash = "",
                                  .seed = 5,
                                  .purpose = "search",
                                  .status = error_text ? "failed" : "ok",
                                  .cause = error_text ? "nan" : NULL,
                                  .error = error_text,
                                  .search_score = score,
                                  .selection_score = score,
                                  .test_score = NAN,
                                  .curve = "[{\"dataset\":\"mad\",\"curve\":[[0,2.5,null],[1,2,0.25],[2,1,0.5]]}]",
                                  .parameters = -1,
                                  .flops = NAN,
                                  .seconds = 1};
    cr_assert_eq(aira__journal_add_evaluation(j, &e, NULL, &error), AIRA_OK, "%s", error.text);
}

/* Curve and output of a parent, the middle of long output left out; the question about an outcome. */
Test(question, shows_how_it_trained) {
    scene s;
    aira__request r = {0};
    aira_error error = {0};
    aira__journal *j = NULL;
    char folder[] = "/tmp/aira-question-XXXXXX", path[64], *output = malloc(9001);
    cr_assert(mkdtemp(folder) && output);
    snprintf(path, sizeof path, "%s/journal.db", folder);
    aira__journal_options options = {.create = true};
    cr_assert_eq(aira__journal_open(path, &options, &j, &error), AIRA_OK, "%s", error.text);
    for (int i = 0; i < 9000; i++) output[i] = (char)('a' + i / 1000);
    output[9000] = 0;
    evaluation(j, "b", output, NAN);
    evaluation(j, "c", NULL, 0.75);
    make_scene(&s, "{}");
    s.asking.journal = j;
    add(&s, AIRA_OPERATOR_DEBUG, 1, NULL, NULL);
    first(&s, 3, 2, &r);
    const char *text = r.request.messages[1].content;
    cr_assert(strstr(text, "- mad: loss 2.5 at step 0, 2 (score 0.25) at step 1, 1 (score 0.5) at step 2"), "%s", text);
    cr_assert(strstr(text, "[... 4000 characters left out ...]"), "%s", text);
    cr_assert(strstr(text, "aaaa") && strstr(text, "iiii") && !strstr(text, "ddd") && !strstr(text, "fff"), "%s", text);
    cr_assert_eq(aira__request_analyse(&s.asking, 2, 1, "c", "2mA", &r, &error), AIRA_OK, "%s", error.text);
    text = r.request.messages[1].content;
    cr_assert_str_eq(r.request.operator_name, "analyse");
    cr_assert(strstr(text, "It scored 0.75") && strstr(text, "`2mA`") && strstr(text, "another plan"), "%s", text);
    cr_assert(strstr(r.state, "\"result\":{") && strstr(r.state, "\"operator\":\"analyse\""), "%s", r.state);
    aira__request_release(&r);
    release_scene(&s);
    aira__journal_close(j);
    (void)aira__remove_tree(folder, NULL);
    free(output);
}

Test(question, documented_variables) {
    scene s;
    make_scene(&s, "{}");
    add(&s, AIRA_OPERATOR_IMPROVE, 0, NULL, NULL);
    json_t *values = aira__prompt_values(&s.asking, 3, 2, NULL, NULL);
    const char *source = getenv("AIRA_SOURCE_DIR");
    char path[1024], *page = NULL;
    snprintf(path, sizeof path, "%s/docs/prompts.md", source ? source : ".");
    cr_assert_eq(aira__file_read(path, (size_t)1 << 20, &page, NULL, NULL), AIRA_OK, "%s", path);
    size_t n = 0;
    for (; aira__prompt_variables[n]; n++) {
        const char *name = aira__prompt_variables[n];
        char quoted[80];
        cr_expect(json_object_get(values, name), "%s is listed and not defined", name);
        snprintf(quoted, sizeof quoted, "`%s`", name);
        cr_expect(strstr(page, quoted), "docs/prompts.md does not name %s", name);
    }
    cr_expect_eq(n, json_object_size(values), "a variable is defined and not listed");
    free(page);
    json_decref(values);
    release_scene(&s);
}

Test(question, shorten_keeps_characters_whole) {
    char *text = aira__shorten("\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", 3, 3);
    cr_assert_str_eq(text, "\xc3\xa4\n[... 4 characters left out ...]\n\xc3\xa4", "%s", text);
    free(text);
    text = aira__shorten("short", 3, 2);
    cr_assert_str_eq(text, "short");
    free(text);
}
