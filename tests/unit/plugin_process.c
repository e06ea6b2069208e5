/* tests/unit/plugin_process.c - the service "aira.process/1": output, limits, groups, orphans, failures. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aira/ext/process.h"
#include "core/base/clock.h"
#include "core/plugin/registry.h"

static aira__registry *registry;
static const aira_host *host;
static const aira_process_service *service;

static void setup(void) {
    aira_error error;
    aira__registry_options options = {.no_builtin = true};
    cr_assert_eq(aira__registry_create(&options, &registry, &error), AIRA_OK, "%s", error.text);
    host = aira__registry_host(registry);
    service = host->service(host, AIRA_SERVICE_PROCESS);
    cr_assert_not_null(service);
}

static void teardown(void) {
    aira__registry_destroy(registry);
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "a child or zombie was left");
}

TestSuite(process, .init = setup, .fini = teardown);

static aira_status shell(const char *script, const char *input, const aira_process_limits *limits, char **output,
                         uint64_t *n, aira_process_state *state) {
    const char *argv[] = {"sh", "-c", script};
    return service->run(service, argv, 3, input, input != NULL ? strlen(input) : 0, limits, output, n, state, NULL,
                        NULL);
}

Test(process, collects_output_and_exit_status) {
    char *output;
    uint64_t n;
    aira_process_state state = {.size = sizeof state};
    cr_assert_eq(shell("cat; echo; exit 7", "hello", NULL, &output, &n, &state), AIRA_OK);
    cr_assert_str_eq(output, "hello\n");
    cr_assert_eq(n, 6u);
    cr_assert_eq(state.exit_status, 7);
    cr_assert_eq(state.signal, 0);
    host->release(host, output);
    cr_assert_eq(shell("kill -SEGV $$", NULL, NULL, &output, &n, &state), AIRA_OK);
    cr_assert_eq(state.exit_status, -1);
    cr_assert_eq(state.signal, SIGSEGV);
    host->release(host, output);
}

Test(process, large_input_and_output) {
    size_t size = 3 << 20;
    char *input = malloc(size + 1), *output;
    memset(input, 'x', size);
    input[size] = 0;
    uint64_t n;
    cr_assert_eq(shell("cat", input, NULL, &output, &n, NULL), AIRA_OK);
    cr_assert_eq(n, size);
    cr_assert(memcmp(output, input, size) == 0);
    host->release(host, output);
    cr_assert_eq(shell("exit 0", input, NULL, &output, &n, NULL), AIRA_OK, "input that nobody reads");
    host->release(host, output);
    aira_process_limits limits = {.size = sizeof limits, .output_bytes = 1000};
    cr_assert_eq(shell("cat; sleep 100", input, &limits, &output, &n, NULL), AIRA_E_FAILED);
    cr_assert_null(output);
    cr_assert_not_null(strstr(aira__host_last_failure(host), "more than 1000 bytes"));
    free(input);
}

Test(process, environment_is_cleared) {
    char *output;
    uint64_t n;
    const char *env[] = {"ONLY=this", "LANG=C.x"};
    aira_process_limits limits = {.size = sizeof limits, .n_env = 2, .env = env, .cwd = "/"};
    setenv("A_SECRET", "1", 1);
    setenv("LANG", "C", 1);
    cr_assert_eq(shell("pwd; env", NULL, &limits, &output, &n, NULL), AIRA_OK);
    cr_assert_null(strstr(output, "A_SECRET"), "%s", output);
    cr_assert_not_null(strstr(output, "ONLY=this\n"));
    cr_assert_not_null(strstr(output, "LANG=C.x\n"));
    cr_assert_not_null(strstr(output, "PATH="));
    cr_assert_eq(strncmp(output, "/\n", 2), 0);
    host->release(host, output);
}

/* Living processes with this argument. */
static int count_processes(const char *argument) {
    int count = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        char path[300], line[4096] = "";
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (file == NULL) continue;
        size_t n = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        for (size_t i = 0; i < n; i += strlen(line + i) + 1) count += strcmp(line + i, argument) == 0;
    }
    closedir(proc);
    return count;
}

