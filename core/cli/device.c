/* core/cli/device.c - see device.h */
#include "core/cli/device.h"

#include <string.h>

#include "aira/device.h"

/* Does this device have threads of its own to count? */
static bool has_threads(aira__registry *registry, const char *id) {
    const aira_plugin *plugin = aira__registry_find(registry, "device", id, NULL);
    const aira_schema *schema = plugin != NULL ? plugin->config : NULL;
    for (uint32_t k = 0; schema != NULL && k < schema->n_fields; k++) {
        const char *field = (const char *)schema->fields + (size_t)k * schema->field_stride;
        if (strcmp(((const aira_field *)(const void *)field)->key, "threads") == 0) return true;
    }
    return false;
}

/* What a name or a mapping such as "{use: cuda, gpu: 1}" configures; NULL with a sentence. */
static aira__instance *from_mapping(aira__registry *registry, const char *text, aira_error *error) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = d != NULL ? aira__document_parse(text, "--device", d) : NULL;
    aira__instance *device = document != NULL && aira__diagnostics_count(d) == 0
                                 ? aira__instance_create(registry, "device", aira__document_root(document), NULL, d)
                                 : NULL;
    const char *why = d != NULL ? aira__diagnostics_text(d) : "out of memory";
    int n = (int)strlen(why);
    while (n > 0 && why[n - 1] == '\n') n--;
    if (device == NULL) aira__fail(error, AIRA_E_CONFIG, "%.*s", n, why);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return device;
}

static aira__instance *from_name(aira__registry *registry, const char *name, int64_t threads, aira_error *error) {
    json_t *keys = json_pack("{s:s}", "use", name);
    aira__instance *device = NULL;
    /* 0, one per core, is what the command line means where nothing was said: of no use to a GPU */
    bool told = threads > 0 || (threads == 0 && has_threads(registry, name));
    if (keys == NULL || (told && json_object_set_new(keys, "threads", json_integer(threads)) != 0)) {
        json_decref(keys);
        aira__fail(error, AIRA_E_MEMORY, "out of memory for a device");
        return NULL;
    }
    (void)aira__instance_create_json(registry, "device", keys, &device, error); /* NULL when it failed */
    json_decref(keys);
    return device;
}

aira__instance *aira__cli_device(aira__cli *cli, const char *name, int64_t threads, aira_error *error) {
    aira__registry *registry = aira__cli_registry(cli, error);
    if (registry == NULL) return NULL;
    bool mapping = name != NULL && name[0] == '{';
    aira__instance *device = mapping ? from_mapping(registry, name, error)
                                     : from_name(registry, name != NULL ? name : "cpu", threads, error);
    if (device == NULL) return NULL;
    const aira_device *table = device->plugin->table;
    const char *why = table->unavailable != NULL ? table->unavailable() : NULL;
    if (why == NULL) return device;
    aira__fail(error, AIRA_E_UNSUPPORTED, "device %s: %s", device->plugin->id, why);
    aira__instance_destroy(device);
    return NULL;
}
