/* core/sandbox/compile.h - from source to shared object, inside the sandbox, and from compiler output to a short
 * message. Used by foreign.c. */
#ifndef AIRA_SANDBOX_COMPILE_H
#define AIRA_SANDBOX_COMPILE_H

#include "core/sandbox/foreign.h"

typedef struct aira__compiled {
    void *object; /* malloc'ed bytes of the shared object */
    size_t n;
    char key[65]; /* hash of source, headers, compiler and flags */
    double seconds, confinement;
    bool cached;
} aira__compiled;

/* *ended: what the sandbox stopped the compiler for, if it did. */
aira_status aira__compile_source(const char *source, size_t n, const aira__foreign_options *, aira__compiled *,
                                 aira__sandbox_cause *ended, aira_error *);

/* The first errors of a compiler with the lines of the source that they are about; text of headers, paths and lines
   that are not the source's do not appear. name: what the source is called. */
void aira__compile_message(const char *output, const char *source, const char *name, char *text, size_t size);

#endif
