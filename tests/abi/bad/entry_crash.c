/* Its entry follows a pointer into nowhere. */
#define OWN_ENTRY
#include "base.h"

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) {
    const aira_plugin *const volatile *nowhere = (const aira_plugin *const volatile *)8;
    return plugin.known.size > 0 ? *nowhere : NULL;
}
