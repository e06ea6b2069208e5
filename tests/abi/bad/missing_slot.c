/* Leaves the mandatory slot build empty. */
#define BUILD NULL
#include "base.h"
