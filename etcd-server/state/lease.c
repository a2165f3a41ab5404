/* lease.c - see lease.h. Leases by id in a hash map; the keys of one in a sorted array. */
#include "common/base/idmap.h"
#include "common/schema/lease.pb-c.h"
#include "etcd-server/state/lease.h"

struct lease_store {
    struct idmap by_id; /* owned struct lease */
};

static void free_lease(struct lease *lease)
{
    if (lease == NULL)
        return;
    for (size_t i = 0; i < lease->key_count; i++)
        free((void *)(uintptr_t)lease->keys[i].data); /* const to readers, owned here */
    free(lease->keys);
    free(lease);
}

struct lease_store *lease_store_new(void)
{
    return xalloc(sizeof(struct lease_store));
}

void lease_store_free(struct lease_store *leases)
{
    if (leases == NULL)
        return;
    for (size_t i = 0; i < leases->by_id.capacity; i++)
        free_lease(leases->by_id.slots[i].value);
    idmap_free(&leases->by_id);
    free(leases);
}

static struct lease *find(const struct lease_store *leases, int64_t id)
{
    return idmap_get(&leases->by_id, (uint64_t)id);
}

const struct lease *lease_find(const struct lease_store *leases, int64_t id)
{
    return find(leases, id);
}

size_t lease_count(const struct lease_store *leases)
{
    return leases->by_id.count;
}

static void key_of(int64_t id, uint8_t out[8])
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)((uint64_t)id >> (56 - 8 * i));
}

static void save(const struct lease *lease, struct batch *batch)
{
    Leasepb__Lease message = LEASEPB__LEASE__INIT;
    uint8_t key[8], value[64];

    message.id = lease->id;
    message.ttl = lease->ttl_s;
    message.remainingttl = lease->remaining_ttl_s;
    key_of(lease->id, key);
    batch_put(batch, BUCKET_LEASE, slice_of(key, sizeof(key)),
              slice_of(value, leasepb__lease__pack(&message, value)));
}

int lease_store_restore(struct lease_store *leases, struct backend_read *read, struct err *err)
{
    struct backend_cursor *cursor = backend_cursor_open(read, BUCKET_LEASE);
    struct slice key, value;
    int rc = 0;

    for (bool more = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); more;
         more = backend_cursor_next(cursor, &key, &value)) {
        Leasepb__Lease *message = leasepb__lease__unpack(NULL, value.size, value.data);

        if (message == NULL || message->id == 0 || find(leases, message->id) != NULL) {
            err_set(err, ERR_DAMAGED,
                    "bucket lease: an entry of %zu bytes is no lease; restore a snapshot",
                    value.size);
            if (message != NULL)
                leasepb__lease__free_unpacked(message, NULL);
            rc = -1;
            break;
        }
        struct lease *lease = xalloc(sizeof(*lease));
        lease->id = message->id;
        lease->ttl_s = message->ttl;
        lease->remaining_ttl_s = message->remainingttl;
        must(idmap_put(&leases->by_id, (uint64_t)lease->id, lease));
        leasepb__lease__free_unpacked(message, NULL);
    }
    backend_cursor_close(cursor);
    return rc;
}

enum err_code lease_apply_grant(struct lease_store *leases, int64_t id, int64_t ttl_s,
                                struct batch *batch)
{
    struct lease *lease;

    if (ttl_s > LEASE_TTL_MAX_S)
        return ERR_LEASE_TTL_TOO_LARGE;
    if (id == 0)
        return ERR_LEASE_NOT_FOUND;
    if (find(leases, id) != NULL)
        return ERR_LEASE_EXIST;
    lease = xalloc(sizeof(*lease));
    lease->id = id;
    lease->ttl_s = ttl_s;
    must(idmap_put(&leases->by_id, (uint64_t)id, lease));
    save(lease, batch);
    return ERR_OK;
}

enum err_code lease_apply_revoke(struct lease_store *leases, int64_t id, struct batch *batch)
{
    struct lease *lease = id != 0 ? idmap_remove(&leases->by_id, (uint64_t)id) : NULL;
    uint8_t key[8];

    if (lease == NULL)
        return ERR_LEASE_NOT_FOUND;
    key_of(id, key);
    batch_delete(batch, BUCKET_LEASE, slice_of(key, sizeof(key)));
    free_lease(lease);
    return ERR_OK;
}

void lease_apply_checkpoint(struct lease_store *leases, int64_t id, int64_t remaining_ttl_s,
                            struct batch *batch)
{
    struct lease *lease = find(leases, id);

    if (lease == NULL)
        return;
    lease->remaining_ttl_s = remaining_ttl_s;
    save(lease, batch);
}

/* Position of the first key >= `key`. */
static size_t key_place(const struct lease *lease, struct slice key)
{
    size_t low = 0, high = lease->key_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_compare(lease->keys[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void lease_attach(struct lease_store *leases, int64_t id, struct slice key)
{
    struct lease *lease = find(leases, id);
    size_t at;
    uint8_t *copy;

    if (lease == NULL)
        return;
    at = key_place(lease, key);
    if (at < lease->key_count && slice_equal(lease->keys[at], key))
        return;
    if (lease->key_count == lease->key_capacity) {
        lease->key_capacity = MAX(lease->key_capacity * 2, 2);
        lease->keys = xrealloc(lease->keys, lease->key_capacity * sizeof(*lease->keys));
    }
    memmove(lease->keys + at + 1, lease->keys + at, (lease->key_count - at) * sizeof(*lease->keys));
    copy = xalloc(key.size);
    memcpy(copy, key.data, key.size);
    lease->keys[at] = slice_of(copy, key.size);
    lease->key_count++;
}

void lease_detach(struct lease_store *leases, int64_t id, struct slice key)
{
    struct lease *lease = find(leases, id);
    size_t at;

    if (lease == NULL)
        return;
    at = key_place(lease, key);
    if (at == lease->key_count || !slice_equal(lease->keys[at], key))
        return;
    free((void *)(uintptr_t)lease->keys[at].data);
    memmove(lease->keys + at, lease->keys + at + 1,
            (lease->key_count - at - 1) * sizeof(*lease->keys));
    lease->key_count--;
}
