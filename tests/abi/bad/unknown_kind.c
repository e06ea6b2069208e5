/* Of a kind that this host does not know. */
#define KIND "soothsayer"
#include "base.h"
