/*
 * backend_lmdb.c (edge) - see backend.h: the buckets as named trees of one LMDB file. How a file is
 * opened is lmdb_file.h.
 *
 * Durable: each commit is one LMDB transaction: pages written, fdatasync, then the meta page
 * written through O_DSYNC. A failed commit leaves the old meta, so a full disk changes nothing;
 * pages that were written are not in use and are written again. A crash leaves the last commit.
 *
 * New files come whole: made as PATH.tmp.new or PATH.tmp.defrag, synced, renamed, directory synced.
 * A crash leaves the old file and a temporary one, removed at the next open.
 *
 *   backend->file --> current  <-- reads begun since the last defrag
 *                     previous <-- reads begun before; closed when the last of them ends
 *
 * The lock of struct lmdb covers the pointer and the counts of files; LMDB's own covers the rest.
 */
#include "common/base/file.h"
#include "common/storage/backend_impl.h"
#include "common/storage/batch.h"
#include "common/storage/lmdb_check.h"
#include "common/storage/lmdb_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_SUFFIX ".tmp.new"
#define DEFRAG_SUFFIX ".tmp.defrag"
#define COPY_BYTES MIB /* a transaction of defrag: LMDB keeps the memory of the largest */
#ifdef __SANITIZE_THREAD__
#define MAP_BYTES_DEFAULT (BACKEND_MAP_BYTES / 16) /* its shadow leaves no more address space */
#else
#define MAP_BYTES_DEFAULT BACKEND_MAP_BYTES
#endif

struct lmdb {
    struct backend backend;
    char *path; /* owned */
    struct lmdb_file_options how;
    pthread_mutex_t lock;
    struct lmdb_file *file; /* what is read and committed to now */
    struct err name_err;    /* set: its name may be lost with the power, so nothing is committed */
    atomic_uint_fast64_t size, size_in_use;
};

struct lmdb_read {
    struct backend_read read;
    struct lmdb_file *file;
    MDB_txn *txn;
};

struct lmdb_cursor {
    struct backend_cursor cursor;
    MDB_cursor *position;
    bool placed; /* on an entry */
};

static MDB_val val_of(struct slice slice)
{
    /* LMDB does not write through it; its type only lacks the const. */
    return (MDB_val){slice.size, (void *)(uintptr_t)slice.data};
}

static struct slice slice_of_val(const MDB_val *val)
{
    return slice_of(val->mv_data, val->mv_size);
}

/* ---- files ---- */

static struct lmdb_file *file_hold(struct lmdb *lmdb)
{
    struct lmdb_file *file;

    must(pthread_mutex_lock(&lmdb->lock) == 0);
    file = lmdb->file;
    file->references++;
    must(pthread_mutex_unlock(&lmdb->lock) == 0);
    return file;
}

static void file_drop(struct lmdb *lmdb, struct lmdb_file *file)
{
    unsigned left;

    must(pthread_mutex_lock(&lmdb->lock) == 0);
    left = --file->references;
    must(pthread_mutex_unlock(&lmdb->lock) == 0);
    if (left == 0)
        lmdb_file_free(file);
}

/* Put what was written to `temporary` in the place of the file. */
static int move_into_place(const struct lmdb *lmdb, const char *temporary, struct err *err)
{
    if (rename(temporary, lmdb->path) < 0) {
        err_sys(err, errno, "%s: cannot rename it to %s", temporary, lmdb->path);
        return -1;
    }
    return 0;
}

static int create(struct lmdb *lmdb, struct err *err)
{
    char *temporary = xasprintf("%s%s", lmdb->path, NEW_SUFFIX);
    struct lmdb_file *file = NULL;
    int rc = -1;

    if (lmdb_file_open(&lmdb->how, temporary, 0, MDB_CREATE, &file, err) == 0 &&
        move_into_place(lmdb, temporary, err) == 0 && file_sync_parent(lmdb->path, err) == 0) {
        rc = 0;
        lmdb->file = file;
        file = NULL;
    }
    lmdb_file_free(file);
    if (rc < 0)
        (void)unlink(temporary); /* `err` has the cause already */
    free(temporary);
    return rc;
}

