/*
 * walreplay.c - see walreplay.h and formats.md 5.5.
 *
 *     segment 0            segment 1
 *     crc 0                crc R         continues the checksum of the segment before
 *     metadata             metadata      the same bytes in every segment
 *     snapshot 0,0         state         the last one saved
 *     entries, states, snapshots, in the order they were written ...
 *
 * A later entry record replaces the earlier one of its index and everything behind it.
 */
#include "common/base/plants.h"
#include "common/storage/walreplay.h"

#define COPY_BYTES (256 * KIB)

void wal_log_free(struct wal_log *log)
{
    free(log->entries);
    arena_free(&log->data);
    *log = (struct wal_log){0};
}

void wal_positions_free(struct wal_positions *positions)
{
    free(positions->items);
    *positions = (struct wal_positions){0};
}

int wal_exists(struct fs *fs, const char *dir, bool *exists, struct err *err)
{
    struct wal_names names = {0};
    int rc = 0;

    if (fs->ops->exists(fs, dir))
        rc = wal_names_list(fs, dir, &names, err);
    *exists = names.count != 0;
    wal_names_free(&names);
    return rc;
}

/* ---- segments ---- */

void wal_segment_fini(struct wal_segment *segment)
{
    fs_close(segment->file);
    free(segment->path);
}

void wal_segments_free(struct wal_segments *segments)
{
    for (size_t at = 0; at < segments->count; at++)
        wal_segment_fini(&segments->items[at]);
    free(segments->items);
    *segments = (struct wal_segments){0};
}

struct wal_segment *wal_segments_add(struct wal_segments *segments)
{
    segments->items = xrealloc(segments->items, (segments->count + 1) * sizeof(*segments->items));
    segments->items[segments->count] = (struct wal_segment){0};
    return &segments->items[segments->count++];
}

static int open_segment(struct fs *fs, const char *dir, struct wal_name name, bool write,
                        struct wal_segments *segments, struct err *err)
{
    struct wal_segment *segment = wal_segments_add(segments);
    char text[WAL_NAME_BYTES];

    wal_name_format(name, text);
    segment->name = name;
    segment->path = xasprintf("%s/%s", dir, text);
    if (fs->ops->open(fs, segment->path, write ? FS_READ | FS_WRITE : FS_READ, 0600, &segment->file,
                      err) < 0)
        return -1;
    return write ? segment->file->ops->lock(segment->file, err) : 0;
}

/* names[first] and all after it. */
static int open_segments(struct fs *fs, const char *dir, const struct wal_names *names,
                         size_t first, bool write, struct wal_segments *segments, struct err *err)
{
    for (size_t at = first; at < names->count; at++) {
        if (at > first && names->items[at].sequence != names->items[at - 1].sequence + 1) {
            err_set(err, ERR_DAMAGED,
                    "%s: log segment %016" PRIx64 " is followed by %016" PRIx64
                    ", the ones between are missing; put them back, or replace this member",
                    dir, names->items[at - 1].sequence, names->items[at].sequence);
            return -1;
        }
        if (open_segment(fs, dir, names->items[at], write, segments, err) < 0)
            return -1;
    }
    return 0;
}

int wal_segments_open(struct fs *fs, const char *dir, uint64_t index, bool write,
                      struct wal_segments *segments, struct err *err)
{
    struct wal_names names;
    size_t first;
    int rc = -1;

    *segments = (struct wal_segments){0};
    if (wal_names_list(fs, dir, &names, err) < 0)
        goto out;
    first = names.count;
    while (first > 0 && names.items[first - 1].index > index)
        first--;
    if (first == 0) {
        err_set(err, ERR_MISSING,
                "%s: no log segment starts at or below index %" PRIu64
                "; put the missing files back, or restore a backup with etcd-snap restore",
                dir, index);
        goto out;
    }
    rc = open_segments(fs, dir, &names, first - 1, write, segments, err);
out:
    wal_names_free(&names);
    if (rc < 0)
        wal_segments_free(segments);
    return rc;
}

/* ---- records ---- */

