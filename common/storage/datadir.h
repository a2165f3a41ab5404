/*
 * datadir.h - the data directory: its names, its making, its lock (formats.md 4). Works over fs.h.
 *
 *     DATA/member/snap/db                  the store: LMDB of ours, or bbolt of etcd
 *     DATA/member/snap/NAME.snap           raft snapshots (snapfile.h)
 *     DATA/member/snap/NAME.snap.db        databases received from a leader
 *     DATA/member/snap/tmp..., db.tmp...   unfinished; deleted at start
 *     DATA/member/wal/                     the log (wal.h), or wherever --wal-dir says
 *
 * The lock is on the file snap/db, of both families that Linux has (fs_posix.c): bbolt takes a
 * flock on it, so a real etcd and a server of ours shut each other out, and so do two of ours. It
 * belongs to the file and not to the name: who renames another file to `db` calls
 * datadir_relock() at once. While it is being replaced the locks on the log's segments stand.
 * Errors where no other is named: ERR_IO, ERR_LOCKED.
 * Thread: core, before others start; datadir_relock() by the one that replaces the file.
 */
#ifndef COMMON_STORAGE_DATADIR_H
#define COMMON_STORAGE_DATADIR_H

#include "common/storage/fs.h"

struct datadir {
    struct fs *fs;        /* borrowed */
    char *root;           /* owned, as all paths; DATA */
    char *member;         /* DATA/member */
    char *snap;           /* DATA/member/snap */
    char *db;             /* DATA/member/snap/db */
    char *wal;            /* DATA/member/wal, or --wal-dir; not made here: wal_create() does */
    struct fs_file *lock; /* owned; the open, locked db */
};

enum datadir_db {
    DATADIR_DB_ABSENT, /* no file, or an empty one */
    DATADIR_DB_LMDB,
    DATADIR_DB_BOLT,
    DATADIR_DB_UNKNOWN, /* neither: damaged, or something else */
};

/* What kind of database is at `path`: by the magic number of its first meta page, or its second. */
int datadir_db_kind(struct fs *fs, const char *path, enum datadir_db *kind,
                    struct err *err) MUST_CHECK;

/*
 * Make what is missing (mode 0700), lock, delete what was unfinished. An absent db is made as an
 * empty file, which LMDB and bbolt both take for a new one: ask datadir_db_kind() for its content.
 *
 * wal_dir  NULL = DATA/member/wal; its parent directories are made
 * dir      set on success only; datadir_close()
 * errors   ERR_LOCKED, ERR_IO
 */
int datadir_open(struct fs *fs, const char *root, const char *wal_dir, struct datadir *dir,
                 struct err *err) MUST_CHECK;
void datadir_close(struct datadir *dir); /* drops the lock; zeroed is fine */

/* Another file is at `db` now: lock that, then drop the old lock. */
int datadir_relock(struct datadir *dir, struct err *err) MUST_CHECK;
/* Put `path`, complete and synced, in the place of `db`, durably, and lock it. */
int datadir_replace_db(struct datadir *dir, const char *path, struct err *err) MUST_CHECK;

/* DATA/member/snap/hex16(index).snap.db; owned by the caller. */
char *datadir_received_db(const struct datadir *dir, uint64_t index) MUST_CHECK;

#endif
