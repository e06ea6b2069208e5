/* cuda_linear.c - products around norms that share rows, on the cuda device: plans of several steps, which the device
 * merges into one, against doubles on operands rounded to bf16. Results are poisoned first; two runs must give the same
 * bits; a trace must tell that steps were merged.
 *
 *     gpu_cuda_linear [CUDA.so]        (default: the plugin of AIRA_BUILD_DIR)
 *
 * Exit status 0: all within their limits; 1: not; 77: no GPU here.
 */
#include <unistd.h>

#include "../support/part.h"
#include "../unit/device_harness.h"

#define LIMIT 1e-2 /* relative L2 */
#define LINEAR 65536u
enum { TENSORS = 96, STEPS = 48, MOST = 5 };

static int failures;

/* sum of products [+ bias] [-> gradient of a norm] [+ residual] [-> norm] -> products [+ biases] [-> turned] */
typedef struct layer {
    int64_t rows, d, k[MOST], n[MOST]; /* 0 ends a list */
    bool transposed, bias, slope, residual, norm;
    bool hidden;              /* nobody else reads the norm */
    unsigned biases, columns; /* bit j: product j has a bias, a_j's columns are summed; bit MOST: the rows' are */
    unsigned turns;           /* bit j: product j is turned by rotary positions, in heads of `head` */
    int64_t head;
} layer;

typedef struct net {
    aira_plan_tensor tensors[TENSORS];
    double *v[TENSORS]; /* values: given, or expected */
    bool given[TENSORS], wanted[TENSORS];
    aira_plan_step steps[STEPS], inner[8];
    uint32_t ids[STEPS + 8][8], n_tensors, n_steps, n_lists;
    int64_t i[STEPS][3];
    uint64_t bytes[AIRA_N_BUFFERS];
    aira_rng rng;
} net;

static const double epsilon = 1e-5, base = 10000;

static int64_t elements(const aira_plan_tensor *t) {
    int64_t n = 1;
    for (uint32_t d = 0; d < t->shape.rank; d++) n *= t->shape.dims[d];
    return n;
}

static uint32_t add_tensor(net *g, aira_shape shape, uint32_t dtype, uint32_t storage) {
    uint32_t id = g->n_tensors++;
    aira_plan_tensor *t = &g->tensors[id];
    *t = (aira_plan_tensor){.size = sizeof *t, .dtype = dtype, .storage = storage, .copies = 1, .shape = shape};
    g->v[id] = calloc((size_t)elements(t) + 1, sizeof(double));
    if (storage >= AIRA_N_BUFFERS) return id;
    t->offset = g->bytes[storage] + TEST_GUARD;
    g->bytes[storage] = t->offset + ((uint64_t)elements(t) * test_bytes(dtype) + 63) / 64 * 64;
    return id;
}

static uint32_t give(net *g, aira_shape shape, uint32_t dtype, double scale, double mean) {
    uint32_t id = add_tensor(g, shape, dtype, AIRA_STORE_IO);
    for (int64_t e = 0; e < elements(&g->tensors[id]); e++)
        g->v[id][e] = test_rounded(mean + scale * aira_rng_normal(&g->rng), dtype);
    g->given[id] = true;
    return id;
}

static uint32_t want(net *g, aira_shape shape, uint32_t dtype) {
    uint32_t id = add_tensor(g, shape, dtype, AIRA_STORE_IO);
    g->wanted[id] = true;
    return id;
}

static aira_plan_step step_of(net *g, uint32_t op, const uint32_t *in, uint32_t n_in, const uint32_t *out,
                              uint32_t n_out) {
    uint32_t *list = g->ids[g->n_lists++];
    memcpy(list, in, n_in * sizeof *in);
    memcpy(list + n_in, out, n_out * sizeof *out);
    return (aira_plan_step){.size = sizeof(aira_plan_step),
                            .op = op,
                            .copies = 1,
                            .in = list,
                            .n_in = n_in,
                            .out = list + n_in,
                            .n_out = n_out};
}

