/* plugins/executors/table/table.c - evaluations answered from a table: tabular benchmarks, nothing is trained.
 *
 * The table is a CSV file (lookup.h). A row without a search score is an evaluation that failed, and so is a missing
 * row. A lease is answered while it is submitted, with result files as a worker writes them, but not flushed to disk:
 * what a crash takes is answered again (AIRA_EXECUTOR_ANSWERS).
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "aira/executor.h"
#include "aira/ext/json.h"
#include "lookup.h"

#define LEASES 16
#define PATH_SIZE 4096

typedef struct table {
    const char *path;
    int32_t seeds;
} table;

enum { EXACT, DRAWN };
static const char *const seed_names[] = {"exact", "drawn", NULL};

static const aira_field fields[] = {
    {"path", "CSV file with the columns architecture, seed, search, selection, test, seconds", AIRA_T_PATH,
     AIRA_REQUIRED, (uint32_t)offsetof(table, path), 0, 0, 0, 0, NULL, NULL},
    AIRA_F_CHOICE(table, seeds, seed_names, EXACT,
                  "a seed without a row: exact, the evaluation fails; drawn, one of the architecture's rows by hash"),
};
static const aira_schema schema = AIRA_SCHEMA(table, fields);

typedef struct instance {
    const aira_host *host;
    const aira_json_service *json;
    lookup rows;
    int drawn;
} instance;

typedef struct answers { /* a lease being answered */
    const instance *made;
    const char *folder;
    const aira_json *lease;
} answers;

static aira_status fail(const instance *made, const char *where, const char *what) {
    char text[1200];
    snprintf(text, sizeof text, "executor table: %.800s: %.300s", where, what);
    return made->host->fail(made->host, AIRA_E_IO, text);
}

/* ---- one result ---- */

/* "evaluations.<i>.<member>" */
static const char *place(char text[64], int64_t i, const char *member) {
    snprintf(text, 64, "evaluations.%" PRId64 ".%s", i, member);
    return text;
}

static const char *text_at(const answers *a, int64_t i, const char *member) {
    char path[64];
    return a->made->json->text(a->made->json, a->lease, place(path, i, member), NULL);
}

static int64_t count_at(const answers *a, int64_t i, const char *member) {
    char path[64];
    return a->made->json->count(a->made->json, a->lease, place(path, i, member));
}

/* The layers with blanks between, host->alloc'ed; NULL after host->fail. */
static char *read_key(const answers *a, int64_t i) {
    const aira_host *host = a->made->host;
    int64_t n = count_at(a, i, "layers");
    size_t size = 1;
    char member[32], *key = NULL;
    for (int pass = 0; pass < 2; pass++) { /* measure, write */
        size_t used = 0;
        for (int64_t k = 0; k < n; k++) {
            snprintf(member, sizeof member, "layers.%" PRId64, k);
            const char *token = text_at(a, i, member);
            if (!token) break;
            if (key) used += (size_t)snprintf(key + used, size - used, "%s%s", k ? " " : "", token);
            size += pass ? 0 : strlen(token) + 1;
        }
        if (!key && !(key = host->alloc(host, size))) {
            (void)host->fail(host, AIRA_E_MEMORY, "executor table: out of memory");
            return NULL;
        }
    }
    return key;
}

static void number(char *text, size_t size, double value) {
    if (isfinite(value))
        snprintf(text, size, "%.17g", value);
    else
        snprintf(text, size, "null");
}

/* {"search": x, "selection": y} of the splits that are asked for. */
static void scores(const answers *a, int64_t i, const lookup_row *r, char text[256]) {
    static const char *const names[] = {"search", "selection", "test"};
    size_t used = 0;
    char member[32], value[40];
    for (int64_t k = 0; k < count_at(a, i, "splits") && k < 3; k++) {
        snprintf(member, sizeof member, "splits.%" PRId64, k);
        const char *split = text_at(a, i, member);
        for (int s = 0; split && s < 3; s++) {
            if (strcmp(split, names[s])) continue;
            number(value, sizeof value, r->value[SEARCH + s]);
            used += (size_t)snprintf(text + used, 256 - used, "%s\"%s\":%s", used ? "," : "", split, value);
        }
    }
    text[used] = 0;
}

/* The result as text, host->alloc'ed; NULL after host->fail. */
static char *result_text(const answers *a, int64_t i, const char *id, const char *key, uint64_t seed) {
    const instance *made = a->made;
    const lookup_row *r = lookup_find(&made->rows, key, seed, made->drawn);
    char sentence[1200], all[256] = "", seconds[40];
    bool good = r && isfinite(r->value[SEARCH]);
    if (!r)
        snprintf(sentence, sizeof sentence, "%.400s has no row for \"%.400s\" with seed %" PRIu64, made->rows.path, key,
                 seed);
    else
        snprintf(sentence, sizeof sentence, "%.400s:%" PRIu32 " has no search score", made->rows.path, r->line);
    if (good) scores(a, i, r, all);
    number(seconds, sizeof seconds, r && isfinite(r->value[SECONDS]) ? r->value[SECONDS] : 0);
    char *error = made->json->quote(made->json, sentence, strlen(sentence)), *text = NULL;
    size_t size = error ? strlen(error) + strlen(id) + 1024 : 0;
    if (error) text = made->host->alloc(made->host, size);
    if (text)
        snprintf(text, size,
                 "{\"version\":1,\"id\":\"%s\",\"status\":\"%s\",\"error\":%s,\"cause\":%s,\"scores\":{%s},"
                 "\"metrics\":{},\"proxies\":[],\"parameters\":null,\"flops\":null,\"seconds\":%s,\"steps\":null,"
                 "\"hashes\":{\"program\":null,\"task\":null,\"data\":\"fnv1a64:%016" PRIx64 "\",\"plugins\":{}}}\n",
                 id, good ? "ok" : "failed", good ? "null" : error, good ? "null" : "\"data\"", all, seconds,
                 made->rows.hash);
    made->host->release(made->host, error);
    if (!text) (void)made->host->fail(made->host, AIRA_E_MEMORY, "executor table: out of memory");
    return text;
}

