/*
 * watch.c - see watch.h: streams, watchers, and the events of the revision being applied.
 *
 *   watch_changed()         index -> watchers hit -> an event, encoded once -> a hit on each
 *   watch_revision_ended()  one message to each watcher hit; who cannot take it falls behind
 */
#include "common/base/limits.h"
#include "common/base/plants.h"
#include "etcd-server/state/watch_internal.h"

struct watch_hub *watch_hub_new(const struct watch_env *env)
{
    struct watch_hub *hub = xalloc(sizeof(*hub));

    hub->env = *env;
    watch_events_init(&hub->events);
    watch_events_init(&hub->sweep.events);
    return hub;
}

void watch_hub_free(struct watch_hub *hub)
{
    if (hub == NULL)
        return;
    must(hub->streams == 0);
    watch_events_fini(&hub->events);
    watch_events_fini(&hub->sweep.events);
    free(hub->touched);
    free(hub);
}

struct watch_stats watch_stats(const struct watch_hub *hub)
{
    return (struct watch_stats){.streams = hub->streams,
                                .watchers = hub->live.count + hub->behind.count,
                                .slow = hub->behind.count,
                                .pending = hub->sweep.hits + hub->unread,
                                .events = hub->sent};
}

/* ---- watchers ---- */

static void enqueue(struct watcher *watcher)
{
    struct watch_hub *hub = watcher->stream->hub;
    const struct sweep *sweep = &hub->sweep;

    watcher->queue_before = hub->queue_last;
    watcher->queue_after = NULL;
    if (hub->queue_last != NULL)
        hub->queue_last->queue_after = watcher;
    else
        hub->queue_first = watcher;
    hub->queue_last = watcher;
    if (sweep->running && watcher->next <= sweep->at.main)
        watcher->skip_sweep = sweep->number; /* it has passed some of what this one needs */
}

static void dequeue(struct watcher *watcher)
{
    struct watch_hub *hub = watcher->stream->hub;

    if (watcher->queue_before != NULL)
        watcher->queue_before->queue_after = watcher->queue_after;
    else
        hub->queue_first = watcher->queue_after;
    if (watcher->queue_after != NULL)
        watcher->queue_after->queue_before = watcher->queue_before;
    else
        hub->queue_last = watcher->queue_before;
}

void watcher_set_state(struct watcher *watcher, enum watcher_state state)
{
    struct watch_stream *stream = watcher->stream;
    struct watch_hub *hub = stream->hub;
    bool was_live = watcher->state == WATCHER_LIVE, is_live = state == WATCHER_LIVE;

    if (watcher->state == WATCHER_QUEUED)
        dequeue(watcher);
    if (was_live != is_live) {
        watch_index_remove(was_live ? &hub->live : &hub->behind, &watcher->node);
        watch_index_insert(is_live ? &hub->live : &hub->behind, &watcher->node);
        stream->behind += was_live ? 1 : (size_t)-1;
    }
    watcher->state = (uint8_t)state;
    if (state == WATCHER_QUEUED)
        enqueue(watcher);
}

void watcher_drop_hits(struct watcher *watcher)
{
    if (watcher->state != WATCHER_LIVE)
        watcher->stream->hub->sweep.hits -= watcher->hits;
    watcher->first = watcher->last = NULL;
    watcher->bytes = 0;
    watcher->counted = 0;
    watcher->revisions = 0;
    watcher->hits = 0;
}

void watcher_gather(struct watcher *watcher, struct watch_change *change)
{
    struct watch_hit *hit = arena_alloc(&change->events->arena, sizeof(*hit));

    must(hit != NULL);
    if (change->event == NULL)
        change->event =
            watch_event_new(change->events, change->revision, change->tombstone, change->key_value);
    if (watcher->prev_kv)
        watch_event_add_previous(change->event, change->hub->env.mvcc(change->hub->env.arg),
                                 change->revision, change->tombstone, change->key_value);
    *hit = (struct watch_hit){.event = change->event};
    if (watcher->last != NULL)
        watcher->last->next = hit;
    else
        watcher->first = hit;
    watcher->last = hit;
    watcher->bytes += hit->event->wire[watcher->prev_kv].size;
    watcher->hits++;
}

static void set_unread(struct watch_stream *stream, size_t events, size_t bytes)
{
    stream->hub->unread += events - stream->unread;
    stream->hub->unread_bytes += bytes - stream->unread_bytes;
    stream->unread = events;
    stream->unread_bytes = bytes;
}

void watcher_send(struct watcher *watcher, int64_t revision)
{
    struct watch_stream *stream = watcher->stream;
    struct watch_message message = {.watch_id = watcher->id,
                                    .revision = revision,
                                    .fragment = watcher->fragment,
                                    .previous = watcher->prev_kv,
                                    .first = watcher->first,
                                    .count = watcher->hits};

    must(watcher->hits != 0 && !stream->full);
    stream->hub->sent += watcher->hits;
    stream->full = !stream->ops->events(stream->arg, &message);
    if (stream->full)
        set_unread(stream, stream->unread + watcher->hits, stream->unread_bytes + watcher->bytes);
    watcher->quiet = false;
    watcher_drop_hits(watcher);
}

