/* Exports a function of another name. */
#define ENTRY aira_plugin_v2
#include "base.h"
