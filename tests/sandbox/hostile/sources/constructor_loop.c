// says: it took more than
// tries: never finishes loading
#include <aira/primitive.h>

__attribute__((constructor)) static void start(void) {
    for (volatile int k = 0;; k++) continue;
}

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