static void add_step(net *g, aira_plan_step s, int64_t i0, int64_t i1, uint32_t n_i, uint32_t n_f) {
    g->i[g->n_steps][0] = i0;
    g->i[g->n_steps][1] = i1;
    s.i = g->i[g->n_steps];
    s.n_i = n_i;
    s.f = &epsilon;
    s.n_f = n_f;
    g->steps[g->n_steps++] = s;
}

/* --- operations: a step, and what it should give --- */

static void multiply(net *g, uint32_t a, uint32_t w, uint32_t y, bool transposed) {
    int64_t rows = g->tensors[y].shape.dims[0], n = g->tensors[y].shape.dims[1], k = g->tensors[a].shape.dims[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < n; c++) {
            double sum = 0;
            for (int64_t j = 0; j < k; j++) sum += g->v[a][r * k + j] * g->v[w][transposed ? c * k + j : j * n + c];
            g->v[y][r * n + c] = sum;
        }
    add_step(g, step_of(g, AIRA_OP_MATMUL, (uint32_t[]){a, w}, 2, &y, 1), 0, transposed, 2, 0);
}

static void add_values(net *g, uint32_t a, uint32_t b, uint32_t y) {
    int64_t n = elements(&g->tensors[y]), width = elements(&g->tensors[b]);
    for (int64_t e = 0; e < n; e++) g->v[y][e] = g->v[a][e] + g->v[b][e % width];
}

/* One chain that adds terms[0..n) into y. */
static void add_all(net *g, const uint32_t *terms, uint32_t n, uint32_t y) {
    uint32_t sum = terms[0], tensors[16], n_in = n;
    aira_plan_step chain;
    memcpy(tensors, terms, n * sizeof *terms);
    chain = step_of(g, n > 2 ? AIRA_OP_CHAIN : AIRA_OP_ADD, tensors, n_in, &y, 1);
    for (uint32_t k = 1; k < n; k++) {
        uint32_t to = k + 1 == n ? y : add_tensor(g, g->tensors[y].shape, AIRA_BF16, AIRA_STORE_CHAIN);
        add_values(g, sum, terms[k], to);
        if (n > 2) g->inner[k - 1] = step_of(g, AIRA_OP_ADD, (uint32_t[]){sum, terms[k]}, 2, &to, 1);
        sum = to;
    }
    chain.chain = g->inner;
    chain.n_chain = n > 2 ? n - 1 : 0;
    add_step(g, chain, 0, 0, 0, 0);
}

static void norm(net *g, uint32_t x, uint32_t w, uint32_t y) {
    int64_t rows = g->tensors[x].shape.dims[0], d = g->tensors[x].shape.dims[1];
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0, *v = g->v[x] + r * d;
        for (int64_t c = 0; c < d; c++) squares += v[c] * v[c];
        for (int64_t c = 0; c < d; c++) g->v[y][r * d + c] = v[c] / sqrt(squares / (double)d + epsilon) * g->v[w][c];
    }
    add_step(g, step_of(g, AIRA_OP_RMS_NORM, (uint32_t[]){x, w}, 2, &y, 1), 0, 0, 0, 1);
}

static void norm_backward(net *g, uint32_t x, uint32_t w, uint32_t slope, uint32_t dx, uint32_t dw) {
    int64_t rows = g->tensors[x].shape.dims[0], d = g->tensors[x].shape.dims[1];
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0, mean = 0, *v = g->v[x] + r * d, *h = g->v[slope] + r * d;
        for (int64_t c = 0; c < d; c++) squares += v[c] * v[c];
        double s = 1 / sqrt(squares / (double)d + epsilon);
        for (int64_t c = 0; c < d; c++) mean += g->v[w][c] * h[c] * v[c] * s / (double)d;
        for (int64_t c = 0; c < d; c++) {
            g->v[dw][c] += h[c] * v[c] * s;
            g->v[dx][r * d + c] = s * (g->v[w][c] * h[c] - v[c] * s * mean);
        }
    }
    add_step(g, step_of(g, AIRA_OP_RMS_NORM_BACKWARD, (uint32_t[]){x, w, slope}, 3, (uint32_t[]){dx, dw}, 2), 0, 0, 0,
             1);
}

