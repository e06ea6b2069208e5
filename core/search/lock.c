/* core/search/lock.c - flock on <run>/lock; see lock.h. */
#include "core/search/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/fs.h"

struct aira__lock {
    int fd;
};

/* "pid host" as written by the holder, or "another process". */
static void read_holder(int fd, char *text, size_t size) {
    char raw[320];
    long pid = 0;
    char host[257] = "";
    ssize_t n = pread(fd, raw, sizeof raw - 1, 0);
    raw[n > 0 ? n : 0] = 0;
    if (sscanf(raw, "%ld %256s", &pid, host) == 2)
        snprintf(text, size, "process %ld on %s", pid, host);
    else
        snprintf(text, size, "another process");
}

static aira_status write_holder(int fd, const char *path, aira_error *error) {
    char host[257] = "unknown", text[320];
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == 0) strcpy(host, "unknown");
    int n = snprintf(text, sizeof text, "%ld %s\n", (long)getpid(), host);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return aira__fail(error, AIRA_E_IO, "%s: cannot be written (%s)", path, strerror(errno));
    return AIRA_OK;
}

/* True where the process that wrote its name is on this machine and gone. */
static bool holder_is_dead(int fd) {
    char raw[320], host[257] = "", mine[257] = "unknown";
    long pid = 0;
    ssize_t n = pread(fd, raw, sizeof raw - 1, 0);
    raw[n > 0 ? n : 0] = 0;
    if (gethostname(mine, sizeof mine - 1) != 0) return false;
    return sscanf(raw, "%ld %256s", &pid, host) == 2 && pid > 0 && !strcmp(host, mine) && kill((pid_t)pid, 0) != 0 &&
           errno == ESRCH;
}

/* A killed coordinator's children hold its lock until they have become the programs that they were started as. */
static bool take(int fd) {
    for (int i = 0;; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
        if (errno != EWOULDBLOCK) return false;
        if (i == 250 || !holder_is_dead(fd)) break; /* 5 s */
        usleep(20000);
    }
    errno = EWOULDBLOCK;
    return false;
}

aira_status aira__lock_take(const char *run_dir, aira__lock **out, aira_error *error) {
    *out = NULL;
    char *path = aira__path_join(run_dir, "lock");
    aira__lock *lock = malloc(sizeof *lock);
    aira_status status = AIRA_OK;
    int fd = -1;
    if (!path || !lock) {
        status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
        goto done;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = aira__fail(error, AIRA_E_IO,
                            "%s: cannot be opened for writing (%s); choose a folder that you may write", path,
                            strerror(errno));
        goto done;
    }
    if (!take(fd)) {
        char holder[320];
        if (errno == EWOULDBLOCK) {
            read_holder(fd, holder, sizeof holder);
            status = aira__fail(error, AIRA_E_FAILED, "%s: the run directory is in use by %s; wait for it or stop it",
                                run_dir, holder);
        } else {
            status = aira__fail(error, AIRA_E_IO, "%s: cannot be locked (%s)", path, strerror(errno));
        }
        goto done;
    }
    status = write_holder(fd, path, error);
done:
    free(path);
    if (status != AIRA_OK) {
        if (fd >= 0) close(fd);
        free(lock);
        return status;
    }
    lock->fd = fd;
    *out = lock;
    return AIRA_OK;
}

void aira__lock_release(aira__lock *lock) {
    if (!lock) return;
    close(lock->fd); /* drops the lock */
    free(lock);
}

char *aira__lock_holder(const char *run_dir) {
    char *path = aira__path_join(run_dir, "lock"), *answer = NULL;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        char holder[320];
        if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            read_holder(fd, holder, sizeof holder);
            answer = strdup(holder);
        }
        close(fd);
    }
    free(path);
    return answer;
}
