/*
 * watch_sweep.c - history for those behind, see watch.h.
 *
 *   queue:  [next 7] [next 3] [next 8] [next 900]           current 1000
 *   sweep:   7 8 9 ... 250 .. 500 .. end                    a step of records each turn
 *
 * A sweep begins at what the first in the queue needs next and takes along everyone whose next
 * revision it comes by. It ends, and sends, after WATCH_SLICE_REVISIONS or WATCH_SLICE_BYTES, or at
 * the current revision; then all it took along need `end + 1`: those in step leave, the others go
 * to the end of the queue. Who joins the queue behind the sweep waits for the next one.
 */
#include "common/base/limits.h"
#include "etcd-server/state/mvcc_records.h"
#include "etcd-server/state/watch_internal.h"

static bool takes_part(const struct sweep *sweep, const struct watcher *watcher, int64_t revision)
{
    return watcher->state == WATCHER_QUEUED && watcher->skip_sweep != sweep->number &&
           watcher->next >= sweep->start && watcher->next <= revision;
}

static void hit_behind(void *arg, struct watch_node *node)
{
    struct watch_change *change = arg;
    struct watcher *watcher = CONTAINER_OF(node, struct watcher, node);
    struct sweep *sweep = &change->hub->sweep;

    if (!takes_part(sweep, watcher, change->revision.main) || watcher_filters(watcher, change))
        return;
    watcher_gather(watcher, change);
    sweep->hits++;
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
    bool more = hub->queue_first != NULL;

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
        if (watcher->hits != 0)
            watcher_send(watcher, current);
        watcher->next = end + 1;
        watcher_set_state(watcher, end == current          ? WATCHER_LIVE
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
            ended = sweep->revisions == WATCH_SLICE_REVISIONS ||
                    sweep->events.bytes >= WATCH_SLICE_BYTES;
            *end = record.revision.main - 1;
            if (ended)
                break;
            sweep->revisions++;
        }
        sweep->at = record.revision;
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