static void sum_columns(net *g, uint32_t x, uint32_t dtype) {
    int64_t rows = g->tensors[x].shape.dims[0], d = g->tensors[x].shape.dims[1];
    uint32_t y = want(g, SHAPE(d), dtype);
    for (int64_t e = 0; e < rows * d; e++) g->v[y][e % d] += g->v[x][e];
    add_step(g, step_of(g, AIRA_OP_SUM, &x, 1, &y, 1), 1, 0, 2, 0);
}

/* y = x in heads, turned; one sequence, or two. */
static void turn(net *g, uint32_t x, uint32_t y, int64_t head) {
    int64_t rows = g->tensors[x].shape.dims[0], n = g->tensors[x].shape.dims[1], times = rows % 2 ? rows : rows / 2;
    uint32_t heads[2];
    for (int k = 0; k < 2; k++) { /* the same places in another shape */
        uint32_t id = heads[k] = g->n_tensors++;
        g->tensors[id] = g->tensors[k ? y : x];
        g->tensors[id].shape = SHAPE(rows / times, times, n / head, head);
        g->v[id] = calloc(1, sizeof(double));
    }
    for (int64_t e = 0; e < rows * n; e++) {
        int64_t c = e % head, half = head / 2, time = e / n % times;
        double angle = (double)time / pow(base, 2.0 * (double)(c % half) / (double)head);
        double other = g->v[x][c < half ? e + half : e - half];
        g->v[y][e] = g->v[x][e] * cos(angle) + (c < half ? -1 : 1) * other * sin(angle);
    }
    aira_plan_step s = step_of(g, AIRA_OP_ROPE, &heads[0], 1, &heads[1], 1);
    add_step(g, s, head, 0, 3, 1);
    g->steps[g->n_steps - 1].f = &base;
}

/* --- a layer as a plan --- */

/* a: the left operands. Returns the sum. */
static uint32_t sum_of_products(net *g, const layer *l, uint32_t *a) {
    uint32_t terms[MOST + 2], n = 0;
    aira_shape rows = SHAPE(l->rows, l->d);
    for (int j = 0; j < MOST && l->k[j]; j++) {
        a[j] = give(g, SHAPE(l->rows, l->k[j]), AIRA_BF16, 1, 0);
        aira_shape weight = l->transposed ? SHAPE(l->d, l->k[j]) : SHAPE(l->k[j], l->d);
        uint32_t w = give(g, weight, AIRA_BF16, 1 / sqrt((double)l->k[j]), 0);
        bool all = !l->slope && !l->bias && !l->residual && !l->k[1];
        terms[n] = all ? want(g, rows, AIRA_BF16) : add_tensor(g, rows, AIRA_BF16, AIRA_STORE_ARENA);
        multiply(g, a[j], w, terms[n++], l->transposed);
    }
    if (l->bias) terms[n++] = give(g, SHAPE(l->d), AIRA_BF16, 1, 0);
    if (l->residual && !l->slope) terms[n++] = give(g, rows, AIRA_BF16, 1, 0);
    if (n == 1) return terms[0];
    uint32_t sum = l->slope ? add_tensor(g, rows, AIRA_BF16, AIRA_STORE_ARENA) : want(g, rows, AIRA_BF16);
    add_all(g, terms, n, sum);
    return sum;
}

