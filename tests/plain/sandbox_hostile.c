/* tests/plain/sandbox_hostile.c - every program and every source of tests/sandbox/hostile is run, and none gets out.
 *
 * A program says on its first line how it is expected to end ("expect: refused"), exits with 42 where an attempt
 * succeeded, and must leave no process behind. A source says what its author is told ("says: ..."), or that it is built
 * like any other. Labels, a secret and a journal's folder are planted where the test runs; no output may hold them and
 * nothing may be written there. sandbox_hostile NAME runs one of them.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/graph/model.h"
#include "core/sandbox/foreign.h"

#define MARKER "label-4711-of-the-test-split"

typedef struct state {
    char folder[64], labels[128], journal[128];
    int n, failures;
    const char *only;
} state;

static void complain(state *s, const char *name, const char *what, const char *text) {
    printf("FAILED %s: %s: %.600s\n", name, what, text);
    s->failures++;
}

static char *read_all(const char *path) {
    char *text = NULL;
    aira_error error;
    if (aira__file_read(path, 1 << 20, &text, NULL, &error) == AIRA_OK) return text;
    fprintf(stderr, "%s\n", error.text);
    exit(1);
}

/* What stands after "key" up to the end of its line; "" if it is not there. */
static const char *header(const char *text, const char *key, char *to, size_t size) {
    const char *at = strstr(text, key);
    to[0] = 0;
    if (at != NULL) snprintf(to, size, "%.*s", (int)strcspn(at + strlen(key), "\n"), at + strlen(key));
    return to;
}

static bool other_machine(const char *text) {
    char wanted[32];
#ifdef __x86_64__
    return header(text, "// on: ", wanted, sizeof wanted)[0] != 0 && strcmp(wanted, "x86_64") != 0;
#else
    return header(text, "// on: ", wanted, sizeof wanted)[0] != 0;
#endif
}

