/* The same key twice. */
#define FIELDS                                                          \
    AIRA_F_INT(config, hidden, 1, 1, 9, "inner width"), {               \
        "hidden", "a number", AIRA_T_REAL, 0, 8, 0, 1, 0, 0, NULL, NULL \
    }
#include "base.h"
