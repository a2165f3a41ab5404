/* snapshot.c (edge) - see snapshot.h: the hash behind the image, and status. */
#include "common/storage/snapshot.h"
#include "common/base/crc32c.h"
#include "common/storage/bolt_page.h"
#include "common/storage/snapshot_open.h"

enum snapshot_hash snapshot_hash_check(struct slice file, uint8_t found[SHA256_BYTES],
                                       uint8_t computed[SHA256_BYTES])
{
    uint8_t hash[SHA256_BYTES];
    struct sha256 *sum;

    if (file.size % SNAPSHOT_SECTOR_BYTES != SHA256_BYTES)
        return SNAPSHOT_HASH_NONE;
    file.size -= SHA256_BYTES;
    sum = sha256_new();
    sha256_add(sum, file);
    sha256_end(sum, hash);
    sha256_free(sum);
    if (found != NULL)
        memcpy(found, file.data + file.size, SHA256_BYTES);
    if (computed != NULL)
        memcpy(computed, hash, SHA256_BYTES);
    return memcmp(hash, file.data + file.size, SHA256_BYTES) == 0 ? SNAPSHOT_HASH_GOOD
                                                                  : SNAPSHOT_HASH_BAD;
}

static int64_t big_endian(const uint8_t *at)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < 8; i++)
        number = number << 8 | at[i];
    return (int64_t)number;
}

bool snapshot_revision_parse(struct slice key, struct snapshot_revision *revision)
{
    if ((key.size != 17 && key.size != 18) || key.data[8] != '_' ||
        (key.size == 18 && key.data[17] != 't'))
        return false;
    *revision = (struct snapshot_revision){
        .main = big_endian(key.data), .sub = big_endian(key.data + 9), .tombstone = key.size == 18};
    return revision->main >= 0 && revision->sub >= 0;
}

static int status_bucket(const struct bolt *bolt, const struct bolt_entry *bucket_entry,
                         struct snapshot_status *status, struct err *err)
{
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    bool found;

    status->hash = crc32c(status->hash, bucket_entry->key.data, bucket_entry->key.size);
    if (bolt_bucket_open(bolt, bucket_entry, &bucket, err) < 0)
        return -1;
    bolt_cursor_init(&cursor, &bucket);
    if (bolt_cursor_first(&cursor, &entry, &found, err) < 0)
        return -1;
    while (found) {
        status->hash = crc32c(status->hash, entry.key.data, entry.key.size);
        if (!entry.is_bucket) /* a nested bucket has no value */
            status->hash = crc32c(status->hash, entry.value.data, entry.value.size);
        status->entries++;
        if (bolt_cursor_next(&cursor, &entry, &found, err) < 0)
            return -1;
    }
    return 0;
}

static int status_revision(const struct bolt *bolt, struct snapshot_status *status, struct err *err)
{
    struct bolt_bucket bucket;
    struct bolt_entry entry;
    struct slice version;
    bool found;

    if (bolt_last(bolt, SLICE_LITERAL("key"), &entry, &found, err) < 0)
        return -1;
    if (found && entry.key.size >= 8)
        status->revision = big_endian(entry.key.data);
    if (bolt_bucket_find(bolt, SLICE_LITERAL("meta"), &bucket, &found, err) < 0)
        return -1;
    if (found && bolt_get(&bucket, SLICE_LITERAL("storageVersion"), &version, &found, err) < 0)
        return -1;
    if (found && version.size < sizeof(status->version))
        memcpy(status->version, version.data, version.size);
    return 0;
}

int snapshot_status_of(const struct bolt *bolt, struct snapshot_status *out,
                       bolt_finding_fn *finding, void *arg, struct err *err)
{
    struct bolt_info info = bolt_info(bolt);
    struct snapshot_status status = {.bytes = info.pages * info.page_bytes};
    struct bolt_bucket root = bolt_root(bolt);
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    uint64_t findings;
    bool found;

    if (bolt_check(bolt, finding, arg, &findings, err) < 0)
        return -1;
    if (findings != 0) {
        err_set(err, ERR_DAMAGED,
                "snapshot file integrity check failed. %" PRIu64
                " errors found. Use another copy, or save the snapshot again",
                findings);
        return -1;
    }
    status.file_hash = snapshot_hash_check(bolt_bytes(bolt), NULL, NULL);
    bolt_cursor_init(&cursor, &root);
    if (bolt_cursor_first(&cursor, &entry, &found, err) < 0)
        return -1;
    while (found)
        if (status_bucket(bolt, &entry, &status, err) < 0 ||
            bolt_cursor_next(&cursor, &entry, &found, err) < 0)
            return -1;
    if (status_revision(bolt, &status, err) < 0)
        return -1;
    *out = status;
    return 0;
}

int snapshot_status(const char *path, struct snapshot_status *status, bolt_finding_fn *finding,
                    void *arg, struct err *err)
{
    struct bolt *bolt = NULL;
    int rc = -1;

    if (snapshot_open(path, &bolt, err) == 0)
        rc = snapshot_status_of(bolt, status, finding, arg, err);
    bolt_close(bolt);
    return rc;
}
