/* Its descriptor is shorter than that of ABI 1.0. */
#define DESCRIPTOR_SIZE 40
#include "base.h"
