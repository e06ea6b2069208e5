/* cuda_large.c - large bf16 operations on the cuda device give the bits of their parts.
 *
 *     gpu_cuda_large [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * Large tensors of bf16 are moved in wider accesses, and large sums read further ahead. Each operation here runs once
 * on all of a tensor and then on parts of its first axis, which are below those sizes and are compared with doubles by
 * other tests; all bits must agree. Exit status 0: they do; 1: not; 77: no GPU here.
 */
#include "../unit/device_harness.h"

#define MOST 3 /* operands */

typedef struct operation {
    const char *name;
    uint32_t op, n_in, rows; /* rows: bit k: operand k has no first axis and is the same for all parts */
    int64_t parts;
    aira_shape shape; /* of the result; parts divides its first extent */
    int64_t i[3];
    uint32_t n_i;
    double f;
} operation;

static int failures, checks;

static test_tensor empty(const aira_shape *shape, int64_t parts, bool row) {
    test_tensor t = {.dtype = AIRA_BF16, .copies = 1, .shape = *shape};
    if (row) t.shape = SHAPE(shape->dims[shape->rank - 1]);
    if (!row) t.shape.dims[0] /= parts;
    t.v = calloc((size_t)test_elements(&t) + 1, sizeof(double));
    return t;
}

static const char *run(test_device *device, const operation *o, test_tensor *t) {
    static const uint32_t ids[MOST + 1] = {0, 1, 2, 3};
    aira_plan_step step = {.size = sizeof step, .op = o->op, .n_in = o->n_in, .n_out = 1, .copies = 1};
    step.in = ids;
    step.out = &ids[o->n_in];
    step.i = o->i;
    step.n_i = o->n_i;
    step.f = &o->f;
    step.n_f = 1;
    return test_run(device, t, o->n_in + 1, &step, 1, 0);
}

static void complain(const operation *o, const char *what, const char *why) {
    failures++;
    printf("FAILED %s: %s%s%s\n", o->name, what, why ? ": " : "", why ? why : "");
}

static void try_operation(test_device *device, const operation *o) {
    test_tensor whole[MOST + 1], part[MOST + 1];
    aira_rng rng = aira_rng_make(aira_key(3, o->name), 0);
    for (uint32_t k = 0; k <= o->n_in; k++) {
        whole[k] = empty(&o->shape, 1, o->rows >> k & 1);
        part[k] = empty(&o->shape, o->parts, o->rows >> k & 1);
        whole[k].given = part[k].given = k < o->n_in;
        for (int64_t e = 0; k < o->n_in && e < test_elements(&whole[k]); e++)
            whole[k].v[e] = test_rounded(aira_rng_normal(&rng), AIRA_BF16);
    }
    const char *why = run(device, o, whole);
    checks++;
    if (why) complain(o, "it does not run", why);
    int64_t n = test_elements(&part[o->n_in]);
    for (int64_t p = 0; p < o->parts && !why; p++) {
        for (uint32_t k = 0; k < o->n_in; k++) {
            int64_t mine = test_elements(&part[k]);
            memcpy(part[k].v, whole[k].v + (o->rows >> k & 1 ? 0 : p * mine), (size_t)mine * sizeof(double));
        }
        why = run(device, o, part);
        checks++;
        if (why)
            complain(o, "a part does not run", why);
        else if (memcmp(part[o->n_in].v, whole[o->n_in].v + p * n, (size_t)n * sizeof(double)))
            complain(o, "a part has other bits than the whole", NULL);
    }
    for (uint32_t k = 0; k <= o->n_in; k++) {
        free(whole[k].v);
        free(part[k].v);
    }
}

int main(int argc, char **argv) {
    const operation list[] = {
        {"rope", AIRA_OP_ROPE, 1, 0, 5, SHAPE(5, 4096, 8, 64), {64, 0, 0}, 3, 10000},
        {"rope back", AIRA_OP_ROPE, 1, 0, 5, SHAPE(5, 2048, 8, 112), {0, 0, 1}, 3, 10000},
        {"product", AIRA_OP_MUL, 2, 0, 8, SHAPE(4104, 2056), {0}, 0, 0},
        {"sum with a row", AIRA_OP_ADD, 2, 2, 8, SHAPE(4104, 2056), {0}, 0, 0},
        {"sum with a row of fours", AIRA_OP_ADD, 2, 2, 8, SHAPE(4104, 2060), {0}, 0, 0},
        {"SiLU", AIRA_OP_SILU, 1, 0, 8, SHAPE(4104, 2056), {0}, 0, 0},
        {"SiLU's slope", AIRA_OP_SILU_BACKWARD, 2, 0, 8, SHAPE(4104, 2056), {0}, 0, 0},
        {"GELU's slope", AIRA_OP_GELU_BACKWARD, 2, 0, 8, SHAPE(4104, 2056), {0}, 1, 0},
    };
    test_device device;
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    if (!test_device_open(&device, argc > 1 ? argv[1] : path, 1, 0)) {
        printf("skipped: %s\n", device.failure);
        return 77;
    }
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) try_operation(&device, &list[k]);
    printf("%d runs, %d failed\n", checks, failures);
    test_device_close(&device);
    return failures ? 1 : 0;
}
