/* core/search/journal_text.c - texts, each stored once, and prompts in parts. See journal.h.
 *
 * The prompts of a search have most of their text in common: system, task, data, what earlier nodes taught. A message
 * is therefore cut where such text repeats, and every part becomes a row of `text` or finds that it is one already;
 * what a call keeps is the list of its parts' ids. The cut is a matter of size alone: joined, the parts are the
 * message, byte for byte, so later versions may cut elsewhere. Parts begin
 *   - at an empty line's end (paragraphs), and
 *   - at a line that starts with "- " (what one node taught is one part).
 * An assistant's message is one part: it is the answer of an earlier call, which is there.
 *
 * A table from hash to id in memory saves looking the same parts up for every call. It only knows rows of this
 * process's transactions, so a rollback empties it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/search/journal_internal.h"

#define MAX_KNOWN (1u << 18) /* entries; a table that is full starts anew */

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

/* ---- hash -> id ---- */

void aira__journal_forget_texts(aira__journal *j) {
    free(j->texts);
    j->texts = NULL;
    j->n_texts = j->texts_capacity = 0;
}

static size_t slot_of(const aira__journal *j, const uint8_t hash[32]) {
    uint64_t word;
    memcpy(&word, hash, sizeof word);
    size_t at = (size_t)word & (j->texts_capacity - 1);
    while (j->texts[at].id && memcmp(j->texts[at].hash, hash, 32) != 0) at = (at + 1) & (j->texts_capacity - 1);
    return at;
}

/* Out of memory is no failure here: the table only saves time. */
static void remember(aira__journal *j, const uint8_t hash[32], int64_t id) {
    if (j->n_texts >= MAX_KNOWN) aira__journal_forget_texts(j);
    if (j->n_texts * 2 >= j->texts_capacity) {
        size_t capacity = j->texts_capacity ? j->texts_capacity * 2 : 1024, old = j->texts_capacity;
        aira__known_text *before = j->texts, *more = calloc(capacity, sizeof *more);
        if (!more) return;
        j->texts = more;
        j->texts_capacity = capacity;
        for (size_t i = 0; i < old; i++)
            if (before[i].id) j->texts[slot_of(j, before[i].hash)] = before[i];
        free(before);
    }
    aira__known_text *entry = &j->texts[slot_of(j, hash)];
    if (!entry->id) j->n_texts++;
    memcpy(entry->hash, hash, 32);
    entry->id = id;
}

/* ---- one text ---- */

static aira_status store(aira__journal *j, const char *body, size_t n, char hex[65], int64_t *id, aira_error *error) {
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[32];
    sqlite3_stmt *s = NULL;
    aira__sha256(body, n, hash);
    for (int i = 0; i < 32; i++) {
        hex[2 * i] = digits[hash[i] >> 4];
        hex[2 * i + 1] = digits[hash[i] & 15];
    }
    hex[64] = 0;
    *id = j->texts ? j->texts[slot_of(j, hash)].id : 0;
    if (*id) return AIRA_OK;
    aira_status status = aira__journal_do(j, error, "INSERT OR IGNORE INTO text(hash, body) VALUES(?, ?)", "sS", hex,
                                          body, (int64_t)n);
    if (status != AIRA_OK) return status;
    if (sqlite3_changes(j->db) > 0) {
        *id = sqlite3_last_insert_rowid(j->db);
    } else {
        status = aira__journal_bind(j, &s, error, "SELECT id FROM text WHERE hash = ?", "s", hex);
        if (status == AIRA_OK && sqlite3_step(s) == SQLITE_ROW) *id = sqlite3_column_int64(s, 0);
        if (s) sqlite3_reset(s);
        if (status == AIRA_OK && !*id) status = aira__journal_fail(j, error);
    }
    if (status == AIRA_OK) remember(j, hash, *id);
    return status;
}

aira_status aira__journal_put_text(aira__journal *j, const char *body, char hash[65], aira_error *error) {
    int64_t id = 0;
    return store(j, body, strlen(body), hash, &id, error);
}

/* ---- prompts ---- */

/* Where the part that begins at `from` ends. */
static const char *end_of_part(const char *from) {
    const char *line = from;
    for (;;) {
        const char *end = strchr(line, '\n');
        if (!end) return line + strlen(line);
        const char *next = end + 1;
        bool blank = strspn(line, " \t\r") == (size_t)(end - line);
        if (*next == 0 || !strncmp(next, "- ", 2) || (blank && *next != '\n')) return next;
        line = next;
    }
}

/* Adds ["role", id, id, ...] to the manifest. */
static aira_status put_message(aira__journal *j, const json_t *message, aira__buf *manifest, aira_error *error) {
    const char *role = aira__json_string(message, "role", "user"), *p = aira__json_string(message, "content", "");
    bool whole = !strcmp(role, "assistant");
    aira_status status = AIRA_OK;
    aira__buf_printf(manifest, "[\"%s\"", role);
    while (status == AIRA_OK && *p) {
        const char *end = whole ? p + strlen(p) : end_of_part(p);
        char hex[65];
        int64_t id = 0;
        status = store(j, p, (size_t)(end - p), hex, &id, error);
        aira__buf_printf(manifest, ",%" PRId64, id);
        p = end;
    }
    aira__buf_text(manifest, "]");
    return status;
}

