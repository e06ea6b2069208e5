/* plugins/executors/table/lookup.c - see lookup.h. */
#include "lookup.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"

#define MAX_TEXT 65536u /* of an architecture with its runs written out */

static const char *const column_names[] = {"architecture", "seed", "search", "selection", "test", "seconds"};

static uint64_t fnv(const char *bytes, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return h;
}

static aira_status fail(const lookup *made, aira_status status, const char *where, const char *what) {
    char text[1200];
    snprintf(text, sizeof text, "executor table: %.800s: %.380s", where, what);
    return made->host->fail(made->host, status, text);
}

static aira_status fail_line(const lookup *made, uint32_t line, const char *what) {
    char where[900];
    snprintf(where, sizeof where, "%.800s:%" PRIu32, made->path, line);
    return fail(made, AIRA_E_CONFIG, where, what);
}

/* ---- reading the table ---- */

/* "2mA M" to "mA mA M"; 0 when it is no such thing. */
static int write_out(const char *text, char key[MAX_TEXT]) {
    size_t used = 0;
    for (;;) {
        text += strspn(text, " ");
        if (*text == 0) break;
        char *end = NULL;
        unsigned long count = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 1;
        if (end) text = end;
        size_t n = strcspn(text, " ");
        if (n == 0 || count == 0 || count > MAX_TEXT) return 0;
        for (; count--; used += n + 1) {
            if (used + n + 2 > MAX_TEXT) return 0;
            memcpy(key + used, text, n);
            key[used + n] = ' ';
        }
        text += n;
    }
    if (used) key[used - 1] = 0;
    return used > 0;
}

static const lookup_row *find(const lookup *made, const char *key, uint64_t seed, int any_seed) {
    uint32_t at = made->buckets[fnv(key, strlen(key)) & (made->n_buckets - 1)];
    for (; at; at = made->rows[at - 1].next) {
        const lookup_row *r = &made->rows[at - 1];
        if (r->any_seed == any_seed && (any_seed || r->seed == seed) && !strcmp(r->key, key)) return r;
    }
    return NULL;
}

/* Cuts a line at its commas into at most max cells without blanks around them; their number. */
static int split(char *line, char **cells, int max) {
    int n = 0;
    for (char *at = line; at && n < max; n++) {
        char *comma = strchr(at, ',');
        if (comma) *comma = 0;
        at += strspn(at, " \t");
        size_t length = strlen(at);
        while (length && strchr(" \t\r", at[length - 1])) at[--length] = 0;
        cells[n] = at;
        at = comma ? comma + 1 : NULL;
    }
    return n;
}

static aira_status read_header(const lookup *made, uint32_t line, char **cells, int n, int *column) {
    for (int c = 0; c < N_COLUMNS; c++) {
        column[c] = -1;
        for (int i = 0; i < n; i++)
            if (!strcmp(cells[i], column_names[c])) column[c] = i;
    }
    if (column[ARCHITECTURE] < 0 || column[SEARCH] < 0)
        return fail_line(made, line,
                         "the first line must name the columns architecture and search (and may name seed, "
                         "selection, test, seconds)");
    return AIRA_OK;
}

static int read_number(const char *cell, double *value) {
    char *end = NULL;
    *value = NAN;
    if (*cell == 0) return 1;
    *value = strtod(cell, &end);
    return *end == 0;
}

static aira_status read_row(lookup *made, uint32_t line, char **cells, int n, const int *column, char *key) {
    lookup_row *r = &made->rows[made->n_rows];
    const char *seed = column[SEED] >= 0 && column[SEED] < n ? cells[column[SEED]] : "";
    char *end = NULL;
    *r = (lookup_row){.line = line, .any_seed = *seed == 0};
    for (int c = 0; c < N_COLUMNS; c++) r->value[c] = NAN;
    if (column[ARCHITECTURE] >= n || !write_out(cells[column[ARCHITECTURE]], key))
        return fail_line(made, line, "the architecture is not in run-length notation with blanks, such as 2mA 4M");
    errno = 0;
    if (*seed) r->seed = strtoull(seed, &end, 10);
    if (*seed && (*end || *seed == '-' || errno)) return fail_line(made, line, "the seed is not a whole number");
    for (int c = SEARCH; c < N_COLUMNS; c++)
        if (column[c] >= 0 && column[c] < n && !read_number(cells[column[c]], &r->value[c]))
            return fail_line(made, line, "a score or time is not a number");
    if (find(made, key, r->seed, r->any_seed))
        return fail_line(made, line, "the table has this architecture and seed already");
    size_t length = strlen(key);
    r->key = made->host->alloc(made->host, length + 1);
    if (!r->key) return fail(made, AIRA_E_MEMORY, made->path, "out of memory");
    memcpy(r->key, key, length + 1);
    uint32_t *bucket = &made->buckets[fnv(key, length) & (made->n_buckets - 1)];
    r->next = *bucket;
    *bucket = ++made->n_rows;
    return AIRA_OK;
}

