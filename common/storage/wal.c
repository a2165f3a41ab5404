/*
 * wal.c - see wal.h: creating, appending, cutting and releasing segments. Reading is walreplay.c.
 *
 *     released        held: open and locked             being prepared
 *     +----------+    +----------+    +------------+    +-----------+
 *     | 0-0.wal  |    | 1-3b.wal |    | 2-99.wal   |    | 1.tmp     |
 *     +----------+    +----------+    +------^-----+    +-----------+
 *      wal_purge()     until wal_release()   offset      becomes 3-(last_index + 1).wal at the cut
 *
 * Invariants: the file holds good frames up to `offset` and zeros, or nothing, behind it; `crc` is
 * the running checksum at `offset`; what is not yet written is in `out` and only during a call.
 */
#include "common/base/plants.h"
#include "common/storage/wal.h"
#include "common/storage/walreplay.h"

#include <errno.h>
#include <stdio.h>

#define PAGE_BYTES 4096U /* pieces of a long batch end at such borders (formats.md 5.4) */

struct wal {
    struct fs *fs; /* borrowed */
    char *dir;     /* owned */
    uint64_t segment_bytes;
    struct wal_metadata metadata;
    struct wal_segments segments; /* held; the last one is written to */
    struct wal_segment next;      /* prepared for the cut; file == NULL when there is none */
    uint64_t offset;              /* where the next frame goes, in the last segment */
    uint64_t written;             /* where the first byte of `out` goes; offset when it is empty */
    uint32_t crc;
    uint64_t last_index;          /* of the last entry or snapshot record */
    struct raft_hard_state state; /* last saved */
    struct buf out;               /* frames not yet written */
    struct buf scratch;           /* one record's data */
    bool needs_sync;              /* an entry, term or vote since the last sync */
    bool dirty;                   /* anything written since the last sync */
    bool failed;                  /* final; `failure` says why */
    struct err failure;
};

static struct wal_segment *last_segment(struct wal *wal)
{
    return &wal->segments.items[wal->segments.count - 1];
}

/* The end: no errno of it may be taken for a full disk that is worth another try. */
static int fail(struct wal *wal, struct err *err)
{
    if (err->sys == ENOSPC)
        err->sys = EIO;
    wal->failed = true;
    wal->failure = *err;
    return -1;
}

static int check_failed(const struct wal *wal, struct err *err)
{
    if (!wal->failed)
        return 0;
    *err = wal->failure;
    return -1;
}

/* ---- frames into `out` ---- */

/* The record's data is in `scratch`. */
static void put_frame(struct wal *wal, enum wal_record_type type)
{
    must(wal_frame_append(&wal->out, type, buf_slice(&wal->scratch), &wal->crc));
    buf_reset(&wal->scratch);
}

static bool state_is_empty(const struct raft_hard_state *state)
{
    return state == NULL || (state->term == 0 && state->vote == 0 && state->commit == 0);
}

static void put_state(struct wal *wal, const struct raft_hard_state *state)
{
    must(raft_hard_state_encode(state, &wal->scratch));
    put_frame(wal, WAL_STATE);
}

static void put_snapshot(struct wal *wal, const struct wal_snapshot *snapshot)
{
    must(wal_snapshot_encode(snapshot, &wal->scratch));
    put_frame(wal, WAL_SNAPSHOT);
}

/* What every segment starts with. */
static void put_header(struct wal *wal)
{
    must(wal_frame_append(&wal->out, WAL_CRC, SLICE_EMPTY, &wal->crc));
    must(wal_metadata_encode(&wal->metadata, &wal->scratch));
    put_frame(wal, WAL_METADATA);
    if (!state_is_empty(&wal->state))
        put_state(wal, &wal->state);
}

