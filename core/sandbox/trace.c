/* core/sandbox/trace.c - see trace.h. */
#include "core/sandbox/trace.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/plugin/cache.h"
#include "core/plugin/helper.h"
#include "core/sandbox/trace_child.h"

#define HEAD_BYTES ((uint64_t)2 << 20)
#define REPLY_BYTES ((int64_t)32 << 20)

/* --- asking
 * ------------------------------------------------------------------------------------------------------------ */

/* Text from inside: printable, one line, short. */
static const char *tame(const char *text, char *to, size_t size) {
    size_t n = 0;
    for (; text[n] != 0 && n + 1 < size; n++) to[n] = isprint((unsigned char)text[n]) ? text[n] : ' ';
    to[n] = 0;
    return to;
}

static aira_status run_child(const aira__trace_source *s, const char *input, char **bytes, size_t *n,
                             aira__trace_cost *cost, aira_error *error) {
    static const char *const argv[] = {"aira-box", "trace", "/aira/mechanism.so", NULL};
    const aira__sandbox_file file = {"/aira/mechanism.so", s->object, s->n, true};
    const aira__sandbox_run run = {.argv = argv,
                                   .files = &file,
                                   .n_files = 1,
                                   .input = input,
                                   .n_input = strlen(input),
                                   .single = true,
                                   .unconfined = s->unconfined,
                                   .limits = {.wall_seconds = 2 * s->seconds,
                                              .cpu_seconds = s->seconds,
                                              .memory = (int64_t)512 << 20,
                                              .output = REPLY_BYTES}};
    aira__sandbox_result r;
    aira_status status = aira__sandbox_run_command(&run, &r, error);
    if (status != AIRA_OK) return status;
    cost->children++;
    cost->seconds += r.seconds + r.setup;
    cost->confinement += r.setup;
    if (r.cause == AIRA_SANDBOX_OK) {
        *bytes = r.out;
        *n = r.n_out;
        r.out = NULL;
    } else {
        int none = AIRA_SANDBOX_OK;
        if (aira__sandbox_is_stop(r.cause)) atomic_compare_exchange_strong(s->ended, &none, (int)r.cause);
        status = aira__fail(error, AIRA_E_CONFIG, "%s: loading or building it was stopped: %s", s->name, r.sentence);
    }
    aira__sandbox_result_release(&r);
    return status;
}

static aira_status damaged(const char *name, const char *what, aira_error *error) {
    return aira__fail(error, AIRA_E_CONFIG,
                      "%s: what came back from building it is damaged (%s); build must only call ops and return", name,
                      what);
}

/* Magic, length, JSON, graphs; or the child's sentence. */
aira_status aira__trace_open(const char *name, char *bytes, size_t n, aira__trace_reply *reply, aira_error *error) {
    uint64_t length = 0;
    char said[700], phase[32];
    memset(reply, 0, sizeof *reply);
    if (n < 16 || memcmp(bytes, AIRA__TRACE_MAGIC, 8) != 0) return damaged(name, "no reply", error);
    memcpy(&length, bytes + 8, sizeof length);
    if (length > n - 16 || length > HEAD_BYTES) return damaged(name, "length", error);
    json_t *head = aira__json_parse(bytes + 16, (size_t)length, "reply", NULL);
    if (!json_is_object(head)) {
        json_decref(head);
        return damaged(name, "JSON", error);
    }
    const char *failed = aira__json_string(head, "error", NULL);
    if (failed != NULL) {
        aira__fail(error, AIRA_E_CONFIG, "%s: %s: %s", name,
                   tame(aira__json_string(head, "phase", "build"), phase, sizeof phase),
                   tame(failed, said, sizeof said));
        json_decref(head);
        return AIRA_E_CONFIG;
    }
    *reply = (aira__trace_reply){bytes, head, (const uint8_t *)bytes + 16 + length, n - 16 - (size_t)length};
    return AIRA_OK;
}

