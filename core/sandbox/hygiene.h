/* core/sandbox/hygiene.h - what a compiled source offers and wants: one exported function, no calls but of libm and the
 * harmless part of libc. This is for messages ("'system' is not available"), not for safety: code that wants to leave
 * makes its system calls itself, and the sandbox is there for that. */
#ifndef AIRA_SANDBOX_HYGIENE_H
#define AIRA_SANDBOX_HYGIENE_H

#include <stddef.h>

#include "core/base/error.h"

/* bytes: a shared object from somewhere; nothing in it is believed. AIRA_E_DENIED: it calls what is not available. */
aira_status aira__hygiene_check(const void *bytes, size_t n, aira_error *);

#endif