static void build(net *g, const layer *l) {
    uint32_t a[MOST], r;
    aira_shape rows = SHAPE(l->rows, l->d);
    *g = (net){.rng = aira_rng_make(aira_key(9, "linear"), (uint64_t)(l->rows * 1000 + l->d))};
    r = l->k[0] ? sum_of_products(g, l, a) : give(g, rows, AIRA_BF16, 1, 0);
    if (l->slope) {
        uint32_t x = give(g, rows, AIRA_BF16, 1, 0), w = give(g, SHAPE(l->d), AIRA_F32, 0.3, 1);
        uint32_t dx = l->residual ? add_tensor(g, rows, AIRA_BF16, AIRA_STORE_ARENA) : want(g, rows, AIRA_BF16);
        uint32_t dw = want(g, SHAPE(l->d), AIRA_F32);
        norm_backward(g, x, w, r, dx, dw);
        r = dx;
        if (l->residual) {
            r = want(g, rows, AIRA_BF16);
            add_all(g, (uint32_t[]){dx, give(g, rows, AIRA_BF16, 1, 0)}, 2, r);
        }
    }
    for (int j = 0; j < MOST && l->k[j]; j++)
        if (l->columns >> j & 1) sum_columns(g, a[j], j % 2 ? AIRA_F32 : AIRA_BF16);
    if (l->columns >> MOST & 1) sum_columns(g, r, AIRA_F32);
    if (l->norm) {
        uint32_t n = l->hidden ? add_tensor(g, rows, AIRA_BF16, AIRA_STORE_ARENA) : want(g, rows, AIRA_BF16);
        norm(g, r, give(g, SHAPE(l->d), AIRA_F32, 0.3, 1), n);
        r = n;
    }
    for (int j = 0; j < MOST && l->n[j]; j++) {
        aira_shape weight = l->transposed ? SHAPE(l->n[j], l->d) : SHAPE(l->d, l->n[j]), to = SHAPE(l->rows, l->n[j]);
        uint32_t w = give(g, weight, AIRA_BF16, 1 / sqrt((double)l->d), 0);
        bool biased = l->biases >> j & 1, turned = l->turns >> j & 1;
        uint32_t y = biased || turned ? add_tensor(g, to, AIRA_BF16, AIRA_STORE_ARENA) : want(g, to, AIRA_BF16);
        multiply(g, r, w, y, l->transposed);
        if (biased) {
            uint32_t sum = turned ? add_tensor(g, to, AIRA_BF16, AIRA_STORE_ARENA) : want(g, to, AIRA_BF16);
            add_all(g, (uint32_t[]){y, give(g, SHAPE(l->n[j]), AIRA_BF16, 1, 0)}, 2, sum);
            y = sum;
        }
        if (turned) turn(g, y, want(g, to, AIRA_BF16), l->head);
    }
}

/* Compiles and runs the plan over poisoned memory; image: the IO buffer after it. */
static const char *run(test_device *device, net *g, char *image) {
    aira_plan plan = {.size = sizeof plan, .copies = 1, .n_tensors = g->n_tensors, .n_steps = g->n_steps};
    void *buffers[AIRA_N_BUFFERS] = {NULL, NULL, NULL}, *program = NULL;
    uint64_t io = g->bytes[AIRA_STORE_IO] + TEST_GUARD, arena = g->bytes[AIRA_STORE_ARENA] + TEST_GUARD;
    char *poison = malloc(arena);
    const char *why = NULL;
    plan.tensors = g->tensors;
    plan.steps = g->steps;
    plan.tensor_stride = sizeof(aira_plan_tensor);
    plan.step_stride = sizeof(aira_plan_step);
    plan.block_stride = sizeof(aira_plan_block);
    plan.bytes[AIRA_STORE_IO] = io;
    plan.bytes[AIRA_STORE_ARENA] = arena;
    memset(image, 0xff, io); /* NaN in every float type */
    memset(poison, 0xff, arena);
    for (uint32_t k = 0; k < g->n_tensors; k++)
        for (int64_t e = 0; g->given[k] && e < elements(&g->tensors[k]); e++)
            test_store(image + g->tensors[k].offset + (size_t)e * test_bytes(g->tensors[k].dtype), g->tensors[k].dtype,
                       g->v[k][e]);
    const aira_device *t = device->table;
    if (t->buffer_create(device->self, io, &buffers[AIRA_STORE_IO]) != AIRA_OK ||
        t->buffer_create(device->self, arena, &buffers[AIRA_STORE_ARENA]) != AIRA_OK ||
        t->buffer_create(device->self, 64, &buffers[AIRA_STORE_PERSISTENT]) != AIRA_OK ||
        t->upload(device->self, buffers[AIRA_STORE_IO], 0, image, io) != AIRA_OK ||
        t->upload(device->self, buffers[AIRA_STORE_ARENA], 0, poison, arena) != AIRA_OK ||
        t->compile(device->self, &plan, &program) != AIRA_OK || t->run(device->self, program, buffers, 0) != AIRA_OK ||
        t->download(device->self, buffers[AIRA_STORE_IO], 0, image, io) != AIRA_OK)
        why = device->failure;
    if (program) t->program_destroy(device->self, program);
    for (int b = 0; b < (int)AIRA_N_BUFFERS; b++) t->buffer_destroy(device->self, buffers[b]);
    free(poison);
    return why;
}

