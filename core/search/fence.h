/* core/search/fence.h - fenced blocks of an answer, and what of an answer is no reasoning. */
#ifndef AIRA_SEARCH_FENCE_H
#define AIRA_SEARCH_FENCE_H

#include <stdbool.h>
#include <stddef.h>

/* A copy without reasoning, malloc'ed; NULL when out of memory. A <think> that is never closed takes the rest with it;
   a </think> that was never opened (some servers swallow the first tag) takes everything before it. */
char *aira__strip_reasoning(const char *text);

typedef struct aira__fence {
    char tag[24];     /* first word of its info string in lower case, cut where longer; "": none */
    const char *body; /* in the text */
    size_t size;
    bool closed; /* false: the text ends inside */
} aira__fence;
/* The next fenced block at or after *p, which moves behind it. */
bool aira__fence_next(const char **p, aira__fence *);
/* Where the first one begins, or the end of the text. */
const char *aira__fence_find(const char *text);

#endif
