/* core/check/source.c - a C source as the subject of `aira check`: compiled, configured and built in the sandbox. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/check/check.h"
#include "core/sandbox/foreign.h"

/* --config as JSON. NULL after diagnostics. */
static json_t *read_config(const aira__subject *s, aira_error *error) {
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    if (!diagnostics) {
        aira__fail(error, AIRA_E_MEMORY, "out of memory for a configuration");
        return NULL;
    }
    aira__document *doc = aira__check_document(s, diagnostics);
    json_t *config = doc ? aira__node_to_json(aira__document_root(doc)) : NULL;
    aira__document_destroy(doc);
    if (aira__diagnostics_status(diagnostics, error)) {
        json_decref(config);
        config = NULL;
    } else if (!json_is_object(config)) {
        json_decref(config);
        config = NULL;
        aira__fail(error, AIRA_E_CONFIG, "--config is a mapping of the source's keys");
    }
    aira__diagnostics_destroy(diagnostics);
    return config;
}

static void say_loaded(aira__subject *s, const char *name) {
    aira__sandbox_level level = aira__sandbox_available(NULL, 0);
    aira__say(s, name, AIRA_CHECK_PASS, "primitive %s, compiled and configured in the sandbox (level %s): %s",
              aira__json_string(s->source->canonical, "file", "?"),
              level == AIRA_SANDBOX_NONE ? "limits, unconfined" : aira__sandbox_level_name(level), s->plugin->summary);
}

aira_status aira__check_load_source(aira__subject *s, const char *path, aira_error *error) {
    char *text = NULL;
    json_t *config = read_config(s, error);
    if (!config) return error->status;
    const char *slash = strrchr(path, '/'), *name = aira__start(s, "loads");
    aira_error why = {0};
    aira_status status = aira__file_read(path, AIRA__FOREIGN_MAX_SOURCE, &text, NULL, error);
    json_t *canonical = text ? json_pack("{s:s, s:s, s:s, s:O, s:b}", "use", "source", "text", text, "file",
                                         slash ? slash + 1 : path, "config", config, "unconfined",
                                         s->options->unconfined)
                             : NULL;
    if (!status && !canonical) status = aira__fail(error, AIRA_E_CONFIG, "%s is no text in UTF-8", path);
    if (!status && aira__instance_create_json(s->registry, "primitive", canonical, &s->source, &why)) {
        aira__say(s, name, AIRA_CHECK_FAIL, "%.1590s", why.text);
    } else if (!status) {
        s->plugin = s->source->plugin;
        s->self = s->source->self;
        s->canonical_text = aira__json_canonical(json_object_get(s->source->canonical, "config"));
        say_loaded(s, name);
        aira__say(s, aira__start(s, "configures"), AIRA_CHECK_PASS, "%.400s",
                  s->canonical_text ? s->canonical_text : "{}");
    }
    json_decref(canonical);
    json_decref(config);
    free(text);
    return status;
}

aira_status aira__check_repeats(const aira__layer *layer, aira_error *error) {
    if (strcmp(layer->primitive, "source") != 0) return AIRA_OK;
    return aira__foreign_primitive_repeats(layer->self, error);
}
