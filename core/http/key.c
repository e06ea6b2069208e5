/* core/http/key.c - see key.h */
#include "core/http/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/json.h"

#define MAX_KEY 8192 /* bytes */
#define SHORTEST_REDACTED 6

void aira__key_protect(void) {
    struct rlimit limit = {0, 0};
    if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur != 0) {
        limit.rlim_cur = 0;
        (void)setrlimit(RLIMIT_CORE, &limit); /* lowering one's own limit does not fail */
    }
#ifndef __SANITIZE_ADDRESS__ /* its leak check traces the process */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

/* Leaves out blanks and line ends around it. What a header cannot carry is no key. */
static aira_status take(const char *text, size_t n, aira__key *key, aira_error *error) {
    while (n > 0 && strchr(" \t\r\n", text[n - 1])) n--;
    while (n > 0 && strchr(" \t\r\n", *text)) text++, n--;
    if (n == 0) return aira__fail(error, AIRA_E_DENIED, "%s is empty; it has to hold the key", key->source);
    if (n > MAX_KEY)
        return aira__fail(error, AIRA_E_DENIED, "%s holds more than %d bytes; that is no key", key->source, MAX_KEY);
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return aira__fail(error, AIRA_E_DENIED,
                              "%s holds more than a key: blanks, several lines or characters beyond ASCII",
                              key->source);
    if (!(key->text = malloc(n + 1))) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    memcpy(key->text, text, n);
    key->text[n] = 0;
    key->n = n;
    return AIRA_OK;
}

static aira_status from_file(const char *path, aira__key *key, aira_error *error) {
    char text[MAX_KEY + 64];
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    aira_status status = AIRA_OK;
    ssize_t n = 0;
    snprintf(key->source, sizeof key->source, "the file %.250s", path);
    if (file < 0 || fstat(file, &about) != 0)
        status = aira__fail(error, AIRA_E_DENIED, "%s, named by api_key_file, cannot be read: %s", key->source,
                            strerror(errno));
    else if (!S_ISREG(about.st_mode))
        status = aira__fail(error, AIRA_E_DENIED, "%s, named by api_key_file, is no regular file", key->source);
    else if ((about.st_mode & 077) != 0)
        status = aira__fail(error, AIRA_E_DENIED, "%s may be read by others (mode %04o); run: chmod 600 %s",
                            key->source, (unsigned)about.st_mode & 07777, path);
    else if ((n = read(file, text, sizeof text)) < 0)
        status = aira__fail(error, AIRA_E_DENIED, "%s cannot be read: %s", key->source, strerror(errno));
    else
        status = take(text, (size_t)n, key, error);
    explicit_bzero(text, sizeof text);
    if (file >= 0) close(file);
    return status;
}

static bool is_variable(const char *name) {
    size_t n = strlen(name);
    return n > 0 && n < 128 && !(name[0] >= '0' && name[0] <= '9') &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

aira_status aira__key_read(const char *env, const char *file, aira__key *key, aira_error *error) {
    *key = (aira__key){0};
    if (env && file) return aira__fail(error, AIRA_E_CONFIG, "give api_key_env or api_key_file, not both");
    if (!env && !file) return AIRA_OK;
    aira__key_protect();
    if (file) return from_file(file, key, error);
    if (!is_variable(env)) /* it may be the key itself: not repeated here */
        return aira__fail(error, AIRA_E_CONFIG,
                          "api_key_env is the name of an environment variable, such as MY_KEY, not a key");
    snprintf(key->source, sizeof key->source, "the variable %s", env);
    const char *value = getenv(env);
    if (!value)
        return aira__fail(error, AIRA_E_DENIED,
                          "the variable %s, named by api_key_env, is not set; export it and start again", env);
    return take(value, strlen(value), key, error);
}

void aira__key_release(aira__key *key) {
    if (key->text) explicit_bzero(key->text, key->n);
    free(key->text);
    key->text = NULL;
    key->n = 0;
}

void aira__key_redact(const aira__key *key, char *text, size_t n) {
    if (!key->text || key->n < SHORTEST_REDACTED) return; /* `ollama` and the like: no secret, and a word of answers */
    for (char *at = text; (at = memmem(at, n - (size_t)(at - text), key->text, key->n)); at += key->n)
        memset(at, '*', key->n);
}

aira_status aira__key_check(const json_t *canonical, aira_error *error) {
    aira__key key;
    aira_status status = aira__key_read(aira__json_string(canonical, "api_key_env", NULL),
                                        aira__json_string(canonical, "api_key_file", NULL), &key, error);
    aira__key_release(&key);
    return status;
}
