/* services.c - conformance of agents and executors: what the coordinator relies on while it waits for them.
 *
 * An agent gets two questions such as a search asks, then a question that is already cancelled. Whether its answers
 * parse is the model's business and is told, not judged; that it answers at all, ends in time and reports no nonsense
 * as usage is the plugin's. An executor gets a lease whose worker ends at once, one whose worker fails, and one that
 * never ends and is cancelled.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aira/agent.h"
#include "aira/executor.h"
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/check/check.h"

static const char *failure(const aira__subject *s) {
    const char *text = aira__host_last_failure(aira__registry_host(s->registry));
    return text[0] ? text : "it gave no reason";
}

/* --- agents ---------------------------------------------------------------------------------------------------------
 */

enum { AGENT_LAYERS = 4, AGENT_TOKENS = 2, CANCEL_SECONDS = 5 };

typedef struct answer {
    aira__buf text;
    aira_usage usage;
    bool cancelled;
} answer;

static aira_status take_text(const aira_sink *sink, const char *bytes, uint64_t n) {
    answer *a = sink->core;
    return aira__buf_add(&a->text, bytes, (size_t)n) ? AIRA_OK : AIRA_E_MEMORY;
}

static void take_usage(const aira_sink *sink, const aira_usage *usage) {
    answer *a = sink->core;
    size_t n = usage->size < sizeof a->usage ? usage->size : sizeof a->usage;
    memcpy(&a->usage, usage, n);
}

static int32_t is_cancelled(const aira_sink *sink) { return ((const answer *)sink->core)->cancelled; }

/* A draft, or an improvement of node 0. */
static aira_status ask(const aira__subject *s, bool improve, answer *a) {
    static const char *const tokens[AGENT_TOKENS] = {"mA", "M"};
    static const aira_seen_node seen[] = {{0, -1, "draft", "2mA 2M", "good", 0.5, NULL}};
    const aira_agent *table = s->plugin->table;
    const aira_message messages[] = {
        {"system", "You design neural networks as sequences of layers."},
        {"user", improve ? "Improve `2mA 2M`, which scored 0.5. Answer with one fenced yaml block that holds "
                           "`layers: \"...\"`: 4 layers out of mA and M."
                         : "Propose 4 layers out of mA and M. Answer with one fenced yaml block that holds "
                           "`layers: \"...\"`."}};
    static const char draft_state[] =
        "{\"operator\": \"draft\", \"task\": \"check\", \"tokens\": [\"mA\", \"M\"], \"layers\": 4, "
        "\"higher_is_better\": true, \"node\": 0, \"attempt\": 0, \"parent\": null, \"other_parent\": null, "
        "\"nodes\": []}";
    static const char improve_state[] =
        "{\"operator\": \"improve\", \"task\": \"check\", \"tokens\": [\"mA\", \"M\"], \"layers\": 4, "
        "\"higher_is_better\": true, \"node\": 1, \"attempt\": 0, \"parent\": {\"idx\": 0, \"architecture\": "
        "\"2mA 2M\", \"score\": 0.5, \"status\": \"good\", \"note\": null}, \"other_parent\": null, "
        "\"nodes\": [{\"idx\": 0, \"operator\": \"draft\", \"parent\": null, \"architecture\": \"2mA 2M\", "
        "\"score\": 0.5, \"status\": \"good\"}]}";
    const aira_agent_request request = {
        .size = sizeof request,
        .n_messages = 2,
        .messages = messages,
        .operator_name = improve ? "improve" : "draft",
        .state_json = improve ? improve_state : draft_state,
        .seed = 7,
        .n_layers = AGENT_LAYERS,
        .n_tokens = AGENT_TOKENS,
        .tokens = tokens,
        .parent = improve ? 0 : -1,
        .other_parent = -1,
        .n_nodes = improve ? 1 : 0,
        .higher_is_better = 1,
        .nodes = seen,
        .node = improve ? 1 : 0,
        .request_hash = "0000000000000000000000000000000000000000000000000000000000000000"};
    const aira_sink sink = {
        .size = sizeof sink, .core = a, .text = take_text, .usage = take_usage, .cancelled = is_cancelled};
    a->usage = (aira_usage){.size = sizeof a->usage,
                            .input_tokens = -1,
                            .cached_input_tokens = -1,
                            .output_tokens = -1,
                            .reasoning_tokens = -1,
                            .money_usd = -1};
    aira__host_clear_failure(aira__registry_host(s->registry));
    return table->complete(s->self, &request, &sink);
}

