/* core/plugin/host.c - see host.h.
 *
 * The last failure is kept per thread, because a plugin may be called by several threads at once and its sentence
 * belongs to the call that failed. The holder names its host, so two hosts in one process do not mix.
 */
#include "core/plugin/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/plugin/descriptor.h"
#include "core/plugin/registry.h"

static _Thread_local struct {
    const void *core;
    char text[2000];
} last_failure;

static void *host_alloc(const aira_host *host, uint64_t bytes) {
    (void)host;
    return bytes > 0 && bytes <= SIZE_MAX ? calloc(1, (size_t)bytes) : NULL;
}

static void host_release(const aira_host *host, void *memory) {
    (void)host;
    free(memory);
}

static void host_log(const aira_host *host, int32_t level, const char *text) {
    (void)host;
    aira__log(level, "%s", text != NULL ? text : "");
}

static aira_status host_fail(const aira_host *host, aira_status status, const char *text) {
    last_failure.core = host->core;
    snprintf(last_failure.text, sizeof last_failure.text, "%s", text != NULL ? text : "");
    return status;
}

static const void *host_service(const aira_host *host, const char *id) {
    aira__host *h = host->core;
    const void *table = NULL;
    if (id == NULL) return NULL;
    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < h->n_services; i++)
        if (strcmp(h->services[i].id, id) == 0) table = h->services[i].table;
    pthread_mutex_unlock(&h->lock);
    return table;
}

const char *aira__host_last_failure(const aira_host *host) {
    return host != NULL && last_failure.core == host->core ? last_failure.text : "";
}

void aira__host_clear_failure(const aira_host *host) {
    if (host == NULL || last_failure.core != host->core) return;
    last_failure.core = NULL;
    last_failure.text[0] = 0;
}

aira_status aira__host_init(aira__host *h, aira_error *error) {
    memset(h, 0, sizeof *h);
    if (pthread_mutex_init(&h->lock, NULL) != 0) return aira__fail(error, AIRA_E_MEMORY, "no mutex for the host table");
    h->table = (aira_host){.size = sizeof(aira_host),
                           .minor = AIRA__HOST_MINOR,
                           .core = h,
                           .alloc = host_alloc,
                           .release = host_release,
                           .log = host_log,
                           .fail = host_fail,
                           .service = host_service};
    return AIRA_OK;
}

void aira__host_finish(aira__host *h) {
    aira__host_clear_failure(&h->table);
    free(h->services);
    pthread_mutex_destroy(&h->lock);
}

int aira__host_offer(aira__host *h, const char *id, const void *table) {
    if (strlen(id) >= sizeof h->services[0].id) return 0;
    pthread_mutex_lock(&h->lock);
    int i = 0;
    while (i < h->n_services && strcmp(h->services[i].id, id) != 0) i++;
    if (i == h->n_services) {
        aira__service *grown = realloc(h->services, (size_t)(i + 1) * sizeof *grown);
        if (grown != NULL) {
            h->services = grown;
            snprintf(grown[i].id, sizeof grown[i].id, "%s", id);
            h->n_services++;
        }
    }
    int kept = i < h->n_services;
    if (kept) h->services[i].table = table;
    pthread_mutex_unlock(&h->lock);
    return kept;
}
