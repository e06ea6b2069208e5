/* Needs services that only a later host has. */
#define HOST_MINOR_MIN 99
#include "base.h"
