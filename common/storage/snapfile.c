/*
 * snapfile.c - see snapfile.h.
 *
 *   hex16(term)-hex16(index).snap   08 crc 12 len raftpb.Snapshot; CRC-32C of the latter, not 0
 *   NAME.snap.broken                could not be read; never looked at again
 *   hex16(index).snap.db            a database that a leader sent; datadir.h names it
 *
 * A file counts when the log has a record of its term and index: it is written before that record,
 * so a crash in between leaves one that was never promised.
 */
#include "common/storage/snapfile.h"
#include "common/base/crc32c.h"
#include "common/base/hex.h"
#include "common/schema/pbwire.h"

#include <stdio.h>

#define NAME_BYTES (16 + 1 + 16 + 5 + 1) /* hex16(term)-hex16(index).snap and NUL */

static void format_name(uint64_t term, uint64_t index, char text[NAME_BYTES])
{
    (void)snprintf(text, NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 ".snap", term, index);
}

bool snapfile_encode(const struct raft_snapshot *snapshot, struct buf *out)
{
    struct buf data = BUF_INIT(out->max);
    uint8_t head[2 * (1 + PB_VARINT_MAX)], *end;
    bool fits = raft_snapshot_encode(snapshot, &data);

    end = pb_put_u64(head, 1, crc32c(0, data.data, data.size));
    end = pb_put_header(end, 2, data.size);
    fits = fits && buf_append(out, head, (size_t)(end - head)) &&
           buf_append_slice(out, buf_slice(&data));
    buf_free(&data);
    return fits;
}

int snapfile_decode(struct slice bytes, struct raft_snapshot *snapshot, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "snappb.Snapshot");
    struct slice data = SLICE_EMPTY;
    struct pb_field field;
    uint64_t crc = 0;
    uint32_t found;
    int more = 0, rc = 0;

    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = pb_expect(&reader, &field, PB_VARINT, err);
            crc = field.value;
            break;
        case 2:
            rc = pb_expect(&reader, &field, PB_BYTES, err);
            data = field.bytes;
            break;
        }
    if (more < 0 || rc < 0)
        return -1;
    if (crc == 0 || data.size == 0) {
        err_set(err, ERR_FORMAT, "snappb.Snapshot: %s",
                data.size == 0 ? "it is empty" : "it has no checksum");
        return -1;
    }
    found = crc32c(0, data.data, data.size);
    if (crc != found) {
        err_set(err, ERR_CHECKSUM,
                "snappb.Snapshot: the content's checksum is %08" PRIx32 ", expected %08" PRIx64,
                found, crc);
        return -1;
    }
    return raft_snapshot_decode(data, snapshot, err);
}

static uint64_t now_ns(const struct snapfile_times *times)
{
    return times != NULL && times->now_ns != NULL ? times->now_ns() : 0;
}

int snapfile_save(struct fs *fs, const char *dir, const struct raft_snapshot *snapshot,
                  struct snapfile_times *times, struct err *err)
{
    struct buf bytes = BUF_INIT(SNAPFILE_MAX_BYTES);
    struct fs_file *file = NULL;
    struct err ignored = ERR_INIT;
    char name[NAME_BYTES];
    uint64_t began_ns = now_ns(times), encoded_ns, written_ns;
    char *path;
    int rc = -1;

    format_name(snapshot->meta.term, snapshot->meta.index, name);
    path = xasprintf("%s/%s", dir, name);
    if (!snapfile_encode(snapshot, &bytes)) {
        err_set(err, ERR_NO_MEMORY, "%s: larger than the %lu bytes allowed", path,
                SNAPFILE_MAX_BYTES);
        goto out;
    }
    encoded_ns = now_ns(times);
    if (fs->ops->open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, 0666, &file, err) < 0)
        goto out;
    rc = file->ops->write_at(file, 0, buf_slice(&bytes), err);
    if (rc == 0)
        rc = file->ops->sync(file, err);
    fs_close(file);
    written_ns = now_ns(times);
    if (rc == 0)
        rc = fs->ops->sync_dir(fs, dir, err);
    else
        (void)fs->ops->unlink(fs, path, &ignored); /* a half one would be set aside at start */
    if (times != NULL) {
        times->encode_ns = encoded_ns - began_ns;
        times->write_ns = written_ns - encoded_ns;
        times->total_ns = now_ns(times) - began_ns;
    }
