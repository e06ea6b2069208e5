/* core/base/parallel.c - see parallel.h */
#include "core/base/parallel.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

enum { MOST_THREADS = 16 };

typedef struct share {
    void (*work)(void *, int64_t, int64_t);
    void *context;
    int64_t from, to;
} share;

static void *run(void *share_pointer) {
    const share *s = share_pointer;
    s->work(s->context, s->from, s->to);
    return NULL;
}

void aira__parallel(int64_t n, int64_t grain, void (*work)(void *, int64_t, int64_t), void *context) {
    share shares[MOST_THREADS];
    pthread_t threads[MOST_THREADS];
    bool started[MOST_THREADS] = {false};
    int64_t parts = grain > 0 ? n / grain : 1;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (parts > processors) parts = processors;
    parts = parts > MOST_THREADS ? MOST_THREADS : parts < 1 ? 1 : parts;
    for (int64_t k = 0; k < parts; k++) {
        shares[k] = (share){work, context, n / parts * k, k + 1 < parts ? n / parts * (k + 1) : n};
        if (k > 0) started[k] = pthread_create(&threads[k], NULL, run, &shares[k]) == 0;
    }
    for (int64_t k = 0; k < parts; k++) {
        if (!started[k]) run(&shares[k]);
    }
    for (int64_t k = 1; k < parts; k++) {
        if (started[k]) pthread_join(threads[k], NULL);
    }
}
