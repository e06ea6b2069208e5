// says: initial values take
// tries: has an initial value that doubles sixty times
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    const aira_shape s = {{ops->dim(g, x, -1)}, 1, 0};
    aira_param_info info = {.size = sizeof info, .value = ops->random(g, "r", &s, "normal", 0)};
    for (int k = 0; k < 60; k++) info.value = ops->add(g, info.value, info.value);
    return ops->mul(g, x, ops->param(g, "w", &s, &info));
}
