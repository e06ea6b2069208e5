/* Crashes while it is being loaded. */
#include <signal.h>

__attribute__((constructor)) static void begin(void) { raise(SIGSEGV); }
#include "base.h"
