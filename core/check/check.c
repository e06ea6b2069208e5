/* check.c - finds the plugin, makes an instance of it, hands it to the checks of its kind. See check.h. */
#include "core/check/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"

const char *aira__verdict_name(aira__verdict verdict) {
    static const char *const names[] = {"pass", "fail", "skip"};
    return names[verdict];
}

void aira__say(const aira__subject *s, const char *name, aira__verdict verdict, const char *format, ...) {
    char text[1600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    s->sink->verdict(s->sink->context, name, verdict, text);
}

const char *aira__start(const aira__subject *s, const char *name) {
    s->sink->begin(s->sink->context, name);
    return name;
}

/* --- finding --------------------------------------------------------------------------------------------------------
 */

/* An entry by "id" or "kind/id". Two kinds may share an id: then the kind must be named. */
static const aira__plugin_entry *find_entry(aira__registry *registry, const char *target, aira_error *error) {
    const aira__plugin_entry *found = NULL;
    const char *slash = strchr(target, '/');
    const char *id = slash ? slash + 1 : target;
    for (int k = 0; k < aira__registry_count(registry); k++) {
        const aira__plugin_entry *e = aira__registry_entry(registry, k);
        if (strcmp(e->id, id) != 0 || strcmp(e->state, "shadowed") == 0) continue;
        if (slash && (strlen(e->kind) != (size_t)(slash - target) || strncmp(e->kind, target, strlen(e->kind)) != 0))
            continue;
        if (found && strcmp(found->kind, e->kind) != 0) {
            aira__fail(error, AIRA_E_CONFIG, "%s is the id of a %s and of a %s; write %s/%s or %s/%s", id, found->kind,
                       e->kind, found->kind, id, e->kind, id);
            return NULL;
        }
        found = e;
    }
    if (!found)
        aira__fail(error, AIRA_E_CONFIG, "%s is neither a plugin file nor the id of a plugin; aira plugins lists them",
                   target);
    return found;
}

aira_status aira__check_locate(aira__registry *registry, const char *target, const aira__plugin_entry **entry,
                               const char **path, aira_error *error) {
    *entry = NULL;
    *path = target;
    if (access(target, F_OK) == 0) return AIRA_OK;
    *entry = find_entry(registry, target, error);
    if (!*entry) return AIRA_E_CONFIG;
    *path = (*entry)->path;
    return AIRA_OK;
}

static bool is_source(const char *path) {
    size_t n = strlen(path);
    return n > 2 && strcmp(path + n - 2, ".c") == 0;
}

static aira_status load(aira__subject *s, aira_error *error) {
    const aira__plugin_entry *entry;
    const char *path;
    aira_error why = {0};
    aira_status status = aira__check_locate(s->registry, s->options->target, &entry, &path, error);
    if (status) return status;
    if (!entry && is_source(path)) return aira__check_load_source(s, path, error);
    const char *name = aira__start(s, "loads");
    const aira_plugin *plugin = entry ? aira__registry_find(s->registry, entry->kind, entry->id, &why)
                                      : aira__registry_load_file(s->registry, path, &why);
    s->plugin = plugin;
    if (plugin)
        aira__say(s, name, AIRA_CHECK_PASS, "%s %s %s, ABI %u.%u: %s", plugin->kind, plugin->id, plugin->version,
                  plugin->abi_major, plugin->abi_minor, plugin->summary);
    else
        aira__say(s, name, AIRA_CHECK_FAIL, "%.500s", why.text);
    return AIRA_OK;
}

/* --- configuring ----------------------------------------------------------------------------------------------------
 */

/* Without a given configuration: the defaults, but a backbone is made narrow, because its gradient is checked in fp64
   on reference kernels. */
aira__document *aira__check_document(const aira__subject *s, aira__diagnostics *diagnostics) {
    const char *config = s->options->config;
    const aira_schema *schema = s->plugin ? s->plugin->config : NULL;
    if (config && access(config, F_OK) == 0) return aira__document_load(config, NULL, 0, diagnostics);
    if (config) return aira__document_parse(config, "--config", diagnostics);
    bool has_width = false;
    for (uint32_t k = 0; schema && k < schema->n_fields; k++) {
        const char *field = (const char *)schema->fields + (size_t)k * schema->field_stride;
        has_width = has_width || strcmp(((const aira_field *)(const void *)field)->key, "width") == 0;
    }
    bool narrow = has_width && strcmp(s->plugin->kind, "backbone") == 0;
    return aira__document_parse(narrow ? "{width: 32}" : "{}", "--config", diagnostics);
}

static aira_status fill(aira__subject *s, aira__diagnostics *diagnostics, aira_error *error) {
    static const char *const skip[] = {"use", "at_scale", NULL};
    const aira_schema *schema = s->plugin->config;
    aira__document *doc = aira__check_document(s, diagnostics);
    aira_status status = AIRA_OK;
    if (doc && schema) {
        s->config = calloc(1, schema->config_size + 1u);
        if (!s->config) status = aira__fail(error, AIRA_E_MEMORY, "out of memory for a configuration");
        if (!status)
            aira__schema_fill(schema, aira__document_root(doc), skip, s->config, &s->memory, &s->canonical,
                              diagnostics);
    }
    aira__document_destroy(doc);
    if (!status) status = aira__diagnostics_status(diagnostics, error);
    return status;
}

static aira_status configure(aira__subject *s, aira_error *error) {
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    if (!diagnostics) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a configuration");
    aira_status status = fill(s, diagnostics, error);
    aira__diagnostics_destroy(diagnostics);
    if (status) return status;
    s->canonical_text = s->canonical ? aira__json_canonical(s->canonical) : strdup("{}");
    if (!s->canonical_text) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a configuration");
    s->self = s->config;
    return AIRA_OK;
}

static bool create(aira__subject *s) {
    const char *name = aira__start(s, "configures");
    uint32_t fields = s->plugin->config ? s->plugin->config->n_fields : 0;
    if (s->plugin->create) {
        const aira_host *host = aira__registry_host(s->registry);
        aira__host_clear_failure(host);
        s->self = NULL;
        aira_status status = s->plugin->create(host, s->config, &s->self);
        if (status) {
            const char *why = aira__host_last_failure(host);
            aira__say(s, name, AIRA_CHECK_FAIL, "create() failed (%d)%s%s", (int)status, *why ? ": " : "", why);
            return false;
        }
    }
    aira__say(s, name, AIRA_CHECK_PASS, "%u keys: %.400s", fields, s->canonical_text);
    return true;
}

static void release(aira__subject *s, bool created) {
    if (created && s->plugin->destroy && s->plugin->create) s->plugin->destroy(s->self);
    aira__instance_destroy(s->source);
    aira__lab_close(&s->lab);
    aira__filled_release(s->memory);
    free(s->config);
    free(s->canonical_text);
    json_decref(s->canonical);
}

/* --- dispatch -------------------------------------------------------------------------------------------------------
 */

static void run_kind(aira__subject *s) {
    static const struct {
        const char *kind;
        void (*check)(aira__subject *);
        bool computes;
    } kinds[] = {
        {"primitive", aira__check_primitive, true},    {"backbone", aira__check_backbone, true},
        {"optimizer", aira__check_optimizer, true},    {"dataset", aira__check_dataset, false},
        {"aggregator", aira__check_aggregator, false}, {"scaffold", aira__check_scaffold, false},
        {"device", aira__check_device, false},         {"agent", aira__check_agent, false},
        {"executor", aira__check_executor, false},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        aira_error error = {0};
        if (strcmp(kinds[k].kind, s->plugin->kind) != 0) continue;
        if (kinds[k].computes && aira__lab_open(s->registry, &s->lab, &error)) {
            aira__say(s, "device", AIRA_CHECK_FAIL, "%.400s", error.text);
            return;
        }
        kinds[k].check(s);
        return;
    }
    aira__say(s, "behaves", AIRA_CHECK_SKIP, "a plugin of kind %s is only loaded and configured", s->plugin->kind);
}

aira_status aira__check_run(aira__registry *registry, const aira__check_options *options, const aira__check_sink *sink,
                            aira_error *error) {
    aira__subject s = {.registry = registry, .options = options, .sink = sink};
    aira_status status = load(&s, error);
    bool created = false;
    if (s.source) {
        run_kind(&s);
    } else if (s.plugin) {
        status = configure(&s, error);
        if (!status) created = create(&s);
        if (created) run_kind(&s);
    }
    release(&s, created);
    return status;
}
