/* core/search/literature.c - see literature.h. */
#include "core/search/literature.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/question.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

/* ---- reading ---- */

typedef struct folder {
    json_t *notes;
    size_t bytes;
} folder;

static bool is_note(const char *name) {
    size_t n = strlen(name);
    return n > 3 && !strcmp(name + n - 3, ".md");
}

/* The first heading without its marks, else the file's name without its suffix. */
static json_t *title_of(const char *text, const char *name) {
    const char *line = text;
    while (line && *line != '#') {
        line = strchr(line, '\n');
        if (line) line++;
    }
    if (!line) return json_stringn(name, strlen(name) - 3);
    line += strspn(line, "# ");
    return json_stringn(line, strcspn(line, "\r\n"));
}

static aira_status add_note(folder *f, const char *path, const char *topic, const char *name, aira_error *error) {
    char *text = NULL;
    size_t n = 0;
    aira_status status = aira__file_read(path, AIRA__LITERATURE_MAX, &text, &n, error);
    if (status != AIRA_OK) return status;
    f->bytes += n;
    json_t *note = json_pack("{s:s, s:o, s:s}", "topic", topic, "title", title_of(text, name), "text", text);
    if (f->bytes > AIRA__LITERATURE_MAX || json_array_size(f->notes) >= AIRA__LITERATURE_NOTES)
        status = aira__fail(error, AIRA_E_CONFIG, "%s: more notes than can be read: at most %d, together %d MiB", path,
                            AIRA__LITERATURE_NOTES, AIRA__LITERATURE_MAX >> 20);
    else if (!note)
        status = aira__fail(error, AIRA_E_CONFIG, "%s: not valid UTF-8", path);
    else if (json_array_append(f->notes, note))
        status = no_memory(error);
    json_decref(note);
    free(text);
    return status;
}

/* topic NULL: the folder itself, whose sub-folders are topics. */
static aira_status read_folder(folder *f, const char *path, const char *topic, aira_error *error) {
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, NULL, alphasort);
    aira_status status = n < 0 ? aira__fail(error, AIRA_E_CONFIG, "%s: the folder cannot be read", path) : AIRA_OK;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char *inner = name[0] != '.' && status == AIRA_OK ? aira__path_join(path, name) : NULL;
        if (inner && is_note(name))
            status = add_note(f, inner, topic ? topic : "general", name, error);
        else if (inner && !topic && aira__is_dir(inner))
            status = read_folder(f, inner, name, error);
        free(inner);
        free(entries[i]);
    }
    free(entries);
    return status;
}

aira_status aira__literature_load(const char *path, json_t **notes, aira_error *error) {
    folder f = {json_array(), 0};
    aira_status status = f.notes ? read_folder(&f, path, NULL, error) : no_memory(error);
    if (status == AIRA_OK && json_array_size(f.notes) == 0)
        status = aira__fail(error, AIRA_E_CONFIG, "%s: no notes in it: files named *.md, also in folders by topic",
                            path);
    if (status != AIRA_OK) {
        json_decref(f.notes);
        f.notes = NULL;
    }
    *notes = f.notes;
    return status;
}

/* ---- choosing ---- */

/* The next word of at least three letters or digits, in lower case; false at the end. */
static bool next_word(const char **text, char word[32]) {
    const char *at = *text;
    for (;;) {
        while (*at && !isalnum((unsigned char)*at)) at++;
        size_t n = 0;
        while (isalnum((unsigned char)at[n])) n++;
        if (n == 0) return false;
        size_t kept = n < 31 ? n : 31;
        for (size_t i = 0; i < kept; i++) word[i] = (char)tolower((unsigned char)at[i]);
        word[kept] = 0;
        at += n;
        *text = at;
        if (n >= 3) return true;
    }
}

static json_t *words_of(const char *title, const char *text) {
    json_t *set = json_object();
    const char *parts[] = {title, text};
    char word[32];
    for (int i = 0; i < 2; i++)
        for (const char *at = parts[i]; next_word(&at, word);) json_object_set_new(set, word, json_true());
    return set;
}

typedef struct scored {
    double score;
    size_t at;
} scored;

static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->at < y->at ? -1 : 1;
}

/* Sum over the subject's words that a note has: the logarithm of how many notes there are per note that has it. */
static void score_all(const json_t *notes, const char *subject, scored *scores) {
    size_t n = json_array_size(notes);
    json_t *wanted = words_of("", subject), *ignored, **sets = calloc(n + 1, sizeof *sets);
    const char *word;
    for (size_t i = 0; i < n; i++) {
        const json_t *note = json_array_get(notes, i);
        scores[i] = (scored){0, i};
        if (sets) sets[i] = words_of(aira__json_string(note, "title", ""), aira__json_string(note, "text", ""));
    }
    json_object_foreach(wanted, word, ignored) {
        size_t having = 0;
        for (size_t i = 0; sets && i < n; i++) having += json_object_get(sets[i], word) != NULL;
        for (size_t i = 0; sets && having && i < n; i++)
            if (json_object_get(sets[i], word)) scores[i].score += log1p((double)n / (double)having);
    }
    for (size_t i = 0; sets && i < n; i++) json_decref(sets[i]);
    free(sets);
    json_decref(wanted);
}

static json_t *topic_in(json_t *shown, const char *topic) {
    json_t *group;
    size_t i;
    json_array_foreach(shown, i, group) if (!strcmp(aira__json_string(group, "topic", ""), topic)) return group;
    group = json_pack("{s:s, s:[]}", "topic", topic, "notes");
    return group && !json_array_append_new(shown, group) ? group : NULL;
}

static bool show(json_t *shown, const json_t *note, const char *text) {
    json_t *group = topic_in(shown, aira__json_string(note, "topic", "general"));
    json_t *one = json_pack("{s:O, s:s}", "title", json_object_get(note, "title"), "text", text);
    return group && one && !json_array_append_new(json_object_get(group, "notes"), one);
}

json_t *aira__literature_choose(const json_t *notes, const char *subject, int64_t tokens) {
    size_t n = json_array_size(notes), room = (size_t)tokens * 4;
    scored *scores = calloc(n + 1, sizeof *scores);
    json_t *shown = json_array();
    bool ok = scores && shown, any = false;
    if (ok) score_all(notes, subject, scores);
    if (ok) qsort(scores, n, sizeof *scores, by_score);
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *note = json_array_get(notes, scores[i].at);
        const char *text = aira__json_string(note, "text", "");
        size_t cost = strlen(text) + 40;
        if (cost > room && any) continue;
        char *cut = cost > room ? aira__shorten(text, room * 3 / 4, room / 4) : NULL;
        ok = show(shown, note, cut ? cut : text);
        room -= cost < room ? cost : room;
        any = true;
        free(cut);
    }
    free(scores);
    if (ok) return shown;
    json_decref(shown);
    return NULL;
}
