// says: a system call that is refused
// tries: traces its parent
// on: x86_64
#include <aira/primitive.h>

static long call(long number, long a, long b, long c) {
    long result = number;
    __asm__ volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

__attribute__((constructor)) static void start(void) { call(101, 16, 1, 0); }

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
