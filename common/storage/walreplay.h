/*
 * walreplay.h - reading a log back, segment after segment: what wal.c and its readers share.
 * Knows the order of records and what each means; does not write, but for wal_repair(). Thread: as
 * wal.h says.
 */
#ifndef COMMON_STORAGE_WALREPLAY_H
#define COMMON_STORAGE_WALREPLAY_H

#include "common/storage/wal.h"
#include "common/storage/walread.h"

struct wal_segment {
    struct wal_name name;
    struct fs_file *file; /* owned */
    char *path;           /* owned */
};

struct wal_segments {
    struct wal_segment *items; /* owned; consecutive sequence numbers */
    size_t count;
};

void wal_segment_fini(struct wal_segment *segment);
void wal_segments_free(struct wal_segments *segments);
struct wal_segment *wal_segments_add(struct wal_segments *segments); /* zeroed; borrowed */

/* Open the last segment whose name has an index <= `index`, and all after it; locked if `write`. */
int wal_segments_open(struct fs *fs, const char *dir, uint64_t index, bool write,
                      struct wal_segments *segments, struct err *err) MUST_CHECK;

/* Where reading ended, in the last segment. */
struct wal_end {
    uint64_t offset;  /* end of the last good record */
    uint64_t size;    /* bytes of the file */
    uint32_t crc;     /* running checksum */
    uint64_t records; /* good ones in the last segment */
    bool has_crc;     /* its crc record is among them */
};

/*
 * Read all segments into `log`, which is emptied first.
 * errors  ERR_TORN in the last segment only, with `end` and `log` filled up to there;
 *         ERR_DAMAGED, ERR_MISSING, ERR_IO, ERR_NO_MEMORY
 */
int wal_replay(const struct wal_segments *segments, struct wal_position start, struct wal_log *log,
               struct wal_end *end, struct err *err) MUST_CHECK;

/* Copy the last segment to NAME.broken, cut it off at `offset`, sync. */
int wal_repair(struct fs *fs, const char *dir, const struct wal_segments *segments, uint64_t offset,
               struct err *err) MUST_CHECK;

#endif
