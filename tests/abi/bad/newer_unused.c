/* From a newer SDK, but leaves what is new at zero: accepted. */
#define NEWER
#include "base.h"
