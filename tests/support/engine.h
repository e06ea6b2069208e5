/* engine.h - a cpu device out of the build tree, and small random graphs, for tests of the engine and of trainings. */
#ifndef AIRA_TESTS_ENGINE_H
#define AIRA_TESTS_ENGINE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/device.h"
#include "aira/rng.h"
#include "core/graph/graph.h"
#include "core/plugin/registry.h"

typedef struct test_engine {
    aira__registry *registry;
    aira__instance *instance;
    const aira_device *device;
    void *self;
    const aira_host *host;
} test_engine;

/* keys: JSON such as {"use": "cpu", "threads": 2}. Ends the program with a sentence when there is no device. */
static inline test_engine test_engine_open(const char *keys) {
    test_engine e = {0};
    aira_error error = {0};
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/lib/aira/plugins", getenv("AIRA_BUILD_DIR"));
    const char *paths[] = {folder};
    aira__registry_options options = {.paths = paths, .n_paths = 1};
    json_t *json = json_loads(keys, 0, NULL);
    if (aira__registry_create(&options, &e.registry, &error) != AIRA_OK ||
        aira__instance_create_json(e.registry, "device", json, &e.instance, &error) != AIRA_OK) {
        fprintf(stderr, "no cpu device: %s\n", error.text);
        exit(1);
    }
    json_decref(json);
    e.device = e.instance->plugin->table;
    e.self = e.instance->self;
    e.host = aira__registry_host(e.registry);
    return e;
}

static inline void test_engine_close(test_engine *e) {
    aira__instance_destroy(e->instance);
    aira__registry_destroy(e->registry);
}

/* --- random graphs: rows of [R, 6] for several R, as inputs, variables, and what a few operations make of them ------
 */

enum { TEST_WIDTH = 6, TEST_POOL = 40 };

typedef struct test_pool {
    aira_tensor *tensors[TEST_POOL + 8];
    int n;
} test_pool;

static inline aira_shape test_rows(int64_t rows) { return (aira_shape){{rows, TEST_WIDTH}, 2, 0}; }

static inline aira_tensor *test_pick(test_pool *p, aira_rng *r) {
    return p->tensors[aira_rng_below(r, (uint32_t)p->n)];
}

/* A tensor of the same shape as a, or NULL. */
static inline aira_tensor *test_pick_like(test_pool *p, aira_rng *r, const aira_tensor *a) {
    for (int tries = 0; tries < 20; tries++) {
        aira_tensor *b = test_pick(p, r);
        if (b->shape.dims[0] == a->shape.dims[0]) return b;
    }
    return NULL;
}

static inline aira_tensor *test_random_op(aira_graph *g, test_pool *p, aira_rng *r) {
    const aira_ops *ops = aira__graph_ops();
    aira_tensor *a = test_pick(p, r), *b = test_pick_like(p, r, a);
    int32_t axis0 = 0, axis1 = 1, swapped[] = {1, 0};
    switch (aira_rng_below(r, 15)) {
    case 0:
        return b != NULL ? ops->add(g, a, b) : a;
    case 1:
        return b != NULL ? ops->mul(g, a, b) : a;
    case 2:
        return b != NULL ? ops->sub(g, b, a) : a;
    case 3:
        return ops->tanh(g, a);
    case 4:
        return ops->sigmoid(g, a);
    case 5:
        return ops->scale(g, a, 0.5);
    case 6:
        return ops->add(g, a, ops->sum(g, a, &axis0, 1, 1));
    case 7:
        return ops->mul(g, a, ops->mean(g, a, &axis1, 1, 1));
    case 8:
        return a->shape.dims[0] > 1 ? ops->slice(g, a, 0, 1, a->shape.dims[0] - 1) : a;
    case 9: {
        aira_tensor *pair[] = {test_pick(p, r), ops->tanh(g, test_pick(p, r))};
        return pair[0]->shape.dims[0] + pair[1]->shape.dims[0] <= 64 ? ops->concat(g, pair, 2, 0) : pair[1];
    }
    case 10: {
        aira_shape flat = {{a->shape.dims[0] * TEST_WIDTH}, 1, 0};
        return ops->reshape(g, ops->neg(g, ops->reshape(g, a, &flat)), &a->shape);
    }
    case 11:
        return ops->tanh(g, ops->matmul(g, a, ops->matmul(g, a, a, 1, 0), 0, 0));
    case 12:
        return ops->transpose(g, ops->sigmoid(g, ops->transpose(g, a, swapped, 2)), swapped, 2);
    case 13:
        return ops->softmax(g, a);
    default: {
        aira_shape row = {{1, TEST_WIDTH}, 2, 0};
        return ops->sub(g, ops->broadcast(g, ops->slice(g, a, 0, 0, 1), &a->shape), ops->constant(g, 0.25, &row));
    }
    }
}

/* Inputs "in0", "in1", variables "v0", "v1" (assigned), outputs "out0".. ; deterministic in seed. */
static inline aira_graph *test_random_graph(uint32_t dtype, uint64_t seed, int n_ops) {
    aira_graph *g = aira__graph_create(dtype, NULL);
    const aira_ops *ops = aira__graph_ops();
    aira_rng r = aira_rng_make(aira_key(seed, "graph"), 0);
    test_pool p = {.n = 0};
    aira__variable *v[2];
    for (int k = 0; k < 2; k++) {
        char name[16];
        aira_shape shape = test_rows(4 + 4 * k);
        snprintf(name, sizeof name, "in%d", k);
        p.tensors[p.n++] = aira__graph_input(g, name, dtype, &shape);
        aira_param_info info = {.size = sizeof info, .init = "normal", .a = 1};
        snprintf(name, sizeof name, "v%d", k);
        p.tensors[p.n++] = ops->param(g, name, &shape, &info);
        v[k] = aira__graph_find_variable(g, name);
    }
    for (int k = 0; k < n_ops; k++) {
        aira_tensor *made = test_random_op(g, &p, &r);
        if (p.n < TEST_POOL)
            p.tensors[p.n++] = made;
        else
            p.tensors[4 + aira_rng_below(&r, TEST_POOL - 4)] = made;
    }
    for (int k = 0; k < 4; k++) {
        char name[16];
        snprintf(name, sizeof name, "out%d", k);
        aira__graph_output(g, name, k == 3 ? v[1]->tensor : test_pick(&p, &r));
    }
    for (int k = 0; k < 2; k++) {
        aira_tensor *value = test_pick_like(&p, &r, v[k]->leaf);
        if (value != NULL) aira__graph_assign(g, v[k], value);
    }
    return g;
}

#endif