aira_status aira__journal_put_prompt(aira__journal *j, const json_t *messages, char hash[65], aira_error *error) {
    aira__buf manifest = {0};
    const json_t *message;
    aira_status status = AIRA_OK;
    size_t i;
    aira__buf_text(&manifest, "{\"parts\":[");
    json_array_foreach(messages, i, message) {
        if (i) aira__buf_text(&manifest, ",");
        if (status == AIRA_OK) status = put_message(j, message, &manifest, error);
    }
    aira__buf_text(&manifest, "]}");
    char *text = aira__buf_take(&manifest);
    if (status == AIRA_OK) status = text ? aira__journal_put_text(j, text, hash, error) : no_memory(error);
    free(text);
    return status;
}

/* ---- back ---- */

/* Appends the body of a row of text. */
static aira_status add_body(sqlite3_stmt *s, int64_t id, aira__buf *out, aira_error *error) {
    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, id);
    int code = sqlite3_step(s);
    if (code != SQLITE_ROW)
        return aira__fail(error, AIRA_E_CORRUPT, "the journal has lost part %" PRId64 " of a prompt", id);
    aira__buf_add(out, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    return AIRA_OK;
}

static json_t *join(sqlite3_stmt *s, const json_t *parts, aira_error *error) {
    json_t *messages = json_array(), *message;
    aira_status status = messages ? AIRA_OK : no_memory(error);
    size_t i;
    json_array_foreach(parts, i, message) {
        aira__buf body = {0};
        for (size_t k = 1; status == AIRA_OK && k < json_array_size(message); k++)
            status = add_body(s, json_integer_value(json_array_get(message, k)), &body, error);
        char *text = aira__buf_take(&body);
        const char *role = json_string_value(json_array_get(message, 0));
        json_t *one = text ? json_pack("{s:s, s:s}", "role", role ? role : "user", "content", text) : NULL;
        free(text);
        if (status == AIRA_OK && (!one || json_array_append_new(messages, json_incref(one)))) status = no_memory(error);
        json_decref(one);
    }
    if (status == AIRA_OK) return messages;
    json_decref(messages);
    return NULL;
}

/* The JSON that call.prompt names: a manifest, or, in a journal of version 1, a whole request. */
static json_t *stored(sqlite3 *db, const char *prompt, aira_error *error) {
    sqlite3_stmt *s = NULL;
    json_t *value = NULL;
    if (sqlite3_prepare_v2(db, "SELECT body FROM text WHERE hash = ?", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_bind_text(s, 1, prompt, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(s, 0);
        value = text ? aira__json_parse(text, strlen(text), "stored prompt", error) : NULL;
    } else {
        (void)aira__fail(error, AIRA_E_CORRUPT, "the journal has lost a prompt (%.12s)", prompt);
    }
    sqlite3_finalize(s);
    return value;
}

json_t *aira__journal_messages(sqlite3 *db, const char *prompt, aira_error *error) {
    json_t *value = stored(db, prompt, error), *parts = json_object_get(value, "parts"), *messages = NULL;
    sqlite3_stmt *s = NULL;
    if (!value) return NULL;
    if (!json_is_array(parts)) {
        messages = json_incref(json_object_get(value, "messages"));
        if (!json_is_array(messages)) {
            json_decref(messages);
            messages = NULL;
            (void)aira__fail(error, AIRA_E_CORRUPT, "a prompt in the journal (%.12s) holds no messages", prompt);
        }
    } else if (sqlite3_prepare_v2(db, "SELECT body FROM text WHERE id = ?", -1, &s, NULL) != SQLITE_OK) {
        (void)aira__fail(error, AIRA_E_CORRUPT, "the journal's texts cannot be read: %s", sqlite3_errmsg(db));
    } else {
        messages = join(s, parts, error);
    }
    sqlite3_finalize(s);
    json_decref(value);
    return messages;
}

char *aira__journal_prompt(sqlite3 *db, const char *prompt, aira_error *error) {
    json_t *messages = aira__journal_messages(db, prompt, error), *message;
    aira__buf out = {0};
    size_t i;
    if (!messages) return NULL;
    json_array_foreach(messages, i, message) {
        const char *content = aira__json_string(message, "content", "");
        size_t n = strlen(content);
        aira__buf_printf(&out, "%s[%s]\n%s%s", i ? "\n" : "", aira__json_string(message, "role", "user"), content,
                         n && content[n - 1] == '\n' ? "" : "\n");
    }
    json_decref(messages);
    char *text = aira__buf_take(&out);
    if (!text) (void)no_memory(error);
    return text;
}

json_t *aira__journal_request_v1(sqlite3 *db, const char *prompt, aira_error *error) {
    json_t *value = stored(db, prompt, error);
    if (!value || json_is_object(json_object_get(value, "state"))) return value;
    json_decref(value);
    return NULL;
}
