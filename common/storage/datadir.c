/*
 * datadir.c - see datadir.h. Opening, in this order:
 *
 *   directories made -> their names synced -> db made if missing, locked -> unfinished deleted
 *
 * Nothing is deleted before the lock is held: it may be another process that is not finished.
 */
#include "common/storage/datadir.h"
#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/storage/bolt_page.h"
#include "common/storage/lmdb_check.h"

#include <errno.h>
#define META_MAGIC_AT 16 /* in LMDB and bbolt alike a page header of 16 bytes comes first */
#define PAGE_SMALLEST 1024U
#define PAGE_LARGEST 65536U

/* ---- what kind of database ---- */

static int magic_at(struct fs_file *file, uint64_t page, uint32_t *magic, struct err *err)
{
    uint8_t bytes[4];
    size_t got;

    *magic = 0;
    if (file->ops->read_at(file, page + META_MAGIC_AT, bytes, sizeof(bytes), &got, err) < 0)
        return -1;
    if (got == sizeof(bytes))
        *magic = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                 (uint32_t)bytes[3] << 24;
    return 0;
}

/* Page 0, or page 1 of whatever page size, should the first be damaged. */
static int look_for_magic(struct fs_file *file, enum datadir_db *kind, struct err *err)
{
    uint32_t magic;

    *kind = DATADIR_DB_UNKNOWN;
    for (uint64_t page = 0; page <= PAGE_LARGEST && *kind == DATADIR_DB_UNKNOWN;
         page = page == 0 ? PAGE_SMALLEST : page * 2) {
        if (magic_at(file, page, &magic, err) < 0)
            return -1;
        if (magic == LMDB_MAGIC)
            *kind = DATADIR_DB_LMDB;
        else if (magic == BOLT_MAGIC)
            *kind = DATADIR_DB_BOLT;
    }
    return 0;
}

int datadir_db_kind(struct fs *fs, const char *path, enum datadir_db *kind, struct err *err)
{
    struct fs_file *file = NULL;
    uint64_t size = 0;
    int rc;

    *kind = DATADIR_DB_ABSENT;
    if (!fs->ops->exists(fs, path))
        return 0;
    rc = fs->ops->open(fs, path, FS_READ, 0, &file, err);
    if (rc == 0)
        rc = file->ops->size(file, &size, err);
    if (rc == 0 && size != 0)
        rc = look_for_magic(file, kind, err);
    fs_close(file);
    return rc;
}

/* ---- making ---- */

/* One directory, and its name durable: what is synced inside is lost with an unsynced name. */
static int make_dir(struct fs *fs, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *parent;
    int rc;

    if (fs->ops->exists(fs, path))
        return 0;
    parent = slash == NULL ? xstrdup(".") : xstrndup(path, MAX((size_t)(slash - path), 1));
    rc = fs->ops->mkdir(fs, path, 0700, err);
    if (rc == 0)
        rc = fs->ops->sync_dir(fs, parent, err);
    free(parent);
    return rc;
}

/* The directories above the last name of `path`, and that too if `last`. */
static int make_dirs(struct fs *fs, const char *path, bool last, struct err *err)
{
    char *copy = xstrdup(path);
    int rc = 0;

    for (char *at = copy + 1; rc == 0 && copy[0] != '\0' && *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        rc = make_dir(fs, copy, err);
        *at = '/';
    }
    if (rc == 0 && last)
        rc = make_dir(fs, path, err);
    free(copy);
    return rc;
}

/* The directory that `path` lies in; one that is not ours to open was not made by us either. */
static int sync_parent(struct fs *fs, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash == NULL ? xstrdup(".") : xstrndup(path, MAX((size_t)(slash - path), 1));
    struct err cause = ERR_INIT;
    int rc = fs->ops->sync_dir(fs, parent, &cause);

    free(parent);
    if (rc == 0 || cause.sys == EACCES || cause.sys == EPERM)
        return 0;
    *err = cause;
    return -1;
}

/* Whoever made them may have died before their names were durable: they are there, and with the
 * next power cut they are gone, with all that was synced inside. */
