/* tests/support/synthetic_journal.h - a run directory as a search would leave it, without training anything.
 *
 * Scores follow a rule (attention early and MLPs late are good) plus a little keyed noise, so that curves rise,
 * clusters exist, and every number is the same each time. `hostile` puts markup, quotes and broken UTF-8 wherever text
 * can stand.
 */
#ifndef AIRA_TESTS_SYNTHETIC_JOURNAL_H
#define AIRA_TESTS_SYNTHETIC_JOURNAL_H

#include <criterion/criterion.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aira/rng.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/compose/notation.h"
#include "core/search/journal.h"

/* Prompts are made by the program and always UTF-8; all else may be anything. */
#define SYNTHETIC_HOSTILE_TEXT "</script><script>alert(1)</script><!-- \" ' & <img src=x onerror=alert(2)> \x1b[31m"
#define SYNTHETIC_HOSTILE SYNTHETIC_HOSTILE_TEXT " \xff\xfe \xed\xa0\x80 =1+1"

static const char *const synthetic_tokens[] = {"mA", "M", "Mb"};

static double synthetic_score(const uint16_t *layers, int n, aira_rng *rng) {
    double score = 0.4;
    for (int i = 0; i < n; i++)
        score += (layers[i] == 0 ? 0.5 - (double)i / n : layers[i] == 1 ? (double)i / n - 0.4 : 0.05) / n;
    return fmin(fmax(score + 0.01 * aira_rng_normal(rng), 0), 0.999);
}

typedef struct synthetic {
    aira__journal *j;
    int depth, nodes;
    bool hostile;
    int64_t best;
    double best_score;
    uint16_t best_layers[64];
} synthetic;

static void synthetic_ok(aira_status status, const aira_error *error) {
    cr_assert_eq(status, AIRA_OK, "%s", error->text);
}

static void synthetic_call(synthetic *s, int64_t search, int64_t idx, const char *answer) {
    aira_error error = {0};
    char prompt[65], reply[65], body[512];
    snprintf(body, sizeof body, "Propose %d layers from mA, M, Mb.\nNode %lld of search %lld.\n%s", s->depth,
             (long long)idx, (long long)search, s->hostile ? SYNTHETIC_HOSTILE_TEXT : "Best so far: see below.");
    json_t *messages = json_pack("[{s:s, s:s}, {s:s, s:o}]", "role", "system", "content",
                                 "You design networks.\n\nAnswer with one block:\n- `mA`: attention\n- `M`: mlp\n",
                                 "role", "user", "content", json_stringn_nocheck(body, strlen(body)));
    synthetic_ok(aira__journal_put_prompt(s->j, messages, prompt, &error), &error);
    json_decref(messages);
    synthetic_ok(aira__journal_put_text(s->j, answer, reply, &error), &error);
    aira__journal_call call = {.search = search,
                               .idx = idx,
                               .operator_name = idx < 5 ? "draft" : "improve",
                               .request_hash = prompt,
                               .prompt = prompt,
                               .answer = reply,
                               .state = "asked",
                               .input_tokens = 400,
                               .cached_tokens = -1,
                               .cache_write_tokens = -1,
                               .output_tokens = 120,
                               .reasoning_tokens = -1,
                               .money_usd = 0.001,
                               .started = 1000.0 + (double)idx,
                               .seconds = -1};
    synthetic_ok(aira__journal_begin_call(s->j, &call, &error), &error);
    call.state = "answered";
    call.seconds = 0.8;
    synthetic_ok(aira__journal_end_call(s->j, &call, &error), &error);
}

static void synthetic_evaluation(synthetic *s, const char *hash, uint64_t seed, double score, double selection,
                                 bool failed) {
    aira_error error = {0};
    char curve[2048];
    size_t used = (size_t)snprintf(curve, sizeof curve, "[");
    for (int k = 0; k <= 20; k++)
        used += (size_t)snprintf(curve + used, sizeof curve - used, "%s[%d,%.4f,%.4f]", k ? "," : "", 5 * k,
                                 2.8 - 2 * score * k / 20, score * (1 - exp(-k / 5.0)));
    snprintf(curve + used, sizeof curve - used, "]");
    aira__journal_evaluation e = {.hash = hash,
                                  .task_hash = "task",
                                  .seed = seed,
                                  .purpose = "search",
                                  .status = failed ? "failed" : "ok",
                                  .cause = failed ? "nan" : NULL,
                                  .search_score = failed ? NAN : score,
                                  .selection_score = failed ? NAN : selection,
                                  .test_score = NAN,
                                  .curve = curve,
                                  .parameters = 1643520,
                                  .flops = 4e11,
                                  .seconds = 2.5};
    synthetic_ok(aira__journal_add_evaluation(s->j, &e, NULL, &error), &error);
}

