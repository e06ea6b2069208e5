/* @NAME@.c - an optimizer: Lion (arXiv 2302.06675), steps of one size in the direction of the averaged gradient's sign.
 *
 *   u = sign(beta1 m + (1 - beta1) g);  p = p - lr (u + decay p);  m = beta2 m + (1 - beta2) g
 *
 * Build it: cc -O2 -fPIC -shared -fvisibility=hidden -I @INCLUDE@ @NAME@.c -lm -o @NAME@.so
 * Check it: aira check ./@NAME@.so
 */
#include "aira/optimizer.h"

typedef struct config {
    double lr, beta1, beta2, weight_decay;
} config;

static aira_tensor *average(const aira_ops *o, aira_graph *g, aira_tensor *old, aira_tensor *now, double beta) {
    return o->add(g, o->scale(g, old, beta), o->scale(g, now, 1 - beta));
}

static aira_status build(void *self, const aira_ops *o, aira_graph *g, const aira_update_in *in, aira_update_out *out) {
    const config *c = self;
    double decay = in->no_decay ? 0 : c->weight_decay * in->decay_mult;
    aira_tensor *zero = o->cast(g, o->constant(g, 0, NULL), AIRA_F32);
    aira_tensor *wish = average(o, g, in->state[0], in->grad, c->beta1);
    aira_tensor *sign = o->sub(g, o->compare(g, ">", wish, zero), o->compare(g, "<", wish, zero));
    aira_tensor *move = o->add(g, sign, o->scale(g, in->param, decay));
    out->param = o->sub(g, in->param, o->mul(g, in->lr, move));
    out->state[0] = average(o, g, in->state[0], in->grad, c->beta2);
    return out->param != NULL && out->state[0] != NULL ? AIRA_OK : AIRA_E_FAILED;
}

static double learning_rate(void *self) { return ((const config *)self)->lr; }

static const aira_field fields[] = {
    AIRA_F_REAL(config, lr, 1e-4, 0, 1e6, "learning rate before the schedule"),
    AIRA_F_REAL(config, beta1, 0.9, 0, 1, "share of the average in the step"),
    AIRA_F_REAL(config, beta2, 0.99, 0, 1, "share of the average that is kept"),
    AIRA_F_REAL(config, weight_decay, 0, 0, 1e3, "pull of every parameter towards 0"),
};
static const char *const states[] = {"momentum"};
static const aira_schema schema = AIRA_SCHEMA(config, fields);
static const aira_optimizer table = {
    .size = sizeof table, .n_states = 1, .state_names = states, .learning_rate = learning_rate, .build = build};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("optimizer", aira_optimizer, &table, "@NAME@", "0.1.0",
                                                          "sign of the averaged gradient (Lion)", &schema)};
AIRA_MANIFEST("optimizer", "@NAME@", "0.1.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
