/*
 * walread.h - one segment of the write-ahead log, record by record, and the names of segments.
 *
 * Tells a torn end (what a power cut leaves) from damage (formats.md 5.5). Memory is bounded by
 * the longest record. Works over fs.h; thread: any, one at a time.
 */
#ifndef COMMON_STORAGE_WALREAD_H
#define COMMON_STORAGE_WALREAD_H

#include "common/storage/fs.h"
#include "common/storage/walrec.h"

struct wal_name {
    uint64_t sequence;
    uint64_t index; /* 1 + that of the last entry before the cut; 0 for the first segment. Goes down
                       where a leader replaced entries, so it is no order of segments */
};

struct wal_names {
    struct wal_name *items; /* owned; ascending by sequence */
    size_t count;
};

#define WAL_NAME_BYTES (16 + 1 + 16 + 4 + 1) /* hex16-hex16.wal and NUL */
void wal_name_format(struct wal_name name, char text[WAL_NAME_BYTES]);

/* The segments in `dir`; other names are left out. wal_names_free() also after a failure. */
int wal_names_list(struct fs *fs, const char *dir, struct wal_names *names,
                   struct err *err) MUST_CHECK;
void wal_names_free(struct wal_names *names);

struct wal_reader {
    struct fs_file *file; /* borrowed */
    const char *path;     /* borrowed; for error texts */
    uint64_t size;        /* bytes of the file */
    uint64_t offset;      /* end of the last good record */
    uint32_t crc;         /* the running checksum; carried over to the next segment */
    uint8_t *window;      /* owned; bytes of the file from window_at on */
    uint64_t window_at;
    size_t window_bytes;
    size_t window_capacity;
};

void wal_reader_init(struct wal_reader *reader);
void wal_reader_fini(struct wal_reader *reader);
/* Go to the start of `file`, keeping the running checksum. */
int wal_reader_open(struct wal_reader *reader, struct fs_file *file, const char *path,
                    struct err *err) MUST_CHECK;

/*
 * 1 = `record` is filled, borrowed until the next call; 0 = the end of the segment.
 * -1: ERR_TORN (what a power cut leaves, if this is the last segment), ERR_DAMAGED, ERR_IO.
 * reader->offset tells where the sound part ends.
 */
int wal_reader_next(struct wal_reader *reader, struct wal_record *record,
                    struct err *err) MUST_CHECK;

/* ERR_DAMAGED with file, offset, what is wrong, and the next command. */
int wal_damaged(const struct wal_reader *reader, struct err *err, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
