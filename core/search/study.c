/* core/search/study.c - see study.h. Every reader goes on after an error, so that all errors are told at once. */
#include "core/search/study.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "aira/ext/queue.h"
#include "core/base/json.h"
#include "core/compose/extrapolate.h"
#include "core/search/backend.h"
#include "core/search/budget.h"
#include "core/search/overview.h"
#include "core/search/price.h"
#include "core/search/question.h"
#include "core/search/tree.h"
#include "core/search/trust.h"
#include "core/train/task.h"

#define AT_ONCE 8 /* evaluations, on a device that has queues */

typedef struct reader {
    aira__registry *registry;
    aira__diagnostics *d;
    json_t *study; /* being built */
    bool check_data;
} reader;

static void put(reader *r, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value)) aira__diagnose(r->d, NULL, "out of memory");
}

/* The canonical object of a plugin in place, or NULL. */
static json_t *read_plugin(reader *r, const char *kind, aira__node *node, const char *const *skip) {
    aira__instance *instance = aira__instance_create(r->registry, kind, node, skip, r->d);
    json_t *canonical = instance ? json_deep_copy(instance->canonical) : NULL;
    aira__instance_destroy(instance);
    return canonical;
}

/* `use:` of a kind that the study leaves out, with all its defaults. */
static json_t *default_plugin(reader *r, const char *kind, const char *id) {
    aira__document *document = aira__document_parse(id, "default", r->d);
    json_t *canonical = document ? read_plugin(r, kind, aira__document_root(document), NULL) : NULL;
    aira__document_destroy(document);
    return canonical;
}

static void read_task_result(reader *r, aira__node *place, const aira__task *task) {
    if (task->layers < 1)
        aira__diagnose(r->d, place, "the task of a search must say how many layers a candidate has: candidate.layers");
    json_t *tokens = json_array();
    for (int i = 0; i < task->n_tokens; i++) json_array_append_new(tokens, json_string(task->token_names[i]));
    put(r, r->study, "tokens", tokens);
    put(r, r->study, "layers", json_integer(task->layers));
    put(r, r->study, "higher_is_better", json_boolean(task->higher_is_better));
    put(r, r->study, "metric", json_string(task->metric));
    put(r, r->study, "task", json_deep_copy(task->canonical));
    char *data = aira__data_overview(task);
    put(r, r->study, "data", data ? json_string(data) : NULL);
    free(data);
    put(r, r->study, "task_hash", json_string(task->hash));
    put(r, r->study, "scale", aira__score_scale_json(&task->scale));
    put(r, r->study, "limits",
        json_pack("{s:f, s:I}", "seconds", task->limit_seconds, "memory", (json_int_t)task->limit_memory));
}

static void read_task(reader *r, aira__node *node, const char *const *overrides, int n_overrides) {
    static const char *const accepted[] = {"file", NULL};
    if (!node) {
        aira__diagnose(r->d, NULL, "a study needs a task: `task: {file: task.yaml}`, or the task's keys in place");
        return;
    }
    if (node->kind != AIRA_NODE_MAP) {
        aira__diagnose(r->d, node, "task is a mapping: {file: task.yaml}, or the task's keys in place");
        aira__node_mark_used(node);
        return;
    }
    aira__node *file = aira__map_get(node, "file");
    aira__task *task = NULL;
    if (file) {
        aira__map_finish(node, accepted, r->d);
        char *path = aira__node_path(file, r->d);
        if (path) task = aira__task_load_file(r->registry, path, overrides, n_overrides, r->check_data, r->d);
        free(path);
    } else {
        task = aira__task_load(r->registry, node, r->check_data, r->d);
    }
    if (task) read_task_result(r, node, task);
    aira__task_destroy(task);
}

/* As read_plugin. *proposes: its searches have no agent. */
static json_t *read_scaffold(reader *r, aira__node *node, bool *proposes) {
    aira__instance *instance = aira__instance_create(r->registry, "scaffold", node, NULL, r->d);
    json_t *canonical = instance ? json_deep_copy(instance->canonical) : NULL;
    const aira_scaffold *table = instance ? instance->plugin->table : NULL;
    *proposes = table && (table->flags & AIRA_SCAFFOLD_PROPOSES);
    aira__instance_destroy(instance);
    return canonical;
}

