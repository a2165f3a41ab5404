/*
 * watch_internal.h - what watch.c (streams, live events) and watch_sweep.c (history) share.
 * Thread: core.
 */
#ifndef ETCD_SERVER_STATE_WATCH_INTERNAL_H
#define ETCD_SERVER_STATE_WATCH_INTERNAL_H

#include "common/base/idmap.h"
#include "common/base/limits.h"
#include "etcd-server/state/stored.h"
#include "etcd-server/state/watch.h"
#include "etcd-server/state/watch_index.h"

/*
 *            created in the past            stream full at its next event
 *      +------------> QUEUED <--------------------------- LIVE <------ created
 *      |  resumed     |    ^ \______________________________^
 *      |              v    |       has seen the current revision
 *      +----------- PARKED (its stream is full)
 */
enum watcher_state {
    WATCHER_LIVE,   /* in hub->live: has seen everything */
    WATCHER_QUEUED, /* in hub->behind and in the queue for history */
    WATCHER_PARKED, /* in hub->behind, waits for watch_stream_resume() */
};

struct watcher {
    struct watch_node node; /* in hub->live or hub->behind */
    struct watch_stream *stream;
    int64_t id;
    int64_t next; /* LIVE: nothing older is wanted; else: the first revision it has not seen */
    struct watcher *previous, *following;       /* of the stream */
    struct watcher *queue_before, *queue_after; /* QUEUED */
    struct watch_hit *first, *last;             /* gathered, not yet sent */
    size_t bytes;                               /* of these, as protobuf */
    int64_t counted;                            /* of history: the newest of ... */
    uint32_t revisions;                         /* ... so many that it wants, or filters */
    uint32_t hits;
    uint32_t skip_sweep; /* came too late for the sweep of this number */
    uint8_t state;       /* enum watcher_state */
    bool touched;        /* LIVE: in hub->touched */
    bool no_put, no_delete, prev_kv, fragment, progress_notify;
    bool quiet;     /* nothing since the last notification */
    uint8_t keys[]; /* from, to */
};

struct watch_stream {
    struct watch_hub *hub;
    const struct watch_stream_ops *ops;
    void *arg;
    struct idmap ids;        /* all but id 0 */
    struct watcher *id_zero; /* an idmap cannot hold it */
    struct watcher *first;
    size_t count, behind, notified;
    size_t unread, unread_bytes; /* events in the message that filled it */
    int64_t next_id;
    bool full;
};

/* One walk over history, for all that need what it passes. */
struct sweep {
    bool running;
    uint32_t number;
    int64_t start;      /* first revision of it */
    struct revision at; /* looked at last; {start - 1, any} at first */
    int64_t revisions;  /* passed */
    size_t limit_bytes; /* gathered, at which it ends */
    size_t list_bytes;  /* of the lists of hits that were made */
    struct watch_events events;
    size_t hits;
};

struct watch_hub {
    struct watch_env env;
    struct watch_index live, behind;
    struct watcher *queue_first, *queue_last;
    uint64_t serials;
    size_t streams;
    uint64_t sent;               /* events */
    size_t unread, unread_bytes; /* of all streams */
    /* the revision being applied */
    struct watch_events events;
    struct watcher **touched; /* owned; in order of their first event */
    size_t touched_count, touched_capacity;
    struct sweep sweep;
    size_t owed_bytes; /* of effort in history, for what was written meanwhile */
};

/* A change on its way to those it hits. */
struct watch_change {
    struct watch_hub *hub;
    struct watch_events *events;
    struct watch_event *event; /* made at the first hit */
    struct revision revision;
    bool tombstone;
    struct slice key_value;
};

/* What reading a record costs: some time, and some for its bytes. */
static inline size_t watch_effort_bytes(struct slice key_value)
{
    return MAX(key_value.size, WATCH_STEP_BYTES / WATCH_STEP_RECORDS);
}

static inline bool watcher_filters(const struct watcher *watcher, const struct watch_change *change)
{
    return change->tombstone ? watcher->no_delete : watcher->no_put;
}

void watcher_gather(struct watcher *watcher, struct watch_change *change);
void watcher_drop_hits(struct watcher *watcher);
/* Send what was gathered; the watcher's stream may be full afterwards. */
void watcher_send(struct watcher *watcher, int64_t revision);
/* Move between the states; keeps indexes, queue and counts. */
void watcher_set_state(struct watcher *watcher, enum watcher_state state);
void watcher_free(struct watcher *watcher); /* out of everything */

#endif
