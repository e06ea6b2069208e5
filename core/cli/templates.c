/* core/cli/templates.c - files made of the templates in core/cli/templates; see templates.h. */
#include "core/cli/templates.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/buf.h"
#include "core/base/fs.h"

const aira__template *aira__template_find(const char *name) {
    for (const aira__template *t = aira__templates; t->name != NULL; t++)
        if (strcmp(t->name, name) == 0) return t;
    return NULL;
}

/* "gated_shift" gives "GatedShift". */
static void make_token(const char *name, char token[16]) {
    size_t n = 0;
    bool up = true;
    for (; *name != 0 && n < 15; name++) {
        if (*name != '_') token[n++] = (char)(up ? toupper((unsigned char)*name) : *name);
        up = *name == '_';
    }
    token[n] = 0;
}

/* Where the SDK's headers are: of the installed program, or of the source tree that it was built in. */
static void find_include(char include[PATH_MAX]) {
    static const char *const places[] = {"../include", "../../include"};
    char program[PATH_MAX], path[PATH_MAX + 64];
    aira_error ignored;
    snprintf(include, PATH_MAX, "/usr/include");
    if (aira__program_dir(program, sizeof program, &ignored) != AIRA_OK) return;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char real[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s/aira/plugin.h", program, places[i]);
        if (!aira__file_exists(path)) continue;
        snprintf(path, sizeof path, "%s/%s", program, places[i]);
        if (realpath(path, real) == NULL) continue;
        snprintf(include, PATH_MAX, "%s", real);
        return;
    }
}

static char *fill_in(const char *text, const aira__template_words *w) {
    const char *const keys[] = {"@NAME@", "@TOKEN@", "@INCLUDE@"}, *const values[] = {w->name, w->token, w->include};
    aira__buf out = {0};
    while (*text != 0) {
        int k = 0;
        while (k < 3 && strncmp(text, keys[k], strlen(keys[k])) != 0) k++;
        if (k < 3) {
            aira__buf_text(&out, values[k]);
            text += strlen(keys[k]);
        } else {
            aira__buf_add(&out, text++, 1);
        }
    }
    return aira__buf_take(&out);
}

void aira__template_open(aira__template_words *w, const char *name) {
    w->name = name;
    make_token(name, w->token);
    find_include(w->include);
}

aira_status aira__template_write(const char *folder, const char *name, const aira__template *from,
                                 const aira__template_words *w, bool executable, aira_error *error) {
    char path[PATH_MAX], *text = fill_in(from->text, w);
    if (text == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    snprintf(path, sizeof path, "%s/%s", folder, name);
    aira_status status = aira__file_write_atomic(path, text, strlen(text), error);
    free(text);
    if (status == AIRA_OK && chmod(path, executable ? 0755 : 0644) != 0)
        status = aira__fail(error, AIRA_E_IO, "%s: %s", path, strerror(errno));
    return status;
}
