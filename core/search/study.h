/* core/search/study.h - a study file: one task, many searches, what becomes of their results.
 *
 *     study: quickstart
 *     task: {file: ../tasks/quickstart.yaml}        # or the task's keys in place
 *     searches:
 *       - {agent: {use: mutate}, scaffold: {use: greedy, drafts: 4}, seeds: [1, 2], parallel: 2, label: "mutation"}
 *                                                   # memory, memory_tokens, complexity, analyse: docs/prompts.md
 *     budget: {candidates: 24, wall: 2h}            # each search may have a budget of its own
 *     device: {use: cpu}
 *     executor: {use: local, workers: 2, batch: 1, at_once: 1}
 *                                                   # evaluations per lease, and of those trained at once by a worker;
 *                                                   # 8 at once and 32 where the device has queues (cuda), else 1
 *     aggregate: [{use: n0}, {use: n1, agents: [mutation]}]
 *     extrapolate: {to: [350M, 1B], by: [stack, stretch]}
 *     prices: prices.yaml                           # what models cost (core/search/price.h); none where absent
 *     confirm: {seeds: 3, alpha: 0.05}              # as baselines and final: trust.h
 *     prompts: prompts                              # folder of templates; the shipped ones where absent
 *
 * Reading a study yields one canonical JSON object with every default filled in, which is all that a run knows: it goes
 * to the journal and a resumed run reads nothing else. Its members:
 *   study, task (canonical), task_hash, tokens (in order), layers, higher_is_better, metric, limits {seconds, memory},
 *   scale {worst, best, optimum}, searches [{agent, scaffold, seed, parallel, label, budget, memory, memory_tokens,
 *   complexity, analyse, analyst}] (one per seed; agent null where the scaffold proposes), data (overview for prompts),
 *   budget, device, executor, batch, at_once, aggregate [{use, ..., agents}],
 *   extrapolate {to, by}, prices [{model, input, ...}], confirm, baselines, final (trust.h), prompts {name: text}
 */
#ifndef AIRA_SEARCH_STUDY_H
#define AIRA_SEARCH_STUDY_H

#include <jansson.h>

#include "core/config/config.h"
#include "core/plugin/registry.h"

/* overrides: "budget.wall=2h"; "task.proxies.0.recipe.steps=50" reaches into the task's own file. prompts_folder: where
   templates are when the study does not say; NULL: the shipped ones. check_data: missing data files are errors. A new
   reference, or NULL with every error in diagnostics. */
json_t *aira__study_load(aira__registry *, const char *path, const char *const *overrides, int n_overrides,
                         const char *prompts_folder, bool check_data, aira__diagnostics *);
/* The list `searches:` alone, as in the canonical study; a new reference. */
json_t *aira__study_searches(aira__registry *, aira__node *list, aira__diagnostics *);

#endif
