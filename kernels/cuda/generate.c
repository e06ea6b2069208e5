/* generate.c - the source text of a chain's kernel. See generate.h.
 *
 * Extents and strides are literals, so the compiler turns divisions into multiplications; a thread loads `vector`
 * neighbouring elements of every operand with one access, computes them in registers, and stores likewise.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"

typedef struct text {
    char *data;
    size_t n, room;
    int failed;
} text;

__attribute__((format(printf, 2, 3))) static void say(text *t, const char *format, ...) {
    char line[2048];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (n < 0 || (size_t)n >= sizeof line) t->failed = 1;
    if (t->failed) return;
    if (t->n + (size_t)n + 1 > t->room) {
        size_t room = 2 * (t->n + (size_t)n) + 4096;
        char *more = realloc(t->data, room);
        if (!more) {
            t->failed = 1;
            return;
        }
        t->data = more;
        t->room = room;
    }
    memcpy(t->data + t->n, line, (size_t)n + 1);
    t->n += (size_t)n;
}

/* --- vectors --------------------------------------------------------------------------------------------------------
 */

/* Can `vector` neighbours of the iteration space be read from this operand with one access, or from one place? */
static int load_allows(const gpu_chain_load *load, int vector) {
    if (load->access != GPU_WALK) return 1;
    uint32_t last = load->n_dims - 1;
    return load->extents[last] % vector == 0 && (load->strides[last] == 1 || load->strides[last] == 0);
}

/* All strides of a walk but an innermost 1 keep vectors aligned. */
static int strides_allow(const gpu_chain_load *load, int vector) {
    if (load->access != GPU_WALK || load->strides[load->n_dims - 1] != 1) return 1;
    for (uint32_t d = 0; d + 1 < load->n_dims; d++)
        if (load->strides[d] % vector) return 0;
    return 1;
}

static int wide_access(const gpu_chain_load *load) {
    return load->access == GPU_WHOLE || (load->access == GPU_WALK && load->strides[load->n_dims - 1] == 1);
}

static int aligned(const char *data, uint32_t dtype, int vector) {
    return (uintptr_t)data % ((size_t)vector * gpu_bytes_of(dtype)) == 0;
}

/* Eight bf16 are one access of 16 bytes: for large tensors of nothing else, which fill the card all the same. */
static int allows_eight(const gpu_chain_program *p) {
    if (p->n < (int64_t)1 << 23) return 0;
    for (uint32_t k = 0; k < p->n_loads; k++)
        if (wide_access(&p->loads[k]) && p->loads[k].dtype != AIRA_BF16) return 0;
    for (uint32_t k = 0; k < p->n_code; k++)
        if (p->code[k].stored && p->code[k].dtype != AIRA_BF16) return 0;
    return 1;
}

int gpu_chain_vector(const gpu_chain_program *p, const gpu_chain_pointers *pointers) {
    for (int vector = allows_eight(p) ? 8 : 4; vector > 1; vector /= 2) {
        int good = p->n % vector == 0;
        for (uint32_t k = 0; k < p->n_loads && good; k++) {
            const gpu_chain_load *l = &p->loads[k];
            good = load_allows(l, vector) && strides_allow(l, vector) &&
                   (!wide_access(l) || aligned(pointers->data[l->view], l->dtype, vector));
        }
        for (uint32_t k = 0; k < p->n_code && good; k++)
            if (p->code[k].stored) good = aligned(pointers->data[p->code[k].view], p->code[k].dtype, vector);
        if (good) return vector;
    }
    return 1;
}

/* --- keys -----------------------------------------------------------------------------------------------------------
 */

size_t gpu_chain_key(const gpu_chain_program *p, int vector, int batched, uint64_t *key) {
    size_t n = 0;
    key[n++] = (uint64_t)vector << 32 | (batched != 0);
    key[n++] = batched ? 0 : (uint64_t)p->n;
    key[n++] = (uint64_t)p->n_loads << 32 | p->n_code;
    for (uint32_t k = 0; k < p->n_loads; k++) {
        const gpu_chain_load *l = &p->loads[k];
        uint32_t walked = l->access == GPU_WALK ? l->n_dims : 0;
        key[n++] = (uint64_t)l->dtype << 48 | (uint64_t)l->access << 40 | (uint64_t)walked << 32 | l->view;
        for (uint32_t d = 0; d < walked; d++) {
            key[n++] = d || l->strides[d] ? (uint64_t)l->extents[d] : 0; /* else the text does without */
            key[n++] = (uint64_t)l->strides[d];
        }
    }
    for (uint32_t k = 0; k < p->n_code; k++) {
        const gpu_chain_instruction *c = &p->code[k];
        key[n] = (uint64_t)c->op << 48 | (uint64_t)c->mode << 32 | (uint64_t)c->narrow << 16 | c->n_in;
        key[n + 1] = c->stored ? (uint64_t)(c->view + 1u) << 56 | (uint64_t)c->dtype << 48 : 0;
        for (uint32_t j = 0; j < c->n_in; j++) key[n + 1] |= (uint64_t)c->in[j] << 16 * j;
        n += 2;
    }
    return n;
}

/* --- text -----------------------------------------------------------------------------------------------------------
 */

