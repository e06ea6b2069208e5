/* tests/tools/llm_cases.c - asks a model server (tests/llm/server.py) everything that can go wrong, in both dialects.
 *
 *     llm_cases BASE_URL          prints a table: case, outcome, tries, wall and CPU time; exit status 1 if any case
 * ended in something else than it should
 *
 * Each case names what must come of it: an answer after a number of tries, or a failure whose sentence holds a word.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/plugin/registry.h"
#include "core/search/pool.h"

typedef struct expected {
    const char *model;
    aira_status status;
    int64_t tries;    /* 0: not compared */
    const char *word; /* of the sentence, or of the notes; NULL: not compared */
    double least;     /* seconds */
    int dialects;     /* 1: openai, 2: anthropic, 3: both */
} expected;

static const expected cases[] = {
    {"ok", AIRA_OK, 1, NULL, 0, 3},
    {"slow", AIRA_OK, 1, NULL, 0, 3},
    {"bytes", AIRA_OK, 1, NULL, 0, 3},
    {"plain", AIRA_OK, 1, NULL, 0, 3},
    {"json", AIRA_OK, 1, NULL, 0, 3},
    {"reasoning", AIRA_OK, 1, NULL, 0, 3},
    {"onlyreasoning", AIRA_OK, 1, "reasoning only", 0, 1},
    {"temperature", AIRA_OK, 2, "parameter temperature left out", 0, 3},
    {"huge", AIRA_OK, 1, NULL, 0, 3},
    {"stall", AIRA_OK, 0, "stalled", 1, 3},
    {"silent", AIRA_OK, 0, "stalled", 1, 3},
    {"drop", AIRA_OK, 2, "broke off after 12 bytes", 0.3, 3},
    {"refuse", AIRA_OK, 0, NULL, 0, 3}, /* libcurl itself repeats it on a connection that was used before */
    {"cut", AIRA_OK, 2, "broke off after 12 bytes", 0.3, 3},
    {"429s", AIRA_OK, 2, "slow down; again in 1.00 s", 1, 3},
    {"429d", AIRA_OK, 2, "slow down; again in", 0.9, 3},
    {"429ms", AIRA_OK, 2, "again in 0.25 s", 0.25, 3},
    {"429z", AIRA_OK, 2, "again in 0.", 0.3, 3},
    {"500", AIRA_OK, 2, "something went wrong", 0.3, 3},
    {"503html", AIRA_OK, 2, "status 503", 0.3, 3},
    {"529", AIRA_OK, 2, "Overloaded", 0.3, 3},
    {"error", AIRA_OK, 2, "error in the answer", 0.3, 3},
    {"truncated", AIRA_OK, 2, "not valid JSON", 0.3, 3},
    {"utf8", AIRA_OK, 2, "not valid JSON", 0.3, 3},
    {"html", AIRA_OK, 2, "text/html and no JSON", 0.3, 3},
    {"stall!", AIRA_E_TIMEOUT, 0, "stalled", 1, 3},
    {"drop!", AIRA_E_FAILED, 0, "given up after", 0.5, 3},
    {"429s!", AIRA_E_DENIED, 0, "slow down", 0, 3},
    {"500!", AIRA_E_FAILED, 0, "something went wrong", 0.5, 3},
    {"529!", AIRA_E_DENIED, 0, "Overloaded", 0.3, 3},
    {"error!", AIRA_E_FAILED, 0, "Internal server error", 0.3, 2},
    {"truncated!", AIRA_E_FAILED, 0, "not valid JSON", 0.5, 3},
    {"utf8!", AIRA_E_FAILED, 0, "not valid JSON", 0.5, 3},
    {"html!", AIRA_E_FAILED, 0, "base_url", 0.5, 3},
    {"flood!", AIRA_E_FAILED, 1, "longer than", 0, 3},
    {"quota!", AIRA_E_DENIED, 1, "quota", 0, 3},
    {"402!", AIRA_E_DENIED, 1, "credit balance", 0, 3},
    {"404!", AIRA_E_DENIED, 1, "does not exist", 0, 3},
    {"400!", AIRA_E_FAILED, 1, "too long", 0, 3},
    {"redirect!", AIRA_E_FAILED, 1, "base_url", 0, 3},
};

#define N_CASES (sizeof cases / sizeof cases[0])
#define PATIENCE 60.0 /* seconds, on a busy machine too */

