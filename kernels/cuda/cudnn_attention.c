/* cudnn_attention.c - attention and its gradient as operation graphs of cuDNN's backend API.
 *
 * cuDNN recognises the graph of flash attention by its operations and their order and makes one fused kernel of it; a
 * missing or swapped operation gives no engine at all. The graphs are those that NVIDIA's own frontend describes.
 *
 * Backward, the gradient of the queries is a sum over blocks of keys. Where results need not repeat, kernels add into
 * an fp32 accumulator as they finish, in no fixed order; else cuDNN keeps dS (bf16, B H T T) in its workspace and
 * multiplies it by K afterwards, which is slower and needs the memory, but always gives the same bits; large batches
 * go in slices for that.
 */
#include "cudnn_attention.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cudnn_plan.h"

enum { Q = 1, K, V, O, LSE, G_O, DQ, DK, DV, SCALE, HIDDEN, KEEP, DELTA, SUM };

#define LEAST_T 512 /* below, making a plan costs more than it saves: flash.cu */
#define LEAST_HEAD 64
#define MOST_HEAD 256
#define MOST_SPACE (8ll << 30)  /* bytes of workspace, beyond which a plan is refused */
#define MOST_SCORES (2ll << 30) /* bytes of dS; a batch that needs more goes in slices */

typedef struct sizes {
    int64_t batch, t, heads, groups, d; /* batch: of one slice */
    int32_t backward, causal, deterministic, reserved;
} sizes;

typedef struct kept_plan {
    sizes key;
    cudnn_plan plan; /* without descriptor: cuDNN does not take this shape */
    struct kept_plan *next;
} kept_plan;

struct gpu_cudnn {
    const aira_host *host;
    int use, deterministic, looked, told;
    cudnn_calls calls;
    void *handle; /* NULL: no cuDNN */
    kept_plan *plans;
};

/* --- tensors ------------------------------------------------------------------------------------------------------ */

/* x[B,T,heads,D] in memory, seen as (batch, head, row, column) */
static cudnn_shape rows(const sizes *z, int64_t heads) {
    return (cudnn_shape){{z->batch, heads, z->t, z->d}, {z->t * heads * z->d, z->d, heads * z->d, 1}};
}
static cudnn_shape swapped(cudnn_shape s) {
    return (cudnn_shape){{s.dims[0], s.dims[1], s.dims[3], s.dims[2]},
                         {s.strides[0], s.strides[1], s.strides[3], s.strides[2]}};
}
static cudnn_shape packed(const sizes *z, int64_t n_rows, int64_t n_columns) {
    return (cudnn_shape){{z->batch, z->heads, n_rows, n_columns},
                         {z->heads * n_rows * n_columns, n_rows * n_columns, n_columns, 1}};
}
static void *scores(cudnn_graph *g, const sizes *z, cudnn_type type) {
    const cudnn_shape shape = packed(z, z->t, z->t);
    return cudnn_tensor(g, 0, type, &shape);
}
/* one number per query row: LSE, delta, or inside a kernel */
static void *row_values(cudnn_graph *g, const sizes *z, int64_t id) {
    const cudnn_shape shape = packed(z, z->t, 1);
    return cudnn_tensor(g, id, CUDNN_F32, &shape);
}
static void *in_memory(cudnn_graph *g, const sizes *z, int64_t id, int64_t heads, bool transposed) {
    const cudnn_shape shape = transposed ? swapped(rows(z, heads)) : rows(z, heads);
    return cudnn_tensor(g, id, CUDNN_BF16, &shape);
}

/* y = how(x, b), a new score-shaped tensor inside the kernel */
static void *apply(cudnn_graph *g, const sizes *z, cudnn_pointwise how, void *x, void *b) {
    void *y = scores(g, z, CUDNN_F32);
    cudnn_add_pointwise(g, how, 0, x, b, NULL, y);
    return y;
}

/* x where the row is at or beyond the column, else -infinity */
static void *causal(cudnn_graph *g, const sizes *z, void *x) {
    void *row = scores(g, z, CUDNN_I32), *column = scores(g, z, CUDNN_I32), *seen = scores(g, z, CUDNN_BOOL);
    void *hidden = cudnn_scalar(g, HIDDEN), *y = scores(g, z, CUDNN_F32);
    cudnn_add_pointwise(g, CUDNN_INDEX, 2, x, NULL, NULL, row);
    cudnn_add_pointwise(g, CUDNN_INDEX, 3, x, NULL, NULL, column);
    cudnn_add_pointwise(g, CUDNN_GREATER_EQUAL, 0, row, column, NULL, seen);
    cudnn_add_pointwise(g, CUDNN_SELECT, 0, x, hidden, seen, y);
    return y;
}

