/* core/check/mechanism.c - see mechanism.h: the checks of a primitive, asked by a task. */
#include "core/check/mechanism.h"

#include <stdio.h>
#include <string.h>

static void begin(void *context, const char *name) {
    (void)context;
    (void)name;
}

static void take(void *context, const char *name, aira__verdict verdict, const char *text) {
    aira__check_report *report = context;
    if (verdict == AIRA_CHECK_FAIL) report->passed = false;
    if (report->n == (int)(sizeof report->lines / sizeof *report->lines)) return;
    aira__check_line *line = &report->lines[report->n++];
    snprintf(line->name, sizeof line->name, "%s", name);
    snprintf(line->text, sizeof line->text, "%s", text);
    line->verdict = verdict;
}

static void check_all(const aira__subject *s, const aira__layer *layer) {
    int64_t width = aira__check_shapes(s, layer);
    if (!width) return;
    if (!s->place->weights) {
        aira__check_purity(s, layer, width);
        aira__check_gradient(s, layer, width);
    }
    aira__check_leaks(s, layer, width);
    if (!s->place->weights) aira__check_cost(s, layer, width);
    aira__check_places(s, layer);
}

aira_status aira__check_mechanism(aira__registry *registry, const aira__mechanism_options *options,
                                  aira__check_report *report, aira_error *error) {
    const aira__check_sink sink = {report, begin, take};
    const aira__check_options none = {0};
    aira__subject s = {.place = options, .registry = registry, .options = &none, .sink = &sink};
    memset(report, 0, sizeof *report);
    report->passed = true;
    snprintf(report->path, sizeof report->path, "%s", options->layer->token);
    aira_status status = aira__lab_open(registry, &s.lab, error);
    if (status) return status;
    check_all(&s, options->layer);
    aira__lab_close(&s.lab);
    return AIRA_OK;
}

void aira__check_message(const aira__check_report *report, char *text, size_t size) {
    text[0] = 0;
    for (int k = 0; k < report->n && !text[0]; k++) {
        const aira__check_line *line = &report->lines[k];
        if (line->verdict == AIRA_CHECK_FAIL) snprintf(text, size, "%s: %s", line->name, line->text);
    }
}
