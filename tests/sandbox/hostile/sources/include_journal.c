// says: No such file
// tries: takes the journal in
#include <aira/primitive.h>

#include "@JOURNAL@/journal.sqlite"

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
