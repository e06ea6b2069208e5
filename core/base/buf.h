/* core/base/buf.h - a growing byte buffer, for text and binary alike.
 *
 * A failed allocation is remembered in `failed` instead of being reported at each call: add everything, then look once
 * (aira__buf_take gives NULL). The content is always followed by a zero byte, which size does not count, so that data
 * can be read as text. Start from zeros: aira__buf b = {0}.
 */
#ifndef AIRA_BASE_BUF_H
#define AIRA_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

typedef struct aira__buf {
    char *data; /* NULL until something was added */
    size_t size, capacity;
    bool failed; /* out of memory at some point: content is not complete */
} aira__buf;

/* Appends n bytes. false: out of memory, now or earlier. */
bool aira__buf_add(aira__buf *, const void *bytes, size_t n);
bool aira__buf_text(aira__buf *, const char *text); /* up to its zero byte */
bool aira__buf_printf(aira__buf *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The content, malloc'ed and zero-terminated ("" if nothing was added); the caller frees. NULL if anything failed. The
   buffer is empty afterwards. */
char *aira__buf_take(aira__buf *);
void aira__buf_free(aira__buf *); /* empties it; may be used again */

#endif
