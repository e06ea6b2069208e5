/* core/sandbox/selftest.c - see selftest.h. Each attempt is a run of its own, so that one that is answered with death
 * does not hide the next. */
#include "core/sandbox/selftest.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT 42
#define SECRET "AIRA_SELFTEST_SECRET"

static int result(bool out) { return out ? OUT : 1; }

static int read_file(const char *path) { return result(open(path, O_RDONLY) >= 0); }

static int write_file(const char *path) {
    static const char *const places[] = {"/", "/usr", "/usr/lib", "/aira", "/dev", "/dev/shm", "/etc"};
    char name[64];
    (void)path;
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
        snprintf(name, sizeof name, "%s/aira-selftest", places[k]);
        if (open(name, O_WRONLY | O_CREAT, 0600) >= 0) return OUT;
    }
    return 1;
}

static int read_environment(const char *path) {
    (void)path;
    return result(getenv(SECRET) != NULL || getenv("USER") != NULL);
}

static int use_network(const char *path) {
    (void)path;
    return result(socket(AF_INET, SOCK_STREAM, 0) >= 0);
}

static int use_descriptor(const char *path) {
    (void)path;
    for (int fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) return OUT;
    return 1;
}

static int trace_parent(const char *path) {
    (void)path;
    return result(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0);
}

static int kill_others(const char *path) {
    const pid_t host = (pid_t)strtol(path, NULL, 10);
    return result(host > 2 && kill(host, 0) == 0);
}

static int new_space(const char *path) {
    (void)path;
    return result(unshare(CLONE_NEWUSER) == 0);
}

static int mount_something(const char *path) {
    (void)path;
    return result(mount("none", "/tmp", "tmpfs", 0, NULL) == 0);
}

static int take_memory(const char *path) {
    (void)path;
    for (int k = 0; k < 256; k++) {
        char *block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED) return 1;
        memset(block, 1, 1 << 20);
    }
    return OUT;
}

static int take_processes(const char *path) {
    (void)path;
    for (int k = 0; k < 64; k++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (;;) pause();
        }
        if (pid < 0) return 1;
    }
    return OUT;
}

static int take_time(const char *path) {
    (void)path;
    for (volatile unsigned k = 0;; k++) continue;
    return OUT;
}

static int take_disk(const char *path) {
    static char block[1 << 20];
    long long whole = 0;
    (void)path;
    for (int k = 0; k < 64; k++) {
        char name[32];
        snprintf(name, sizeof name, "/tmp/%d", k);
        int file = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ssize_t n = file >= 0 ? write(file, block, sizeof block) : -1;
        if (n > 0) whole += n;
        if (file >= 0) close(file);
    }
    return result(whole > 32 << 20);
}

static int flood(const char *path) {
    static char block[1 << 16];
    (void)path;
    for (int k = 0; k < 1000; k++)
        if (write(1, block, sizeof block) < 0) return 1;
    return OUT;
}

static const struct {
    const char *name;
    int (*go)(const char *path);
} attempts[] = {
    {"reads a file of this machine", read_file},
    {"writes outside of its folders", write_file},
    {"reads the environment of its parent", read_environment},
    {"uses a descriptor of its parent", use_descriptor},
    {"opens the network", use_network},
    {"traces another process", trace_parent},
    {"sends a signal to this program", kill_others},
    {"makes a name space", new_space},
    {"mounts a file system", mount_something},
    {"takes more memory than allowed", take_memory},
    {"takes more disk than allowed", take_disk},
    {"starts more processes than allowed", take_processes},
    {"takes more time than allowed", take_time},
    {"writes more output than allowed", flood},
};
#define N_ATTEMPTS ((int)(sizeof attempts / sizeof *attempts))

int aira__sandbox_escape(const char *which, const char *path) {
    long k = strtol(which, NULL, 10);
    return k >= 0 && k < N_ATTEMPTS ? attempts[k].go(path) : 2;
}

/* --- outside
 * ------------------------------------------------------------------------------------------------------------ */

static aira_status attempt(int k, const char *path, aira__selftest *t, aira_error *error) {
    char number[16], self[32];
    snprintf(number, sizeof number, "%d", k);
    snprintf(self, sizeof self, "%d", (int)getpid());
    const char *const argv[] = {"aira-box", "escape", number, attempts[k].go == kill_others ? self : path, NULL};
    const aira__sandbox_run run = {.argv = argv,
                                   .limits = {.wall_seconds = 0.3,
                                              .cpu_seconds = 2,
                                              .memory = (int64_t)64 << 20,
                                              .disk = (int64_t)16 << 20,
                                              .output = (int64_t)1 << 20,
                                              .processes = 16}};
    aira__sandbox_result r;
    aira_status status = aira__sandbox_run_command(&run, &r, error);
    if (status != AIRA_OK) return status;
    t->tried++;
    if (t->setup == 0 || r.setup < t->setup) t->setup = r.setup;
    if (r.cause == AIRA_SANDBOX_OK || r.exit_status == OUT) t->open_names[t->open++] = attempts[k].name;
    aira__sandbox_result_release(&r);
    return AIRA_OK;
}

aira_status aira__sandbox_selftest(aira__selftest *t, aira_error *error) {
    char path[] = "/tmp/aira-selftest-XXXXXX";
    memset(t, 0, sizeof *t);
    t->level = aira__sandbox_available(t->reason, sizeof t->reason);
    if (t->level == AIRA_SANDBOX_NONE) return AIRA_OK;
    int file = mkstemp(path);
    if (file < 0) return aira__fail(error, AIRA_E_IO, "no temporary file can be made in /tmp");
    aira_status status = fchmod(file, 0644) == 0 && write(file, "secret", 6) == 6
                             ? AIRA_OK
                             : aira__fail(error, AIRA_E_IO, "%s cannot be written", path);
    for (int k = 0; k < N_ATTEMPTS && status == AIRA_OK; k++) status = attempt(k, path, t, error);
    close(file);
    unlink(path);
    return status;
}
