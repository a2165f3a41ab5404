/*
 * boot.h - from a data directory to what the engine starts with (formats.md 12.1).
 *
 * A new directory gets its log with the first members in it; an existing one is read: newest
 * confirmed snapshot, log behind it, backend. A bbolt database (a directory that etcd wrote, or
 * that a restore made) is imported into an LMDB file first; the original stays beside it as
 * db.bbolt. Works over fs.h and backend.h, so the simulator boots its members with it too. Errors
 * where no other is named: ERR_IO. Thread: core, at start.
 */
#ifndef ETCD_SERVER_HOST_BOOT_H
#define ETCD_SERVER_HOST_BOOT_H

#include "common/storage/backend.h"
#include "common/storage/datadir.h"
#include "common/storage/wal.h"

struct boot_config {
    const struct datadir *dir;  /* open and locked; borrowed */
    uint64_t wal_segment_bytes; /* 0 = WAL_SEGMENT_BYTES */
    /* a new member only; a directory that has a log ignores them */
    const char *name, *initial_cluster, *token;
    const char *advertised_peer_urls; /* spelled as in initial_cluster; NULL: are not compared */
    bool joining; /* --initial-cluster-state existing: a log without entries waits for the leader */
    const struct boot_join *join; /* NULL: it is one of the first members */
};

/* A new member that joins a cluster: what that says (join.h). */
struct boot_join {
    uint64_t member_id, cluster_id;
};

struct boot {
    struct wal *wal;                /* owned until it is taken out */
    struct wal_log log;             /* owned */
    struct raft_snapshot snapshot;  /* borrows from snapshot_bytes; index 0 = none */
    struct buf snapshot_bytes;      /* owned */
    struct wal_positions confirmed; /* owned: the snapshots that the log knows */
    bool created;                   /* the directory was new */
};

/* Is there no log: the directory holds no member yet? */
int boot_is_new(const struct datadir *dir, bool *is_new, struct err *err) MUST_CHECK;

/* ERR_USAGE (the cluster flags of a new member), ERR_DAMAGED, ERR_MISSING, ERR_LOCKED, ERR_IO. */
int boot_open_log(const struct boot_config *config, struct boot *boot, struct err *err) MUST_CHECK;
void boot_free(struct boot *boot); /* zeroed is fine */

/*
 * Open DATA/member/snap/db as LMDB, after importing it when it is bbolt. A database older than
 * the snapshot of `boot` is replaced by INDEX.snap.db, what a leader sent, when that is there.
 * Errors: ERR_USAGE (of a newer cluster: nothing was changed), ERR_DAMAGED (none beside a
 * snapshot), ERR_FORMAT, ERR_IO.
 */
int boot_open_backend(struct datadir *dir, const struct boot *boot,
                      const struct backend_options *options, struct backend **backend,
                      struct err *err) MUST_CHECK;

/*
 * Remove what crashes have left in DATA/member/snap: snapshots that were never recorded and
 * databases of a leader that `backend` does not need. When the engine has taken both, and before
 * anything is received. A disk that refuses is told in the log: it can stay there.
 */
void boot_clean(const struct datadir *dir, const struct boot *boot, struct backend *backend);

/* The index of the last log entry whose effects are in `backend`; 0 = none. */
int boot_consistent_index(struct backend *backend, uint64_t *index, struct err *err) MUST_CHECK;

#endif
