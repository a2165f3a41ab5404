/*
 * watch_event.h - one change as watchers see it: encoded once, for all of them and each door.
 *
 * With and without the key-value before it, as protobuf and, when a gateway asks, as JSON. Events
 * die together (struct watch_events). Pure; thread: core.
 */
#ifndef ETCD_SERVER_STATE_WATCH_EVENT_H
#define ETCD_SERVER_STATE_WATCH_EVENT_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "etcd-server/state/mvcc.h"

/* The memory of some events. */
struct watch_events {
    struct arena arena;
    struct buf scratch;
    size_t bytes; /* of all events, as protobuf */
};

void watch_events_init(struct watch_events *events);
void watch_events_reset(struct watch_events *events); /* all of them die */
void watch_events_fini(struct watch_events *events);

struct watch_event {
    struct watch_events *owner;
    int64_t revision;
    struct slice wire[2]; /* mvccpb.Event; [1] with prev_kv; data NULL = not made yet */
    struct slice json[2]; /* the same as JSON */
};

/* The events of one message to one watcher, in order of revision. */
struct watch_hit {
    struct watch_event *event;
    struct watch_hit *next;
};

/*
 * The event of a change; `key_value` as stored, need not outlive the call. Its form without prev_kv
 * is made.
 */
struct watch_event *watch_event_new(struct watch_events *events, struct revision revision,
                                    bool tombstone, struct slice key_value);
/* Make the form with prev_kv: the key at the revision before (`mvcc`), unless this created it. */
void watch_event_add_previous(struct watch_event *event, const struct mvcc *mvcc,
                              struct revision revision, bool tombstone, struct slice key_value);

/* JSON of a form that was made; borrowed as the event is. */
struct slice watch_event_json(struct watch_event *event, bool previous);

#endif
