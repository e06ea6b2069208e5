// says: parameters, at most
// tries: has more parameters than memory
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    const aira_shape s = {{1 << 17, 1 << 16}, 2, 0};
    aira_tensor *w = ops->param(g, "w", &s, 0);
    const int32_t axes[] = {0, 1};
    return ops->mul(g, x, ops->sum(g, w, axes, 2, 0));
}
