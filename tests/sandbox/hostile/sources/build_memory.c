// says: more than
// tries: takes memory
#include <aira/primitive.h>

#include <stdlib.h>
#include <string.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    for (;;) {
        char *block = malloc(1 << 20);
        if (block) memset(block, 1, 1 << 20);
    }
    return ops->relu(g, x);
}