_Static_assert(GPU_CHAIN_VALUES == 128, "the text below says so");
const char gpu_chain_prelude[] =
    "typedef scalar<math32> op;\n"
    "struct views { char *data["
    "128"
    "]; };\n"
    "struct member { views v; long n; };\n"
    "struct block { unsigned member, part; };\n"
    "template <class T, int V> struct __align__(sizeof(T) * V) packed { T v[V]; };\n"
    "static __device__ __forceinline__ float open(float x) { return x; }\n"
    "static __device__ __forceinline__ float open(unsigned short x) { return __uint_as_float((unsigned)x << 16); }\n"
    "static __device__ __forceinline__ void close(float *to, float x) { *to = x; }\n"
    "static __device__ __forceinline__ void close(unsigned short *to, float x) {\n"
    "    asm(\"cvt.rn.bf16.f32 %0, %1;\" : \"=h\"(*to) : \"f\"(x));\n"
    "}\n"
    "static __device__ __forceinline__ float halved(float x) {\n"
    "    unsigned short h;\n"
    "    close(&h, x);\n"
    "    return open(h);\n"
    "}\n";

static const char *type_of(uint32_t dtype) { return dtype == AIRA_BF16 ? "unsigned short" : "float"; }

static const char *name_of(uint32_t op) {
    switch (op) {
#define ROW(name, code, cls, n_in, n_out, doc) \
    case code:                                 \
        return #name;
        AIRA_OP_TABLE(ROW)
#undef ROW
    default:
        return "CAST";
    }
}

/* long at<k> = where operand k's element i is; rest is a variable of its own */
static void say_offset(text *t, const gpu_chain_load *l, uint32_t k) {
    if (l->access == GPU_WHOLE) {
        say(t, "    long at%u = i;\n", k);
        return;
    }
    say(t, "    long at%u = 0;\n", k);
    if (l->access == GPU_SCALAR) return;
    say(t, "    {\n        unsigned rest = (unsigned)i;\n");
    for (uint32_t d = l->n_dims; d-- > 0;) {
        if (l->strides[d])
            say(t, "        at%u += (long)(rest %% %lluu) * %lldl;\n", k, (unsigned long long)l->extents[d],
                (long long)l->strides[d]);
        if (d) say(t, "        rest /= %lluu;\n", (unsigned long long)l->extents[d]);
    }
    say(t, "    }\n");
}

static void say_load(text *t, const gpu_chain_load *l, uint32_t k, int vector) {
    const char *type = type_of(l->dtype);
    say_offset(t, l, k);
    if (wide_access(l))
        say(t, "    packed<%s, %d> l%u = *(const packed<%s, %d> *)((const %s *)p.data[%u] + at%u);\n", type, vector, k,
            type, vector, type, l->view, k);
    else
        say(t, "    float l%u = open(((const %s *)p.data[%u])[at%u]);\n", k, type, l->view, k);
}

static void say_code(text *t, const gpu_chain_program *p, uint32_t k) {
    const gpu_chain_instruction *c = &p->code[k];
    int mode = c->op == AIRA_OP_GELU || c->op == AIRA_OP_GELU_BACKWARD;
    say(t, "        float x%u = %sop::%s(", p->n_loads + k, c->narrow == AIRA_BF16 ? "halved(" : "", name_of(c->op));
    for (uint32_t j = 0; j < c->n_in; j++) say(t, "%sx%u", j ? ", " : "", c->in[j]);
    if (mode) say(t, ", %u", c->mode);
    say(t, ")%s;\n", c->narrow == AIRA_BF16 ? ")" : "");
    if (c->stored) say(t, "        close(&s%u.v[v], x%u);\n", k, p->n_loads + k);
}

/* One chain, or (batched) one of many that differ in addresses and size alone. */
static void say_head(text *t, const gpu_chain_program *p, int vector, int batched, const char *name) {
    say(t, "extern \"C\" __global__ void __launch_bounds__(256) %s(", name);
    if (!batched) {
        say(t, "const __grid_constant__ views p) {\n");
        say(t, "    long i = ((long)blockIdx.x * 256 + threadIdx.x) * %d;\n    if (i >= %lldl) return;\n", vector,
            (long long)p->n);
        return;
    }
    say(t, "const member *members, const block *blocks) {\n");
    say(t, "    block b = blocks[blockIdx.x];\n    const views &p = members[b.member].v;\n");
    say(t, "    long i = ((long)b.part * 256 + threadIdx.x) * %d;\n    if (i >= members[b.member].n) return;\n",
        vector);
}

char *gpu_chain_source(const gpu_chain_program *p, int vector, int batched, const char *name) {
    text t = {0};
    say_head(&t, p, vector, batched, name);
    for (uint32_t k = 0; k < p->n_loads; k++) say_load(&t, &p->loads[k], k, vector);
    for (uint32_t k = 0; k < p->n_code; k++)
        if (p->code[k].stored) say(&t, "    packed<%s, %d> s%u;\n", type_of(p->code[k].dtype), vector, k);
    say(&t, "#pragma unroll\n    for (int v = 0; v < %d; v++) {\n", vector);
    for (uint32_t k = 0; k < p->n_loads; k++)
        say(&t, wide_access(&p->loads[k]) ? "        float x%u = open(l%u.v[v]);\n" : "        float x%u = l%u;\n", k,
            k);
    for (uint32_t k = 0; k < p->n_code; k++) say_code(&t, p, k);
    say(&t, "    }\n");
    for (uint32_t k = 0; k < p->n_code; k++) {
        const gpu_chain_instruction *c = &p->code[k];
        if (c->stored)
            say(&t, "    *(packed<%s, %d> *)((%s *)p.data[%u] + i) = s%u;\n", type_of(c->dtype), vector,
                type_of(c->dtype), c->view, k);
    }
    say(&t, "}\n");
    if (!t.failed) return t.data;
    free(t.data);
    return NULL;
}
