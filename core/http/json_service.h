/* core/http/json_service.h - what stands behind the service "aira.json/1" (aira/ext/json.h): jansson with caps. */
#ifndef AIRA_HTTP_JSON_SERVICE_H
#define AIRA_HTTP_JSON_SERVICE_H

#include "aira/ext/json.h"
#include "aira/plugin.h"

/* host: allocates texts and gets the sentences of failures; must outlive the table. */
void aira__json_service_init(const aira_host *host, aira_json_service *table);

#endif