static atomic_int failures;
static aira__registry *registry; /* one call at a time */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static bool together;

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static aira__instance *make_agent(const char *dialect, const char *url, const char *model) {
    aira_error error = {0};
    aira__instance *agent = NULL;
    /* patient where patience is not what is tested: the machine may be busy */
    double stall = strstr(model, "stall") || !strcmp(model, "silent") ? 1 : 15;
    double retry_for = strchr(model, '!') ? 2.5 : PATIENCE;
    json_t *canonical = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:i, s:I, s:i}", "use", dialect, "model", model,
                                  "base_url", url, "stall_timeout", stall, "retry_for", retry_for, "retry_delay", 1.0,
                                  "temperature", 0.5, "concurrency", 0, "max_tokens", (json_int_t)256, "retries", 100);
    pthread_mutex_lock(&registry_lock);
    aira_status status = aira__instance_create_json(registry, "agent", canonical, &agent, &error);
    pthread_mutex_unlock(&registry_lock);
    if (status != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(2);
    }
    json_decref(canonical);
    return agent;
}

static aira_message messages[] = {{"system", "You answer."}, {"user", "Which \"layers\"?\n\tUmlaut: \xC3\xBC"}};

static void complain(const char *model, const char *what, const aira__ask *ask) {
    fprintf(stderr, "FAILED: %s: %s (status %d, %" PRId64 " tries, error '%s', notes '%s')\n", model, what,
            (int)ask->status, ask->usage.tries, ask->error, ask->notes.data ? ask->notes.data : "");
    failures++;
}

static void judge(const expected *e, const aira__ask *ask, bool openai, double wall) {
    const char *said = ask->status == AIRA_OK ? (ask->notes.data ? ask->notes.data : "") : ask->error;
    if (ask->status != e->status) complain(e->model, "another status", ask);
    if (e->tries && ask->usage.tries != e->tries) complain(e->model, "another number of tries", ask);
    if (e->word && !strstr(said, e->word)) complain(e->model, e->word, ask);
    if (wall < e->least || wall > PATIENCE) complain(e->model, "another time", ask);
    if (ask->status != AIRA_OK) return;
    if (!ask->text.data || !strstr(ask->text.data, "A mixed stack is worth a try.\n\n```yaml\nlayers: "))
        complain(e->model, "another answer", ask);
    bool whole = !strcmp(e->model, "json");
    if (!ask->usage.model || strncmp(ask->usage.model, "served-", 7)) complain(e->model, "no model", ask);
    if (!whole && ask->usage.cached_input_tokens < 60) complain(e->model, "cached tokens", ask);
    if (ask->usage.input_tokens < 100 || ask->usage.output_tokens < 40) complain(e->model, "tokens", ask);
    if (!whole && openai && ask->usage.reasoning_tokens != 8) complain(e->model, "reasoning tokens", ask);
    if (!whole && !openai && ask->usage.cache_write_tokens < 20) complain(e->model, "cache writes", ask);
    if ((!strcmp(e->model, "drop") || !strcmp(e->model, "cut")) &&
        (!ask->partial.data || strcmp(ask->partial.data, "I think that")))
        complain(e->model, "the void text was not kept", ask);
}

static void run_case(const expected *e, bool openai, const char *url) {
    aira__instance *agent = make_agent(openai ? "openai" : "anthropic", url, e->model);
    aira_agent_request request = {.size = sizeof request, .n_messages = 2, .messages = messages, .seed = 7};
    aira__ask ask = {.agent = agent->plugin->table, .self = agent->self, .host = aira__registry_host(registry)};
    ask.request = &request;
    aira__pool *pool = NULL;
    aira_error error = {0};
    double wall = aira__now(), cpu = cpu_seconds();
    if (aira__pool_create(1, &pool, &error) != AIRA_OK) exit(2);
    aira__pool_submit(pool, &ask);
    if (!aira__pool_collect(pool, 60)) complain(e->model, "no end", &ask);
    wall = aira__now() - wall;
    cpu = cpu_seconds() - cpu;
    aira__pool_destroy(pool);
    char spent[16];
    snprintf(spent, sizeof spent, together ? "-" : "%.3f", cpu);
    printf("%-10s %-14s %-9s %5" PRId64 " %8.3f %8s  %.90s\n", openai ? "openai" : "anthropic", e->model,
           ask.status == AIRA_OK         ? "answer"
           : ask.status == AIRA_E_DENIED ? "held"
                                         : "failure",
           ask.usage.tries, wall, spent, ask.status == AIRA_OK ? (ask.notes.data ? ask.notes.data : "") : ask.error);
    judge(e, &ask, openai, wall);
    aira__ask_release(&ask);
    aira__instance_destroy(agent);
}

