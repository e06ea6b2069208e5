/* core/sandbox/compile.c - see compile.h. */
#include "core/sandbox/compile.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/plugin/cache.h"

#define MAX_HEADERS 48
#define HEADER_BYTES ((size_t)1 << 20)
#define OBJECT_BYTES ((int64_t)8 << 20)

/* A change of anything that changes the object's meaning changes this text. */
#define FLAGS                                                                                                     \
    "-std=gnu17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off", "-Wall",                 \
        "-Werror=implicit-function-declaration", "-Werror=int-conversion", "-Werror=incompatible-pointer-types",  \
        "-Werror=return-type", "-I/aira/include", "-Wl,-z,defs,-z,now,-z,noexecstack", "-o", "/box/mechanism.so", \
        "mechanism.c", "-lm"

static const char export_only[] = "{ global: aira_plugin_v1; local: *; };\n";

typedef struct kit { /* what goes in beside the source */
    aira__sandbox_file files[MAX_HEADERS + 2];
    int n;
    char *paths[MAX_HEADERS];
    int n_paths;
} kit;

static void release(kit *k) {
    for (int i = 0; i < k->n_paths; i++) {
        free(k->paths[i]);
        free((void *)(uintptr_t)k->files[i].data);
    }
}

static int is_header(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    return n > 2 && strcmp(e->d_name + n - 2, ".h") == 0;
}

/* The headers of one folder, in the order of their names; how many there are, or -1. */
static int take_folder(kit *k, const char *folder, const char *inside, aira_status *status, aira_error *error) {
    struct dirent **names = NULL;
    int n = scandir(folder, &names, is_header, alphasort);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX + 300], name[300], *data = NULL;
        size_t size = 0;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        snprintf(name, sizeof name, "%s/%.200s", inside, names[i]->d_name);
        if (*status == AIRA_OK && k->n < MAX_HEADERS)
            *status = aira__file_read(path, HEADER_BYTES, &data, &size, error);
        if (*status == AIRA_OK && data != NULL) {
            k->paths[k->n_paths] = strdup(name);
            k->files[k->n++] = (aira__sandbox_file){k->paths[k->n_paths++], data, size, false};
        }
        free(names[i]);
    }
    free(names);
    return n;
}

/* The installed SDK beside the program. */
static aira_status take_headers(kit *k, aira_error *error) {
    static const char *const places[] = {"../include/aira", "../../include/aira"};
    char program[PATH_MAX], folder[PATH_MAX + 32], extensions[PATH_MAX + 40];
    aira_status status = aira__program_dir(program, sizeof program, error);
    int n = -1;
    for (size_t p = 0; p < sizeof places / sizeof *places && n <= 0 && status == AIRA_OK; p++) {
        snprintf(folder, sizeof folder, "%s/%s", program, places[p]);
        snprintf(extensions, sizeof extensions, "%s/ext", folder);
        n = take_folder(k, folder, "/aira/include/aira", &status, error);
        if (n > 0) take_folder(k, extensions, "/aira/include/aira/ext", &status, error);
    }
    if (status != AIRA_OK || n > 0) return status;
    return aira__fail(error, AIRA_E_UNSUPPORTED, "the headers of the plugin interface are missing at %s", folder);
}

/* The compiler, and how it is told to speak briefly. Only what lies in the system's folders exists inside. */
static aira_status find_compiler(const char *wanted, const char **path, aira_error *error) {
    static const char *const known[] = {"/usr/bin/gcc", "/usr/bin/clang", "/usr/bin/cc"};
    *path = NULL;
    for (size_t k = 0; k < sizeof known / sizeof *known && *path == NULL; k++) {
        const char *name = strrchr(known[k], '/') + 1;
        if (wanted != NULL && strcmp(wanted, name) != 0 && strcmp(wanted, known[k]) != 0) continue;
        if (access(known[k], X_OK) == 0) *path = known[k];
    }
    if (*path != NULL) return AIRA_OK;
    if (wanted != NULL)
        return aira__fail(error, AIRA_E_UNSUPPORTED, "there is no compiler '%s'; gcc and clang in /usr/bin are known",
                          wanted);
    return aira__fail(error, AIRA_E_UNSUPPORTED, "there is no C compiler on this machine: install gcc or clang");
}