static void forget_touched(struct watch_hub *hub, const struct watcher *watcher)
{
    for (size_t i = 0; i < hub->touched_count; i++)
        if (hub->touched[i] == watcher)
            hub->touched[i] = NULL;
}

void watcher_free(struct watcher *watcher)
{
    struct watch_stream *stream = watcher->stream;
    struct watch_hub *hub = stream->hub;

    if (watcher->touched)
        forget_touched(hub, watcher);
    watcher_drop_hits(watcher);
    if (watcher->state == WATCHER_QUEUED)
        dequeue(watcher);
    stream->behind -= watcher->state != WATCHER_LIVE;
    watch_index_remove(watcher->state == WATCHER_LIVE ? &hub->live : &hub->behind, &watcher->node);
    if (watcher->previous != NULL)
        watcher->previous->following = watcher->following;
    else
        stream->first = watcher->following;
    if (watcher->following != NULL)
        watcher->following->previous = watcher->previous;
    if (watcher->id == 0)
        stream->id_zero = NULL;
    else
        must(idmap_remove(&stream->ids, (uint64_t)watcher->id) == watcher);
    stream->count--;
    stream->notified -= watcher->progress_notify;
    free(watcher);
}

/* ---- from apply ---- */

static void hit_live(void *arg, struct watch_node *node)
{
    struct watch_change *change = arg;
    struct watch_hub *hub = change->hub;
    struct watcher *watcher = CONTAINER_OF(node, struct watcher, node);

    if (watcher->next > change->revision.main || watcher_filters(watcher, change))
        return;
    if (!watcher->touched) {
        if (hub->touched_count == hub->touched_capacity) {
            hub->touched_capacity = MAX(hub->touched_capacity * 2, 16);
            hub->touched = xrealloc(hub->touched, hub->touched_capacity * sizeof(struct watcher *));
        }
        hub->touched[hub->touched_count++] = watcher;
        watcher->touched = true;
    }
    if (!watcher->stream->full) /* else it falls behind when the revision ends */
        watcher_gather(watcher, change);
}

static struct slice key_of(struct slice key_value)
{
    struct stored stored;
    bool sound = stored_decode(key_value, &stored);

    must(sound); /* ours, or decoded at the start */
    return stored.key;
}

static void owe_history(struct watch_hub *hub, struct slice key_value)
{
    hub->owed_bytes = MIN(hub->owed_bytes + WATCH_HASTE * watch_effort_bytes(key_value),
                          WATCH_OWED_STEPS * WATCH_STEP_BYTES);
}

void watch_changed(struct watch_hub *hub, struct revision revision, bool tombstone,
                   struct slice key_value)
{
    struct watch_change change = {.hub = hub,
                                  .events = &hub->events,
                                  .revision = revision,
                                  .tombstone = tombstone,
                                  .key_value = key_value};

    if (watch_has_history(hub))
        owe_history(hub, key_value);
    if (hub->live.count != 0)
        watch_index_find(&hub->live, key_of(key_value), hit_live, &change);
}

void watch_revision_ended(struct watch_hub *hub, int64_t revision)
{
    for (size_t i = 0; i < hub->touched_count; i++) {
        struct watcher *watcher = hub->touched[i];

        if (watcher == NULL)
            continue;
        watcher->touched = false;
        if (!watcher->stream->full) {
            watcher_send(watcher, revision);
            continue;
        }
        watcher_drop_hits(watcher);
        watcher->next = revision;
        watcher_set_state(watcher, WATCHER_PARKED);
    }
    if (hub->touched_count == 0)
        return;
    hub->touched_count = 0;
    watch_events_reset(&hub->events);
}

/* ---- streams ---- */

struct watch_stream *watch_stream_new(struct watch_hub *hub, const struct watch_stream_ops *ops,
                                      void *arg)
{
    struct watch_stream *stream = xalloc(sizeof(*stream));

    stream->hub = hub;
    stream->ops = ops;
    stream->arg = arg;
    hub->streams++;
    return stream;
}

void watch_stream_free(struct watch_stream *stream)
{
    if (stream == NULL)
        return;
    while (stream->first != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the first of a list has no one before it */
        watcher_free(stream->first);
    }
    set_unread(stream, 0, 0);
    stream->hub->streams--;
    idmap_free(&stream->ids);
    free(stream);
}

void watch_stream_full(struct watch_stream *stream)
{
    stream->full = true;
}

void watch_stream_resume(struct watch_stream *stream)
{
    stream->full = false;
    set_unread(stream, 0, 0);
    if (stream->behind == 0)
        return;
    for (struct watcher *watcher = stream->first; watcher != NULL; watcher = watcher->following)
        if (watcher->state == WATCHER_PARKED)
            watcher_set_state(watcher, WATCHER_QUEUED);
}

