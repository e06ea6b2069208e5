/* aira/abi.h - the types that every other header of the SDK uses.
 *
 * Rules of the plugin boundary are numbered AIRA-ABI-1 .. AIRA-ABI-11 in docs/abi.md. In short: structs that cross hold
 * fixed-width integers, doubles and pointers; their first member is their own size; released members never move;
 * nothing is passed by value but integers, doubles and pointers; the side that allocates frees.
 *
 * C11 and C++11. Defines no object and no symbol.
 */
#ifndef AIRA_ABI_H
#define AIRA_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define AIRA_EXTERN_C extern "C"
#else
#define AIRA_EXTERN_C extern
#endif

#define AIRA_ABI_MAJOR 1
#define AIRA_ABI_MINOR 0

/* 0 is success, negative is failure. The sentence that explains a failure travels by aira_host.fail or aira_ops.error.
 */
typedef int32_t aira_status;
#define AIRA_OK 0
#define AIRA_E_FAILED (-1)      /* the operation was understood and did not work */
#define AIRA_E_CONFIG (-2)      /* the user's configuration or arguments are wrong: exit status 2 */
#define AIRA_E_MEMORY (-3)      /* out of memory, host or device */
#define AIRA_E_UNSUPPORTED (-4) /* not available here (device, kernel, feature) */
#define AIRA_E_IO (-5)          /* a file or pipe could not be read or written */
#define AIRA_E_CANCELLED (-6)   /* stopped because somebody asked for it */
#define AIRA_E_TIMEOUT (-7)     /* a limit on time ran out */
#define AIRA_E_CORRUPT (-8)     /* a file or message does not hold what its format promises */
#define AIRA_E_DENIED (-9)      /* somebody else (a server) refuses every request until a person repairs something */

/* Element types. Comparisons give 0 or 1 in the type of their operands; there is no boolean type. */
#define AIRA_F32 1u
#define AIRA_F64 2u
#define AIRA_BF16 3u
#define AIRA_I32 4u

/* A shape: row-major, dims[0] outermost. Frozen for major 1 (no size member). rank 0 is a scalar. */
#define AIRA_MAX_RANK 8
typedef struct aira_shape {
    int64_t dims[AIRA_MAX_RANK]; /* entries at and beyond rank are 0 */
    uint32_t rank;
    uint32_t reserved; /* 0 */
} aira_shape;

/* True when table t (a pointer whose first member is uint32_t size) is long enough to hold slot and the slot is set. */
#define AIRA_HAS(type, t, slot) ((t)->size >= offsetof(type, slot) + sizeof((t)->slot) && (t)->slot != 0)

/* Symbol visibility of the one exported function. */
#define AIRA_EXPORT AIRA_EXTERN_C __attribute__((visibility("default")))

#endif