struct replay {
    struct wal_position start;
    struct wal_log *log; /* borrowed */
    struct wal_end *end; /* borrowed */
    struct wal_reader reader;
    uint8_t metadata[WAL_METADATA_MAX_BYTES]; /* as the first record of its kind has it */
    size_t metadata_bytes;                    /* 0 = none yet */
    bool found_start;
};

static int take_metadata(struct replay *replay, struct slice data, struct err *err)
{
    struct err cause = ERR_INIT;

    if (replay->metadata_bytes != 0) {
        if (slice_equal(data, slice_of(replay->metadata, replay->metadata_bytes)))
            return 0;
        return wal_damaged(&replay->reader, err, "metadata differs from that of earlier segments");
    }
    if (data.size == 0 || data.size > WAL_METADATA_MAX_BYTES)
        return wal_damaged(&replay->reader, err, "metadata of %zu bytes", data.size);
    if (wal_metadata_decode(data, &replay->log->metadata, &cause) < 0)
        return wal_damaged(&replay->reader, err, "%s", cause.text);
    memcpy(replay->metadata, data.data, data.size);
    replay->metadata_bytes = data.size;
    return 0;
}

static int out_of_memory(const struct replay *replay, struct err *err)
{
    err_set(err, ERR_NO_MEMORY,
            "%s: the entries behind index %" PRIu64 " need more than the %lu bytes allowed",
            replay->reader.path, replay->start.index, WAL_REPLAY_MAX_BYTES);
    return -1;
}

static int take_entry(struct replay *replay, struct slice data, struct err *err)
{
    struct wal_log *log = replay->log;
    struct err cause = ERR_INIT;
    struct raft_entry entry;
    uint64_t place;

    if (raft_entry_decode(data, &entry, &cause) < 0)
        return wal_damaged(&replay->reader, err, "%s", cause.text);
    /* the snapshot has it; what was behind it then, not */
    if (entry.index <= replay->start.index) {
        log->entry_count = 0;
        return 0;
    }
    place = entry.index - replay->start.index - 1;
    if (place > log->entry_count)
        return wal_damaged(&replay->reader, err,
                           "entry %" PRIu64 " follows entry %" PRIu64 ", the ones between are "
                           "missing",
                           entry.index, replay->start.index + log->entry_count);
    if (entry.data.size != 0) {
        entry.data.data = arena_copy(&log->data, entry.data.data, entry.data.size);
        if (entry.data.data == NULL)
            return out_of_memory(replay, err);
    } else {
        entry.data = SLICE_EMPTY;
    }
    if (place == log->entry_capacity) {
        size_t capacity = MAX(log->entry_capacity * 2, 1024);

        if (capacity > WAL_REPLAY_MAX_BYTES / sizeof(*log->entries))
            return out_of_memory(replay, err);
        log->entries = xrealloc(log->entries, capacity * sizeof(*log->entries));
        log->entry_capacity = capacity;
    }
    log->entries[place] = entry;
    log->entry_count = (size_t)place + 1; /* what was behind it is overridden */
    return 0;
}

static int take_snapshot(struct replay *replay, struct slice data, struct err *err)
{
    struct err cause = ERR_INIT;
    struct wal_snapshot snapshot;

    if (wal_snapshot_decode(data, &snapshot, NULL, &cause) < 0)
        return wal_damaged(&replay->reader, err, "%s", cause.text);
    if (snapshot.installed && !PLANTED(SNAPSHOT_TAIL)) { /* the log began anew behind it */
        uint64_t kept = snapshot.index - MIN(snapshot.index, replay->start.index);

        replay->log->entry_count = MIN(replay->log->entry_count, kept);
    }
    if (snapshot.index != replay->start.index)
        return 0;
    if (snapshot.term != replay->start.term)
        return wal_damaged(&replay->reader, err,
                           "the snapshot at index %" PRIu64 " has term %" PRIu64
                           ", its file has term %" PRIu64,
                           snapshot.index, snapshot.term, replay->start.term);
    replay->found_start = true;
    return 0;
}

