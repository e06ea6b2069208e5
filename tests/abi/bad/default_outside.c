/* The default is outside its own bounds. */
#define FIELDS AIRA_F_INT(config, hidden, 0, 1, 1e6, "inner width")
#include "base.h"
