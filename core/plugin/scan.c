/* core/plugin/scan.c - see scan.h.
 *
 * Never the current directory: a folder from the environment must be an absolute path, and an empty element means
 * nothing. A folder named on the command line may be relative, for somebody has just typed it.
 */
#include "core/plugin/scan.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/fs.h"

typedef struct scan {
    aira__scan_found found;
    aira__scan_named named;
    void *context;
} scan;

static int is_library(const struct dirent *entry) {
    size_t n = strlen(entry->d_name);
    return entry->d_name[0] != '.' && n > 3 && strcmp(entry->d_name + n - 3, ".so") == 0;
}

/* optional: a folder that is not there is fine. */
static aira_status scan_folder(scan *s, const char *folder, bool optional) {
    char real[PATH_MAX], path[PATH_MAX], problem[512];
    struct dirent **names = NULL;
    int n = realpath(folder, real) != NULL ? scandir(real, &names, is_library, alphasort) : -1;
    if (n < 0) {
        if (optional && (errno == ENOENT || errno == ENOTDIR)) return AIRA_OK;
        snprintf(problem, sizeof problem, "the folder cannot be read: %s", strerror(errno));
        return s->found(s->context, folder, problem);
    }
    aira_status status = AIRA_OK;
    for (int i = 0; i < n; i++) {
        if (status == AIRA_OK && snprintf(path, sizeof path, "%s/%s", real, names[i]->d_name) < PATH_MAX)
            status = s->found(s->context, path, NULL);
        free(names[i]);
    }
    free(names);
    return status;
}

static aira_status scan_environment(scan *s) {
    const char *list = getenv("AIRA_PLUGIN_PATH");
    aira_status status = AIRA_OK;
    while (list != NULL && *list != 0 && status == AIRA_OK) {
        char folder[PATH_MAX];
        size_t n = strcspn(list, ":");
        if (n > 0 && n < sizeof folder) {
            memcpy(folder, list, n);
            folder[n] = 0;
            if (folder[0] != '/') {
                status = s->found(s->context, folder, "a folder in AIRA_PLUGIN_PATH must be an absolute path");
            } else {
                status = s->named(s->context, folder);
                if (status == AIRA_OK) status = scan_folder(s, folder, false);
            }
        }
        list += n + (list[n] == ':');
    }
    return status;
}

/* A folder, or one file, from the command line. */
static aira_status scan_named(scan *s, const char *path, aira_error *error) {
    struct stat info;
    char real[PATH_MAX];
    if (realpath(path, real) == NULL || stat(real, &info) != 0)
        return aira__fail(error, AIRA_E_CONFIG, "plugin path %s: %s", path, strerror(errno));
    aira_status status = s->named(s->context, real);
    if (status != AIRA_OK) return status;
    return S_ISREG(info.st_mode) ? s->found(s->context, real, NULL) : scan_folder(s, real, false);
}

aira_status aira__scan_plugins(const aira__registry_options *options, aira__scan_found found, aira__scan_named named,
                               void *context, aira_error *error) {
    scan s = {found, named, context};
    aira_status status = AIRA_OK;
    for (int i = 0; options != NULL && i < options->n_paths && status == AIRA_OK; i++)
        status = scan_named(&s, options->paths[i], error);
    if (status == AIRA_E_CONFIG || (status == AIRA_OK && options != NULL && options->no_builtin)) return status;

    if (status == AIRA_OK) status = scan_environment(&s);
    char folder[PATH_MAX], program[PATH_MAX];
    const char *home = getenv("HOME");
    if (status == AIRA_OK && home != NULL && home[0] == '/' &&
        snprintf(folder, sizeof folder, "%s/.local/lib/aira", home) < PATH_MAX)
        status = scan_folder(&s, folder, true);
    if (status == AIRA_OK) {
        status = aira__program_dir(program, sizeof program, error);
        if (status != AIRA_OK) return status;
        if (snprintf(folder, sizeof folder, "%s/../lib/aira/plugins", program) < PATH_MAX)
            status = scan_folder(&s, folder, true);
    }
    if (status == AIRA_E_MEMORY) return aira__fail(error, status, "out of memory while looking for plugins");
    return status;
}