/* Adds one element of study.searches per seed. */
static void add_searches(reader *r, aira__node *seeds, const json_t *search) {
    if (seeds && seeds->kind == AIRA_NODE_LIST && seeds->n_items == 0)
        aira__diagnose(r->d, seeds, "seeds is empty; give at least one, or leave the key out for [1]");
    int n = !seeds ? 1 : seeds->kind == AIRA_NODE_LIST ? seeds->n_items : 1;
    for (int i = 0; i < n; i++) {
        aira__node *item = !seeds ? NULL : seeds->kind == AIRA_NODE_LIST ? seeds->items[i] : seeds;
        json_t *one = json_deep_copy(search);
        put(r, one, "seed", json_integer(aira__node_int(item, 1, 0, INT64_MAX, r->d)));
        if (json_array_append_new(json_object_get(r->study, "searches"), one))
            aira__diagnose(r->d, NULL, "out of memory");
    }
}

/* memory: {draft: simple, improve: simple, debug: ancestral, crossover: none} */
static json_t *read_memory(reader *r, aira__node *node) {
    static const char *const accepted[] = {"draft", "improve", "debug", "crossover", NULL};
    static const char *const fallback[] = {"simple", "simple", "ancestral", "none"};
    json_t *memory = json_object();
    if (node && node->kind != AIRA_NODE_MAP) {
        aira__diagnose(r->d, node, "memory is a mapping: {draft: simple, improve: simple, debug: ancestral}");
        aira__node_mark_used(node);
        node = NULL;
    }
    for (int i = 0; accepted[i]; i++) {
        aira__node *item = node ? aira__map_get(node, accepted[i]) : NULL;
        const char *name = item ? aira__node_string(item, fallback[i], r->d) : fallback[i];
        if (aira__memory_find(name) < 0)
            aira__diagnose(r->d, item, "there is no memory `%s`; choose none, simple, ancestral or sibling", name);
        put(r, memory, accepted[i], json_string(name));
    }
    if (node) aira__map_finish(node, accepted, r->d);
    return memory;
}

/* What a search asks and shows beyond its scaffold: memory, cue, analysis. */
static void read_asking(reader *r, aira__node *node, json_t *search, bool proposes) {
    aira__node *analyse = aira__map_get(node, "analyse"), *analyst = aira__map_get(node, "analyst");
    bool wanted = aira__node_bool(analyse, false, r->d);
    put(r, search, "memory", read_memory(r, aira__map_get(node, "memory")));
    put(r, search, "complexity", json_boolean(aira__node_bool(aira__map_get(node, "complexity"), false, r->d)));
    put(r, search, "memory_tokens",
        json_integer(aira__node_int(aira__map_get(node, "memory_tokens"), AIRA__MEMORY_TOKENS, AIRA__MEMORY_TOKENS_MIN,
                                    AIRA__MEMORY_TOKENS_MAX, r->d)));
    json_t *canonical = analyst ? read_plugin(r, "agent", analyst, NULL) : NULL;
    aira__backend_check_key(canonical, analyst, r->check_data, r->d);
    if (wanted && analyst)
        aira__diagnose(r->d, analyst, "analyse: true asks the search's own agent; keep one of `analyse`, `analyst`");
    if (wanted && proposes)
        aira__diagnose(r->d, analyse, "this search has no agent to ask for analyses: name one, `analyst: {use: ...}`");
    put(r, search, "analyse", json_boolean(wanted));
    put(r, search, "analyst", canonical ? canonical : json_null());
}