/* 64 streams at once, some of which are first answered 429; and cancelling 64 that stall. */
static void run_many(bool openai, const char *url, const char *model, bool cancel) {
    enum { N = 64 };
    static aira__instance *agents[N];
    static aira_agent_request requests[N];
    static aira_message asked[N][2];
    static char text[N][40];
    aira__ask *asks = calloc(N, sizeof *asks);
    aira__pool *pool = NULL;
    aira_error error = {0};
    int answered = 0, cancelled = 0;
    int64_t tries = 0;
    if (!asks || aira__pool_create(N, &pool, &error) != AIRA_OK) exit(2);
    for (int i = 0; i < N; i++) {
        agents[i] = make_agent(openai ? "openai" : "anthropic", url, model);
        snprintf(text[i], sizeof text[i], "question %d", i);
        asked[i][0] = messages[0];
        asked[i][1] = (aira_message){"user", text[i]};
        requests[i] = (aira_agent_request){
            .size = sizeof requests[i], .n_messages = 2, .messages = asked[i], .seed = (uint64_t)i};
        asks[i] = (aira__ask){.agent = agents[i]->plugin->table,
                              .self = agents[i]->self,
                              .host = aira__registry_host(registry),
                              .request = &requests[i]};
    }
    double wall = aira__now(), cpu = cpu_seconds();
    for (int i = 0; i < N; i++) aira__pool_submit(pool, &asks[i]);
    if (cancel) {
        struct timespec nap = {0, 500000000};
        nanosleep(&nap, NULL);
        wall = aira__now();
    } else {
        for (int i = 0; i < N; i++)
            if (!aira__pool_collect(pool, 60)) complain(model, "no end", &asks[i]);
        wall = aira__now() - wall;
    }
    aira__pool_destroy(pool);
    if (cancel) wall = aira__now() - wall;
    cpu = cpu_seconds() - cpu;
    for (int i = 0; i < N; i++) {
        answered += asks[i].status == AIRA_OK && asks[i].text.data && strstr(asks[i].text.data, "```yaml");
        cancelled += asks[i].status == AIRA_E_CANCELLED;
        tries += asks[i].usage.tries;
        if (!cancel && asks[i].status != AIRA_OK) complain(model, "no answer", &asks[i]);
        aira__ask_release(&asks[i]);
        aira__instance_destroy(agents[i]);
    }
    free(asks);
    printf("%-10s %-14s %-9s %5" PRId64 " %8.3f %8.3f  %d answers, %d cancelled of %d at once\n",
           openai ? "openai" : "anthropic", model, cancel ? "cancelled" : "answers", tries, wall, cpu, answered,
           cancelled, N);
    if (cancel ? cancelled != N || wall > 1.0 : answered != N) {
        fprintf(stderr, "FAILED: %s: %d answers, %d cancelled in %.3f s\n", model, answered, cancelled, wall);
        failures++;
    }
}

typedef struct job {
    const expected *expected;
    bool openai;
    const char *url;
} job;

static void *run_job(void *argument) {
    const job *j = argument;
    run_case(j->expected, j->openai, j->url);
    return NULL;
}

static void run_together(const char *url) {
    pthread_t threads[2 * N_CASES];
    job jobs[2 * N_CASES];
    size_t n = 0;
    double wall = aira__now(), cpu = cpu_seconds();
    for (int dialect = 1; dialect <= 2; dialect++)
        for (size_t i = 0; i < N_CASES; i++) {
            if (!(cases[i].dialects & dialect)) continue;
            jobs[n] = (job){&cases[i], dialect == 1, url};
            if (pthread_create(&threads[n], NULL, run_job, &jobs[n]) != 0) exit(2);
            n++;
        }
    for (size_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
    printf("%zu cases at once: %.3f s wall, %.3f s CPU\n", n, aira__now() - wall, cpu_seconds() - cpu);
}

int main(int argc, char **argv) {
    aira_error error = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: llm_cases BASE_URL [MODEL]\n");
        return 2;
    }
    if (aira__registry_create(&(aira__registry_options){0}, &registry, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    printf("%-10s %-14s %-9s %5s %8s %8s\n", "dialect", "case", "outcome", "tries", "wall s", "CPU s");
    const char *only = argc > 2 ? argv[2] : NULL;
    together = only && !strcmp(only, "together");
    if (together) run_together(argv[1]);
    for (int dialect = 1; dialect <= 2; dialect++) {
        for (size_t i = 0; i < N_CASES && !together; i++)
            if ((cases[i].dialects & dialect) && (!only || !strcmp(only, cases[i].model)))
                run_case(&cases[i], dialect == 1, argv[1]);
        if (!only || together || !strcmp(only, "many")) run_many(dialect == 1, argv[1], "many", false);
        if (!only || together || !strcmp(only, "cancel")) run_many(dialect == 1, argv[1], "stall!", true);
    }
    aira__registry_destroy(registry);
    if (failures) fprintf(stderr, "%d failures\n", failures);
    return failures != 0;
}
