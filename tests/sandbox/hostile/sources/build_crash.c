// says: it died of signal
// tries: follows a pointer to nowhere
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    *(volatile int *)8 = 1;
    return ops->relu(g, x);
}
