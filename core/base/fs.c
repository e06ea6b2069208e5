/* core/base/fs.c - see fs.h */
#include "core/base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct aira__file_writer {
    int fd;
    char *path, *temporary;
};

static aira_status fail_errno(aira_error *error, const char *what, const char *path) {
    return aira__fail(error, AIRA_E_IO, "cannot %s '%s': %s", what, path, strerror(errno));
}

aira_status aira__file_read(const char *path, size_t max_bytes, char **data, size_t *n, aira_error *error) {
    *data = NULL;
    if (n != NULL) *n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_errno(error, "open", path);
    struct stat info;
    aira_status status = AIRA_OK;
    size_t capacity = 4096, size = 0;
    if (fstat(fd, &info) != 0) {
        status = fail_errno(error, "look at", path);
    } else if (S_ISDIR(info.st_mode)) {
        status = aira__fail(error, AIRA_E_IO, "cannot read '%s': it is a folder", path);
    } else if (S_ISREG(info.st_mode) && info.st_size >= 0) {
        capacity = (size_t)info.st_size < max_bytes ? (size_t)info.st_size : max_bytes;
    }
    /* one byte more than expected shows whether the file is longer; one for the closing zero */
    char *bytes = status == AIRA_OK ? malloc(capacity + 2) : NULL;
    if (status == AIRA_OK && bytes == NULL)
        status = aira__fail(error, AIRA_E_MEMORY, "no memory to read '%s' (%zu bytes)", path, capacity);
    while (status == AIRA_OK) {
        ssize_t got = read(fd, bytes + size, capacity + 1 - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = fail_errno(error, "read", path);
        if (got <= 0) break;
        size += (size_t)got;
        if (size > max_bytes) {
            status = aira__fail(error, AIRA_E_IO, "'%s' is larger than the %zu bytes that are accepted", path,
                                max_bytes);
        } else if (size > capacity) {
            capacity = capacity < max_bytes / 2 ? capacity * 2 + 1 : max_bytes;
            char *more = realloc(bytes, capacity + 2);
            if (more == NULL)
                status = aira__fail(error, AIRA_E_MEMORY, "no memory to read '%s'", path);
            else
                bytes = more;
        }
    }
    close(fd); /* read only: nothing can be lost */
    if (status != AIRA_OK) {
        free(bytes);
        return status;
    }
    bytes[size] = 0;
    *data = bytes;
    if (n != NULL) *n = size;
    return AIRA_OK;
}

aira_status aira__file_writer_open(const char *path, aira__file_writer **out, aira_error *error) {
    *out = NULL;
    aira__file_writer *writer = calloc(1, sizeof *writer);
    size_t room = strlen(path) + 32;
    if (writer != NULL) {
        writer->path = strdup(path);
        writer->temporary = malloc(room);
    }
    if (writer == NULL || writer->path == NULL || writer->temporary == NULL) {
        if (writer != NULL) {
            free(writer->path);
            free(writer->temporary);
        }
        free(writer);
        return aira__fail(error, AIRA_E_MEMORY, "no memory to write '%s'", path);
    }
    /* open(), not mkstemp(): the file gets the mode that any other file would get */
    for (int attempt = 0; attempt < 1000; attempt++) {
        snprintf(writer->temporary, room, "%s.tmp-%ld-%d", path, (long)getpid(), attempt);
        writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (writer->fd >= 0 || errno != EEXIST) break;
    }
    if (writer->fd < 0) {
        aira_status status = fail_errno(error, "create", path);
        free(writer->path);
        free(writer->temporary);
        free(writer);
        return status;
    }
    *out = writer;
    return AIRA_OK;
}

aira_status aira__file_writer_add(aira__file_writer *writer, const void *data, size_t n, aira_error *error) {
    const char *bytes = data;
    while (n > 0) {
        ssize_t written = write(writer->fd, bytes, n);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_errno(error, "write", writer->path);
        bytes += written;
        n -= (size_t)written;
    }
    return AIRA_OK;
}

/* The name itself must survive a power cut: sync the folder that holds it. */
static aira_status sync_folder(const char *path, aira_error *error) {
    char *folder = aira__path_folder(path);
    if (folder == NULL) return aira__fail(error, AIRA_E_MEMORY, "no memory to sync the folder of '%s'", path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    aira_status status = AIRA_OK;
    if (fd < 0) {
        status = fail_errno(error, "open folder", folder);
    } else {
        /* some network file systems cannot sync a folder; that is their promise, not our failure */
        if (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP) status = fail_errno(error, "sync folder", folder);
        close(fd);
    }
    free(folder);
    return status;
}

aira_status aira__file_writer_commit(aira__file_writer *writer, aira_error *error) {
    aira_status status = AIRA_OK;
    if (fsync(writer->fd) != 0) status = fail_errno(error, "sync", writer->path);
    if (close(writer->fd) != 0 && status == AIRA_OK) status = fail_errno(error, "close", writer->path);
    writer->fd = -1;
    if (status == AIRA_OK && rename(writer->temporary, writer->path) != 0)
        status = fail_errno(error, "put into place", writer->path);
    if (status == AIRA_OK) {
        writer->temporary[0] = 0;
        status = sync_folder(writer->path, error);
    }
    aira__file_writer_abandon(writer);
    return status;
}

void aira__file_writer_abandon(aira__file_writer *writer) {
    if (writer == NULL) return;
    if (writer->fd >= 0) close(writer->fd);
    if (writer->temporary[0] != 0) unlink(writer->temporary);
    free(writer->temporary);
    free(writer->path);
    free(writer);
}

aira_status aira__file_map(const char *path, const char *what, void **mapping, size_t *size, aira_error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        aira__fail(error, AIRA_E_IO, "cannot open '%s': %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return AIRA_E_IO;
    }
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        close(fd);
        return aira__fail(error, AIRA_E_CORRUPT, "'%s' is not %s", path, what);
    }
    *size = (size_t)info.st_size;
    *mapping = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    int reason = errno;
    close(fd);
    if (*mapping == MAP_FAILED) return aira__fail(error, AIRA_E_IO, "cannot read '%s': %s", path, strerror(reason));
    return AIRA_OK;
}

aira_status aira__file_write_atomic(const char *path, const void *data, size_t n, aira_error *error) {
    aira__file_writer *writer;
    aira_status status = aira__file_writer_open(path, &writer, error);
    if (status != AIRA_OK) return status;
    status = aira__file_writer_add(writer, data, n, error);
    if (status == AIRA_OK) return aira__file_writer_commit(writer, error);
    aira__file_writer_abandon(writer);
    return status;
}

aira_status aira__make_dirs(const char *path, aira_error *error) {
    char *copy = strdup(path);
    if (copy == NULL) return aira__fail(error, AIRA_E_MEMORY, "no memory to create folder '%s'", path);
    aira_status status = AIRA_OK;
    for (char *p = copy + 1; copy[0] != 0 && status == AIRA_OK; p++) {
        if (*p != '/' && *p != 0) continue;
        char at = *p;
        *p = 0;
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            status = fail_errno(error, "create folder", copy);
        } else if (!aira__is_dir(copy)) {
            status = aira__fail(error, AIRA_E_IO, "cannot create folder '%s': '%s' is a file", path, copy);
        }
        *p = at;
        if (at == 0) break;
    }
    free(copy);
    return status;
}

