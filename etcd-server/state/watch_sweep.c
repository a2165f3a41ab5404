/*
 * watch_sweep.c - history for those behind, see watch.h.
 *
 *   queue:  [next 7] [next 3] [next 8] [next 900]           current 1000
 *   sweep:   7 8 9 ... 250 .. 500 .. end                    a step of records each turn
 *
 * A sweep begins at what the first in the queue needs next and takes along everyone whose next
 * revision it comes by. Who has gathered WATCH_SLICE_REVISIONS is sent them and goes on gathering.
 * The sweep ends, and sends to all, at the current revision, when it has gathered WATCH_SLICE_BYTES
 * or passed WATCH_SWEEP_REVISIONS; then all it took along need `end + 1`: those in step leave, the
 * others go to the end of the queue. Who joins the queue behind the sweep waits for the next one.
 *
 * So a message is what etcd makes of it. But one that fills its stream lies in memory until the
 * client reads: as soon as WATCH_UNREAD_BYTES do, messages are cut at WATCH_SLICE_LEAST_BYTES, and
 * what was cut off is read again later.
 */
#include "common/base/limits.h"
#include "etcd-server/state/mvcc_records.h"
#include "etcd-server/state/watch_internal.h"

static bool takes_part(const struct sweep *sweep, const struct watcher *watcher, int64_t revision)
{
    return watcher->state == WATCHER_QUEUED && watcher->skip_sweep != sweep->number &&
           watcher->next >= sweep->start && watcher->next <= revision;
}

/* Leave WATCH_SLICE_LEAST_BYTES of what was gathered, whole revisions; what follows, or NULL. */
static const struct watch_hit *cut(struct watcher *watcher)
{
    struct watch_hit *last = watcher->first;
    const struct watch_hit *rest;
    size_t bytes = 0;
    uint32_t hits = 0;

    for (;; last = last->next) {
        rest = last->next;
        bytes += last->event->wire[watcher->prev_kv].size;
        hits++;
        if (rest == NULL)
            return NULL;
        if (bytes >= WATCH_SLICE_LEAST_BYTES && rest->event->revision != last->event->revision)
            break;
    }
    watcher->stream->hub->sweep.hits -= watcher->hits - hits;
    watcher->last = last;
    watcher->bytes = bytes;
    watcher->hits = hits;
    return rest;
}

/* Send what was gathered, or as much of it as may lie unread; false: the rest is still wanted. */
static bool send_gathered(struct watcher *watcher, int64_t current)
{
    const struct watch_hit *rest = NULL;

    if (watcher->stream->hub->unread_bytes + watcher->bytes > WATCH_UNREAD_BYTES)
        rest = cut(watcher);
    if (rest != NULL)
        watcher->next = rest->event->revision;
    watcher_send(watcher, current);
    return rest == NULL;
}

/* It has the revisions of a message. False: it leaves the sweep, for its stream is full now or the
 * message was not sent whole. */
static bool send_slice(struct watcher *watcher, int64_t revision, int64_t current)
{
    struct watch_stream *stream = watcher->stream;
    bool all = watcher->hits == 0; /* it filters them all */

    if (!all && !stream->full)
        all = send_gathered(watcher, current);
    watcher_drop_hits(watcher); /* and what was counted */
    if (all)
        watcher->next = revision;
    if (all && !stream->full)
        return true;
    watcher_set_state(watcher, stream->full ? WATCHER_PARKED : WATCHER_QUEUED);
    return false;
}

/* One more revision that it wants; false: it has left the sweep. */
static bool count_revision(struct watcher *watcher, const struct watch_change *change)
{
    const struct watch_env *env = &change->hub->env;
    int64_t revision = change->revision.main;

    if (watcher->counted == revision)
        return true;
    if (watcher->revisions == WATCH_SLICE_REVISIONS &&
        !send_slice(watcher, revision, mvcc_revision(env->mvcc(env->arg))))
        return false;
    watcher->counted = revision;
    watcher->revisions++;
    return true;
}

static void hit_behind(void *arg, struct watch_node *node)
{
    struct watch_change *change = arg;
    struct watcher *watcher = CONTAINER_OF(node, struct watcher, node);
    struct sweep *sweep = &change->hub->sweep;

    if (!takes_part(sweep, watcher, change->revision.main) || !count_revision(watcher, change) ||
        watcher_filters(watcher, change))
        return;
    watcher_gather(watcher, change);
    sweep->hits++;
    sweep->list_bytes += sizeof(struct watch_hit);
}

/* Nothing more is gathered; what was not sent will be read again. */
static void end_sweep(struct watch_hub *hub)
{
    hub->sweep.running = false;
    watch_events_reset(&hub->sweep.events);
}

static void drop_sweep(struct watch_hub *hub)
{
    for (struct watcher *watcher = hub->queue_first; watcher != NULL;
         watcher = watcher->queue_after)
        watcher_drop_hits(watcher);
    end_sweep(hub);
}

