/* core/sandbox/trace_child.h - what runs inside the sandbox beside foreign code: loads it, configures it, lets it
 * build.
 *
 * It shares a process with foreign code from the moment of loading, so nothing that it says is believed: the host
 * checks the reply as if the foreign code had written it. Standard input is a JSON object, standard output the reply:
 *
 *   {"config": {keys as given},
 *    "traces": [{"shape": [B,T,C], "ints": {"causal": 1}, "tensors": [["mask", 3, [B,T]]]}]}
 *
 * Builds are shown bf16, whatever is computed in (core/graph/splice.h).
 *
 *   "AIRABOX1", u64 length, JSON, then the graphs of "traces" one after another:
 *   {"error": "...", "phase": "load" | "configure" | "build"}    or
 *   {"token": "X", "flags": 1, "summary": "...", "config": {every key}, "traces":
 *     [{"bytes": n, "asked": [["causal", tensor, known, value]], "drawn": [[op, name]], "aux": [[name, weight]], "kv":
 * n}]}
 */
#ifndef AIRA_SANDBOX_TRACE_CHILD_H
#define AIRA_SANDBOX_TRACE_CHILD_H

#define AIRA__TRACE_MAGIC "AIRABOX1"
#define AIRA__TRACE_MAX_OPS 20000u
#define AIRA__TRACE_MAX_ELEMENTS ((int64_t)1 << 34)

/* file: the shared object. Exit status of the process. */
int aira__trace_child(const char *file);

#endif
