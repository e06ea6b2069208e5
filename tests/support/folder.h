/* tests/support/folder.h - a temporary folder of a test, and files in it. */
#ifndef AIRA_TESTS_SUPPORT_FOLDER_H
#define AIRA_TESTS_SUPPORT_FOLDER_H

#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct test_folder {
    char path[512];
    char *text[16]; /* "key=path" of test_folder_key */
    int n_texts;
} test_folder;

static inline void test_folder_make(test_folder *f) {
    const char *base = getenv("TMPDIR");
    memset(f, 0, sizeof *f);
    snprintf(f->path, sizeof f->path, "%s/aira-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(f->path)) abort();
}

static inline int test_folder_unlink(const char *path, const struct stat *about, int kind, struct FTW *ftw) {
    (void)about;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void test_folder_remove(test_folder *f) {
    nftw(f->path, test_folder_unlink, 8, FTW_DEPTH | FTW_PHYS);
    for (int i = 0; i < 16; i++) free(f->text[i]);
}

/* name may hold one folder, "test/inputs.npy". */
static inline void test_folder_write(const test_folder *f, const char *name, const void *bytes, size_t n) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    mkdir(path, 0777);
    *slash = '/';
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) abort();
}

/* descr such as "<i4"; rows 0: one axis of n elements. */
static inline void test_folder_npy(const test_folder *f, const char *name, const char *descr, const void *data,
                                   size_t bytes, size_t rows, size_t n) {
    char header[128], shape[64];
    if (rows)
        snprintf(shape, sizeof shape, "(%zu, %zu)", rows, n);
    else
        snprintf(shape, sizeof shape, "(%zu,)", n);
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    char *whole = malloc(128 + bytes);
    memcpy(whole, "\x93NUMPY\x01\x00\x76\x00", 10);
    memset(whole + 10, ' ', 118);
    memcpy(whole + 10, header, strlen(header));
    whole[127] = '\n';
    memcpy(whole + 128, data, bytes);
    test_folder_write(f, name, whole, 128 + bytes);
    free(whole);
}

/* "key=folder/name"; valid for sixteen calls. */
static inline const char *test_folder_key(test_folder *f, const char *key, const char *name) {
    char **text = &f->text[f->n_texts++ % 16];
    free(*text);
    if (asprintf(text, "%s=%s/%s", key, f->path, name) < 0) abort();
    return *text;
}

#endif
