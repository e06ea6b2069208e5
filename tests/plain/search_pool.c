/* tests/plain/search_pool.c - the pool of waiting threads under load: every question is answered once, a stalled agent
 * holds nobody up, and the end cancels what still runs. Made for ThreadSanitizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/search/pool.h"

#define N 2000

static int failures;

static void check(int fine, const char *what) {
    if (fine) return;
    fprintf(stderr, "FAILED: %s\n", what);
    failures++;
}

/* Answers with its node's number; node -1 stalls until it is cancelled, node -2 fails. */
static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    char text[32];
    (void)self;
    if (request->node == -2) return AIRA_E_FAILED;
    while (request->node == -1) {
        if (sink->cancelled(sink)) return AIRA_E_CANCELLED;
        usleep(1000);
    }
    aira_usage usage = {
        .size = sizeof usage, .input_tokens = request->node, .output_tokens = 1, .money_usd = 0.5, .model = "oracle"};
    sink->usage(sink, &usage);
    if (sink->text(sink, "void", 4) != AIRA_OK) return AIRA_E_MEMORY;
    sink->note(sink, "one");
    sink->restart(sink, "it broke off");
    sink->note(sink, "two");
    int n = snprintf(text, sizeof text, "%lld", (long long)request->node);
    aira_status status = sink->text(sink, text, 1); /* in pieces, as a stream comes */
    return status == AIRA_OK ? sink->text(sink, text + 1, (uint64_t)n - 1) : status;
}

int main(void) {
    static const aira_agent agent = {sizeof agent, 0, complete};
    static aira_agent_request requests[N], stall = {.node = -1}, fail = {.node = -2};
    static aira__ask asks[N], stalled[3], failing;
    static char seen[N];
    aira__pool *pool = NULL;
    aira_error error = {0};
    check(aira__pool_create(4, &pool, &error) == AIRA_OK, error.text);
    if (!pool) return 1;
    for (int i = 0; i < 3; i++) { /* all but one of the four that may be out at once */
        stalled[i] = (aira__ask){.agent = &agent, .request = &stall};
        aira__pool_submit(pool, &stalled[i]);
    }
    for (int i = 0; i < N; i++) {
        requests[i].node = i;
        asks[i] = (aira__ask){.agent = &agent, .request = &requests[i], .owner = &seen[i]};
        aira__pool_submit(pool, &asks[i]);
    }
    for (int i = 0; i < N; i++) {
        aira__ask *ask = aira__pool_collect(pool, 10);
        check(ask != NULL, "an answer is missing");
        if (!ask) break;
        char expected[32];
        snprintf(expected, sizeof expected, "%lld", (long long)ask->request->node);
        check(ask->status == AIRA_OK && ask->text.data && !strcmp(ask->text.data, expected), "wrong answer");
        check(ask->usage.input_tokens == ask->request->node && ask->usage.money_usd == 0.5, "wrong usage");
        check(ask->usage.model && !strcmp(ask->usage.model, "oracle"), "wrong model");
        check(ask->partial.data && !strcmp(ask->partial.data, "void") && !strcmp(ask->notes.data, "one\ntwo"),
              "void text and notes are not kept");
        check(!(*(char *)ask->owner)++, "answered twice");
        aira__ask_release(ask);
    }
    failing = (aira__ask){.agent = &agent, .request = &fail};
    aira__pool_submit(pool, &failing);
    aira__ask *ask = aira__pool_collect(pool, 10);
    check(ask == &failing && ask->status == AIRA_E_FAILED && ask->error[0], "a failure has a sentence");
    check(failing.usage.input_tokens == -1 && failing.usage.money_usd < 0, "unknown usage is -1");
    double begin = aira__now();
    check(aira__pool_collect(pool, 0.05) == NULL && aira__now() - begin >= 0.04,
          "collect waits as long as it was told");
    aira__pool_destroy(pool);
    for (int i = 0; i < 3; i++) check(stalled[i].status == AIRA_E_CANCELLED, "a stalled agent was cancelled");
    return failures != 0;
}
