/* Both agree on a table that is too short. */
#define TABLE_SIZE 24
#define KIND_SIZE 24
#include "base.h"
