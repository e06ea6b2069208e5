// says: compiling it was stopped
// tries: lets the preprocessor grow a text without end
#include <aira/primitive.h>

#define A(x) x x x x x x x x x x
#define B(x) A(A(x))
#define C(x) B(B(x))
#define D(x) C(C(x))
int numbers[] = {D(D(1, ))};

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