/* Is a process of this name alive? All of them are called "hostile". */
static bool something_lives(void) {
    DIR *proc = opendir("/proc");
    bool found = false;
    for (const struct dirent *e; proc != NULL && (e = readdir(proc)) != NULL;) {
        char path[300], name[32] = "";
        if (!isdigit((unsigned char)e->d_name[0])) continue;
        snprintf(path, sizeof path, "/proc/%s/comm", e->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue;
        if (fgets(name, sizeof name, file) != NULL) found = found || strcmp(name, "hostile\n") == 0;
        fclose(file);
    }
    if (proc != NULL) closedir(proc);
    return found;
}

/* --- programs
 * ----------------------------------------------------------------------------------------------------------- */

static char *compile_program(const char *text, size_t *n) {
    static const char *const argv[] = {
        "/bin/sh", "-c", "/usr/bin/cc -O0 -w -D_GNU_SOURCE -pthread hostile.c -o hostile >&2 && cat hostile", NULL};
    const aira__sandbox_file file = {"/box/hostile.c", text, strlen(text), false};
    const aira__sandbox_run run = {.argv = argv, .files = &file, .n_files = 1, .compiler = true};
    aira__sandbox_result r;
    aira_error error;
    if (aira__sandbox_run_command(&run, &r, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    char *binary = r.cause == AIRA_SANDBOX_OK ? r.out : NULL;
    if (binary == NULL) fprintf(stderr, "%s %s\n", r.sentence, r.err);
    *n = r.n_out;
    if (binary != NULL) r.out = NULL;
    aira__sandbox_result_release(&r);
    return binary;
}

static void run_program(state *s, const char *name, const char *path) {
    char *text = read_all(path), expected[64];
    size_t n = 0;
    header(text, "// expect: ", expected, sizeof expected);
    char *binary = other_machine(text) ? NULL : compile_program(text, &n);
    const char *const argv[] = {"/box/hostile", s->labels, s->journal, NULL};
    const aira__sandbox_file file = {"/box/hostile", binary, n, true};
    const aira__sandbox_run run = {.argv = argv,
                                   .files = &file,
                                   .n_files = 1,
                                   .limits = {.wall_seconds = strstr(expected, "timeout") ? 0.7 : 10,
                                              .cpu_seconds = 2,
                                              .memory = (int64_t)128 << 20,
                                              .disk = (int64_t)16 << 20,
                                              .output = (int64_t)1 << 20,
                                              .processes = 16}};
    aira__sandbox_result r = {0};
    aira_error error;
    if (binary == NULL) {
        if (!other_machine(text)) complain(s, name, "does not compile", "");
    } else if (aira__sandbox_run_command(&run, &r, &error) != AIRA_OK) {
        complain(s, name, "was not run", error.text);
    } else {
        s->n++;
        const char *cause = aira__sandbox_cause_name(r.cause);
        if (strstr(expected, cause) == NULL) complain(s, name, expected, r.sentence[0] ? r.sentence : "ok");
        if (r.exit_status == 42) complain(s, name, "got out", r.out);
        if (strstr(r.out, MARKER) != NULL || strstr(r.err, MARKER) != NULL) complain(s, name, "tells labels", r.out);
        if (r.n_err > 64 * 1024) complain(s, name, "its errors are not cut", "");
        if (something_lives()) complain(s, name, "a process is still alive", "");
        if (r.seconds + r.setup > 30) complain(s, name, "took long", r.sentence);
        printf("%-22s %-8s %5.2f s  %s\n", name, cause, r.seconds + r.setup, r.sentence);
    }
    aira__sandbox_result_release(&r);
    free(binary);
    free(text);
}

/* --- sources
 * ------------------------------------------------------------------------------------------------------------ */

static char *replaced(char *text, const char *what, const char *with) {
    for (char *at; (at = strstr(text, what)) != NULL;) {
        char *whole = malloc(strlen(text) + strlen(with) + 1);
        sprintf(whole, "%.*s%s%s", (int)(at - text), text, with, at + strlen(what));
        free(text);
        text = whole;
    }
    return text;
}

/* Compiles, configures, builds; error holds the sentence of the first step that fails, *ended what the sandbox ended it
   for. */
static aira_status build_source(const char *text, double seconds, aira__sandbox_cause *ended, aira_error *error) {
    const aira__foreign_options options = {.seconds = seconds, .ended = ended};
    aira__foreign *f = NULL;
    aira__foreign_primitive *p = NULL;
    aira_status status = aira__foreign_compile(text, strlen(text), &options, &f, error);
    if (status == AIRA_OK) status = aira__foreign_primitive_create(f, NULL, &p, error);
    if (status == AIRA_OK) {
        const aira__layer layer = {"X", "source", "{}", aira__foreign_primitive_table(p), p};
        aira_graph *g = aira__primitive_build(&layer, 2, 16, 64, AIRA_F32, true, error);
        status = g != NULL ? AIRA_OK : error->status;
        aira__graph_destroy(g);
    }
    if (f != NULL) *ended = aira__foreign_ended(f);
    aira__foreign_primitive_destroy(p);
    aira__foreign_release(f);
    return status;
}

/* Was it the sandbox, and for what, as its sentence says? */
static bool fits_sentence(const char *got, aira__sandbox_cause ended) {
    if (strstr(got, "system call that is refused") != NULL || strstr(got, "which is not available") != NULL)
        return ended == AIRA_SANDBOX_REFUSED;
    if (strstr(got, "was stopped: it took") != NULL) return ended == AIRA_SANDBOX_TIMEOUT;
    if (strstr(got, "was stopped: it used") != NULL) return ended == AIRA_SANDBOX_MEMORY;
    if (strstr(got, "was stopped: it wrote") != NULL) return ended == AIRA_SANDBOX_OUTPUT;
    return ended == AIRA_SANDBOX_OK;
}

static void run_variant(state *s, const char *name, const char *source, const char *tail, const char *variant,
                        const char *says) {
    char *text = malloc(strlen(source) + strlen(tail) + 1), label[128];
    strcpy(text, source);
    strcat(text, tail);
    text = replaced(text, "@LABELS@", s->labels);
    text = replaced(text, "@JOURNAL@", s->journal);
    text = replaced(text, "THE_NUMBER", variant);
    snprintf(label, sizeof label, "%s%s%s", name, variant[0] != 0 ? " " : "", variant);
    aira_error error = {0};
    double begin = aira__now();
    aira__sandbox_cause ended = AIRA_SANDBOX_OK;
    aira_status status = build_source(text, strstr(says, "took more than") != NULL ? 0.8 : 5, &ended, &error);
    double seconds = aira__now() - begin;
    const char *got = status == AIRA_OK ? "built" : error.text;
    s->n++;
    if (says[0] == 0 || strstr(got, says) == NULL) complain(s, label, says, got);
    if (!fits_sentence(got, ended)) complain(s, label, aira__sandbox_cause_name(ended), got);
    if (strstr(got, MARKER) != NULL) complain(s, label, "tells labels", got);
    if (status != AIRA_OK && strlen(got) > 1600) complain(s, label, "says too much", got);
    if (something_lives()) complain(s, label, "a process is still alive", "");
    printf("%-22s %-8s %5.2f s  %.*s\n", label, status == AIRA_OK ? "built" : "told", seconds, (int)strcspn(got, "\n"),
           got);
    free(text);
}

static void run_source(state *s, const char *name, const char *path, const char *tail) {
    char *text = read_all(path), says[256], key[32], variant[16];
    if (!other_machine(text)) {
        if (strstr(text, "// variant ") == NULL)
            run_variant(s, name, text, tail, "", header(text, "// says: ", says, sizeof says));
        for (int k = 0; k < 64; k++) {
            snprintf(key, sizeof key, "// variant %d says: ", k);
            snprintf(variant, sizeof variant, "%d", k);
            if (header(text, key, says, sizeof says)[0] == 0) break;
            run_variant(s, name, text, tail, variant, says);
        }
    }
    free(text);
}

static int is_c(const struct dirent *e) {
    const char *dot = strrchr(e->d_name, '.');
    return dot != NULL && strcmp(dot, ".c") == 0;
}

static void run_folder(state *s, const char *root, const char *folder, const char *tail) {
    char path[4096], name[300];
    struct dirent **names = NULL;
    snprintf(path, sizeof path, "%s/tests/sandbox/hostile/%s", root, folder);
    int n = scandir(path, &names, is_c, alphasort);
    for (int k = 0; k < n; k++) {
        snprintf(path, sizeof path, "%s/tests/sandbox/hostile/%s/%s", root, folder, names[k]->d_name);
        snprintf(name, sizeof name, "%.*s", (int)strlen(names[k]->d_name) - 2, names[k]->d_name);
        free(names[k]);
        if (s->only != NULL && strcmp(s->only, name) != 0) continue;
        if (tail == NULL)
            run_program(s, name, path);
        else
            run_source(s, name, path, tail);
        fflush(stdout);
    }
    free(names);
}

/* The host dies while a program runs that never ends: so does the program. */
static void kill_the_host(state *s, const char *root) {
    char path[4096];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/tests/sandbox/hostile/programs/ignore_signals.c", root);
    char *text = read_all(path), *binary = compile_program(text, &n);
    fflush(stdout);
    pid_t host = fork();
    if (host == 0) {
        const char *const argv[] = {"/box/hostile", NULL};
        const aira__sandbox_file file = {"/box/hostile", binary, n, true};
        const aira__sandbox_run run = {.argv = argv, .files = &file, .n_files = 1, .limits = {.wall_seconds = 60}};
        aira__sandbox_result r;
        aira_error error;
        _exit(aira__sandbox_run_command(&run, &r, &error) == AIRA_OK);
    }
    double deadline = aira__now() + 10;
    while (!something_lives() && aira__now() < deadline) usleep(5000);
    if (!something_lives()) complain(s, "host", "the program never started", "");
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    while (something_lives() && aira__now() < deadline) usleep(5000);
    if (something_lives()) complain(s, "host", "what it ran outlives it", "");
    s->n++;
    free(binary);
    free(text);
}

/* --- the host
 * ------------------------------------------------------------------------------------------------------------- */

static void plant(state *s) {
    char cache[128];
    aira_error error;
    strcpy(s->folder, "/tmp/aira-hostile-XXXXXX");
    if (mkdtemp(s->folder) == NULL) exit(1);
    chmod(s->folder, 0777);
    snprintf(s->labels, sizeof s->labels, "%s/labels.txt", s->folder);
    snprintf(s->journal, sizeof s->journal, "%s/journal", s->folder);
    snprintf(cache, sizeof cache, "%s/cache", s->folder);
    if (aira__file_write_atomic(s->labels, MARKER "\n", strlen(MARKER) + 1, &error) != AIRA_OK) exit(1);
    chmod(s->labels, 0666);
    mkdir(s->journal, 0777);
    chmod(s->journal, 0777);
    setenv("XDG_CACHE_HOME", cache, 1);
    setenv("AIRA_SECRET_KEY", MARKER, 1);
    if (open(s->labels, O_RDONLY) < 0) exit(1); /* a descriptor that nobody closes */
}

static void check_host(state *s) {
    char *labels = read_all(s->labels);
    struct dirent **names = NULL;
    if (strcmp(labels, MARKER "\n") != 0) complain(s, "host", "the labels have changed", labels);
    int n = scandir(s->journal, &names, NULL, NULL);
    if (n != 2) complain(s, "host", "something was written into the journal's folder", s->journal);
    for (int k = 0; k < n; k++) free(names[k]);
    free(names);
    free(labels);
}

int main(int argc, char **argv) {
    state s = {.only = argc > 1 ? argv[1] : NULL};
    char reason[512], path[4096];
    aira_error error;
    const char *root = getenv("AIRA_SOURCE_DIR");
    if (root == NULL) root = ".";
    aira__sandbox_level level = aira__sandbox_available(reason, sizeof reason);
    if (level == AIRA_SANDBOX_NONE) {
        printf("skipped: %s\n", reason);
        return 77;
    }
    if (access("/usr/bin/cc", X_OK) != 0) {
        printf("skipped: no C compiler in /usr/bin\n");
        return 77;
    }
    double begin = aira__now();
    plant(&s);
    snprintf(path, sizeof path, "%s/tests/sandbox/hostile/tail.c", root);
    char *tail = read_all(path);
    run_folder(&s, root, "programs", NULL);
    run_folder(&s, root, "sources", tail);
    if (s.only == NULL) kill_the_host(&s, root);
    check_host(&s);
    free(tail);
    if (aira__remove_tree(s.folder, &error) != AIRA_OK) complain(&s, "host", "the folder stays", error.text);
    printf("%d attempts, %d failures, %.1f s, level %s\n", s.n, s.failures, aira__now() - begin,
           aira__sandbox_level_name(level));
    return s.failures == 0 && s.n > 0 ? 0 : 1;
}
