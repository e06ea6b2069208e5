/* core/search/run.c - creating a run directory, opening it, and the loop. See run.h. */
#include "core/search/run.h"
#include "core/sandbox/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/search/lock.h"
#include "core/search/run_internal.h"
#include "core/train/task.h"

#define IDLE_SECONDS 0.01  /* pause of the loop when nothing has come in */
#define BUDGET_SECONDS 0.1 /* between looks at what has been used up, where nothing has arrived */

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

bool aira__run_interrupted(const aira__run *run) { return run->options->interrupts && *run->options->interrupts; }

double aira__run_seconds(const aira__run *run) { return run->seconds_before + (aira__now() - run->started); }

/* ---- creating ---- */

static aira_status set_json(aira__journal *j, const char *key, const json_t *value, aira_error *error) {
    char *text = value ? aira__json_canonical(value) : NULL;
    aira_status status = text ? aira__journal_set_study(j, key, text, error) : no_memory(error);
    free(text);
    return status;
}

static aira_status write_study(aira__journal *j, const aira__registry *registry, const json_t *study,
                               aira_error *error) {
    char study_hash[65] = "", prompts_hash[65] = "", program[65] = "", created[32];
    aira_status status = aira__json_hash(study, study_hash, error);
    if (status == AIRA_OK) status = aira__json_hash(json_object_get(study, "prompts"), prompts_hash, error);
    if (status == AIRA_OK) status = aira__sha256_file("/proc/self/exe", program, error);
    if (status != AIRA_OK) return status;
    json_t *plugins = aira__run_plugins(registry);
    json_t *hashes = json_pack("{s:s, s:s, s:s, s:s}", "study", study_hash, "task",
                               aira__json_string(study, "task_hash", ""), "prompts", prompts_hash, "program", program);
    snprintf(created, sizeof created, "%.3f", aira__wall());
    const struct {
        const char *key;
        const json_t *value;
    } objects[] = {{"config", study},
                   {"task", json_object_get(study, "task")},
                   {"tokens", json_object_get(study, "tokens")},
                   {"hashes", hashes},
                   {"plugins", plugins}};
    const struct {
        const char *key, *value;
    } texts[] = {{"name", aira__json_string(study, "study", "")},
                 {"task_hash", aira__json_string(study, "task_hash", "")},
                 {"metric", aira__json_string(study, "metric", "score")},
                 {"higher_is_better", json_is_true(json_object_get(study, "higher_is_better")) ? "true" : "false"},
                 {"program", program},
                 {"created", created},
                 {"seconds", "0"},
                 {"state", "running"}};
    for (size_t i = 0; status == AIRA_OK && i < sizeof objects / sizeof objects[0]; i++)
        status = set_json(j, objects[i].key, objects[i].value, error);
    for (size_t i = 0; status == AIRA_OK && i < sizeof texts / sizeof texts[0]; i++)
        status = aira__journal_set_study(j, texts[i].key, texts[i].value, error);
    json_decref(hashes);
    json_decref(plugins);
    return status;
}

static aira_status write_searches(aira__journal *j, const json_t *study, aira_error *error) {
    const json_t *search;
    size_t i;
    aira_status status = AIRA_OK;
    json_array_foreach(json_object_get(study, "searches"), i, search) {
        char *agent = aira__json_canonical(json_object_get(search, "agent"));
        char *scaffold = aira__json_canonical(json_object_get(search, "scaffold"));
        aira__journal_search row = {.id = (int64_t)i + 1,
                                    .agent = agent,
                                    .scaffold = scaffold,
                                    .seed = (uint64_t)aira__json_int(search, "seed", 1),
                                    .task_hash = aira__json_string(study, "task_hash", ""),
                                    .parallel = aira__json_int(search, "parallel", 1),
                                    .label = aira__json_string(search, "label", ""),
                                    .state = "running"};
        if (status == AIRA_OK) status = agent && scaffold ? aira__journal_add_search(j, &row, error) : no_memory(error);
        free(agent);
        free(scaffold);
    }
    return status;
}

/* The task as a file of its own, with its tokens in their order, for `aira evaluate --task`. */
static aira_status write_task(const char *dir, const json_t *study, aira_error *error) {
    char *path = aira__path_join(dir, "task.yaml"), *text = aira__task_text(json_object_get(study, "task"));
    aira_status status = path && text ? aira__file_write_atomic(path, text, strlen(text), error) : no_memory(error);
    free(path);
    free(text);
    return status;
}

