// says: it died of signal
// tries: gives something back that is no tensor
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    (void)ops;
    (void)g;
    (void)x;
    return (aira_tensor *)0x1234;
}
