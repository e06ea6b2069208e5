/* cuda_weights.c - gradients of weights and biases on the cuda device, alone and as lists that share a launch, beside
 * sums in fp64 of the same rounded operands.
 *
 *     gpu_cuda_weights [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * The error of a result is its relative L2 distance. Every list runs twice and must give the same bits, and so must
 * every product with its bias in a list of others and in another order. Alone a product may be cuBLASLt's, which adds
 * in another order: what a plan's steps are taken by depends on the plan alone. Exit status 0: all within their limits;
 * 1: not; 77: no GPU here.
 */
#include "../support/part.h"
#include "../unit/device_harness.h"

#define MOST 8                       /* products of a list */
#define COMPANY 3                    /* products that are a list in any case */
#define MOST_WORK ((int64_t)1 << 28) /* multiplications of a random product, which the test does in fp64 */

typedef struct product {
    int64_t rows, n, k;
    uint32_t dtype, bias; /* of dW; of the bias, 0: none */
    bool shares;          /* X with the product before, which has the same rows and k */
} product;

static int failures, checks;

/* Tensors of a list: dy, x, dw, db per product. */
enum { DY, X, DW, DB, EACH };

static void prepare(const product *list, int n, test_tensor *t) {
    for (int p = 0; p < n; p++) {
        const product *c = &list[p];
        test_tensor *mine = t + EACH * p;
        mine[DY] = (test_tensor){.shape = SHAPE(c->rows, c->n), .dtype = AIRA_BF16, .given = true};
        mine[X] = (test_tensor){.shape = SHAPE(c->shares ? 1 : c->rows, c->k), .dtype = AIRA_BF16, .given = true};
        mine[DW] = (test_tensor){.shape = SHAPE(c->n, c->k), .dtype = c->dtype};
        mine[DB] = (test_tensor){.shape = SHAPE(c->n), .dtype = c->bias ? c->bias : AIRA_F32, .given = !c->bias};
        for (int k = 0; k < EACH; k++) {
            aira_rng rng = aira_rng_make(aira_key((uint64_t)(c->rows * 31 + c->n * 7 + c->k), "weights"),
                                         (uint64_t)(EACH * p + k));
            mine[k].copies = 1;
            mine[k].v = calloc((size_t)test_elements(&mine[k]) + 1, sizeof(double));
            for (int64_t e = 0; k < DW && e < test_elements(&mine[k]); e++)
                mine[k].v[e] = test_rounded(aira_rng_normal(&rng), AIRA_BF16);
        }
    }
}

static void release(test_tensor *t, int n) {
    for (int k = 0; k < EACH * n; k++) free(t[k].v);
}

/* Runs the products of the list that `order` names, `m` of them, as one plan. */
static const char *run(test_device *device, const product *list, test_tensor *t, int n, const int *order, int m) {
    static const int64_t turned[2] = {1, 0}, rows[2] = {1, 0};
    uint32_t ids[MOST][EACH];
    aira_plan_step steps[2 * MOST];
    uint32_t n_steps = 0;
    for (int at = 0; at < m; at++) {
        int p = order[at];
        for (uint32_t k = 0; k < EACH; k++) ids[p][k] = EACH * (uint32_t)p + k;
        for (int q = p; list[q].shares; q--) ids[p][X] = EACH * (uint32_t)(q - 1) + X;
        aira_plan_step sum = {.size = sizeof sum, .op = AIRA_OP_SUM, .n_in = 1, .n_out = 1, .n_i = 2, .copies = 1};
        aira_plan_step matmul = {
            .size = sizeof sum, .op = AIRA_OP_MATMUL, .n_in = 2, .n_out = 1, .n_i = 2, .copies = 1};
        sum.i = rows;
        sum.in = &ids[p][DY];
        sum.out = &ids[p][DB];
        matmul.i = turned;
        matmul.in = &ids[p][DY];
        matmul.out = &ids[p][DW];
        if (list[p].bias && p % 2) steps[n_steps++] = sum;
        steps[n_steps++] = matmul;
        if (list[p].bias && p % 2 == 0) steps[n_steps++] = sum;
    }
    return test_run(device, t, EACH * (uint32_t)n, steps, n_steps, 0);
}

