/* core/search/sdk.c - see sdk.h. Cut from the headers themselves, so that a prompt cannot lag behind them. */
#include "core/search/sdk.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "aira/op_table.h"
#include "core/base/buf.h"

/* Adds the text from the line that begins with `from` up to the line that begins with `to`, that one included. */
static void add_part(aira__buf *out, const char *header, const char *from, const char *to) {
    const char *start = strstr(header, from), *end = start ? strstr(start, to) : NULL;
    if (!end) {
        out->failed = true; /* the header was changed and this was not: a test says so */
        return;
    }
    end = strchr(end, '\n');
    aira__buf_add(out, start, (size_t)(end - start) + 1);
}

char *aira__sdk_header(void) {
    aira__buf out = {0};
    add_part(&out, aira__header_abi, "#define AIRA_MAX_RANK", "} aira_shape;");
    aira__buf_text(&out, "\n");
    add_part(&out, aira__header_graph, "/* Attributes of a parameter.", "} aira_ops;");
    aira__buf_text(&out, "\n");
    add_part(&out, aira__header_primitive, "#define AIRA_PRIMITIVE_MIXES_TIME", "} aira_primitive;");
    return aira__buf_take(&out);
}

/* What only the host makes: leaves that have functions of their own, derivatives, updates, fused steps. */
static bool hidden(const char *name) {
    static const char *const names[] = {"PARAM",    "INPUT",    "ASSIGN", "CHAIN",  "GROUPED_WGRAD",
                                        "VARIABLE", "CONSTANT", "IOTA",   "RANDOM", "CAST"};
    if (strstr(name, "BACKWARD")) return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

char *aira__sdk_operations(void) {
    static const struct {
        const char *name, *doc;
    } rows[] = {
#define ROW(name_, code, cls, n_in, n_out, doc_) {#name_, doc_},
        AIRA_OP_TABLE(ROW)
#undef ROW
    };
    aira__buf out = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (hidden(rows[i].name)) continue;
        aira__buf_text(&out, "- `");
        for (const char *p = rows[i].name; *p; p++) {
            char c = (char)tolower((unsigned char)*p);
            aira__buf_add(&out, &c, 1);
        }
        aira__buf_printf(&out, "`: %s\n", rows[i].doc);
    }
    return aira__buf_take(&out);
}