out:
    buf_free(&bytes);
    free(path);
    return rc;
}

/* ---- names ---- */

struct names {
    const char *suffix;
    char **items; /* owned, each owned; ascending */
    size_t count;
};

static int add_name(void *arg, const char *name, struct err *err)
{
    struct names *names = arg;
    size_t bytes = strlen(name), suffix = strlen(names->suffix);

    (void)err;
    if (bytes <= suffix || strcmp(name + bytes - suffix, names->suffix) != 0)
        return 0;
    names->items = xrealloc(names->items, (names->count + 1) * sizeof(*names->items));
    names->items[names->count++] = xstrdup(name);
    return 0;
}

static void names_free(struct names *names)
{
    for (size_t at = 0; at < names->count; at++)
        free(names->items[at]);
    free(names->items);
}

/* ---- loading ---- */

static int read_file(struct fs *fs, const char *path, struct buf *bytes, struct err *err)
{
    struct fs_file *file = NULL;
    uint64_t size;
    uint8_t *room;
    size_t got;
    int rc = -1;

    buf_reset(bytes);
    if (fs->ops->open(fs, path, FS_READ, 0, &file, err) < 0 ||
        file->ops->size(file, &size, err) < 0)
        goto out;
    room = size <= SNAPFILE_MAX_BYTES ? buf_reserve(bytes, (size_t)size) : NULL;
    if (size > SNAPFILE_MAX_BYTES || (room == NULL && size != 0)) {
        err_set(err, ERR_FORMAT, "%s: %" PRIu64 " bytes, at most %lu are allowed", path, size,
                SNAPFILE_MAX_BYTES);
        goto out;
    }
    if (size != 0 && file->ops->read_at(file, 0, room, (size_t)size, &got, err) < 0)
        goto out;
    if (size != 0)
        buf_advance(bytes, got);
    rc = 0;
out:
    fs_close(file);
    return rc;
}

static bool confirms(const struct wal_positions *confirmed, const struct raft_snapshot_meta *meta)
{
    for (size_t at = 0; at < confirmed->count; at++)
        if (confirmed->items[at].index == meta->index && confirmed->items[at].term == meta->term)
            return true;
    return false;
}

/* One file: 1 = loaded, 0 = passed over, -1 = the disk failed. */
static int try_load(struct fs *fs, const char *path, const struct wal_positions *confirmed,
                    struct buf *bytes, struct raft_snapshot *snapshot, struct err *err)
{
    struct err cause = ERR_INIT;
    char *broken;
    int rc;

    if (read_file(fs, path, bytes, &cause) == 0 &&
        snapfile_decode(buf_slice(bytes), snapshot, &cause) == 0)
        return confirms(confirmed, &snapshot->meta) ? 1 : 0;
    if (cause.code == ERR_IO) {
        *err = cause;
        return -1;
    }
    broken = xasprintf("%s.broken", path);
    rc = fs->ops->rename(fs, path, broken, err);
    free(broken);
    return rc;
}

int snapfile_load_newest(struct fs *fs, const char *dir, const struct wal_positions *confirmed,
                         struct buf *bytes, struct raft_snapshot *snapshot, bool *found,
                         struct err *err)
{
    struct names names = {.suffix = ".snap"};
    int rc = fs->ops->list(fs, dir, add_name, &names, err);

    *found = false;
    for (size_t at = names.count; rc == 0 && !*found && at-- > 0;) {
        char *path = xasprintf("%s/%s", dir, names.items[at]);

        rc = try_load(fs, path, confirmed, bytes, snapshot, err);
        free(path);
        if (rc > 0) {
            *found = true;
            rc = 0;
        }
    }
    names_free(&names);
    return rc;
}

