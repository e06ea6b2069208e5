// says: build:  [2Jeverything
// tries: speaks to the terminal of whoever reads its message
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    (void)x;
    return ops->error(g, "\033[2Jeverything is fine");
}
