/* backend_hash.c - see backend_hash.h: one cursor after the other, bucket names in byte order. */
#include "common/storage/backend_hash.h"

#include "common/base/crc32c.h"

void backend_hash_init(struct backend_hash *hash, struct backend_read *read)
{
    *hash = (struct backend_hash){.read = read};
}

void backend_hash_fini(struct backend_hash *hash)
{
    backend_cursor_close(hash->cursor);
    hash->cursor = NULL;
}

/* What etcd leaves out: it differs between members that agree. */
static bool is_left_out(unsigned bucket, struct slice key)
{
    return bucket == BUCKET_META && (slice_equal(key, SLICE_LITERAL("consistent_index")) ||
                                     slice_equal(key, SLICE_LITERAL("term")) ||
                                     slice_equal(key, SLICE_LITERAL("storageVersion")));
}

/* The next entry; opens the bucket and takes its name when it is at its start. */
static bool next_entry(struct backend_hash *hash, struct slice *key, struct slice *value)
{
    const char *name;

    if (hash->cursor != NULL)
        return backend_cursor_next(hash->cursor, key, value);
    name = bucket_name((enum bucket)hash->bucket);
    hash->crc = crc32c(hash->crc, name, strlen(name));
    hash->cursor = backend_cursor_open(hash->read, (enum bucket)hash->bucket);
    return backend_cursor_seek(hash->cursor, SLICE_EMPTY, key, value);
}

bool backend_hash_step(struct backend_hash *hash, size_t entries)
{
    struct slice key, value;

    while (hash->bucket < BUCKET_COUNT && entries > 0) {
        if (!next_entry(hash, &key, &value)) {
            backend_hash_fini(hash);
            hash->bucket++;
            continue;
        }
        entries--;
        if (is_left_out(hash->bucket, key))
            continue;
        hash->crc = crc32c(hash->crc, key.data, key.size);
        hash->crc = crc32c(hash->crc, value.data, value.size);
    }
    return hash->bucket == BUCKET_COUNT;
}
