/* core/http/curl.c - see curl.h. The table is filled once, under a lock, and constant from then on. */
#include "core/http/curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static aira__curl table;
static char problem[300];

static void load(void) {
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL); /* Debian's other build of it */
    const char *reason = library ? NULL : dlerror();
    void *found = NULL;
#define LOAD(name)                                             \
    if (!reason && !(found = dlsym(library, "curl_" #name))) { \
        reason = "it is too old: no curl_" #name;              \
    } else if (!reason) {                                      \
        memcpy(&table.name, &found, sizeof found);             \
    }
    AIRA__CURL_FUNCTIONS(LOAD)
#undef LOAD
    if (!reason && table.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) reason = "it could not be set up";
    if (reason) snprintf(problem, sizeof problem, "%s", reason);
}

const aira__curl *aira__curl_get(aira_error *error) {
    (void)pthread_once(&once, load);
    if (!problem[0]) return &table;
    (void)aira__fail(error, AIRA_E_DENIED, "libcurl cannot be used, so no model server can be asked: %s", problem);
    return NULL;
}
