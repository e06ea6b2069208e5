/* core/cli/cmd_new.c - `aira new`: a folder with a small complete plugin, ready to be built outside the tree.
 *
 * The templates (core/cli/templates) are working plugins with three words left open: @NAME@, @TOKEN@ and @INCLUDE@. A
 * folder that exists is never touched.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/cli/cli.h"
#include "core/cli/templates.h"
#include "core/plugin/kinds.h"

int aira__cmd_new(aira__cli *cli, int argc, char **argv);

typedef struct words {
    const char *name;
    char token[16];
    char include[PATH_MAX];
} words;

static const aira__template *find_template(const char *kind, const char *suffix) {
    char name[64];
    snprintf(name, sizeof name, "%s%s", kind, suffix);
    for (const aira__template *t = aira__templates; t->name != NULL; t++)
        if (strcmp(t->name, name) == 0) return t;
    return NULL;
}

/* "gated_shift" gives "GatedShift". */
static void make_token(const char *name, char token[16]) {
    size_t n = 0;
    bool up = true;
    for (; *name != 0 && n < 15; name++) {
        if (*name != '_') token[n++] = (char)(up ? toupper((unsigned char)*name) : *name);
        up = *name == '_';
    }
    token[n] = 0;
}

/* Where the SDK's headers are: of the installed program, or of the source tree that it was built in. */
static void find_include(char include[PATH_MAX]) {
    static const char *const places[] = {"../include", "../../include"};
    char program[PATH_MAX], path[PATH_MAX + 64];
    aira_error ignored;
    snprintf(include, PATH_MAX, "/usr/include");
    if (aira__program_dir(program, sizeof program, &ignored) != AIRA_OK) return;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char real[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s/aira/plugin.h", program, places[i]);
        if (!aira__file_exists(path)) continue;
        snprintf(path, sizeof path, "%s/%s", program, places[i]);
        if (realpath(path, real) == NULL) continue;
        snprintf(include, PATH_MAX, "%s", real);
        return;
    }
}

static char *fill_in(const char *text, const words *w) {
    const char *const keys[] = {"@NAME@", "@TOKEN@", "@INCLUDE@"}, *const values[] = {w->name, w->token, w->include};
    aira__buf out = {0};
    while (*text != 0) {
        int k = 0;
        while (k < 3 && strncmp(text, keys[k], strlen(keys[k])) != 0) k++;
        if (k < 3) {
            aira__buf_text(&out, values[k]);
            text += strlen(keys[k]);
        } else {
            aira__buf_add(&out, text++, 1);
        }
    }
    return aira__buf_take(&out);
}

static aira_status write_file(const char *folder, const char *name, const aira__template *from, const words *w,
                              mode_t mode, aira_error *error) {
    char path[PATH_MAX], *text = fill_in(from->text, w);
    if (text == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    snprintf(path, sizeof path, "%s/%s", folder, name);
    aira_status status = aira__file_write_atomic(path, text, strlen(text), error);
    free(text);
    if (status == AIRA_OK && chmod(path, mode) != 0)
        status = aira__fail(error, AIRA_E_IO, "%s: %s", path, strerror(errno));
    return status;
}

static aira_status write_all(const char *folder, const char *kind, const words *w, aira_error *error) {
    char source[64];
    snprintf(source, sizeof source, "%s.c", w->name);
    if (mkdir(folder, 0777) != 0)
        return aira__fail(error, errno == EEXIST ? AIRA_E_CONFIG : AIRA_E_IO, "cannot make the folder %s: %s", folder,
                          strerror(errno));
    aira_status status = write_file(folder, source, find_template(kind, ".c"), w, 0644, error);
    if (status == AIRA_OK)
        status = write_file(folder, "CMakeLists.txt", find_template("CMakeLists.txt", ".in"), w, 0644, error);
    if (status == AIRA_OK) status = write_file(folder, "test.sh", find_template("test.sh", ".in"), w, 0755, error);
    return status;
}

static int unknown_kind(const aira__cli *cli, const char *kind) {
    char list[256] = "";
    for (int k = 0; k < AIRA__N_KINDS; k++) {
        size_t n = strlen(list);
        if (find_template(aira__kinds[k].name, ".c") != NULL)
            snprintf(list + n, sizeof list - n, "%s%s", n > 0 ? ", " : "", aira__kinds[k].name);
    }
    return aira__cli_fail_text(cli, AIRA_E_CONFIG, "there is no template for the kind '%s'; there are %s", kind, list);
}

int aira__cmd_new(aira__cli *cli, int argc, char **argv) {
    const char *parent = ".";
    const aira__cli_option options[] = {
        {"dir", "D", "folder in which the new folder is made (default: here)", AIRA__CLI_TEXT, &parent, false}};
    const aira__cli_spec spec = {
        .arguments = "KIND NAME [--dir D]",
        .summary = "Writes the folder NAME with a small complete plugin: source, CMakeLists.txt, test.sh.\nKinds: "
                   "primitive, dataset, agent, scaffold, aggregator, optimizer. NAME becomes the plugin's id.",
        .options = options,
        .n_options = 1,
        .min_names = 2,
        .max_names = 2};
    aira__cli_arguments arguments;
    aira_error error = {0};
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    const char *kind = arguments.names[0];
    words w = {.name = arguments.names[1]};
    if (find_template(kind, ".c") == NULL || aira__kind_find(kind) == NULL) return unknown_kind(cli, kind);
    if (!aira__plugin_id_valid(w.name))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG,
                                   "'%s' cannot be an id: lower-case letters, digits and '_', a letter first, at most "
                                   "47 bytes",
                                   w.name);
    make_token(w.name, w.token);
    find_include(w.include);
    char *folder = aira__path_join(parent, w.name);
    if (folder == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    aira_status outcome = write_all(folder, kind, &w, &error);
    if (outcome != AIRA_OK)
        status = aira__cli_fail(cli, &error);
    else if (cli->json)
        status = aira__cli_print_json(cli, json_pack("{s:s, s:s, s:s}", "folder", folder, "kind", kind, "id", w.name));
    else {
        printf("%s: %s/%s.c; build and check it with %s/test.sh\n", kind, folder, w.name, folder);
        status = 0;
    }
    free(folder);
    return status;
}
