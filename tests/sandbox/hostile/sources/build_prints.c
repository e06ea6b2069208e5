// says: built
// tries: spoils the reply with output of its own
// on: x86_64
#include <aira/primitive.h>

static long call(long number, long a, long b, long c) {
    long result = number;
    __asm__ volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    for (int k = 0; k < 100; k++) call(1, 1, (long)"AIRABOX1 spoilt\n", 16);
    return ops->relu(g, x);
}