static bool usage_sane(const aira_usage *u) {
    return u->input_tokens >= -1 && u->cached_input_tokens >= -1 && u->output_tokens >= -1 &&
           u->reasoning_tokens >= -1 && (u->money_usd >= 0 || u->money_usd == -1);
}

static bool check_answers(const aira__subject *s, bool improve) {
    const char *name = aira__start(s, improve ? "improves" : "drafts");
    answer first = {0}, second = {0};
    aira_status status = ask(s, improve, &first), again = status ? status : ask(s, improve, &second);
    bool good = false;
    if (status || again)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", failure(s));
    else if (first.text.size == 0)
        aira__say(s, name, AIRA_CHECK_FAIL, "succeeded without any text; an agent without an answer must fail");
    else if (!usage_sane(&first.usage))
        aira__say(s, name, AIRA_CHECK_FAIL, "negative tokens or money; what is not known is -1");
    else
        good = true;
    if (good) {
        bool same = first.text.size == second.text.size && !memcmp(first.text.data, second.text.data, first.text.size);
        aira__say(s, name, AIRA_CHECK_PASS, "%zu bytes; the same seed gives %s", first.text.size,
                  same ? "the same answer" : "another answer: a search with it cannot be run again from its seed");
    }
    aira__buf_free(&first.text);
    aira__buf_free(&second.text);
    return good;
}

static void check_cancel(const aira__subject *s) {
    const char *name = aira__start(s, "cancels");
    answer a = {.cancelled = true};
    double begin = aira__now();
    aira_status status = ask(s, false, &a);
    double seconds = aira__now() - begin;
    aira__buf_free(&a.text);
    if (seconds > CANCEL_SECONDS)
        aira__say(s, name, AIRA_CHECK_FAIL, "a cancelled question took %.1f s; poll sink->cancelled", seconds);
    else if (status != AIRA_OK && status != AIRA_E_CANCELLED)
        aira__say(s, name, AIRA_CHECK_FAIL, "a cancelled question must end as cancelled, but: %.400s", failure(s));
    else
        aira__say(s, name, AIRA_CHECK_PASS, "ended after %.2f s", seconds);
}

void aira__check_agent(aira__subject *s) {
    const aira_agent *table = s->plugin->table;
    if (!table->complete) {
        aira__say(s, aira__start(s, "drafts"), AIRA_CHECK_FAIL, "complete is NULL");
        return;
    }
    if (check_answers(s, false) && check_answers(s, true)) check_cancel(s);
}

/* --- executors ------------------------------------------------------------------------------------------------------
 */

enum { LEASE_SECONDS = 30 };