/* ---- cleaning ---- */

struct cleaning {
    const struct wal_positions *confirmed;
    uint64_t loaded_index, db_index;
};

/* TERM-INDEX.snap */
static bool snap_is_left(const struct cleaning *cleaning, const char *name)
{
    struct raft_snapshot_meta meta = {.index = 0};

    return strlen(name) == NAME_BYTES - 1 && hex16_read(name, &meta.term) &&
           name[HEX16_DIGITS] == '-' && hex16_read(name + HEX16_DIGITS + 1, &meta.index) &&
           meta.index > cleaning->loaded_index && !confirms(cleaning->confirmed, &meta);
}

/* INDEX.snap.db */
static bool read_db_name(const char *name, uint64_t *index)
{
    return strlen(name) == HEX16_DIGITS + strlen(".snap.db") && hex16_read(name, index);
}

static bool db_is_left(const struct cleaning *cleaning, const char *name)
{
    uint64_t index;
    bool known = false;

    if (!read_db_name(name, &index))
        return false;
    for (size_t i = 0; i < cleaning->confirmed->count; i++)
        known = known || cleaning->confirmed->items[i].index == index;
    return !known || index <= cleaning->db_index;
}

static int clean_kind(struct fs *fs, const char *dir, const char *suffix,
                      const struct cleaning *cleaning,
                      bool (*is_left)(const struct cleaning *cleaning, const char *name),
                      size_t *removed, struct err *err)
{
    struct names names = {.suffix = suffix};
    int rc = fs->ops->list(fs, dir, add_name, &names, err);

    for (size_t at = 0; rc == 0 && at < names.count; at++) {
        char *path;

        if (!is_left(cleaning, names.items[at]))
            continue;
        path = xasprintf("%s/%s", dir, names.items[at]);
        rc = fs->ops->unlink(fs, path, err);
        *removed += rc == 0 ? 1 : 0;
        free(path);
    }
    names_free(&names);
    return rc;
}

int snapfile_clean(struct fs *fs, const char *dir, const struct wal_positions *confirmed,
                   const struct raft_snapshot_meta *loaded, uint64_t db_index, size_t *removed,
                   struct err *err)
{
    const struct cleaning cleaning = {confirmed, loaded->index, db_index};

    *removed = 0;
    return clean_kind(fs, dir, ".snap", &cleaning, snap_is_left, removed, err) < 0
               ? -1
               : clean_kind(fs, dir, ".snap.db", &cleaning, db_is_left, removed, err);
}

/* ---- purging ---- */

/* Those up to the name `newest` count; what a crash left above it may not crowd it out. */
static int purge_snaps(struct fs *fs, const char *dir, const char *newest, size_t max,
                       struct err *err)
{
    struct names names = {.suffix = ".snap"};
    int rc = fs->ops->list(fs, dir, add_name, &names, err);
    size_t count = names.count;

    while (count > 0 && strcmp(names.items[count - 1], newest) > 0)
        count--;
    for (size_t at = 0; rc == 0 && at + max < count; at++) {
        char *path = xasprintf("%s/%s", dir, names.items[at]);

        rc = fs->ops->unlink(fs, path, err);
        free(path);
    }
    names_free(&names);
    return rc;
}

/* A leader's database below the newest snapshot: raft did not want it, and never will. */
static bool db_is_older(const struct cleaning *cleaning, const char *name)
{
    uint64_t index;

    return read_db_name(name, &index) && index < cleaning->loaded_index;
}

int snapfile_purge(struct fs *fs, const char *dir, const struct raft_snapshot_meta *newest,
                   size_t max, struct err *err)
{
    const struct cleaning older = {.loaded_index = newest->index};
    char snap[NAME_BYTES];
    size_t removed = 0;

    format_name(newest->term, newest->index, snap);
    if (max != 0 && purge_snaps(fs, dir, snap, max, err) < 0)
        return -1;
    return clean_kind(fs, dir, ".snap.db", &older, db_is_older, &removed, err);
}
