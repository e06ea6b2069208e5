/* core/cli/cmd_doctor.c - `aira doctor`: what this machine offers, what is off, and why.
 *
 * Three states: ok; off (not here, and what that costs); bad (here but does not work, or needed and missing). Only bad
 * makes the exit status 1. Everything is tried, not guessed: the sandbox is entered, every plugin file is probed.
 */
#include <cpuid.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yaml.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/cli/cli.h"
#include "core/http/curl.h"
#include "core/http/key.h"
#include "core/sandbox/selftest.h"
#include "core/search/study.h"

int aira__cmd_doctor(aira__cli *cli, int argc, char **argv);

typedef struct {
    const aira__cli *cli;
    json_t *checks;
    bool bad, failed; /* failed: out of memory */
} doctor;

static void report(doctor *d, const char *name, const char *state, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void report(doctor *d, const char *name, const char *state, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    d->bad = d->bad || strcmp(state, "bad") == 0;
    if (!d->cli->json) printf("%-10s %-4s %s\n", name, state, text);
    json_t *check = json_pack("{s:s, s:s, s:s}", "name", name, "state", state, "text", text);
    d->failed = json_array_append_new(d->checks, check) != 0 || d->failed;
}

/* Runs a program with its output thrown away; its exit status, -1 if it could not be started, 128 + signal if killed.
 */
static int run_quietly(const char *const *argv) {
    char path[4096], *environment[] = {path, NULL}; /* nothing else: there may be keys */
    snprintf(path, sizeof path, "PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) return -1;
    pid_t pid;
    int status = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    for (int fd = 1; fd <= 2 && status == 0; fd++)
        status = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
    if (status == 0) status = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0) return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void check_program(doctor *d) {
    char folder[512];
    aira_error error = {0};
    bool known = aira__program_dir(folder, sizeof folder, &error) == AIRA_OK;
    report(d, "program", "ok", "aira %s in %s, built by %s", AIRA_VERSION, known ? folder : "?",
#ifdef __clang__
           "clang " __clang_version__
#else
           "gcc " __VERSION__
#endif
    );
    int major, minor, patch;
    yaml_get_version(&major, &minor, &patch);
    report(d, "libraries", "ok", "libyaml %d.%d.%d, jansson %s, SQLite %s", major, minor, patch, jansson_version_str(),
           sqlite3_libversion());
    aira_error unusable = {0};
    const aira__curl *curl = aira__curl_get(&unusable);
    const curl_version_info_data *version = curl ? curl->version_info(CURLVERSION_NOW) : NULL;
    if (!version)
        report(d, "http", "bad", "%s", unusable.text);
    else
        report(d, "http", "ok", "libcurl %s, %s,%s%s%s", version->version,
               version->ssl_version ? version->ssl_version : "no TLS: https cannot be used",
               version->features & CURL_VERSION_HTTP2 ? " HTTP/2," : "",
               version->features & CURL_VERSION_HTTPS_PROXY ? " HTTPS proxies," : "",
               version->features & CURL_VERSION_ASYNCHDNS ? " names looked up beside" : " names looked up in line");
    const char *const compiler[] = {"cc", "--version", NULL};
    if (run_quietly(compiler) == 0)
        report(d, "compiler", "ok", "cc is there, plugins can be built");
    else
        report(d, "compiler", "off", "no cc: own plugins cannot be built; install gcc or clang");
}

static void check_cpu(doctor *d) {
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    double gib = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30);
    char sets[128] = "";
#if defined(__x86_64__)
    unsigned a, b, c = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &edx) == 0) edx = 0;
    snprintf(sets, sizeof sets, "%s%s%s%s", __builtin_cpu_supports("avx2") ? " AVX2" : "",
             __builtin_cpu_supports("avx512f") ? " AVX-512" : "",
             __builtin_cpu_supports("avx512bf16") ? " AVX-512-BF16" : "",
             (edx >> 22 & 1) != 0 && (edx >> 24 & 1) != 0 ? " AMX-BF16" : "");
#endif
    report(d, "cpu", "ok", "%d core%s,%s, %.1f GiB memory", cores, cores == 1 ? "" : "s",
           sets[0] != 0 ? sets : " plain instructions only", gib);
}

static void check_gpu(doctor *d) {
    if (!aira__file_exists("/dev/nvidiactl")) {
        report(d, "gpu", "off", "no NVIDIA device on this machine (no /dev/nvidiactl); training runs on the CPU");
        return;
    }
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (driver == NULL)
        report(d, "gpu", "off", "a GPU is there but its driver is not: %s", dlerror());
    else
        report(d, "gpu", "off", "a GPU and its driver are there, but this build has no device plugin for it");
    if (driver != NULL) dlclose(driver);
}

/* Tries to get out, from inside. */
static void check_sandbox(doctor *d) {
    aira__selftest t;
    aira_error error = {0};
    if (aira__sandbox_selftest(&t, &error) != AIRA_OK) {
        report(d, "sandbox", "bad", "%s", error.text);
    } else if (t.level == AIRA_SANDBOX_NONE) {
        report(d, "sandbox", "off", "%s; foreign code is refused", t.reason);
    } else if (t.open > 0) {
        char open[512] = "";
        for (int k = 0; k < t.open; k++)
            snprintf(open + strlen(open), sizeof open - strlen(open), "%s%s", k > 0 ? ", " : "", t.open_names[k]);
        report(d, "sandbox", "bad", "%d of %d ways out are open: code inside %s", t.open, t.tried, open);
    } else {
        report(d, "sandbox", "ok", "level %s: %s; %d ways out tried, none is open; starts in %.0f ms",
               aira__sandbox_level_name(t.level),
               t.level == AIRA_SANDBOX_CGROUP ? "name spaces, filter, limits, memory bounded by the kernel"
                                              : "name spaces, filter, limits, memory watched (no cgroup may be made)",
               t.tried, 1e3 * t.setup);
    }
}

