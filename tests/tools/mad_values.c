/* tests/tools/mad_values.c - checks files of rows against what the MAD benchmark's generators show.
 *
 *     mad_values TASK train|evaluation DIR      DIR holds inputs.npy and targets.npy at baseline settings
 * Exit status: 0 as they should be, 1 not, 2 the files cannot be read.
 */
#include "tests/support/mad_values.h"
#include "core/base/npy.h"

static int32_t *read_side(const char *folder, const char *name, int64_t shape[2]) {
    char path[4096];
    aira__npy array;
    aira_error error = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (aira__npy_open(path, &array, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return NULL;
    }
    int32_t *out = NULL;
    if (array.rank == 2 && array.type == AIRA_NPY_I32 && array.elements > 0) {
        out = malloc(sizeof *out * (size_t)array.elements);
        for (int64_t i = 0; out && i < array.elements; i++) out[i] = (int32_t)aira__npy_int(&array, i);
        memcpy(shape, array.shape, 2 * sizeof *shape);
    } else {
        fprintf(stderr, "%s is no int32 array of two axes\n", path);
    }
    aira__npy_close(&array);
    return out;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: mad_values TASK train|evaluation DIR\n");
        return 2;
    }
    int64_t x_shape[2] = {0}, y_shape[2] = {0};
    int32_t *x = read_side(argv[3], "inputs.npy", x_shape), *y = read_side(argv[3], "targets.npy", y_shape);
    int status = 2;
    if (x && y && memcmp(x_shape, y_shape, sizeof x_shape) == 0) {
        mad_rows rows = {argv[1], strcmp(argv[2], "train") == 0, x_shape[0], x_shape[1], x, y, 0};
        int complaints = mad_values_check(&rows);
        printf("%s, %s: %lld rows of %lld, %d complaints\n", argv[1], argv[2], (long long)x_shape[0],
               (long long)x_shape[1], complaints);
        status = complaints ? 1 : 0;
    }
    free(x);
    free(y);
    return status;
}