/* dW and db in fp64. */
static void expect(const product *list, const test_tensor *t, int p, double *dw, double *db) {
    const product *c = &list[p];
    int q = p;
    while (list[q].shares) q--;
    const double *dy = t[EACH * p + DY].v, *x = t[EACH * q + X].v;
    for (int64_t r = 0; r < c->rows; r++)
        for (int64_t i = 0; i < c->n; i++) {
            double g = dy[r * c->n + i];
            db[i] += g;
            for (int64_t j = 0; j < c->k; j++) dw[i * c->k + j] += g * x[r * c->k + j];
        }
}

static void judge(const char *what, const product *c, const double *got, const double *want, int64_t n, uint32_t dtype,
                  double *worst) {
    double error = test_distance(got, want, n), limit = dtype == AIRA_BF16 ? 4e-3 : 1e-5;
    checks++;
    if (error > worst[dtype == AIRA_BF16]) worst[dtype == AIRA_BF16] = error;
    if (error < limit) return;
    failures++;
    printf("FAILED %s of %lld rows, %lld x %lld: error %.3g, limit %.3g\n", what, (long long)c->rows, (long long)c->n,
           (long long)c->k, error, limit);
}

/* Are the results of product p the same in both? */
static bool same(const test_tensor *a, const test_tensor *b, int p) {
    for (int k = EACH * p + DW; k < EACH * (p + 1); k++)
        if (memcmp(a[k].v, b[k].v, (size_t)test_elements(&a[k]) * sizeof(double))) return false;
    return true;
}

static void complain(const char *what, int n, const char *why) {
    failures++;
    printf("FAILED list of %d: %s%s%s\n", n, what, why ? ": " : "", why ? why : "");
}

/* May a list have it, as weights.c says? */
static bool is_small(const product *c) {
    return c->rows >= 2048 && c->n * c->k <= 1 << 19 && c->rows * c->n * c->k <= (int64_t)1 << 31;
}

/* Every small product once more, with two others of the list and the other way round. */
static void change_company(test_device *device, const product *list, int n, const test_tensor *got,
                           test_tensor *again) {
    int small[MOST], m = 0;
    for (int p = 0; p < n; p++)
        if (is_small(&list[p])) small[m++] = p;
    for (int k = 0; k < m && m >= COMPANY; k++) {
        int order[COMPANY];
        for (int c = 0; c < COMPANY; c++) order[c] = small[(k + COMPANY - 1 - c) % m];
        const char *why = run(device, list, again, n, order, COMPANY);
        for (int c = 0; c < COMPANY && !why; c++) {
            checks++;
            if (!same(got, again, order[c])) complain("in other company it differs", n, NULL);
        }
        if (why) complain("three of it", n, why);
    }
}

static void try_list(test_device *device, const product *list, int n, double *worst) {
    static const int order[MOST] = {0, 1, 2, 3, 4, 5, 6, 7};
    test_tensor got[EACH * MOST], again[EACH * MOST];
    prepare(list, n, got);
    prepare(list, n, again);
    const char *why = run(device, list, got, n, order, n);
    if (!why) why = run(device, list, again, n, order, n);
    checks++;
    bool repeats = !why;
    for (int p = 0; p < n; p++) repeats = repeats && same(got, again, p);
    if (!repeats) complain("the second run differs, or none", n, why);
    for (int p = 0; p < n && !why; p++) {
        const product *c = &list[p];
        double *dw = calloc((size_t)(c->n * c->k), sizeof *dw), *db = calloc((size_t)c->n, sizeof *db);
        expect(list, got, p, dw, db);
        judge("dW", c, got[EACH * p + DW].v, dw, c->n * c->k, c->dtype, worst);
        if (c->bias) judge("db", c, got[EACH * p + DB].v, db, c->n, c->bias, worst);
        free(dw);
        free(db);
    }
    if (!why) change_company(device, list, n, got, again);
    release(got, n);
    release(again, n);
}