aira_status aira__run_create(aira__registry *registry, const json_t *study, const char *dir, aira_error *error) {
    char *parent = aira__path_folder(dir), *path = aira__path_join(dir, "journal.db");
    char *json_path = aira__path_join(dir, "study.json");
    aira__journal *j = NULL;
    aira__journal_options options = {.create = true};
    aira_status status = parent && path && json_path ? aira__make_dirs(parent, error) : no_memory(error);
    if (status == AIRA_OK && mkdir(dir, 0777) != 0)
        status = errno == EEXIST
                     ? aira__fail(error, AIRA_E_CONFIG,
                                  "%s: exists already; continue it with `aira resume %s`, or choose "
                                  "another folder with --run-dir",
                                  dir, dir)
                     : aira__fail(error, AIRA_E_IO, "%s: cannot be created (%s); choose another folder with --run-dir",
                                  dir, strerror(errno));
    if (status == AIRA_OK) status = aira__journal_open(path, &options, &j, error);
    if (status == AIRA_OK) status = aira__journal_begin(j, error);
    if (status == AIRA_OK) {
        status = write_study(j, registry, study, error);
        if (status == AIRA_OK) status = write_searches(j, study, error);
        if (status == AIRA_OK)
            status = aira__journal_commit(j, error);
        else
            aira__journal_rollback(j);
    }
    if (status == AIRA_OK) status = aira__json_write_file(json_path, study, error);
    if (status == AIRA_OK) status = write_task(dir, study, error);
    aira__journal_close(j);
    free(parent);
    free(path);
    free(json_path);
    return status;
}

/* ---- opening ---- */

static aira_status open_search(aira__run *run, int i, aira_error *error) {
    const json_t *config = json_array_get(json_object_get(run->study, "searches"), (size_t)i);
    aira__search *s = &run->searches[i];
    aira__registry *registry = run->options->registry;
    const json_t *confirm = json_object_get(run->study, "confirm");
    aira__budget_from_json(json_object_get(config, "budget"), &s->own);
    s->id = i + 1;
    s->label = strdup(aira__json_string(config, "label", ""));
    s->own_candidates = s->own.candidates;
    s->own_evaluations = s->own.evaluations;
    s->moved = true;
    s->quota_candidates = s->quota_evaluations = -1;
    aira__tree_init(&s->tree, (uint64_t)aira__json_int(config, "seed", 1),
                    (uint32_t)aira__json_int(config, "parallel", 1), run->asking.higher_is_better);
    aira__tree_confirm(&s->tree, (uint32_t)aira__json_int(confirm, "seeds", 1), aira__json_real(confirm, "alpha", 0.05),
                       (uint32_t)aira__json_int(confirm, "searches", run->n_studied));
    s->slots = calloc(s->tree.parallel, sizeof *s->slots);
    if (!s->label || !s->slots) return no_memory(error);
    const json_t *agent = json_object_get(config, "agent"); /* null where the scaffold proposes */
    aira_status status = aira__tree_shape(&s->tree, run->asking.design ? 0 : (uint32_t)run->asking.n_layers,
                                          run->tokens, (uint32_t)run->n_tokens, error);
    if (status == AIRA_OK)
        status = aira__instance_create_json(registry, "scaffold", json_object_get(config, "scaffold"), &s->scaffold,
                                            error);
    aira__memory_init(&s->memory, &s->tree);
    if (status == AIRA_OK)
        status = aira__asking_open(run->study, config, &s->tree, &s->memory, run->journal, &s->asking, error);
    const json_t *analyst = json_object_get(config, "analyst");
    for (uint32_t k = 0; status == AIRA_OK && k < s->tree.parallel; k++) {
        s->slots[k].search = s;
        if (!json_is_null(agent))
            status = aira__instance_create_json(registry, "agent", agent, &s->slots[k].agent, error);
        if (status == AIRA_OK && json_is_object(analyst))
            status = aira__instance_create_json(registry, "agent", analyst, &s->slots[k].analyst, error);
        else if (json_is_true(json_object_get(config, "analyse")))
            s->slots[k].analyst = s->slots[k].agent;
    }
    return status;
}

