/* tests/support/compile.h - for tests that make plugins: a temporary folder, and the compiler as an author calls it.
 *
 * defines: test_folder, test_compile, test_read, test_write
 */
#ifndef TESTS_SUPPORT_COMPILE_H
#define TESTS_SUPPORT_COMPILE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *test_source_dir(void) {
    const char *folder = getenv("AIRA_SOURCE_DIR");
    if (folder == NULL) cr_skip_test("AIRA_SOURCE_DIR is not set: run by ctest");
    return folder;
}

/* A fresh folder, which also holds this test's plugin cache; removed by test_folder_remove. */
static char *test_folder(char path[64]) {
    strcpy(path, "/tmp/aira-test-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    setenv("XDG_CACHE_HOME", path, 1);
    return path;
}

static void test_folder_remove(const char *path) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    cr_assert_eq(system(command), 0);
}

/* Compiles a source (below the source folder, or absolute) with the headers of include_dir (NULL: the SDK's). */
__attribute__((unused)) static void test_compile(const char *source, const char *include_dir, const char *flags,
                                                 const char *target) {
    const char *root = test_source_dir(), *cc = getenv("CC");
    char command[4096], headers[1024];
    snprintf(headers, sizeof headers, "%s/include", root);
    snprintf(command, sizeof command,
             "%s -std=c11 -O1 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden -I'%s' %s '%s%s%s' -o '%s' -lm",
             cc != NULL ? cc : "cc", include_dir != NULL ? include_dir : headers, flags, source[0] == '/' ? "" : root,
             source[0] == '/' ? "" : "/", source, target);
    cr_assert_eq(system(command), 0, "%s", command);
}

__attribute__((unused)) static unsigned char *test_read(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*n + 1);
    cr_assert_eq(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

__attribute__((unused)) static void test_write(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fwrite(bytes, 1, n, file), n);
    cr_assert_eq(fclose(file), 0);
}

#endif
