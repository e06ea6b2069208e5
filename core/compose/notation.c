/* core/compose/notation.c - reads and writes the run-length form of an architecture; see notation.h.
 *
 * One scanner serves both parsers. It walks the text once and yields runs (count, token text); what a token is, is the
 * only thing in which a known and an unknown alphabet differ. Invariant: the number of layers never passes the
 * caller's limit, so a count such as 99999999999 costs nothing.
 */
#include "core/compose/notation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config/config.h"

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool aira__token_valid(const char *token) {
    if (!is_letter(token[0])) return false;
    while (is_letter(*token) || is_digit(*token)) token++;
    return *token == 0;
}

typedef struct scanner {
    const char *text, *at;
    int max; /* layers */
    int n;   /* layers so far, the current run included */
} scanner;

static int position(const scanner *s) { return (int)(s->at - s->text) + 1; }

static aira_status unexpected(const scanner *s, aira_error *error) {
    unsigned char c = (unsigned char)*s->at;
    char shown[8];
    if (c >= 0x21 && c < 0x7f)
        snprintf(shown, sizeof shown, "`%c`", c);
    else
        snprintf(shown, sizeof shown, "\\x%02x", c);
    return aira__fail(error, AIRA_E_CONFIG,
                      "unexpected character %s at position %d of the architecture: write counts and tokens, such as "
                      "`2mA 4M`",
                      shown, position(s));
}

/* Reads blanks and a count up to a letter. *count is 0 at the end of the text. */
static aira_status next_count(scanner *s, int *count, aira_error *error) {
    while (is_blank(*s->at)) s->at++;
    *count = *s->at ? 1 : 0;
    if (!*s->at) return AIRA_OK;
    const char *start = s->at;
    if (is_digit(*s->at)) {
        int value = 0;
        for (; is_digit(*s->at); s->at++)
            if (value <= s->max) value = value > s->max / 10 ? s->max + 1 : 10 * value + (*s->at - '0');
        int digits = (int)(s->at - start);
        if (value == 0)
            return aira__fail(error, AIRA_E_CONFIG,
                              "count %.*s at position %d of the architecture: a count is at least 1",
                              digits > 20 ? 20 : digits, start, (int)(start - s->text) + 1);
        *count = value;
        while (is_blank(*s->at)) s->at++;
        if (!*s->at)
            return aira__fail(error, AIRA_E_CONFIG,
                              "count %.*s at position %d of the architecture has no token after it",
                              digits > 20 ? 20 : digits, start, (int)(start - s->text) + 1);
    }
    if (!is_letter(*s->at)) return unexpected(s, error);
    if (*count > s->max - s->n)
        return aira__fail(error, AIRA_E_CONFIG,
                          "the architecture has more than %d layers, the limit here (at position %d)", s->max,
                          (int)(start - s->text) + 1);
    s->n += *count;
    return AIRA_OK;
}

static size_t word_length(const char *at) {
    size_t n = 0;
    while (is_letter(at[n]) || is_digit(at[n])) n++;
    return n;
}

static aira_status unknown_token(const scanner *s, const char *const *tokens, int n_tokens, aira_error *error) {
    char word[32], list[512] = "";
    size_t length = word_length(s->at), used = 0;
    if (length >= sizeof word) length = sizeof word - 1;
    memcpy(word, s->at, length);
    word[length] = 0;
    for (int i = 0; i < n_tokens; i++) {
        int wrote = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", tokens[i]);
        if (wrote < 0 || (size_t)wrote >= sizeof list - used)
            break; /* a long list is cut, the message stays one line */
        used += (size_t)wrote;
    }
    const char *near = aira__nearest(word, tokens, n_tokens);
    return aira__fail(error, AIRA_E_CONFIG,
                      "unknown token `%s` at position %d of the architecture; the tokens here are %s%s%s%s", word,
                      position(s), list, near ? " (did you mean `" : "", near ? near : "", near ? "`?)" : "");
}

