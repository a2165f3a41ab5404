/*
 * lmdb_file.c (edge) - see lmdb_file.h.
 *
 * The lock file: LMDB keeps its table of readers and its mutex in a file beside the data. Only one
 * process has the data directory (its lock says so), so that file has no business there: a stale
 * one is removed before opening and ours right after, while it stays mapped. A file that defrag put
 * in the place of another so never shares a table with the one before. Other LMDB programs must not
 * open a file in use: they would not see our readers.
 */
#include "common/storage/lmdb_file.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0600
#define LOCK_BYTES ((BACKEND_READERS_MAX + 64L) * 64) /* a cache line a reader, and its head */
#define COMMON_FLAGS (MDB_NOSUBDIR | MDB_NOTLS)

int lmdb_fail(struct err *err, const char *path, const char *doing, int rc)
{
    switch (rc) {
    case MDB_MAP_FULL:
        err_sys(err, ENOSPC, "%s: cannot %s: the address space given to the database is used up",
                path, doing);
        break;
    case MDB_READERS_FULL:
        err_set(err, ERR_NO_MEMORY, "%s: cannot %s: more than %u reads are open", path, doing,
                BACKEND_READERS_MAX);
        break;
    case MDB_TXN_FULL:
        err_set(err, ERR_NO_MEMORY, "%s: cannot %s: too many changes at once", path, doing);
        break;
    case EFBIG: /* limits and quotas are a full disk to the caller */
    case EDQUOT:
        err_sys(err, rc, "%s: cannot %s", path, doing);
        err->sys = ENOSPC;
        break;
    case MDB_PANIC:
        err_sys(err, EIO, "%s: cannot %s: an earlier write failed; restart the server", path,
                doing);
        break;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        err_set(err, ERR_FORMAT, "%s: cannot %s: %s; is it a database of etcd-server?", path, doing,
                mdb_strerror(rc));
        break;
    default:
        if (rc > 0)
            err_sys(err, rc, "%s: cannot %s", path, doing);
        else
            err_set(err, ERR_DAMAGED, "%s: cannot %s: %s; restore a snapshot", path, doing,
                    mdb_strerror(rc));
    }
    return -1;
}

/* ---- the lock file ---- */

static void remove_lock_file(const char *path)
{
    char *lock = xasprintf("%s-lock", path);

    (void)unlink(lock); /* absent, or LMDB will say what is wrong with it */
    free(lock);
}

/*
 * Reads write into the mapped table: a page of it that finds no room on the disk would be SIGBUS.
 * So it is made here, with all its room, for LMDB to find.
 */
static int make_lock_file(const char *path, struct err *err)
{
    char *lock = xasprintf("%s-lock", path);
    int fd, sys;

    (void)unlink(lock); /* a stale one; open() says when it is something else */
    fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    sys = fd < 0 ? errno : posix_fallocate(fd, 0, LOCK_BYTES);
    if (sys != 0)
        err_sys(err, sys, "%s: cannot make it", lock);
    file_close(&fd);
    free(lock);
    return sys == 0 ? 0 : -1;
}

/* ---- memory ---- */

/* Where the file is mapped: LMDB does not tell, the kernel does. NULL: not found. */
static void *map_address(MDB_env *env)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    void *address = NULL;
    char line[4096 + 128];
    struct stat stat;
    int fd;

    if (maps == NULL || mdb_env_get_fd(env, &fd) != 0 || fstat(fd, &stat) < 0)
        goto out;
    while (address == NULL && fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from, to, offset, inode;

        if (sscanf(line, "%lx-%lx %*s %lx %*s %lu", &from, &to, &offset, &inode) == 4 &&
            inode == stat.st_ino && offset == 0 && to > from)
            address = (void *)(uintptr_t)from; /* NOLINT(performance-no-int-to-ptr): text it was */
    }
out:
    if (maps != NULL)
        (void)fclose(maps); /* was only read */
    return address;
}

/* Pages stay once they are read, and those of today's file are read now. */
static int lock_pages(const struct lmdb_file_options *options, const char *path, MDB_env *env,
                      struct err *err)
{
    void *address = map_address(env);
    MDB_envinfo info;
    int rc = mdb_env_info(env, &info);

