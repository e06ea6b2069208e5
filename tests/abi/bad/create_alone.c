/* Has create without destroy. */
#define CREATE create
#include "aira/primitive.h"

static aira_status create(const aira_host *host, const void *config, void **self) {
    (void)host, (void)config;
    *self = NULL;
    return AIRA_OK;
}
#include "base.h"
