/* core/base/buf.c - see buf.h */
#include "core/base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for n more bytes and the closing zero. */
static bool reserve(aira__buf *buf, size_t n) {
    if (buf->failed) return false;
    if (n > SIZE_MAX / 4 || buf->size > SIZE_MAX / 4) return !(buf->failed = true);
    size_t need = buf->size + n + 1;
    if (need <= buf->capacity) return true;
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need) capacity *= 2;
    char *data = realloc(buf->data, capacity);
    if (data == NULL) return !(buf->failed = true);
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

bool aira__buf_add(aira__buf *buf, const void *bytes, size_t n) {
    if (!reserve(buf, n)) return false;
    if (n > 0) memcpy(buf->data + buf->size, bytes, n);
    buf->size += n;
    buf->data[buf->size] = 0;
    return true;
}

bool aira__buf_text(aira__buf *buf, const char *text) { return aira__buf_add(buf, text, strlen(text)); }

bool aira__buf_printf(aira__buf *buf, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    bool ok = n >= 0 && reserve(buf, (size_t)n);
    if (ok) {
        vsnprintf(buf->data + buf->size, (size_t)n + 1, format, again);
        buf->size += (size_t)n;
    }
    va_end(again);
    if (!ok) buf->failed = true;
    return ok;
}

char *aira__buf_take(aira__buf *buf) {
    if (!reserve(buf, 0)) {
        aira__buf_free(buf);
        return NULL;
    }
    char *data = buf->data;
    data[buf->size] = 0;
    *buf = (aira__buf){0};
    return data;
}

void aira__buf_free(aira__buf *buf) {
    free(buf->data);
    *buf = (aira__buf){0};
}
