/* cuda_attention.c - attention with large heads in bf16 on the cuda device, by every way that it has: cuDNN with fixed
 * sums, cuDNN with sums in any order, own kernels. Forward and backward against doubles on operands rounded to bf16,
 * results poisoned first; and whether a second run gives the same bits.
 *
 *     gpu_cuda_attention [CUDA.so]        (default: the plugin of AIRA_BUILD_DIR)
 *
 * Exit status 0: all within their limits; 1: not; 77: no GPU here.
 */
#include "../unit/device_naive.h"

#define LIMIT 1e-2 /* relative L2 */

static int failures;

typedef struct shape_case {
    int64_t batch, t, s, heads, groups, d, causal, window;
} shape_case;

enum { Q, K, V, O, LSE, G_O, DQ, DK, DV, N };
static const char *const names[] = {"q", "k", "v", "o", "lse", "do", "dq", "dk", "dv"};

static void fill(test_tensor *x, const shape_case *c) {
    const aira_shape rows = SHAPE(c->batch, c->t, c->heads, c->d);
    const aira_shape keys = SHAPE(c->batch, c->s, c->groups, c->d);
    aira_rng rng = aira_rng_make(aira_key(3, "attention"), (uint64_t)(c->t * 1000 + c->d));
    for (int k = 0; k < N; k++) {
        x[k] = (test_tensor){.shape = k == K || k == V || k == DK || k == DV ? keys : rows, .dtype = AIRA_BF16};
        x[k].copies = 1;
        if (k == LSE) x[k].shape = SHAPE(c->batch, c->heads, c->t), x[k].dtype = AIRA_F32;
        x[k].v = calloc((size_t)test_elements(&x[k]) + 1, sizeof(double));
        for (int64_t e = 0; (k < O || k == G_O) && e < test_elements(&x[k]); e++)
            x[k].v[e] = test_rounded(aira_rng_normal(&rng), x[k].dtype);
    }
}

/* Gradients by the book: p = exp(score - lse), ds = p (do v - do o). */
static void reference_backward(const shape_case *c, test_tensor *x, double scale) {
    int64_t per = c->heads / c->groups, n = c->batch * c->heads * c->t;
    int64_t n_keys = x[K].shape.dims[1];
    for (int64_t e = 0; e < n; e++) {
        int64_t b = e / (c->heads * c->t), h = e / c->t % c->heads, t = e % c->t, g = h / per;
        double pull = 0;
        for (int64_t d = 0; d < c->d; d++) pull += AT4(x[O], b, t, h, d) * AT4(x[G_O], b, t, h, d);
        for (int64_t s = 0; s < (c->causal ? t + 1 : n_keys); s++) {
            double score = 0, slope = 0;
            if (c->window && llabs(t - s) >= c->window) continue;
            for (int64_t d = 0; d < c->d; d++) {
                score += AT4(x[Q], b, t, h, d) * AT4(x[K], b, s, g, d);
                slope += AT4(x[G_O], b, t, h, d) * AT4(x[V], b, s, g, d);
            }
            double p = exp(score * scale - x[LSE].v[e]), ds = p * (slope - pull) * scale;
            for (int64_t d = 0; d < c->d; d++) {
                AT4(x[DQ], b, t, h, d) += ds * AT4(x[K], b, s, g, d);
                AT4(x[DK], b, s, g, d) += ds * AT4(x[Q], b, t, h, d);
                AT4(x[DV], b, s, g, d) += p * AT4(x[G_O], b, t, h, d);
            }
        }
    }
}

