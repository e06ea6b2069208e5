/* cuda_attention.c - speed of causal bf16 attention on the cuda device, by every way that it has, at the shapes of the
 * 350M, 1B and 3B models; operands are random.
 *
 *     bench_cuda_attention [CUDA.so]      (default: the plugin of AIRA_BUILD_DIR)
 *
 * Each line: shape, way, milliseconds and TFLOP/s forward and backward (median of 7; causal: 2 B H T T D floating-point
 * operations forward, 5 B H T T D backward).
 */
#include <time.h>

#include "../unit/device_harness.h"

enum { Q, K, V, O, LSE, G_O, DQ, DK, DV, N };

typedef struct bench_shape {
    const char *name;
    int64_t batch, t, heads, groups, d;
} bench_shape;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Random bf16 in all of the buffer: small enough to be anything's operand. */
static bool randomise(test_device *device, void *buffer, uint64_t bytes) {
    uint16_t *image = malloc(bytes);
    aira_rng rng = aira_rng_make(aira_key(1, "operands"), 0);
    if (!image) return false;
    for (uint64_t k = 0; k < bytes / 2; k++) {
        float value = (float)(2 * aira_rng_uniform(&rng) - 1);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        image[k] = (uint16_t)(bits >> 16);
    }
    bool good = device->table->upload(device->self, buffer, 0, image, bytes) == AIRA_OK;
    free(image);
    return good;
}

/* Median seconds of a step; negative: it does not run, and the device's failure says why. */
static double time_step(test_device *device, const aira_plan *plan, void *const *buffers) {
    double spent[7];
    void *program = NULL;
    bool good = device->table->compile(device->self, plan, &program) == AIRA_OK;
    for (int k = -2; k < 7 && good; k++) {
        double start = seconds();
        good = device->table->run(device->self, program, buffers, 0) == AIRA_OK;
        if (k >= 0) spent[k] = seconds() - start;
    }
    if (program) device->table->program_destroy(device->self, program);
    if (!good) return -1;
    qsort(spent, 7, sizeof *spent, ascending);
    return spent[3];
}

static void bench(test_device *device, const char *way, const bench_shape *s) {
    aira_plan_tensor tensors[N];
    uint64_t at = 0;
    for (int k = 0; k < N; k++) {
        int64_t heads = k == K || k == V || k == DK || k == DV ? s->groups : s->heads;
        tensors[k] = (aira_plan_tensor){.size = sizeof tensors[k], .dtype = AIRA_BF16, .copies = 1};
        tensors[k].storage = AIRA_STORE_IO;
        tensors[k].shape = SHAPE(s->batch, s->t, heads, s->d);
        if (k == LSE) tensors[k].shape = SHAPE(s->batch, s->heads, s->t), tensors[k].dtype = AIRA_F32;
        tensors[k].offset = at;
        at += (uint64_t)(s->batch * s->t * heads * (k == LSE ? 4 : 2 * s->d) + 255) / 256 * 256;
    }
    const uint32_t in[] = {Q, K, V, O, LSE, G_O}, out[] = {DQ, DK, DV};
    const int64_t attributes[] = {1, 0};
    const double scale = 1 / sqrt((double)s->d), work = (double)(s->batch * s->heads * s->t * s->t * s->d);
    void *buffers[AIRA_N_BUFFERS] = {0};
    double spent[2] = {-1, -1};
    if (device->table->buffer_create(device->self, at, &buffers[AIRA_STORE_IO]) == AIRA_OK &&
        randomise(device, buffers[AIRA_STORE_IO], at)) {
        for (int back = 0; back < 2; back++) {
            aira_plan_step step = {.size = sizeof step, .n_i = 2, .n_f = 1, .copies = 1, .i = attributes, .f = &scale};
            step.op = back ? AIRA_OP_ATTENTION_BACKWARD : AIRA_OP_ATTENTION;
            step.n_in = back ? 6 : 3;
            step.n_out = back ? 3 : 2;
            step.in = in;
            step.out = back ? out : in + O;
            aira_plan plan = {.size = sizeof plan, .copies = 1, .n_tensors = N, .n_steps = 1};
            plan.tensors = tensors;
            plan.steps = &step;
            plan.tensor_stride = sizeof(aira_plan_tensor);
            plan.step_stride = sizeof(aira_plan_step);
            plan.block_stride = sizeof(aira_plan_block);
            plan.bytes[AIRA_STORE_IO] = at;
            spent[back] = time_step(device, &plan, buffers);
        }
    }
    for (int b = 0; b < (int)AIRA_N_BUFFERS; b++) device->table->buffer_destroy(device->self, buffers[b]);
    printf("%-22s %lldx%lld %lld/%lld of %-3lld  %-12s", s->name, (long long)s->batch, (long long)s->t,
           (long long)s->heads, (long long)s->groups, (long long)s->d, way);
    if (spent[0] < 0 || spent[1] < 0)
        printf("  %s\n", device->failure);
    else
        printf("  forward %7.3f ms %5.0f TFLOP/s   backward %7.3f ms %5.0f TFLOP/s\n", 1e3 * spent[0],
               2e-12 * work / spent[0], 1e3 * spent[1], 5e-12 * work / spent[1]);
    fflush(stdout);
}

int main(int argc, char **argv) {
    static const bench_shape shapes[] = {
        {"350M, T=2048", 8, 2048, 24, 8, 64},  {"350M, T=4096", 4, 4096, 24, 8, 64},
        {"1B, T=4096", 4, 4096, 32, 8, 64},    {"3B, T=4096", 2, 4096, 24, 8, 128},
        {"long, T=8192", 1, 8192, 16, 4, 128}, {"small, T=512", 32, 512, 8, 8, 64},
    };
    static const struct {
        const char *name;
        test_key keys[2];
    } ways[] = {{"cudnn any", {{"attention", 0}, {"deterministic", 0}}},
                {"cudnn fixed", {{"attention", 0}, {"deterministic", 1}}},
                {"own", {{"attention", 1}, {"deterministic", 1}}}};
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            test_device device;
            if (!test_device_open_keys(&device, argc > 1 ? argv[1] : path, ways[w].keys, 2)) {
                printf("skipped: %s\n", device.failure);
                return 77;
            }
            bench(&device, ways[w].name, &shapes[k]);
            test_device_close(&device);
        }
    }
    return 0;
}
