/* From a newer SDK, and uses a field that this host does not know. */
#define NEWER
#define DESCRIPTOR_TAIL 7
#include "base.h"
