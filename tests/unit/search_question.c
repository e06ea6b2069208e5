/* tests/unit/search_question.c - questions: what is shown, that it survives the journal, and what a retry adds. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/search/question.h"

typedef struct scene {
    json_t *prompts, *task, *tokens;
    aira__asking asking;
    aira__tree tree;
} scene;

static scene make_scene(void) {
    scene s;
    aira_error error = {0};
    char *folder = aira__prompts_folder(&error);
    cr_assert(folder, "%s", error.text);
    cr_assert_eq(aira__prompts_load(folder, &s.prompts, &error), AIRA_OK, "%s", error.text);
    free(folder);
    s.task = json_pack("{s:s, s:{s:{s:s}, s:{s:s}}, s:[{s:{s:s, s:s}}]}", "task", "toy", "tokens", "mA", "use",
                       "attention", "M", "use", "mlp", "proxies", "dataset", "use", "mad", "task", "memorization");
    s.tokens = json_pack("[s, s]", "mA", "M");
    s.asking = (aira__asking){s.prompts, s.task, s.tokens, 2, true};
    aira__tree_init(&s.tree, 5, 3, true);
    const aira__outcome outcomes[] = {{AIRA_NODE_GOOD, "a", "mA M", NULL, NULL, 0.25, 0.2},
                                      {AIRA_NODE_BUGGY, "b", "2M", "the loss is not finite", "nan", NAN, NAN},
                                      {AIRA_NODE_GOOD, "c", "2mA", NULL, NULL, 0.75, 0.9}};
    for (uint32_t i = 0; i < 3; i++) {
        aira__tree_add(&s.tree, AIRA_OPERATOR_DRAFT, -1, -1);
        aira__tree_finish(&s.tree, i, &outcomes[i], &error);
    }
    aira__tree_commit(&s.tree);
    aira__tree_commit(&s.tree);
    return s;
}

static void release_scene(scene *s) {
    json_decref(s->prompts);
    json_decref(s->task);
    json_decref(s->tokens);
    aira__tree_release(&s->tree);
}

Test(question, shows_what_is_logically_known) {
    scene s = make_scene();
    aira_error error = {0};
    json_t *question = NULL;
    aira__request r;
    int64_t idx = aira__tree_add(&s.tree, AIRA_OPERATOR_DEBUG, 1, -1);
    cr_assert_eq(aira__question_make(&s.asking, &s.tree, (uint32_t)idx, &question, &error), AIRA_OK, "%s", error.text);
    char *text = aira__json_canonical(question);
    json_t *again = aira__json_parse(text, strlen(text), "journal", &error);
    cr_assert_eq(aira__request_make(again, &r, &error), AIRA_OK, "%s", error.text);
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
    cr_assert_not(strstr(q->messages[1].content, "0.75"));
    char hash[65];
    cr_assert_eq(aira__json_hash(question, hash, &error), AIRA_OK);
    cr_assert_str_eq(hash, q->request_hash, "the hash does not survive the journal");
    aira__request_release(&r);
    json_decref(again);
    json_decref(question);
    free(text);
    release_scene(&s);
}

Test(question, retry_adds_answer_and_reason) {
    scene s = make_scene();
    aira_error error = {0};
    json_t *question = NULL, *again = NULL, *silent = NULL;
    int64_t idx = aira__tree_add(&s.tree, AIRA_OPERATOR_IMPROVE, 0, -1);
    cr_assert_eq(aira__question_make(&s.asking, &s.tree, (uint32_t)idx, &question, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__question_retry(&s.asking, question, 5, "my answer", "it has 3 layers", &again, &error), AIRA_OK,
                 "%s", error.text);
    cr_assert_eq(json_array_size(json_object_get(again, "messages")), 4);
    cr_assert_str_eq(aira__json_string(json_array_get(json_object_get(again, "messages"), 2), "content", ""),
                     "my answer");
    cr_assert(strstr(aira__json_string(json_array_get(json_object_get(again, "messages"), 3), "content", ""),
                     "it has 3 layers"));
    cr_assert_eq(aira__json_int(json_object_get(again, "state"), "attempt", 0), 1);
    cr_assert_str_neq(aira__json_string(again, "seed", ""), aira__json_string(question, "seed", ""));
    cr_assert_eq(aira__question_retry(&s.asking, question, 5, NULL, NULL, &silent, &error), AIRA_OK);
    cr_assert_eq(json_array_size(json_object_get(silent, "messages")), 2,
                 "an agent that failed is asked the same again");
    json_decref(question);
    json_decref(again);
    json_decref(silent);
    release_scene(&s);
}