static void read_search(reader *r, aira__node *node) {
    static const char *const accepted[] = {"agent",  "scaffold",   "seeds",         "parallel", "label",   "budget",
                                           "memory", "complexity", "memory_tokens", "analyse",  "analyst", NULL};
    if (node->kind != AIRA_NODE_MAP) {
        aira__diagnose(r->d, node, "a search is a mapping: {agent: {use: ...}, scaffold: {use: ...}, seeds: [1]}");
        return;
    }
    aira__node *agent_node = aira__map_get(node, "agent"), *scaffold_node = aira__map_get(node, "scaffold");
    bool proposes = false;
    if (!scaffold_node) aira__diagnose(r->d, node, "this search names no scaffold: add `scaffold: {use: greedy}`");
    json_t *agent = agent_node ? read_plugin(r, "agent", agent_node, NULL) : NULL;
    aira__backend_check_key(agent, agent_node, r->check_data, r->d);
    json_t *scaffold = scaffold_node ? read_scaffold(r, scaffold_node, &proposes) : NULL;
    const char *scaffold_name = aira__json_string(scaffold, "use", "?");
    if (agent_node && proposes)
        aira__diagnose(r->d, agent_node,
                       "scaffold %s proposes architectures by itself and asks no agent: take `agent` out",
                       scaffold_name);
    else if (!agent_node && !proposes && (scaffold || !scaffold_node))
        aira__diagnose(r->d, node, "this search names no agent: add `agent: {use: ...}`");
    aira__budget budget;
    aira__budget_read(aira__map_get(node, "budget"), &budget, r->d);
    int64_t parallel = aira__node_int(aira__map_get(node, "parallel"), 1, 1, 1024, r->d);
    aira__node *label_node = aira__map_get(node, "label");
    char made_up[128];
    snprintf(made_up, sizeof made_up, "%s%s%s", proposes ? "" : aira__json_string(agent, "use", "?"),
             proposes ? "" : "/", scaffold_name);
    json_t *search = json_pack("{s:O, s:O, s:I, s:s, s:o}", "agent", agent ? agent : json_null(), "scaffold",
                               scaffold ? scaffold : json_null(), "parallel", (json_int_t)parallel, "label",
                               label_node ? aira__node_string(label_node, "", r->d) : made_up, "budget",
                               aira__budget_json(&budget));
    read_asking(r, node, search, proposes);
    add_searches(r, aira__map_get(node, "seeds"), search);
    aira__map_finish(node, accepted, r->d);
    json_decref(search);
    json_decref(agent);
    json_decref(scaffold);
}

static void read_searches(reader *r, aira__node *node) {
    put(r, r->study, "searches", json_array());
    if (!node || node->kind != AIRA_NODE_LIST || node->n_items == 0) {
        aira__diagnose(r->d, node,
                       "a study needs searches: a list of {agent: {use: ...}, scaffold: {use: ...}, seeds: [1]}");
        if (node) aira__node_mark_used(node);
        return;
    }
    for (int i = 0; i < node->n_items; i++) read_search(r, node->items[i]);
}

json_t *aira__study_searches(aira__registry *registry, aira__node *list, aira__diagnostics *d) {
    reader r = {.registry = registry, .d = d, .study = json_object()};
    read_searches(&r, list);
    json_t *searches = json_incref(json_object_get(r.study, "searches"));
    json_decref(r.study);
    return searches;
}

/* Two searches of one agent, scaffold and seed would be the same search twice. */
static void check_distinct(reader *r, aira__node *place) {
    const json_t *searches = json_object_get(r->study, "searches");
    for (size_t i = 0; i < json_array_size(searches); i++)
        for (size_t k = 0; k < i; k++) {
            const json_t *a = json_array_get(searches, i), *b = json_array_get(searches, k);
            static const char *const keys[] = {"agent",      "scaffold",      "seed",    "parallel", "memory",
                                               "complexity", "memory_tokens", "analyse", "analyst"};
            bool same = true;
            for (size_t m = 0; m < sizeof keys / sizeof keys[0]; m++)
                same = same && json_equal(json_object_get(a, keys[m]), json_object_get(b, keys[m]));
            if (!same || !place) continue;
            aira__diagnose(r->d, place,
                           "searches %zu and %zu have the same agent, scaffold and seed (%lld); give them "
                           "different seeds",
                           k + 1, i + 1, (long long)aira__json_int(a, "seed", 0));
            return;
        }
}

/* Would this scaffold stop by itself within `most` nodes, if every candidate were good? (If none were, where it
   proposes itself: a model of made-up scores would take its time to fit.) */
