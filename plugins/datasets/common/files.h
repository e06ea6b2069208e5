/* files.h - what the data sets that read files share: sentences about files, and files mapped into memory.
 *
 * Static inline, so that every plugin stays one self-contained object. Files are mapped read only and privately: the
 * page cache holds them once for all workers. They must not be shortened while a run uses them.
 */
#ifndef AIRA_DATASETS_FILES_H
#define AIRA_DATASETS_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aira/dataset.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and read in place");

__attribute__((format(printf, 3, 4))) static inline aira_status data_fail(const aira_host *host, aira_status status,
                                                                          const char *format, ...) {
    char text[1500];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return host->fail(host, status, text);
}

typedef struct mapped {
    const uint8_t *bytes; /* NULL when n is 0 */
    uint64_t n;
} mapped;

static inline void data_unmap(mapped *m) {
    if (m->bytes) munmap((void *)(uintptr_t)m->bytes, (size_t)m->n);
    *m = (mapped){NULL, 0};
}

/* advice: what belongs at this path, said when there is nothing. */
static inline aira_status data_map(const aira_host *host, const char *path, const char *advice, mapped *out) {
    *out = (mapped){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return data_fail(host, AIRA_E_IO, "there is no '%s'; %s", path, advice);
    if (fd < 0) return data_fail(host, AIRA_E_IO, "'%s' cannot be opened: %s", path, strerror(errno));
    struct stat about;
    aira_status status = AIRA_OK;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        status = data_fail(host, AIRA_E_IO, "'%s' is not a file; %s", path, advice);
    } else if (about.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            status = data_fail(host, AIRA_E_IO, "'%s' cannot be mapped: %s", path, strerror(errno));
        else
            *out = (mapped){bytes, (uint64_t)about.st_size};
    }
    close(fd); /* read only: nothing can be lost here */
    return status;
}

static inline char *data_copy_text(const aira_host *host, const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = host->alloc(host, n);
    if (copy) memcpy(copy, text, n);
    return copy;
}

#endif
