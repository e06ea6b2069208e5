/* core/cli/device.h - the device that a command runs on: --device cpu, --threads N. */
#ifndef AIRA_CLI_DEVICE_H
#define AIRA_CLI_DEVICE_H

#include "core/cli/cli.h"

/* An instance of device plugin `name` (NULL: cpu) with its defaults, or of a mapping, "{use: cuda, gpu: 1}", with its
   keys; threads, of a name alone: -1: the plugin's default, 0: one per core. NULL with a sentence. Destroy with
   aira__instance_destroy. */
aira__instance *aira__cli_device(aira__cli *, const char *name, int64_t threads, aira_error *);

#endif