static int sync_names(const struct datadir *dir, struct err *err)
{
    return sync_parent(dir->fs, dir->root, err) < 0 || sync_parent(dir->fs, dir->member, err) < 0 ||
                   sync_parent(dir->fs, dir->snap, err) < 0 ||
                   sync_parent(dir->fs, dir->wal, err) < 0
               ? -1
               : 0;
}

/* A path without slashes at its end, so that names can be put behind it. */
static char *without_slashes(const char *path)
{
    size_t bytes = strlen(path);

    while (bytes > 1 && path[bytes - 1] == '/')
        bytes--;
    return xstrndup(path, bytes);
}

static int lock_db(struct datadir *dir, struct fs_file **lock, struct err *err)
{
    struct fs_file *file = NULL;

    if (dir->fs->ops->open(dir->fs, dir->db, FS_READ | FS_WRITE | FS_CREATE, 0600, &file, err) < 0)
        return -1;
    if (file->ops->lock(file, err) < 0) {
        fs_close(file);
        return -1;
    }
    *lock = file;
    return 0;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

struct cleaning {
    struct datadir *dir;
    struct buf found; /* owned; names, each with its NUL */
};

static int note_unfinished(void *arg, const char *name, struct err *err)
{
    struct cleaning *cleaning = arg;

    if (!starts_with(name, "tmp") && !starts_with(name, "db.tmp."))
        return 0;
    if (buf_append(&cleaning->found, name, strlen(name) + 1))
        return 0;
    err_set(err, ERR_NO_MEMORY, "%s: too many unfinished files; delete those named tmp*",
            cleaning->dir->snap);
    return -1;
}

static int delete_unfinished(struct datadir *dir, struct err *err)
{
    struct cleaning cleaning = {.dir = dir, .found = BUF_INIT(MIB)};
    int rc = dir->fs->ops->list(dir->fs, dir->snap, note_unfinished, &cleaning, err);

    while (rc == 0 && buf_used(&cleaning.found) != 0) {
        const char *name = (const char *)cleaning.found.data + cleaning.found.start;
        char *path = xasprintf("%s/%s", dir->snap, name);

        rc = dir->fs->ops->unlink(dir->fs, path, err);
        free(path);
        buf_consume(&cleaning.found, strlen(name) + 1);
    }
    buf_free(&cleaning.found);
    return rc;
}

int datadir_open(struct fs *fs, const char *root, const char *wal_dir, struct datadir *dir,
                 struct err *err)
{
    struct datadir made = {.fs = fs, .root = without_slashes(root)};

    made.member = xasprintf("%s/member", made.root);
    made.snap = xasprintf("%s/snap", made.member);
    made.db = xasprintf("%s/db", made.snap);
    made.wal = wal_dir != NULL ? without_slashes(wal_dir) : xasprintf("%s/wal", made.member);
    if (make_dirs(fs, made.snap, true, err) < 0 || make_dirs(fs, made.wal, false, err) < 0 ||
        sync_names(&made, err) < 0 || lock_db(&made, &made.lock, err) < 0 ||
        delete_unfinished(&made, err) < 0) {
        datadir_close(&made);
        return -1;
    }
    *dir = made;
    return 0;
}

void datadir_close(struct datadir *dir)
{
    fs_close(dir->lock);
    free(dir->root);
    free(dir->member);
    free(dir->snap);
    free(dir->db);
    free(dir->wal);
    *dir = (struct datadir){0};
}

int datadir_relock(struct datadir *dir, struct err *err)
{
    struct fs_file *lock;

    if (lock_db(dir, &lock, err) < 0)
        return -1;
    fs_close(dir->lock);
    dir->lock = lock;
    return 0;
}

int datadir_replace_db(struct datadir *dir, const char *path, struct err *err)
{
    if (dir->fs->ops->rename(dir->fs, path, dir->db, err) < 0 ||
        dir->fs->ops->sync_dir(dir->fs, dir->snap, err) < 0)
        return -1;
    return datadir_relock(dir, err);
}

char *datadir_received_db(const struct datadir *dir, uint64_t index)
{
    return xasprintf("%s/%016" PRIx64 ".snap.db", dir->snap, index);
}
