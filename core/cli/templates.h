/* core/cli/templates.h - the files of core/cli/templates, as bytes in the program (cmake/airaTemplates.cmake). */
#ifndef AIRA_CLI_TEMPLATES_H
#define AIRA_CLI_TEMPLATES_H

typedef struct aira__template {
    const char *name; /* "primitive.c"; NULL ends the list */
    const char *text; /* with @NAME@, @TOKEN@ and @INCLUDE@ to be replaced */
} aira__template;
extern const aira__template aira__templates[];

#endif