static bool ends_alone(reader *r, const json_t *canonical, uint32_t most) {
    aira__instance *scaffold = NULL;
    aira__tree tree;
    aira__step step = {.kind = AIRA__STEP_ASK};
    aira_status status = aira__instance_create_json(r->registry, "scaffold", canonical, &scaffold, NULL);
    aira__tree_init(&tree, 1, 1, true);
    if (status == AIRA_OK)
        status = aira__tree_shape(&tree, (uint32_t)aira__json_int(r->study, "layers", 0), NULL,
                                  (uint32_t)json_array_size(json_object_get(r->study, "tokens")), NULL);
    while (status == AIRA_OK && step.kind != AIRA__STEP_STOP && tree.n < most) {
        char hash[32];
        snprintf(hash, sizeof hash, "%u", tree.n);
        aira__outcome good = {AIRA_NODE_GOOD, hash, NULL, NULL, NULL, tree.n, tree.n};
        status = aira__tree_step(&tree, scaffold->plugin->table, scaffold->self, -1, -1, &step, NULL);
        if (status != AIRA_OK) break;
        if (step.kind == AIRA__STEP_COMMIT) {
            if (tree.nodes[tree.committed].layers) good.status = AIRA_NODE_BUGGY;
            status = aira__tree_finish(&tree, tree.committed, &good, NULL);
            if (status == AIRA_OK) (void)aira__tree_commit(&tree);
        } else if (step.kind == AIRA__STEP_ASK) {
            (void)aira__tree_add(&tree, step.action.operator_code, step.action.parent, step.action.other_parent);
        } else if (step.kind == AIRA__STEP_PROPOSE) {
            int64_t idx = aira__tree_add(&tree, step.action.operator_code, step.action.parent,
                                         step.action.other_parent);
            status = idx < 0 ? AIRA_E_MEMORY : aira__tree_propose(&tree, (uint32_t)idx, step.action.layers, NULL);
        }
    }
    aira__tree_release(&tree);
    aira__instance_destroy(scaffold);
    return status != AIRA_OK || step.kind == AIRA__STEP_STOP; /* a scaffold that fails says so when it runs */
}

/* A study without any limit must end by its scaffolds alone: an endless one that asks a paid model is a bad surprise.
 */
static void check_end(reader *r, aira__node *place, const aira__budget *budget) {
    const json_t *search;
    size_t i;
    if (aira__budget_limits(budget)) return;
    json_array_foreach(json_object_get(r->study, "searches"), i, search) {
        const json_t *scaffold = json_object_get(search, "scaffold");
        aira__budget own;
        aira__budget_from_json(json_object_get(search, "budget"), &own);
        if (aira__budget_limits(&own) || !json_is_object(scaffold) || ends_alone(r, scaffold, 1000)) continue;
        aira__diagnose(r->d, place,
                       "scaffold %s does not stop by itself within 1000 nodes; say how far search %zu may go: "
                       "`budget: {candidates: 100}`",
                       aira__json_string(scaffold, "use", "?"), i + 1);
        return;
    }
}

/* Evaluations that a worker trains at once, where the study does not say: several on a device that has queues. */
static int64_t usual_at_once(const reader *r) {
    const char *use = aira__json_string(json_object_get(r->study, "device"), "use", "");
    const aira_plugin *plugin = aira__registry_find(r->registry, "device", use, NULL);
    bool queues = plugin && plugin->extension && plugin->extension(AIRA_EXT_DEVICE_QUEUE);
    return queues ? AT_ONCE : 1;
}

/* The device is known by now. A lease is long enough that lanes find something to do while others still train. */
static void read_executor(reader *r, aira__node *node) {
    static const char *const skip[] = {"batch", "at_once", NULL};
    bool own = node && node->kind == AIRA_NODE_MAP;
    int64_t at_once = own ? aira__node_int(aira__map_get(node, "at_once"), 0, 0, 256, r->d) : 0;
    if (at_once == 0) at_once = usual_at_once(r);
    int64_t batch = own ? aira__node_int(aira__map_get(node, "batch"), 0, 0, 100000, r->d) : 0;
    if (batch == 0) batch = at_once > 1 ? 4 * at_once : 1;
    json_t *canonical = node ? read_plugin(r, "executor", node, skip) : default_plugin(r, "executor", "local");
    if (canonical) put(r, r->study, "executor", canonical);
    put(r, r->study, "batch", json_integer(batch));
    put(r, r->study, "at_once", json_integer(at_once));
}

