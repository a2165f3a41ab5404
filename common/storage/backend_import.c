/*
 * backend_import.c (edge) - see backend.h: what a bbolt file holds, copied into an empty backend.
 *
 * Entries gather in a batch; each BACKEND_FILL_BYTES are one durable commit. Keys ascend in both,
 * so LMDB only appends.
 */
#include "common/storage/backend.h"
#include "common/storage/batch.h"
#include "common/storage/bolt.h"

struct import {
    struct backend *backend;
    const char *path;
    struct batch *batch; /* owned */
};

static int check_empty(struct backend *backend, struct err *err)
{
    struct backend_read *read;
    struct slice key, value;
    int rc = 0;

    if (backend_read_begin(backend, &read, err) < 0)
        return -1;
    for (int i = 0; i < BUCKET_COUNT && rc == 0; i++) {
        struct backend_cursor *cursor = backend_cursor_open(read, (enum bucket)i);

        if (backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value)) {
            err_set(err, ERR_EXISTS,
                    "bucket %s is not empty: import into a new database, or remove this one",
                    bucket_name((enum bucket)i));
            rc = -1;
        }
        backend_cursor_close(cursor);
    }
    backend_read_end(read);
    return rc;
}

static int flush(struct import *import, struct err *err)
{
    int rc = backend_commit(import->backend, import->batch, err);

    batch_unref(import->batch);
    import->batch = batch_new();
    return rc;
}

static int import_entry(struct import *import, enum bucket bucket, const struct bolt_entry *entry,
                        struct err *err)
{
    if (entry->is_bucket || entry->key.size == 0 || entry->key.size > BACKEND_KEY_MAX) {
        err_set(err, ERR_FORMAT,
                "%s: bucket %s has a key of %zu bytes%s; keys of 1 to %lu bytes can be imported",
                import->path, bucket_name(bucket), entry->key.size,
                entry->is_bucket ? " that is a bucket" : "", BACKEND_KEY_MAX);
        return -1;
    }
    batch_put(import->batch, bucket, entry->key, entry->value);
    return batch_bytes(import->batch) >= BACKEND_FILL_BYTES ? flush(import, err) : 0;
}

static int import_bucket(struct import *import, const struct bolt *bolt, enum bucket bucket,
                         struct err *err)
{
    struct bolt_bucket from;
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    bool found;

    if (bolt_bucket_find(bolt, slice_text(bucket_name(bucket)), &from, &found, err) < 0)
        return -1;
    if (!found)
        return 0; /* etcd makes the missing ones empty */
    bolt_cursor_init(&cursor, &from);
    if (bolt_cursor_first(&cursor, &entry, &found, err) < 0)
        return -1;
    while (found) {
        if (import_entry(import, bucket, &entry, err) < 0 ||
            bolt_cursor_next(&cursor, &entry, &found, err) < 0)
            return -1;
    }
    return 0;
}

/* A bbolt file of another program would be imported as nothing at all. */
static int check_is_etcd(const struct bolt *bolt, const char *path, struct err *err)
{
    struct bolt_bucket bucket;
    bool found;

    if (bolt_bucket_find(bolt, slice_text(bucket_name(BUCKET_KEY)), &bucket, &found, err) < 0)
        return -1;
    if (found)
        return 0;
    err_set(err, ERR_FORMAT, "%s: has no bucket `key`: it is not a database of etcd", path);
    return -1;
}

int backend_import_bolt(struct backend *backend, const char *bolt_path, struct err *err)
{
    struct import import = {.backend = backend, .path = bolt_path};
    struct bolt *bolt = NULL;
    int rc = -1;

    if (check_empty(backend, err) < 0 || bolt_open_held(bolt_path, &bolt, err) < 0)
        return -1;
    import.batch = batch_new();
    if (check_is_etcd(bolt, bolt_path, err) < 0)
        goto out;
    for (int i = 0; i < BUCKET_COUNT; i++) {
        if (import_bucket(&import, bolt, (enum bucket)i, err) < 0)
            goto out;
    }
    rc = flush(&import, err);
out:
    batch_unref(import.batch);
    bolt_close(bolt);
    return rc;
}