static struct watcher *find(const struct watch_stream *stream, int64_t id)
{
    return id == 0 ? stream->id_zero : idmap_get(&stream->ids, (uint64_t)id);
}

static struct watcher *watcher_new(struct watch_stream *stream, const struct watch_request *request,
                                   struct slice key)
{
    bool open = request->range_end.size == 1 && request->range_end.data[0] == 0;
    struct slice to = open ? SLICE_EMPTY : request->range_end;
    struct watcher *watcher = xalloc(sizeof(*watcher) + key.size + to.size);

    memcpy(watcher->keys, key.data, key.size);
    if (to.size != 0)
        memcpy(watcher->keys + key.size, to.data, to.size);
    watcher->node.bytes = watcher->keys;
    watcher->node.from_size = (uint32_t)key.size;
    watcher->node.to_size = (uint32_t)to.size;
    watcher->node.span = open ? WATCH_SPAN_OPEN : to.size == 0 ? WATCH_SPAN_ONE : WATCH_SPAN_RANGE;
    watcher->node.serial = ++stream->hub->serials;
    watcher->stream = stream;
    watcher->no_put = request->no_put;
    watcher->no_delete = request->no_delete;
    watcher->prev_kv = request->prev_kv;
    watcher->fragment = request->fragment;
    watcher->progress_notify = request->progress_notify;
    watcher->quiet = true;
    return watcher;
}

static void link_watcher(struct watcher *watcher, int64_t id, int64_t start_revision)
{
    struct watch_stream *stream = watcher->stream;
    struct watch_hub *hub = stream->hub;
    int64_t current = mvcc_revision(hub->env.mvcc(hub->env.arg));

    watcher->id = id;
    if (id == 0)
        stream->id_zero = watcher;
    else
        must(idmap_put(&stream->ids, (uint64_t)id, watcher));
    watcher->following = stream->first;
    if (stream->first != NULL)
        stream->first->previous = watcher;
    stream->first = watcher;
    stream->count++;
    stream->notified += watcher->progress_notify;
    watcher->next = start_revision != 0 ? start_revision : current;
    watcher->state = WATCHER_LIVE;
    watch_index_insert(&hub->live, &watcher->node);
    if (start_revision != 0 && start_revision <= current - PLANTED(WATCH_SEAM))
        watcher_set_state(watcher, stream->full ? WATCHER_PARKED : WATCHER_QUEUED);
}

enum watch_refusal watch_create(struct watch_stream *stream, const struct watch_request *request,
                                int64_t *id)
{
    struct slice key = request->key.size != 0 ? request->key : slice_of("", 1);
    struct slice end = request->range_end;

    if (request->start_revision < 0)
        return WATCH_COMPACTED;
    if (end.size != 0 && !(end.size == 1 && end.data[0] == 0) && slice_compare(end, key) <= 0)
        return WATCH_EMPTY_RANGE;
    *id = request->id;
    if (*id != 0) {
        if (find(stream, *id) != NULL)
            return WATCH_DUPLICATE_ID;
    } else {
        while (find(stream, stream->next_id) != NULL)
            stream->next_id++;
        *id = stream->next_id++;
    }
    link_watcher(watcher_new(stream, request, key), *id, request->start_revision);
    return WATCH_MADE;
}

bool watch_cancel(struct watch_stream *stream, int64_t id)
{
    struct watcher *watcher = find(stream, id);

    if (watcher == NULL)
        return false;
    watcher_free(watcher);
    return true;
}

/* ---- progress ---- */

static bool in_step(const struct watcher *watcher, int64_t current)
{
    return (watcher->state == WATCHER_LIVE || PLANTED(WATCH_PROGRESS)) && watcher->next <= current;
}

size_t watch_stream_watchers(const struct watch_stream *stream)
{
    return stream->count;
}

bool watch_stream_in_step(const struct watch_stream *stream)
{
    int64_t current = mvcc_revision(stream->hub->env.mvcc(stream->hub->env.arg));

    if (stream->count == 0 || (stream->behind != 0 && !PLANTED(WATCH_PROGRESS)))
        return false;
    for (const struct watcher *watcher = stream->first; watcher != NULL;
         watcher = watcher->following)
        if (!in_step(watcher, current))
            return false;
    return true;
}

bool watch_stream_wants_notify(const struct watch_stream *stream)
{
    return stream->notified != 0;
}

void watch_stream_notify(struct watch_stream *stream)
{
    int64_t current = mvcc_revision(stream->hub->env.mvcc(stream->hub->env.arg));

    for (struct watcher *watcher = stream->first; watcher != NULL && !stream->full;
         watcher = watcher->following) {
        if (!watcher->progress_notify)
            continue;
        if (watcher->quiet && in_step(watcher, current))
            stream->full = !stream->ops->progress(stream->arg, watcher->id);
        watcher->quiet = true;
    }
}
