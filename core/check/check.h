/* core/check/check.h - conformance: what a plugin promises, measured. The loop that a plugin author lives by.
 *
 * Every check gives one verdict with one line of text. A primitive is traced, differentiated and run on the CPU in fp64
 * with all parameters redrawn non-zero (a leak behind a gate that starts at zero must show); the other kinds are
 * loaded, configured and driven through a small made-up job.
 */
#ifndef AIRA_CHECK_CHECK_H
#define AIRA_CHECK_CHECK_H

#include "core/check/trial.h"
#include "core/graph/model.h"

typedef enum { AIRA_CHECK_PASS, AIRA_CHECK_FAIL, AIRA_CHECK_SKIP } aira__verdict;
const char *aira__verdict_name(aira__verdict); /* "pass" */

typedef struct aira__check_options {
    const char *target; /* path of a plugin file or of a C source ("x.c": built in the sandbox), "id" or "kind/id" */
    const char *config; /* YAML: its keys, in place ("{heads: 4}") or the name of a file; NULL: defaults */
    int64_t width;      /* C of primitives; 0: the first of some usual ones that the primitive accepts */
    double seconds;     /* limit of an isolated run; 0: 120 */
    bool unconfined;    /* a source may be built without name spaces where there are none */
} aira__check_options;

typedef struct aira__check_sink {
    void *context;
    void (*begin)(void *context, const char *name); /* the check that runs now, for the case of a crash */
    void (*verdict)(void *context, const char *name, aira__verdict, const char *text);
} aira__check_sink;

/* Runs all checks in this process. An error is returned only where there is nothing to check (no such plugin, unusable
   configuration); failed checks are verdicts. */
aira_status aira__check_run(aira__registry *, const aira__check_options *, const aira__check_sink *, aira_error *);

typedef struct aira__check_line {
    char name[32];
    aira__verdict verdict;
    char text[1600]; /* a compiler's errors may take several lines */
} aira__check_line;
typedef struct aira__check_report {
    char path[1024];
    bool passed; /* nothing failed */
    int n;
    aira__check_line lines[32];
} aira__check_report;

/* The same in a child process: a crash, a hang or an exit of the plugin becomes a failed check "survives". */
aira_status aira__check_isolated(aira__registry *, const aira__check_options *, aira__check_report *, aira_error *);

/* --- between the files of this folder ----------------------------------------------------------------------------- */

typedef struct aira__mechanism_options aira__mechanism_options; /* mechanism.h */

typedef struct aira__subject {
    const aira__mechanism_options *place; /* what a task asks of a mechanism; NULL: `aira check` */
    aira__registry *registry;
    const aira__check_options *options;
    const aira__check_sink *sink;
    const aira_plugin *plugin;
    void *self, *config;
    aira__filled *memory;
    json_t *canonical;
    char *canonical_text;
    aira__instance *source; /* where the target is a C source: owns plugin and self */
    aira__lab lab;          /* open where the kind needs one */
} aira__subject;

void aira__say(const aira__subject *, const char *name, aira__verdict, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Where the target is: entry is NULL for a file by its path. */
aira_status aira__check_locate(aira__registry *, const char *target, const aira__plugin_entry **entry,
                               const char **path, aira_error *);
/* begin of a check; returns its name */
const char *aira__start(const aira__subject *, const char *name);

void aira__check_places(const aira__subject *, const aira__layer *); /* "in place": leaks where a task puts it */
/* The trained values of a mechanism over what was redrawn, where they are known; nothing without weights. */
aira_status aira__put_weights(const aira__subject *, const aira__layer *, aira__trial *, aira_error *);

/* --config as a document; without it, the defaults (a backbone is made narrow). */
aira__document *aira__check_document(const aira__subject *, aira__diagnostics *);
/* source.c: compiles and configures a C source in the sandbox; subject's source, plugin and self where that worked. */
aira_status aira__check_load_source(aira__subject *, const char *path, aira_error *);

/* A source's traces are remembered: builds it anew in two processes. AIRA_OK for other primitives. */
aira_status aira__check_repeats(const aira__layer *, aira_error *);

void aira__check_primitive(aira__subject *);
/* The parts of it. shapes gives the width for all others, 0 if it failed. */
int64_t aira__check_shapes(const aira__subject *, const aira__layer *);
void aira__check_purity(const aira__subject *, const aira__layer *, int64_t width);
void aira__check_gradient(const aira__subject *, const aira__layer *, int64_t width);
void aira__check_leaks(const aira__subject *, const aira__layer *,
                       int64_t width); /* causality, batch, reach, bf16, repeat */
void aira__check_cost(const aira__subject *, const aira__layer *, int64_t width);
void aira__check_backbone(aira__subject *);
void aira__check_optimizer(aira__subject *);
void aira__check_dataset(aira__subject *);
void aira__check_aggregator(aira__subject *);
void aira__check_scaffold(aira__subject *);
void aira__check_device(aira__subject *);
void aira__check_agent(aira__subject *);
void aira__check_executor(aira__subject *);

#endif