static void hash_key(const char *source, size_t n, const kit *k, const char *compiler, char key[65]) {
    static const char *const flags[] = {FLAGS};
    char resolved[PATH_MAX], mark[PATH_MAX + 80];
    struct stat info = {0};
    aira__sha256_ctx h;
    aira__sha256_start(&h);
    if (realpath(compiler, resolved) == NULL || stat(resolved, &info) != 0) resolved[0] = 0;
    int length = snprintf(mark, sizeof mark, "source 1 %s %lld %lld %zu\n", resolved, (long long)info.st_size,
                          (long long)info.st_mtime, n);
    aira__sha256_add(&h, mark, (size_t)length);
    aira__sha256_add(&h, source, n);
    for (int i = 0; i < k->n; i++) {
        aira__sha256_add(&h, k->files[i].path, strlen(k->files[i].path) + 1);
        aira__sha256_add(&h, k->files[i].data, k->files[i].n);
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) aira__sha256_add(&h, flags[i], strlen(flags[i]) + 1);
    aira__sha256_finish_hex(&h, key);
}

static aira_status fail_compiling(const aira__sandbox_result *r, const char *source, const char *name,
                                  aira_error *error) {
    char text[1500];
    if (r->cause != AIRA_SANDBOX_EXIT && r->cause != AIRA_SANDBOX_OK)
        return aira__fail(error, AIRA_E_CONFIG, "%s: compiling it was stopped: %s", name, r->sentence);
    aira__compile_message(r->err, source, name, text, sizeof text);
    return aira__fail(error, AIRA_E_CONFIG, "%s", text);
}

static aira_status compile(const char *source, size_t n, const kit *k, const char *compiler,
                           const aira__foreign_options *options, const char *name, aira__compiled *out,
                           aira__sandbox_cause *ended, aira_error *error) {
    static const char script[] = "\"$@\" >&2 && cat /box/mechanism.so";
    bool clang = strstr(compiler, "clang") != NULL;
    const char *const argv[] = {"/bin/sh",
                                "-c",
                                script,
                                "sh",
                                compiler,
                                FLAGS,
                                "-Wl,--version-script=/aira/exports",
                                clang ? "-fno-caret-diagnostics" : "-fno-diagnostics-show-caret",
                                clang ? "-fno-color-diagnostics" : "-fdiagnostics-color=never",
                                clang ? "-ferror-limit=5" : "-fmax-errors=5",
                                NULL};
    aira__sandbox_file files[MAX_HEADERS + 2];
    memcpy(files, k->files, sizeof files);
    files[k->n] = (aira__sandbox_file){"/box/mechanism.c", source, n, false};
    files[k->n + 1] = (aira__sandbox_file){"/aira/exports", export_only, sizeof export_only - 1, false};
    double seconds = options->seconds > 0 ? options->seconds : 5;
    const aira__sandbox_run run = {.argv = argv,
                                   .files = files,
                                   .n_files = k->n + 2,
                                   .compiler = true,
                                   .unconfined = options->unconfined,
                                   .limits = {.wall_seconds = 4 * seconds,
                                              .cpu_seconds = 4 * seconds,
                                              .memory = (int64_t)1 << 30,
                                              .output = OBJECT_BYTES}};
    aira__sandbox_result r;
    aira_status status = aira__sandbox_run_command(&run, &r, error);
    if (status != AIRA_OK) return status;
    out->seconds = r.seconds + r.setup;
    out->confinement = r.setup;
    if (r.cause == AIRA_SANDBOX_OK && r.n_out > 0) {
        out->object = r.out;
        out->n = r.n_out;
        r.out = NULL;
    } else {
        if (aira__sandbox_is_stop(r.cause)) *ended = r.cause;
        status = fail_compiling(&r, source, name, error);
    }
    aira__sandbox_result_release(&r);
    return status;
}

static bool in_cache(const char *path, aira__compiled *out) {
    char *bytes = NULL;
    aira_error unused;
    if (!aira__file_exists(path) || aira__file_read(path, (size_t)OBJECT_BYTES, &bytes, &out->n, &unused) != AIRA_OK)
        return false;
    out->object = bytes;
    out->cached = true;
    return true;
}

aira_status aira__compile_source(const char *source, size_t n, const aira__foreign_options *options,
                                 aira__compiled *out, aira__sandbox_cause *ended, aira_error *error) {
    char folder[PATH_MAX], path[PATH_MAX + 80];
    const char *compiler = NULL, *name = options->name != NULL ? options->name : "mechanism.c";
    kit k = {.n = 0};
    memset(out, 0, sizeof *out);
    aira_status status = find_compiler(options->compiler, &compiler, error);
    if (status == AIRA_OK) status = take_headers(&k, error);
    if (status == AIRA_OK) status = aira__cache_open(folder, error);
    if (status == AIRA_OK) {
        hash_key(source, n, &k, compiler, out->key);
        snprintf(path, sizeof path, "%s/%s.object", folder, out->key);
        if (!in_cache(path, out)) {
            status = compile(source, n, &k, compiler, options, name, out, ended, error);
            aira__cache_prune(folder);
            if (status == AIRA_OK) status = aira__cache_keep(folder, path, out->object, out->n, error);
        }
    }
    release(&k);
    return status;
}
