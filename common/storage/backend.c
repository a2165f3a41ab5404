/* backend.c - see backend.h: the names of the buckets, and the way to the implementation. */
#include "common/storage/backend_impl.h"

const char *bucket_name(enum bucket bucket)
{
    static const char *const names[BUCKET_COUNT] = {
        "alarm", "auth",  "authRoles", "authUsers",       "cluster",
        "key",   "lease", "members",   "members_removed", "meta",
    };

    must((unsigned)bucket < BUCKET_COUNT);
    return names[bucket];
}

bool bucket_find(struct slice name, enum bucket *bucket)
{
    for (int i = 0; i < BUCKET_COUNT; i++) {
        if (slice_equal(name, slice_text(bucket_name((enum bucket)i)))) {
            *bucket = (enum bucket)i;
            return true;
        }
    }
    return false;
}

void backend_close(struct backend *backend)
{
    if (backend == NULL)
        return;
    must(atomic_load(&backend->reads) == 0);
    backend->ops->close(backend);
}

int backend_commit(struct backend *backend, const struct batch *batch, struct err *err)
{
    return backend->ops->commit(backend, batch, err);
}

int backend_read_begin(struct backend *backend, struct backend_read **read, struct err *err)
{
    if (backend->ops->read_begin(backend, read, err) < 0)
        return -1;
    (*read)->backend = backend;
    atomic_init(&(*read)->cursors, 0);
    atomic_fetch_add(&backend->reads, 1);
    return 0;
}

void backend_read_end(struct backend_read *read)
{
    struct backend *backend;

    if (read == NULL)
        return;
    backend = read->backend;
    must(atomic_load(&read->cursors) == 0);
    backend->ops->read_end(read);
    must(atomic_fetch_sub(&backend->reads, 1) > 0);
}

int backend_read_renew(struct backend_read *read, struct err *err)
{
    must(atomic_load(&read->cursors) == 0);
    return read->backend->ops->read_renew(read, err);
}

bool backend_get(struct backend_read *read, enum bucket bucket, struct slice key,
                 struct slice *value)
{
    must((unsigned)bucket < BUCKET_COUNT);
    return read->backend->ops->get(read, bucket, key, value);
}

struct backend_cursor *backend_cursor_open(struct backend_read *read, enum bucket bucket)
{
    struct backend_cursor *cursor;

    must((unsigned)bucket < BUCKET_COUNT);
    cursor = read->backend->ops->cursor_open(read, bucket);
    cursor->read = read;
    atomic_fetch_add(&read->cursors, 1);
    return cursor;
}

void backend_cursor_close(struct backend_cursor *cursor)
{
    struct backend_read *read;

    if (cursor == NULL)
        return;
    read = cursor->read;
    read->backend->ops->cursor_close(cursor);
    must(atomic_fetch_sub(&read->cursors, 1) > 0);
}

bool backend_cursor_seek(struct backend_cursor *cursor, struct slice key, struct slice *found,
                         struct slice *value)
{
    return cursor->read->backend->ops->cursor_seek(cursor, key, found, value);
}

bool backend_cursor_next(struct backend_cursor *cursor, struct slice *found, struct slice *value)
{
    return cursor->read->backend->ops->cursor_next(cursor, found, value);
}

bool backend_cursor_last(struct backend_cursor *cursor, struct slice *found, struct slice *value)
{
    return cursor->read->backend->ops->cursor_last(cursor, found, value);
}

uint64_t backend_size(struct backend *backend)
{
    return backend->ops->size(backend);
}

uint64_t backend_size_in_use(struct backend *backend)
{
    return backend->ops->size_in_use(backend);
}

unsigned backend_reads_open(struct backend *backend)
{
    return atomic_load(&backend->reads);
}

int backend_defrag(struct backend *backend, struct err *err)
{
    return backend->ops->defrag(backend, err);
}