static void synthetic_node(synthetic *s, int64_t search, int64_t idx, uint64_t seed) {
    aira_error error = {0};
    aira_rng rng = aira_rng_make(aira_key(seed, "synthetic node"), (uint64_t)idx);
    bool draft = idx < 5, buggy = aira_rng_below(&rng, 12) == 0, unparsed = buggy && aira_rng_below(&rng, 2);
    aira__journal_node node = {.search = search,
                               .idx = idx,
                               .operator_name = draft ? "draft" : "improve",
                               .parent = draft ? -1 : s->best,
                               .other_parent = -1,
                               .seed = 7,
                               .duplicate_of = -1,
                               .status = "pending",
                               .search_score = NAN,
                               .selection_score = NAN,
                               .created = 1000.0 + 3.0 * (double)idx,
                               .view = idx,
                               .seeds = 1,
                               .spread = NAN};
    synthetic_ok(aira__journal_add_node(s->j, &node, &error), &error);
    uint16_t layers[64];
    for (int i = 0; i < s->depth; i++)
        layers[i] = draft || s->best < 0 ? (uint16_t)aira_rng_below(&rng, 3) : s->best_layers[i];
    for (int k = 0; k < 2; k++) layers[aira_rng_below(&rng, (uint32_t)s->depth)] = (uint16_t)aira_rng_below(&rng, 3);
    char *text = aira__notation_format(layers, s->depth, synthetic_tokens), canonical[2048], hash[65], answer[2600];
    size_t used = (size_t)snprintf(canonical, sizeof canonical, "{\"kind\":\"compose\",\"layers\":[");
    for (int i = 0; i < s->depth; i++)
        used += (size_t)snprintf(canonical + used, sizeof canonical - used, "%s\"%s\"", i ? "," : "",
                                 synthetic_tokens[layers[i]]);
    snprintf(canonical + used, sizeof canonical - used, "]}");
    aira__sha256_hex(canonical, strlen(canonical), hash);
    snprintf(answer, sizeof answer, "Attention first.%s\n```yaml\nlayers: \"%s\"\n```\n",
             s->hostile ? SYNTHETIC_HOSTILE : "", text);
    synthetic_call(s, search, idx, answer);
    aira_rng noise = aira_rng_make(aira_key(1, hash), 0);
    double score = synthetic_score(layers, s->depth, &noise),
           selection = score - 0.004 + 0.006 * aira_rng_normal(&noise);
    node.status = buggy ? "buggy" : "good";
    node.finished = node.created + 2.5;
    node.cause = buggy ? (unparsed ? "answer" : "nan") : NULL;
    node.note = buggy ? (s->hostile ? SYNTHETIC_HOSTILE : "the loss is not finite at step 40") : NULL;
    if (!unparsed) {
        node.hash = hash;
        synthetic_ok(aira__journal_add_candidate(s->j, hash, "compose", text, canonical, &error), &error);
        synthetic_evaluation(s, hash, 7, score, selection, buggy);
    }
    if (!buggy) {
        node.search_score = score;
        node.selection_score = selection;
        if (s->best < 0 || score > s->best_score) {
            s->best = idx;
            s->best_score = score;
            memcpy(s->best_layers, layers, sizeof layers);
        } else if (memcmp(layers, s->best_layers, (size_t)s->depth * sizeof *layers) == 0) {
            node.duplicate_of = s->best;
        }
    }
    synthetic_ok(aira__journal_finish_node(s->j, &node, &error), &error);
    free(text);
}