/* Write `out`; all of it, or up to the last page border of the file. */
static int flush(struct wal *wal, bool all, struct err *err)
{
    struct slice frames = buf_slice(&wal->out);
    struct fs_file *file = last_segment(wal)->file;

    if (!all)
        frames.size -= (size_t)((wal->written + frames.size) % PAGE_BYTES);
    if (frames.size == 0)
        return 0;
    wal->dirty = true;
    if (file->ops->write_at(file, wal->written, frames, err) < 0)
        return -1;
    wal->written += frames.size;
    buf_consume(&wal->out, frames.size);
    wal->offset = wal->written + buf_used(&wal->out);
    return 0;
}

/* ---- taking back what a full disk did not take ---- */

struct mark {
    uint64_t offset;
    uint32_t crc;
    uint64_t last_index;
    struct raft_hard_state state;
};

static struct mark mark_of(const struct wal *wal)
{
    return (struct mark){wal->offset, wal->crc, wal->last_index, wal->state};
}

/*
 * A write failed, perhaps half way: cut the file back to `mark`, for half a record without a zero
 * sector would be taken for damage. After ENOSPC the log is then as before; else this is the end.
 */
static int take_back(struct wal *wal, const struct mark *mark, struct err *err)
{
    struct fs_file *file = last_segment(wal)->file;
    struct err cause = ERR_INIT;
    int rc = file->ops->truncate(file, mark->offset, &cause);

    buf_reset(&wal->out);
    buf_reset(&wal->scratch);
    if (err->sys != ENOSPC)
        return fail(wal, err);
    if (rc < 0) {
        *err = cause;
        return fail(wal, err);
    }
    wal->offset = mark->offset;
    wal->written = mark->offset;
    wal->crc = mark->crc;
    wal->last_index = mark->last_index;
    wal->state = mark->state;
    return -1;
}

/* ---- segments ---- */

static int open_locked(struct fs *fs, const char *path, uint64_t bytes, struct fs_file **file,
                       struct err *err)
{
    if (fs->ops->open(fs, path, FS_READ | FS_WRITE | FS_CREATE, 0600, file, err) < 0)
        return -1;
    if ((*file)->ops->lock(*file, err) < 0 || (*file)->ops->truncate(*file, 0, err) < 0 ||
        (*file)->ops->allocate(*file, bytes, err) < 0) {
        fs_close(*file);
        *file = NULL;
        return -1;
    }
    return 0;
}

static void drop_next(struct wal *wal)
{
    struct err ignored = ERR_INIT; /* a left-over .tmp is used again or ignored */

    if (wal->next.path != NULL)
        (void)wal->fs->ops->unlink(wal->fs, wal->next.path, &ignored);
    wal_segment_fini(&wal->next);
    wal->next = (struct wal_segment){0};
}

/* Preallocate the segment after this one as N.tmp, N as etcd counts: 0 or 1. */
static int prepare_next(struct wal *wal, struct err *err)
{
    uint64_t sequence = last_segment(wal)->name.sequence + 1;

    if (wal->next.file != NULL)
        return 0;
    wal->next.path = xasprintf("%s/%" PRIu64 ".tmp", wal->dir, sequence % 2);
    if (open_locked(wal->fs, wal->next.path, wal->segment_bytes, &wal->next.file, err) < 0) {
        drop_next(wal);
        return -1;
    }
    return 0;
}

/* Put the header into the prepared file and sync it. It is under its .tmp name still. */
static int fill_next(struct wal *wal, uint64_t *bytes, struct err *err)
{
    struct fs_file *file = wal->next.file;
    int rc;

    put_header(wal);
    *bytes = buf_used(&wal->out);
    rc = file->ops->write_at(file, 0, buf_slice(&wal->out), err);
    buf_reset(&wal->out);
    return rc == 0 ? file->ops->sync(file, err) : -1;
}

