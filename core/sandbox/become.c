/* core/sandbox/become.c - the child of the helper on its way to become the command; see box.h.
 *
 * The order matters: the control group while we still may, then root is dropped (a limit on processes means nothing to
 * root), then limits, then bubblewrap with a command line that names every single thing that can be seen inside.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/sandbox/box.h"
#include "core/sandbox/filter.h"

#define NOBODY 65534

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_ADDRESSES 0 /* shadow memory takes terabytes of addresses */
#else
#define LIMIT_ADDRESSES 1
#endif

typedef struct line { /* a command line that grows */
    char *argv[512];
    int n;
    int report;
} line;

static void give_up(int report, const char *what) {
    char text[200];
    int n = snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    if (write(report, text, (size_t)n) < 0) _exit(126);
    _exit(127);
}

static void add(line *l, const char *word) {
    if (l->n + 1 == (int)(sizeof l->argv / sizeof *l->argv)) {
        errno = E2BIG;
        give_up(l->report, "command line");
    }
    l->argv[l->n++] = strdup(word);
    l->argv[l->n] = NULL;
}

static void add_words(line *l, const char *words) {
    char copy[256], *rest = copy;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word; (word = strsep(&rest, " ")) != NULL;) add(l, word);
}

static void add_number(line *l, long long number) {
    char text[32];
    snprintf(text, sizeof text, "%lld", number);
    add(l, text);
}

/* An anonymous file that the next program inherits. */
static int file_of(line *l, const void *data, size_t n) {
    int file = memfd_create("aira", 0);
    if (file < 0) give_up(l->report, "a file in memory");
    for (size_t done = 0; done < n;) {
        ssize_t put = write(file, (const char *)data + done, n - done);
        if (put < 0 && errno != EINTR) give_up(l->report, "a file in memory");
        if (put > 0) done += (size_t)put;
    }
    if (lseek(file, 0, SEEK_SET) != 0) give_up(l->report, "a file in memory");
    return file;
}

static void add_file(line *l, int file, const char *path, bool executable) {
    add_words(l, executable ? "--perms 0555 --file" : "--perms 0644 --file");
    add_number(l, file);
    add(l, path);
}

static void set_limit(int report, int what, rlim_t soft, rlim_t hard) {
    struct rlimit limit = {soft, hard}, now;
    if (getrlimit(what, &now) == 0 && now.rlim_max < hard) limit.rlim_max = now.rlim_max;
    if (limit.rlim_cur > limit.rlim_max) limit.rlim_cur = limit.rlim_max;
    if (setrlimit(what, &limit) != 0) give_up(report, "a limit");
}

/* Memory of all processes together is watched; this bounds one that is faster than the watch. */
static void set_limits(const aira__box_head *h, int report) {
    rlim_t cpu = h->cpu_seconds < 1 ? 1 : (rlim_t)(h->cpu_seconds + 0.999);
    set_limit(report, RLIMIT_CPU, cpu, cpu + 1);
    set_limit(report, RLIMIT_CORE, 0, 0);
    set_limit(report, RLIMIT_FSIZE, (rlim_t)h->disk, (rlim_t)h->disk);
    set_limit(report, RLIMIT_NOFILE, 128, 128);
    set_limit(report, RLIMIT_MEMLOCK, 0, 0);
    set_limit(report, RLIMIT_MSGQUEUE, 0, 0);
    set_limit(report, RLIMIT_SIGPENDING, 256, 256);
    rlim_t addresses = 2 * (rlim_t)h->memory + ((rlim_t)256 << 20);
    if (LIMIT_ADDRESSES) set_limit(report, RLIMIT_AS, addresses, addresses);
}

/* Root of a user name space that knows no other user stays what it is: it is nobody's root outside. */
static void drop_root(int report) {
    if (geteuid() != 0) return;
    if ((setgroups(0, NULL) != 0 && errno == EPERM) || (setresgid(NOBODY, NOBODY, NOBODY) != 0 && errno == EINVAL))
        return;
    if (setresuid(NOBODY, NOBODY, NOBODY) != 0) give_up(report, "becoming nobody");
}

/* --- bubblewrap ------------------------------------------------------------------------------------------------------
 */

/* One library that this helper itself has loaded: what `trace` needs, and nothing else. */
static int add_library(struct dl_phdr_info *info, size_t size, void *context) {
    line *l = context;
    (void)size;
    if (info->dlpi_name == NULL || info->dlpi_name[0] != '/') return 0;
    add(l, "--ro-bind");
    add(l, info->dlpi_name);
    add(l, info->dlpi_name);
    return 0;
}

static void add_system(line *l) {
    static const char *const folders[] = {"/usr/bin",     "/usr/lib",         "/usr/lib64",       "/usr/libexec",
                                          "/usr/include", "/etc/ld.so.cache", "/etc/alternatives"};
    for (size_t k = 0; k < sizeof folders / sizeof *folders; k++) {
        add(l, "--ro-bind-try");
        add(l, folders[k]);
        add(l, folders[k]);
    }
    add_words(l, "--symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin");
}

static void add_filter(line *l) {
    struct sock_filter program[AIRA__FILTER_MAX];
    size_t n = aira__filter_build(false, program);
    if (n == 0) {
        errno = ENOSYS;
        give_up(l->report, "a filter for this processor");
    }
    add(l, "--seccomp");
    add_number(l, file_of(l, program, n * sizeof *program));
}

