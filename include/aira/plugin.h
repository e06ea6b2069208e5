/* aira/plugin.h - what every plugin exports: a manifest that is read without running code, and one function.
 *
 * A plugin file is a shared object with
 *   1. an ELF note (AIRA_MANIFEST) that names ABI, kind, id and version; `readelf -n` shows it, strip keeps it;
 *   2. one exported symbol, aira_plugin_v1, which returns a constant descriptor and may be called repeatedly.
 * It refers to no symbol of the host: everything comes through the aira_host that create() receives.
 *
 *     static const aira_plugin plugin = { ... };
 *     AIRA_MANIFEST("primitive", "mlp", "1.0.0")
 *     AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
 */
#ifndef AIRA_PLUGIN_H
#define AIRA_PLUGIN_H

#include "abi.h"
#include "schema.h"

/* Severities of aira_host.log */
#define AIRA_LOG_DEBUG 0
#define AIRA_LOG_INFO 1
#define AIRA_LOG_WARN 2
#define AIRA_LOG_ERROR 3

/* Services of the host. Append-only: a plugin tests newer slots with AIRA_HAS. Every call: [any thread]. */
typedef struct aira_host aira_host;
struct aira_host {
    uint32_t size, minor;
    void *core; /* the host's own; several hosts per process are fine */
    /* bytes > 0; zeroed memory, NULL when exhausted. Released with release(), which accepts NULL. */
    void *(*alloc)(const aira_host *host, uint64_t bytes);
    void (*release)(const aira_host *host, void *memory);
    void (*log)(const aira_host *host, int32_t level, const char *text); /* copies text */
    /* Records one plain sentence (what, where, what to do) for the caller and returns status. Copies text. */
    aira_status (*fail)(const aira_host *host, aira_status status, const char *text);
    /* A table by extension id such as "aira.process/1" (aira/ext/x.h), or NULL. Valid until the host ends. */
    const void *(*service)(const aira_host *host, const char *id);
};

/* The descriptor. Constant and valid for ever. */
typedef struct aira_plugin {
    uint32_t size;      /* sizeof(aira_plugin) */
    uint32_t kind_size; /* sizeof of the kind's table; must equal the table's own size member */
    uint16_t abi_major, abi_minor;
    uint16_t host_minor_min; /* lowest aira_host.minor that this plugin can work with */
    uint16_t reserved;       /* 0 */
    const char *kind;        /* "primitive", "backbone", "optimizer", "dataset", "agent", "scaffold", "aggregator",
                                "device", "executor" */
    const char *id;          /* what `use:` names; [a-z][a-z0-9_]*, at most 47 bytes */
    const char *version;     /* "1.0.0" */
    const char *license;     /* SPDX */
    const char *summary;     /* one line */
    const aira_schema *config;
    const void *table; /* const aira_primitive *, const aira_device *, ... by kind */
    /* create: config is the filled struct, valid until destroy. Both NULL: self is the config struct itself. */
    aira_status (*create)(const aira_host *host, const void *config, void **self);
    void (*destroy)(void *self);
    const void *(*extension)(const char *id); /* may be NULL; unknown ids give NULL */
} aira_plugin;

#define AIRA_PLUGIN_DESCRIPTOR(kind_, type_, table_, id_, version_, summary_, schema_)                        \
    .size = (uint32_t)sizeof(aira_plugin), .kind_size = (uint32_t)sizeof(type_), .abi_major = AIRA_ABI_MAJOR, \
    .abi_minor = AIRA_ABI_MINOR, .kind = kind_, .id = id_, .version = version_, .license = "Apache-2.0",      \
    .summary = summary_, .config = schema_, .table = table_

/* The note: owner "AIRA", type 1, descriptor of exactly this layout. Frozen for major 1. */
#define AIRA_NOTE_TYPE 1u
typedef struct aira_manifest {
    uint16_t abi_major, abi_minor;
    char kind[16];
    char id[48];
    char version[16];
    uint32_t reserved;
} aira_manifest;
typedef struct aira_manifest_note {
    uint32_t namesz, descsz, type;
    char name[8]; /* "AIRA", zero-padded; namesz is 5 */
    aira_manifest desc;
} aira_manifest_note;

#define AIRA_MANIFEST(kind_, id_, version_)                                                                            \
    __attribute__((used, aligned(4), section(".note.aira"))) static const aira_manifest_note aira_manifest_note_v1 = { \
        5,                                                                                                             \
        (uint32_t)sizeof(aira_manifest),                                                                               \
        AIRA_NOTE_TYPE,                                                                                                \
        "AIRA",                                                                                                        \
        {AIRA_ABI_MAJOR, AIRA_ABI_MINOR, kind_, id_, version_, 0}};

AIRA_EXTERN_C const aira_plugin *aira_plugin_v1(void);

#endif
