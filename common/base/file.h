/*
 * file.h (edge) - whole reads, whole writes and replacement that survives a power cut. Thread: any.
 * Errors where no other is named: ERR_IO; ERR_EXISTS when what is there is not to be replaced.
 */
#ifndef COMMON_BASE_FILE_H
#define COMMON_BASE_FILE_H

#include "common/base/buf.h"
#include "common/base/err.h"

/* Read all of `path` into `out` (appended); ERR_IO (also for a named pipe, which might keep us
 * waiting for ever), or ERR_NO_MEMORY when it exceeds out->max. */
int file_read_all(const char *path, struct buf *out, struct err *err) MUST_CHECK;

/*
 * Put `content` at `path` with exactly `mode`, whatever the umask: temporary file in the same
 * directory, fsync, then link (replace = false: ERR_EXISTS if something is there) or rename, then
 * fsync of the directory. On failure nothing is left behind.
 */
int file_write_atomic(const char *path, struct slice content, unsigned mode, bool replace,
                      struct err *err) MUST_CHECK;

/*
 * Half of it: `content`, synced, in a temporary file ".NAME.XXXXXX" beside `path`, for a caller who
 * renames several at once. *temporary is owned; NULL on failure, when nothing is left behind.
 */
int file_stage(const char *path, struct slice content, unsigned mode, char **temporary,
               struct err *err) MUST_CHECK;

/* Makes the names in the directory that holds `path` durable. */
int file_sync_parent(const char *path, struct err *err) MUST_CHECK;
/* `path` with all that leads to it; what exists is fine. */
int file_make_dirs(const char *path, unsigned mode, struct err *err) MUST_CHECK;

/* Directories that were not there before, outermost first; owned. Zeroed: none. */
struct file_dirs {
    char **paths;
    size_t count;
};
/* As file_make_dirs(); what it makes is added to `made`, also when it fails in the end. */
int file_make_noted_dirs(const char *path, unsigned mode, struct file_dirs *made,
                         struct err *err) MUST_CHECK;
void file_dirs_add(struct file_dirs *dirs, const struct file_dirs *more); /* copies */
/* Makes their own names durable. */
int file_dirs_sync(const struct file_dirs *dirs, struct err *err) MUST_CHECK;
/* Removes those in which there is nothing, innermost first. */
void file_dirs_remove(const struct file_dirs *dirs);
void file_dirs_fini(struct file_dirs *dirs);

/* `path` with all that is in it; absent is fine; follows no links. */
int file_remove_tree(const char *path, struct err *err) MUST_CHECK;
bool file_exists(const char *path);
void file_close(int *fd); /* closes and sets -1; -1 is fine */

#endif
