/* core/compose/notation.h - architectures as text: `2mA 4M`, `2mA4M`, `mA M`.
 *
 * A token is a letter followed by letters or digits. A count (1 .. ) may stand before a token and repeats it. Blanks
 * separate and are optional where the text stays readable without them: with a known alphabet a token is the longest
 * one that fits, so `MmAM` is M mA M. Without an alphabet a token reaches as far as letters and digits do.
 *
 * Layers are indices into the alphabet. Positions in messages are bytes counted from 1. Pure, [any thread].
 */
#ifndef AIRA_COMPOSE_NOTATION_H
#define AIRA_COMPOSE_NOTATION_H

#include <stdbool.h>

#include "core/base/error.h"

#define AIRA__NOTATION_MAX 4096 /* layers, for callers without a limit of their own */

/* True for a letter followed by letters or digits. */
bool aira__token_valid(const char *token);

/* Writes at most max layers and their number. AIRA_E_CONFIG with a sentence that names the position, the accepted
   tokens and the nearest one; layers and *n are then unspecified. */
aira_status aira__notation_parse(const char *text, const char *const *tokens, int n_tokens, uint16_t *layers, int max,
                                 int *n, aira_error *);

/* Run-length form, counts of 1 omitted: "2mA 4M". malloc'ed; NULL when out of memory. n may be 0: "". */
char *aira__notation_format(const uint16_t *layers, int n, const char *const *tokens);

/* An architecture whose alphabet is not known: the tokens in order of first appearance. */
typedef struct aira__notation {
    char **tokens;
    uint16_t *layers;
    int n_tokens, n;
} aira__notation;
aira_status aira__notation_parse_any(const char *text, aira__notation *out, aira_error *);
void aira__notation_release(aira__notation *); /* frees what out holds; accepts a zeroed one */

#endif
