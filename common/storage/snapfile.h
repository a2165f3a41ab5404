/*
 * snapfile.h - .snap files: raft's snapshot of term, index, configuration and the v2 JSON text
 * (formats.md 6). The keys are not in there; they are in snap/db. Works over fs.h; thread: any, one
 * at a time per directory. Errors where no other is named: ERR_IO, ERR_NO_MEMORY (too large).
 */
#ifndef COMMON_STORAGE_SNAPFILE_H
#define COMMON_STORAGE_SNAPFILE_H

#include "common/schema/raftmsg.h"
#include "common/storage/fs.h"
#include "common/storage/wal.h"

/* The bytes of the file: snappb {crc, data}. */
bool snapfile_encode(const struct raft_snapshot *snapshot, struct buf *out) MUST_CHECK;
/* ERR_FORMAT or ERR_CHECKSUM in words; `snapshot` borrows from `bytes`. */
int snapfile_decode(struct slice bytes, struct raft_snapshot *snapshot, struct err *err) MUST_CHECK;

/* For snapfile_save(): which clock to look at, and what it said. */
struct snapfile_times {
    uint64_t (*now_ns)(void); /* NULL: the times are 0 */
    uint64_t encode_ns;
    uint64_t write_ns; /* with the sync of the file */
    uint64_t total_ns;
};

/* Write the file under its name, sync it and the directory. To be followed by a WAL record. */
int snapfile_save(struct fs *fs, const char *dir, const struct raft_snapshot *snapshot,
                  struct snapfile_times *times, struct err *err) MUST_CHECK; /* times: or NULL */

/*
 * Load the newest one that reads well and that the log confirms. One that cannot be read is
 * renamed to NAME.broken; a sound one that the log does not know is passed over.
 *
 * confirmed  wal_valid_snapshots()
 * bytes      takes the content of the file; `snapshot` borrows from it
 * found      false = there is none: fine when the log starts at 0
 * errors     ERR_IO
 */
int snapfile_load_newest(struct fs *fs, const char *dir, const struct wal_positions *confirmed,
                         struct buf *bytes, struct raft_snapshot *snapshot, bool *found,
                         struct err *err) MUST_CHECK;

/*
 * Delete the oldest .snap files until `max` are left; 0 keeps all. And the databases of a leader
 * (.snap.db) that are older than the newest snapshot, however few: raft did not take them.
 *
 * newest  the one saved and recorded last. Files named above it do not count and stay: what a
 *         crash kept from being recorded; its name may be the higher one, for a leader's snapshot
 *         that came to nothing may have gone further
 */
int snapfile_purge(struct fs *fs, const char *dir, const struct raft_snapshot_meta *newest,
                   size_t max, struct err *err) MUST_CHECK;

/*
 * Delete what a crash has left and nobody will ask for: .snap files beyond `loaded` that the log
 * does not confirm, and databases of a leader (.snap.db) that the log does not confirm or that the
 * store is ahead of. Whatever else is there stays. A crash in between leaves some of it for the
 * next start.
 *
 * confirmed  wal_valid_snapshots()
 * loaded     the one that was started from; index 0: none
 * db_index   of the store's last entry
 * removed    how many files
 */
int snapfile_clean(struct fs *fs, const char *dir, const struct wal_positions *confirmed,
                   const struct raft_snapshot_meta *loaded, uint64_t db_index, size_t *removed,
                   struct err *err) MUST_CHECK;

#endif
