// says: it took more than
// tries: never finishes building
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    for (volatile int k = 0;; k++) continue;
    return ops->relu(g, x);
}
