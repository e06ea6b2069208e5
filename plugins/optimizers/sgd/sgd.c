/* sgd.c - stochastic gradient descent with momentum, as PyTorch defines it.
 *
 *   d = g + decay p;  m = momentum m + d;  p = p - lr (nesterov ? d + momentum m : m)
 */
#include "aira/optimizer.h"

typedef struct sgd {
    double lr, momentum, weight_decay;
    int32_t nesterov;
} sgd;

static aira_status build(void *self, const aira_ops *o, aira_graph *g, const aira_update_in *in, aira_update_out *out) {
    const sgd *c = self;
    if (c->nesterov && c->momentum == 0) {
        o->error(g, "sgd: nesterov needs a momentum above 0");
        return AIRA_E_CONFIG;
    }
    double decay = in->no_decay ? 0 : c->weight_decay * in->decay_mult;
    aira_tensor *d = decay != 0 ? o->add(g, in->grad, o->scale(g, in->param, decay)) : in->grad;
    aira_tensor *m = c->momentum != 0 ? o->add(g, o->scale(g, in->state[0], c->momentum), d) : d;
    aira_tensor *move = c->nesterov ? o->add(g, d, o->scale(g, m, c->momentum)) : m;
    out->param = o->sub(g, in->param, o->mul(g, in->lr, move));
    out->state[0] = m;
    return out->param ? AIRA_OK : AIRA_E_FAILED;
}

static double learning_rate(void *self) { return ((const sgd *)self)->lr; }

static const aira_field fields[] = {
    AIRA_F_REAL(sgd, lr, 0.1, 0, 1e6, "learning rate before the schedule"),
    AIRA_F_REAL(sgd, momentum, 0, 0, 0.999999999, "share of the last move that is kept"),
    AIRA_F_REAL(sgd, weight_decay, 0, 0, 1e3, "multiple of the parameter added to its gradient"),
    AIRA_F_BOOL(sgd, nesterov, 0, "look ahead along the momentum"),
};
static const char *const states[] = {"momentum"};
static const aira_schema schema = AIRA_SCHEMA(sgd, fields);
static const aira_optimizer table = {sizeof table, 0, 1, 0, states, learning_rate, build};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("optimizer", aira_optimizer, &table, "sgd", "1.0.0",
                                                          "gradient descent with momentum", &schema)};
AIRA_MANIFEST("optimizer", "sgd", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
