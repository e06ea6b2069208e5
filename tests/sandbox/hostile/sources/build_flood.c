// says: more than 20000 operations
// tries: makes operations without end
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    for (int k = 0; k < 1000000; k++) x = ops->relu(g, x);
    return x;
}
