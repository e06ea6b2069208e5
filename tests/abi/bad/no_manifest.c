/* Everything but the note. */
#define NO_MANIFEST
#include "base.h"
