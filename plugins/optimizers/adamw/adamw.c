/* adamw.c - Adam with decoupled weight decay, in PyTorch's order of arithmetic (Loshchilov and Hutter, 2019).
 *
 *   p = p (1 - lr decay);  m = m + (1 - b1)(g - m);  v = b2 v + (1 - b2) g g
 *   p = p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *
 * 1 - b^t loses half of its digits in fp32 while b^t is close to 1, so it is computed from tanh: with
 * h = tanh(-t ln(b) / 2), 1 - b^t = 2 h / (1 + h). Scalars are made from the step, which has the type of the update.
 */
#include "aira/optimizer.h"

#include <math.h>

typedef struct adamw {
    double lr, beta1, beta2, eps, weight_decay;
    int32_t decay_all;
} adamw;

/* 1 - beta^step */
static aira_tensor *correction(const aira_ops *o, aira_graph *g, aira_tensor *step, aira_tensor *one, double beta) {
    if (beta == 0) return one;
    aira_tensor *h = o->tanh(g, o->scale(g, step, -log(beta) / 2));
    return o->div(g, o->scale(g, h, 2), o->add(g, one, h));
}

static aira_status build(void *self, const aira_ops *o, aira_graph *g, const aira_update_in *in, aira_update_out *out) {
    const adamw *c = self;
    aira_tensor *one = o->compare(g, "==", in->step, in->step), *p = in->param;
    double decay = in->no_decay && !c->decay_all ? 0 : c->weight_decay * in->decay_mult;
    if (decay != 0) p = o->mul(g, p, o->sub(g, one, o->scale(g, in->lr, decay)));
    aira_tensor *m = o->add(g, in->state[0], o->scale(g, o->sub(g, in->grad, in->state[0]), 1 - c->beta1));
    aira_tensor *v = o->add(g, o->scale(g, in->state[1], c->beta2),
                            o->scale(g, o->mul(g, in->grad, in->grad), 1 - c->beta2));
    aira_tensor *rate = o->div(g, in->lr, correction(o, g, in->step, one, c->beta1));
    aira_tensor *root = o->sqrt(g, correction(o, g, in->step, one, c->beta2));
    aira_tensor *denominator = o->add(g, o->div(g, o->sqrt(g, v), root), o->scale(g, one, c->eps));
    out->param = o->sub(g, p, o->mul(g, rate, o->div(g, m, denominator)));
    out->state[0] = m;
    out->state[1] = v;
    return out->param ? AIRA_OK : AIRA_E_FAILED;
}

static double learning_rate(void *self) { return ((const adamw *)self)->lr; }

static const aira_field fields[] = {
    AIRA_F_REAL(adamw, lr, 5e-4, 0, 1e3, "learning rate before the schedule"),
    AIRA_F_REAL(adamw, beta1, 0.9, 0, 0.999999999, "decay of the mean of gradients"),
    AIRA_F_REAL(adamw, beta2, 0.999, 0, 0.999999999, "decay of the mean of squared gradients"),
    AIRA_F_REAL(adamw, eps, 1e-8, 0, 1, "added to the root of the mean square"),
    AIRA_F_REAL(adamw, weight_decay, 0, 0, 1e3, "share of a parameter removed per step and unit of learning rate"),
    AIRA_F_BOOL(adamw, decay_all, 0, "also decay parameters that ask for no decay (norms, decay rates)"),
};
static const char *const states[] = {"m", "v"};
static const aira_schema schema = AIRA_SCHEMA(adamw, fields);
static const aira_optimizer table = {sizeof table, 0, 2, 0, states, learning_rate, build};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("optimizer", aira_optimizer, &table, "adamw", "1.0.0",
                                                          "Adam with decoupled weight decay", &schema)};
AIRA_MANIFEST("optimizer", "adamw", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