static aira_status read_lines(lookup *made, char *text, char *key) {
    char *cells[64];
    int column[N_COLUMNS], header = 0;
    uint32_t line = 0;
    aira_status status = AIRA_OK;
    for (char *at = text; at && status == AIRA_OK;) {
        char *newline = strchr(at, '\n');
        if (newline) *newline = 0;
        line++;
        if (*at != '#' && at[strspn(at, " \t\r")]) {
            int n = split(at, cells, 64);
            status = header ? read_row(made, line, cells, n, column, key) : read_header(made, line, cells, n, column);
            header = 1;
        }
        at = newline ? newline + 1 : NULL;
    }
    if (status == AIRA_OK && made->n_rows == 0) return fail(made, AIRA_E_CONFIG, made->path, "the table has no rows");
    return status;
}

char *lookup_read_file(const aira_host *host, const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    long n = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    char *text = n >= 0 ? host->alloc(host, (uint64_t)n + 1) : NULL, why[900];
    bool good = text && fseek(file, 0, SEEK_SET) == 0 && fread(text, 1, (size_t)n, file) == (size_t)n;
    snprintf(why, sizeof why, "executor table: %.800s: %.80s", path, n < 0 ? strerror(errno) : "cannot be read");
    if (file) (void)fclose(file); /* only read */
    if (good) {
        *size = (size_t)n;
        return text;
    }
    (void)host->fail(host, AIRA_E_IO, why);
    host->release(host, text);
    return NULL;
}

/* The n-th row of an architecture, the latest line first; n may be too large: *count is how many there are. */
static const lookup_row *row_of(const lookup *made, const char *key, uint32_t n, uint32_t *count) {
    const lookup_row *found = NULL;
    *count = 0;
    for (uint32_t at = made->buckets[fnv(key, strlen(key)) & (made->n_buckets - 1)]; at; at = made->rows[at - 1].next)
        if (!strcmp(made->rows[at - 1].key, key) && (*count)++ == n) found = &made->rows[at - 1];
    return found;
}

const lookup_row *lookup_find(const lookup *made, const char *key, uint64_t seed, int drawn) {
    const lookup_row *row = find(made, key, seed, 0);
    uint32_t n = 0;
    if (!row) row = find(made, key, 0, 1);
    if (row || !drawn) return row;
    (void)row_of(made, key, 0, &n);
    return n ? row_of(made, key, (uint32_t)(aira_key(seed, key) % n), &n) : NULL;
}

aira_status lookup_load(const aira_host *host, const char *path, lookup *made) {
    *made = (lookup){.host = host, .path = path};
    size_t size = 0;
    uint64_t lines = 1;
    char *text = lookup_read_file(host, path, &size);
    if (!text) return AIRA_E_IO;
    made->hash = fnv(text, size);
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    for (made->n_buckets = 64; made->n_buckets < 2 * lines && made->n_buckets < 1u << 30;) made->n_buckets *= 2;
    made->rows = host->alloc(host, lines * sizeof *made->rows);
    made->buckets = host->alloc(host, made->n_buckets * sizeof *made->buckets);
    char *key = host->alloc(host, MAX_TEXT);
    aira_status status = made->rows && made->buckets && key ? read_lines(made, text, key)
                                                            : fail(made, AIRA_E_MEMORY, made->path, "out of memory");
    host->release(host, key);
    host->release(host, text);
    return status;
}

void lookup_release(lookup *made) {
    for (uint32_t i = 0; i < made->n_rows; i++) made->host->release(made->host, made->rows[i].key);
    made->host->release(made->host, made->rows);
    made->host->release(made->host, made->buckets);
    *made = (lookup){0};
}
