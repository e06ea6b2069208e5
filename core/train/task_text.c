/* core/train/task_text.c - a canonical task as a task file again, so that whatever a run scored can be scored by hand.
 *
 * The canonical form says everything, the loader refuses what has no effect: members that are null, and keys of a
 * schedule that its kind does not use, are left out. Reading the text gives the same canonical task, and so its hash.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/train/task.h"

/* The shortest text that reads back as the same number. */
static void number(aira__buf *b, double value) {
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    aira__buf_text(b, text);
    if (strpbrk(text, ".en") == NULL) aira__buf_text(b, ".0");
}

static void flow(aira__buf *b, const json_t *value) {
    const char *key, *separator = "";
    json_t *member;
    size_t i;
    if (json_is_object(value)) {
        aira__buf_text(b, "{");
        json_object_foreach((json_t *)(uintptr_t)value, key, member) {
            if (json_is_null(member)) continue;
            aira__buf_printf(b, "%s%s: ", separator, key);
            flow(b, member);
            separator = ", ";
        }
        aira__buf_text(b, "}");
    } else if (json_is_array(value)) {
        aira__buf_text(b, "[");
        json_array_foreach(value, i, member) {
            aira__buf_text(b, i > 0 ? ", " : "");
            flow(b, member);
        }
        aira__buf_text(b, "]");
    } else if (json_is_real(value)) {
        number(b, json_real_value(value));
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY); /* a string of JSON is one of YAML */
        if (text == NULL || !aira__buf_text(b, text)) b->failed = true;
        free(text);
    }
}

static void block(aira__buf *b, const char *key, const json_t *map) {
    const char *name;
    json_t *member;
    aira__buf_printf(b, "%s:\n", key);
    json_object_foreach((json_t *)(uintptr_t)map, name, member) {
        aira__buf_printf(b, "  %s: ", name);
        flow(b, member);
        aira__buf_text(b, "\n");
    }
}

static void proxy_text(aira__buf *b, const json_t *proxy) {
    static const char *const keys[] = {"name", "weight", "dataset", "backbone"};
    const char *lead = "  - ";
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(proxy, keys[i]);
        if (value == NULL || json_is_null(value)) continue;
        aira__buf_printf(b, "%s%s: ", lead, keys[i]);
        flow(b, value);
        aira__buf_text(b, "\n");
        lead = "    ";
    }
    json_t *recipe = json_deep_copy(json_object_get(proxy, "recipe")), *schedule = json_object_get(recipe, "schedule");
    const char *kind = aira__json_string(schedule, "kind", "constant");
    if (strcmp(kind, "trapezoid") != 0) json_object_del(schedule, "decay");
    if (strcmp(kind, "constant") == 0) json_object_del(schedule, "final");
    aira__buf_printf(b, "%srecipe: ", lead);
    flow(b, recipe);
    aira__buf_text(b, "\n");
    json_decref(recipe);
}

char *aira__task_text(const json_t *canonical) {
    aira__buf b = {0};
    const json_t *proxy;
    size_t i;
    aira__buf_text(&b, "task: ");
    flow(&b, json_object_get(canonical, "task"));
    aira__buf_text(&b, "\n");
    json_t *candidate = json_deep_copy(json_object_get(canonical, "candidate")), *option;
    const char *name;
    json_object_foreach(json_object_get(candidate, "configurable"), name, option) json_object_del(option, "default");
    block(&b, "candidate", candidate);
    json_decref(candidate);
    if (json_object_size(json_object_get(canonical, "tokens")) > 0)
        block(&b, "tokens", json_object_get(canonical, "tokens"));
    aira__buf_text(&b, "proxies:\n");
    json_array_foreach(json_object_get(canonical, "proxies"), i, proxy) { proxy_text(&b, proxy); }
    block(&b, "limits", json_object_get(canonical, "limits"));
    return aira__buf_take(&b);
}
