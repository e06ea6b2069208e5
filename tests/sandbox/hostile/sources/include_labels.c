// says: No such file
// tries: takes labels in while it is compiled
#include <aira/primitive.h>

#include "@LABELS@"

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
