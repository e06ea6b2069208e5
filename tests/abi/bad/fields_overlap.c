/* Two keys in one place. */
#define FIELDS \
    AIRA_F_INT(config, hidden, 1, 1, 9, "inner width"), { "eps", "a number", AIRA_T_REAL, 0, 0, 0, 1, 0, 0, NULL, NULL }
#include "base.h"
