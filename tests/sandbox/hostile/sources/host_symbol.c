// says: undefined reference
// tries: uses functions of the host
#include <aira/primitive.h>

extern int aira__journal_open(void);

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    aira__journal_open();
    return ops->relu(g, x);
}
