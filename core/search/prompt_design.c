/* core/search/prompt_design.c - the variables that only prompts of designs name: options, headers, sources, checks,
 * literature. See prompt_design.h and docs/prompts.md.
 */
#include "core/search/prompt_design.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/search/candidate.h"
#include "core/search/design.h"
#include "core/search/literature.h"
#include "core/search/sdk.h"

static json_t *text_or_null(const char *text) { return text && *text ? json_string(text) : json_null(); }

static bool set(json_t *values, const char *prefix, const char *member, json_t *value) {
    char name[64];
    snprintf(name, sizeof name, "%s_%s", prefix, member);
    return !json_object_set_new(values, name, value);
}

/* ---- what never changes within a search ---- */

/* [{name, sets, default, from, to, choices}] of the task's configurable options; what is not known is null. */
static json_t *options_json(const json_t *declared) {
    json_t *list = json_array(), *option;
    const char *name;
    json_object_foreach((json_t *)(uintptr_t)declared, name, option) {
        static const char *const members[] = {"sets", "default", "from", "to"};
        json_t *one = json_pack("{s:s}", "name", name);
        char text[32];
        for (size_t i = 0; i < 4; i++) {
            const json_t *value = json_object_get(option, members[i]);
            if (json_is_number(value)) snprintf(text, sizeof text, "%.6g", json_number_value(value));
            json_object_set_new(one, members[i],
                                json_is_number(value)   ? json_string(text)
                                : json_is_string(value) ? json_string(json_string_value(value))
                                                        : json_null());
        }
        char *choices = json_object_get(option, "choices")
                            ? json_dumps(json_object_get(option, "choices"), JSON_REAL_PRECISION(6))
                            : NULL;
        json_object_set_new(one, "choices", choices ? json_string(choices) : json_null());
        free(choices);
        json_array_append_new(list, one);
    }
    return list;
}

/* [{text}]: what a mechanism is held to, a sentence each. */
static json_t *limits_json(const json_t *limits) {
    json_t *list = json_array();
    double parameters = aira__json_real(limits, "parameters", 0), flops = aira__json_real(limits, "flops_per_token", 0);
    double exponent = aira__json_real(limits, "cost_exponent", 0);
    char text[240] = "";
    if (parameters > 0) {
        snprintf(text, sizeof text, "at most %.0f parameters in the whole model", parameters);
        json_array_append_new(list, json_pack("{s:s}", "text", text));
    }
    if (flops > 0) {
        snprintf(text, sizeof text,
                 "at most %.4g FLOPs per token in the whole model's training: three times its forward pass, a "
                 "multiply-add counts 2, elementwise work nothing",
                 flops);
        json_array_append_new(list, json_pack("{s:s}", "text", text));
    }
    if (exponent > 0) {
        snprintf(text, sizeof text, "FLOPs and memory of a layer grow with the length T no faster than T^%.4g",
                 exponent);
        json_array_append_new(list, json_pack("{s:s}", "text", text));
    }
    return list;
}

/* What only a design's templates name; of a compose search the names exist and are empty. */
bool aira__prompt_add_design(const aira__asking *asking, json_t *values) {
    const json_t *candidate = json_object_get(asking->task, "candidate"), *token;
    aira__buf pattern = {0};
    size_t i;
    json_array_foreach(json_object_get(candidate, "pattern"), i, token)
        aira__buf_printf(&pattern, "%s%s", i ? " " : "", json_string_value(token));
    char *header = asking->design ? aira__sdk_header() : strdup("");
    char *operations = asking->design ? aira__sdk_operations() : strdup("");
    json_t *example = json_object_get(asking->prompts, "example");
    bool ok = values && header && operations &&
              !json_object_set_new(values, "kind", json_string(asking->design ? "design" : "compose")) &&
              !json_object_set_new(values, "pattern", json_string(pattern.data ? pattern.data : "")) &&
              !json_object_set_new(values, "fixed", json_boolean(json_object_size(asking->declared) == 0)) &&
              !json_object_set_new(values, "options", options_json(asking->declared)) &&
              !json_object_set_new(values, "limits",
                                   asking->design ? limits_json(json_object_get(asking->task, "limits"))
                                                  : json_array()) &&
              !json_object_set_new(values, "header", json_string(header)) &&
              !json_object_set_new(values, "operations", json_string(operations)) &&
              !json_object_set_new(values, "source_max", json_integer(AIRA__SOURCE_MAX)) &&
              !json_object_set(values, "example_source", example ? example : json_null());
    aira__buf_free(&pattern);
    free(header);
    free(operations);
    return ok;
}

