/*
 * fs.h - the few file operations that the log and the data directory need, as an interface.
 *
 * Real files behind fs_posix() (edge); a disk that loses unsynced writes, tears sectors, fails and
 * fills up behind the simulator's. wal, snapfile and datadir know only this header.
 * Every operation fills `err` (ERR_IO with errno in err->sys; ENOSPC is how a full disk shows).
 * Thread: any; a file is used by one at a time.
 */
#ifndef COMMON_STORAGE_FS_H
#define COMMON_STORAGE_FS_H

#include "common/base/err.h"
#include "common/base/slice.h"

struct fs_file; /* one open file; owned by who opened it, ends in fs_close() */

enum fs_open_flag {
    FS_READ = 1,
    FS_WRITE = 2,
    FS_CREATE = 4,    /* make it if it is missing */
    FS_EXCLUSIVE = 8, /* with FS_CREATE: ERR_EXISTS if it is there */
    FS_TRUNCATE = 16,
};

typedef int fs_list_fn(void *arg, const char *name, struct err *err); /* -1 stops and is returned */

struct fs {
    const struct fs_ops *ops;
};
struct fs_file {
    const struct fs_ops *ops;
};

struct fs_ops {
    int (*open)(struct fs *fs, const char *path, int flags, unsigned mode, struct fs_file **file,
                struct err *err);
    void (*close)(struct fs_file *file);
    /* *got < bytes only at the end of the file */
    int (*read_at)(struct fs_file *file, uint64_t offset, void *data, size_t bytes, size_t *got,
                   struct err *err);
    int (*write_at)(struct fs_file *file, uint64_t offset, struct slice data, struct err *err);
    /* the content and its size are durable; a failure is final (wal.h) */
    int (*sync)(struct fs_file *file, struct err *err);
    int (*size)(struct fs_file *file, uint64_t *bytes, struct err *err);
    /* make it shorter, or longer with zeros */
    int (*truncate)(struct fs_file *file, uint64_t bytes, struct err *err);
    /* reserve room: the file is then `bytes` long, and what was not written reads as zeros */
    int (*allocate)(struct fs_file *file, uint64_t bytes, struct err *err);
    /* the whole file, for this process alone, until it is closed; ERR_LOCKED: another has it */
    int (*lock)(struct fs_file *file, struct err *err);
    int (*rename)(struct fs *fs, const char *from, const char *to, struct err *err);
    int (*unlink)(struct fs *fs, const char *path, struct err *err); /* absent is fine */
    /* existing is fine */
    int (*mkdir)(struct fs *fs, const char *path, unsigned mode, struct err *err);
    int (*remove_tree)(struct fs *fs, const char *path, struct err *err);
    int (*sync_dir)(struct fs *fs, const char *path, struct err *err);
    bool (*exists)(struct fs *fs, const char *path);
    /* ascending names */
    int (*list)(struct fs *fs, const char *path, fs_list_fn *each, void *arg, struct err *err);
};

struct fs *fs_posix(void); /* borrowed, for the life of the process */

/* Small conveniences over the interface. */
void fs_close(struct fs_file *file); /* NULL is fine */

#endif
