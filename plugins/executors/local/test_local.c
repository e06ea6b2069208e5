/* test_local.c - two workers at once see a GPU each, and one that comes later gets the one that is free. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "aira/executor.h"
#include "tests/support/engine.h"
#include "tests/support/folder.h"

typedef struct lab {
    test_folder folder;
    aira__registry *registry;
    aira__instance *made;
    const aira_executor *table;
} lab;

/* A worker that says what it sees and waits until its folder holds `go`. */
static uint64_t start(const lab *l, const char *name) {
    char folder[900], script[2048];
    snprintf(folder, sizeof folder, "%s/%s", l->folder.path, name);
    mkdir(folder, 0700);
    snprintf(script, sizeof script, "echo $CUDA_VISIBLE_DEVICES >%s/seen; while [ ! -e %s/go ]; do sleep 0.02; done",
             folder, folder);
    const char *argv[] = {"/bin/sh", "-c", script};
    aira_lease lease = {.size = sizeof lease, .n_argv = 3, .id = name, .folder = folder, .argv = argv, .seconds = 60};
    uint64_t handle = 0;
    cr_assert_eq(l->table->submit(l->made->self, &lease, &handle), AIRA_OK);
    return handle;
}

static void finish(const lab *l, const char *name, uint64_t handle) {
    char file[64];
    aira_lease_state state = {.size = sizeof state, .state = AIRA_LEASE_RUNNING};
    snprintf(file, sizeof file, "%s/go", name);
    test_folder_write(&l->folder, file, "", 0);
    while (state.state == AIRA_LEASE_RUNNING) {
        nanosleep(&(struct timespec){0, 5000000}, NULL);
        cr_assert_eq(l->table->poll(l->made->self, handle, &state), AIRA_OK);
    }
    cr_assert_eq(state.state, AIRA_LEASE_DONE, "%s", state.text);
    l->table->forget(l->made->self, handle);
}

static void expect_gpu(const lab *l, const char *name, const char *expected) {
    char path[900], seen[64] = "";
    snprintf(path, sizeof path, "%s/%s/seen", l->folder.path, name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(seen, sizeof seen, file));
    fclose(file);
    seen[strcspn(seen, "\n")] = 0;
    cr_assert_str_eq(seen, expected);
}

Test(local, a_gpu_for_each_worker) {
    lab l = {0};
    aira_error error = {0};
    test_folder_make(&l.folder);
    test_engine e = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    json_t *keys = json_loads("{\"use\": \"local\", \"workers\": 2, \"gpus\": [\"5\", \"GPU-7\"]}", 0, NULL);
    cr_assert_eq(aira__instance_create_json(e.registry, "executor", keys, &l.made, &error), AIRA_OK, "%s", error.text);
    l.table = l.made->plugin->table;
    uint64_t a = start(&l, "a"), b = start(&l, "b");
    finish(&l, "a", a);
    uint64_t c = start(&l, "c");
    finish(&l, "b", b);
    finish(&l, "c", c);
    expect_gpu(&l, "a", "5");
    expect_gpu(&l, "b", "GPU-7");
    expect_gpu(&l, "c", "5");
    json_decref(keys);
    aira__instance_destroy(l.made);
    test_engine_close(&e);
    test_folder_remove(&l.folder);
}
