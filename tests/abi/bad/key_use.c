/* A key that belongs to the host. */
#define FIELDS \
    { "use", "which one", AIRA_T_INT, 0, 0, 0, 1, 0, 0, NULL, NULL }
#include "base.h"
