/* Never finishes loading. */
static volatile int forever = 1;

__attribute__((constructor)) static void begin(void) {
    while (forever) {
    }
}
#include "base.h"
