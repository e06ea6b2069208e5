/* core/plugin/cache.c - see cache.h.
 *
 * Files appear under their name by rename, so several programs may fill the folder at once. They are not synced: after
 * a power cut a damaged copy is found by comparison and a damaged verdict does not parse; both are made again.
 */
#include "core/plugin/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEEP_SECONDS (30 * 86400)

/* The folder and the ones above it; the last one private. */
static aira_status make_private(const char *path, aira_error *error) {
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part) return aira__fail(error, AIRA_E_IO, "the path of the plugin cache is too long: %s", path);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char kept = part[i];
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return aira__fail(error, AIRA_E_IO, "cannot make the folder %s for the plugin cache: %s", part,
                              strerror(errno));
        part[i] = kept;
    }
    struct stat info;
    if (lstat(path, &info) != 0)
        return aira__fail(error, AIRA_E_IO, "cannot examine the plugin cache %s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid())
        return aira__fail(error, AIRA_E_IO, "the plugin cache %s is not a folder of this user", path);
    if ((info.st_mode & 077) != 0 && chmod(path, 0700) != 0)
        return aira__fail(error, AIRA_E_IO, "the plugin cache %s cannot be made private: %s", path, strerror(errno));
    if (access(path, W_OK | X_OK) != 0)
        return aira__fail(error, AIRA_E_IO, "the plugin cache %s is not writable: %s", path, strerror(errno));
    return AIRA_OK;
}

aira_status aira__cache_open(char folder[PATH_MAX], aira_error *error) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME"), *temporary = getenv("TMPDIR");
    aira_status status = AIRA_E_IO;
    if (cache != NULL && cache[0] == '/') {
        snprintf(folder, PATH_MAX, "%s/aira/plugins", cache);
        status = make_private(folder, error);
    } else if (home != NULL && home[0] == '/') {
        snprintf(folder, PATH_MAX, "%s/.cache/aira/plugins", home);
        status = make_private(folder, error);
    }
    if (status == AIRA_OK) return status;
    if (temporary == NULL || temporary[0] != '/') temporary = "/tmp";
    snprintf(folder, PATH_MAX, "%s/aira-plugins-%u", temporary, (unsigned)geteuid());
    return make_private(folder, error);
}

/* Writes a file under a temporary name and renames it. */
static aira_status put(const char *folder, const char *path, const void *bytes, size_t n, aira_error *error) {
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s/.new-XXXXXX", folder) >= (int)sizeof temporary)
        return aira__fail(error, AIRA_E_IO, "the path of the plugin cache is too long: %s", folder);
    int file = mkostemp(temporary, O_CLOEXEC);
    if (file < 0) return aira__fail(error, AIRA_E_IO, "cannot write %s: %s", temporary, strerror(errno));
    const char *from = bytes;
    bool good = true;
    for (size_t done = 0; good && done < n;) {
        ssize_t wrote = write(file, from + done, n - done);
        if (wrote > 0)
            done += (size_t)wrote;
        else
            good = wrote < 0 && errno == EINTR;
    }
    int reason = errno;
    if (close(file) != 0 && good) {
        good = false;
        reason = errno;
    }
    if (good && rename(temporary, path) != 0) {
        good = false;
        reason = errno;
    }
    if (good) return AIRA_OK;
    unlink(temporary);
    return aira__fail(error, AIRA_E_IO, "cannot write %s: %s", path, strerror(reason));
}

/* Whether the file holds exactly these bytes and belongs to this user. */
static bool holds(const char *path, const void *bytes, size_t n) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return false;
    struct stat info;
    bool same = fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
                (uint64_t)info.st_size == n && n > 0;
    if (same) {
        void *map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, file, 0);
        same = map != MAP_FAILED && memcmp(map, bytes, n) == 0;
        if (map != MAP_FAILED) munmap(map, n);
    }
    close(file);
    return same;
}

/* Removes what nobody stored or refreshed for long. A mapped copy stays alive without its name. */
void aira__cache_prune(const char *folder) {
    DIR *directory = opendir(folder);
    if (directory == NULL) return;
    time_t now = time(NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat info;
        if (entry->d_name[0] == '.' && strncmp(entry->d_name, ".new-", 5) != 0) continue;
        if (fstatat(dirfd(directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (now - info.st_mtime > KEEP_SECONDS) unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
}

aira_status aira__cache_keep(const char *folder, const char *path, const void *bytes, size_t n, aira_error *error) {
    return put(folder, path, bytes, n, error);
}

aira_status aira__cache_store(const char *folder, const char *sha256, const void *bytes, size_t n, char copy[PATH_MAX],
                              aira_error *error) {
    if (snprintf(copy, PATH_MAX, "%s/%s.so", folder, sha256) >= PATH_MAX)
        return aira__fail(error, AIRA_E_IO, "the path of the plugin cache is too long: %s", folder);
    if (holds(copy, bytes, n)) return AIRA_OK;
    aira__cache_prune(folder);
    return put(folder, copy, bytes, n, error);
}

bool aira__cache_verdict_read(const char *folder, const char *sha256, const char *key, aira__verdict *verdict) {
    char path[PATH_MAX], text[2048];
    if (snprintf(path, sizeof path, "%s/%s.verdict", folder, sha256) >= (int)sizeof path) return false;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return false;
    ssize_t n = read(file, text, sizeof text - 1);
    close(file);
    if (n <= 0 || text[n - 1] != '\n') return false;
    text[n - 1] = 0;
    /* "<key> good" or "<key> bad <reason>" */
    size_t length = strlen(key);
    if (strncmp(text, key, length) != 0 || text[length] != ' ') return false;
    const char *rest = text + length + 1;
    verdict->good = strcmp(rest, "good") == 0;
    verdict->reason[0] = 0;
    if (verdict->good) return true;
    if (strncmp(rest, "bad ", 4) != 0) return false;
    snprintf(verdict->reason, sizeof verdict->reason, "%s", rest + 4);
    return true;
}

aira_status aira__cache_verdict_write(const char *folder, const char *sha256, const char *key,
                                      const aira__verdict *verdict, aira_error *error) {
    char path[PATH_MAX], text[2048];
    if (snprintf(path, sizeof path, "%s/%s.verdict", folder, sha256) >= (int)sizeof path)
        return aira__fail(error, AIRA_E_IO, "the path of the plugin cache is too long: %s", folder);
    int n = verdict->good ? snprintf(text, sizeof text, "%s good\n", key)
                          : snprintf(text, sizeof text, "%s bad %s\n", key, verdict->reason);
    return put(folder, path, text, (size_t)n, error);
}
