/* compose_models.c - the shipped model files have the parameters that their comments and the literature say.
 *
 * The counts are written here as formulas of the widths, apart from the code that builds models. Body: the primitives,
 * without norms and the tied embedding.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/graph/model.h"
#include "core/train/model_file.h"

typedef struct widths {
    int64_t width, hidden, heads, kv_heads, head;
} widths;

static const widths at_350m = {1536, 4096, 24, 8, 64}, at_1b = {2048, 8192, 32, 8, 64},
                    at_3b = {3072, 8192, 24, 8, 128}, at_8b = {4096, 14336, 32, 8, 128};

static int64_t attention(const widths *w) {
    return w->width * (w->heads + 2 * w->kv_heads) * w->head + w->heads * w->head * w->width;
}
static int64_t swiglu(const widths *w) { return 3 * w->width * w->hidden; }
/* Mamba-2 as Bae et al. write it: inner 2 d, heads of 128, state 128, one group, convolution over 4 with a bias. */
static int64_t mamba2(const widths *w, int64_t head) {
    int64_t inner = 2 * w->width, state = 128, heads = inner / head;
    int64_t in = w->width * (2 * inner + 2 * state + heads), convolution = (inner + 2 * state) * (4 + 1);
    return in + convolution + 3 * heads + inner + inner * w->width;
}

static const struct {
    const char *file;
    const widths *at;
    int attention, swiglu, mamba2;
    double millions;     /* of the body, as published or in the file's comment */
    int64_t vocab, head; /* head: width of Mamba-2's heads */
} cases[] = {
    {"llama-350m", &at_350m, 14, 14, 0, 352.3, 128256, 128},
    {"llama-1b", &at_1b, 16, 16, 0, 973.1, 128256, 128},
    {"llama-3b", &at_3b, 28, 28, 0, 2818.6, 128256, 128},
    {"llama-8b", &at_8b, 32, 32, 0, 6979.3, 128256, 128},
    {"composer-stacked-1b", &at_1b, 9, 18, 0, 1000.3, 128256, 128},
    {"composer-stretched-1b", &at_1b, 10, 19, 0, 1061.2, 128256, 128},
    {"nemotron-2-like-1b", &at_1b, 3, 12, 12, 944.8, 128256, 128},
    {"mamba-1b", &at_1b, 0, 13, 13, 989.5, 128256, 128},
    {"350m-llama", &at_350m, 14, 14, 0, 352.3, 32768, 64},
    {"1b-llama", &at_1b, 16, 16, 0, 973.1, 32768, 64},
    {"3b-llama", &at_3b, 28, 28, 0, 2818.6, 128256, 64},
    {"1b-hybrid", &at_1b, 3, 13, 11, 970.1, 32768, 64},
};

static aira__registry *registry(void) {
    aira__registry *made = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__registry_create(NULL, &made, &error), AIRA_OK, "%s", error.text);
    return made;
}

/* Of the model as training builds it. */
static int64_t built(const aira__model_file *model) {
    aira_error error = {0};
    const aira__model_spec spec = {.backbone = model->backbone->plugin->table,
                                   .backbone_self = model->backbone->self,
                                   .layers = model->layers,
                                   .n_layers = (uint32_t)model->n_layers,
                                   .vocab = model->vocab,
                                   .batch = 1,
                                   .input_length = 8,
                                   .target_length = 8,
                                   .compute_dtype = AIRA_F32,
                                   .causal = true,
                                   .with_loss = true};
    aira_graph *graph = aira__model_build(&spec, &error);
    cr_assert_not_null(graph, "%s: %s", model->name, error.text);
    aira__counts counts;
    aira__graph_count(graph, &counts);
    aira__graph_destroy(graph);
    return counts.parameters;
}

Test(models, published_parameter_counts) {
    aira__registry *r = registry();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/configs/models/%s.yaml",
                 getenv("AIRA_SOURCE_DIR") ? getenv("AIRA_SOURCE_DIR") : ".", cases[i].file);
        aira__diagnostics *d = aira__diagnostics_create();
        aira__model_file *model = aira__model_file_load(r, path, NULL, 0, false, d);
        cr_assert_not_null(model, "%s", aira__diagnostics_text(d));
        const widths *w = cases[i].at;
        int layers = cases[i].attention + cases[i].swiglu + cases[i].mamba2;
        int64_t body = cases[i].attention * attention(w) + cases[i].swiglu * swiglu(w) +
                       cases[i].mamba2 * mamba2(w, cases[i].head);
        cr_expect_eq(model->n_layers, layers, "%s: %d layers", cases[i].file, model->n_layers);
        cr_expect_eq(model->vocab, cases[i].vocab);
        cr_expect_float_eq((double)body / 1e6, cases[i].millions, 0.05, "%s: %.3f M", cases[i].file,
                           (double)body / 1e6);
        int64_t total = body + (layers + 1) * w->width + cases[i].vocab * w->width;
        cr_expect_eq(built(model), total, "%s: %lld parameters, not %lld", cases[i].file, (long long)built(model),
                     (long long)total);
        aira__model_file_destroy(model);
        aira__diagnostics_destroy(d);
    }
    aira__registry_destroy(r);
}
