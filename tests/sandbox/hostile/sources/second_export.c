// says: built
// tries: exports more than it may: nobody sees it
#include <aira/primitive.h>

AIRA_EXPORT int other(void);
int other(void) { return 1; }

aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