/* The old segment ends at its last record; the new one gets its name. Both are synced before. */
static int switch_to_next(struct wal *wal, uint64_t header_bytes, struct err *err)
{
    struct wal_segment *old = last_segment(wal);
    char text[WAL_NAME_BYTES];

    if (old->file->ops->truncate(old->file, wal->offset, err) < 0 ||
        old->file->ops->sync(old->file, err) < 0)
        return -1;
    wal->next.name = (struct wal_name){old->name.sequence + 1, wal->last_index + 1};
    wal_name_format(wal->next.name, text);
    char *path = xasprintf("%s/%s", wal->dir, text);
    if (wal->fs->ops->rename(wal->fs, wal->next.path, path, err) < 0 ||
        (!PLANTED(SEGMENT_NAME) && wal->fs->ops->sync_dir(wal->fs, wal->dir, err) < 0)) {
        free(path);
        return -1;
    }
    free(wal->next.path);
    wal->next.path = path;
    *wal_segments_add(&wal->segments) = wal->next;
    wal->next = (struct wal_segment){0};
    wal->offset = header_bytes;
    wal->written = header_bytes;
    wal->needs_sync = false;
    wal->dirty = false;
    return 0;
}

/* No room on the disk for another file, or no descriptor: nothing is wrong with what was
 * written. */
static bool may_go_on(const struct err *cause)
{
    return cause->sys == ENOSPC || cause->sys == EMFILE || cause->sys == ENFILE;
}

/* With no room for a new segment the old one goes on growing: the cut is tried again later. */
static int cut(struct wal *wal, struct err *err)
{
    struct mark mark = mark_of(wal);
    struct err cause = ERR_INIT;
    uint64_t header_bytes = 0;

    if (prepare_next(wal, &cause) < 0 || fill_next(wal, &header_bytes, &cause) < 0) {
        wal->crc = mark.crc;
        drop_next(wal);
        if (may_go_on(&cause))
            return 0;
        *err = cause;
        return fail(wal, err);
    }
    return switch_to_next(wal, header_bytes, err) < 0 ? fail(wal, err) : 0;
}

/* After a write: cut, or get ready for it in time, so that the cut itself is quick. */
static int cut_if_full(struct wal *wal, struct err *err)
{
    struct err ignored = ERR_INIT; /* the cut tries again, and reports */

    if (wal->offset >= wal->segment_bytes)
        return cut(wal, err);
    if (wal->offset >= wal->segment_bytes / 2)
        (void)prepare_next(wal, &ignored);
    return 0;
}

/* ---- creating and opening ---- */

static struct wal *wal_new(const struct wal_config *config)
{
    struct wal *wal = xalloc(sizeof(*wal));

    wal->fs = config->fs;
    wal->dir = xstrdup(config->dir);
    wal->segment_bytes = config->segment_bytes != 0 ? config->segment_bytes : WAL_SEGMENT_BYTES;
    buf_init(&wal->out, BUF_UNLIMITED);
    buf_init(&wal->scratch, BUF_UNLIMITED);
    return wal;
}

void wal_close(struct wal *wal)
{
    if (wal == NULL)
        return;
    drop_next(wal);
    wal_segments_free(&wal->segments);
    buf_free(&wal->out);
    buf_free(&wal->scratch);
    free(wal->dir);
    free(wal);
}

static int sync_parent(struct fs *fs, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash == NULL ? xstrdup(".") : xstrndup(path, MAX((size_t)(slash - path), 1));
    int rc = fs->ops->sync_dir(fs, parent, err);

    free(parent);
    return rc;
}

/* Segment 0 in `building`, synced; its path is that after the rename. */
static int first_segment(struct wal *wal, const char *building, struct err *err)
{
    struct wal_segment *segment = wal_segments_add(&wal->segments);
    char text[WAL_NAME_BYTES];
    char *path;
    int rc;

    wal_name_format(segment->name, text);
    segment->path = xasprintf("%s/%s", wal->dir, text);
    path = xasprintf("%s/%s", building, text);
    rc = open_locked(wal->fs, path, wal->segment_bytes, &segment->file, err);
    free(path);
    if (rc < 0)
        return -1;
    put_header(wal);
    put_snapshot(wal, &(struct wal_snapshot){0});
    if (flush(wal, true, err) < 0 || segment->file->ops->sync(segment->file, err) < 0)
        return -1;
    wal->dirty = false;
    return wal->fs->ops->sync_dir(wal->fs, building, err);
}

