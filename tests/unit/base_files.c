/* tests/unit/base_files.c - files: whole or not at all, and a sentence for every way to fail. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fs.h"

static char folder[64];
static void in_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/aira-files-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}
static void remove_folder(void) { cr_assert_eq(aira__remove_tree(folder, NULL), AIRA_OK); }
TestSuite(base_files, .init = in_folder, .fini = remove_folder);

Test(base_files, read_and_write) {
    aira_error error = {0};
    char *data;
    size_t n;
    cr_assert_eq(aira__file_write_atomic("a", "one\0two", 7, &error), AIRA_OK);
    cr_assert_eq(aira__file_write_atomic("a", "three", 5, &error), AIRA_OK);
    cr_assert_eq(aira__file_read("a", 5, &data, &n, &error), AIRA_OK);
    cr_assert_eq(n, 5);
    cr_assert_str_eq(data, "three");
    free(data);
    cr_assert_eq(aira__file_read("a", 4, &data, &n, &error), AIRA_E_IO);
    cr_assert_null(data);
    cr_assert_str_eq(error.text, "'a' is larger than the 4 bytes that are accepted");
    cr_assert_eq(aira__file_read("/proc/self/status", 1 << 20, &data, &n, &error), AIRA_OK, "a file of unknown size");
    cr_assert_gt(n, 100);
    free(data);
    cr_assert_eq(aira__file_write_atomic("empty", NULL, 0, &error), AIRA_OK);
    cr_assert_eq(aira__file_read("empty", 10, &data, &n, &error), AIRA_OK);
    cr_assert_eq(n, 0);
    free(data);
}

Test(base_files, sentences) {
    aira_error error = {0};
    char *data;
    cr_assert_eq(aira__file_read("none", 10, &data, NULL, &error), AIRA_E_IO);
    cr_assert_str_eq(error.text, "cannot open 'none': No such file or directory");
    cr_assert_eq(aira__file_write_atomic("no/such", "x", 1, &error), AIRA_E_IO);
    cr_assert_str_eq(error.text, "cannot create 'no/such': No such file or directory");
    cr_assert_eq(aira__file_write_atomic("f", "x", 1, &error), AIRA_OK);
    cr_assert_eq(aira__make_dirs("f/g", &error), AIRA_E_IO);
    cr_assert_str_eq(error.text, "cannot create folder 'f/g': 'f' is a file");
}

/* A file that may not grow is what a full disk looks like: the old content stays, no temporary file is left. */
Test(base_files, full_disk_keeps_the_old_file) {
    aira_error error = {0};
    char *data, *big = calloc(1, 1 << 20);
    cr_assert_eq(aira__file_write_atomic("f", "old", 3, &error), AIRA_OK);
    struct rlimit limit = {65536, 65536};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(aira__file_write_atomic("f", big, 1 << 20, &error), AIRA_E_IO);
    cr_assert_str_eq(error.text, "cannot write 'f': File too large");
    cr_assert_eq(aira__file_read("f", 10, &data, NULL, &error), AIRA_OK);
    cr_assert_str_eq(data, "old");
    cr_assert(!aira__file_exists("f.tmp-0-0"));
    char pattern[64];
    snprintf(pattern, sizeof pattern, "f.tmp-%ld-0", (long)getpid());
    cr_assert(!aira__file_exists(pattern));
    free(data);
    free(big);
}

Test(base_files, trees) {
    aira_error error = {0};
    cr_assert_eq(aira__make_dirs("a/b/c/", &error), AIRA_OK);
    cr_assert_eq(aira__make_dirs("a/b", &error), AIRA_OK);
    cr_assert_eq(aira__make_dirs("keep", &error), AIRA_OK);
    cr_assert_eq(aira__file_write_atomic("keep/file", "x", 1, &error), AIRA_OK);
    cr_assert_eq(symlink("../keep", "a/link"), 0);
    cr_assert_eq(aira__remove_tree("a", &error), AIRA_OK, "%s", error.text);
    cr_assert(!aira__file_exists("a"));
    cr_assert(aira__file_exists("keep/file"), "links are not followed");
    cr_assert_eq(aira__remove_tree("a", &error), AIRA_OK);
}

Test(base_files, paths) {
    static const char *const joined[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"a", "/b", "/b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < sizeof joined / sizeof joined[0]; i++) {
        char *path = aira__path_join(joined[i][0], joined[i][1]);
        cr_assert_str_eq(path, joined[i][2]);
        free(path);
    }
    static const char *const folders[][2] = {{"a/b.c", "a"}, {"b.c", "."}, {"/b", "/"}, {"a/b/", "a/b"}};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *path = aira__path_folder(folders[i][0]);
        cr_assert_str_eq(path, folders[i][1]);
        free(path);
    }
    char here[512], small[2];
    cr_assert_eq(aira__program_dir(here, sizeof here, NULL), AIRA_OK);
    cr_assert_eq(here[0], '/');
    cr_assert_eq(aira__program_dir(small, sizeof small, NULL), AIRA_E_IO);
}

Test(base_files, buffers) {
    aira__buf buf = {0};
    for (int i = 0; i < 1000; i++) cr_assert(aira__buf_printf(&buf, "%d,", i));
    cr_assert_eq(buf.size, 3890);
    char *text = aira__buf_take(&buf);
    cr_assert_eq(strlen(text), 3890);
    free(text);
    text = aira__buf_take(&buf);
    cr_assert_str_eq(text, "");
    free(text);
    cr_assert(aira__buf_add(&buf, "a\0b", 3));
    cr_assert_eq(buf.size, 3);
    cr_assert(!aira__buf_add(&buf, "a", (size_t)-1));
    cr_assert(buf.failed);
    cr_assert_null(aira__buf_take(&buf));
}