/* Everything that execution needs to know comes from the journal. */
static aira_status open_study(aira__run *run, aira_error *error) {
    char *config = aira__journal_get_study(run->journal, "config", error);
    if (!config)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "%s: the journal holds no study; the run was ended before it began: start "
                          "it again in another folder",
                          run->dir);
    run->study = aira__json_parse(config, strlen(config), "the journal's study", error);
    free(config);
    if (!run->study) return AIRA_E_CORRUPT;
    char *seconds = aira__journal_get_study(run->journal, "seconds", NULL);
    run->seconds_before = seconds ? strtod(seconds, NULL) : 0;
    free(seconds);
    const json_t *tokens = json_object_get(run->study, "tokens"), *token;
    size_t i;
    run->n_tokens = (int)json_array_size(tokens);
    run->tokens = calloc((size_t)run->n_tokens + 1, sizeof *run->tokens);
    if (!run->tokens) return no_memory(error);
    json_array_foreach(tokens, i, token) run->tokens[i] = json_string_value(token);
    aira__budget_from_json(json_object_get(run->study, "budget"), &run->budget);
    return aira__asking_open(run->study, NULL, NULL, NULL, NULL, &run->asking, error);
}

static aira_status open_queue(aira__run *run, aira_error *error) {
    char program[4096];
    const char *worker = run->options->worker;
    aira_status status = AIRA_OK;
    if (!worker) {
        status = aira__program_dir(program, sizeof program - 8, error);
        strcat(program, "/aira");
        worker = program;
    }
    if (status == AIRA_OK)
        status = aira__instance_create_json(run->options->registry, "executor", json_object_get(run->study, "executor"),
                                            &run->executor, error);
    if (status != AIRA_OK) return status;
    char *copy = strdup(worker); /* lives as long as the run */
    if (!copy) return no_memory(error);
    aira__queue_options o = {.journal = run->journal,
                             .ledger = &run->ledger,
                             .executor = run->executor->plugin->table,
                             .executor_self = run->executor->self,
                             .host = aira__registry_host(run->options->registry),
                             .run_dir = run->absolute,
                             .worker = copy,
                             .study = run->study};
    o.plugin_paths = aira__registry_named_paths(run->options->registry, &o.n_plugin_paths);
    run->worker = copy;
    return aira__queue_create(&o, &run->queue, error);
}

/* ---- the loop ---- */

typedef enum { LOOP_COMPLETE, LOOP_INTERRUPTED, LOOP_BUDGET, LOOP_HELD } loop_end;

/* One transaction of rows, then the questions that they announce. Leases start after a look at the budgets. */
static aira_status one_round(aira__run *run, double wait, bool *moved, aira_error *error) {
    aira_status status = AIRA_OK;
    bool news = false;
    aira__ask *ask;
    *moved = false;
    aira__journal_group(run->journal);
    while (status == AIRA_OK && (ask = aira__pool_collect(run->pool, *moved ? 0 : wait))) {
        *moved = true;
        status = aira__search_answered(run, ask->owner, error);
    }
    if (status == AIRA_OK) status = aira__queue_pump(run->queue, &news, error);
    for (int i = 0; status == AIRA_OK && !run->draining && i < run->n_searches; i++) {
        aira__search *s = &run->searches[i];
        if (s->done || !(s->moved || news)) continue;
        s->moved = false;
        status = aira__search_collect(run, s, error);
        if (status == AIRA_OK) status = aira__search_advance(run, s, error);
    }
    if (status == AIRA_OK)
        status = aira__journal_flush(run->journal, error);
    else
        aira__journal_rollback(run->journal);
    if (status == AIRA_OK) aira__search_send(run);
    *moved = *moved || news;
    return status;
}

static bool all_done(const aira__run *run) {
    for (int i = 0; i < run->n_searches; i++)
        if (!run->searches[i].done) return false;
    return true;
}

