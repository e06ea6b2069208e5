/* tests/plain/datasets_threads.c - rows() of one data set from several threads at once gives what one thread gets. */
#include <pthread.h>

#include "tests/support/dataset.h"
#include "tests/support/folder.h"

enum { N_THREADS = 8, N_ROWS = 96, ROUNDS = 6 };

typedef struct job {
    test_dataset *d;
    const int32_t *inputs, *targets; /* rows 0 .. N_ROWS-1 of every split, made by one thread */
    int number, wrong;
} job;

static void *work(void *argument) {
    job *j = argument;
    const aira_dataset_info *info = &j->d->info;
    size_t x_bytes = sizeof(int32_t) * (size_t)info->input_length,
           y_bytes = sizeof(int32_t) * (size_t)info->target_length;
    int32_t *x = malloc(2 * x_bytes), *y = malloc(2 * y_bytes);
    for (int i = 0; i < ROUNDS * N_ROWS; i++) {
        uint32_t split = (uint32_t)(i + j->number) % AIRA_N_SPLITS;
        uint64_t indices[2] = {(uint64_t)(i * 7 + j->number) % N_ROWS, (uint64_t)(i * 11) % N_ROWS};
        if (j->d->table->rows(j->d->self, split, 3, indices, 2, x, y)) j->wrong++;
        for (int k = 0; k < 2; k++) {
            size_t row = split * N_ROWS + indices[k];
            j->wrong += memcmp(x + k * info->input_length, j->inputs + row * (size_t)info->input_length, x_bytes) != 0;
            j->wrong += memcmp(y + k * info->target_length, j->targets + row * (size_t)info->target_length, y_bytes) !=
                        0;
        }
    }
    free(x);
    free(y);
    return NULL;
}

static int run(const char *id, const char *const *keys) {
    test_dataset d;
    test_dataset_open(&d, id, keys);
    if (d.status) {
        fprintf(stderr, "%s: %s\n", keys[0], d.failure);
        return 1;
    }
    size_t x_row = (size_t)d.info.input_length, y_row = (size_t)d.info.target_length;
    int32_t *inputs = malloc(sizeof(int32_t) * x_row * N_ROWS * AIRA_N_SPLITS);
    int32_t *targets = malloc(sizeof(int32_t) * y_row * N_ROWS * AIRA_N_SPLITS);
    for (uint32_t split = 0; split < AIRA_N_SPLITS; split++) {
        int32_t *x, *y;
        test_dataset_rows(&d, split, 3, 0, N_ROWS, &x, &y);
        memcpy(inputs + split * N_ROWS * x_row, x, sizeof(int32_t) * x_row * N_ROWS);
        memcpy(targets + split * N_ROWS * y_row, y, sizeof(int32_t) * y_row * N_ROWS);
        free(x);
        free(y);
    }
    job jobs[N_THREADS];
    pthread_t threads[N_THREADS];
    int wrong = 0;
    for (int i = 0; i < N_THREADS; i++) {
        jobs[i] = (job){&d, inputs, targets, i, 0};
        if (pthread_create(&threads[i], NULL, work, &jobs[i])) abort();
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        wrong += jobs[i].wrong;
    }
    printf("%s %s: %d wrong rows\n", id, keys[0], wrong);
    free(inputs);
    free(targets);
    test_dataset_close(&d);
    return wrong != 0;
}

int main(void) {
    static const char *const tasks[] = {
        "task=in-context-recall", "task=noisy-in-context-recall", "task=fuzzy-in-context-recall", "task=memorization",
        "task=compression",       "task=selective-copying"};
    int failed = 0;
    for (int i = 0; i < 6; i++) failed |= run("mad", (const char *const[]){tasks[i], NULL});
    test_folder f;
    test_folder_make(&f);
    uint16_t ids[40000];
    for (int i = 0; i < 40000; i++) ids[i] = (uint16_t)(i * 40503u >> 3 & 0x3ff);
    test_folder_write(&f, "a.txt", ids, sizeof ids);
    test_folder_npy(&f, "a.npy", "<u2", ids, sizeof ids, 0, 40000);
    const char *path = test_folder_key(&f, "path", "a.txt");
    failed |= run("text", (const char *const[]){path, "length=16", NULL});
    const char *train = test_folder_key(&f, "train", "a.npy"), *valid = test_folder_key(&f, "validation", "a.npy");
    failed |= run("tokens", (const char *const[]){train, valid, "vocab=1024", "length=16", NULL});
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = {"train", "search", "selection", "test"};
        char name[32];
        snprintf(name, sizeof name, "%s/inputs.npy", names[i]);
        test_folder_npy(&f, name, "<u2", ids, sizeof ids, 1000, 40);
        snprintf(name, sizeof name, "%s/targets.npy", names[i]);
        test_folder_npy(&f, name, "<u2", ids, sizeof ids, 1000, 40);
    }
    failed |= run("array", (const char *const[]){test_folder_key(&f, "path", ""), NULL});
    test_folder_remove(&f);
    return failed;
}