static void note_sizes(struct lmdb *lmdb, uint64_t in_use)
{
    struct stat status;
    mdb_filehandle_t fd;

    must(mdb_env_get_fd(lmdb->file->env, &fd) == 0 && fstat(fd, &status) == 0);
    atomic_store(&lmdb->size_in_use, in_use);
    atomic_store(&lmdb->size, (uint64_t)status.st_size);
}

/* A write transaction that writes nothing: it needs no place in the table of readers. */
static int measure(struct lmdb *lmdb, struct err *err)
{
    uint64_t in_use = 0;
    MDB_txn *txn;
    int rc = mdb_txn_begin(lmdb->file->env, NULL, 0, &txn);

    if (rc == 0) {
        rc = lmdb_file_count(lmdb->file, txn, &in_use);
        mdb_txn_abort(txn);
    }
    if (rc != 0)
        return lmdb_fail(err, lmdb->path, "read its size", rc);
    note_sizes(lmdb, in_use);
    return 0;
}

/* ---- changes ---- */

/*
 * LMDB says EIO when a write was cut short, and that is how a full disk begins. A write that failed
 * has left errno; one that was cut short has not. Call with errno set to 0 before what gave `rc`.
 */
static int real_cause(int rc)
{
    return rc == EIO && errno == 0 ? ENOSPC : rc;
}