/* Nothing more can happen: every search is done, or held with nothing under way. reason: why the first is held. */
static bool all_held(const aira__run *run, char *reason, size_t size) {
    const char *why = NULL;
    for (int i = 0; i < run->n_searches; i++) {
        const aira__search *s = &run->searches[i];
        if (s->done) continue;
        if (!s->held) return false;
        for (uint32_t k = 0; k < s->tree.parallel; k++)
            if (s->slots[k].phase != AIRA__SLOT_FREE && s->slots[k].phase != AIRA__SLOT_HELD) return false;
        if (!why) why = s->held;
    }
    int running = 0, waiting = 0; /* further seeds of a contender */
    aira__queue_counts(run->queue, &running, &waiting);
    if (running + waiting) return false;
    if (why) snprintf(reason, size, "%s", why);
    return why != NULL;
}

/* Nothing new starts from here on; what is paid for is waited for and written down. */
static void drain(aira__run *run, const char *why) {
    int running = 0, waiting = 0;
    aira__queue_counts(run->queue, &running, &waiting);
    run->draining = true;
    aira__pool_end(run->pool);
    aira__queue_hold(run->queue, true);
    if (running + run->asking_now == 0) return;
    aira__progress_end(run);
    aira__log(AIRA_LOG_INFO, "%s: waiting for %d evaluations and %d answers that are under way", why, running,
              run->asking_now);
}

static bool drained(const aira__run *run) {
    int running = 0, waiting = 0;
    aira__queue_counts(run->queue, &running, &waiting);
    return run->draining && running + run->asking_now == 0;
}

static aira_status loop(aira__run *run, loop_end *end, char *reason, size_t reason_size, aira_error *error) {
    aira_status status = AIRA_OK;
    bool moved = true;
    double looked = 0;
    *end = LOOP_COMPLETE;
    while (status == AIRA_OK) {
        if (*end != LOOP_INTERRUPTED && aira__run_interrupted(run)) {
            *end = LOOP_INTERRUPTED;
            drain(run, "stopping on request (once more: at once)");
        }
        if (*end == LOOP_COMPLETE && (moved || aira__now() - looked >= BUDGET_SECONDS)) {
            aira__limit limit;
            looked = aira__now();
            status = aira__limits_look(run, &limit, reason, reason_size, error);
            if (status == AIRA_OK && limit != AIRA__LIMIT_NONE) {
                *end = LOOP_BUDGET;
                if (limit == AIRA__LIMIT_WALL) break; /* a deadline is one */
                drain(run, reason);
            }
        }
        if (status == AIRA_OK) status = aira__queue_start(run->queue, error);
        if (drained(run)) break;
        if (!run->draining && all_done(run)) {
            bool revived = false;
            if (status == AIRA_OK) status = aira__shares_leftovers(run, &revived, error);
            if (!revived) break;
        }
        if (all_held(run, reason, reason_size)) {
            *end = LOOP_HELD;
            break;
        }
        if (status == AIRA_OK) status = one_round(run, moved ? 0 : IDLE_SECONDS, &moved, error);
        aira__progress_tick(run);
    }
    return status;
}

/* State and time of the run and its searches, after the loop. */
static aira_status close_books(aira__run *run, loop_end end, const char *reason, aira_error *error) {
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%.3f", aira__run_seconds(run));
    aira_status status = aira__journal_begin(run->journal, error);
    if (status != AIRA_OK) return status;
    status = aira__journal_set_study(run->journal, "seconds", seconds, error);
    if (status == AIRA_OK && end == LOOP_INTERRUPTED)
        status = aira__journal_event(run->journal, "interrupt", -1, -1, "stopped on request; resumable", error);
    if (status == AIRA_OK && end == LOOP_BUDGET && !run->was_stopped)
        status = aira__journal_event(run->journal, "budget", -1, -1, reason, error);
    for (int i = 0; status == AIRA_OK && i < run->n_searches && end != LOOP_INTERRUPTED && end != LOOP_HELD; i++) {
        const aira__search *s = &run->searches[i];
        if (s->cut) continue; /* it has its state */
        if (!s->done)
            status = aira__journal_search_state(run->journal, s->id, "stopped", reason, error);
        else
            status = aira__journal_search_state(
                run->journal, s->id, "done", s->quota ? "its share of the budget is used up" : "the scaffold was done",
                error);
    }
    if (status == AIRA_OK)
        status = aira__journal_commit(run->journal, error);
    else
        aira__journal_rollback(run->journal);
    return status;
}

static bool is_stopped(aira__journal *j) {
    char *state = aira__journal_get_study(j, "state", NULL);
    bool stopped = state && !strcmp(state, "stopped");
    free(state);
    return stopped;
}

