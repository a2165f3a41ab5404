/*
 * lease.c - see lease.h.
 *
 * Leases by id in a hash map; where time is counted also in a binary heap by wake_ms (then id, for
 * one order everywhere). A lease knows its place in the heap, so that a renewal moves it in
 * O(log n) and nothing is ever searched. One heap serves expiry and checkpoints: wake_ms is
 * whichever comes first.
 */
#include "etcd-server/state/lease.h"
#include "common/base/idmap.h"
#include "common/base/plants.h"
#include "common/schema/lease.pb-c.h"

#define AHEAD 8 /* slots, of a walk through all leases */

struct lease_store {
    struct idmap by_id; /* owned struct lease */
    struct lease_hooks hooks;
    bool counting;
    uint64_t others_until_ms; /* until then another leader may be renewing; 0 = none */
    uint64_t checkpoint_ms;   /* 0 = none are made */
    struct lease **heap;      /* while counting: every lease, the one to look at first on top */
    size_t heap_count, heap_capacity;
};

static void free_lease(struct lease *lease)
{
    if (lease == NULL)
        return;
    key_set_free(&lease->keys);
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
    free(leases->heap);
    free(leases);
}

void lease_store_hook(struct lease_store *leases, const struct lease_hooks *hooks)
{
    leases->hooks = *hooks;
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

/* ---- the heap ---- */

static bool before(const struct lease *a, const struct lease *b)
{
    return a->wake_ms != b->wake_ms ? a->wake_ms < b->wake_ms : a->id < b->id;
}

static void set_place(struct lease_store *leases, size_t place, struct lease *lease)
{
    leases->heap[place] = lease;
    lease->place = place;
}

/* Put `lease` where it belongs, from the free place `place` on, upward or downward. */
static void settle(struct lease_store *leases, struct lease *lease, size_t place)
{
    while (place > 0 && before(lease, leases->heap[(place - 1) / 2])) {
        set_place(leases, place, leases->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * place + 1;

        if (child + 1 < leases->heap_count && before(leases->heap[child + 1], leases->heap[child]))
            child++;
        if (child >= leases->heap_count || !before(leases->heap[child], lease))
            break;
        set_place(leases, place, leases->heap[child]);
        place = child;
    }
    set_place(leases, place, lease);
}

static void heap_add(struct lease_store *leases, struct lease *lease)
{
    if (leases->heap_count == leases->heap_capacity) {
        leases->heap_capacity = MAX(leases->heap_capacity * 2, 64);
        leases->heap = xrealloc(leases->heap, leases->heap_capacity * sizeof(struct lease *));
    }
    leases->heap_count++;
    settle(leases, lease, leases->heap_count - 1);
}

static void heap_remove(struct lease_store *leases, const struct lease *lease)
{
    struct lease *last = leases->heap[leases->heap_count - 1];

    must(leases->heap[lease->place] == lease);
    leases->heap_count--;
    if (last != lease)
        settle(leases, last, lease->place);
}

/* ---- time ---- */

static int64_t time_left_s(const struct lease *lease)
{
    return lease->remaining_ttl_s > 0 ? lease->remaining_ttl_s : lease->ttl_s;
}

/* `left_ms` from now on; a checkpoint comes first for those that have longer than its interval. */
static void give(const struct lease_store *leases, struct lease *lease, uint64_t now_ms,
                 uint64_t left_ms)
{
    now_ms = MAX(now_ms, leases->others_until_ms);
    lease->deadline_ms = now_ms + left_ms;
    lease->wake_ms = leases->checkpoint_ms != 0 && left_ms > leases->checkpoint_ms
                         ? now_ms + leases->checkpoint_ms
                         : lease->deadline_ms;
}

void lease_promote(struct lease_store *leases, uint64_t now_ms, uint64_t extend_ms, bool others,
                   uint64_t checkpoint_ms)
{
    lease_demote(leases);
    leases->counting = true;
    leases->others_until_ms = 0;
    leases->checkpoint_ms = checkpoint_ms;
    for (size_t i = 0; i < leases->by_id.capacity; i++) {
        struct lease *lease = leases->by_id.slots[i].value;

        if (lease == NULL)
            continue;
        give(leases, lease, now_ms,
             PLANTED(LEASE_UNEXTENDED) ? 0 : extend_ms + (uint64_t)time_left_s(lease) * 1000);
        heap_add(leases, lease);
    }
    if (others)
        leases->others_until_ms = now_ms + extend_ms;
}

void lease_demote(struct lease_store *leases)
{
    free(leases->heap);
    leases->heap = NULL;
    leases->heap_count = leases->heap_capacity = 0;
    leases->counting = false;
}

bool lease_is_counting(const struct lease_store *leases)
{
    return leases->counting;
}

void lease_renew(struct lease_store *leases, int64_t id, uint64_t now_ms)
{
    struct lease *lease = find(leases, id);

    must(leases->counting && lease != NULL);
    give(leases, lease, now_ms, (uint64_t)lease->ttl_s * 1000);
    settle(leases, lease, lease->place);
}

bool lease_is_expired(const struct lease *lease, uint64_t now_ms)
{
    return lease->deadline_ms <= now_ms;
}

int64_t lease_remaining_s(const struct lease *lease, uint64_t now_ms)
{
    return lease_is_expired(lease, now_ms) ? 0 : (int64_t)((lease->deadline_ms - now_ms) / 1000);
}

const struct lease *lease_next_due(const struct lease_store *leases, uint64_t now_ms)
{
    return leases->heap_count != 0 && leases->heap[0]->wake_ms <= now_ms ? leases->heap[0] : NULL;
}

void lease_wake_at(struct lease_store *leases, int64_t id, uint64_t now_ms, uint64_t wake_ms)
{
    struct lease *lease = find(leases, id);

    if (lease == NULL || !leases->counting)
        return;
    lease->wake_ms = lease_is_expired(lease, now_ms) ? wake_ms : MIN(wake_ms, lease->deadline_ms);
    settle(leases, lease, lease->place);
}

/* ---- the list ---- */

void lease_collect(const struct lease_store *leases, struct lease_place *places)
{
    const struct idmap *map = &leases->by_id;
    size_t count = 0;

    for (size_t i = 0; i < map->capacity; i++) {
        const struct lease *lease = map->slots[i].value;

        if (i + AHEAD < map->capacity) /* they lie anywhere */
            __builtin_prefetch(map->slots[i + AHEAD].value);
        if (lease != NULL)
            places[count++] = (struct lease_place){
                leases->counting ? lease->deadline_ms : (uint64_t)time_left_s(lease), lease->id};
    }
}

static int compare_places(const void *left, const void *right)
{
    const struct lease_place *a = left, *b = right;

    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

void lease_places_sort(struct lease_place *places, size_t count)
{
    if (count > 1)
        qsort(places, count, sizeof(*places), compare_places);
}

/* ---- bucket `lease` ---- */

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

static bool is_lease(const struct lease_store *leases, const Leasepb__Lease *message)
{
    return message != NULL && message->id != 0 && find(leases, message->id) == NULL &&
           message->ttl >= 0 && message->ttl <= LEASE_TTL_MAX_S && message->remainingttl >= 0 &&
           message->remainingttl <= LEASE_TTL_MAX_S;
}

int lease_store_restore(struct lease_store *leases, struct backend_read *read, struct err *err)
{
    struct backend_cursor *cursor = backend_cursor_open(read, BUCKET_LEASE);
    struct slice key, value;
    int rc = 0;

    for (bool more = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); more;
         more = backend_cursor_next(cursor, &key, &value)) {
        Leasepb__Lease *message = leasepb__lease__unpack(NULL, value.size, value.data);

        if (!is_lease(leases, message)) {
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

/* ---- apply ---- */

enum err_code lease_apply_grant(struct lease_store *leases, int64_t id, int64_t ttl_s,
                                uint64_t now_ms, struct batch *batch)
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
    if (leases->counting) {
        give(leases, lease, now_ms, (uint64_t)ttl_s * 1000);
        heap_add(leases, lease);
    }
    if (leases->hooks.granted != NULL)
        leases->hooks.granted(leases->hooks.arg, ttl_s);
    return ERR_OK;
}

struct key_set lease_take_keys(struct lease_store *leases, int64_t id)
{
    struct lease *lease = find(leases, id);
    struct key_set keys = {0};

    if (lease != NULL) {
        keys = lease->keys;
        lease->keys = (struct key_set){0};
    }
    return keys;
}

enum err_code lease_apply_revoke(struct lease_store *leases, int64_t id, struct batch *batch)
{
    struct lease *lease = id != 0 ? idmap_remove(&leases->by_id, (uint64_t)id) : NULL;
    uint8_t key[8];

    if (lease == NULL)
        return ERR_LEASE_NOT_FOUND;
    key_of(id, key);
    batch_delete(batch, BUCKET_LEASE, slice_of(key, sizeof(key)));
    if (leases->counting)
        heap_remove(leases, lease);
    free_lease(lease);
    if (leases->hooks.revoked != NULL)
        leases->hooks.revoked(leases->hooks.arg, id);
    return ERR_OK;
}

void lease_apply_checkpoint(struct lease_store *leases, int64_t id, int64_t remaining_ttl_s,
                            struct batch *batch)
{
    struct lease *lease = find(leases, id);

    if (lease == NULL || remaining_ttl_s < 0 || remaining_ttl_s > lease->ttl_s)
        return; /* the latter never comes from a leader */
    lease->remaining_ttl_s = remaining_ttl_s;
    if (batch != NULL)
        save(lease, batch);
}

void lease_attach(struct lease_store *leases, int64_t id, struct slice key)
{
    struct lease *lease = find(leases, id);

    if (lease != NULL)
        (void)key_set_add(&lease->keys, key); /* a put on the same lease again */
}

void lease_detach(struct lease_store *leases, int64_t id, struct slice key)
{
    struct lease *lease = find(leases, id);

    if (lease != NULL)
        (void)key_set_remove(&lease->keys, key); /* a revoke took it off already */
}
