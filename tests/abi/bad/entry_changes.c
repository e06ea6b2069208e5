/* Its entry returns another descriptor at every call. */
#define OWN_ENTRY
#include "base.h"

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) {
    static aira_plugin copies[2];
    static int calls;
    copies[calls & 1] = plugin.known;
    return &copies[calls++ & 1];
}