/* What a limit has stopped stays stopped: its pending nodes are not taken up again. */
static aira_status take_state(void *context, const aira__journal_search *row, aira_error *error) {
    aira__run *run = context;
    (void)error;
    if (row->id >= 1 && row->id <= run->n_searches && !strcmp(row->state, "stopped"))
        run->searches[row->id - 1].done = run->searches[row->id - 1].cut = true;
    return AIRA_OK;
}

static aira_status open_run(aira__run *run, aira_error *error) {
    char *path = aira__path_join(run->dir, "journal.db");
    aira__journal_options options = {0};
    int threads = 0;
    run->absolute = realpath(run->dir, NULL);
    aira_status status = path && run->absolute ? aira__journal_open(path, &options, &run->journal, error)
                                               : no_memory(error);
    free(path);
    if (status == AIRA_OK) status = open_study(run, error);
    if (status == AIRA_OK) run->was_stopped = is_stopped(run->journal);
    if (status == AIRA_OK) status = aira__journal_set_study(run->journal, "state", "running", error);
    size_t n = json_array_size(json_object_get(run->study, "searches"));
    run->n_studied = (int)n;
    if (status == AIRA_OK) status = aira__ledger_open(run->journal, (int)n, &run->ledger, error);
    if (status == AIRA_OK) status = aira__run_check_plugins(run, error);
    if (status == AIRA_OK) status = open_queue(run, error);
    if (status == AIRA_OK && !(run->searches = calloc(n + 1, sizeof *run->searches))) status = no_memory(error);
    for (size_t i = 0; status == AIRA_OK && i < n; i++) {
        run->n_searches++;
        status = open_search(run, (int)i, error);
        threads += (int)run->searches[i].tree.parallel;
    }
    if (status == AIRA_OK) status = aira__run_compare_plugins(run, error);
    if (status == AIRA_OK) status = aira__shares_open(run, error);
    if (status == AIRA_OK) status = aira__journal_each_search(run->journal, take_state, run, error);
    if (status == AIRA_OK) status = aira__pool_create(threads, &run->pool, error);
    /* What is spent already asks nothing again. */
    aira__limit limit = AIRA__LIMIT_NONE;
    char reason[256];
    if (status == AIRA_OK) status = aira__limits_look(run, &limit, reason, sizeof reason, error);
    run->spent = limit != AIRA__LIMIT_NONE;
    if (status == AIRA_OK) aira__journal_group(run->journal);
    for (int i = 0; status == AIRA_OK && i < run->n_searches; i++)
        status = aira__search_restore(run, &run->searches[i], error);
    return status == AIRA_OK ? aira__journal_flush(run->journal, error) : status;
}

static void close_run(aira__run *run) {
    aira__pool_destroy(run->pool); /* first: its threads use the slots */
    aira__queue_destroy(run->queue);
    aira__ledger_close(&run->ledger);
    for (int i = 0; i < run->n_searches; i++) aira__search_release(&run->searches[i]);
    free(run->searches);
    aira__asking_release(&run->asking);
    aira__instance_destroy(run->executor);
    aira__journal_close(run->journal);
    json_decref(run->study);
    json_decref(run->quotas);
    free(run->tokens);
    free(run->absolute);
    free(run->worker);
}

static aira_status write_usage(aira__run *run, aira_error *error) {
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%.3f", aira__run_seconds(run));
    aira_status status = aira__journal_set_study(run->journal, "seconds", seconds, error);
    json_t *usage = status == AIRA_OK ? aira__run_budget(run->journal, run->study, error) : NULL;
    if (status == AIRA_OK) status = usage ? set_json(run->journal, "usage", usage, error) : AIRA_E_MEMORY;
    json_decref(usage);
    return status;
}

/* After the searches: the final scoring, then what becomes of the results. */
/* How far the run had come, as text, when its report was written. */
static void extent(aira__run *run, char text[64]) {
    snprintf(text, 64, "%.0f nodes, %.0f evaluations",
             aira__journal_number(run->journal, "SELECT count(*) FROM node_row", 0),
             aira__journal_number(run->journal, "SELECT count(*) FROM evaluation", 0));
}

/* Resuming a run that is complete changes nothing, so nothing is computed or written again. A report that was deleted
   is. */
