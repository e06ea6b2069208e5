/* core/cli/device.c - see device.h */
#include "core/cli/device.h"

#include "aira/device.h"

aira__instance *aira__cli_device(aira__cli *cli, const char *name, int64_t threads, aira_error *error) {
    aira__registry *registry = aira__cli_registry(cli, error);
    if (registry == NULL) return NULL;
    json_t *keys = json_pack("{s:s}", "use", name != NULL ? name : "cpu");
    if (keys == NULL || (threads >= 0 && json_object_set_new(keys, "threads", json_integer(threads)) != 0)) {
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
