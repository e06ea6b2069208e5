/* tests/abi/bad/base.h - a small good plugin, of which every file in this folder spoils one thing.
 *
 * A file defines what it changes and includes this one; good.c changes nothing. The test compiles them one by one and
 * expects the sentence in tests/unit/plugin_refusals.c.
 */
#include "aira/primitive.h"

#ifndef ID
#define ID "sample"
#endif
#ifndef DESCRIPTOR_ID
#define DESCRIPTOR_ID ID
#endif
#ifndef KIND
#define KIND "primitive"
#endif
#ifndef TOKEN
#define TOKEN "S"
#endif
#ifndef BUILD
#define BUILD build
#endif
#ifndef TABLE_SIZE
#define TABLE_SIZE sizeof(table_type)
#endif
#ifndef KIND_SIZE
#define KIND_SIZE sizeof(table_type)
#endif
#ifndef DESCRIPTOR_SIZE
#define DESCRIPTOR_SIZE sizeof(plugin_type)
#endif
#ifndef HOST_MINOR_MIN
#define HOST_MINOR_MIN 0
#endif
#ifndef CREATE
#define CREATE NULL
#endif
#ifndef DESTROY
#define DESTROY NULL
#endif
#ifndef DESCRIPTOR_TAIL
#define DESCRIPTOR_TAIL 0
#endif
#ifndef TABLE_TAIL
#define TABLE_TAIL 0
#endif
#ifndef ENTRY
#define ENTRY aira_plugin_v1
#endif
#ifndef FIELDS
#define FIELDS AIRA_F_INT(config, hidden, 64, 1, 1e6, "inner width")
#endif
#ifdef ABI_MAJOR
#undef AIRA_ABI_MAJOR
#define AIRA_ABI_MAJOR ABI_MAJOR
#endif

typedef struct config {
    int64_t hidden;
    double eps;
    int32_t bias;
} config;

static const aira_field fields[] = {FIELDS};
static const aira_schema schema = AIRA_SCHEMA(config, fields);

__attribute__((unused)) static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *graph, aira_tensor *x) {
    (void)self;
    return ops->silu(graph, x);
}

/* As a newer SDK would have them: one member more at the end. */
typedef struct table_type {
    aira_primitive known;
#ifdef NEWER
    uint64_t tail;
#endif
} table_type;
typedef struct plugin_type {
    aira_plugin known;
#ifdef NEWER
    uint64_t tail;
#endif
} plugin_type;

#ifndef TABLE
static const table_type table = {
    .known = {.size = (uint32_t)(TABLE_SIZE), .token = TOKEN, .build = BUILD},
#ifdef NEWER
    .tail = TABLE_TAIL,
#endif
};
#define TABLE &table
#endif

static const plugin_type plugin = {
    .known = {.size = (uint32_t)(DESCRIPTOR_SIZE),
              .kind_size = (uint32_t)(KIND_SIZE),
              .abi_major = AIRA_ABI_MAJOR,
              .abi_minor = AIRA_ABI_MINOR,
              .host_minor_min = HOST_MINOR_MIN,
              .kind = KIND,
              .id = DESCRIPTOR_ID,
              .version = "1.0.0",
              .license = "Apache-2.0",
              .summary = "A plugin for the tests of the loader.",
              .config = &schema,
              .table = TABLE,
              .create = CREATE,
              .destroy = DESTROY},
#ifdef NEWER
    .tail = DESCRIPTOR_TAIL,
#endif
};

#ifndef NO_MANIFEST
AIRA_MANIFEST(KIND, ID, "1.0.0")
#endif

#ifndef OWN_ENTRY
AIRA_EXPORT const aira_plugin *ENTRY(void);
AIRA_EXPORT const aira_plugin *ENTRY(void) { return &plugin.known; }
#endif
