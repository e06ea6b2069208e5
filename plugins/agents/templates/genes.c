/* plugins/agents/templates/genes.c - choices: drawing, changing, mixing, naming; see genes.h. */
#include "genes.h"

#include <stdio.h>
#include <string.h>

static const char *const names[N_GENES] = {"mixer",    "feature", "rate", "heads", "span",
                                           "position", "local",   "gate", "norm"};
static const char *const values[N_GENES][8] = {
    {"softmax", "window", "linear", "decay", "conv", "fft", "mean", NULL},
    {"elu", "relu", "exp", "square", NULL},
    {"head", "data", NULL},
    {"1", "2", "4", "8", NULL},
    {"4", "8", "16", "32", NULL},
    {"none", "rope", NULL},
    {"none", "shift", "conv", NULL},
    {"none", "sigmoid", "silu", "relu2", NULL},
    {"none", "rms", NULL},
};

static uint32_t count(int gene) {
    uint32_t n = 0;
    while (values[gene][n]) n++;
    return n;
}

static int counts(const genes *g, int gene) {
    int mixer = g->at[MIXER];
    switch (gene) {
    case FEATURE:
        return mixer == LINEAR || mixer == DECAY;
    case RATE:
        return mixer == DECAY;
    case HEADS:
        return mixer <= DECAY;
    case SPAN:
        return mixer == WINDOW || mixer == CONV;
    case POSITION:
        return mixer == SOFTMAX || mixer == WINDOW;
    default:
        return 1;
    }
}

/* What the mixer has no use for is not chosen; what it needs and is not there is drawn. */
static void complete(genes *g, aira_rng *rng) {
    for (int i = 0; i < N_GENES; i++) {
        int drawn = (int)aira_rng_below(rng, count(i)); /* always drawn: the others do not depend on the mixer */
        if (!counts(g, i))
            g->at[i] = -1;
        else if (g->at[i] < 0)
            g->at[i] = drawn;
    }
}

void genes_draw(genes *g, aira_rng *rng) {
    for (int i = 0; i < N_GENES; i++) g->at[i] = (int)aira_rng_below(rng, count(i));
    complete(g, rng);
}

void genes_change(genes *g, aira_rng *rng) {
    uint32_t n = 0, gene = 0;
    for (int i = 0; i < N_GENES; i++) n += (uint32_t)counts(g, i);
    uint32_t which = aira_rng_below(rng, n);
    for (int i = 0; i < N_GENES; i++)
        if (counts(g, i) && which-- == 0) gene = (uint32_t)i;
    uint32_t other = 1 + aira_rng_below(rng, count((int)gene) - 1);
    g->at[gene] = (int)(((uint32_t)g->at[gene] + other) % count((int)gene));
    complete(g, rng);
}

void genes_cross(genes *g, const genes *other, aira_rng *rng) {
    for (int i = 0; i < N_GENES; i++)
        if (aira_rng_below(rng, 2)) g->at[i] = other->at[i];
    complete(g, rng);
}

int genes_read(genes *g, const char *source) {
    const char *at = source ? strstr(source, "/* genes:") : NULL;
    const char *end = at ? strstr(at, "*/") : NULL;
    for (int i = 0; i < N_GENES; i++) g->at[i] = -1;
    if (!end) return 0;
    for (int i = 0; i < N_GENES; i++) {
        for (uint32_t k = 0; k < count(i); k++) {
            char word[40];
            snprintf(word, sizeof word, " %s=%s ", names[i], values[i][k]);
            const char *found = strstr(at, word);
            if (found && found < end) g->at[i] = (int)k;
        }
    }
    for (int i = 0; i < N_GENES; i++)
        if (g->at[MIXER] < 0 || (counts(g, i) && g->at[i] < 0)) return 0;
    return 1;
}

void genes_name(const genes *g, char *text, size_t size) {
    static const char *const before[N_GENES] = {"", "_", "_", "_h", "_s", "_", "_", "_", "_"};
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < N_GENES && used < size; i++) {
        int silent = g->at[i] < 0 || !strcmp(values[i][g->at[i]], "none");
        if (!silent)
            used += (size_t)snprintf(text + used, size - used, "%s%s%s", before[i], i == LOCAL ? "local" : "",
                                     values[i][g->at[i]]);
    }
}

/* ---- source ---- */