static void check_plugins(doctor *d, aira__cli *cli) {
    aira_error error = {0};
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (registry == NULL) {
        report(d, "plugins", "bad", "%s", error.text);
        return;
    }
    int usable = 0, shadowed = 0, devices = 0;
    for (int i = 0; i < aira__registry_count(registry); i++) {
        const aira__plugin_entry *entry = aira__registry_entry(registry, i);
        bool refused = strcmp(entry->state, "refused") == 0, shadow = strcmp(entry->state, "shadowed") == 0;
        if (refused) report(d, "plugin", "bad", "%s: %s", entry->path, entry->reason);
        shadowed += shadow;
        usable += !refused && !shadow;
        devices += !refused && !shadow && strcmp(entry->kind, "device") == 0;
    }
    if (usable == 0)
        report(d, "plugins", "bad", "none found; they belong into lib/aira/plugins beside the program's bin/");
    else
        report(d, "plugins", "ok", "%d usable, %d shadowed by one of the same name earlier on the path", usable,
               shadowed);
    if (usable > 0 && devices == 0) report(d, "device", "bad", "no device plugin: nothing can be trained");
}

static void check_folder(doctor *d, const char *path) {
    struct statfs fs;
    if (statfs(path, &fs) != 0) {
        report(d, "run-dir", "bad", "'%s': %s", path, strerror(errno));
        return;
    }
    if (access(path, W_OK) != 0) {
        report(d, "run-dir", "bad", "'%s' cannot be written to: %s", path, strerror(errno));
        return;
    }
    static const struct {
        long type;
        const char *name;
    } shared[] = {{0x6969, "NFS"},      {0x0bd00bd3, "Lustre"}, {(long)0xff534d42, "CIFS"}, {(long)0xfe534d42, "SMB"},
                  {0x47504653, "GPFS"}, {0x19830326, "BeeGFS"}, {0x00c36400, "Ceph"}};
    const char *name = NULL;
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        if ((long)fs.f_type == shared[i].type) name = shared[i].name;
    double gib = (double)fs.f_bavail * (double)fs.f_bsize / (1 << 30);
    if (name != NULL)
        report(d, "run-dir", "ok", "'%s' is on %s, %.1f GiB free: the journal uses a rollback journal instead of WAL",
               path, name, gib);
    else
        report(d, "run-dir", gib < 0.1 ? "bad" : "ok", "'%s' is on a local file system, %.1f GiB free", path, gib);
}

/* Each key of a study's agents once: is it there. Never what it is. */
static void check_keys(doctor *d, aira__cli *cli, const char *path) {
    aira_error error = {0};
    aira__registry *registry = aira__cli_registry(cli, &error);
    aira__diagnostics *mistakes = aira__diagnostics_create();
    json_t *seen = json_object(), *search;
    size_t i;
    json_t *study = registry && mistakes ? aira__study_load(registry, path, NULL, 0, NULL, false, mistakes) : NULL;
    if (!study)
        report(d, "study", "bad", "%.900s", mistakes && registry ? aira__diagnostics_text(mistakes) : error.text);
    json_array_foreach(json_object_get(study, "searches"), i, search) {
        for (int who = 0; who < 2; who++) {
            const json_t *agent = json_object_get(search, who ? "analyst" : "agent");
            const char *name = aira__json_string(agent, "api_key_env", aira__json_string(agent, "api_key_file", NULL));
            if (!name || json_object_get(seen, name)) continue;
            d->failed = json_object_set_new(seen, name, json_true()) != 0 || d->failed;
            bool there = aira__key_check(agent, &error) == AIRA_OK;
            report(d, "key", there ? "ok" : "bad", "%s%s", there ? name : error.text, there ? " is set" : "");
        }
    }
    json_decref(study);
    json_decref(seen);
    aira__diagnostics_destroy(mistakes);
}

int aira__cmd_doctor(aira__cli *cli, int argc, char **argv) {
    const char *run_dir = ".";
    const aira__cli_option options[] = {
        {"run-dir", "D", "folder where runs are to be kept", AIRA__CLI_TEXT, &run_dir, false}};
    const aira__cli_spec spec = {
        .arguments = "[STUDY.yaml] [--run-dir D]",
        .summary = "What this machine offers, what is off, and why; for a study also whether its keys are set.",
        .options = options,
        .n_options = 1,
        .max_names = 1};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    doctor d = {.cli = cli, .checks = json_array()};
    check_program(&d);
    check_cpu(&d);
    check_gpu(&d);
    check_sandbox(&d);
    check_plugins(&d, cli);
    check_folder(&d, run_dir);
    if (arguments.n_names == 1) check_keys(&d, cli, arguments.names[0]);
    status = d.bad ? 1 : 0;
    if (d.failed) status = aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    if (!cli->json || d.failed)
        json_decref(d.checks);
    else if (aira__cli_print_json(cli, json_pack("{s:o}", "checks", d.checks)) != 0)
        status = 1;
    return status;
}
