/* Run inside the sandbox by tests/plain/sandbox_hygiene.c: reads every byte that can be reached from here and tells
 * where a marker is found. Arguments: the marker in hexadecimal, and a time: files of the system that are older cannot
 * hold a marker that was drawn after it. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;
static char marker[64];
static size_t n_marker;
static long long since, bytes, files;

static int holds(const char *data, size_t n) { return memmem(data, n, marker, n_marker) != NULL; }

static void search(int fd, const char *name) {
    static char block[(1 << 20) + sizeof marker];
    size_t kept = 0;
    for (ssize_t n; (n = read(fd, block + kept, 1 << 20)) > 0;) {
        size_t whole = kept + (size_t)n;
        bytes += n;
        if (holds(block, whole)) printf("found in %s\n", name);
        kept = whole < n_marker ? whole : n_marker;
        memmove(block, block + whole - kept, kept);
    }
}

static int visit(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)at;
    files++;
    if (holds(path, strlen(path))) printf("found in the name %s\n", path);
    if (kind == FTW_SL) {
        char target[4096];
        ssize_t n = readlink(path, target, sizeof target);
        if (n > 0 && holds(target, (size_t)n)) printf("found in the link %s\n", path);
    }
    if (kind != FTW_F || !S_ISREG(info->st_mode) || info->st_ctime < since) return 0;
    int fd = open(path, O_RDONLY);
    if (fd >= 0) search(fd, path);
    if (fd >= 0) close(fd);
    return 0;
}

int main(int n, char **a) {
    if (n < 3) return 2;
    for (; a[1][2 * n_marker] != 0 && n_marker < sizeof marker; n_marker++) {
        unsigned byte;
        sscanf(a[1] + 2 * n_marker, "%2x", &byte);
        marker[n_marker] = (char)byte;
    }
    since = atoll(a[2]);
    if (nftw("/", visit, 64, FTW_PHYS) != 0) return 3;
    for (char **e = environ; *e != NULL; e++)
        if (holds(*e, strlen(*e))) printf("found in the environment\n");
    for (int fd = 0; fd < 1024; fd++) {
        struct stat info;
        char name[32];
        snprintf(name, sizeof name, "descriptor %d", fd);
        if (fstat(fd, &info) != 0) continue;
        if (fd > 2) printf("open: %s\n", name);
        if (lseek(fd, 0, SEEK_SET) == 0 || fd == 0) search(fd, name);
    }
    printf("read %lld files and folders, %lld bytes\n", files, bytes);
    return 0;
}