/* Labels and plugin ids of this study's searches. */
static bool names_a_search(const reader *r, const char *name) {
    const json_t *searches = json_object_get(r->study, "searches");
    for (size_t i = 0; i < json_array_size(searches); i++) {
        const json_t *search = json_array_get(searches, i), *agent = json_object_get(search, "agent");
        if (!strcmp(aira__json_string(search, "label", ""), name) ||
            !strcmp(aira__json_string(agent, "use", ""), name) || !strcmp(aira__json_string(agent, "model", ""), name))
            return true;
    }
    return false;
}

static void read_aggregate(reader *r, aira__node *node) {
    static const char *const skip[] = {"agents", NULL};
    put(r, r->study, "aggregate", json_array());
    if (!node) return;
    if (node->kind != AIRA_NODE_LIST) {
        aira__diagnose(r->d, node, "aggregate is a list: [{use: n0}, {use: n1}]");
        aira__node_mark_used(node);
        return;
    }
    for (int i = 0; i < node->n_items; i++) {
        aira__node *item = node->items[i];
        json_t *agents = json_array();
        aira__node *named = item->kind == AIRA_NODE_MAP ? aira__map_get(item, "agents") : NULL;
        for (int k = 0; named && k < named->n_items; k++) {
            const char *name = aira__node_string(named->items[k], "", r->d);
            if (!names_a_search(r, name))
                aira__diagnose(r->d, named->items[k], "no search of this study has the agent or label `%s`", name);
            json_array_append_new(agents, json_string(name));
        }
        json_t *canonical = read_plugin(r, "aggregator", item, skip);
        json_t *one = json_pack("{s:O, s:O}", "aggregator", canonical ? canonical : json_null(), "agents", agents);
        json_array_append_new(json_object_get(r->study, "aggregate"), one);
        json_decref(canonical);
        json_decref(agents);
    }
}

static void read_names(reader *r, aira__node *map, const char *key, bool sizes, json_t *out) {
    aira__node *list = aira__map_get(map, key);
    if (!list || list->kind != AIRA_NODE_LIST || list->n_items == 0) {
        aira__diagnose(r->d, list ? list : map, "extrapolate needs `%s: [%s]`", key, sizes ? "1B" : "stretch");
        return;
    }
    for (int i = 0; i < list->n_items; i++) {
        const char *name = aira__node_string(list->items[i], "", r->d);
        aira_error error = {0};
        const aira__size *size = NULL;
        aira__scale_rule rule;
        aira_status status = sizes ? aira__size_find(name, &size, &error) : aira__scale_rule_find(name, &rule, &error);
        if (status != AIRA_OK) aira__diagnose(r->d, list->items[i], "%s", error.text);
        json_array_append_new(out, json_string(name));
    }
}

static void read_extrapolate(reader *r, aira__node *node, aira__node *aggregate) {
    static const char *const accepted[] = {"to", "by", NULL};
    json_t *to = json_array(), *by = json_array();
    if (node && node->kind != AIRA_NODE_MAP) {
        aira__diagnose(r->d, node, "extrapolate is a mapping: {to: [350M, 1B], by: [stack, stretch]}");
        aira__node_mark_used(node);
    } else if (node) {
        read_names(r, node, "to", true, to);
        read_names(r, node, "by", false, by);
        aira__map_finish(node, accepted, r->d);
        if (!aggregate || aggregate->n_items == 0)
            aira__diagnose(r->d, node, "extrapolate works on aggregated architectures: add `aggregate: [{use: n0}]`");
    }
    put(r, r->study, "extrapolate", json_pack("{s:o, s:o}", "to", to, "by", by));
}

static void read_prompts(reader *r, aira__node *node, const char *shipped) {
    json_t *prompts = NULL;
    aira_error error = {0};
    char *path = node ? aira__node_path(node, r->d) : shipped ? strdup(shipped) : aira__prompts_folder(&error);
    if (node && !path) return;
    if (!path || aira__prompts_load(path, &prompts, &error) != AIRA_OK)
        aira__diagnose(r->d, node, "%s", error.text);
    else
        put(r, r->study, "prompts", prompts);
    free(path);
}

