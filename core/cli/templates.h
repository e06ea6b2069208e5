/* core/cli/templates.h - the files of core/cli/templates, as bytes in the program (cmake/airaTemplates.cmake), and
 * files made of them.
 */
#ifndef AIRA_CLI_TEMPLATES_H
#define AIRA_CLI_TEMPLATES_H

#include <limits.h>
#include <stdbool.h>

#include "core/base/error.h"

typedef struct aira__template {
    const char *name; /* "primitive.c"; NULL ends the list */
    const char *text; /* with @NAME@, @TOKEN@ and @INCLUDE@ to be replaced */
} aira__template;
extern const aira__template aira__templates[];

const aira__template *aira__template_find(const char *name); /* NULL: there is none */

typedef struct aira__template_words {
    const char *name;       /* of the plugin, borrowed */
    char token[16];         /* made of it: "gated_shift" gives "GatedShift" */
    char include[PATH_MAX]; /* where the SDK's headers are: of the installed program, or of the tree it was built in */
} aira__template_words;
void aira__template_open(aira__template_words *, const char *name);
aira_status aira__template_write(const char *folder, const char *name, const aira__template *,
                                 const aira__template_words *, bool executable, aira_error *);

#endif