static aira_status remove_at(int parent, const char *name, const char *shown, aira_error *error) {
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return AIRA_OK;
    if (errno != EISDIR && errno != EPERM) return fail_errno(error, "remove", shown);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return fail_errno(error, "remove", shown);
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return fail_errno(error, "remove", shown);
    }
    aira_status status = AIRA_OK;
    struct dirent *entry;
    while (status == AIRA_OK && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *inner = aira__path_join(shown, entry->d_name);
        status = inner == NULL ? aira__fail(error, AIRA_E_MEMORY, "no memory to remove '%s'", shown)
                               : remove_at(dirfd(dir), entry->d_name, inner, error);
        free(inner);
    }
    closedir(dir);
    if (status == AIRA_OK && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        status = fail_errno(error, "remove folder", shown);
    return status;
}

aira_status aira__remove_tree(const char *path, aira_error *error) { return remove_at(AT_FDCWD, path, path, error); }

char *aira__path_join(const char *a, const char *b) {
    if (a[0] == 0 || b[0] == '/') return strdup(b);
    size_t n = strlen(a);
    while (n > 1 && a[n - 1] == '/') n--;
    size_t room = n + strlen(b) + 2;
    char *path = malloc(room);
    if (path != NULL) snprintf(path, room, "%.*s%s%s", (int)n, a, n == 1 && a[0] == '/' ? "" : "/", b);
    return path;
}

char *aira__path_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return strdup(".");
    if (slash == path) return strdup("/");
    return strndup(path, (size_t)(slash - path));
}

aira_status aira__program_dir(char *out, size_t size, aira_error *error) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n < 0) return fail_errno(error, "read", "/proc/self/exe");
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (slash == NULL || (size_t)(slash - path) >= size)
        return aira__fail(error, AIRA_E_IO, "the program's own path is too long: '%s'", path);
    *slash = 0;
    memcpy(out, path, (size_t)(slash - path) + 1);
    return AIRA_OK;
}

bool aira__file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool aira__is_dir(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool aira__is_link(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}