static void compare(const net *g, const char *image, const char *name) {
    uint64_t end = 0;
    double worst = 0;
    for (uint32_t k = 0; k < g->n_tensors; k++) {
        const aira_plan_tensor *t = &g->tensors[k];
        if (t->storage != AIRA_STORE_IO || (!g->given[k] && !g->wanted[k])) continue;
        for (uint64_t b = end; b < t->offset; b++) {
            if (image[b] == (char)0xff) continue;
            failures++;
            printf("FAILED %s: wrote between tensors, before tensor %u\n", name, k);
            break;
        }
        end = t->offset + (uint64_t)elements(t) * test_bytes(t->dtype);
        double off = 0, all = 0;
        for (int64_t e = 0; e < elements(t); e++) {
            double got = test_load(image + t->offset + (size_t)e * test_bytes(t->dtype), t->dtype);
            off += (got - g->v[k][e]) * (got - g->v[k][e]);
            all += g->v[k][e] * g->v[k][e];
        }
        double error = sqrt(off / (all + 1e-300)), limit = g->wanted[k] ? LIMIT : 1e-300;
        worst = fmax(worst, error);
        if (error < limit) continue;
        failures++;
        printf("FAILED %s: tensor %u (%s) is off by %.2e\n", name, k, g->wanted[k] ? "result" : "operand", error);
    }
    printf("%-72s worst %.2e\n", name, worst);
}

