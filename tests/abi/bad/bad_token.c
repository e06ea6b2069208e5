/* Its token cannot stand in an architecture. */
#define TOKEN "2m"
#include "base.h"