    if (rc != 0)
        return lmdb_fail(err, path, "measure the database", rc);
    if (address == NULL) {
        err_set(err, ERR_IO,
                "%s: cannot lock the database in memory: /proc/self/maps does not "
                "show it; is /proc mounted?",
                path);
        return -1;
    }
    if (mlock2(address, options->lock_bytes, MLOCK_ONFAULT) < 0) {
        err_sys(err, errno,
                "%s: cannot lock %" PRIu64
                " bytes of the database in memory; raise the limit (ulimit -l, LimitMEMLOCK=)",
                path, options->lock_bytes);
        return -1;
    }
    /* a kernel without this reads them when they are asked for */
    (void)madvise(address,
                  MIN((info.me_last_pgno + 1) * (size_t)sysconf(_SC_PAGESIZE), options->lock_bytes),
                  MADV_POPULATE_READ);
    return 0;
}

/* ---- opening ---- */

static int open_env(const struct lmdb_file_options *options, const char *path, unsigned flags,
                    MDB_env **out, struct err *err)
{
    MDB_env *env = NULL;
    int rc = mdb_env_create(&env);

    if (rc != 0)
        return lmdb_fail(err, path, "open the database", rc);
    if (options->read_only)
        flags |= MDB_RDONLY | MDB_NOLOCK;
    else if (make_lock_file(path, err) < 0) {
        mdb_env_close(env);
        remove_lock_file(path);
        return -1;
    }
    if ((rc = mdb_env_set_mapsize(env, options->map_bytes)) != 0 ||
        (rc = mdb_env_set_maxreaders(env, BACKEND_READERS_MAX)) != 0 ||
        (rc = mdb_env_set_maxdbs(env, BUCKET_COUNT)) != 0 ||
        (rc = mdb_env_open(env, path, COMMON_FLAGS | flags, FILE_MODE)) != 0) {
        mdb_env_close(env);
        if (!options->read_only)
            remove_lock_file(path);
        return lmdb_fail(err, path, "open the database", rc);
    }
    if (!options->read_only)
        remove_lock_file(path);
    if (options->lock_bytes != 0 && lock_pages(options, path, env, err) < 0) {
        mdb_env_close(env);
        return -1;
    }
    *out = env;
    return 0;
}

/* Open the trees; with MDB_CREATE as `flags` they are made. */
static int open_trees(struct lmdb_file *file, unsigned flags)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(file->env, NULL, flags == MDB_CREATE ? 0 : MDB_RDONLY, &txn);

    if (rc != 0)
        return rc;
    for (int i = 0; i < BUCKET_COUNT && rc == 0; i++)
        rc = mdb_dbi_open(txn, bucket_name((enum bucket)i), flags, &file->trees[i]);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

int lmdb_file_open(const struct lmdb_file_options *options, const char *path, unsigned env_flags,
                   unsigned tree_flags, struct lmdb_file **out, struct err *err)
{
    struct lmdb_file *file = xalloc(sizeof(*file));
    int rc;

    file->references = 1;
    if (open_env(options, path, env_flags | (options->no_fsync ? MDB_NOSYNC : 0), &file->env, err) <
        0) {
        free(file);
        return -1;
    }
    rc = open_trees(file, tree_flags);
    if (rc != 0) {
        lmdb_file_free(file);
        return lmdb_fail(err, path, "open its buckets", rc);
    }
    *out = file;
    return 0;
}

void lmdb_file_free(struct lmdb_file *file)
{
    if (file == NULL)
        return;
    mdb_env_close(file->env);
    free(file);
}

int lmdb_file_count(const struct lmdb_file *file, MDB_txn *txn, uint64_t *bytes)
{
    uint64_t pages = 2; /* metas */
    MDB_stat stat = {.ms_psize = 0};

    for (MDB_dbi tree = 0; tree < BUCKET_COUNT + 2; tree++) {
        int rc = mdb_stat(txn, tree < 2 ? tree : file->trees[tree - 2], &stat);

        if (rc != 0)
            return rc;
        pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    *bytes = pages * stat.ms_psize;
    return 0;
}
