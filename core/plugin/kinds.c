/* core/plugin/kinds.c - see kinds.h. Sizes of 1.0 are literals on purpose: they must not follow the headers. */
#include "core/plugin/kinds.h"

#include <stddef.h>
#include <string.h>

#include "aira/agent.h"
#include "aira/aggregator.h"
#include "aira/backbone.h"
#include "aira/dataset.h"
#include "aira/device.h"
#include "aira/executor.h"
#include "aira/optimizer.h"
#include "aira/primitive.h"
#include "aira/scaffold.h"

#define SLOT(type, member) \
    { #member, (uint32_t)offsetof(type, member) }

const aira__kind aira__kinds[AIRA__N_KINDS] = {
    {"primitive", sizeof(aira_primitive), 32, {SLOT(aira_primitive, token), SLOT(aira_primitive, build)}},
    {"backbone", sizeof(aira_backbone), 24, {SLOT(aira_backbone, build), SLOT(aira_backbone, width)}},
    {"optimizer", sizeof(aira_optimizer), 40, {SLOT(aira_optimizer, learning_rate), SLOT(aira_optimizer, build)}},
    {"dataset", sizeof(aira_dataset), 32, {SLOT(aira_dataset, describe), SLOT(aira_dataset, rows)}},
    {"agent", sizeof(aira_agent), 16, {SLOT(aira_agent, complete)}},
    {"scaffold", sizeof(aira_scaffold), 16, {SLOT(aira_scaffold, next)}},
    {"aggregator", sizeof(aira_aggregator), 16, {SLOT(aira_aggregator, combine)}},
    {"device",
     sizeof(aira_device),
     88,
     {SLOT(aira_device, unavailable), SLOT(aira_device, info), SLOT(aira_device, supports),
      SLOT(aira_device, buffer_create), SLOT(aira_device, buffer_destroy), SLOT(aira_device, upload),
      SLOT(aira_device, download), SLOT(aira_device, compile), SLOT(aira_device, program_destroy),
      SLOT(aira_device, run)}},
    {"executor",
     sizeof(aira_executor),
     48,
     {SLOT(aira_executor, capacity), SLOT(aira_executor, submit), SLOT(aira_executor, poll),
      SLOT(aira_executor, cancel), SLOT(aira_executor, forget)}},
};

const aira__kind *aira__kind_find(const char *name) {
    for (int i = 0; i < AIRA__N_KINDS; i++)
        if (strcmp(aira__kinds[i].name, name) == 0) return &aira__kinds[i];
    return NULL;
}

const char *aira__kind_names(void) {
    return "primitive, backbone, optimizer, dataset, agent, scaffold, aggregator, device, executor";
}

bool aira__plugin_id_valid(const char *id) {
    if (id[0] < 'a' || id[0] > 'z') return false;
    for (const char *c = id; *c != 0; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_')) return false;
    return strlen(id) <= 47;
}
