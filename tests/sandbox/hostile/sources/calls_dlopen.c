// says: 'dlopen', which is not available
// tries: loads the program that holds it
#include <aira/primitive.h>

#include <dlfcn.h>

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    if (dlopen(0, RTLD_NOW) == 0) return NULL;
    return ops->relu(g, x);
}
