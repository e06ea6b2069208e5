/* core/sandbox/foreign_internal.h - what foreign.c and offer.c share. */
#ifndef AIRA_SANDBOX_FOREIGN_INTERNAL_H
#define AIRA_SANDBOX_FOREIGN_INTERNAL_H

#include "core/sandbox/foreign.h"

#define AIRA__FOREIGN_ID "source"

/* A descriptor that shows the primitive as a plugin of id "source"; its destroy takes the primitive. */
const aira_plugin *aira__foreign_primitive_plugin(const aira__foreign_primitive *);

#endif
