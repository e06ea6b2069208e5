/* A key whose place is beyond the configuration struct. */
#define FIELDS \
    { "hidden", "inner width", AIRA_T_INT, 0, 4096, 0, 1, 0, 0, NULL, NULL }
#include "base.h"
