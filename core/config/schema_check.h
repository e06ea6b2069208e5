/* core/config/schema_check.h - whether a plugin's declared configuration makes sense before any YAML is read with it.
 */
#ifndef AIRA_CONFIG_SCHEMA_CHECK_H
#define AIRA_CONFIG_SCHEMA_CHECK_H

#include "aira/schema.h"
#include "core/base/error.h"

#define AIRA__SCHEMA_MAX_FIELDS 512

/* Counts and sizes: safe to walk the rows afterwards. */
aira_status aira__schema_check_frame(const aira_schema *, aira_error *);
/* Every row: key, type, place inside the config struct, no overlap, choices, bounds that hold the default, a default of
   the key's type. Rows are of today's size. */
aira_status aira__schema_check_fields(const aira_schema *, aira_error *);

#endif
