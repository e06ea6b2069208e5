// says: mechanism.c
// tries: makes an object of a gigabyte
#include <aira/primitive.h>

char block[1 << 30] = {1};

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