int wal_create(const struct wal_config *config, const struct wal_metadata *metadata,
               struct wal **wal, struct err *err)
{
    struct fs *fs = config->fs;
    struct wal *made = wal_new(config);
    char *building = xasprintf("%s.tmp", config->dir);
    bool exists;
    int rc = -1;

    made->metadata = *metadata;
    if (wal_exists(fs, config->dir, &exists, err) < 0)
        goto out;
    if (exists) {
        err_set(err, ERR_EXISTS, "%s holds a log already; it will not be replaced", config->dir);
        goto out;
    }
    if (fs->ops->remove_tree(fs, building, err) < 0 ||
        fs->ops->mkdir(fs, building, 0700, err) < 0 || first_segment(made, building, err) < 0 ||
        fs->ops->rename(fs, building, config->dir, err) < 0 ||
        sync_parent(fs, config->dir, err) < 0)
        goto out;
    *wal = made;
    made = NULL;
    rc = 0;
out:
    wal_close(made);
    free(building);
    return rc;
}

/* A repair may have left nothing, or the crc record alone: the segment must stand by itself. */
static int complete_header(struct wal *wal, const struct wal_end *end, struct err *err)
{
    if (end->records > (end->has_crc ? 1U : 0U))
        return 0;
    wal->offset = 0;
    wal->written = 0;
    put_header(wal);
    return flush(wal, true, err);
}

/*
 * Nothing may be left behind the last record: an old torn write after a zero length would come
 * back to life once the zero is overwritten. Synced, or after another power cut its sectors could
 * stand among those of new records. A disk too full for the reservation is no reason not to start.
 */
static int clear_rest(struct wal *wal, struct err *err)
{
    struct fs_file *file = last_segment(wal)->file;
    struct err cause = ERR_INIT;

    if (file->ops->truncate(file, wal->offset, err) < 0)
        return -1;
    if (file->ops->allocate(file, wal->segment_bytes, &cause) < 0 && cause.sys != ENOSPC) {
        *err = cause;
        return -1;
    }
    return file->ops->sync(file, err);
}

static int replay_and_repair(struct wal *wal, struct wal_position start, struct wal_log *log,
                             struct wal_end *end, struct err *err)
{
    struct err cause = ERR_INIT;
    uint64_t torn;

    if (wal_replay(&wal->segments, start, log, end, &cause) == 0)
        return 0;
    if (cause.code != ERR_TORN) {
        *err = cause;
        return -1;
    }
    torn = end->size - end->offset;
    if (wal_repair(wal->fs, wal->dir, &wal->segments, end->offset, err) < 0)
        return -1;
    if (wal_replay(&wal->segments, start, log, end, err) < 0) {
        if (err->code == ERR_TORN) /* the repair did not help: it is not what a power cut leaves */
            err->code = ERR_DAMAGED;
        return -1;
    }
    log->torn_bytes = torn;
    return 0;
}

int wal_open(const struct wal_config *config, struct wal_position start, struct wal_log *log,
             struct wal **wal, struct err *err)
{
    struct wal *made = wal_new(config);
    struct wal_end end;

    *log = (struct wal_log){0};
    if (wal_segments_open(made->fs, made->dir, start.index, true, &made->segments, err) < 0 ||
        replay_and_repair(made, start, log, &end, err) < 0)
        goto failed;
    made->metadata = log->metadata;
    made->state = log->hard_state;
    made->crc = end.crc;
    made->offset = end.offset;
    made->written = end.offset;
    made->last_index = start.index + log->entry_count;
    if (complete_header(made, &end, err) < 0 || clear_rest(made, err) < 0)
        goto failed;
    /* Who died between a segment's name and its sync left a name that a power cut takes away. */
    if (!PLANTED(SEGMENT_NAME) && made->fs->ops->sync_dir(made->fs, made->dir, err) < 0)
        goto failed;
    *wal = made;
    return 0;
failed:
    wal_close(made);
    return -1;
}

/* ---- writing ---- */

