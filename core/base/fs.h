/* core/base/fs.h - files and folders, with sentences instead of errno.
 *
 * Whatever is written under its final name is whole: a temporary file in the same folder is written, synced, renamed,
 * and the folder is synced, so that a kill or a full disk at any instant leaves the old file or the new one.
 * Every sentence names the path and the system's reason. Threads: any.
 */
#ifndef AIRA_BASE_FS_H
#define AIRA_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

/* The whole file in malloc'ed *data with a zero byte after *n bytes (n may be NULL). A file of more than max_bytes is
   refused: AIRA_E_IO. On failure *data is NULL. */
aira_status aira__file_read(const char *path, size_t max_bytes, char **data, size_t *n, aira_error *);

/* Maps a whole regular file for reading; *size in bytes; release with munmap. An empty file, or what is no regular
   file, is AIRA_E_CORRUPT: "'path' is not <what>". */
aira_status aira__file_map(const char *path, const char *what, void **mapping, size_t *size, aira_error *);

/* Replaces or creates path with exactly these bytes, mode 0666 less umask. */
aira_status aira__file_write_atomic(const char *path, const void *data, size_t n, aira_error *);

/* The same in pieces, for what is too large to hold: open, add..., then either commit or abandon (both free it). */
typedef struct aira__file_writer aira__file_writer;
aira_status aira__file_writer_open(const char *path, aira__file_writer **, aira_error *);
aira_status aira__file_writer_add(aira__file_writer *, const void *data, size_t n, aira_error *);
aira_status aira__file_writer_commit(aira__file_writer *, aira_error *);
void aira__file_writer_abandon(aira__file_writer *); /* NULL is fine; leaves no file */

/* The folder and the ones above it; fine if it is there. */
aira_status aira__make_dirs(const char *path, aira_error *);
/* The file or the folder with everything in it; symbolic links are removed, not followed. Fine if there is none. */
aira_status aira__remove_tree(const char *path, aira_error *);

/* "a/b", malloc'ed; b alone if it is absolute or a is "". NULL when out of memory. */
char *aira__path_join(const char *a, const char *b);
/* The folder part of a path, malloc'ed: "a/b.yaml" gives "a", "b.yaml" gives ".", "/b" gives "/". */
char *aira__path_folder(const char *path);
/* Folder of the running program. */
aira_status aira__program_dir(char *out, size_t size, aira_error *);
bool aira__file_exists(const char *path); /* anything of that name */
bool aira__is_dir(const char *path);
bool aira__is_link(const char *path); /* a symbolic link */

#endif
