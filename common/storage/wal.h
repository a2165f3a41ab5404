/*
 * wal.h - the write-ahead log: raft's hard state, entries and snapshot marks, in order, on disk,
 * in etcd's format (formats.md 5).
 *
 * A record's checksum continues that of the one before it. A torn last record is what a power cut
 * leaves: wal_open() copies the segment to NAME.broken and cuts it off. A broken record anywhere
 * else is damage: wal_open() refuses. Works over fs.h; knows no clock, no thread, and not what an
 * entry's payload means.
 *
 * Errors where no other is named: ERR_IO.
 * Thread: wal_create() and wal_open() on the core thread; from then on the one that writes. The
 * functions that only read (wal_exists, wal_read, wal_valid_snapshots) on any, before that.
 *
 * A failed write or sync is final: every later call fails with the same words, for nobody knows
 * any longer what the disk holds. The exception is a full disk (err->sys is ENOSPC) in
 * wal_append() and wal_snapshot_record(): what they wrote is taken back, and they may be retried.
 * A sync that fails for want of space is final too: its err->sys is EIO, the words name the cause.
 */
#ifndef COMMON_STORAGE_WAL_H
#define COMMON_STORAGE_WAL_H

#include "common/storage/fs.h"
#include "common/storage/walrec.h"

struct wal; /* one log open for writing; holds locks on its segments until wal_close() */

struct wal_config {
    struct fs *fs;          /* borrowed for the life of the log */
    const char *dir;        /* .../member/wal; borrowed for the call */
    uint64_t segment_bytes; /* a segment is cut at this size; 0 = WAL_SEGMENT_BYTES */
};

struct wal_position {
    uint64_t index, term; /* of a snapshot; 0, 0 = the start of the log */
};

/* What a log holds behind a position. Owned by the caller; wal_log_free() also after a failure. */
struct wal_log {
    struct wal_metadata metadata;
    struct raft_hard_state hard_state; /* the last one; all 0 when there is none */
    struct raft_entry *entries;        /* from position.index + 1 on, without gaps; later records
                                          have replaced earlier ones (formats.md 5.5) */
    size_t entry_count;
    size_t entry_capacity;
    uint64_t torn_bytes; /* wal_open() cut these off; wal_read() left them out */
    struct arena data;   /* holds what entries[].data points to */
};
void wal_log_free(struct wal_log *log);

/* Snapshot records whose index is not above the last commit: the .snap files that count. */
struct wal_positions {
    struct wal_position *items; /* owned; in the order of the log */
    size_t count;
};
void wal_positions_free(struct wal_positions *positions);

/* Is at least one segment there? An absent directory has none; ERR_IO when it cannot be read. */
int wal_exists(struct fs *fs, const char *dir, bool *exists, struct err *err) MUST_CHECK;

/* Whole log, read only, no locks; a torn end is tolerated. ERR_DAMAGED, ERR_IO, ERR_MISSING. */
int wal_valid_snapshots(struct fs *fs, const char *dir, struct wal_positions *positions,
                        struct err *err) MUST_CHECK;

/*
 * Read what follows `start`, changing nothing; a torn end is left out. For tools and tests.
 * errors  as wal_open(), but for ERR_LOCKED
 */
int wal_read(struct fs *fs, const char *dir, struct wal_position start, struct wal_log *log,
             struct err *err) MUST_CHECK;

/*
 * Make a new log: built in DIR.tmp, synced, renamed to DIR. A left-over DIR.tmp is removed.
 *
 * wal     set on success only; owned by the caller, ends in wal_close()
 * errors  ERR_EXISTS (a log is there already), ERR_IO, ERR_LOCKED
 */
int wal_create(const struct wal_config *config, const struct wal_metadata *metadata,
               struct wal **wal, struct err *err) MUST_CHECK;

/*
 * Lock the segments from `start` on, read them, repair a torn end, leave the log ready to append.
 *
 * start   a snapshot that the log confirms (wal_valid_snapshots), or 0, 0
 * log     set in every case; wal_log_free()
 * wal     set on success only; owned by the caller, ends in wal_close()
 * errors  ERR_MISSING (no segment that starts at or below `start`, or no record of that snapshot),
 *         ERR_DAMAGED, ERR_LOCKED, ERR_IO, ERR_NO_MEMORY
 */
int wal_open(const struct wal_config *config, struct wal_position start, struct wal_log *log,
             struct wal **wal, struct err *err) MUST_CHECK;

/*
 * Write entries and then the hard state; not synced. Cuts the segment when it is full.
 *
 * state    NULL or all 0 = unchanged; copied
 * entries  borrowed for the call; a batch is one write per WAL_BATCH_MAX_BYTES
 * errors   ERR_IO; after ENOSPC nothing of this call is in the log; ERR_NO_MEMORY: an entry above
 *          WAL_RECORD_MAX_BYTES, nothing is written
 */
int wal_append(struct wal *wal, const struct raft_hard_state *state,
               const struct raft_entry *entries, size_t entry_count, struct err *err) MUST_CHECK;

/*
 * Has something been appended since the last sync that a promise may rely on: an entry, or another
 * term or vote? A new commit index alone needs no sync.
 */
bool wal_needs_sync(const struct wal *wal);
int wal_sync(struct wal *wal, struct err *err) MUST_CHECK; /* everything appended is durable */

/* After the snapshot is on disk under its final name: record it and sync. */
int wal_snapshot_record(struct wal *wal, const struct wal_snapshot *snapshot,
                        struct err *err) MUST_CHECK;

/* A snapshot at `index` is recorded: unlock and close the segments that are not needed above it. */
void wal_release(struct wal *wal, uint64_t index);
/* Delete the oldest released segments until `max_wals` files are left; 0 keeps all. */
int wal_purge(struct wal *wal, size_t max_wals, struct err *err) MUST_CHECK;

/* Drop the locks and free. Does not sync: what must be durable was synced. NULL is fine. */
void wal_close(struct wal *wal);

#endif
