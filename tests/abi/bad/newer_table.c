/* From a newer SDK, and fills a slot that this host does not know. */
#define NEWER
#define TABLE_TAIL 7
#include "base.h"
