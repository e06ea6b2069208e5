/* core/search/recording.c - see recording.h.
 *
 * A place is opened for every question: answers are asked for rarely, from several threads, and a file that stays open
 * would have to be guarded. In a JSONL file a line with "request" answers that request; lines without it answer in
 * order: the line for a node is the node's own number, counted over such lines. Re-asked questions (attempt > 0) and
 * analyses are answered by request alone.
 */
#include "core/search/recording.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/journal.h"

struct aira__recording {
    aira_recording_service table;
    const aira_host *host;
};

static aira_status refuse(const aira__recording *r, aira_status status, const char *format, const char *path,
                          const char *detail) {
    char sentence[4096];
    snprintf(sentence, sizeof sentence, format, path, detail);
    return r->host->fail(r->host, status, sentence);
}

/* Of all runs' calls with this request, the first that was answered. */
static aira_status from_journal(const aira__recording *r, const char *path, const aira_agent_request *request,
                                const aira_sink *sink) {
    aira__journal *j = NULL;
    aira__journal_options options = {.read_only = true};
    aira_error error = {0};
    aira_status status = aira__journal_open(path, &options, &j, &error);
    if (status != AIRA_OK) return refuse(r, status, "agent recorded: %s%s", error.text, "");
    sqlite3_stmt *s = NULL;
    status = AIRA_E_FAILED;
    const char *sql =
        "SELECT t.body FROM call c JOIN text t ON t.hash = c.answer WHERE c.request_hash = ? AND c.state = "
        "'answered' ORDER BY c.id LIMIT 1";
    if (sqlite3_prepare_v2(aira__journal_db(j), sql, -1, &s, NULL) == SQLITE_OK &&
        sqlite3_bind_text(s, 1, request->request_hash, -1, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(s, 0);
        status = sink->text(sink, text ? text : "", text ? strlen(text) : 0);
    } else {
        (void)refuse(r, status, "agent recorded: %s holds no answer to request %.12s; was it recorded with this study?",
                     path, request->request_hash);
    }
    sqlite3_finalize(s);
    aira__journal_close(j);
    return status;
}

/* The text of the line that answers, or NULL. Lines that are not JSON objects are an error. */
static json_t *find_line(const char *text, const aira_agent_request *request, int *bad_line) {
    bool by_order = request->attempt == 0 && strcmp(request->operator_name, "analyse") != 0;
    int64_t plain = 0;
    int line = 0;
    json_t *found = NULL;
    *bad_line = 0;
    while (*text && !found && !*bad_line) {
        size_t n = strcspn(text, "\n");
        line++;
        if (strspn(text, " \t\r") < n) {
            json_t *object = aira__json_parse(text, n, "line", NULL);
            const char *hash = aira__json_string(object, "request", NULL);
            if (!json_is_string(json_object_get(object, "text")))
                *bad_line = line;
            else if (hash ? !strcmp(hash, request->request_hash) : plain++ == request->node && by_order)
                found = json_incref(object);
            json_decref(object);
        }
        text += n + (text[n] == '\n');
    }
    return found;
}

static aira_status from_lines(const aira__recording *r, const char *path, const aira_agent_request *request,
                              const aira_sink *sink) {
    aira_error error = {0};
    char *text = NULL, detail[64];
    int bad_line = 0;
    aira_status status = aira__file_read(path, (size_t)1 << 30, &text, NULL, &error);
    if (status != AIRA_OK) return refuse(r, status, "agent recorded: %s%s", error.text, "");
    json_t *line = find_line(text, request, &bad_line);
    free(text);
    if (line) {
        const char *answer = aira__json_string(line, "text", "");
        status = sink->text(sink, answer, strlen(answer));
    } else if (bad_line) {
        snprintf(detail, sizeof detail, "%d", bad_line);
        status = refuse(r, AIRA_E_CORRUPT, "agent recorded: %s:%s: not an object {\"text\": \"...\"}", path, detail);
    } else {
        snprintf(detail, sizeof detail, "%" PRId64 ", attempt %" PRId64, request->node, request->attempt);
        status = refuse(r, AIRA_E_FAILED, "agent recorded: %s holds no answer for node %s", path, detail);
    }
    json_decref(line);
    return status;
}

static aira_status answer(const aira_recording_service *service, const char *path, const aira_agent_request *request,
                          const aira_sink *sink) {
    const aira__recording *r = service->core;
    size_t n = strlen(path);
    if (aira__is_dir(path)) {
        char *journal = aira__path_join(path, "journal.db");
        aira_status status = journal ? from_journal(r, journal, request, sink) : AIRA_E_MEMORY;
        free(journal);
        return status;
    }
    if (n > 3 && !strcmp(path + n - 3, ".db")) return from_journal(r, path, request, sink);
    return from_lines(r, path, request, sink);
}

aira_status aira__recording_offer(aira__registry *registry, aira__recording **out, aira_error *error) {
    aira__recording *r = calloc(1, sizeof *r);
    *out = r;
    if (!r) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    r->table = (aira_recording_service){sizeof r->table, 0, r, answer};
    r->host = aira__registry_host(registry);
    aira__registry_offer(registry, AIRA_SERVICE_RECORDING, &r->table);
    return AIRA_OK;
}

void aira__recording_destroy(aira__recording *recording) { free(recording); }