Test(process, wall_limit_kills_the_whole_group_and_what_left_it) {
    char *output;
    uint64_t n;
    aira_process_state state = {.size = sizeof state};
    aira_process_limits limits = {.size = sizeof limits, .seconds = 0.3};
    double start = aira__now();
    char script[200];
    int base = (int)getpid() % 1000;
    snprintf(script, sizeof script, "sleep 7%03d.25 & setsid sleep 7%03d.25 & wait", base, base);
    cr_assert_eq(shell(script, NULL, &limits, &output, &n, &state), AIRA_E_TIMEOUT);
    cr_assert_lt(aira__now() - start, 3.0);
    cr_assert_eq(state.timed_out, 1u);
    cr_assert_null(output);
    snprintf(script, sizeof script, "7%03d.25", base);
    cr_assert_eq(count_processes(script), 0);
}

static int32_t always(void *context) {
    (void)context;
    return 1;
}

Test(process, cancel) {
    const char *argv[] = {"sleep", "100"};
    char *output;
    uint64_t n;
    double start = aira__now();
    cr_assert_eq(service->run(service, argv, 2, NULL, 0, NULL, &output, &n, NULL, always, NULL), AIRA_E_CANCELLED);
    cr_assert_lt(aira__now() - start, 2.0);
}

Test(process, failures_are_sentences) {
    const char *absent[] = {"no-such-program-here"}, *argv[] = {"true"};
    uint64_t handle, n;
    char *output;
    cr_assert_eq(service->spawn(service, absent, 1, NULL, &handle), AIRA_E_FAILED);
    cr_assert_str_eq(aira__host_last_failure(host), "cannot start 'no-such-program-here': No such file or directory");
    aira_process_limits limits = {.size = sizeof limits, .cwd = "/no/such/folder"};
    cr_assert_eq(service->run(service, argv, 1, NULL, 0, &limits, &output, &n, NULL, NULL, NULL), AIRA_E_FAILED);
    cr_assert_not_null(strstr(aira__host_last_failure(host), "/no/such/folder"));
    const char *env[] = {"novalue"};
    limits = (aira_process_limits){.size = sizeof limits, .n_env = 1, .env = env};
    cr_assert_eq(service->spawn(service, argv, 1, &limits, &handle), AIRA_E_CONFIG);
    cr_assert_eq(service->poll(service, 99, &(aira_process_state){.size = sizeof(aira_process_state)}), AIRA_E_FAILED);
}

Test(process, spawn_poll_kill_forget) {
    const char *quick[] = {"sh", "-c", "exit 3"}, *slow[] = {"sleep", "100"};
    uint64_t a, b, c;
    aira_process_state state = {.size = sizeof state};
    cr_assert_eq(service->spawn(service, quick, 3, NULL, &a), AIRA_OK);
    cr_assert_eq(service->spawn(service, slow, 2, NULL, &b), AIRA_OK);
    cr_assert_eq(service->spawn(service, slow, 2, NULL, &c), AIRA_OK);
    for (int i = 0; i < 2000; i++) {
        cr_assert_eq(service->poll(service, a, &state), AIRA_OK);
        if (!state.running) break;
        usleep(1000);
    }
    cr_assert_eq(state.running, 0u);
    cr_assert_eq(state.exit_status, 3);
    double start = aira__now();
    cr_assert_eq(service->poll(service, b, &state), AIRA_OK);
    cr_assert_eq(state.running, 1u);
    cr_assert_lt(aira__now() - start, 0.5);
    cr_assert_eq(service->kill(service, b), AIRA_OK);
    for (int i = 0; i < 2000 && state.running; i++) {
        cr_assert_eq(service->poll(service, b, &state), AIRA_OK);
        usleep(1000);
    }
    cr_assert_eq(state.signal, SIGKILL);
    service->forget(service, a);
    service->forget(service, c); /* still running: killed */
    cr_assert_eq(service->poll(service, c, &state), AIRA_E_FAILED);
}

/* A host that is killed takes its children along. */
Test(process, host_death_kills_children) {
    char marker[16];
    snprintf(marker, sizeof marker, "8%03d.75", (int)getpid() % 1000);
    pid_t other = fork();
    if (other == 0) {
        const char *argv[] = {"sh", "-c", marker, NULL};
        char script[128];
        snprintf(script, sizeof script, "sleep %s & setsid sleep %s & wait", marker, marker);
        argv[2] = script;
        uint64_t handle;
        if (service->spawn(service, argv, 3, NULL, &handle) != AIRA_OK) _exit(1);
        usleep(200000);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(other, &status, 0);
    cr_assert(WIFSIGNALED(status));
    int left = 9;
    for (int i = 0; i < 50 && (left = count_processes(marker)) > 0; i++) usleep(20000);
    cr_assert_eq(left, 0);
}
