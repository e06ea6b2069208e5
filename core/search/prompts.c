/* core/search/prompts.c - the folder of prompt templates: found, read, and tried on an example. See question.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/search/question.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

/* A search with a good node, a bad one and a duplicate, to ask about. */
static aira_status example_tree(aira__tree *tree, aira__memory *memory, aira_error *error) {
    const aira__outcome outcomes[] = {
        {.status = AIRA_NODE_GOOD, .hash = "0", .architecture = "mA M", .search_score = 0.5, .selection_score = 0.5},
        {.status = AIRA_NODE_GOOD, .hash = "1", .architecture = "2M", .search_score = 0.25, .selection_score = 0.5},
        {.status = AIRA_NODE_BUGGY, .hash = "2", .architecture = "2mA", .note = "a note", .cause = "nan"},
        {.status = AIRA_NODE_BUGGY, .note = "the answer holds no fenced block tagged yaml", .cause = "answer"}};
    aira_status status = AIRA_OK;
    for (uint32_t i = 0; status == AIRA_OK && i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (aira__tree_add(tree, i == 1 ? AIRA_OPERATOR_IMPROVE : AIRA_OPERATOR_DRAFT, i == 1 ? 0 : -1, -1) < 0)
            status = no_memory(error);
        if (status == AIRA_OK) status = aira__memory_keep(memory, i, "A plan.", "An analysis.", error);
        if (status == AIRA_OK) status = aira__tree_finish(tree, i, &outcomes[i], error);
        if (status == AIRA_OK) (void)aira__tree_commit(tree);
    }
    return status;
}

/* Every operator with every parent it may meet, its second attempt, and what is asked afterwards. */
static aira_status try_operator(const aira__asking *asking, aira__tree *tree, uint32_t code, aira_error *error) {
    const aira__outcome good = {.status = AIRA_NODE_GOOD, .hash = "3", .architecture = "mA M", .search_score = 0.125};
    aira_status status = AIRA_OK;
    for (int64_t parent = 0; status == AIRA_OK && parent < 4; parent++) {
        aira__request request = {0};
        int64_t idx = aira__tree_add(tree, code, code == AIRA_OPERATOR_DRAFT ? -1 : parent,
                                     code == AIRA_OPERATOR_CROSSOVER ? 1 : -1);
        if (idx < 0) return no_memory(error);
        uint32_t at = (uint32_t)idx;
        bool usual = code == AIRA_OPERATOR_DEBUG ? parent >= 2 : parent < 2; /* no scaffold improves a broken node */
        if (usual) {
            status = aira__request_first(asking, at, tree->committed, &request, error);
            if (status == AIRA_OK) status = aira__request_again(asking, "an answer", "a reason", &request, error);
            if (status == AIRA_OK)
                status = aira__request_analyse(asking, at, tree->committed, "3", "mA M", &request, error);
        }
        aira__request_release(&request);
        if (status == AIRA_OK) status = aira__tree_finish(tree, at, &good, error);
        if (status == AIRA_OK) (void)aira__tree_commit(tree);
    }
    return status;
}

static aira_status try_prompts(const json_t *prompts, bool design, aira_error *error) {
    aira__tree tree;
    aira__memory memory;
    aira__asking asking = {0};
    aira__tree_init(&tree, 1, 1, true);
    aira__memory_init(&memory, &tree);
    json_t *study = json_pack(
        "{s:O, s:[s, s], s:i, s:b, s:s, s:{s:s, s:{s:s, s:[s], s:{s:{s:s, s:i, s:i, s:i}}}, s:{s:{s:s}}, "
        "s:[{s:{s:s}}]}, "
        "s:{s:[{s:s, s:s, s:s}]}}",
        "prompts", prompts, "tokens", "mA", "M", "layers", 2, "higher_is_better", 1, "data", "an overview", "task",
        "task", "example", "candidate", "kind", design ? "design" : "compose", "pattern", "X", "configurable", "width",
        "sets", "backbone.width", "default", 64, "from", 32, "to", 128, "tokens", "mA", "use", "attention", "proxies",
        "dataset", "use", "mad", "literature", "notes", "topic", "attention", "title", "A note", "text", "Its text.");
    json_t *search = json_pack("{s:b, s:s, s:{s:s, s:s, s:s, s:s}}", "complexity", 1, "literature", "notes", "memory",
                               "draft", "simple", "improve", "simple", "debug", "ancestral", "crossover", "sibling");
    aira_status status = study && search ? example_tree(&tree, &memory, error) : no_memory(error);
    if (status == AIRA_OK) status = aira__asking_open(study, search, &tree, &memory, NULL, &asking, error);
    for (uint32_t code = 0; status == AIRA_OK && code <= AIRA_OPERATOR_CROSSOVER; code++)
        status = try_operator(&asking, &tree, code, error);
    aira__asking_release(&asking);
    aira__memory_release(&memory);
    aira__tree_release(&tree);
    json_decref(study);
    json_decref(search);
    return status;
}

aira_status aira__prompts_load(const char *folder, bool design, json_t **prompts, aira_error *error) {
    static const char *const names[] = {"system",    "draft",   "improve", "debug",
                                        "crossover", "analyse", "retry",   "example"};
    aira_status status = (*prompts = json_object()) ? AIRA_OK : no_memory(error);
    size_t n = sizeof names / sizeof names[0] - (design ? 0 : 1); /* the last is no template */
    for (size_t i = 0; status == AIRA_OK && i < n; i++) {
        char file[32], *text = NULL;
        snprintf(file, sizeof file, "%s.%s", names[i], i == 7 ? "c" : "md");
        char *path = aira__path_join(folder, file);
        status = path ? aira__file_read(path, (size_t)1 << 20, &text, NULL, error) : no_memory(error);
        if (status == AIRA_OK && json_object_set_new(*prompts, names[i], json_string(text)))
            status = aira__fail(error, AIRA_E_CONFIG, "%s: not valid UTF-8", path);
        free(path);
        free(text);
    }
    if (status == AIRA_OK) status = try_prompts(*prompts, design, error);
    if (status == AIRA_OK) return AIRA_OK;
    if (error) error->status = AIRA_E_CONFIG;
    (void)aira__fail_in(error, "prompts in %s", folder);
    json_decref(*prompts);
    *prompts = NULL;
    return AIRA_E_CONFIG;
}

char *aira__prompts_folder(bool design, aira_error *error) {
    char program[4096];
    if (aira__program_dir(program, sizeof program, error) != AIRA_OK) return NULL;
    char *path = aira__path_join(program,
                                 design ? "../share/aira/configs/prompts/design" : "../share/aira/configs/prompts");
    if (!path) {
        (void)aira__fail(error, AIRA_E_MEMORY, "out of memory");
    } else if (!aira__is_dir(path)) {
        (void)aira__fail(error, AIRA_E_IO, "%s: the prompt templates are not there; install aira whole", path);
        free(path);
        path = NULL;
    }
    return path;
}
