// says: it died of signal
// tries: runs out of stack
#include <aira/primitive.h>

static aira_tensor *deeper(aira_tensor *x) {
    volatile char block[1 << 16];
    block[0] = 1;
    return block[0] ? x : 0;
}

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, build(self, ops, g, deeper(x)));
}
