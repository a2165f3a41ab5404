/*
 * lmdb_file.h (edge) - one open LMDB file with a tree for each bucket, for backend_lmdb.c. Knows
 * LMDB's environments, its lock file and its errors; not who reads or commits. Thread: any.
 */
#ifndef COMMON_STORAGE_LMDB_FILE_H
#define COMMON_STORAGE_LMDB_FILE_H

#include "common/storage/backend.h"

#include <lmdb.h>

struct lmdb_file_options {
    uint64_t map_bytes;  /* address space */
    uint64_t lock_bytes; /* of the file, from its start, kept in memory; 0 = none */
    bool no_fsync;
    bool read_only; /* nothing is made or removed beside it; nobody else writes it meanwhile */
};

struct lmdb_file {
    MDB_env *env; /* owned */
    MDB_dbi trees[BUCKET_COUNT];
    unsigned references; /* the backend's and one a read: counted by who shares it */
};

/*
 * Open `path`, or make it.
 *
 * env_flags   of LMDB, besides those that every file has
 * tree_flags  MDB_CREATE: the trees are made; else they are there
 * file        set on success only; one reference; lmdb_file_free()
 * errors      as backend_open_lmdb()
 */
int lmdb_file_open(const struct lmdb_file_options *options, const char *path, unsigned env_flags,
                   unsigned tree_flags, struct lmdb_file **file, struct err *err) MUST_CHECK;
void lmdb_file_free(struct lmdb_file *file); /* after its last transaction; NULL is fine */

/* Bytes of what the trees hold, buckets and free pages included; returns an error of LMDB. */
int lmdb_file_count(const struct lmdb_file *file, MDB_txn *txn, uint64_t *bytes) MUST_CHECK;

/* What LMDB's `rc` means for who wanted to do that ("begin a read") with `path`; returns -1. */
int lmdb_fail(struct err *err, const char *path, const char *doing, int rc);

#endif