/* Everything up to and with `end` was passed. */
static void finish_sweep(struct watch_hub *hub, int64_t end, int64_t current)
{
    struct watcher *next, *last = hub->queue_last;
    bool more = hub->queue_first != NULL, all;

    for (struct watcher *watcher = hub->queue_first; more; watcher = next) {
        next = watcher->queue_after;
        more = watcher != last && next != NULL;
        if (!takes_part(&hub->sweep, watcher, end))
            continue;
        if (watcher->stream->full && watcher->hits != 0) {
            watcher_drop_hits(watcher);
            watcher_set_state(watcher, WATCHER_PARKED);
            continue;
        }
        all = watcher->hits == 0 || send_gathered(watcher, current);
        watcher_drop_hits(watcher); /* and what was counted */
        if (all)
            watcher->next = end + 1;
        watcher_set_state(watcher, all && end == current   ? WATCHER_LIVE
                                   : watcher->stream->full ? WATCHER_PARKED
                                                           : WATCHER_QUEUED);
        if (watcher->state == WATCHER_LIVE)
            watcher->next = current; /* as one that is made now: in step, not from the future */
    }
    end_sweep(hub);
}

/* The first in the queue whose history is still there; the others before it are told and go. */
static struct watcher *first_in_queue(struct watch_hub *hub, int64_t compacted)
{
    struct watcher *watcher;

    while ((watcher = hub->queue_first) != NULL && watcher->next < compacted) {
        struct watch_stream *stream = watcher->stream;
        int64_t id = watcher->id;

        if (stream->full) {
            watcher_set_state(watcher, WATCHER_PARKED);
            continue;
        }
        watcher_free(watcher);
        stream->full = !stream->ops->compacted(stream->arg, id, compacted);
    }
    return watcher;
}

static void start_sweep(struct watch_hub *hub, const struct watcher *watcher)
{
    struct sweep *sweep = &hub->sweep;

    sweep->running = true;
    sweep->number++;
    sweep->start = watcher->next;
    sweep->at = (struct revision){.main = watcher->next - 1, .sub = INT64_MAX};
    sweep->revisions = 0;
    sweep->list_bytes = 0;
    sweep->limit_bytes = WATCH_SLICE_LEAST_BYTES;
    if (hub->unread_bytes + sweep->limit_bytes < WATCH_UNREAD_BYTES)
        sweep->limit_bytes = MIN(WATCH_SLICE_BYTES, WATCH_UNREAD_BYTES - hub->unread_bytes);
}

/* Walk on; true when the sweep has come to its end, which is then in *end. */
static bool walk(struct watch_hub *hub, int64_t current, int64_t *end)
{
    struct sweep *sweep = &hub->sweep;
    struct records records;
    struct record record;
    size_t bytes = sweep->events.bytes; /* before this step */
    bool ended = false;

    records_init(&records, hub->env.view(hub->env.arg), sweep->at);
    for (size_t i = 0;
         i < WATCH_STEP_RECORDS && (i == 0 || sweep->events.bytes - bytes < WATCH_STEP_BYTES);
         i++) {
        struct watch_change change = {.hub = hub, .events = &sweep->events};
        struct stored stored;
        bool sound;

        if (!records_next(&records, &record)) {
            *end = current;
            ended = true;
            break;
        }
        if (record.revision.main != sweep->at.main) {
            ended = sweep->revisions == WATCH_SWEEP_REVISIONS ||
                    sweep->events.bytes + sweep->list_bytes >= sweep->limit_bytes;
            *end = record.revision.main - 1;
            if (ended)
                break;
            sweep->revisions++;
        }
        sweep->at = record.revision;
        hub->owed_bytes -= MIN(hub->owed_bytes, watch_effort_bytes(record.value));
        sound = stored_decode(record.value, &stored);
        must(sound); /* ours, or decoded at the start */
        change.revision = record.revision;
        change.tombstone = record.tombstone;
        change.key_value = record.value;
        watch_index_find(&hub->behind, stored.key, hit_behind, &change);
    }
    records_fini(&records);
    return ended;
}

bool watch_has_history(const struct watch_hub *hub)
{
    return hub->sweep.running || hub->queue_first != NULL;
}

bool watch_owes_step(const struct watch_hub *hub)
{
    return hub->owed_bytes >= WATCH_STEP_BYTES;
}

bool watch_step(struct watch_hub *hub)
{
    struct mvcc *mvcc = hub->env.mvcc(hub->env.arg);
    int64_t current = mvcc_revision(mvcc), compacted = mvcc_compact_revision(mvcc), end;
    struct watcher *watcher;

    if (hub->sweep.running && hub->sweep.start < compacted)
        drop_sweep(hub);
    if (!hub->sweep.running) {
        watcher = first_in_queue(hub, compacted);
        if (watcher == NULL)
            return false;
        start_sweep(hub, watcher);
    }
    if (walk(hub, current, &end))
        finish_sweep(hub, end, current);
    return watch_has_history(hub);
}
