/* tests/plain/sandbox_hygiene.c - labels are planted wherever a run could leave them, then every byte that a confined
 * child can reach is searched for them: where sources are compiled, and where they are built. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/sandbox/sandbox.h"

#define MAX_PLACES 16

typedef struct plants {
    char marker[33], hex[65], place[MAX_PLACES][600];
    int n, failures;
} plants;

/* A file that everybody may read; a folder that does not exist here is passed over. */
static void plant(plants *p, const char *folder) {
    char *path = p->place[p->n];
    if (folder == NULL || access(folder, W_OK) != 0) return;
    snprintf(path, sizeof p->place[0], "%s/aira-hygiene-%d", folder, (int)getpid());
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0) return;
    if (write(file, p->marker, 32) == 32) p->n++;
    fchmod(file, 0666);
    close(file);
}

static char *compiled(const char *path, size_t *n) {
    static const char *const argv[] = {"/bin/sh", "-c",
                                       "/usr/bin/cc -O1 -w -D_GNU_SOURCE reach.c -o reach >&2 && cat reach", NULL};
    char *text = NULL;
    aira_error error = {0};
    aira__sandbox_result r = {0};
    if (aira__file_read(path, 1 << 20, &text, NULL, &error) != AIRA_OK) return NULL;
    const aira__sandbox_file file = {"/box/reach.c", text, strlen(text), false};
    const aira__sandbox_run run = {.argv = argv, .files = &file, .n_files = 1, .compiler = true};
    char *binary = NULL;
    if (aira__sandbox_run_command(&run, &r, &error) == AIRA_OK && r.cause == AIRA_SANDBOX_OK) {
        binary = r.out;
        *n = r.n_out;
        r.out = NULL;
    }
    aira__sandbox_result_release(&r);
    free(text);
    return binary;
}

/* true: the search ran and, where a marker was handed in, found it there and nowhere else. */
static void search(plants *p, const char *binary, size_t n, bool compiler, bool handed, const char *since) {
    const char *const argv[] = {"/box/reach", p->hex, since, NULL};
    const aira__sandbox_file files[] = {{"/box/reach", binary, n, true}, {"/aira/handed", p->marker, 32, false}};
    const aira__sandbox_run run = {.argv = argv,
                                   .files = files,
                                   .n_files = handed ? 2 : 1,
                                   .compiler = compiler,
                                   .limits = {.wall_seconds = 120, .cpu_seconds = 120}};
    aira__sandbox_result r;
    aira_error error = {0};
    if (aira__sandbox_run_command(&run, &r, &error) != AIRA_OK) {
        printf("FAILED: %s\n", error.text);
        p->failures++;
        return;
    }
    const char *found = strstr(r.out, "found in ");
    bool good = r.cause == AIRA_SANDBOX_OK && strstr(r.out, "read ") != NULL && strstr(r.out, "open:") == NULL;
    if (handed)
        good = good && found != NULL && strncmp(found, "found in /aira/handed", 21) == 0 &&
               strstr(found + 1, "found in ") == NULL;
    else
        good = good && found == NULL;
    printf("%s%s, %s: %s%s", good ? "" : "FAILED ", compiler ? "where sources are compiled" : "where they are built",
           handed ? "a marker handed in is found" : "no marker", r.out, r.sentence);
    p->failures += !good;
    aira__sandbox_result_release(&r);
}

int main(void) {
    plants p = {.n = 0};
    unsigned char drawn[16];
    char reason[512], since[32], path[4096], cwd[4096], secret[64];
    if (aira__sandbox_available(reason, sizeof reason) == AIRA_SANDBOX_NONE || access("/usr/bin/cc", X_OK) != 0) {
        printf("skipped: %s\n", reason[0] ? reason : "no C compiler in /usr/bin");
        return 77;
    }
    snprintf(since, sizeof since, "%lld", (long long)time(NULL) - 1);
    if (getrandom(drawn, sizeof drawn, 0) != sizeof drawn) return 1;
    for (int k = 0; k < 16; k++) snprintf(p.marker + 2 * k, 3, "%02x", drawn[k]);
    for (int k = 0; k < 32; k++) snprintf(p.hex + 2 * k, 3, "%02x", (unsigned)p.marker[k]);
    const char *const folders[] = {"/tmp",
                                   "/var/tmp",
                                   "/dev/shm",
                                   "/run",
                                   "/srv",
                                   "/mnt",
                                   "/opt",
                                   "/var/lib",
                                   "/home",
                                   getenv("HOME"),
                                   getenv("AIRA_BUILD_DIR"),
                                   getenv("AIRA_SOURCE_DIR"),
                                   getcwd(cwd, sizeof cwd)};
    for (size_t k = 0; k < sizeof folders / sizeof *folders; k++) plant(&p, folders[k]);
    snprintf(secret, sizeof secret, "%s", p.marker);
    setenv("AIRA_SECRET_KEY", secret, 1);
    int inherited = p.n > 0 ? open(p.place[0], O_RDONLY) : -1; /* without close-on-exec */
    snprintf(path, sizeof path, "%s/tests/sandbox/reach.c", getenv("AIRA_SOURCE_DIR"));
    size_t n = 0;
    char *binary = compiled(path, &n);
    printf("planted in %d folders, the environment, a descriptor\n", p.n);
    if (binary == NULL || p.n < 2 || inherited < 0) {
        printf("FAILED: nothing to search with, or for\n");
        p.failures++;
    } else {
        for (int k = 0; k < 4; k++) search(&p, binary, n, k & 1, k & 2, since);
    }
    for (int k = 0; k < p.n; k++) unlink(p.place[k]);
    free(binary);
    return p.failures != 0;
}
