/*
 * walread.c - see walread.h. A window of the file slides forward; a length is compared with the
 * size of the file and with WAL_RECORD_MAX_BYTES before memory is taken for it.
 */
#include "common/base/plants.h"
#include "common/storage/walread.h"
#include "common/base/crc32c.h"
#include "common/base/hex.h"

#include <stdarg.h>
#include <stdio.h>

#define WINDOW_BYTES (256 * KIB)
#define SECTOR_BYTES 512U /* a disk writes these whole or not at all */

/* ---- names ---- */

void wal_name_format(struct wal_name name, char text[WAL_NAME_BYTES])
{
    (void)snprintf(text, WAL_NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 ".wal", name.sequence,
                   name.index);
}

static bool parse_name(const char *text, struct wal_name *name)
{
    return strlen(text) == WAL_NAME_BYTES - 1 && text[16] == '-' &&
           strcmp(text + 33, ".wal") == 0 && hex16_read(text, &name->sequence) &&
           hex16_read(text + HEX16_DIGITS + 1, &name->index);
}

static int add_name(void *arg, const char *text, struct err *err)
{
    struct wal_names *names = arg;
    struct wal_name name;

    (void)err;
    if (!parse_name(text, &name))
        return 0;
    names->items = xrealloc(names->items, (names->count + 1) * sizeof(*names->items));
    /* names of equal length: ascending text, ascending value */
    names->items[names->count++] = name;
    return 0;
}

int wal_names_list(struct fs *fs, const char *dir, struct wal_names *names, struct err *err)
{
    *names = (struct wal_names){0};
    return fs->ops->list(fs, dir, add_name, names, err);
}

void wal_names_free(struct wal_names *names)
{
    free(names->items);
    *names = (struct wal_names){0};
}

/* ---- reading ---- */

void wal_reader_init(struct wal_reader *reader)
{
    *reader = (struct wal_reader){0};
}

void wal_reader_fini(struct wal_reader *reader)
{
    free(reader->window);
    reader->window = NULL;
}

int wal_reader_open(struct wal_reader *reader, struct fs_file *file, const char *path,
                    struct err *err)
{
    reader->file = file;
    reader->path = path;
    reader->offset = 0;
    reader->window_at = 0;
    reader->window_bytes = 0;
    return file->ops->size(file, &reader->size, err);
}

int wal_damaged(const struct wal_reader *reader, struct err *err, const char *format, ...)
{
    char what[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args); /* cut is fine */
    va_end(args);
    err_set(err, ERR_DAMAGED,
            "%s: damaged at offset %" PRIu64 ": %s; acknowledged writes may follow, so it is not "
            "cut off: replace this member (etcd-ctl member remove, then member add, on another "
            "member), or restore a backup with etcd-snap restore",
            reader->path, reader->offset, what);
    return -1;
}

static int torn(const struct wal_reader *reader, struct err *err, const char *what)
{
    err_set(err, ERR_TORN, "%s: the record at offset %" PRIu64 " is not complete: %s", reader->path,
            reader->offset, what);
    return -1;
}

/* The bytes [offset, offset + bytes) of the file, *got of them; borrowed until the next call. */
static int look(struct wal_reader *reader, uint64_t offset, size_t bytes, const uint8_t **data,
                size_t *got, struct err *err)
{
    uint64_t end = reader->window_at + reader->window_bytes;
    size_t wanted, more;

    if (offset < reader->window_at || offset > end) {
        reader->window_at = offset;
        reader->window_bytes = 0;
        end = offset;
    }
    if (offset + bytes > end) {
        size_t skip = (size_t)(offset - reader->window_at);

        if (skip != 0)
            memmove(reader->window, reader->window + skip, reader->window_bytes - skip);
        reader->window_at = offset;
        reader->window_bytes -= skip;
        wanted = MAX(bytes, WINDOW_BYTES);
        if (wanted > reader->window_capacity) {
            reader->window = xrealloc(reader->window, wanted);
            reader->window_capacity = wanted;
        }
        if (reader->file->ops->read_at(reader->file, offset + reader->window_bytes,
                                       reader->window + reader->window_bytes,
                                       wanted - reader->window_bytes, &more, err) < 0)
            return -1;
        reader->window_bytes += more;
    }
    *data = reader->window + (offset - reader->window_at);
    *got = MIN(bytes, reader->window_bytes - (size_t)(offset - reader->window_at));
    return 0;
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
    for (size_t at = 0; at < count; at++)
        if (bytes[at] != 0)
            return false;
    return true;
}