typedef struct page {
    char *text;
    size_t used, size;
} page;

/* Adds a piece in which $ stands for word. */
static void add(page *p, const char *piece, const char *word) {
    for (; *piece; piece++) {
        const char *from = *piece == '$' ? word : piece;
        size_t n = *piece == '$' ? strlen(word) : 1;
        if (p->used + n < p->size) memcpy(p->text + p->used, from, n);
        p->used += n;
    }
}

static const char *value(const genes *g, int gene) { return g->at[gene] < 0 ? "" : values[gene][g->at[gene]]; }

static void add_head(page *p, const genes *g) {
    char id[64];
    genes_name(g, id, sizeof id);
    add(p, "/* $ */\n/* genes:", id);
    for (int i = 0; i < N_GENES; i++) {
        if (g->at[i] < 0) continue;
        add(p, " $=", names[i]);
        add(p, "$", values[i][g->at[i]]);
    }
    add(p,
        " */\n#include \"aira/primitive.h\"\n\n"
        "static aira_tensor *project(const aira_ops *o, aira_graph *g, const char *name, aira_tensor *x, int64_t out) "
        "{\n"
        "    aira_param_info info = {.size = sizeof info, .init = \"fan_in\", .role = \"linear.weight\"};\n"
        "    aira_tensor *weight = o->param(g, name, &(aira_shape){{out, o->dim(g, x, -1)}, 2, 0}, &info);\n"
        "    return o->linear(g, x, weight, NULL);\n}\n\n",
        "");
    if (g->at[MIXER] <= DECAY)
        add(p,
            "/* [B,T,C] through a matrix of its own, cut into heads: [B,T,H,D] */\n"
            "static aira_tensor *heads(const aira_ops *o, aira_graph *g, const char *name, aira_tensor *x, int64_t H) "
            "{\n"
            "    int64_t B = o->dim(g, x, 0), T = o->dim(g, x, 1), C = o->dim(g, x, 2);\n"
            "    return o->reshape(g, project(o, g, name, x, C), &(aira_shape){{B, T, H, C / H}, 4, 0});\n}\n\n",
            "");
}

static void add_conv(page *p) {
    add(p,
        "/* every channel with its own last taps */\n"
        "static aira_tensor *convolve(const aira_ops *o, aira_graph *g, const char *name, aira_tensor *x, int64_t "
        "taps) {\n"
        "    aira_param_info w = {.size = sizeof w, .init = \"fan_in\", .flags = AIRA_PARAM_NO_DECAY};\n"
        "    aira_tensor *kernel = o->param(g, name, &(aira_shape){{o->dim(g, x, 2), taps}, 2, 0}, &w);\n"
        "    return o->conv1d_causal(g, x, kernel, o->constant(g, 0, &(aira_shape){{o->dim(g, x, 2)}, 1, 0}));\n}\n\n",
        "");
}

static void add_feature(page *p, const genes *g) {
    static const char *const maps[] = {("    aira_tensor *below = o->neg(g, o->relu(g, o->neg(g, x)));\n"
                                        "    return o->add(g, o->relu(g, x), o->exp(g, below)); /* elu(x) + 1 */\n"),
                                       "    return o->add(g, o->relu(g, x), o->constant(g, 0.01, NULL));\n",
                                       "    return o->softmax(g, x); /* over the features of a head */\n",
                                       "    return o->mul(g, x, x);\n"};
    if (g->at[FEATURE] < 0) return;
    add(p,
        "/* positive features of queries and keys */\n"
        "static aira_tensor *feature(const aira_ops *o, aira_graph *g, aira_tensor *x) {\n$}\n\n",
        maps[g->at[FEATURE]]);
}

static void add_attention(page *p, const genes *g) {
    add(p,
        "    aira_tensor *q = heads(o, g, \"q.weight\", x, H), *k = heads(o, g, \"k.weight\", x, H);\n"
        "    aira_tensor *v = heads(o, g, \"v.weight\", x, H), *mask = o->ctx_tensor(g, \"mask\");\n",
        "");
    if (g->at[POSITION] == 1)
        add(p,
            "    aira_tensor *positions = o->ctx_tensor(g, \"positions\");\n"
            "    if (C / H % 2 == 0) {\n"
            "        q = o->rope(g, q, positions, 10000, 0, 0);\n"
            "        k = o->rope(g, k, positions, 10000, 0, 0);\n    }\n",
            "");
    add(p,
        "    int32_t causal = (int32_t)o->ctx_int(g, \"causal\", 1);\n"
        "    aira_tensor *y = o->attention(g, q, k, v, mask, causal, $, 0);\n",
        g->at[MIXER] == WINDOW ? value(g, SPAN) : "0");
}

