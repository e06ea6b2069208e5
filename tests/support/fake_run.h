/* tests/support/fake_run.h - whole runs of tests/cli/studies/tiny.yaml with a worker that scores without training
 * (tests/support/fake_worker.py), in a folder of the test's own. */
#ifndef AIRA_TESTS_FAKE_RUN_H
#define AIRA_TESTS_FAKE_RUN_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/run.h"
#include "core/search/study.h"

static char folder[64];

static void make_folder(void) {
    strcpy(folder, "/tmp/aira-run-XXXXXX");
    cr_assert(mkdtemp(folder));
}

static void remove_folder(void) { (void)aira__remove_tree(folder, NULL); }

static const char *source_file(const char *name) {
    static char path[1024];
    const char *source = getenv("AIRA_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/%s", source ? source : ".", name);
    return path;
}

typedef struct outcome {
    char dir[128];
    aira__run_end end;
    aira_status status;
    aira_error error;
    json_t *summary;
    aira__journal *journal;
} outcome;

/* Runs tests/cli/studies/tiny.yaml with overrides in folder/name under a behaviour of the worker. */
static outcome run_study(const char *name, const char *behaviour, const char *const *overrides, int n) {
    outcome o = {.end = AIRA__RUN_DONE};
    char worker[1024], file[256];
    aira__registry *registry = NULL;
    cr_assert_eq(aira__registry_create(NULL, &registry, &o.error), AIRA_OK, "%s", o.error.text);
    aira__diagnostics *d = aira__diagnostics_create();
    const char *all[16] = {"final.seeds=0"}; /* an override may turn it on again */
    for (int i = 0; i < n; i++) all[i + 1] = overrides[i];
    json_t *study = aira__study_load(registry, source_file("tests/cli/studies/tiny.yaml"), all, n + 1, NULL, true, d);
    cr_assert(study, "%s", aira__diagnostics_text(d));
    aira__diagnostics_destroy(d);
    snprintf(o.dir, sizeof o.dir, "%s/%s", folder, name);
    snprintf(worker, sizeof worker, "%s", source_file("tests/support/fake_worker.py"));
    cr_assert_eq(aira__run_create(registry, study, o.dir, &o.error), AIRA_OK, "%s", o.error.text);
    snprintf(file, sizeof file, "%s/behaviour", o.dir);
    cr_assert_eq(aira__file_write_atomic(file, behaviour, strlen(behaviour), NULL), AIRA_OK);
    aira__run_options options = {.registry = registry, .worker = worker, .quiet = true};
    o.status = aira__run_execute(o.dir, &options, &o.end, &o.summary, &o.error);
    aira__journal_options read_only = {.read_only = true};
    aira_error error = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/journal.db", o.dir);
    cr_assert_eq(aira__journal_open(path, &read_only, &o.journal, &error), AIRA_OK, "%s", error.text);
    json_decref(study);
    aira__registry_destroy(registry);
    return o;
}

static void release(outcome *o) {
    json_decref(o->summary);
    aira__journal_close(o->journal);
}

static double count(const outcome *o, const char *sql) { return aira__journal_number(o->journal, sql, -1); }

#endif
