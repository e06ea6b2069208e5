/* core/cli/cmd_describe.c - `aira describe`: what a plugin is and which keys it accepts. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "aira/primitive.h"
#include "core/cli/cli.h"
#include "core/plugin/kinds.h"

int aira__cmd_describe(aira__cli *cli, int argc, char **argv);

static const char *type_name(uint32_t type) {
    static const char *const names[] = {"",     "int",   "real",  "bool",     "string", "choice",
                                        "seed", "count", "bytes", "duration", "flops",  "path"};
    uint32_t item = type & ~AIRA_T_LIST;
    return item < sizeof names / sizeof names[0] ? names[item] : "unknown";
}

/* The default as JSON, null where there is none. */
static json_t *default_json(const aira_field *f) {
    uint32_t item = f->type & ~AIRA_T_LIST;
    if (f->flags & AIRA_REQUIRED) return json_null();
    if ((f->type & AIRA_T_LIST) || item == AIRA_T_STR || item == AIRA_T_PATH)
        return f->sdef != NULL ? json_string(f->sdef) : json_null();
    if (item == AIRA_T_CHOICE) return json_string(f->choices[(int)f->def]);
    if (item == AIRA_T_BOOL) return json_boolean(f->def != 0);
    if (item == AIRA_T_REAL || item == AIRA_T_DURATION || item == AIRA_T_FLOPS) return json_real(f->def);
    return json_integer((json_int_t)f->def);
}

static json_t *field_json(const aira_field *f) {
    json_t *row = json_pack("{s:s, s:s, s:b, s:b, s:o, s:s}", "key", f->key, "type", type_name(f->type), "list",
                            (f->type & AIRA_T_LIST) != 0, "required", (f->flags & AIRA_REQUIRED) != 0, "default",
                            default_json(f), "doc", f->doc);
    bool good = row != NULL;
    if (good && (f->min != 0 || f->max != 0))
        good = json_object_set_new(row, "min", json_real(f->min)) == 0 &&
               json_object_set_new(row, "max", json_real(f->max)) == 0;
    if (good && f->choices != NULL) {
        json_t *choices = json_array();
        for (int i = 0; f->choices[i] != NULL; i++)
            good = json_array_append_new(choices, json_string(f->choices[i])) == 0;
        good = json_object_set_new(row, "choices", choices) == 0 && good;
    }
    if (good) return row;
    json_decref(row);
    return NULL;
}

static const aira_field *field_at(const aira_schema *s, uint32_t i) {
    return (const aira_field *)(const void *)((const char *)s->fields + (size_t)i * s->field_stride);
}

static const char *token_of(const aira_plugin *p) {
    return strcmp(p->kind, "primitive") == 0 ? ((const aira_primitive *)p->table)->token : NULL;
}

static json_t *plugin_json(const aira_plugin *p, const char *path) {
    json_t *keys = json_array();
    for (uint32_t i = 0; p->config != NULL && i < p->config->n_fields; i++)
        if (json_array_append_new(keys, field_json(field_at(p->config, i))) != 0) {
            json_decref(keys);
            return NULL;
        }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:o}", "id", p->id, "kind", p->kind, "version", p->version,
                     "license", p->license, "summary", p->summary, "path", path, "token", token_of(p), "keys", keys);
}

static void print_plugin(const aira_plugin *p, const char *path) {
    printf("%s %s %s (%s)\n%s\n", p->kind, p->id, p->version, p->license, p->summary);
    if (token_of(p) != NULL) {
        const aira_primitive *primitive = p->table;
        printf("token %s, %s\n", primitive->token,
               primitive->flags & AIRA_PRIMITIVE_MIXES_TIME ? "reads other positions" : "position by position");
    }
    printf("%s\n\nkeys:\n", path);
    aira__schema_print(p->config, stdout);
}

/* The only loadable plugin with this id, of this kind if given. */
static const aira_plugin *find(aira__registry *r, const char *kind, const char *id, const char **path,
                               aira_error *error) {
    const char *kinds[AIRA__N_KINDS];
    int n = 0;
    for (int k = 0; k < AIRA__N_KINDS; k++) {
        bool there = false;
        for (int i = 0; i < aira__registry_count(r); i++) {
            const aira__plugin_entry *e = aira__registry_entry(r, i);
            there |= strcmp(e->kind, aira__kinds[k].name) == 0 && strcmp(e->id, id) == 0;
        }
        if (there && (kind == NULL || strcmp(kind, aira__kinds[k].name) == 0)) kinds[n++] = aira__kinds[k].name;
    }
    if (n > 1) {
        aira__fail(error, AIRA_E_CONFIG, "'%s' is a %s and a %s: write %s/%s or %s/%s", id, kinds[0], kinds[1],
                   kinds[0], id, kinds[1], id);
        return NULL;
    }
    if (n == 0 && aira__registry_maker(r, "primitive", id) != NULL) {
        aira__fail(
            error, AIRA_E_CONFIG,
            "'%s' is no plugin but a C file as a primitive: {use: source, file: X.c, config: {its own keys}}, with "
            "text: instead of file: for a source in place; `aira check X.c` shows its keys, docs/sandbox.md the rest",
            id);
        return NULL;
    }
    if (n == 0 && kind == NULL) {
        const char *names[256];
        for (int i = 0; i < aira__registry_count(r) && n < 256; i++) names[n++] = aira__registry_entry(r, i)->id;
        const char *near = aira__nearest(id, names, n);
        aira__fail(error, AIRA_E_CONFIG, "no plugin has the id '%s'%s%s%s; `aira plugins` lists them", id,
                   near != NULL ? ", did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
        return NULL;
    }
    const aira_plugin *plugin = aira__registry_find(r, kind != NULL ? kind : kinds[0], id, error);
    for (int i = 0; plugin != NULL && i < aira__registry_count(r); i++)
        if (aira__registry_entry(r, i)->plugin == plugin) *path = aira__registry_entry(r, i)->path;
    return plugin;
}

int aira__cmd_describe(aira__cli *cli, int argc, char **argv) {
    const aira__cli_spec spec = {.arguments = "ID|KIND/ID|FILE.so",
                                 .summary = "Prints what a plugin is and the configuration keys that it accepts.",
                                 .min_names = 1,
                                 .max_names = 1};
    aira__cli_arguments arguments;
    aira_error error = {0};
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    aira__registry *r = aira__cli_registry(cli, &error);
    if (r == NULL) return aira__cli_fail(cli, &error);

    const char *target = arguments.names[0], *path = target, *slash = strchr(target, '/');
    const aira_plugin *plugin;
    struct stat info;
    char kind[16];
    size_t n = strlen(target);
    if ((n > 3 && strcmp(target + n - 3, ".so") == 0) || (stat(target, &info) == 0 && S_ISREG(info.st_mode))) {
        plugin = aira__registry_load_file(r, target, &error);
    } else if (slash != NULL) {
        snprintf(kind, sizeof kind, "%.*s", (int)(slash - target < 15 ? slash - target : 15), target);
        plugin = find(r, kind, slash + 1, &path, &error);
    } else {
        plugin = find(r, NULL, target, &path, &error);
    }
    if (plugin == NULL) return aira__cli_fail(cli, &error);
    if (cli->json) return aira__cli_print_json(cli, plugin_json(plugin, path));
    print_plugin(plugin, path);
    return 0;
}