/* ---- a lease ---- */

static int file_of(const answers *a, const char *id, const char *suffix, char path[PATH_SIZE]) {
    int n = snprintf(path, PATH_SIZE, "%s/%s%s", a->folder, id, suffix);
    return n > 0 && n < PATH_SIZE;
}

static aira_status write_file(const instance *made, const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    int good = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0) good = 0;
    return good ? AIRA_OK : fail(made, path, strerror(errno));
}

/* Written under a temporary name: a kill in between leaves no half result. */
static aira_status answer(const answers *a, int64_t i) {
    const instance *made = a->made;
    const char *id = text_at(a, i, "id");
    char path[PATH_SIZE], temporary[PATH_SIZE], member[64];
    if (!id || !*id || strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != strlen(id))
        return fail(made, a->folder, "lease.json holds an evaluation without a usable id");
    if (!file_of(a, id, ".json", path) || !file_of(a, id, ".json.tmp", temporary))
        return fail(made, a->folder, "the path is too long");
    uint64_t seed = (uint64_t)made->json->integer(made->json, a->lease, place(member, i, "seed"), 0);
    char *key = read_key(a, i), *text = key ? result_text(a, i, id, key, seed) : NULL;
    aira_status status = text ? write_file(made, temporary, text) : AIRA_E_MEMORY;
    if (status == AIRA_OK && rename(temporary, path) != 0) status = fail(made, path, strerror(errno));
    made->host->release(made->host, key);
    made->host->release(made->host, text);
    return status;
}

static aira_status answer_all(const answers *a) {
    int64_t n = a->made->json->count(a->made->json, a->lease, "evaluations");
    aira_status status = n < 0 ? fail(a->made, a->folder, "lease.json has no evaluations") : AIRA_OK;
    for (int64_t i = 0; i < n && status == AIRA_OK; i++) status = answer(a, i);
    return status;
}

static uint32_t capacity(void *self) {
    (void)self;
    return LEASES;
}

static aira_status submit(void *self, const aira_lease *lease, uint64_t *handle) {
    const instance *made = self;
    char path[PATH_SIZE];
    size_t n = 0;
    answers a = {made, lease->folder, NULL};
    if (!file_of(&a, "lease", ".json", path)) return fail(made, lease->folder, "the path is too long");
    char *text = lookup_read_file(made->host, path, &n);
    if (!text) return AIRA_E_IO;
    aira_json *parsed = made->json->parse(made->json, text, n);
    a.lease = parsed;
    aira_status status = parsed ? answer_all(&a) : AIRA_E_CORRUPT;
    made->json->release(made->json, parsed);
    made->host->release(made->host, text);
    *handle = 0;
    return status;
}

static aira_status poll_lease(void *self, uint64_t handle, aira_lease_state *out) {
    (void)self;
    (void)handle;
    out->state = AIRA_LEASE_DONE; /* it was answered before submit returned */
    out->exit_status = 0;
    out->signal = 0;
    out->text[0] = 0;
    return AIRA_OK;
}

static aira_status cancel(void *self, uint64_t handle) {
    (void)self;
    (void)handle;
    return AIRA_OK;
}

static void forget(void *self, uint64_t handle) {
    (void)self;
    (void)handle;
}

/* ---- the instance ---- */

static void destroy(void *self) {
    instance *made = self;
    if (!made) return;
    lookup_release(&made->rows);
    made->host->release(made->host, made);
}

static aira_status create(const aira_host *host, const void *config, void **self) {
    const aira_json_service *json = host->service(host, AIRA_SERVICE_JSON);
    if (!json)
        return host->fail(host, AIRA_E_UNSUPPORTED, "executor table: this host reads no JSON (" AIRA_SERVICE_JSON ")");
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "executor table: out of memory");
    made->host = host;
    made->json = json;
    made->drawn = ((const table *)config)->seeds == DRAWN;
    aira_status status = lookup_load(host, ((const table *)config)->path, &made->rows);
    if (status == AIRA_OK)
        *self = made;
    else
        destroy(made);
    return status;
}

static const aira_executor executor = {
    sizeof(aira_executor), AIRA_EXECUTOR_ANSWERS, capacity, submit, poll_lease, cancel, forget};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("executor", aira_executor, &executor, "table", "1.0.0",
                                                          "Scores from a CSV table; nothing is trained", &schema),
                                   .create = create, .destroy = destroy};
AIRA_MANIFEST("executor", "table", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