static int64_t pick(aira_rng *rng, const int64_t *from, uint32_t n) { return from[aira_rng_below(rng, n)]; }

static int random_list(aira_rng *rng, product *list, int n) {
    static const int64_t rows[] = {1000, 2048, 4096, 4097, 5003, 16384},
                         widths[] = {8, 12, 16, 40, 64, 76, 128, 136, 200, 256, 512, 768, 772};
    for (int p = 0; p < n; p++) {
        product *c = &list[p];
        do
            *c = (product){.rows = pick(rng, rows, sizeof rows / sizeof *rows),
                           .n = pick(rng, widths, sizeof widths / sizeof *widths),
                           .k = pick(rng, widths, sizeof widths / sizeof *widths)};
        while (c->rows * c->n * c->k > MOST_WORK);
        c->dtype = aira_rng_below(rng, 2) ? AIRA_F32 : AIRA_BF16;
        uint32_t bias = (uint32_t)aira_rng_below(rng, 3);
        c->bias = bias == 0 ? 0 : bias == 1 ? AIRA_F32 : AIRA_BF16;
    }
    return n;
}

int main(int argc, char **argv) {
    test_device gpu;
    char path[4096];
    double worst[2] = {0, 0};
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    if (!test_device_open(&gpu, argc > 1 ? argv[1] : path, 1, 0)) {
        printf("skipped: %s\n", gpu.failure);
        return 77;
    }
    /* a layer of attention and one of an MLP, as they are in training steps */
    static const product attention[] = {{16384, 128, 128, AIRA_F32, AIRA_F32, false},
                                        {16384, 128, 128, AIRA_BF16, AIRA_BF16, false},
                                        {16384, 128, 128, AIRA_BF16, AIRA_BF16, true},
                                        {16384, 128, 128, AIRA_BF16, AIRA_BF16, true}};
    static const product mlp[] = {{16384, 128, 512, AIRA_F32, 0, false}, {16384, 512, 128, AIRA_F32, AIRA_F32, false}};
    static const product head[] = {{16384, 16, 128, AIRA_F32, AIRA_F32, false}};
    static const product odd[] = {{4097, 200, 40, AIRA_F32, AIRA_F32, false}};
    /* many tiles of few slices, rows of multiples of 8 bytes, narrow ones, the last slices empty or short */
    static const product ragged[] = {
        {2048, 772, 136, AIRA_F32, AIRA_BF16, false}, {2049, 136, 772, AIRA_BF16, AIRA_F32, false},
        {4097, 12, 200, AIRA_F32, AIRA_F32, false},   {2050, 4, 4, AIRA_F32, AIRA_F32, false},
        {5003, 256, 8, AIRA_BF16, 0, false},          {5003, 16, 256, AIRA_F32, 0, false}};
    if (test_in_part(0)) try_list(&gpu, attention, 4, worst);
    if (test_in_part(1)) try_list(&gpu, mlp, 2, worst);
    if (test_in_part(2)) try_list(&gpu, head, 1, worst);
    if (test_in_part(3)) try_list(&gpu, odd, 1, worst);
    if (test_in_part(4)) try_list(&gpu, ragged, sizeof ragged / sizeof *ragged, worst);
    aira_rng rng = aira_rng_make(aira_key(5, "lists"), 0);
    for (int n = 1; n <= 2 * MOST; n++) {
        product list[MOST];
        int random = random_list(&rng, list, (n - 1) % MOST + 1);
        if (test_in_part(4 + (size_t)n)) try_list(&gpu, list, random, worst);
    }
    printf("%d results compared, %d failed; largest errors: fp32 %.2g, bf16 %.2g\n", checks, failures, worst[0],
           worst[1]);
    test_device_close(&gpu);
    return failures ? 1 : 0;
}
