/* core/plugin/host.h - the aira_host table that plugins get, and what stands behind it. */
#ifndef AIRA_PLUGIN_HOST_H
#define AIRA_PLUGIN_HOST_H

#include <pthread.h>

#include "aira/plugin.h"
#include "core/base/error.h"

typedef struct aira__service {
    char id[48];
    const void *table;
} aira__service;

typedef struct aira__host {
    aira_host table; /* table.core is this struct */
    pthread_mutex_t lock;
    aira__service *services;
    int n_services;
} aira__host;

aira_status aira__host_init(aira__host *, aira_error *);
void aira__host_finish(aira__host *);
/* Adds or replaces. false: out of memory or an id of more than 47 bytes. */
int aira__host_offer(aira__host *, const char *id, const void *table);

#endif
