/*
 * snapshot_hashkv.c - snapshot_hashkv() of snapshot.h: the rules of formats.md 11.3 over a file.
 *
 * Instead of a key index: all changes up to the revision, sorted by key; of each key the newest is
 * what the index would pick, and is kept unless it is a deletion. Slices point into the file.
 */
#include "common/base/crc32c.h"
#include "common/storage/snapshot.h"

struct change {
    struct slice key; /* the user's */
    struct snapshot_revision revision;
};

struct changes {
    struct change *rows; /* owned */
    size_t count, capacity;
};

/* Field 1 of mvccpb.KeyValue: the user's key; it comes first in every record etcd writes. */
static bool user_key(struct slice record, struct slice *key)
{
    uint64_t length = 0;
    size_t at = 1;

    *key = SLICE_EMPTY;
    if (record.size == 0 || record.data[0] != 0x0A) /* an empty record is legal (formats.md 3.4) */
        return true;
    for (unsigned shift = 0;; shift += 7) {
        if (at == record.size || shift > 28)
            return false;
        length |= (uint64_t)(record.data[at] & 0x7F) << shift;
        if ((record.data[at++] & 0x80) == 0)
            break;
    }
    if (length > record.size - at)
        return false;
    *key = slice_of(record.data + at, (size_t)length);
    return true;
}

static int revision_order(struct snapshot_revision a, struct snapshot_revision b)
{
    if (a.main != b.main)
        return a.main < b.main ? -1 : 1;
    return (a.sub > b.sub) - (a.sub < b.sub);
}

static int change_order(const void *left, const void *right)
{
    const struct change *a = left, *b = right;
    int order = slice_compare(a->key, b->key);

    return order != 0 ? order : revision_order(a->revision, b->revision);
}

static int kept_order(const void *left, const void *right)
{
    const struct change *a = left, *b = right;

    return revision_order(a->revision, b->revision);
}

static int bad_key(struct err *err)
{
    err_set(err, ERR_FORMAT,
            "bucket \"key\" holds what is not a revision; this is not a database "
            "of etcd, or it is damaged");
    return -1;
}

static int collect(const struct bolt_bucket *bucket, int64_t limit, struct changes *changes,
                   int64_t *current, struct err *err)
{
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    bool found;

    bolt_cursor_init(&cursor, bucket);
    if (bolt_cursor_first(&cursor, &entry, &found, err) < 0)
        return -1;
    while (found) {
        struct change change;

        if (!snapshot_revision_parse(entry.key, &change.revision) ||
            !user_key(entry.value, &change.key))
            return bad_key(err);
        *current = change.revision.main;
        if (limit == 0 || change.revision.main <= limit) {
            if (changes->count == changes->capacity) {
                changes->capacity = MAX(2 * changes->capacity, 1024U);
                changes->rows = xrealloc(changes->rows, changes->capacity * sizeof(*changes->rows));
            }
            changes->rows[changes->count++] = change;
        }
        if (bolt_cursor_next(&cursor, &entry, &found, err) < 0)
            return -1;
    }
    return 0;
}

/* Leave what is alive at `revision`, by revision. A deletion at it counts even if a put follows. */
static void keep_living(struct changes *changes, int64_t revision)
{
    size_t kept = 0;

    if (changes->count != 0)
        qsort(changes->rows, changes->count, sizeof(*changes->rows), change_order);
    for (size_t at = 0, next; at < changes->count; at = next) {
        bool deleted = false;

        for (next = at;
             next < changes->count && slice_equal(changes->rows[next].key, changes->rows[at].key);
             next++)
            deleted |= changes->rows[next].revision.tombstone &&
                       changes->rows[next].revision.main == revision;
        if (!deleted && !changes->rows[next - 1].revision.tombstone)
            changes->rows[kept++] = changes->rows[next - 1];
    }
    changes->count = kept;
    if (kept != 0)
        qsort(changes->rows, kept, sizeof(*changes->rows), kept_order);
}

static int hash_bucket(const struct bolt_bucket *bucket, const struct changes *keep,
                       struct snapshot_hashkv *out, struct err *err)
{
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    bool found;

    out->hash = crc32c(0, "key", 3);
    bolt_cursor_init(&cursor, bucket);
    if (bolt_cursor_first(&cursor, &entry, &found, err) < 0)
        return -1;
    while (found) {
        struct change wanted;
        bool skip;

        if (!snapshot_revision_parse(entry.key, &wanted.revision))
            return bad_key(err);
        skip = wanted.revision.main > out->hash_revision ||
               (wanted.revision.main <= out->compact_revision && keep->count != 0 &&
                bsearch(&wanted, keep->rows, keep->count, sizeof(wanted), kept_order) == NULL) ||
               (wanted.revision.main == out->compact_revision && wanted.revision.tombstone);
        if (!skip) {
            out->hash = crc32c(out->hash, entry.key.data, entry.key.size);
            out->hash = crc32c(out->hash, entry.value.data, entry.value.size);
        }
        if (bolt_cursor_next(&cursor, &entry, &found, err) < 0)
            return -1;
    }
    return 0;
}

/* *revision = what meta's `name` says, or -1. */
static int meta_revision(const struct bolt *bolt, const char *name, int64_t *revision,
                         struct err *err)
{
    struct snapshot_revision parsed;
    struct bolt_bucket meta;
    struct slice value;
    bool found;

    *revision = -1;
    if (bolt_bucket_find(bolt, SLICE_LITERAL("meta"), &meta, &found, err) < 0)
        return -1;
    if (found && bolt_get(&meta, slice_text(name), &value, &found, err) < 0)
        return -1;
    if (found && snapshot_revision_parse(value, &parsed))
        *revision = parsed.main;
    return 0;
}

int snapshot_hashkv(const struct bolt *bolt, int64_t revision, struct snapshot_hashkv *out,
                    struct err *err)
{
    struct snapshot_hashkv result = {.revision = 1};
    struct changes changes = {0};
    struct bolt_bucket bucket;
    int64_t scheduled;
    bool found;
    int rc = -1;

    if (meta_revision(bolt, "finishedCompactRev", &result.compact_revision, err) < 0 ||
        meta_revision(bolt, "scheduledCompactRev", &scheduled, err) < 0 ||
        bolt_bucket_find(bolt, SLICE_LITERAL("key"), &bucket, &found, err) < 0)
        return -1;
    result.compact_revision = MAX(result.compact_revision, scheduled); /* resumed at the start */
    if (found && collect(&bucket, revision, &changes, &result.revision, err) < 0)
        goto out;
    result.revision = MAX(result.revision, result.compact_revision);
    result.hash_revision = revision == 0 ? result.revision : revision;
    if (result.hash_revision < result.compact_revision || result.hash_revision > result.revision) {
        enum err_code code =
            result.hash_revision > result.revision ? ERR_FUTURE_REV : ERR_COMPACTED;

        err_set(err, code, "%s", err_text(code));
        goto out;
    }
    keep_living(&changes, result.hash_revision);
    result.hash = crc32c(0, "key", 3);
    if (found && hash_bucket(&bucket, &changes, &result, err) < 0)
        goto out;
    *out = result;
    rc = 0;
out:
    free(changes.rows);
    return rc;
}
