/* cpu_threads.c - several devices at once, each with its own threads, running programs over and over: for
 * ThreadSanitizer, and for results that must not depend on any of it.
 */
#include <pthread.h>

#include "../unit/device_harness.h"

#define ROUNDS 20
enum { M = 300, K = 70, N = 90 };

typedef struct user {
    pthread_t thread;
    int64_t threads;
    test_device device; /* opened and closed by the main thread: the loader's own locks are no matter of ours */
    double result[M * N];
    const char *why;
} user;

/* softmax(a b) + bias, by matmul, a chain of one and softmax, ROUNDS times; the last result is kept. */
static void *use_device(void *argument) {
    user *u = argument;
    test_tensor x[6] = {{.shape = SHAPE(M, K), .dtype = AIRA_F32, .copies = 1, .given = true},
                        {.shape = SHAPE(K, N), .dtype = AIRA_F32, .copies = 1, .given = true},
                        {.shape = SHAPE(N), .dtype = AIRA_F32, .copies = 1, .given = true},
                        {.shape = SHAPE(M, N), .dtype = AIRA_F32, .copies = 1},
                        {.shape = SHAPE(M, N), .dtype = AIRA_F32, .copies = 1},
                        {.shape = SHAPE(M, N), .dtype = AIRA_F32, .copies = 1}};
    const int64_t trans[2] = {0, 0};
    uint32_t ids[6] = {0, 1, 2, 3, 4, 5}, sum[2] = {4, 2};
    aira_plan_step steps[3] = {
        {.size = sizeof *steps, .op = AIRA_OP_MATMUL, .n_in = 2, .n_out = 1, .copies = 1, .in = ids, .out = ids + 3},
        {.size = sizeof *steps,
         .op = AIRA_OP_SOFTMAX,
         .n_in = 1,
         .n_out = 1,
         .copies = 1,
         .in = ids + 3,
         .out = ids + 4},
        {.size = sizeof *steps, .op = AIRA_OP_ADD, .n_in = 2, .n_out = 1, .copies = 1, .in = sum, .out = ids + 5}};
    steps[0].i = trans;
    steps[0].n_i = 2;
    for (int k = 0; k < 6; k++) {
        int64_t n = test_elements(&x[k]);
        x[k].v = calloc((size_t)n, sizeof(double));
        for (int64_t e = 0; x[k].given && e < n; e++) x[k].v[e] = test_rounded(sin((double)(e * (k + 1))), AIRA_F32);
    }
    for (int round = 0; round < ROUNDS && !u->why; round++) u->why = test_run(&u->device, x, 6, steps, 3, 0);
    memcpy(u->result, x[5].v, sizeof u->result);
    for (int k = 0; k < 6; k++) free(x[k].v);
    return NULL;
}

int main(void) {
    static user users[3] = {{.threads = 1}, {.threads = 2}, {.threads = 4}};
    for (int k = 0; k < 3; k++) {
        if (!test_cpu_open(&users[k].device, users[k].threads, 0))
            return fprintf(stderr, "%s\n", users[k].device.failure), 1;
    }
    for (int k = 0; k < 3; k++) {
        if (pthread_create(&users[k].thread, NULL, use_device, &users[k]) != 0)
            return fprintf(stderr, "no thread\n"), 1;
    }
    for (int k = 0; k < 3; k++) {
        pthread_join(users[k].thread, NULL);
        test_device_close(&users[k].device);
    }
    for (int k = 0; k < 3; k++) {
        if (users[k].why) return fprintf(stderr, "%s\n", users[k].why), 1;
        if (memcmp(users[k].result, users[0].result, sizeof users[0].result) != 0) {
            return fprintf(stderr, "%d threads give other results than 1\n", (int)users[k].threads), 1;
        }
    }
    printf("three devices agree\n");
    return 0;
}
