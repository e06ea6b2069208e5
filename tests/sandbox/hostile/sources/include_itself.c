// says: #include nested depth
// tries: takes itself in for ever
#include <aira/primitive.h>

#include "mechanism.c"

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
