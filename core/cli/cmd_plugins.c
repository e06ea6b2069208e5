/* core/cli/cmd_plugins.c - `aira plugins`: every file that was found, with its state and the reason for it.
 *
 * Listing loads each plugin, so that "loaded" means that it works here and "refused" says why it does not. A device
 * that loads, but not for this machine, is "absent", with its own reason.
 */
#include <stdio.h>
#include <string.h>

#include "aira/device.h"
#include "core/cli/cli.h"
#include "core/plugin/kinds.h"

int aira__cmd_plugins(aira__cli *cli, int argc, char **argv);

static bool wanted(const aira__plugin_entry *e, const char *kind) {
    return kind == NULL || strcmp(e->kind, kind) == 0 || e->kind[0] == 0;
}

/* Why a device that was loaded cannot run here; NULL: it can, or it is no device. */
static const char *absence(const aira__plugin_entry *e) {
    if (e->plugin == NULL || strcmp(e->kind, "device") != 0 || strcmp(e->state, "loaded") != 0) return NULL;
    const aira_device *table = e->plugin->table;
    return AIRA_HAS(aira_device, table, unavailable) ? table->unavailable() : NULL;
}

static json_t *list_json(const aira__registry *r, const char *kind) {
    json_t *list = json_array();
    for (int i = 0; list != NULL && i < aira__registry_count(r); i++) {
        const aira__plugin_entry *e = aira__registry_entry(r, i);
        if (!wanted(e, kind)) continue;
        const char *why = absence(e);
        json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", e->id, "kind", e->kind, "version", e->version,
                                "path", e->path, "state", why != NULL ? "absent" : e->state, "reason",
                                why != NULL ? why : e->reason);
        if (row != NULL && json_array_append_new(list, row) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static void print_row(const char *kind, const char *id, const char *version, const char *state, const char *rest) {
    printf("%-10s  %-20s  %-8s  %-8s  %s\n", kind, id, version, state, rest);
}

static void print_table(const aira__registry *r, const char *kind) {
    int shown = 0;
    print_row("KIND", "ID", "VERSION", "STATE", "SUMMARY, OR FILE AND REASON");
    for (int k = 0; k <= AIRA__N_KINDS; k++) { /* by kind; files of no readable kind last */
        const char *name = k < AIRA__N_KINDS ? aira__kinds[k].name : "";
        for (int i = 0; i < aira__registry_count(r); i++) {
            const aira__plugin_entry *e = aira__registry_entry(r, i);
            if (strcmp(e->kind, name) != 0 || !wanted(e, kind)) continue;
            char rest[4400];
            const char *why = absence(e);
            snprintf(rest, sizeof rest, "%.2200s: %.2100s", e->path, e->reason);
            print_row(e->kind[0] != 0 ? e->kind : "-", e->id[0] != 0 ? e->id : "-",
                      e->version[0] != 0 ? e->version : "-", why != NULL ? "absent" : e->state,
                      why != NULL         ? why
                      : e->plugin != NULL ? e->plugin->summary
                                          : rest);
            shown++;
        }
    }
    if (shown == 0) printf("no plugins were found\n");
}

int aira__cmd_plugins(aira__cli *cli, int argc, char **argv) {
    const aira__cli_spec spec = {
        .arguments = "[KIND]",
        .summary = "Lists the plugins of --plugin-path, AIRA_PLUGIN_PATH, ~/.local/lib/aira and "
                   "the program's own folder, in this order.\nThe first of a kind and id is "
                   "used; bad files are listed with their reason and disturb nothing.",
        .max_names = 1};
    aira__cli_arguments arguments;
    aira_error error = {0};
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    const char *kind = arguments.n_names > 0 ? arguments.names[0] : NULL;
    if (kind != NULL && aira__kind_find(kind) == NULL)
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "there is no kind '%s'; the kinds are %s", kind,
                                   aira__kind_names());
    aira__registry *r = aira__cli_registry(cli, &error);
    if (r == NULL) return aira__cli_fail(cli, &error);
    for (int i = 0; i < aira__registry_count(r); i++) {
        const aira__plugin_entry *e = aira__registry_entry(r, i);
        /* the entry keeps the reason of a failure; a shadowed file stays unloaded */
        if (strcmp(e->state, "available") == 0 && wanted(e, kind)) aira__registry_find(r, e->kind, e->id, &error);
    }
    if (cli->json) return aira__cli_print_json(cli, list_json(r, kind));
    print_table(r, kind);
    return 0;
}
