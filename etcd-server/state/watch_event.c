/*
 * watch_event.c - see watch_event.h.
 *
 *   Event   [08 01 when deleted] 12 len KeyValue [1a len KeyValue before]
 */
#include "etcd-server/state/watch_event.h"

#include "common/base/limits.h"
#include "common/schema/kv.pb-c.h"
#include "common/schema/pbjson.h"
#include "common/schema/pbwire.h"
#include "etcd-server/state/stored.h"

#define KEEP_BYTES (1UL * MIB) /* memory kept for the next events */

enum event_field { EVENT_TYPE = 1, EVENT_KV = 2, EVENT_PREV_KV = 3 };

void watch_events_init(struct watch_events *events)
{
    /* one revision, or one slice of history: what apply made fits into memory once more */
    arena_init(&events->arena, SIZE_MAX);
    buf_init(&events->scratch, BUF_UNLIMITED);
    events->bytes = 0;
}

void watch_events_reset(struct watch_events *events)
{
    arena_reset(&events->arena);
    if (events->arena.used > KEEP_BYTES)
        arena_free(&events->arena);
    if (events->scratch.capacity > KEEP_BYTES)
        buf_free(&events->scratch);
    events->bytes = 0;
}

void watch_events_fini(struct watch_events *events)
{
    arena_free(&events->arena);
    buf_free(&events->scratch);
}

static void *allocate(struct watch_events *events, size_t bytes)
{
    void *memory = arena_zalloc(&events->arena, bytes);

    must(memory != NULL); /* as xalloc(): a member without memory gives no other answer, it stops */
    return memory;
}

static struct slice encode(struct watch_events *events, bool tombstone, struct slice kv,
                           struct slice previous)
{
    size_t bytes = (tombstone ? 2 : 0) + pb_bytes_field_bytes(kv.size) +
                   (previous.size != 0 ? pb_bytes_field_bytes(previous.size) : 0);
    uint8_t *out = allocate(events, bytes), *at = out;

    if (tombstone)
        at = pb_put_u64(at, EVENT_TYPE, MVCCPB__EVENT__EVENT_TYPE__DELETE);
    at = pb_put_bytes(at, EVENT_KV, kv);
    if (previous.size != 0)
        at = pb_put_bytes(at, EVENT_PREV_KV, previous);
    must(at == out + bytes);
    events->bytes += bytes;
    return slice_of(out, bytes);
}

/* A deletion is stored as its key; watchers are told its revision too. */
static struct slice event_kv(struct watch_events *events, struct revision revision, bool tombstone,
                             struct slice key_value)
{
    struct stored stored;
    uint8_t *out;
    bool sound;

    if (!tombstone)
        return key_value;
    sound = stored_decode(key_value, &stored);
    must(sound); /* ours, or decoded at the start */
    stored = (struct stored){.key = stored.key, .mod = revision.main};
    out = allocate(events, stored_bytes(&stored));
    stored_encode(&stored, out);
    return slice_of(out, stored_bytes(&stored));
}

struct watch_event *watch_event_new(struct watch_events *events, struct revision revision,
                                    bool tombstone, struct slice key_value)
{
    struct watch_event *event = allocate(events, sizeof(*event));

    event->owner = events;
    event->revision = revision.main;
    event->wire[0] =
        encode(events, tombstone, event_kv(events, revision, tombstone, key_value), SLICE_EMPTY);
    return event;
}

void watch_event_add_previous(struct watch_event *event, const struct mvcc *mvcc,
                              struct revision revision, bool tombstone, struct slice key_value)
{
    struct slice previous;
    struct stored stored;
    bool sound = stored_decode(key_value, &stored);

    must(sound); /* ours, or decoded at the start */
    if (event->wire[1].data != NULL)
        return;
    event->wire[1] = event->wire[0];
    if ((tombstone || stored.create != revision.main) &&
        mvcc_kv_at(mvcc, stored.key, revision.main - 1, &previous))
        event->wire[1] = encode(event->owner, tombstone,
                                event_kv(event->owner, revision, tombstone, key_value), previous);
}

struct slice watch_event_json(struct watch_event *event, bool previous)
{
    struct watch_events *owner = event->owner;
    struct slice wire = event->wire[previous];
    bool good;
    void *copy;

    must(wire.data != NULL);
    if (event->json[previous].data != NULL)
        return event->json[previous];
    if (previous && wire.data == event->wire[0].data)
        return event->json[1] = watch_event_json(event, false);
    buf_reset(&owner->scratch);
    good = pbjson_write_encoded(&mvccpb__event__descriptor, wire, PBJSON_GATEWAY, &owner->scratch);
    must(good); /* encoded above */
    copy = allocate(owner, buf_used(&owner->scratch));
    memcpy(copy, owner->scratch.data, buf_used(&owner->scratch));
    return event->json[previous] = slice_of(copy, buf_used(&owner->scratch));
}