/* ---- of one node ---- */

/* "- causality: fail (...)" per check of an evaluation's metrics. */
char *aira__prompt_checks(const char *metrics) {
    json_t *all = metrics ? json_loads(metrics, 0, NULL) : NULL, *one;
    aira__buf out = {0};
    size_t i;
    json_array_foreach(json_object_get(all, "checks"), i, one)
        aira__buf_printf(&out, "%s- %s: %s%s%s", i ? "\n" : "", aira__json_string(one, "name", "?"),
                         aira__json_string(one, "verdict", "?"), *aira__json_string(one, "text", "") ? ": " : "",
                         aira__json_string(one, "text", ""));
    json_decref(all);
    return aira__buf_take(&out);
}

static char *options_text(const json_t *options) {
    aira__buf out = {0};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)options, name, value)
        aira__buf_printf(&out, "%s%s: %.6g", out.size ? "\n" : "", name, json_number_value(value));
    return aira__buf_take(&out);
}

/* Source and options of a candidate; null where it has none. */
aira_status aira__prompt_set_source(const aira__asking *asking, json_t *values, const char *prefix, const char *hash,
                                    aira_error *error) {
    char *source = NULL;
    json_t *options = NULL;
    aira_status status = aira__candidate_source(asking, hash, &source, &options, error);
    char *text = options_text(options);
    bool ok = set(values, prefix, "source", text_or_null(source)) && set(values, prefix, "options", text_or_null(text));
    free(source);
    free(text);
    json_decref(options);
    return status == AIRA_OK && !ok ? aira__fail(error, AIRA_E_MEMORY, "out of memory") : status;
}

/* ---- what is remembered and read ---- */

/* [{idx, architecture, source}] of remembered nodes: their code, as far as half of the memory's limit reaches, the
   latest first. Where memory is of all good nodes it is shown without code. */
json_t *aira__prompt_sources(const aira__asking *asking, aira__memory_kind kind, const json_t *memory,
                             aira_error *error) {
    json_t *list = json_array();
    size_t room = (size_t)asking->memory_tokens * 2;
    bool wanted = asking->design && (kind == AIRA__MEMORY_ANCESTRAL || kind == AIRA__MEMORY_SIBLING);
    for (size_t i = json_array_size(memory); list && wanted && i-- > 0;) {
        const json_t *entry = json_array_get(memory, i);
        int64_t idx = aira__json_int(entry, "idx", -1);
        char *source = NULL;
        json_t *options = NULL;
        const char *hash = idx >= 0 ? asking->tree->nodes[idx].hash : NULL;
        aira_status status = aira__candidate_source(asking, hash, &source, &options, error);
        size_t cost = source ? strlen(source) : 0;
        bool fits = source && cost <= room;
        if (fits) room -= cost;
        if (fits && json_array_insert_new(list, 0, json_pack("{s:I, s:s}", "idx", (json_int_t)idx, "source", source)))
            status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
        free(source);
        json_decref(options);
        if (status == AIRA_OK) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

/* The notes for a question: its subject is the task and what is thought of the parent. */
json_t *aira__prompt_literature(const aira__asking *asking, const aira__tree_node *node, uint32_t view) {
    aira__buf subject = {0};
    if (!asking->literature) return json_array();
    aira__buf_printf(&subject, "%s %s ", aira__json_string(asking->task, "task", ""), asking->data);
    const int64_t parents[] = {node->parent, node->other_parent};
    for (int i = 0; i < 2; i++) {
        json_t *entry = parents[i] < 0 ? NULL : aira__memory_entry(asking->memory, (uint32_t)parents[i], view);
        aira__buf_printf(&subject, "%s %s %s ", aira__json_string(entry, "plan", ""),
                         aira__json_string(entry, "analysis", ""), aira__json_string(entry, "note", ""));
        json_decref(entry);
    }
    char *text = aira__buf_take(&subject);
    json_t *shown = text ? aira__literature_choose(asking->literature, text, asking->literature_tokens) : NULL;
    free(text);
    return shown;
}