/* Starts argv as a lease and waits for its end, cancelling it first where asked to. False after a verdict. */
static bool run_lease(const aira__subject *s, const char *name, const char *folder, const char *const *argv,
                      uint32_t n_argv, bool cancel, aira_lease_state *state) {
    const aira_executor *table = s->plugin->table;
    const aira_lease lease = {
        .size = sizeof lease, .n_argv = n_argv, .id = name, .folder = folder, .argv = argv, .seconds = 0};
    uint64_t handle = 0;
    aira__host_clear_failure(aira__registry_host(s->registry));
    aira_status status = table->submit(s->self, &lease, &handle);
    if (status == AIRA_OK && cancel) status = table->cancel(s->self, handle);
    if (status) {
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", failure(s));
        return false;
    }
    double begin = aira__now();
    do {
        *state = (aira_lease_state){.size = sizeof *state, .exit_status = -1};
        status = table->poll(s->self, handle, state);
        if (status == AIRA_OK && state->state == AIRA_LEASE_RUNNING) nanosleep(&(struct timespec){0, 10000000}, NULL);
    } while (status == AIRA_OK && state->state == AIRA_LEASE_RUNNING && aira__now() - begin < LEASE_SECONDS);
    bool ended = status == AIRA_OK && state->state != AIRA_LEASE_RUNNING;
    if (!ended) (void)table->cancel(s->self, handle); /* the verdict below is what counts */
    table->forget(s->self, handle);
    if (status != AIRA_OK)
        aira__say(s, name, AIRA_CHECK_FAIL, "cannot be polled: %.400s", failure(s));
    else if (!ended)
        aira__say(s, name, AIRA_CHECK_FAIL, "the lease still runs after %d s", LEASE_SECONDS);
    return ended;
}

static void check_leases(const aira__subject *s, const char *folder) {
    static const char *const good[] = {"/bin/true"}, *const bad[] = {"/bin/false"},
                             *const endless[] = {"/bin/sleep", "3600"};
    aira_lease_state state;
    const char *name = aira__start(s, "runs");
    if (!run_lease(s, name, folder, good, 1, false, &state)) return;
    if (state.state == AIRA_LEASE_DONE)
        aira__say(s, name, AIRA_CHECK_PASS, "a worker that ends well is done");
    else
        aira__say(s, name, AIRA_CHECK_FAIL, "a worker that ended with status 0 counts as failed: %.200s", state.text);
    name = aira__start(s, "fails");
    if (!run_lease(s, name, folder, bad, 1, false, &state)) return;
    if (state.state == AIRA_LEASE_FAILED && state.text[0])
        aira__say(s, name, AIRA_CHECK_PASS, "%.200s", state.text);
    else
        aira__say(s, name, AIRA_CHECK_FAIL, "a worker that ended with status 1 must be failed, with a reason");
    name = aira__start(s, "cancels");
    if (!run_lease(s, name, folder, endless, 2, true, &state)) return;
    if (state.state == AIRA_LEASE_FAILED)
        aira__say(s, name, AIRA_CHECK_PASS, "a cancelled lease ends and counts as failed");
    else
        aira__say(s, name, AIRA_CHECK_FAIL, "a cancelled lease counts as done");
}

void aira__check_executor(aira__subject *s) {
    const aira_executor *table = s->plugin->table;
    const char *name = aira__start(s, "capacity");
    char folder[] = "/tmp/aira-check-XXXXXX";
    aira_error error = {0};
    if (!table->capacity || !table->submit || !table->poll || !table->cancel || !table->forget) {
        aira__say(s, name, AIRA_CHECK_FAIL, "a slot of the table is NULL");
        return;
    }
    uint32_t capacity = table->capacity(s->self);
    if (capacity < 1) {
        aira__say(s, name, AIRA_CHECK_FAIL, "no lease may ever run: capacity is 0");
        return;
    }
    aira__say(s, name, AIRA_CHECK_PASS, "%u leases at once", capacity);
    if (table->flags & AIRA_EXECUTOR_ANSWERS) {
        aira__say(s, aira__start(s, "runs"), AIRA_CHECK_SKIP, "it answers by itself and starts no workers");
        return;
    }
    if (!mkdtemp(folder)) {
        aira__say(s, aira__start(s, "runs"), AIRA_CHECK_FAIL, "no folder can be made under /tmp");
        return;
    }
    check_leases(s, folder);
    if (aira__remove_tree(folder, &error))
        aira__say(s, aira__start(s, "cleans"), AIRA_CHECK_FAIL, "%.400s", error.text);
}
