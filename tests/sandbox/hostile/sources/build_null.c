// says: returned no tensor and no reason
// tries: gives nothing back
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    (void)ops;
    (void)g;
    (void)x;
    return 0;
}
