// says: returned shape
// tries: gives another shape back
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    const aira_shape s = {{1, 1, 1}, 3, 0};
    (void)x;
    return ops->constant(g, 1, &s);
}
