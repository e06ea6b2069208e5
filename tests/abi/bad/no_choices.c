/* A choice without choices. */
#define FIELDS \
    { "bias", "which one", AIRA_T_CHOICE, 0, 16, 0, 0, 0, 0, NULL, NULL }
#include "base.h"