/* Linear attention as a state-space recurrence: h = decay h + k v, y = q h. */
static void add_recurrence(page *p, const genes *g) {
    add(p,
        "    aira_tensor *q = feature(o, g, heads(o, g, \"q.weight\", x, H));\n"
        "    aira_tensor *k = feature(o, g, heads(o, g, \"k.weight\", x, H));\n"
        "    aira_tensor *v = heads(o, g, \"v.weight\", x, H);\n"
        "    aira_shape per_head = {{H}, 1, 0};\n"
        "    aira_tensor *none = o->constant(g, 0, &per_head);\n",
        "");
    if (g->at[MIXER] == LINEAR) {
        add(p,
            "    const int32_t last = -1;\n"
            "    aira_tensor *y = o->ssd(g, v, o->constant(g, 1, &(aira_shape){{B, T, H}, 3, 0}), none, k, q, none);\n"
            "    aira_tensor *weights = o->sum(g, o->mul(g, q, o->cumsum(g, k, 1, 0, 0)), &last, 1, 1);\n"
            "    y = o->div(g, y, o->add(g, weights, o->constant(g, 1e-3, NULL)));\n",
            "");
        return;
    }
    add(p,
        "    aira_param_info log_rate = {.size = sizeof log_rate, .init = \"uniform\", .a = -4, .b = 0,\n"
        "                                .flags = AIRA_PARAM_FP32 | AIRA_PARAM_NO_DECAY};\n"
        "    aira_tensor *A = o->neg(g, o->exp(g, o->min(g, o->param(g, \"log_rate\", &per_head, &log_rate), "
        "o->constant(g, 2, NULL))));\n",
        "");
    add(p,
        g->at[RATE] == 1 ? "    aira_tensor *dt = o->sigmoid(g, project(o, g, \"step.weight\", x, H));\n"
                         : "    aira_tensor *dt = o->constant(g, 1, &(aira_shape){{B, T, H}, 3, 0});\n",
        "");
    add(p, "    aira_tensor *y = o->ssd(g, v, dt, A, k, q, none);\n", "");
}

/* A long convolution whose kernel is a damped wave per channel. */
static void add_fft(page *p) {
    add(p,
        "    aira_shape channels = {{C, 1}, 2, 0}, grid = {{C, T}, 2, 0};\n"
        "    aira_param_info rate = {.size = sizeof rate, .init = \"uniform\", .a = -4, .b = 1, .flags = "
        "AIRA_PARAM_FP32};\n"
        "    aira_param_info wave = {.size = sizeof wave, .init = \"uniform\", .a = 0, .b = 1, .flags = "
        "AIRA_PARAM_FP32};\n"
        "    aira_param_info size = {.size = sizeof size, .init = \"uniform\", .a = -1, .b = 1};\n"
        "    aira_tensor *t = o->iota(g, &grid, 1);\n"
        "    aira_tensor *damping = o->softplus(g, o->param(g, \"rate\", &channels, &rate));\n"
        "    aira_tensor *angle = o->mul(g, t, o->param(g, \"frequency\", &channels, &wave));\n"
        "    aira_tensor *kernel = o->mul(g, o->exp(g, o->neg(g, o->mul(g, t, damping))), o->cos(g, angle));\n"
        "    kernel = o->mul(g, kernel, o->param(g, \"amplitude\", &channels, &size));\n"
        "    return o->fft_conv(g, project(o, g, \"v.weight\", x, C), kernel);\n",
        "");
}