static void try_layer(test_device *device, const layer *l) {
    static net g;
    char name[160], list[64] = "";
    for (int j = 0; j < MOST && l->k[j]; j++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%lld", j ? "+" : " ", (long long)l->k[j]);
    snprintf(name, sizeof name, "%lldx%lld%s%s%s%s%s%s%s", (long long)l->rows, (long long)l->d, list,
             l->transposed ? " transposed" : "", l->bias ? " bias" : "", l->slope ? " slope" : "",
             l->residual ? " residual" : "", l->norm ? l->hidden ? " hidden norm" : " norm" : "", l->n[0] ? " >" : "");
    for (int j = 0; j < MOST && l->n[j]; j++)
        snprintf(name + strlen(name), sizeof name - strlen(name), " %lld%s", (long long)l->n[j],
                 l->turns >> j & 1 ? " turned" : "");
    build(&g, l);
    size_t bytes = g.bytes[AIRA_STORE_IO] + TEST_GUARD;
    char *first = malloc(bytes), *second = malloc(bytes);
    const char *why = run(device, &g, first);
    if (!why) why = run(device, &g, second);
    if (!why && memcmp(first, second, bytes)) why = "two runs gave other bits";
    if (!why) compare(&g, first, name);
    if (why) failures++, printf("FAILED %s: %s\n", name, why);
    for (uint32_t k = 0; k < g.n_tensors; k++) free(g.v[k]);
    free(first);
    free(second);
}

/* Lines of the trace that tell of a merged step. */
static int merged_lines(const char *path) {
    char line[4096], word[32];
    int n = 0;
    FILE *f = fopen(path, "r");
    snprintf(word, sizeof word, "merged %u", LINEAR);
    while (f && fgets(line, sizeof line, f)) n += strstr(line, word) != NULL;
    if (f) fclose(f);
    return n;
}

/* The device, with a trace unless path is NULL. */
static bool open_device(test_device *device, const char *plugin, const char *trace) {
    char config[256] = {0};
    if (!test_device_open_keys(device, plugin, NULL, 0)) return false;
    if (!trace) return true;
    const aira_schema *schema = device->plugin->config;
    test_config_defaults(schema, config);
    for (uint32_t k = 0; k < schema->n_fields; k++) {
        const aira_field *field = (const void *)((const char *)schema->fields + k * schema->field_stride);
        if (!strcmp(field->key, "trace")) *(const char **)(void *)(config + field->offset) = trace;
    }
    device->plugin->destroy(device->self);
    device->self = NULL;
    return device->plugin->create(&device->host, config, &device->self) == AIRA_OK;
}

static layer random_layer(aira_rng *rng) {
    layer l = {.rows = 2 + (int64_t)aira_rng_below(rng, 400), .d = aira_rng_below(rng, 2) ? 128 : 64};
    bool sums = aira_rng_below(rng, 3) != 0;
    l.slope = sums && aira_rng_below(rng, 2);
    l.norm = !l.slope;
    l.hidden = l.norm && aira_rng_below(rng, 2);
    l.transposed = aira_rng_below(rng, 2);
    l.residual = sums && aira_rng_below(rng, 2);
    l.bias = sums && !l.slope && aira_rng_below(rng, 2);
    uint32_t n_k = !sums ? 0 : l.slope ? 1 + aira_rng_below(rng, MOST) : 1;
    for (uint32_t j = 0; j < n_k; j++) {
        bool odd = !l.transposed && l.slope && aira_rng_below(rng, 3) == 0;
        l.k[j] = odd ? 2 * (1 + (int64_t)aira_rng_below(rng, 70)) : 8 * (1 + (int64_t)aira_rng_below(rng, 32));
    }
    for (uint32_t j = 0, n = 1 + aira_rng_below(rng, MOST); j < n; j++) {
        l.n[j] = l.transposed ? 2 * (1 + (int64_t)aira_rng_below(rng, 128))
                              : 8 * (1 + (int64_t)aira_rng_below(rng, 32));
        l.biases |= aira_rng_below(rng, 2) << j;
    }
    l.head = 8 << aira_rng_below(rng, 4);
    l.turns = l.transposed && aira_rng_below(rng, 2) ? aira_rng_below(rng, 32) : 0;
    for (int j = 0; j < MOST && l.n[j]; j++)
        if (l.turns >> j & 1) l.n[j] = l.head * (1 + (int64_t)aira_rng_below(rng, (uint32_t)(256 / l.head)));
    l.columns = l.slope ? aira_rng_below(rng, 32) & ((1u << n_k) - 1u) : 0;
    if (l.slope && aira_rng_below(rng, 2)) l.columns |= 1u << MOST;
    return l;
}

int main(int argc, char **argv) {
    static const layer cases[] = {
        /* q, k, v; output product and the next q, k, v; their gradients; and those of a layer before */
        {.rows = 256,
         .d = 128,
         .n = {128, 128, 128},
         .biases = 7,
         .transposed = true,
         .norm = true,
         .turns = 3,
         .head = 8},
        {.rows = 300,
         .d = 128,
         .k = {128},
         .n = {128, 128, 128},
         .biases = 7,
         .transposed = true,
         .norm = true,
         .bias = true,
         .residual = true},
        {.rows = 333, .d = 128, .k = {128, 128, 128}, .slope = true, .residual = true, .n = {128}, .columns = 39},
        {.rows = 64, .d = 128, .k = {128, 128, 128}, .slope = true, .columns = 7},
        {.rows = 65, .d = 64, .k = {64, 32, 32}, .slope = true, .residual = true, .n = {64}, .columns = 39},
        {.rows = 127, .d = 128, .k = {512}, .slope = true, .residual = true, .n = {512}},
        {.rows = 200, .d = 128, .k = {256, 128, 128, 4, 256}, .slope = true, .residual = true, .n = {256}},
        {.rows = 99, .d = 64, .k = {2, 128, 70}, .slope = true, .columns = 36},
        {.rows = 130, .d = 64, .n = {32, 512, 96}, .transposed = true, .norm = true, .turns = 5, .head = 16},
        {.rows = 70, .d = 128, .n = {772}, .transposed = true, .norm = true},
        {.rows = 3, .d = 128, .n = {32, 64}, .transposed = false},
        /* Mamba, and what ends in the middle of tiles: one chunk of a sum, heads over less than 64 columns */
        {.rows = 384,
         .d = 128,
         .k = {256},
         .n = {256, 4, 128, 128, 256},
         .transposed = true,
         .norm = true,
         .hidden = true,
         .residual = true},
        {.rows = 193, .d = 64, .k = {40}, .n = {6, 64}, .biases = 1, .transposed = true, .norm = true, .bias = true},
        {.rows = 129, .d = 128, .k = {8}, .slope = true, .n = {136}, .columns = 33},
        {.rows = 140, .d = 128, .k = {40}, .slope = true, .residual = true, .n = {264, 8}, .columns = 33},
        {.rows = 131, .d = 128, .k = {64}, .n = {392}, .transposed = true, .norm = true, .residual = true},
        {.rows = 77, .d = 128, .k = {128, 8}, .slope = true, .residual = true},
        {.rows = 150,
         .d = 128,
         .n = {32, 160, 96, 48},
         .biases = 10,
         .transposed = true,
         .norm = true,
         .hidden = true,
         .turns = 11,
         .head = 16},
        {.rows = 257, .d = 128, .n = {128, 96, 64}, .transposed = true, .norm = true, .turns = 3, .head = 32},
        {.rows = 256, .d = 128, .n = {64, 192}, .biases = 3, .transposed = true, .norm = true, .turns = 3, .head = 64},
        {.rows = 4096, .d = 128, .k = {128}, .n = {512}, .transposed = true, .norm = true, .residual = true},
    };
    char path[4096], trace[] = "/tmp/aira-linear-XXXXXX";
    const char *built = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", built ? built : ".");
    if (argc > 1) snprintf(path, sizeof path, "%s", argv[1]);
    test_device device;
    if (!open_device(&device, path, NULL)) {
        printf("skipped: %s\n", device.failure);
        return 77;
    }
    aira_rng rng = aira_rng_make(aira_key(2, "layers"), 0);
    size_t n_cases = sizeof cases / sizeof *cases;
    for (size_t k = 0; k < n_cases; k++)
        if (test_in_part(k)) try_layer(&device, &cases[k]);
    for (size_t k = 0; k < 60; k++) {
        layer l = random_layer(&rng);
        if (test_in_part(n_cases + k)) try_layer(&device, &l);
    }
    test_device_close(&device);
    if (test_is_part()) {
        printf("%d failed, merging not looked at\n", failures);
        return failures ? 1 : 0;
    }
    /* what a traced run computes does not count: steps ran many times */
    int fd = mkstemp(trace), so_far = failures;
    if (fd < 0 || !open_device(&device, path, trace)) return 1;
    close(fd);
    for (size_t k = 0; k < n_cases; k++) {
        static net g;
        build(&g, &cases[k]);
        char *image = malloc(g.bytes[AIRA_STORE_IO] + TEST_GUARD);
        const char *why = run(&device, &g, image);
        if (why) failures++, printf("FAILED traced: %s\n", why);
        for (uint32_t j = 0; j < g.n_tensors; j++) free(g.v[j]);
        free(image);
    }
    test_device_close(&device);
    int merged = merged_lines(trace);
    unlink(trace);
    printf("%d of %zu layers are one step%s\n", merged, n_cases, merged < (int)n_cases ? ": FAILED" : "");
    if (merged < (int)n_cases) failures++;
    printf("%d failed%s\n", failures, failures > so_far ? " (some traced)" : "");
    return failures ? 1 : 0;
}
