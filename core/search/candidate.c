/* core/search/candidate.c - see candidate.h. */
#include "core/search/candidate.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/compose/notation.h"
#include "core/search/design.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

const char *aira__candidate_kind(const aira__candidate *c) {
    return aira__json_string(c->canonical, "kind", "compose");
}

/* ---- from the journal ---- */

static aira_status from_layers(const json_t *layers, aira__candidate *out, aira_error *error) {
    size_t n = json_array_size(layers);
    const char **names = calloc(n + 1, sizeof *names);
    uint16_t *indices = calloc(n + 1, sizeof *indices);
    aira_status status = names && indices && n <= AIRA__NOTATION_MAX ? AIRA_OK : no_memory(error);
    int n_names = 0;
    for (size_t i = 0; status == AIRA_OK && i < n; i++) {
        const char *name = json_string_value(json_array_get(layers, i));
        int k = 0;
        while (name && k < n_names && strcmp(names[k], name)) k++;
        if (name && k == n_names) names[n_names++] = name;
        indices[i] = (uint16_t)k;
        if (!name) status = aira__fail(error, AIRA_E_CORRUPT, "it has a layer without a token");
    }
    if (status == AIRA_OK) status = aira__candidate_make(indices, (int)n, names, out, error);
    free(names);
    free(indices);
    return status;
}

aira_status aira__candidate_load(aira__journal *journal, const char *hash, aira__candidate *out, aira_error *error) {
    *out = (aira__candidate){0};
    char *text = aira__journal_get_candidate(journal, hash, error);
    if (!text)
        return error && error->status != AIRA_OK
                   ? error->status
                   : aira__fail(error, AIRA_E_CORRUPT, "the journal has lost candidate %.12s", hash);
    json_t *canonical = aira__json_parse(text, strlen(text), "the journal's candidate", error);
    const char *source = aira__json_string(canonical, "source", NULL);
    aira_status status = !canonical ? AIRA_E_CORRUPT
                         : source   ? aira__candidate_design(source, json_object_get(canonical, "options"), out, error)
                                    : from_layers(json_object_get(canonical, "layers"), out, error);
    json_decref(canonical);
    free(text);
    if (status == AIRA_OK && strcmp(out->hash, hash))
        status = aira__fail(error, AIRA_E_CORRUPT, "the journal's candidate %.12s is damaged", hash);
    return status;
}

aira_status aira__candidate_source(const aira__asking *asking, const char *hash, char **source, json_t **options,
                                   aira_error *error) {
    aira__candidate c = {0};
    *source = NULL;
    *options = NULL;
    if (!asking->design || !hash || !hash[0]) return AIRA_OK;
    if (!asking->journal) { /* templates are being tried */
        *source = strdup("/* the source */\n");
        *options = json_object();
        return *source && *options ? AIRA_OK : no_memory(error);
    }
    aira_status status = aira__candidate_load(asking->journal, hash, &c, error);
    if (status == AIRA_OK) {
        *source = strdup(aira__json_string(c.canonical, "source", ""));
        *options = json_incref(json_object_get(c.canonical, "options"));
        if (!*source) status = no_memory(error);
    }
    aira__candidate_release(&c);
    return status;
}

/* ---- from an answer ---- */

static aira_status read_compose(const aira__asking *asking, const char *answer, aira__candidate *out,
                                aira_error *reason, aira_error *error) {
    size_t n_tokens = json_array_size(asking->tokens);
    const char **names = calloc(n_tokens + 1, sizeof *names);
    uint16_t *layers = calloc((size_t)asking->n_layers + 1, sizeof *layers);
    aira_status status = names && layers ? AIRA_OK : no_memory(error);
    for (size_t i = 0; status == AIRA_OK && i < n_tokens; i++)
        names[i] = json_string_value(json_array_get(asking->tokens, i));
    if (status == AIRA_OK) {
        status = aira__answer_parse(answer, names, (int)n_tokens, asking->n_layers, layers, reason);
        if (status == AIRA_E_MEMORY) status = no_memory(error);
        if (status == AIRA_OK) status = aira__candidate_make(layers, asking->n_layers, names, out, error);
    }
    free(names);
    free(layers);
    return status;
}

static aira_status read_design(const aira__asking *asking, uint32_t idx, const char *answer, aira__candidate *out,
                               aira_error *reason, aira_error *error) {
    char *parent = NULL, *source = NULL;
    json_t *parent_options = NULL, *options = NULL;
    int64_t at = asking->tree->nodes[idx].parent;
    const char *hash = at >= 0 ? asking->tree->nodes[at].hash : NULL;
    aira_status status = aira__candidate_source(asking, hash, &parent, &parent_options, error);
    if (status == AIRA_OK) {
        status = aira__design_parse(answer, parent, parent_options, asking->declared, &source, &options, reason);
        if (status == AIRA_E_MEMORY) status = no_memory(error);
    }
    if (status == AIRA_OK) status = aira__candidate_design(source, options, out, error);
    free(parent);
    free(source);
    json_decref(parent_options);
    json_decref(options);
    return status;
}

aira_status aira__candidate_read(const aira__asking *asking, uint32_t idx, const char *answer, aira__candidate *out,
                                 aira_error *reason, aira_error *error) {
    *out = (aira__candidate){0};
    *reason = (aira_error){AIRA_OK, ""};
    return asking->design ? read_design(asking, idx, answer, out, reason, error)
                          : read_compose(asking, answer, out, reason, error);
}