static bool cache_path(const aira__trace_source *s, const char *input, char folder[PATH_MAX], char *path, size_t size) {
    char hash[65], helper[PATH_MAX], mark[96];
    aira_error unused;
    aira__sha256_ctx h;
    struct stat info; /* another helper may lower operations in another way */
    if (aira__helper_find("aira-box", helper, &unused) != AIRA_OK || stat(helper, &info) != 0) return false;
    int length = snprintf(mark, sizeof mark, "reply 1 %lld %lld.%ld", (long long)info.st_size,
                          (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    aira__sha256_start(&h);
    aira__sha256_add(&h, mark, (size_t)length);
    aira__sha256_add(&h, s->key, strlen(s->key));
    aira__sha256_add(&h, input, strlen(input));
    aira__sha256_finish_hex(&h, hash);
    if (aira__cache_open(folder, &unused) != AIRA_OK) return false;
    return snprintf(path, size, "%s/%s.reply", folder, hash) < (int)size;
}

aira_status aira__trace_ask(const aira__trace_source *s, const json_t *request, bool fresh, aira__trace_reply *reply,
                            aira__trace_cost *cost, aira_error *error) {
    char folder[PATH_MAX], path[PATH_MAX + 80], *bytes = NULL, *input = aira__json_canonical(request);
    size_t n = 0;
    aira_error unused;
    memset(reply, 0, sizeof *reply);
    if (input == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while building %s", s->name);
    bool keeps = cache_path(s, input, folder, path, sizeof path);
    bool kept = keeps && !fresh && aira__file_exists(path) &&
                aira__file_read(path, (size_t)REPLY_BYTES, &bytes, &n, &unused) == AIRA_OK;
    aira_status status = kept ? AIRA_OK : run_child(s, input, &bytes, &n, cost, error);
    free(input);
    if (status == AIRA_OK) status = aira__trace_open(s->name, bytes, n, reply, error);
    if (status != AIRA_OK)
        free(bytes);
    else if (keeps && !kept)
        aira__cache_keep(folder, path, bytes, n, &unused); /* only speed is lost where it cannot be kept */
    return status;
}

void aira__trace_reply_release(aira__trace_reply *reply) {
    json_decref(reply->head);
    free(reply->bytes);
    memset(reply, 0, sizeof *reply);
}

/* --- taking
 * -------------------------------------------------------------------------------------------------------------- */

static const char *name_at(const json_t *row, size_t k) {
    const char *name = json_string_value(json_array_get(row, k));
    return name != NULL && name[0] != 0 && strlen(name) < 128 ? name : NULL;
}

static bool take_asked(const json_t *list, aira__traced *t) {
    size_t n = json_array_size(list);
    t->asked = calloc(n + 1, sizeof *t->asked);
    if (t->asked == NULL || n > 64) return false;
    for (; t->n_asked < n; t->n_asked++) {
        const json_t *row = json_array_get(list, t->n_asked);
        aira__asked *a = &t->asked[t->n_asked];
        *a = (aira__asked){name_at(row, 0), json_is_true(json_array_get(row, 1)), json_is_true(json_array_get(row, 2)),
                           json_integer_value(json_array_get(row, 3))};
        if (a->name == NULL) return false;
    }
    return true;
}

static bool take_drawn(const json_t *list, aira__traced *t) {
    size_t n = json_array_size(list);
    aira__drawn *drawn = calloc(n + 1, sizeof *drawn);
    t->part.drawn = drawn;
    if (drawn == NULL || n > AIRA__TRACE_MAX_OPS) return false;
    for (; t->part.n_drawn < n; t->part.n_drawn++) {
        const json_t *row = json_array_get(list, t->part.n_drawn);
        json_int_t op = json_integer_value(json_array_get(row, 0));
        drawn[t->part.n_drawn] = (aira__drawn){(uint32_t)op, name_at(row, 1)};
        if (op < 0 || op >= UINT32_MAX || drawn[t->part.n_drawn].name == NULL) return false;
    }
    return true;
}

static bool take_aux(const json_t *list, aira__traced *t) {
    size_t n = json_array_size(list);
    const char **names = calloc(n + 1, sizeof *names);
    double *weights = calloc(n + 1, sizeof *weights);
    t->part.aux = names;
    t->part.weights = weights;
    if (names == NULL || weights == NULL || n > 64) return false;
    for (; t->part.n_aux < n; t->part.n_aux++) {
        const json_t *row = json_array_get(list, t->part.n_aux);
        names[t->part.n_aux] = name_at(row, 0);
        weights[t->part.n_aux] = json_number_value(json_array_get(row, 1));
        if (names[t->part.n_aux] == NULL) return false;
    }
    return true;
}

aira_status aira__trace_take(const aira__trace_reply *reply, const char *name, const aira_shape *x, aira__traced *t,
                             aira_error *error) {
    const aira__graph_limits limits = {AIRA__TRACE_MAX_OPS, AIRA__TRACE_MAX_ELEMENTS};
    memset(t, 0, sizeof *t);
    t->head = json_incref(reply->head);
    json_t *row = json_array_get(json_object_get(reply->head, "traces"), 0);
    json_int_t bytes = json_integer_value(json_object_get(row, "bytes"));
    bool good = bytes > 0 && (uint64_t)bytes == reply->n_graphs && take_asked(json_object_get(row, "asked"), t) &&
                take_drawn(json_object_get(row, "drawn"), t) && take_aux(json_object_get(row, "aux"), t);
    aira_status status = good ? AIRA_OK : damaged(name, "description", error);
    if (status == AIRA_OK) {
        status = aira__graph_read(reply->graphs, reply->n_graphs, &limits, &t->graph, error);
        t->part.graph = t->graph;
        t->kv = json_integer_value(json_object_get(row, "kv"));
        if (t->kv < 0 || t->kv > (json_int_t)1 << 40) t->kv = 0;
        if (status == AIRA_OK && t->graph->compute_dtype != AIRA_BF16)
            status = aira__fail(error, AIRA_E_CORRUPT, "a graph of another compute type than it was asked for");
        if (status == AIRA_OK) status = aira__part_check(&t->part, x, error);
        if (status != AIRA_OK) {
            status = error != NULL ? (error->status = AIRA_E_CONFIG) : AIRA_E_CONFIG;
            aira__fail_in(error, "%s", name);
        }
    }
    if (status != AIRA_OK) aira__traced_release(t);
    return status;
}

void aira__traced_release(aira__traced *t) {
    aira__graph_destroy(t->graph);
    free(t->asked);
    free((void *)(uintptr_t)t->part.drawn);
    free((void *)(uintptr_t)t->part.aux);
    free((void *)(uintptr_t)t->part.weights);
    json_decref(t->head);
    memset(t, 0, sizeof *t);
}
