/* listing.h - the names of the texts in a folder of class folders: FOLDER/CLASS/FILE. Nothing is opened. */
#ifndef AIRA_LABELLED_TEXT_LISTING_H
#define AIRA_LABELLED_TEXT_LISTING_H

#include <dirent.h>
#include <stdlib.h>

#include "../common/files.h"

typedef struct listing_text {
    char *path;
    int64_t place; /* among the texts of its class, in the order of names */
    int32_t label, reserved;
} listing_text;

typedef struct listing {
    listing_text *texts; /* class by class, in the order of names */
    char **classes;      /* in the order of names: the label is the index */
    int64_t n, room, n_classes;
} listing;

static inline void listing_release(const aira_host *host, listing *l) {
    for (int64_t k = 0; k < l->n; k++) host->release(host, l->texts[k].path);
    for (int64_t k = 0; k < l->n_classes; k++) host->release(host, l->classes[k]);
    host->release(host, l->texts);
    host->release(host, l->classes);
    *l = (listing){NULL, NULL, 0, 0, 0};
}

static inline int listing_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }
static inline int listing_by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* 'd' folder, 'f' file, 0 neither */
static inline char listing_kind(const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) return 0;
    return S_ISDIR(about.st_mode) ? 'd' : S_ISREG(about.st_mode) ? 'f' : 0;
}

static inline aira_status listing_add(const aira_host *host, listing *l, const char *path, int64_t place) {
    if (l->n == l->room) {
        int64_t room = l->room ? 2 * l->room : 1024;
        listing_text *texts = host->alloc(host, (uint64_t)room * sizeof *texts);
        if (!texts) return host->fail(host, AIRA_E_MEMORY, "out of memory for the list of texts");
        if (l->n > 0) memcpy(texts, l->texts, (size_t)l->n * sizeof *texts);
        host->release(host, l->texts);
        l->texts = texts;
        l->room = room;
    }
    char *copy = data_copy_text(host, path);
    if (!copy) return host->fail(host, AIRA_E_MEMORY, "out of memory for the list of texts");
    l->texts[l->n++] = (listing_text){copy, place, (int32_t)(l->n_classes - 1), 0};
    return AIRA_OK;
}

static inline aira_status listing_class(const aira_host *host, listing *l, const char *folder, const char *advice) {
    struct dirent **entries;
    char path[4096];
    int n = scandir(folder, &entries, listing_visible, listing_by_name);
    if (n < 0) return data_fail(host, AIRA_E_IO, "folder '%s' cannot be read: %s", folder, strerror(errno));
    aira_status status = AIRA_OK;
    int64_t place = 0;
    for (int i = 0; i < n; i++) {
        int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (!status && length >= (int)sizeof path)
            status = data_fail(host, AIRA_E_IO, "a path in folder '%s' is too long", folder);
        if (!status && listing_kind(path) == 'f') status = listing_add(host, l, path, place++);
        free(entries[i]);
    }
    free(entries);
    if (!status && place == 0)
        status = data_fail(host, AIRA_E_IO, "class folder '%s' holds no text; %s", folder, advice);
    return status;
}

/* Reads the names below folder. Fewer than two classes, and a class without texts, are refused. */
static inline aira_status listing_read(const aira_host *host, const char *folder, const char *advice, listing *l) {
    struct dirent **entries;
    char path[4096];
    int n = scandir(folder, &entries, listing_visible, listing_by_name);
    if (n < 0) {
        return errno == ENOENT ? data_fail(host, AIRA_E_IO, "there is no folder '%s'; %s", folder, advice)
                               : data_fail(host, AIRA_E_IO, "folder '%s' cannot be read: %s", folder, strerror(errno));
    }
    l->classes = host->alloc(host, (uint64_t)(n + 1) * sizeof *l->classes);
    aira_status status = l->classes ? AIRA_OK : host->fail(host, AIRA_E_MEMORY, "out of memory");
    for (int i = 0; i < n; i++) {
        int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        bool is_class = length < (int)sizeof path && strcmp(entries[i]->d_name, "unsup") != 0;
        if (!status && is_class && listing_kind(path) == 'd') {
            l->classes[l->n_classes] = data_copy_text(host, entries[i]->d_name);
            if (!l->classes[l->n_classes++]) status = host->fail(host, AIRA_E_MEMORY, "out of memory");
            if (!status) status = listing_class(host, l, path, advice);
        }
        free(entries[i]);
    }
    free(entries);
    if (!status && l->n_classes < 2)
        status = data_fail(host, AIRA_E_IO, "folder '%s' has %d class folder%s, two are needed; %s", folder,
                           (int)l->n_classes, l->n_classes == 1 ? "" : "s", advice);
    return status;
}

#endif