static int check_sizes(const struct raft_entry *entries, size_t count, struct err *err)
{
    for (size_t at = 0; at < count; at++)
        if (entries[at].data.size > WAL_ENTRY_MAX_BYTES) {
            err_set(err, ERR_NO_MEMORY,
                    "log entry %" PRIu64 " has %zu bytes, at most %lu are allowed",
                    entries[at].index, entries[at].data.size, WAL_ENTRY_MAX_BYTES);
            return -1;
        }
    return 0;
}

static int put_entries(struct wal *wal, const struct raft_entry *entries, size_t count,
                       struct err *err)
{
    for (size_t at = 0; at < count; at++) {
        must(raft_entry_encode(&entries[at], &wal->scratch));
        put_frame(wal, WAL_ENTRY);
        wal->last_index = entries[at].index;
        if (buf_used(&wal->out) >= WAL_BATCH_MAX_BYTES && flush(wal, false, err) < 0)
            return -1;
    }
    return 0;
}

int wal_append(struct wal *wal, const struct raft_hard_state *state,
               const struct raft_entry *entries, size_t entry_count, struct err *err)
{
    struct mark mark = mark_of(wal);
    bool new_state = !state_is_empty(state);
    int rc;

    if (check_failed(wal, err) < 0 || check_sizes(entries, entry_count, err) < 0)
        return -1;
    if (!new_state && entry_count == 0)
        return 0;
    rc = put_entries(wal, entries, entry_count, err);
    if (rc == 0 && new_state) {
        put_state(wal, state);
        wal->state = *state;
    }
    if (rc < 0 || flush(wal, true, err) < 0)
        return take_back(wal, &mark, err);
    wal->needs_sync = wal->needs_sync || entry_count != 0 || wal->state.term != mark.state.term ||
                      wal->state.vote != mark.state.vote;
    return cut_if_full(wal, err);
}

bool wal_needs_sync(const struct wal *wal)
{
    return wal->needs_sync;
}

int wal_sync(struct wal *wal, struct err *err)
{
    struct fs_file *file = last_segment(wal)->file;

    if (check_failed(wal, err) < 0)
        return -1;
    if (!wal->dirty)
        return 0;
    if (file->ops->sync(file, err) < 0)
        return fail(wal, err);
    wal->dirty = false;
    wal->needs_sync = false;
    return 0;
}

int wal_snapshot_record(struct wal *wal, const struct wal_snapshot *snapshot, struct err *err)
{
    struct mark mark = mark_of(wal);

    if (check_failed(wal, err) < 0)
        return -1;
    put_snapshot(wal, snapshot);
    if (flush(wal, true, err) < 0)
        return take_back(wal, &mark, err);
    wal->last_index = MAX(wal->last_index, snapshot->index);
    return wal_sync(wal, err);
}

/* ---- releasing (formats.md 5.6) ---- */

void wal_release(struct wal *wal, uint64_t index)
{
    struct wal_segments *segments = &wal->segments;
    size_t keep = 0; /* first one that stays */

    while (keep < segments->count && segments->items[keep].name.index < index)
        keep++;
    keep = keep == 0 ? 0 : keep - 1;
    for (size_t at = 0; at < keep; at++)
        wal_segment_fini(&segments->items[at]);
    if (keep != 0)
        memmove(segments->items, segments->items + keep,
                (segments->count - keep) * sizeof(*segments->items));
    segments->count -= keep;
}

int wal_purge(struct wal *wal, size_t max_wals, struct err *err)
{
    struct wal_names names;
    int rc = wal_names_list(wal->fs, wal->dir, &names, err);

    for (size_t at = 0; rc == 0 && max_wals != 0 && at + max_wals < names.count &&
                        names.items[at].sequence < wal->segments.items[0].name.sequence;
         at++) {
        char text[WAL_NAME_BYTES];
        char *path;

        wal_name_format(names.items[at], text);
        path = xasprintf("%s/%s", wal->dir, text);
        rc = wal->fs->ops->unlink(wal->fs, path, err);
        free(path);
    }
    wal_names_free(&names);
    return rc;
}
