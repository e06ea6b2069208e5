/* cuda_products.c - large products on the cuda device: the algorithm that is found by trying gives the bits of the one
 * that cuBLASLt names first.
 *
 *     gpu_cuda_products [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * Every product runs on a device with `tune: true` and on one with `tune: false`, on operands that the device did not
 * try algorithms with; all bits must agree, and sampled elements must be near sums in fp64. The last line says for how
 * many products the device tried algorithms, and for how many it took another. Exit status 0: all agree; 1: not;
 * 77: no GPU here.
 */
#include "../unit/device_harness.h"

#define SAMPLES 200

enum { A, B, ADDED, C, SUM, EACH }; /* SUM: of C and ADDED, or GELU of C */

typedef struct product {
    int64_t batch, m, n, k;
    bool trans_a, trans_b;
    uint32_t out, then; /* then: 0, or AIRA_OP_ADD or AIRA_OP_GELU of the result */
    bool bias;          /* what is added is [n] */
} product;

static int failures, checks;
static unsigned tried[2], changed[2]; /* as the devices tell; [1]: of the one that tunes */
static double tried_ms[2];

static void hear(const char *text, int which) {
    const char *at = strstr(text, "algorithms of ");
    if (at)
        (void)sscanf(at, "algorithms of %u products were tried, %lf, and %u changed", &tried[which], &tried_ms[which],
                     &changed[which]);
}
static void hear_plain(const aira_host *host, int32_t level, const char *text) {
    (void)host, (void)level;
    hear(text, 0);
}
static void hear_tuned(const aira_host *host, int32_t level, const char *text) {
    (void)host, (void)level;
    hear(text, 1);
}

static void prepare(const product *p, test_tensor *t) {
    int64_t rows_a = p->trans_a ? p->k : p->m, columns_a = p->trans_a ? p->m : p->k;
    int64_t rows_b = p->trans_b ? p->n : p->k, columns_b = p->trans_b ? p->k : p->n;
    bool many = p->batch > 1;
    t[A] = (test_tensor){.shape = many ? SHAPE(p->batch, rows_a, columns_a) : SHAPE(rows_a, columns_a)};
    t[B] = (test_tensor){.shape = many ? SHAPE(p->batch, rows_b, columns_b) : SHAPE(rows_b, columns_b)};
    t[C] = (test_tensor){.shape = many ? SHAPE(p->batch, p->m, p->n) : SHAPE(p->m, p->n)};
    t[ADDED] = (test_tensor){.shape = p->bias ? SHAPE(p->n) : t[C].shape};
    t[SUM] = (test_tensor){.shape = t[C].shape};
    for (int k = 0; k < EACH; k++) {
        t[k].dtype = k < C ? AIRA_BF16 : p->out;
        t[k].given = k < C;
        t[k].copies = 1;
        t[k].v = calloc((size_t)test_elements(&t[k]) + 1, sizeof(double));
        aira_rng rng = aira_rng_make(aira_key((uint64_t)(p->m * 31 + p->n * 7 + p->k), "products"), (uint64_t)k);
        for (int64_t e = 0; k < C && e < test_elements(&t[k]); e++)
            t[k].v[e] = test_rounded(aira_rng_normal(&rng), AIRA_BF16);
    }
}

static const char *run(test_device *device, const product *p, test_tensor *t) {
    static const uint32_t operands[2] = {A, B}, sum[2] = {C, ADDED}, c = C, to = SUM;
    static const int64_t tanh_mode = 0;
    const int64_t turned[2] = {p->trans_a, p->trans_b};
    aira_plan_step steps[2] = {
        {.size = sizeof steps[0], .op = AIRA_OP_MATMUL, .n_in = 2, .n_out = 1, .n_i = 2, .copies = 1},
        {.size = sizeof steps[0], .op = p->then, .n_in = p->then == AIRA_OP_ADD ? 2 : 1, .n_out = 1, .copies = 1}};
    steps[0].in = operands;
    steps[0].out = &c;
    steps[0].i = turned;
    steps[1].in = sum;
    steps[1].out = &to;
    if (p->then == AIRA_OP_GELU) {
        steps[1].i = &tanh_mode;
        steps[1].n_i = 1;
    }
    return test_run(device, t, EACH, steps, p->then ? 2 : 1, 0);
}

/* The element of the product in fp64, and what is done with it. */
static double expect(const product *p, const test_tensor *t, int64_t batch, int64_t i, int64_t j) {
    const double *a = t[A].v + batch * p->m * p->k, *b = t[B].v + batch * p->k * p->n;
    double sum = 0;
    for (int64_t l = 0; l < p->k; l++)
        sum += a[p->trans_a ? l * p->m + i : i * p->k + l] * b[p->trans_b ? j * p->k + l : l * p->n + j];
    if (p->then == AIRA_OP_ADD) sum += t[ADDED].v[p->bias ? j : (batch * p->m + i) * p->n + j];
    if (p->then == AIRA_OP_GELU) sum = 0.5 * sum * (1 + tanh(0.7978845608028654 * (sum + 0.044715 * sum * sum * sum)));
    return sum;
}

