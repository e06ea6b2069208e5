/* Says one id in the note and another one in the descriptor. */
#define ID "sample"
#define DESCRIPTOR_ID "simple"
#include "base.h"