/* Was a whole sector under the record never written? Then it is torn and not damaged. */
static bool lost_a_sector(const uint8_t *bytes, size_t count, uint64_t offset)
{
    while (count != 0) {
        size_t piece = MIN(count, (size_t)(SECTOR_BYTES - offset % SECTOR_BYTES));

        if (all_zero(bytes, piece))
            return true;
        bytes += piece;
        count -= piece;
        offset += piece;
    }
    return false;
}

/* The record is all there: is it what was written? */
static int check_record(struct wal_reader *reader, const uint8_t *data,
                        struct wal_frame_length length, struct wal_record *record, struct err *err)
{
    struct err cause = ERR_INIT;
    size_t bytes = (size_t)length.record_bytes;
    uint32_t crc;

    if (wal_record_decode(slice_of(data, bytes), record, &cause) < 0) {
        if (lost_a_sector(data, bytes + length.padding, reader->offset + WAL_LENGTH_BYTES))
            return torn(reader, err, "a sector of it was not written");
        return wal_damaged(reader, err, "%s", cause.text);
    }
    if (record->type == WAL_CRC) {
        if (reader->crc != 0 && record->crc != reader->crc)
            return wal_damaged(reader, err,
                               "the segment continues checksum %08" PRIx32 ", expected %08" PRIx32,
                               record->crc, reader->crc);
        reader->crc = record->crc;
        return 1;
    }
    crc = crc32c(reader->crc, record->data.data, record->data.size);
    if (crc != record->crc && !PLANTED(TORN_TAIL)) {
        if (lost_a_sector(data, bytes + length.padding, reader->offset + WAL_LENGTH_BYTES))
            return torn(reader, err, "a sector of it was not written");
        return wal_damaged(reader, err,
                           "the record's checksum is %08" PRIx32 ", expected %08" PRIx32, crc,
                           record->crc);
    }
    reader->crc = crc;
    return 1;
}

int wal_reader_next(struct wal_reader *reader, struct wal_record *record, struct err *err)
{
    struct wal_frame_length length;
    const uint8_t *data;
    uint64_t left;
    size_t got, bytes;
    int rc;

    if (look(reader, reader->offset, WAL_LENGTH_BYTES, &data, &got, err) < 0)
        return -1;
    if (got == 0)
        return 0;
    if (got < WAL_LENGTH_BYTES)
        return torn(reader, err, "its length is cut short");
    length = wal_frame_length(data);
    if (length.record_bytes == 0 && all_zero(data, WAL_LENGTH_BYTES))
        return 0;
    left = reader->size - MIN(reader->size, reader->offset + WAL_LENGTH_BYTES);
    if (length.record_bytes > left || length.padding > left - length.record_bytes)
        return torn(reader, err, "the file ends inside it");
    if (length.record_bytes > WAL_RECORD_MAX_BYTES)
        return wal_damaged(reader, err, "a length of %" PRIu64 " bytes, at most %lu are allowed",
                           length.record_bytes, WAL_RECORD_MAX_BYTES);
    bytes = (size_t)length.record_bytes + length.padding;
    if (look(reader, reader->offset + WAL_LENGTH_BYTES, bytes, &data, &got, err) < 0)
        return -1;
    if (got < bytes)
        return torn(reader, err, "the file ends inside it");
    rc = check_record(reader, data, length, record, err);
    if (rc > 0)
        reader->offset += WAL_LENGTH_BYTES + bytes;
    return rc;
}