static void add_space(line *l, int64_t bytes, const char *path) {
    add(l, "--size");
    add_number(l, bytes);
    add_words(l, "--tmpfs");
    add(l, path);
}

static int open_self(int report) {
    int self = open("/proc/self/exe", O_RDONLY); /* inherited */
    if (self < 0) give_up(report, "/proc/self/exe");
    return self;
}

static void confine(line *l, const aira__box_request *r) {
    add(l, "bwrap");
    add_words(l, "--unshare-all --unshare-user --die-with-parent --new-session --clearenv --cap-drop ALL");
    add_words(l, "--setenv PATH /usr/bin:/bin --setenv HOME /box --setenv TMPDIR /tmp --setenv LC_ALL C");
    add_filter(l);
    if (r->head.compiler)
        add_system(l);
    else if (dlopen("libm.so.6", RTLD_NOW) != NULL) /* the one library that foreign code may need beside the helper */
        dl_iterate_phdr(add_library, l);
    add_words(l, "--dir /dev --dev-bind /dev/null /dev/null");
    add_space(l, r->head.disk, "/tmp");
    add_space(l, r->head.disk, "/box");
    add_file(l, open_self(l->report), "/aira/aira-box", true);
    for (uint32_t k = 0; k < r->head.n_files; k++) {
        const aira__sandbox_file *f = &r->files[k];
        add_file(l, file_of(l, f->data, f->n), f->path, f->executable);
    }
    add_words(l, "--remount-ro / --chdir /box /aira/aira-box");
}

/* --- without name spaces
 * ------------------------------------------------------------------------------------------------ */

static void write_file(const aira__sandbox_file *f, const char *folder, int report) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s", folder, f->path);
    if (n < 0 || n >= (int)sizeof path) give_up(report, "a path");
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = 0;
        if (mkdir(path, 0755) != 0 && errno != EEXIST) give_up(report, path);
        *slash = '/';
    }
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, f->executable ? 0755 : 0644);
    if (file < 0) give_up(report, path);
    for (size_t done = 0; done < f->n;) {
        ssize_t put = write(file, (const char *)f->data + done, f->n - done);
        if (put < 0 && errno != EINTR) give_up(report, path);
        if (put > 0) done += (size_t)put;
    }
    close(file);
}

/* "/box" and "/aira", wherever they stand in an argument, move into the folder. */
static void add_moved(line *l, const char *word, const char *folder) {
    char moved[8192];
    size_t used = 0;
    for (const char *c = word; *c != 0 && used + PATH_MAX < sizeof moved; c++) {
        if (strncmp(c, "/box", 4) == 0 || strncmp(c, "/aira/", 6) == 0)
            used += (size_t)snprintf(moved + used, sizeof moved - used, "%s", folder);
        moved[used++] = *c;
    }
    moved[used] = 0;
    add(l, moved);
}

static void prepare_folder(const aira__box_request *r, const char *folder, int report) {
    static char temporary[PATH_MAX + 16], home[PATH_MAX + 16];
    char path[PATH_MAX];
    static const char *const inside[] = {"box", "tmp", "aira"};
    for (size_t k = 0; k < sizeof inside / sizeof *inside; k++) {
        snprintf(path, sizeof path, "%s/%s", folder, inside[k]);
        if (mkdir(path, 0755) != 0) give_up(report, path);
    }
    for (uint32_t k = 0; k < r->head.n_files; k++) write_file(&r->files[k], folder, report);
    snprintf(path, sizeof path, "%s/box", folder);
    if (chdir(path) != 0) give_up(report, path);
    snprintf(temporary, sizeof temporary, "TMPDIR=%s/tmp", folder);
    snprintf(home, sizeof home, "HOME=%s/box", folder);
    clearenv();
    putenv((char *)(uintptr_t) "PATH=/usr/bin:/bin");
    putenv((char *)(uintptr_t) "LC_ALL=C");
    putenv(temporary);
    putenv(home);
}

void aira__box_become(const aira__box_request *r, int started, int report, const char *cgroup, const char *folder) {
    line l = {.report = report};
    sigset_t none;
    sigemptyset(&none);
    if (cgroup[0] != 0) aira__box_cgroup_enter(cgroup);
    drop_root(report);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) give_up(report, "prctl");
    int input = file_of(&l, r->input, r->n_input);
    if (dup2(input, 0) != 0) give_up(report, "standard input");
    close(input);
    if (folder == NULL)
        confine(&l, r);
    else
        add(&l, "aira-box");
    add(&l, "inside");
    add_number(&l, folder == NULL ? r->head.processes : 0);
    add_number(&l, started);
    for (uint32_t k = 0; k < r->head.n_arguments; k++) {
        if (folder == NULL)
            add(&l, r->arguments[k]);
        else
            add_moved(&l, r->arguments[k], folder);
    }
    if (folder != NULL) prepare_folder(r, folder, report);
    set_limits(&r->head, report);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (folder != NULL) {
        if (aira__filter_install(false) != 0) give_up(report, "the filter on system calls");
        execv("/proc/self/exe", l.argv);
        give_up(report, "aira-box");
    }
    static const char *const places[] = {"/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap"};
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) execv(places[k], l.argv);
    give_up(report, "bubblewrap (bwrap)");
}