static int change(const struct lmdb_file *file, MDB_txn *txn, const struct batch_op *op)
{
    MDB_val key = val_of(op->key), value = val_of(op->value);
    MDB_dbi tree = file->trees[op->bucket];
    int rc;

    switch (op->type) {
    case BATCH_PUT:
        if (op->bucket == BUCKET_KEY) { /* nearly always the newest revision */
            rc = mdb_put(txn, tree, &key, &value, MDB_APPEND);
            if (rc != MDB_KEYEXIST)
                return rc;
        }
        return mdb_put(txn, tree, &key, &value, 0);
    case BATCH_DELETE:
        rc = mdb_del(txn, tree, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    return EINVAL;
}

static int check_name(const struct lmdb *lmdb, struct err *err)
{
    if (lmdb->name_err.code == ERR_OK)
        return 0;
    *err = lmdb->name_err;
    return -1;
}

static int lmdb_commit(struct backend *backend, const struct batch *batch, struct err *err)
{
    struct lmdb *lmdb = CONTAINER_OF(backend, struct lmdb, backend);
    uint64_t in_use = 0;
    MDB_txn *txn;
    int rc;

    if (check_name(lmdb, err) < 0)
        return -1;
    rc = mdb_txn_begin(lmdb->file->env, NULL, 0, &txn);
    if (rc != 0)
        return lmdb_fail(err, lmdb->path, "begin a commit", rc);
    errno = 0;
    for (size_t i = 0; i < batch_op_count(batch) && rc == 0; i++)
        rc = change(lmdb->file, txn, batch_op_at(batch, i));
    if (rc == 0)
        rc = lmdb_file_count(lmdb->file, txn, &in_use);
    if (rc != 0) {
        rc = real_cause(rc);
        mdb_txn_abort(txn);
        return lmdb_fail(err, lmdb->path, "write", rc);
    }
    rc = real_cause(mdb_txn_commit(txn));
    if (rc != 0)
        return lmdb_fail(err, lmdb->path, "commit", rc);
    note_sizes(lmdb, in_use);
    return 0;
}

/* ---- reads ---- */

static int lmdb_read_begin(struct backend *backend, struct backend_read **read, struct err *err)
{
    struct lmdb *lmdb = CONTAINER_OF(backend, struct lmdb, backend);
    struct lmdb_file *file;
    struct lmdb_read *mine;
    MDB_txn *txn;
    int rc;

    if (atomic_load(&backend->reads) >= BACKEND_READERS_MAX)
        return lmdb_fail(err, lmdb->path, "begin a read", MDB_READERS_FULL);
    file = file_hold(lmdb);
    rc = mdb_txn_begin(file->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        file_drop(lmdb, file);
        return lmdb_fail(err, lmdb->path, "begin a read", rc);
    }
    mine = xalloc(sizeof(*mine));
    mine->file = file;
    mine->txn = txn;
    *read = &mine->read;
    return 0;
}

static void lmdb_read_end(struct backend_read *read)
{
    struct lmdb_read *mine = CONTAINER_OF(read, struct lmdb_read, read);

    mdb_txn_abort(mine->txn);
    file_drop(CONTAINER_OF(read->backend, struct lmdb, backend), mine->file);
    free(mine);
}

static int lmdb_read_renew(struct backend_read *read, struct err *err)
{
    struct lmdb_read *mine = CONTAINER_OF(read, struct lmdb_read, read);
    struct lmdb *lmdb = CONTAINER_OF(read->backend, struct lmdb, backend);
    struct lmdb_file *file = file_hold(lmdb);
    MDB_txn *txn = mine->txn;
    int rc;

    if (file == mine->file) {
        mdb_txn_reset(txn);
        rc = mdb_txn_renew(txn);
        file_drop(lmdb, file);
        return rc == 0 ? 0 : lmdb_fail(err, lmdb->path, "renew a read", rc);
    }
    rc = mdb_txn_begin(file->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        file_drop(lmdb, file);
        return lmdb_fail(err, lmdb->path, "renew a read", rc);
    }
    mdb_txn_abort(mine->txn);
    file_drop(lmdb, mine->file);
    mine->file = file;
    mine->txn = txn;
    return 0;
}

static bool lmdb_get(struct backend_read *read, enum bucket bucket, struct slice key,
                     struct slice *value)
{
    struct lmdb_read *mine = CONTAINER_OF(read, struct lmdb_read, read);
    MDB_val wanted = val_of(key), found;

    if (key.size == 0 || mdb_get(mine->txn, mine->file->trees[bucket], &wanted, &found) != 0)
        return false;
    *value = slice_of_val(&found);
    return true;
}

static struct backend_cursor *lmdb_cursor_open(struct backend_read *read, enum bucket bucket)
{
    struct lmdb_read *mine = CONTAINER_OF(read, struct lmdb_read, read);
    struct lmdb_cursor *cursor = xalloc(sizeof(*cursor));
    int rc = mdb_cursor_open(mine->txn, mine->file->trees[bucket], &cursor->position);

    must(rc == 0); /* a few hundred bytes, like xalloc() */
    return &cursor->cursor;
}

static void lmdb_cursor_close(struct backend_cursor *cursor)
{
    struct lmdb_cursor *mine = CONTAINER_OF(cursor, struct lmdb_cursor, cursor);

    mdb_cursor_close(mine->position);
    free(mine);
}

static bool place(struct lmdb_cursor *mine, MDB_cursor_op operation, struct slice key,
                  struct slice *found, struct slice *value)
{
    MDB_val at = val_of(key), data;

    mine->placed = mdb_cursor_get(mine->position, &at, &data, operation) == 0;
    if (mine->placed) {
        *found = slice_of_val(&at);
        *value = slice_of_val(&data);
    }
    return mine->placed;
}

static bool lmdb_cursor_seek(struct backend_cursor *cursor, struct slice key, struct slice *found,
                             struct slice *value)
{
    struct lmdb_cursor *mine = CONTAINER_OF(cursor, struct lmdb_cursor, cursor);
    MDB_cursor_op operation = key.size == 0 ? MDB_FIRST : MDB_SET_RANGE; /* LMDB has no empty key */

    return place(mine, operation, key, found, value);
}

static bool lmdb_cursor_next(struct backend_cursor *cursor, struct slice *found,
                             struct slice *value)
{
    struct lmdb_cursor *mine = CONTAINER_OF(cursor, struct lmdb_cursor, cursor);

    return mine->placed && place(mine, MDB_NEXT, SLICE_EMPTY, found, value);
}

static bool lmdb_cursor_last(struct backend_cursor *cursor, struct slice *found,
                             struct slice *value)
{
    struct lmdb_cursor *mine = CONTAINER_OF(cursor, struct lmdb_cursor, cursor);

    return place(mine, MDB_LAST, SLICE_EMPTY, found, value);
}

static uint64_t lmdb_size(struct backend *backend)
{
    return atomic_load(&CONTAINER_OF(backend, struct lmdb, backend)->size);
}

static uint64_t lmdb_size_in_use(struct backend *backend)
{
    return atomic_load(&CONTAINER_OF(backend, struct lmdb, backend)->size_in_use);
}

/* ---- defrag: write everything again, in order, into full pages ---- */

/* Copy entries of one tree until `bytes` are in the transaction; *more tells what is left. */
static int copy_some(MDB_cursor *from, MDB_cursor_op first, MDB_txn *to, MDB_dbi tree, bool *more)
{
    size_t bytes = 0;
    MDB_val key, value;
    int rc = mdb_cursor_get(from, &key, &value, first);

    while (rc == 0) {
        rc = mdb_put(to, tree, &key, &value, MDB_APPEND);
        bytes += key.mv_size + value.mv_size;
        if (rc == 0 && bytes >= COPY_BYTES)
            break; /* the cursor stays on what was copied */
        if (rc == 0)
            rc = mdb_cursor_get(from, &key, &value, MDB_NEXT);
    }
    *more = rc == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int copy_tree(MDB_txn *source, MDB_dbi from_tree, const struct lmdb_file *file,
                     MDB_dbi to_tree)
{
    MDB_cursor_op operation = MDB_FIRST;
    MDB_cursor *from;
    MDB_txn *txn;
    bool more = true;
    int rc = mdb_cursor_open(source, from_tree, &from);

    if (rc != 0)
        return rc;
    while (rc == 0 && more) {
        rc = mdb_txn_begin(file->env, NULL, 0, &txn);
        if (rc != 0)
            break;
        errno = 0;
        rc = copy_some(from, operation, txn, to_tree, &more);
        if (rc == 0)
            rc = real_cause(mdb_txn_commit(txn));
        else
            mdb_txn_abort(txn);
        operation = MDB_NEXT;
    }
    mdb_cursor_close(from);
    return rc;
}

/* All of the current file into `file`, durably; from then on `file` commits durably. */
static int copy_all(struct lmdb *lmdb, struct lmdb_file *file)
{
    MDB_txn *source;
    int rc = mdb_txn_begin(lmdb->file->env, NULL, MDB_RDONLY, &source);

    if (rc != 0)
        return rc;
    for (int i = 0; i < BUCKET_COUNT && rc == 0; i++)
        rc = copy_tree(source, lmdb->file->trees[i], file, file->trees[i]);
    mdb_txn_abort(source);
    if (rc == 0)
        rc = mdb_env_sync(file->env, 1);
    if (rc == 0 && !lmdb->how.no_fsync)
        rc = mdb_env_set_flags(file->env, MDB_NOSYNC, 0);
    return rc;
}

static int lmdb_defrag(struct backend *backend, struct err *err)
{
    struct lmdb *lmdb = CONTAINER_OF(backend, struct lmdb, backend);
    char *temporary = xasprintf("%s%s", lmdb->path, DEFRAG_SUFFIX);
    struct lmdb_file *file = NULL, *old = NULL;
    int rc = -1, status;

    (void)unlink(temporary); /* what a crash left; LMDB would go on with it */
    if (check_name(lmdb, err) < 0 ||
        lmdb_file_open(&lmdb->how, temporary, MDB_NOSYNC, MDB_CREATE, &file, err) < 0)
        goto out;
    status = copy_all(lmdb, file);
    if (status != 0) {
        (void)lmdb_fail(err, temporary, "write the defragmented file", status); /* sets the error */
        goto out;
    }
    if (move_into_place(lmdb, temporary, err) < 0)
        goto out;
    must(pthread_mutex_lock(&lmdb->lock) == 0);
    old = lmdb->file;
    lmdb->file = file;
    must(pthread_mutex_unlock(&lmdb->lock) == 0);
    file_drop(lmdb, old); /* its reads hold it */
    file = NULL;
    /* Unless this succeeds nobody knows which file is found after a power cut: as final as a sync
     * that fails in a commit. */
    if (file_sync_parent(lmdb->path, err) < 0) {
        lmdb->name_err = *err;
        lmdb->name_err.sys = EIO; /* never taken for a full disk, which would be waited for */
    } else {
        rc = measure(lmdb, err);
    }
out:
    if (file != NULL) {
        lmdb_file_free(file);
        (void)unlink(temporary); /* `err` has the cause already */
    }
    free(temporary);
    return rc;
}

/* ---- opening and closing ---- */

static void lmdb_close(struct backend *backend)
{
    struct lmdb *lmdb = CONTAINER_OF(backend, struct lmdb, backend);

    lmdb_file_free(lmdb->file);
    must(pthread_mutex_destroy(&lmdb->lock) == 0);
    free(lmdb->path);
    free(lmdb);
}

static const struct backend_ops lmdb_ops = {
    .close = lmdb_close,
    .commit = lmdb_commit,
    .read_begin = lmdb_read_begin,
    .read_end = lmdb_read_end,
    .read_renew = lmdb_read_renew,
    .get = lmdb_get,
    .cursor_open = lmdb_cursor_open,
    .cursor_close = lmdb_cursor_close,
    .cursor_seek = lmdb_cursor_seek,
    .cursor_next = lmdb_cursor_next,
    .cursor_last = lmdb_cursor_last,
    .size = lmdb_size,
    .size_in_use = lmdb_size_in_use,
    .defrag = lmdb_defrag,
};

/* What a crash in create() or in a defrag left. */
static void remove_leftovers(const char *path)
{
    static const char *const suffixes[] = {NEW_SUFFIX, DEFRAG_SUFFIX};

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char *temporary = xasprintf("%s%s", path, suffixes[i]);

        (void)unlink(temporary); /* absent is fine */
        free(temporary);
    }
}

int backend_open_lmdb(const char *path, const struct backend_options *options,
                      struct backend **backend, struct err *err)
{
    struct lmdb *lmdb = xalloc(sizeof(*lmdb));
    int rc;

    lmdb->backend.ops = &lmdb_ops;
    atomic_init(&lmdb->backend.reads, 0);
    lmdb->path = xstrdup(path);
    lmdb->how.map_bytes = options->map_bytes != 0 ? options->map_bytes : MAP_BYTES_DEFAULT;
    lmdb->how.lock_bytes = MIN(options->lock_bytes, lmdb->how.map_bytes);
    lmdb->how.no_fsync = options->no_fsync;
    lmdb->how.read_only = options->read_only;
    must(pthread_mutex_init(&lmdb->lock, NULL) == 0);
    if (!options->read_only)
        remove_leftovers(path);
    if (options->read_only || file_exists(path)) {
        rc = lmdb_check(path, err);
        if (rc == 0)
            rc = lmdb_file_open(&lmdb->how, path, 0, 0, &lmdb->file, err);
    } else {
        rc = create(lmdb, err);
    }
    if (rc == 0 && !options->read_only)
        rc = measure(lmdb, err);
    if (rc < 0) {
        lmdb_close(&lmdb->backend);
        return -1;
    }
    *backend = &lmdb->backend;
    return 0;
}