static bool concluded(aira__run *run) {
    char *before = aira__journal_get_study(run->journal, "concluded", NULL), now[64];
    char *report = aira__path_join(run->dir, "report.html");
    extent(run, now);
    bool same = before && report && !strcmp(before, now) && aira__file_exists(report);
    free(before);
    free(report);
    return same;
}

static aira_status conclude(aira__run *run, loop_end ended, aira__run_end *end, aira_error *error) {
    bool interrupted = false, valid = false;
    char now[64];
    if (ended == LOOP_COMPLETE && concluded(run)) return aira__journal_set_study(run->journal, "state", "done", error);
    aira_status status = aira__run_final(run, &interrupted, error);
    aira__progress_end(run);
    if (status == AIRA_OK) status = write_usage(run, error);
    if (status == AIRA_OK && interrupted) {
        *end = AIRA__RUN_INTERRUPTED;
        return aira__journal_event(run->journal, "interrupt", -1, -1, "stopped on request; resumable", error);
    }
    /* Set before the report is written, which tells it; a kill in between is repaired by resume. */
    if (status == AIRA_OK)
        status = aira__journal_set_study(run->journal, "state", ended == LOOP_BUDGET ? "stopped" : "done", error);
    if (status == AIRA_OK) status = aira__run_finish(run, &valid, error);
    extent(run, now);
    if (status == AIRA_OK && valid) status = aira__journal_set_study(run->journal, "concluded", now, error);
    if (status != AIRA_OK || valid) return status;
    *end = AIRA__RUN_NOTHING;
    return aira__journal_set_study(run->journal, "state", "failed", NULL);
}

/* Sources that this machine's workers cannot confine would fail one after another, each after a paid answer. */
static aira_status check_sandbox(const aira__run *run, aira_error *error) {
    char reason[512] = "";
    if (!run->asking.design || strcmp(run->executor->plugin->id, "local") != 0) return AIRA_OK;
    if (aira__sandbox_available(reason, sizeof reason) != AIRA_SANDBOX_NONE) return AIRA_OK;
    return aira__fail(
        error, AIRA_E_UNSUPPORTED,
        "candidates of this task are C sources, which need the sandbox: %s; repair that (`aira doctor`) and "
        "continue with `aira resume %s`",
        reason, run->dir);
}

aira_status aira__run_execute(const char *dir, const aira__run_options *options, aira__run_end *end, json_t **summary,
                              aira_error *error) {
    aira__run run = {.dir = dir, .options = options, .started = aira__now()};
    aira__lock *lock = NULL;
    loop_end ended = LOOP_COMPLETE;
    char reason[1024] = "";
    *end = AIRA__RUN_DONE;
    if (summary) *summary = NULL;
    if (!aira__is_dir(dir))
        return aira__fail(error, AIRA_E_CONFIG, "%s: there is no such run directory; `aira run` makes one", dir);
    aira_status status = aira__lock_take(dir, &lock, error);
    if (status == AIRA_OK) status = open_run(&run, error);
    if (status == AIRA_OK) status = check_sandbox(&run, error);
    if (status == AIRA_OK) {
        aira__progress_begin(&run);
        status = loop(&run, &ended, reason, sizeof reason, error);
        aira__progress_end(&run);
    }
    if (status == AIRA_OK && ended == LOOP_BUDGET) aira__log(AIRA_LOG_INFO, "stopped: %s", reason);
    if (status == AIRA_OK) status = close_books(&run, ended, reason, error);
    if (status == AIRA_OK && ended == LOOP_INTERRUPTED) {
        *end = AIRA__RUN_INTERRUPTED;
    } else if (status == AIRA_OK && ended == LOOP_HELD) {
        *end = AIRA__RUN_HELD;
        (void)aira__fail(error, AIRA_E_DENIED, "%s", reason);
    } else if (status == AIRA_OK) {
        status = conclude(&run, ended, end, error);
    }
    bool ended_well = *end == AIRA__RUN_DONE || *end == AIRA__RUN_NOTHING;
    if (status == AIRA_OK && ended_well && summary && !(*summary = aira__run_summary(run.journal, dir, error)))
        status = AIRA_E_MEMORY;
    close_run(&run);
    aira__lock_release(lock);
    return status;
}