static double distance(const product *p, const test_tensor *t) {
    double error = 0, scale = 0;
    aira_rng rng = aira_rng_make(aira_key(1, "samples"), 0);
    for (int s = 0; s < SAMPLES; s++) {
        int64_t batch = (int64_t)aira_rng_below(&rng, (uint64_t)p->batch);
        int64_t i = (int64_t)aira_rng_below(&rng, (uint64_t)p->m), j = (int64_t)aira_rng_below(&rng, (uint64_t)p->n);
        double want = expect(p, t, batch, i, j), d = t[p->then ? SUM : C].v[(batch * p->m + i) * p->n + j] - want;
        error += d * d;
        scale += want * want;
    }
    return isfinite(error) ? sqrt(error / (scale + 1e-300)) : INFINITY;
}

static void complain(const product *p, const char *what, const char *why) {
    failures++;
    printf("FAILED %lld of %lldx%lldx%lld %c%c: %s%s%s\n", (long long)p->batch, (long long)p->m, (long long)p->n,
           (long long)p->k, p->trans_a ? 'T' : 'N', p->trans_b ? 'T' : 'N', what, why ? ": " : "", why ? why : "");
}

static void try_product(test_device *tuned, test_device *plain, const product *p) {
    test_tensor t[EACH];
    int which = p->then ? SUM : C; /* a merged product may leave C as it was */
    prepare(p, t);
    const char *why = run(tuned, p, t);
    size_t n = (size_t)test_elements(&t[which]);
    double *first = malloc(n * sizeof *first);
    checks += 2;
    if (why) complain(p, "it does not run with `tune`", why);
    double error = why ? 0 : distance(p, t);
    if (error > (p->out == AIRA_BF16 ? 1e-2 : 1e-4)) {
        char text[64];
        snprintf(text, sizeof text, "%.3g", error);
        complain(p, "it is not the product", text);
    }
    memcpy(first, t[which].v, n * sizeof *first);
    if (!why) {
        why = run(plain, p, t);
        if (why)
            complain(p, "it does not run without `tune`", why);
        else if (memcmp(first, t[which].v, n * sizeof *first))
            complain(p, "other bits with `tune` than without", NULL);
    }
    free(first);
    for (int k = 0; k < EACH; k++) free(t[k].v);
}

int main(int argc, char **argv) {
    static const product list[] = {
        {1, 4099, 4104, 2050, false, false, AIRA_BF16, 0, false},
        {1, 3001, 4099, 2053, false, true, AIRA_BF16, 0, false}, /* aligned as little as can be */
        {1, 4104, 2056, 4112, true, false, AIRA_F32, 0, false},
        {1, 4104, 2056, 4112, true, false, AIRA_BF16, 0, false},
        {1, 4352, 2048, 4096, false, false, AIRA_BF16, 0, false}, /* variants of algorithms are tried for most */
        {1, 4352, 2048, 4096, false, true, AIRA_BF16, AIRA_OP_ADD, false},
        {1, 2048, 3072, 8192, true, false, AIRA_BF16, 0, false},
        {1, 1544, 1032, 20008, true, false, AIRA_F32, 0, false}, /* few results: sums may be split */
        {1, 4099, 4104, 2048, false, true, AIRA_BF16, AIRA_OP_ADD, false},
        {1, 4099, 4104, 2048, false, true, AIRA_BF16, AIRA_OP_ADD, true},
        {1, 4099, 4104, 2048, false, true, AIRA_BF16, AIRA_OP_GELU, false},
        {3, 2056, 2040, 2072, false, false, AIRA_BF16, 0, false},
        {1, 130, 128, 64, false, false, AIRA_BF16, 0, false}, /* small: nothing is tried */
    };
    test_device tuned, plain;
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    const test_key with[] = {{"tune", 1}}, without[] = {{"tune", 0}};
    if (!test_device_open_keys(&tuned, argc > 1 ? argv[1] : path, with, 1)) {
        printf("skipped: %s\n", tuned.failure);
        return 77;
    }
    if (!test_device_open_keys(&plain, argc > 1 ? argv[1] : path, without, 1)) {
        printf("FAILED: a second device: %s\n", plain.failure);
        test_device_close(&tuned);
        return 1;
    }
    plain.host.log = hear_plain;
    tuned.host.log = hear_tuned;
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) try_product(&tuned, &plain, &list[k]);
    if (tried[0]) failures++;
    printf("%d results compared, %d failed; tried %u products in %.0f ms, changed %u; without `tune` tried %u\n",
           checks, failures, tried[1], tried_ms[1], changed[1], tried[0]);
    test_device_close(&plain);
    test_device_close(&tuned);
    return failures ? 1 : 0;
}