/* --- graphs ------------------------------------------------------------------------------------------------------- */

static void describe_forward(cudnn_graph *g, const sizes *z) {
    void *q = in_memory(g, z, Q, z->heads, false), *k = in_memory(g, z, K, z->groups, true);
    void *v = in_memory(g, z, V, z->groups, false), *o = in_memory(g, z, O, z->heads, false);
    void *scale = cudnn_scalar(g, SCALE), *lse = row_values(g, z, LSE);
    void *largest = row_values(g, z, 0), *total = row_values(g, z, 0), *log_total = row_values(g, z, 0);
    void *s = scores(g, z, CUDNN_F32), *p = scores(g, z, CUDNN_BF16);
    cudnn_add_matmul(g, q, k, s);
    s = apply(g, z, CUDNN_MUL, s, scale);
    if (z->causal) s = causal(g, z, s);
    cudnn_add_reduction(g, CUDNN_LARGEST, s, largest);
    s = apply(g, z, CUDNN_SUB, s, largest);
    s = apply(g, z, CUDNN_EXP, s, NULL);
    cudnn_add_reduction(g, CUDNN_SUM, s, total);
    cudnn_add_pointwise(g, CUDNN_LOG, 0, total, NULL, NULL, log_total);
    cudnn_add_pointwise(g, CUDNN_ADD, 0, largest, log_total, NULL, lse);
    cudnn_add_pointwise(g, CUDNN_DIV, 0, s, total, NULL, p);
    cudnn_add_matmul(g, p, v, o);
}

/* out (heads of keys) = x' y, summed over the query heads of a group; x is score-shaped */
static void transposed_product(cudnn_graph *g, const sizes *z, void *x, void *y, int64_t id) {
    const cudnn_shape turned = {{z->batch, z->heads, z->t, z->t}, {z->heads * z->t * z->t, z->t * z->t, 1, z->t}};
    const cudnn_shape per_head = packed(z, z->t, z->d);
    void *x_turned = cudnn_tensor(g, 0, CUDNN_BF16, &turned), *out = in_memory(g, z, id, z->groups, false);
    void *all = z->heads == z->groups ? out : cudnn_tensor(g, 0, CUDNN_BF16, &per_head);
    cudnn_add_reshape(g, x, x_turned);
    cudnn_add_matmul(g, x_turned, y, all);
    if (all != out) cudnn_add_reduction(g, CUDNN_SUM, all, out);
}

/* delta = sum of do o over a row */
static void *describe_delta(cudnn_graph *g, const sizes *z, void *g_o) {
    const cudnn_shape per_head = packed(z, z->t, z->d);
    void *o = in_memory(g, z, O, z->heads, false), *product = cudnn_tensor(g, 0, CUDNN_F32, &per_head);
    void *sum = row_values(g, z, 0), *delta = row_values(g, z, DELTA), *keep = cudnn_scalar(g, KEEP);
    cudnn_add_pointwise(g, CUDNN_MUL, 0, g_o, o, NULL, product);
    cudnn_add_reduction(g, CUDNN_SUM, product, sum);
    cudnn_add_pointwise(g, CUDNN_MUL, 0, sum, keep, NULL, delta);
    return delta;
}

/* dq = ds k */
static void describe_dq(cudnn_graph *g, const sizes *z, void *ds, void *k) {
    const cudnn_shape key_rows = rows(z, z->groups), per_head = packed(z, z->t, z->d);
    void *k_rows = cudnn_tensor(g, 0, CUDNN_F32, &key_rows), *dq = in_memory(g, z, DQ, z->heads, false);
    cudnn_add_reshape(g, k, k_rows);
    if (z->deterministic) {
        cudnn_add_matmul(g, ds, k_rows, dq);
        return;
    }
    void *sum = cudnn_tensor(g, SUM, CUDNN_F32, &per_head);
    cudnn_add_matmul(g, ds, k_rows, sum);
    cudnn_add_pointwise(g, CUDNN_IDENTITY, 0, sum, NULL, NULL, dq);
}