static void add_mix(page *p, const genes *g) {
    int mixer = g->at[MIXER];
    add(p,
        "/* what a position learns from those before it: [B,T,C] -> [B,T,C] */\n"
        "static aira_tensor *mix(const aira_ops *o, aira_graph *g, aira_tensor *x) {\n",
        "");
    add(p,
        mixer <= DECAY  ? "    int64_t B = o->dim(g, x, 0), T = o->dim(g, x, 1), C = o->dim(g, x, 2), H = $;\n"
                          "    while (C % H != 0) H /= 2;\n"
        : mixer == FFT  ? "    int64_t T = o->dim(g, x, 1), C = o->dim(g, x, 2);\n"
        : mixer == MEAN ? "    int64_t T = o->dim(g, x, 1), C = o->dim(g, x, 2);\n"
                        : "    int64_t C = o->dim(g, x, 2);\n",
        value(g, HEADS));
    if (mixer == SOFTMAX || mixer == WINDOW) add_attention(p, g);
    if (mixer == LINEAR || mixer == DECAY) add_recurrence(p, g);
    if (mixer <= DECAY) add(p, "    return o->reshape(g, y, &(aira_shape){{B, T, C}, 3, 0});\n", "");
    if (mixer == CONV)
        add(p, "    return convolve(o, g, \"kernel\", project(o, g, \"v.weight\", x, C), $);\n", value(g, SPAN));
    if (mixer == FFT) add_fft(p);
    if (mixer == MEAN)
        add(p,
            "    aira_tensor *seen = o->add(g, o->iota(g, &(aira_shape){{T, 1}, 2, 0}, 0), o->constant(g, 1, NULL));\n"
            "    return o->div(g, o->cumsum(g, project(o, g, \"v.weight\", x, C), 1, 0, 0), seen);\n",
            "");
    add(p, "}\n\n", "");
}

static void add_build(page *p, const genes *g) {
    static const char *const gates[] = {"", "    y = o->mul(g, y, o->sigmoid(g, $));\n",
                                        "    y = o->mul(g, y, o->silu(g, $));\n",
                                        ("    aira_tensor *open = o->relu(g, $);\n"
                                         "    y = o->mul(g, y, o->mul(g, open, open));\n")};
    add(p,
        "static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {\n"
        "    (void)self;\n"
        "    int64_t B = o->dim(g, x, 0), T = o->dim(g, x, 1), C = o->dim(g, x, 2);\n"
        "    aira_tensor *hides = o->ctx_tensor(g, \"mask\"); /* padding says nothing */\n"
        "    aira_tensor *seen = hides ? o->mul(g, x, o->reshape(g, hides, &(aira_shape){{B, T, 1}, 3, 0})) : x;\n",
        "");
    if (g->at[LOCAL] == 1)
        add(p,
            "    aira_param_info half = {.size = sizeof half, .init = \"constant\", .a = 0.5};\n"
            "    aira_tensor *before = o->slice(g, o->pad(g, seen, 1, 1, 0, 0), 1, 0, T);\n"
            "    aira_tensor *share = o->param(g, \"shift\", &(aira_shape){{C}, 1, 0}, &half);\n"
            "    seen = o->add(g, seen, o->mul(g, o->sub(g, before, seen), share));\n",
            "");
    if (g->at[LOCAL] == 2) add(p, "    seen = o->silu(g, convolve(o, g, \"local\", seen, 4));\n", "");
    add(p, "    aira_tensor *y = mix(o, g, seen);\n", "");
    if (g->at[NORM] == 1)
        add(p,
            "    aira_param_info one = {.size = sizeof one, .init = \"ones\", .role = \"norm\", .flags = "
            "AIRA_PARAM_FP32};\n"
            "    y = o->rms_norm(g, y, o->param(g, \"norm.weight\", &(aira_shape){{C}, 1, 0}, &one), 1e-5);\n",
            "");
    add(p, gates[g->at[GATE]], "project(o, g, \"gate.weight\", x, C)");
    add(p, "    return project(o, g, \"out.weight\", y, C);\n}\n\n", "");
}

int genes_source(const genes *g, char *text, size_t size) {
    page p = {text, 0, size};
    char id[64];
    genes_name(g, id, sizeof id);
    add_head(&p, g);
    if (g->at[MIXER] == CONV || g->at[LOCAL] == 2) add_conv(&p);
    add_feature(&p, g);
    add_mix(&p, g);
    add_build(&p, g);
    add(&p,
        "static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, \"X\", build, NULL};\n"
        "static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR(\"primitive\", aira_primitive, &table, \"$\", "
        "\"1.0.0\",\n"
        "                                                          \"made of templates\", NULL)};\n"
        "AIRA_MANIFEST(\"primitive\", \"$\", \"1.0.0\")\n"
        "AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }\n",
        id);
    if (p.used >= size) return 0;
    text[p.used] = 0;
    return 1;
}
