/* core/search/overview.h - what a prompt says about the data of a task: data sets, splits, metric, chance and best. */
#ifndef AIRA_SEARCH_OVERVIEW_H
#define AIRA_SEARCH_OVERVIEW_H

#include "core/train/task.h"

#define AIRA__OVERVIEW_MAX 6000 /* characters */

/* One paragraph per proxy, cut at AIRA__OVERVIEW_MAX; malloc'ed, NULL when out of memory. */
char *aira__data_overview(const aira__task *);

#endif