static void describe_backward(cudnn_graph *g, const sizes *z) {
    void *q = in_memory(g, z, Q, z->heads, false), *g_o = in_memory(g, z, G_O, z->heads, false);
    void *k = in_memory(g, z, K, z->groups, true), *v = in_memory(g, z, V, z->groups, true);
    void *scale = cudnn_scalar(g, SCALE), *lse = row_values(g, z, LSE);
    void *delta = describe_delta(g, z, g_o), *s = scores(g, z, CUDNN_F32), *ds = scores(g, z, CUDNN_F32);
    cudnn_add_matmul(g, q, k, s);
    s = apply(g, z, CUDNN_MUL, s, scale);
    s = apply(g, z, CUDNN_SUB, s, lse);
    if (z->causal) s = causal(g, z, s);
    void *p = apply(g, z, CUDNN_EXP, s, NULL);
    transposed_product(g, z, p, g_o, DV);
    cudnn_add_matmul(g, g_o, v, ds);
    ds = apply(g, z, CUDNN_SUB, ds, delta);
    ds = apply(g, z, CUDNN_MUL, ds, p);
    ds = apply(g, z, CUDNN_MUL, ds, scale);
    transposed_product(g, z, ds, q, DK);
    describe_dq(g, z, ds, k);
}

/* --- plans by shape ----------------------------------------------------------------------------------------------- */

gpu_cudnn *gpu_cudnn_create(const aira_host *host, int use, int deterministic) {
    gpu_cudnn *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    made->host = host;
    made->use = use;
    made->deterministic = deterministic;
    return made;
}

void gpu_cudnn_destroy(gpu_cudnn *c) {
    if (!c) return;
    while (c->plans) {
        kept_plan *p = c->plans;
        c->plans = p->next;
        cudnn_plan_free(&c->calls, &p->plan);
        free(p);
    }
    if (c->handle) (void)c->calls.destroy(c->handle); /* goes with the process at the latest */
    cudnn_unload(&c->calls);
    free(c);
}

static void tell(gpu_cudnn *c, const char *what, const char *why) {
    char line[400];
    if (c->told) return;
    c->told = 1;
    snprintf(line, sizeof line, "cuda device: %s%s%s; attention runs on the device's own kernels, which are slower",
             what, why ? ": " : "", why ? why : "");
    c->host->log(c->host, AIRA_LOG_INFO, line);
}

static bool look(gpu_cudnn *c) {
    const char *why = NULL;
    if (c->looked) return c->handle != NULL;
    c->looked = 1;
    if (!cudnn_load(&c->calls, &why)) {
        tell(c, why, NULL);
        return false;
    }
    int status = c->calls.create(&c->handle);
    if (!status) return true;
    tell(c, "cuDNN does not start", c->calls.sentence(status));
    c->handle = NULL;
    return false;
}

static kept_plan *kept(const gpu_cudnn *c, const sizes *key) {
    for (kept_plan *p = c->plans; p; p = p->next)
        if (!memcmp(&p->key, key, sizeof *key)) return p;
    return NULL;
}

/* Bytes behind cuDNN's own workspace: delta, and the sum of dq where it has one. */
static size_t delta_bytes(const sizes *z) {
    return z->backward ? ((size_t)(z->batch * z->heads * z->t) * sizeof(float) + 255) & ~(size_t)255 : 0;
}
static size_t own_bytes(const sizes *z) {
    size_t sum = z->backward && !z->deterministic ? (size_t)(z->batch * z->heads * z->t * z->d) * sizeof(float) : 0;
    return delta_bytes(z) + sum;
}
static size_t plan_bytes(const kept_plan *p) { return ((size_t)p->plan.workspace + 255) & ~(size_t)255; }

