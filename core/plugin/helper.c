/* core/plugin/helper.c - see helper.h */
#include "core/plugin/helper.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/fs.h"

aira_status aira__helper_find(const char *name, char path[PATH_MAX], aira_error *error) {
    static const char *const places[] = {"", "../bin/", "../libexec/aira/"};
    char folder[PATH_MAX];
    aira_status status = aira__program_dir(folder, sizeof folder, error);
    if (status != AIRA_OK) return status;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (snprintf(path, PATH_MAX, "%s/%s%s", folder, places[i], name) >= PATH_MAX) continue;
        if (access(path, X_OK) == 0) return AIRA_OK;
    }
    return aira__fail(error, AIRA_E_UNSUPPORTED, "the program %s is missing beside %s: build or install it", name,
                      folder);
}

static int put(posix_spawn_file_actions_t *actions, int from, int to) {
    if (from >= 0) return posix_spawn_file_actions_adddup2(actions, from, to);
    return posix_spawn_file_actions_addopen(actions, to, "/dev/null", to == 0 ? O_RDONLY : O_WRONLY, 0);
}

int aira__helper_spawn(const aira__helper_start *s, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int reason = posix_spawn_file_actions_init(&actions);
    if (reason != 0) return reason;
    reason = posix_spawnattr_init(&attributes);
    if (reason != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return reason;
    }
    /* The parent's descriptors are above 2, so no step overwrites the source of a later one. */
    if (reason == 0) reason = put(&actions, s->in, 0);
    if (reason == 0) reason = put(&actions, s->out, 1);
    if (reason == 0) reason = put(&actions, s->err, 2);
    if (reason == 0) reason = posix_spawn_file_actions_adddup2(&actions, s->socket, AIRA__HELPER_SOCKET);
    if (reason == 0 && s->cwd != NULL) reason = posix_spawn_file_actions_addchdir_np(&actions, s->cwd);
    if (reason == 0) reason = posix_spawnattr_setpgroup(&attributes, 0);
    if (reason == 0) reason = posix_spawnattr_setsigmask(&attributes, &none);
    if (reason == 0) reason = posix_spawnattr_setsigdefault(&attributes, &all);
    if (reason == 0)
        reason = posix_spawnattr_setflags(&attributes,
                                          POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (reason == 0) reason = posix_spawn(pid, s->path, &actions, &attributes, s->argv, s->environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return reason;
}
