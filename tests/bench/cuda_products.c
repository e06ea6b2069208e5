/* cuda_products.c - what cuBLASLt offers for the large products of a training step, and what the cuda device takes.
 *
 *     bench_cuda_products [--only TEXT] [--lasting MS]
 *
 * A line per product: the algorithm's microseconds in cuBLASLt's order, then of variants (median of five runs in turns;
 * or of runs that last so many milliseconds each, as in a training step, where the card's power limit sets the clock),
 * `=` before the one that a program takes, `!` before those whose bits are not the first one's; then TFLOP/s of the
 * first, of the one that is taken and of the fastest that gives the same bits, and the milliseconds that choosing takes
 * in a program. The bits are compared on two sets of
 * operands: exit status 1 where an algorithm agrees with the first on one set alone, or a product fails; 77: no GPU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cuda/tune.h"

typedef struct item {
    const char *name;
    gpu_product product;
} item;

/* c[m,n] from a[m,k] and b[k,n]; NT: b lies transposed, TN: a does */
#define NN(m, n, k, adds, out) \
    { m, n, k, 0, 0, adds, AIRA_BF16, out }
#define NT(m, n, k, adds, out) \
    { m, n, k, 0, 1, adds, AIRA_BF16, out }
#define TN(m, n, k, adds, out) \
    { m, n, k, 1, 0, adds, AIRA_BF16, out }

static const item items[] = {
    {"1B up", NT(16384, 8192, 2048, 0, AIRA_BF16)},
    {"1B down + residual", NT(16384, 2048, 8192, 1, AIRA_BF16)},
    {"1B q", NT(16384, 2048, 2048, 0, AIRA_BF16)},
    {"1B d of down's operand", NN(16384, 8192, 2048, 0, AIRA_BF16)},
    {"1B d of up's operand + another", NN(16384, 2048, 8192, 1, AIRA_BF16)},
    {"1B d of q's operand", NN(16384, 2048, 2048, 0, AIRA_BF16)},
    {"1B q + residual", NT(16384, 2048, 2048, 1, AIRA_BF16)},
    {"1B k", NT(16384, 512, 2048, 0, AIRA_BF16)},
    {"1B q, k and v as one", NT(16384, 3072, 2048, 0, AIRA_BF16)},
    {"1B up and gate as one", NT(16384, 16384, 2048, 0, AIRA_BF16)},
    {"1B d of up's operand", NN(16384, 2048, 8192, 0, AIRA_BF16)},
    {"1B dW up, fp32", TN(8192, 2048, 16384, 0, AIRA_F32)},
    {"1B dW up", TN(8192, 2048, 16384, 0, AIRA_BF16)},
    {"1B dW down, fp32", TN(2048, 8192, 16384, 0, AIRA_F32)},
    {"1B dW down", TN(2048, 8192, 16384, 0, AIRA_BF16)},
    {"1B dW q, fp32", TN(2048, 2048, 16384, 0, AIRA_F32)},
    {"1B dW q", TN(2048, 2048, 16384, 0, AIRA_BF16)},
    {"1B logits of a chunk", NT(8192, 32000, 2048, 0, AIRA_BF16)},
    {"1B dx of a chunk", NN(8192, 2048, 32000, 0, AIRA_BF16)},
    {"1B dW of a chunk", TN(32000, 2048, 8192, 0, AIRA_F32)},
    {"1B dW of a later chunk", TN(32000, 2048, 8192, 1, AIRA_F32)},
    {"350M up", NT(32768, 4096, 1536, 0, AIRA_BF16)},
    {"350M q", NT(32768, 1536, 1536, 0, AIRA_BF16)},
    {"350M down", NT(32768, 1536, 4096, 0, AIRA_BF16)},
    {"350M down + residual", NT(32768, 1536, 4096, 1, AIRA_BF16)},
    {"350M d of down's operand", NN(32768, 4096, 1536, 0, AIRA_BF16)},
    {"350M d of up's operand + another", NN(32768, 1536, 4096, 1, AIRA_BF16)},
    {"350M dW up", TN(4096, 1536, 32768, 0, AIRA_BF16)},
    {"350M dW down", TN(1536, 4096, 32768, 0, AIRA_BF16)},
    {"350M dW q", TN(1536, 1536, 32768, 0, AIRA_BF16)},
    {"odd", NN(4099, 4104, 2050, 0, AIRA_BF16)},
    {"odd, as little aligned as can be", NT(3001, 4099, 2053, 0, AIRA_BF16)},
};

/* matmul.c converts operands of other types through this; there are none here. */
const char *gpu_convert(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, int64_t n,
                        cudaStream_t stream);
const char *gpu_convert(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, int64_t n,
                        cudaStream_t stream) {
    (void)to, (void)to_dtype, (void)from, (void)from_dtype, (void)n, (void)stream;
    return "not here";
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Adds the milliseconds of choosing as a program does to *ms. */
static int show(gpu_matmul *matmul, const item *it, int lasting, double *ms) {
    gpu_contest chosen = {.seed = 1}, all = {.seed = 2, .all = 1, .lasting_ms = lasting};
    const gpu_product *p = &it->product;
    double flop = 2.0 * (double)p->m * (double)p->n * (double)p->k, start = now_ms();
    const char *why = gpu_product_contest(matmul, p, &chosen);
    double took = now_ms() - start;
    if (!why) why = gpu_product_contest(matmul, p, &all);
    printf("%-33s %5lldx%5lldx%5lld %c%c%c", it->name, (long long)p->m, (long long)p->n, (long long)p->k,
           p->trans_a ? 'T' : 'N', p->trans_b ? 'T' : 'N', p->add ? '+' : ' ');
    if (why) {
        printf(" failed: %s\n", why);
        return 1;
    }
    int odd = chosen.n != all.n, best = 0;
    for (int k = 0; k < all.n; k++) {
        printf(" %s%.0f", chosen.differing[k] ? "!" : k == chosen.chosen ? "=" : "", all.us[k]);
        if (all.timed[k] && all.differing[k] == 0 && all.us[k] < all.us[best]) best = k;
        odd |= (chosen.differing[k] == 0) != (all.differing[k] == 0);
    }
    printf("  %.0f > %.0f (%.0f) TFLOP/s, chosen in %.1f ms%s\n", flop / all.us[0] * 1e-6,
           flop / all.us[chosen.chosen] * 1e-6, flop / all.us[best] * 1e-6, took,
           odd ? "  OTHER OPERANDS, OTHER BITS" : "");
    *ms += took;
    return odd;
}

int main(int argc, char **argv) {
    const char *only = NULL;
    int lasting = 0;
    for (int k = 1; k + 1 < argc; k += 2) {
        if (!strcmp(argv[k], "--only")) only = argv[k + 1];
        if (!strcmp(argv[k], "--lasting")) lasting = atoi(argv[k + 1]);
    }
    gpu_matmul *matmul = NULL;
    int gpus = 0, failed = 0;
    if (cudaGetDeviceCount(&gpus) != cudaSuccess || gpus == 0) {
        printf("no GPU here\n");
        return 77;
    }
    const char *why = gpu_matmul_create(0, GPU_TUNE, NULL, &matmul);
    if (why) {
        printf("cuBLASLt does not start: %s\n", why);
        return 1;
    }
    double ms = 0;
    for (size_t k = 0; k < sizeof items / sizeof *items; k++) {
        if (only && !strstr(items[k].name, only)) continue;
        failed |= show(matmul, &items[k], lasting, &ms);
        fflush(stdout);
    }
    printf("chosen in %.0f ms in all\n", ms);
    gpu_matmul_destroy(matmul);
    return failed;
}