static void make_plan(gpu_cudnn *c, kept_plan *p) {
    const cudnn_target target = {.handle = c->handle};
    char what[160];
    cudnn_graph graph = {.calls = &c->calls};
    if (p->key.backward)
        describe_backward(&graph, &p->key);
    else
        describe_forward(&graph, &p->key);
    int status = cudnn_plan_make(&graph, &target, p->key.deterministic != 0, &p->plan);
    cudnn_graph_free(&graph);
    snprintf(what, sizeof what, "cuDNN refuses attention of %lld x %lld x %lld heads of %lld", (long long)p->key.batch,
             (long long)p->key.t, (long long)p->key.heads, (long long)p->key.d);
    if (status) {
        tell(c, what, c->calls.sentence(status));
    } else if (plan_bytes(p) + own_bytes(&p->key) > (size_t)MOST_SPACE) {
        tell(c, what, "its workspace would be too large");
        cudnn_plan_free(&c->calls, &p->plan);
    }
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static bool is_plain(const gpu_view *view, uint32_t dtype) {
    return view->dtype == dtype && (uintptr_t)view->data % 16 == 0;
}

/* Sequences at a time: the largest divisor of the batch whose dS stays within its limit, at least 1. */
static int64_t slice_of(int64_t batch, const sizes *z) {
    int64_t each = z->backward && z->deterministic ? 2 * z->heads * z->t * z->t : 0, slice = batch;
    while (slice > 1 && (batch % slice || slice * each > MOST_SCORES)) slice--;
    return slice;
}

/* False: not for cuDNN. */
static bool sizes_of(const gpu_call *call, sizes *z) {
    const aira_shape *q = &call->in[0].shape, *k = &call->in[1].shape, *v = &call->in[2].shape;
    int backward = call->step->op == AIRA_OP_ATTENTION_BACKWARD;
    memset(z, 0, sizeof *z);
    if (!call->cudnn || !call->cudnn->use || call->n_in != (backward ? 6u : 3u) || call->step->i[1]) return false;
    for (uint32_t n = 0; n < call->n_in + call->n_out; n++) {
        const gpu_view *view = n < call->n_in ? &call->in[n] : &call->out[n - call->n_in];
        if (!is_plain(view, n == 4 /* lse, both ways */ ? AIRA_F32 : AIRA_BF16)) return false;
    }
    z->t = q->dims[1];
    z->heads = q->dims[2];
    z->groups = k->dims[2];
    z->d = q->dims[3];
    z->backward = backward;
    z->causal = call->step->i[0] != 0;
    z->deterministic = call->cudnn->deterministic != 0;
    z->batch = slice_of(q->dims[0], z);
    return z->batch > 0 && z->t == k->dims[1] && z->d == v->dims[3] && z->t >= LEAST_T && z->d >= LEAST_HEAD &&
           z->d <= MOST_HEAD && z->d % 8 == 0;
}

int gpu_cudnn_prepare(const gpu_call *call, size_t *bytes) {
    sizes key;
    *bytes = 0;
    if (!sizes_of(call, &key) || !look(call->cudnn)) return 0;
    gpu_cudnn *c = call->cudnn;
    kept_plan *p = kept(c, &key);
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p) return 0;
        p->key = key;
        p->next = c->plans;
        c->plans = p;
        make_plan(c, p);
    }
    if (!p->plan.descriptor) return 0;
    *bytes = plan_bytes(p) + own_bytes(&key);
    return 1;
}

/* Where sequence b of a tensor begins. */
static void *part(const gpu_view *view, int64_t b) {
    return view->data + (size_t)(b * (view->n / view->shape.dims[0])) * gpu_bytes_of(view->dtype);
}

/* Puts the sequences from b on, as many as the plan takes, on the handle's stream. */
static int run_slice(const gpu_call *call, const kept_plan *p, int64_t b) {
    const cudnn_calls *calls = &call->cudnn->calls;
    const sizes *z = &p->key;
    const gpu_view *in = call->in, *out = call->out;
    float scale = (float)call->step->f[0], keep = 1;
    float hidden = calls->version() >= 91000 ? -INFINITY : -FLT_MAX;
    char *own = (char *)call->workspace + plan_bytes(p);
    int64_t ids[14] = {Q, K, V, O, LSE, SCALE};
    void *at[14] = {part(&in[0], b), part(&in[1], b), part(&in[2], b), NULL, NULL, &scale};
    uint32_t n = 6;
    at[3] = part(z->backward ? &in[3] : &out[0], b);
    at[4] = part(z->backward ? &in[4] : &out[1], b);
    if (z->causal) ids[n] = HIDDEN, at[n++] = &hidden;
    if (z->backward) {
        const int64_t more[] = {G_O, DQ, DK, DV, KEEP, DELTA, SUM};
        void *addresses[] = {part(&in[5], b),     part(&out[0], b), part(&out[1], b), part(&out[2], b), &keep, own,
                             own + delta_bytes(z)};
        uint32_t n_more = z->deterministic ? 6 : 7; /* without an accumulator */
        memcpy(ids + n, more, n_more * sizeof *ids);
        memcpy(at + n, addresses, n_more * sizeof *at);
        n += n_more;
    }
    return cudnn_plan_run(calls, call->cudnn->handle, &p->plan, n, ids, at, call->workspace);
}

int gpu_cudnn_run(const gpu_call *call, const char **why) {
    sizes z;
    *why = NULL;
    if (!sizes_of(call, &z)) return 0;
    gpu_cudnn *c = call->cudnn;
    const kept_plan *p = kept(c, &z);
    if (!p || !p->plan.descriptor) return 0;
    int status = c->calls.set_stream(c->handle, call->stream);
    for (int64_t b = 0; b < call->in[0].shape.dims[0] && !status; b += z.batch) status = run_slice(call, p, b);
    if (status) *why = c->calls.sentence(status);
    return 1;
}
