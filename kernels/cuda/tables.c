/* tables.c - see tables.h */
#include "tables.h"

#include <math.h>
#include <stdlib.h>

typedef struct rope_table {
    int64_t t_n, d_n;
    double base;
    void *data;
    struct rope_table *next;
} rope_table;

struct gpu_tables {
    rope_table *ropes;
    void *counter;
};

gpu_tables *gpu_tables_create(void) { return calloc(1, sizeof(gpu_tables)); }

void gpu_tables_destroy(gpu_tables *tables) {
    while (tables && tables->ropes) {
        rope_table *first = tables->ropes;
        tables->ropes = first->next;
        (void)cudaFree(first->data); /* the memory goes with the process at the latest */
        free(first);
    }
    if (tables) (void)cudaFree(tables->counter);
    free(tables);
}

static int fill(void *to, int64_t t_n, int64_t half, double base) {
    size_t bytes = (size_t)(t_n * half) * 2 * sizeof(float);
    float *host = malloc(bytes);
    if (!host) return 0;
    for (int64_t t = 0; t < t_n; t++)
        for (int64_t j = 0; j < half; j++) {
            double angle = (double)t * pow(base, -(double)j / (double)half);
            host[2 * (t * half + j)] = (float)cos(angle);
            host[2 * (t * half + j) + 1] = (float)sin(angle);
        }
    /* a copy of pageable memory may return before it is there, and the queue's stream waits for no other */
    int good = cudaMemcpy(to, host, bytes, cudaMemcpyHostToDevice) == cudaSuccess &&
               cudaStreamSynchronize(NULL) == cudaSuccess;
    free(host);
    return good;
}

const void *gpu_tables_rope(gpu_tables *tables, int64_t t_n, int64_t d_n, double base, int make) {
    for (const rope_table *r = tables ? tables->ropes : NULL; r; r = r->next)
        if (r->t_n >= t_n && r->d_n == d_n && !(r->base < base) && !(r->base > base)) return r->data;
    if (!tables || !make || d_n < 2 || t_n < 1) return NULL;
    rope_table *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    *made = (rope_table){.t_n = t_n, .d_n = d_n, .base = base, .next = tables->ropes};
    if (cudaMalloc(&made->data, (size_t)(t_n * (d_n / 2)) * 2 * sizeof(float)) != cudaSuccess ||
        !fill(made->data, t_n, d_n / 2, base)) {
        (void)cudaGetLastError(); /* another kernel does it; the failure must not be found by a later launch */
        if (made->data) (void)cudaFree(made->data);
        free(made);
        return NULL;
    }
    tables->ropes = made;
    return made->data;
}

void *gpu_tables_counter(gpu_tables *tables, int make) {
    if (!tables || tables->counter || !make) return tables ? tables->counter : NULL;
    void *made = NULL;
    const size_t bytes = GPU_COUNTERS * sizeof(uint32_t);
    if (cudaMalloc(&made, bytes) == cudaSuccess && cudaMemset(made, 0, bytes) == cudaSuccess &&
        cudaStreamSynchronize(NULL) == cudaSuccess) {
        tables->counter = made;
        return made;
    }
    (void)cudaGetLastError(); /* told by who needs it; it must not be found by a later launch */
    if (made) (void)cudaFree(made);
    return NULL;
}
