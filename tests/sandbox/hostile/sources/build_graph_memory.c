// says: is too long
// tries: makes names without end
#include <aira/primitive.h>

#include <string.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    static char name[60000];
    memset(name, 120, sizeof name - 1);
    for (int k = 0; k < 1000000; k++) ops->metric(g, name, ops->constant(g, 1, 0));
    return ops->relu(g, x);
}
