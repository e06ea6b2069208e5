// tries: answers in the place of the program that loads it, with graphs that no build can make
// on: x86_64
// variant 0 says: built
// variant 1 says: claims a shape or type
// variant 2 says: was refused
// variant 3 says: holds more than
// variant 4 says: was refused
// variant 5 says: was refused
// variant 6 says: none that a build function can make
// variant 7 says: was refused
// variant 8 says: damaged (length)
// variant 9 says: bytes of output
// variant 10 says: returned shape
// variant 11 says: an input that it was not given
// variant 12 says: other letters
// variant 13 says: damaged (JSON)
// variant 14 says: was refused
// variant 15 says: a number that is not one
// variant 16 says: damaged (description)
// variant 17 says: was refused
// variant 18 says: was refused
// variant 19 says: another compute type
#include <aira/op_table.h>
#include <aira/primitive.h>
#include <stdio.h>
#include <string.h>

#define VARIANT THE_NUMBER

static char bytes[1 << 16], head[1 << 18];
static size_t used;

static long call(long number, long a, long b, long c) {
    long result = number;
    __asm__ volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static void put(const void *data, size_t n) {
    memcpy(bytes + used, data, n);
    used += n;
}
static void u32(uint32_t v) { put(&v, sizeof v); }
static void i64(int64_t v) { put(&v, sizeof v); }
static void f64(double v) { put(&v, sizeof v); }
static void text(const char *t) {
    u32((uint32_t)strlen(t));
    put(t, strlen(t));
}
static void op(uint32_t code, uint32_t n_in, uint32_t n_i, uint32_t n_f, uint32_t block) {
    const uint32_t values[7] = {code, n_in, 1, n_i, n_f, block, 0};
    put(values, sizeof values);
}
static void result(int64_t a, int64_t b, int64_t c) {
    u32(AIRA_BF16);
    u32(3);
    i64(a);
    i64(b);
    i64(c);
}

/* x, then one operation, which is y */
static void forge(void) {
    const int extra = VARIANT == 11, named = VARIANT == 12;
    put("AIRAGRF1", 8);
    u32(VARIANT == 19 ? AIRA_F32 : AIRA_BF16);
    u32(AIRA_F32);
    u32(VARIANT == 7 ? 0xffffffff : 2 + extra + named);
    u32((uint32_t)named);
    u32(1 + (uint32_t)extra);
    u32(1);
    u32(VARIANT == 17 ? 0x7fffffff : 0);
    op(2, 0, 1, 0, 0);
    i64(VARIANT == 18 ? 77 : 0);
    result(2, 16, 64);
    if (extra) {
        op(2, 0, 1, 0, 0);
        i64(1);
        result(2, 16, 64);
    }
    if (named) {
        op(1, 0, 1, 0, 0);
        i64(0);
        u32(AIRA_F32);
        u32(3);
        i64(2);
        i64(16);
        i64(64);
    }
    if (VARIANT == 3) {
        op(3, 0, 0, 1, 0);
        f64(1);
        result(INT64_MAX, INT64_MAX, 2);
    } else if (VARIANT == 5) { /* gives a parameter a value */
        const uint32_t values[7] = {AIRA_OP_ASSIGN, 1, 0, 1, 0, 0, 0};
        put(values, sizeof values);
        u32(0);
        i64(0);
    } else if (VARIANT == 6) {
        op(AIRA_OP_SILU_BACKWARD, 2, 0, 0, 0);
        u32(0);
        u32(0);
        result(2, 16, 64);
    } else if (VARIANT == 10) {
        op(3, 0, 0, 1, 0);
        f64(1);
        result(2, 16, 63);
    } else if (VARIANT == 14) { /* a product of what does not fit */
        op(AIRA_OP_MATMUL, 2, 2, 0, 0);
        u32(0);
        u32(0);
        i64(0);
        i64(0);
        result(2, 16, 64);
    } else if (VARIANT == 15) {
        op(3, 0, 0, 1, 0);
        f64(__builtin_nan(""));
        result(2, 16, 64);
    } else {
        op(VARIANT == 4 ? 9999 : AIRA_OP_RELU, 1, 0, 0, 0);
        u32(VARIANT == 2 ? 1 : 0); /* itself */
        result(2, 16, VARIANT == 1 ? 65 : 64);
    }
    if (named) {
        text("\033[2J/../../etc");
        u32(0);
        u32(AIRA_F32);
        u32(0);
        u32(3);
        i64(2);
        i64(16);
        i64(64);
        text("other");
        text("zeros");
        for (int k = 0; k < 5; k++) f64(1);
        u32(0);
        u32(1);
        u32(1);
    }
    text("x");
    u32(0);
    if (extra) {
        text("labels");
        u32(1);
    }
    text("y");
    u32(1 + (uint32_t)(extra + named));
}

__attribute__((constructor)) static void start(void) {
    uint64_t n;
    forge();
    snprintf(
        head, sizeof head,
        "{\"token\":\"X\",\"flags\":1,\"version\":\"1\",\"summary\":\"x\",\"config\":{},\"traces\":[{\"bytes\":%zu,"
        "\"asked\":[],\"drawn\":[],\"aux\":[],\"kv\":0}]}",
        VARIANT == 16 ? used + 1 : used);
    if (VARIANT == 13) memset(head, '[', sizeof head - 1);
    n = strlen(head);
    for (int fd = 4; fd < 64; fd++) { /* whichever it is */
        if (call(72, fd, 1, 0) < 0) continue;
        uint64_t said = VARIANT == 8 ? UINT64_MAX - 3 : n;
        call(1, fd, (long)"AIRABOX1", 8);
        call(1, fd, (long)&said, 8);
        call(1, fd, (long)head, (long)n);
        call(1, fd, (long)bytes, (long)used);
        for (long k = 0; VARIANT == 9 && k < 4000; k++) call(1, fd, (long)bytes, sizeof bytes);
    }
    call(231, 0, 0, 0);
}

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    return ops->relu(g, x);
}