static void read_study(reader *r, aira__node *root, const char *const *task_overrides, int n_task_overrides,
                       const char *prompts_folder) {
    static const char *const accepted[] = {"study",    "task",      "searches",    "budget",  "device",
                                           "executor", "aggregate", "extrapolate", "prompts", "prices",
                                           "confirm",  "baselines", "final",       NULL};
    if (root->kind != AIRA_NODE_MAP) {
        aira__diagnose(r->d, root, "a study file is a mapping that begins with `study: name`");
        return;
    }
    aira__node *name = aira__map_get(root, "study"), *aggregate = aira__map_get(root, "aggregate");
    if (!name) aira__diagnose(r->d, root, "a study needs a name: `study: name`");
    const char *text = aira__node_string(name, "", r->d);
    if (name && (text[0] == 0 || text[0] == '.' || strlen(text) > 100 ||
                 strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != strlen(text)))
        aira__diagnose(r->d, name, "a study's name becomes a folder: letters, digits, - _ . and at most 100 of them");
    put(r, r->study, "study", json_string(text));
    read_task(r, aira__map_get(root, "task"), task_overrides, n_task_overrides);
    aira__node *searches = aira__map_get(root, "searches");
    read_searches(r, searches);
    check_distinct(r, searches);
    aira__budget budget;
    aira__budget_read(aira__map_get(root, "budget"), &budget, r->d);
    put(r, r->study, "budget", aira__budget_json(&budget));
    check_end(r, searches, &budget);
    put(r, r->study, "prices", aira__prices_read(aira__map_get(root, "prices"), r->d));
    aira__backend_check_prices(r->study, searches, r->d);
    aira__trust_read(root, r->study, r->d);
    aira__node *limits = aira__map_get(root, "budget");
    aira__trust_check_budgets(limits ? limits : searches, r->study, r->d);
    aira__node *device = aira__map_get(root, "device");
    json_t *canonical = device ? read_plugin(r, "device", device, NULL) : default_plugin(r, "device", "cpu");
    if (canonical) put(r, r->study, "device", canonical);
    read_executor(r, aira__map_get(root, "executor"));
    read_aggregate(r, aggregate);
    read_extrapolate(r, aira__map_get(root, "extrapolate"), aggregate);
    read_prompts(r, aira__map_get(root, "prompts"), prompts_folder);
    aira__map_finish(root, accepted, r->d);
}

/* True when the file's task is a mapping with `file`; errors are left to the real reading. */
static bool task_in_file(const char *path) {
    aira__diagnostics *quiet = aira__diagnostics_create();
    aira__document *document = quiet ? aira__document_load(path, NULL, 0, quiet) : NULL;
    aira__node *root = document ? aira__document_root(document) : NULL;
    aira__node *task = root && root->kind == AIRA_NODE_MAP ? aira__map_get(root, "task") : NULL;
    bool yes = task && task->kind == AIRA_NODE_MAP && aira__map_get(task, "file");
    aira__document_destroy(document);
    aira__diagnostics_destroy(quiet);
    return yes;
}

json_t *aira__study_load(aira__registry *registry, const char *path, const char *const *overrides, int n_overrides,
                         const char *prompts_folder, bool check_data, aira__diagnostics *diagnostics) {
    const char **mine = calloc((size_t)n_overrides * 2 + 1, sizeof *mine), **tasks = mine ? mine + n_overrides : NULL;
    reader r = {registry, diagnostics, json_object(), check_data};
    if (!mine || !r.study) {
        aira__diagnose(diagnostics, NULL, "out of memory");
        free(mine);
        json_decref(r.study);
        return NULL;
    }
    int n_mine = 0, n_tasks = 0, before = aira__diagnostics_count(diagnostics);
    bool in_file = task_in_file(path);
    for (int i = 0; i < n_overrides; i++) {
        bool inner = in_file && !strncmp(overrides[i], "task.", 5) && strncmp(overrides[i], "task.file=", 10);
        if (inner)
            tasks[n_tasks++] = overrides[i] + 5;
        else
            mine[n_mine++] = overrides[i];
    }
    aira__document *document = aira__document_load(path, mine, n_mine, diagnostics);
    if (document) read_study(&r, aira__document_root(document), tasks, n_tasks, prompts_folder);
    aira__document_destroy(document);
    free(mine);
    if (document && aira__diagnostics_count(diagnostics) == before) return r.study;
    json_decref(r.study);
    return NULL;
}
