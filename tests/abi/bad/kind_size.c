/* The descriptor and the table disagree about the size of the table. */
#define TABLE_SIZE 24
#include "base.h"