/* One op twice on x; results first..N-1 or O, LSE against want. fixed: the second run must give the same bits. */
static void run(test_device *device, const char *way, const shape_case *c, const test_tensor *want, bool backward,
                bool fixed) {
    const uint32_t in[] = {Q, K, V, O, LSE, G_O}, out[] = {DQ, DK, DV}, first = backward ? DQ : O;
    const uint32_t last = backward ? N : G_O;
    const int64_t attributes[] = {c->causal, c->window};
    const double scale = 1 / sqrt((double)c->d);
    aira_plan_step step = {.size = sizeof step, .n_i = 2, .n_f = 1, .copies = 1, .i = attributes, .f = &scale};
    step.op = backward ? AIRA_OP_ATTENTION_BACKWARD : AIRA_OP_ATTENTION;
    step.n_in = backward ? 6 : 3;
    step.n_out = backward ? 3 : 2;
    step.in = in;
    step.out = backward ? out : in + O;
    test_tensor x[2][N];
    const char *why = NULL;
    bool same = true;
    for (int turn = 0; turn < 2 && !why; turn++) {
        memcpy(x[turn], want, sizeof x[turn]);
        for (uint32_t k = 0; k < N; k++) {
            x[turn][k].given = k < step.n_in;
            if (k >= first && k < last) x[turn][k].v = calloc((size_t)test_elements(&want[k]) + 1, sizeof(double));
        }
        why = test_run(device, x[turn], last, &step, 1, 0);
    }
    printf("%-12s %-8s %lldx%lldx%lld %lld/%lld of %-3lld %s%s:", way, backward ? "backward" : "forward",
           (long long)c->batch, (long long)c->t, (long long)c->s, (long long)c->heads, (long long)c->groups,
           (long long)c->d, c->causal ? "causal" : "full", c->window ? " window" : "");
    for (uint32_t k = first; k < last && !why; k++) {
        int64_t n = test_elements(&want[k]);
        double error = test_distance(x[0][k].v, want[k].v, n), limit = k == LSE ? 1e-3 : LIMIT;
        same &= memcmp(x[0][k].v, x[1][k].v, (size_t)n * sizeof(double)) == 0;
        printf(" %s %.2e", names[k], error);
        if (!(error < limit)) {
            failures++;
            printf(" FAILED, limit %g", limit);
        }
    }
    if (why || (fixed && !same)) failures++;
    printf("%s%s\n",
           why     ? " FAILED: "
           : same  ? ", same bits"
           : fixed ? ", FAILED: other bits"
                   : ", other bits",
           why ? why : "");
    for (int turn = 0; turn < 2; turn++)
        for (uint32_t k = first; k < last; k++) free(x[turn][k].v);
}

/* A batch that the first device takes in slices, beside the second, which does not: too large for doubles. */
static void slices(test_device *device, test_device *other) {
    const shape_case c = {6, 4096, 4096, 12, 4, 64, 1, 0};
    const uint32_t in[] = {Q, K, V, O, LSE, G_O}, out[] = {DQ, DK, DV};
    const int64_t attributes[] = {1, 0};
    const double scale = 0.125;
    test_tensor x[N], y[3];
    aira_plan_step step = {.size = sizeof step, .n_i = 2, .n_f = 1, .copies = 1, .i = attributes, .f = &scale};
    step.op = AIRA_OP_ATTENTION;
    step.n_in = 3;
    step.n_out = 2;
    step.in = in;
    step.out = in + O;
    fill(x, &c);
    for (int k = 0; k < N; k++) x[k].given = k < O || k == G_O;
    const char *why = test_run(other, x, G_O, &step, 1, 0);
    step.op = AIRA_OP_ATTENTION_BACKWARD;
    step.n_in = 6;
    step.n_out = 3;
    step.out = out;
    x[O].given = x[LSE].given = true;
    if (!why) why = test_run(other, x, N, &step, 1, 0);
    for (int k = 0; k < 3; k++) {
        y[k] = x[DQ + k];
        x[DQ + k].v = calloc((size_t)test_elements(&y[k]) + 1, sizeof(double));
    }
    if (!why) why = test_run(device, x, N, &step, 1, 0);
    printf("slices of a batch beside own kernels:%s%s", why ? " FAILED: " : "", why ? why : "");
    if (why) failures++;
    for (int k = 0; k < 3; k++) {
        double error = test_distance(x[DQ + k].v, y[k].v, test_elements(&y[k]));
        if (!why) printf(" %s %.2e%s", names[DQ + k], error, error < LIMIT ? "" : " FAILED");
        if (!why && !(error < LIMIT)) failures++;
        free(y[k].v);
    }
    printf("\n");
    for (int k = 0; k < N; k++) free(x[k].v);
}

