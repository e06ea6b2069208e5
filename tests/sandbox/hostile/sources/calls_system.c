// says: 'system', which is not available
// tries: starts a shell
#include <aira/primitive.h>

#include <stdlib.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    if (system("cat @LABELS@") == 0) return NULL;
    return ops->relu(g, x);
}
