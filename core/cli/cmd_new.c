/* core/cli/cmd_new.c - `aira new`: a folder with a small complete plugin, ready to be built outside the tree.
 *
 * The templates (core/cli/templates) are working plugins with three words left open: @NAME@, @TOKEN@ and @INCLUDE@. A
 * folder that exists is never touched.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/fs.h"
#include "core/cli/cli.h"
#include "core/cli/templates.h"
#include "core/plugin/kinds.h"

int aira__cmd_new(aira__cli *cli, int argc, char **argv);

static const aira__template *find_template(const char *kind) {
    char name[64];
    snprintf(name, sizeof name, "%s.c", kind);
    return aira__template_find(name);
}

static aira_status write_all(const char *folder, const char *kind, const aira__template_words *w, aira_error *error) {
    char source[64];
    snprintf(source, sizeof source, "%s.c", w->name);
    if (mkdir(folder, 0777) != 0)
        return aira__fail(error, errno == EEXIST ? AIRA_E_CONFIG : AIRA_E_IO, "cannot make the folder %s: %s", folder,
                          strerror(errno));
    aira_status status = aira__template_write(folder, source, find_template(kind), w, false, error);
    if (status == AIRA_OK)
        status = aira__template_write(folder, "CMakeLists.txt", aira__template_find("CMakeLists.txt.in"), w, false,
                                      error);
    if (status == AIRA_OK)
        status = aira__template_write(folder, "test.sh", aira__template_find("test.sh.in"), w, true, error);
    return status;
}

static int unknown_kind(const aira__cli *cli, const char *kind) {
    char list[256] = "";
    for (int k = 0; k < AIRA__N_KINDS; k++) {
        size_t n = strlen(list);
        if (find_template(aira__kinds[k].name) != NULL)
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
    aira__template_words w;
    if (find_template(kind) == NULL || aira__kind_find(kind) == NULL) return unknown_kind(cli, kind);
    if (!aira__plugin_id_valid(arguments.names[1]))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG,
                                   "'%s' cannot be an id: lower-case letters, digits and '_', a letter first, at most "
                                   "47 bytes",
                                   arguments.names[1]);
    aira__template_open(&w, arguments.names[1]);
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