int main(int argc, char **argv) {
    static const shape_case cases[] = {
        {2, 512, 512, 4, 4, 64, 1, 0},  {1, 600, 600, 4, 2, 64, 1, 0},   {1, 513, 513, 6, 2, 128, 1, 0},
        {1, 640, 640, 4, 1, 128, 1, 0}, {1, 1000, 1000, 3, 3, 64, 1, 0}, {1, 576, 576, 2, 2, 96, 1, 0},
        {2, 515, 515, 2, 1, 64, 0, 0},  {1, 530, 530, 2, 2, 128, 0, 0},  {3, 77, 77, 4, 2, 64, 1, 0},
        {1, 131, 131, 2, 1, 128, 0, 0}, {1, 5, 5, 2, 1, 64, 1, 0},       {1, 400, 400, 2, 1, 64, 1, 100},
        {1, 270, 270, 2, 1, 64, 0, 33}, {1, 330, 330, 2, 2, 128, 1, 64}, {2, 130, 130, 4, 4, 8, 1, 0},
        {1, 19, 19, 4, 4, 8, 0, 0},     {1, 64, 64, 8, 8, 8, 1, 0},      {2, 300, 300, 2, 2, 16, 1, 0},
        {1, 257, 257, 2, 2, 16, 0, 40}, {2, 128, 128, 1, 1, 32, 1, 0},   {1, 270, 270, 3, 3, 32, 1, 70},
        {1, 129, 129, 4, 4, 8, 1, 5},   {1, 70, 300, 4, 2, 64, 0, 0},    {2, 200, 60, 2, 1, 128, 0, 0},
        {1, 520, 520, 2, 1, 256, 1, 0}, {1, 300, 300, 4, 2, 64, 1, 0},   {1, 290, 290, 2, 2, 128, 1, 0},
        {2, 128, 128, 8, 8, 8, 1, 0},   {3, 33, 33, 4, 4, 8, 1, 0},      {2, 100, 100, 4, 4, 16, 1, 0},
        {1, 17, 17, 2, 2, 16, 1, 0},    {2, 2, 2, 4, 4, 8, 1, 0},        {1, 95, 95, 4, 4, 8, 0, 0},
        {2, 32, 32, 8, 8, 8, 1, 0},     {3, 31, 31, 4, 4, 16, 1, 0},     {1, 7, 7, 4, 4, 8, 1, 0},
        {2, 18, 18, 2, 2, 16, 1, 0},    {2, 112, 112, 2, 2, 16, 1, 0},
    };
    static const struct {
        const char *name;
        test_key keys[2];
        bool fixed;
    } ways[] = {{"cudnn fixed", {{"attention", 0}, {"deterministic", 1}}, true},
                {"cudnn any", {{"attention", 0}, {"deterministic", 0}}, false},
                {"own", {{"attention", 1}, {"deterministic", 1}}, true}};
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    test_device device[3];
    for (size_t w = 0; w < 3; w++) {
        if (test_device_open_keys(&device[w], argc > 1 ? argv[1] : path, ways[w].keys, 2)) continue;
        printf("skipped: %s\n", device[w].failure);
        return 77;
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const shape_case *c = &cases[k];
        const int64_t attributes[] = {c->causal, c->window};
        const double scale = 1 / sqrt((double)c->d);
        test_tensor want[N];
        fill(want, c);
        naive_attention(want, 3, attributes, &scale);
        for (size_t w = 0; w < 3; w++) run(&device[w], ways[w].name, c, want, false, ways[w].fixed);
        /* operands of the backward op are what the forward op stores */
        for (int64_t e = 0; e < test_elements(&want[O]); e++) want[O].v[e] = test_rounded(want[O].v[e], AIRA_BF16);
        reference_backward(c, want, scale);
        for (size_t w = 0; w < 3; w++) run(&device[w], ways[w].name, c, want, true, ways[w].fixed);
        for (int n = 0; n < N; n++) free(want[n].v);
    }
    slices(&device[0], &device[2]);
    printf("%d failed\n", failures);
    for (size_t w = 0; w < 3; w++) test_device_close(&device[w]);
    return failures ? 1 : 0;
}
