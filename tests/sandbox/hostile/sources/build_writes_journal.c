// says: built
// tries: writes into the journal's folder by system calls
// on: x86_64
#include <aira/primitive.h>

static long call(long number, long a, long b, long c) {
    long result = number;
    __asm__ volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    long file = call(2, (long)"@JOURNAL@/journal.sqlite", 1 | 64, 0666);
    if (file >= 0) return ops->error(g, "the journal can be written to");
    return ops->relu(g, x);
}
