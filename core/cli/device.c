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

aira__instance *aira__cli_device(aira__cli *cli, const char *name, int64_t threads, aira_error *error) {
    aira__registry *registry = aira__cli_registry(cli, error);
    if (registry == NULL) return NULL;
    json_t *keys = json_pack("{s:s}", "use", name != NULL ? name : "cpu");
    /* 0, one per core, is what the command line means where nothing was said: of no use to a GPU */
    bool told = threads > 0 || (threads == 0 && has_threads(registry, name != NULL ? name : "cpu"));
    if (keys == NULL || (told && json_object_set_new(keys, "threads", json_integer(threads)) != 0)) {
        json_decref(keys);
        aira__fail(error, AIRA_E_MEMORY, "out of memory for a device");
        return NULL;
    }
    aira__instance *device = NULL;
    aira_status status = aira__instance_create_json(registry, "device", keys, &device, error);
    json_decref(keys);
    if (status != AIRA_OK) return NULL;
    const aira_device *table = device->plugin->table;
    const char *why = table->unavailable != NULL ? table->unavailable() : NULL;
    if (why == NULL) return device;
    aira__fail(error, AIRA_E_UNSUPPORTED, "device %s: %s", device->plugin->id, why);
    aira__instance_destroy(device);
    return NULL;
}
