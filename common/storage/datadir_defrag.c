/* datadir_defrag.c - see datadir_defrag.h. */
#include "common/storage/datadir_defrag.h"

#include "common/storage/backend.h"
#include "common/storage/bolt_file.h"
#include "common/storage/bolt_overlay.h"
#include "common/storage/datadir.h"

static int defrag_lmdb(struct datadir *dir, struct err *err)
{
    const struct backend_options options = {.map_bytes = 0};
    struct backend *backend = NULL;
    int rc;

    if (backend_open_lmdb(dir->db, &options, &backend, err) < 0)
        return -1;
    rc = backend_defrag(backend, err);
    if (rc == 0)
        rc = datadir_relock(dir, err);
    backend_close(backend);
    return rc;
}

/* The new file is complete and durable before it takes the name of the old one. */
static int defrag_bolt(struct datadir *dir, struct err *err)
{
    /* a crash's is removed at the next start */
    char *temporary = xasprintf("%s.tmp.defrag", dir->db);
    struct bolt_overlay overlay;
    struct bolt *bolt = NULL;
    int rc = bolt_open_held(dir->db, &bolt, err);

    if (rc == 0) {
        bolt_overlay_init(&overlay, bolt, NULL, 0, NULL, 0);
        rc = bolt_file_write(&overlay.source, bolt_info(bolt).page_bytes, temporary, err);
        if (rc == 0)
            rc = datadir_replace_db(dir, temporary, err);
        if (rc < 0)
            (void)dir->fs->ops->unlink(dir->fs, temporary, &(struct err){.code = ERR_OK});
    }
    bolt_close(bolt);
    free(temporary);
    return rc;
}

static int defrag(struct datadir *dir, struct err *err)
{
    enum datadir_db kind;

    if (datadir_db_kind(dir->fs, dir->db, &kind, err) < 0)
        return -1;
    switch (kind) {
    case DATADIR_DB_LMDB:
        return defrag_lmdb(dir, err);
    case DATADIR_DB_BOLT:
        return defrag_bolt(dir, err);
    case DATADIR_DB_ABSENT: /* an empty file: the log has everything */
        return 0;
    case DATADIR_DB_UNKNOWN:
        break;
    }
    err_set(err, ERR_FORMAT, "%s is neither a database of etcd-server nor of etcd", dir->db);
    return -1;
}

static int file_bytes(struct datadir *dir, uint64_t *bytes, struct err *err)
{
    return dir->lock->ops->size(dir->lock, bytes, err);
}

/* The names of both kinds, and of LMDB's lock. What has its place by then has another name. */
static void name_unfinished(struct leftover *leftover, const char *db)
{
    static const char *const suffixes[] = {".tmp.defrag", ".tmp.defrag-lock"};

    leftover_hold(leftover);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char *path = xasprintf("%s%s", db, suffixes[i]);

        leftover_add(leftover, path);
        free(path);
    }
    leftover_release(leftover);
}

int datadir_defrag(const char *root, struct leftover *leftover, uint64_t *before, uint64_t *after,
                   struct err *err)
{
    char *db = xasprintf("%s/member/snap/db", root);
    struct datadir dir = {.fs = NULL};
    int rc = -1;

    if (!fs_posix()->ops->exists(fs_posix(), db))
        err_set(err, ERR_MISSING, "there is no database %s", db);
    else if (datadir_open(fs_posix(), root, NULL, &dir, err) == 0 &&
             file_bytes(&dir, before, err) == 0) {
        name_unfinished(leftover, db); /* it is locked: another's are not there */
        if (defrag(&dir, err) == 0)
            rc = file_bytes(&dir, after, err);
    }
    datadir_close(&dir);
    free(db);
    return rc;
}