static int take_record(struct replay *replay, const struct wal_record *record, struct err *err)
{
    struct err cause = ERR_INIT;

    switch (record->type) {
    case WAL_METADATA:
        return take_metadata(replay, record->data, err);
    case WAL_ENTRY:
        return take_entry(replay, record->data, err);
    case WAL_STATE:
        if (raft_hard_state_decode(record->data, &replay->log->hard_state, &cause) < 0)
            return wal_damaged(&replay->reader, err, "%s", cause.text);
        return 0;
    case WAL_CRC:
        replay->end->has_crc = true;
        return 0;
    case WAL_SNAPSHOT:
        return take_snapshot(replay, record->data, err);
    }
    return wal_damaged(&replay->reader, err, "a record of type %d", (int)record->type);
}

/* One segment; a torn end is damage when others follow, for then it was synced before the cut. */
static int read_segment(struct replay *replay, const struct wal_segment *segment, bool last,
                        struct err *err)
{
    struct wal_record record;
    int more = 0, rc = wal_reader_open(&replay->reader, segment->file, segment->path, err);

    replay->end->has_crc = false;
    replay->end->records = 0;
    while (rc == 0 && (more = wal_reader_next(&replay->reader, &record, err)) > 0) {
        replay->end->records++;
        rc = take_record(replay, &record, err);
    }
    if (rc == 0 && more < 0 && err->code == ERR_TORN && !last)
        return wal_damaged(&replay->reader, err,
                           "the record is not complete, but another segment follows");
    replay->end->offset = replay->reader.offset;
    replay->end->size = replay->reader.size;
    replay->end->crc = replay->reader.crc;
    return more < 0 ? -1 : rc;
}

int wal_replay(const struct wal_segments *segments, struct wal_position start, struct wal_log *log,
               struct wal_end *end, struct err *err)
{
    struct replay replay = {.start = start, .log = log, .end = end};
    int rc = 0;

    wal_log_free(log);
    arena_init(&log->data, WAL_REPLAY_MAX_BYTES);
    *end = (struct wal_end){0};
    wal_reader_init(&replay.reader);
    for (size_t at = 0; rc == 0 && at < segments->count; at++)
        rc = read_segment(&replay, &segments->items[at], at + 1 == segments->count, err);
    if (rc == 0 && replay.metadata_bytes == 0) {
        rc = wal_damaged(&replay.reader, err, "the log has no metadata record");
    } else if (rc == 0 && !replay.found_start) {
        err_set(err, ERR_MISSING,
                "%s: no record of the snapshot at index %" PRIu64 ", term %" PRIu64
                "; restore a backup with etcd-snap restore, or replace this member",
                replay.reader.path, start.index, start.term);
        rc = -1;
    }
    wal_reader_fini(&replay.reader);
    return rc;
}

int wal_read(struct fs *fs, const char *dir, struct wal_position start, struct wal_log *log,
             struct err *err)
{
    struct wal_segments segments;
    struct wal_end end;
    int rc;

    *log = (struct wal_log){0};
    if (wal_segments_open(fs, dir, start.index, false, &segments, err) < 0)
        return -1;
    rc = wal_replay(&segments, start, log, &end, err);
    if (rc < 0 && err->code == ERR_TORN) {
        log->torn_bytes = end.size - end.offset;
        rc = 0;
    }
    wal_segments_free(&segments);
    return rc;
}

/* ---- valid snapshots ---- */

/* A light pass: only states and snapshots are looked at. */
static int scan_snapshots(const struct wal_segments *segments, struct wal_reader *reader,
                          struct wal_positions *positions, uint64_t *commit, struct err *err)
{
    struct wal_record record;
    struct wal_snapshot snapshot;
    struct raft_hard_state state;
    int more = 0;

    for (size_t at = 0; at < segments->count; at++) {
        if (wal_reader_open(reader, segments->items[at].file, segments->items[at].path, err) < 0)
            return -1;
        while ((more = wal_reader_next(reader, &record, err)) > 0) {
            if (record.type == WAL_STATE) {
                if (raft_hard_state_decode(record.data, &state, err) < 0)
                    return -1;
                *commit = state.commit;
            } else if (record.type == WAL_SNAPSHOT) {
                if (wal_snapshot_decode(record.data, &snapshot, NULL, err) < 0)
                    return -1;
                positions->items =
                    xrealloc(positions->items, (positions->count + 1) * sizeof(*positions->items));
                positions->items[positions->count++] =
                    (struct wal_position){snapshot.index, snapshot.term};
            }
        }
        if (more < 0 && (err->code != ERR_TORN || at + 1 < segments->count))
            return -1;
    }
    return 0;
}

