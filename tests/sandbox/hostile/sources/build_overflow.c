// says: holds more than
// tries: has sizes that overflow
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    const aira_shape s = {{INT64_MAX / 2, INT64_MAX / 2, 4}, 3, 0};
    return ops->add(g, x, ops->constant(g, 1, &s));
}