static void synthetic_study(synthetic *s) {
    aira_error error = {0};
    const char *name = s->hostile ? SYNTHETIC_HOSTILE : "quickstart";
    const char *const rows[][2] = {
        {"name", name},
        {"metric", "accuracy"},
        {"higher_is_better", "true"},
        {"tokens", "[\"mA\",\"M\",\"Mb\"]"},
        {"program", "aira 0.1.0 (3f1c2a9)"},
        {"hashes", "{\"task\":\"5d0c\",\"data\":\"91ab\"}"},
        {"created", "2026-01-05T10:00:00Z"},
        {"config",
         "{\"study\":\"quickstart\",\"budget\":{\"candidates\":400,\"evaluations\":300},\"task\":{\"proxies\":[{"
         "\"dataset\":"
         "{\"use\":\"mad\",\"task\":\"memorization\"},\"recipe\":{\"steps\":100,\"batch\":32,\"optimizer\":{\"use\":"
         "\"adamw\","
         "\"lr\":0.0005,\"betas\":[0.9,0.999],\"weight_decay\":0.0}}}]},\"device\":{\"use\":\"cpu\"},\"searches\":[]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        synthetic_ok(aira__journal_set_study(s->j, rows[i][0], rows[i][1], &error), &error);
}

static void synthetic_results(synthetic *s) {
    aira_error error = {0};
    char *best = aira__notation_format(s->best_layers, s->depth, synthetic_tokens), value[4096], support[1024] = "";
    for (int i = 0; i < s->depth; i++)
        snprintf(support + strlen(support), sizeof support - strlen(support), "%s%.2f", i ? "," : "",
                 0.5 + 0.5 * ((i * 7) % 10) / 10);
    const char *const by[] = {"n0", "n1", "n2"};
    for (int i = 0; i < 3; i++) {
        snprintf(value, sizeof value,
                 "{\"by\":\"%s\",\"architecture\":\"%s\",\"support\":[%s],\"cluster_size\":7,\"notes\":[\"layer 3: mA "
                 "and M tie with "
                 "weight 2 each; mA by the order of tokens\"]}",
                 by[i], best, support);
        synthetic_ok(aira__journal_set_result(s->j, "aggregated", by[i], value, &error), &error);
    }
    const char *const ways[][4] = {{"1B", "stack", "2mA 4M 2mA 4M 2mA 4M 2mA 4M mA 2M", "1B stack"},
                                   {"1B", "stretch", "9mA 18M", "1B stretch"}};
    for (int i = 0; i < 2; i++) {
        snprintf(value, sizeof value,
                 "{\"to\":\"%s\",\"by\":\"%s\",\"architecture\":\"%s\",\"layers\":27,\"parameters_body\":1000341504,"
                 "\"parameters_total\":"
                 "1263067136,\"parameters_active\":null,\"flops_per_token\":6.9e9,\"kv_bytes_per_token\":18432,"
                 "\"tokens\":{\"mA\":9,"
                 "\"M\":18},\"llama\":{\"layers\":32,\"parameters_body\":973078528,\"parameters_total\":1235814400,"
                 "\"flops_per_token\":"
                 "7.45e9,\"kv_bytes_per_token\":32768},\"model\":null}",
                 ways[i][0], ways[i][1], ways[i][2]);
        synthetic_ok(aira__journal_set_result(s->j, "extrapolated", ways[i][3], value, &error), &error);
    }
    free(best);
}

/* A run directory below /tmp (malloc'ed; remove with aira__remove_tree) with `nodes` nodes in `searches` searches. */
static char *synthetic_run(int nodes, int searches, int depth, bool hostile) {
    aira_error error = {0};
    char folder[] = "/tmp/aira-report-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/journal.db", folder);
    const aira__journal_options options = {.create = true};
    synthetic s = {.depth = depth, .nodes = nodes, .hostile = hostile};
    synthetic_ok(aira__journal_open(path, &options, &s.j, &error), &error);
    synthetic_ok(aira__journal_begin(s.j, &error), &error);
    synthetic_study(&s);
    for (int k = 0; k < searches; k++) {
        char agent[512] = "{\"use\":\"mutate\"}";
        if (hostile) snprintf(agent, sizeof agent, "%s", SYNTHETIC_HOSTILE);
        aira__journal_search row = {.id = k + 1,
                                    .agent = agent,
                                    .scaffold = k % 2 ? "{\"use\":\"one_shot\"}" : "{\"use\":\"greedy\"}",
                                    .seed = (uint64_t)k + 1,
                                    .task_hash = "task",
                                    .parallel = 2,
                                    .label = hostile ? SYNTHETIC_HOSTILE : "",
                                    .state = "done",
                                    .reason = hostile ? SYNTHETIC_HOSTILE : NULL};
        synthetic_ok(aira__journal_add_search(s.j, &row, &error), &error);
        s.best = -1;
        for (int i = 0; i < nodes / searches; i++) synthetic_node(&s, k + 1, i, (uint64_t)k + 1);
    }
    if (nodes) synthetic_results(&s);
    synthetic_ok(aira__journal_commit(s.j, &error), &error);
    aira__journal_close(s.j);
    return strdup(folder);
}

#endif
