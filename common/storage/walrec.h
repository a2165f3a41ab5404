/*
 * walrec.h - records and frames of the write-ahead log (walpb; formats.md 5.2, 5.3): bytes only.
 *
 * A frame is an 8-byte length, a record, and zeros up to the next multiple of 8. A record carries
 * the running CRC-32C of all data of the log so far. Knows no files; pure; thread: any.
 */
#ifndef COMMON_STORAGE_WALREC_H
#define COMMON_STORAGE_WALREC_H

#include "common/schema/raftmsg.h"

enum wal_record_type {
    WAL_METADATA = 1, /* struct wal_metadata */
    WAL_ENTRY = 2,    /* struct raft_entry */
    WAL_STATE = 3,    /* struct raft_hard_state */
    WAL_CRC = 4,      /* no data: `crc` is the running value so far */
    WAL_SNAPSHOT = 5, /* struct wal_snapshot */
};

struct wal_record {
    enum wal_record_type type;
    uint32_t crc;
    struct slice data; /* borrowed from what was decoded */
};

struct wal_metadata {
    uint64_t node_id;
    uint64_t cluster_id;
};

struct wal_snapshot {
    uint64_t index;
    uint64_t term;
    const struct raft_conf_state *conf_state; /* NULL = left out (index 0); borrowed */
    bool installed; /* it came from the leader and took the place of the log: what stands behind it
                       in earlier records is void. Field 15, which etcd passes over */
};

#define WAL_LENGTH_BYTES 8U
#define WAL_METADATA_MAX_BYTES 64U /* more is damage; two ids take 22 */

struct wal_frame_length {
    uint64_t record_bytes;
    unsigned padding; /* 0 to 7 */
};

/* The length field at the start of a frame; both 0 = the end of the segment. */
struct wal_frame_length wal_frame_length(const uint8_t bytes[WAL_LENGTH_BYTES]);

/*
 * Append one frame. *crc is the running value: continued over `data` and stored, except for
 * WAL_CRC, which takes no data and stores it as it is. False past out->max: *crc is unchanged.
 */
bool wal_frame_append(struct buf *out, enum wal_record_type type, struct slice data,
                      uint32_t *crc) MUST_CHECK;

/* ERR_FORMAT when it is no record; the checksum is the caller's to compare. */
int wal_record_decode(struct slice bytes, struct wal_record *record, struct err *err) MUST_CHECK;

bool wal_metadata_encode(const struct wal_metadata *metadata, struct buf *out) MUST_CHECK;
int wal_metadata_decode(struct slice bytes, struct wal_metadata *metadata,
                        struct err *err) MUST_CHECK;
bool wal_snapshot_encode(const struct wal_snapshot *snapshot, struct buf *out) MUST_CHECK;
/* `conf_state` takes what the record holds, empty when it holds none; may be NULL. */
int wal_snapshot_decode(struct slice bytes, struct wal_snapshot *snapshot,
                        struct raft_conf_state *conf_state, struct err *err) MUST_CHECK;

#endif
