/* aira/aira.h - the whole SDK. A plugin usually includes only the header of its kind. */
#ifndef AIRA_AIRA_H
#define AIRA_AIRA_H

#include "abi.h"        /* status, shapes, element types */
#include "agent.h"      /* kind agent */
#include "aggregator.h" /* kind aggregator */
#include "backbone.h"   /* kind backbone */
#include "dataset.h"    /* kind dataset */
#include "device.h"     /* kind device */
#include "executor.h"   /* kind executor */
#include "graph.h"      /* operations */
#include "op_table.h"   /* codes of operations */
#include "optimizer.h"  /* kind optimizer */
#include "plugin.h"     /* descriptor, manifest, host */
#include "primitive.h"  /* kind primitive */
#include "rng.h"        /* counter-based random numbers */
#include "scaffold.h"   /* kind scaffold */
#include "schema.h"     /* declared configuration */

#endif