/*
 * All of the last unbroken run of sequence numbers. Not by index: a cut behind entries that a later
 * leader replaced gives a name with a higher index than the names after it.
 */
static int open_last_run(struct fs *fs, const char *dir, struct wal_segments *segments,
                         struct err *err)
{
    struct wal_names names;
    size_t first;
    int rc = wal_names_list(fs, dir, &names, err);

    *segments = (struct wal_segments){0};
    if (rc == 0 && names.count == 0) {
        err_set(err, ERR_MISSING,
                "%s: no log segment is there; put the missing files back, or restore a backup with "
                "etcd-snap restore",
                dir);
        rc = -1;
    }
    if (rc == 0) {
        for (first = names.count - 1;
             first > 0 && names.items[first - 1].sequence + 1 == names.items[first].sequence;
             first--)
            ;
        rc = open_segments(fs, dir, &names, first, false, segments, err);
    }
    wal_names_free(&names);
    if (rc < 0)
        wal_segments_free(segments);
    return rc;
}

int wal_valid_snapshots(struct fs *fs, const char *dir, struct wal_positions *positions,
                        struct err *err)
{
    struct wal_segments segments;
    struct wal_reader reader;
    uint64_t commit = 0;
    size_t kept = 0;
    int rc;

    *positions = (struct wal_positions){0};
    if (open_last_run(fs, dir, &segments, err) < 0)
        return -1;
    wal_reader_init(&reader);
    rc = scan_snapshots(&segments, &reader, positions, &commit, err);
    for (size_t at = 0; at < positions->count; at++)
        if (positions->items[at].index <= commit)
            positions->items[kept++] = positions->items[at];
    positions->count = kept;
    wal_reader_fini(&reader);
    wal_segments_free(&segments);
    if (rc < 0)
        wal_positions_free(positions);
    return rc;
}

/* ---- repair ---- */

static bool only_zeros(const uint8_t *bytes, size_t count)
{
    return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* Copy `from`, leaving holes where it has zeros: most of a segment is preallocated. */
static int copy_file(struct fs_file *from, struct fs_file *to, struct err *err)
{
    uint8_t *piece = xalloc(COPY_BYTES);
    uint64_t offset = 0;
    size_t got;
    int rc = to->ops->truncate(to, 0, err);

    while (rc == 0) {
        rc = from->ops->read_at(from, offset, piece, COPY_BYTES, &got, err);
        if (rc < 0 || got == 0)
            break;
        if (!only_zeros(piece, got))
            rc = to->ops->write_at(to, offset, slice_of(piece, got), err);
        offset += got;
    }
    if (rc == 0)
        rc = to->ops->truncate(to, offset, err);
    if (rc == 0)
        rc = to->ops->sync(to, err);
    free(piece);
    return rc;
}

int wal_repair(struct fs *fs, const char *dir, const struct wal_segments *segments, uint64_t offset,
               struct err *err)
{
    const struct wal_segment *last = &segments->items[segments->count - 1];
    char *broken = xasprintf("%s.broken", last->path);
    struct fs_file *copy = NULL;
    int rc = -1;

    if (fs->ops->open(fs, broken, FS_WRITE | FS_CREATE, 0600, &copy, err) < 0 ||
        copy_file(last->file, copy, err) < 0 || fs->ops->sync_dir(fs, dir, err) < 0 ||
        last->file->ops->truncate(last->file, offset, err) < 0 ||
        last->file->ops->sync(last->file, err) < 0)
        goto out;
    rc = 0;
out:
    if (rc < 0)
        err_prefix(err, "%s: repair of its torn end", last->path);
    fs_close(copy);
    free(broken);
    return rc;
}