/* The longest token at the scanner, or -1. */
static int longest_match(const char *at, const char *const *tokens, int n_tokens) {
    int best = -1;
    size_t best_length = 0;
    for (int i = 0; i < n_tokens; i++) {
        size_t length = strlen(tokens[i]);
        if (length > best_length && strncmp(at, tokens[i], length) == 0) {
            best = i;
            best_length = length;
        }
    }
    return best;
}

static aira_status empty(const char *const *tokens, int n_tokens, aira_error *error) {
    return aira__fail(error, AIRA_E_CONFIG, "the architecture is empty: write counts and tokens, such as `2%s`",
                      n_tokens > 0 ? tokens[0] : "mA 4M");
}

aira_status aira__notation_parse(const char *text, const char *const *tokens, int n_tokens, uint16_t *layers, int max,
                                 int *n, aira_error *error) {
    scanner s = {.text = text, .at = text, .max = max < 0 ? 0 : max};
    for (;;) {
        int count, before = s.n;
        aira_status status = next_count(&s, &count, error);
        if (status) return status;
        if (count == 0) break;
        int token = longest_match(s.at, tokens, n_tokens);
        if (token < 0) return unknown_token(&s, tokens, n_tokens, error);
        s.at += strlen(tokens[token]);
        for (int i = before; i < s.n; i++) layers[i] = (uint16_t)token;
    }
    *n = s.n;
    return s.n ? AIRA_OK : empty(tokens, n_tokens, error);
}

/* Index of the word among out's tokens, added if new; -1 when out of memory. */
static int intern(aira__notation *out, const char *word, size_t length) {
    for (int i = 0; i < out->n_tokens; i++)
        if (strlen(out->tokens[i]) == length && memcmp(out->tokens[i], word, length) == 0) return i;
    char **grown = realloc(out->tokens, (size_t)(out->n_tokens + 1) * sizeof *grown);
    if (!grown) return -1;
    out->tokens = grown;
    char *copy = malloc(length + 1);
    if (!copy) return -1;
    memcpy(copy, word, length);
    copy[length] = 0;
    out->tokens[out->n_tokens] = copy;
    return out->n_tokens++;
}

aira_status aira__notation_parse_any(const char *text, aira__notation *out, aira_error *error) {
    scanner s = {.text = text, .at = text, .max = AIRA__NOTATION_MAX};
    aira_status status = AIRA_OK;
    *out = (aira__notation){0};
    out->layers = malloc(AIRA__NOTATION_MAX * sizeof *out->layers);
    if (!out->layers) status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reading an architecture");
    while (!status) {
        int count, before = s.n;
        status = next_count(&s, &count, error);
        if (status || count == 0) break;
        size_t length = word_length(s.at);
        int token = intern(out, s.at, length);
        if (token < 0) status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reading an architecture");
        s.at += length;
        for (int i = before; !status && i < s.n; i++) out->layers[i] = (uint16_t)token;
    }
    if (!status && s.n == 0) status = empty(NULL, 0, error);
    out->n = s.n;
    if (status) aira__notation_release(out);
    return status;
}

void aira__notation_release(aira__notation *out) {
    for (int i = 0; i < out->n_tokens; i++) free(out->tokens[i]);
    free(out->tokens);
    free(out->layers);
    *out = (aira__notation){0};
}

char *aira__notation_format(const uint16_t *layers, int n, const char *const *tokens) {
    size_t size = 1;
    for (int i = 0; i < n; i++) size += strlen(tokens[layers[i]]) + 12;
    char *text = malloc(size), *at = text;
    if (!text) return NULL;
    *at = 0;
    for (int i = 0; i < n;) {
        int run = 1;
        while (i + run < n && layers[i + run] == layers[i]) run++;
        const char *blank = i ? " " : "", *token = tokens[layers[i]];
        size_t left = size - (size_t)(at - text);
        at += run == 1 ? snprintf(at, left, "%s%s", blank, token) : snprintf(at, left, "%s%d%s", blank, run, token);
        i += run;
    }
    return text;
}
