/* Built against an SDK of the next major version. */
#define ABI_MAJOR 2
#include "base.h"
