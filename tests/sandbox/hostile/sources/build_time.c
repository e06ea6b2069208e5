// says: two different graphs
// tries: depends on the time
// on: x86_64
#include <aira/primitive.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    unsigned low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return ops->scale(g, x, 1.0 + 1e-9 * low);
}
