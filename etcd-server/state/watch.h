/*
 * watch.h - who watches which keys, and what each still has to see (api.md 7).
 *
 * Fed by apply: watch_changed() for each change, watch_revision_ended() behind the last one of a
 * revision. A watcher that is in step gets the revision's events at once. One that is behind (it
 * asked for the past, or its stream was full) queues nothing: it remembers the next revision it
 * needs and reads history in slices, watch_step() by watch_step(), until it is in step again. So a
 * slow watcher costs no memory but the message that its client does not read, large ones are
 * counted (WATCH_UNREAD_BYTES), and there is no seam: one number says what it has seen.
 * Pure and deterministic. Thread: core. Callbacks may call nothing of this file.
 */
#ifndef ETCD_SERVER_STATE_WATCH_H
#define ETCD_SERVER_STATE_WATCH_H

#include "etcd-server/state/watch_event.h"

struct watch_hub;    /* all watchers of a store */
struct watch_stream; /* the watchers of one client stream */

/* What it needs from above; all borrowed for its life. */
struct watch_env {
    void *arg;
    struct mvcc *(*mvcc)(void *arg);
    struct view *(*view)(void *arg); /* the current view, borrowed for this turn */
};

struct watch_hub *watch_hub_new(const struct watch_env *env);
void watch_hub_free(struct watch_hub *hub); /* after its last stream; NULL is fine */

/* ---- from apply ---- */
/* `key_value` as stored; borrowed for the call. */
void watch_changed(struct watch_hub *hub, struct revision revision, bool tombstone,
                   struct slice key_value);
void watch_revision_ended(struct watch_hub *hub, int64_t revision);

/* Does a watcher that is behind wait for watch_step()? */
bool watch_has_history(const struct watch_hub *hub);
/*
 * Read history for those behind, outside of apply: at most WATCH_STEP_RECORDS, and no more once
 * they gave WATCH_STEP_BYTES of events. Returns watch_has_history().
 */
bool watch_step(struct watch_hub *hub);
/* Was so much written since the last steps that without another those behind might fall further
 * behind? */
bool watch_owes_step(const struct watch_hub *hub);

/* ---- streams ---- */

struct watch_message {
    int64_t watch_id;
    int64_t revision; /* for the header */
    bool fragment;    /* may be cut */
    bool previous;    /* which form of the events */
    const struct watch_hit *first;
    size_t count;
};

struct watch_stream_ops {
    /* Take a message; false: the stream is full now, until watch_stream_resume(). */
    bool (*events)(void *arg, const struct watch_message *message);
    /* A watcher needs what compaction to `revision` took away; it is gone already. As events(). */
    bool (*compacted)(void *arg, int64_t watch_id, int64_t revision);
    /* From watch_stream_notify(): tell this watcher the current revision. As events(). */
    bool (*progress)(void *arg, int64_t watch_id);
};

struct watch_stream *watch_stream_new(struct watch_hub *hub, const struct watch_stream_ops *ops,
                                      void *arg);
void watch_stream_free(struct watch_stream *stream); /* with all its watchers; NULL is fine */
/* Something else that was sent filled the stream. */
void watch_stream_full(struct watch_stream *stream);
void watch_stream_resume(struct watch_stream *stream);

struct watch_request {
    struct slice key;       /* empty: one zero byte */
    struct slice range_end; /* empty: only `key`; one zero byte: everything from `key` on */
    int64_t id;             /* 0: the stream chooses */
    int64_t start_revision; /* 0: from now */
    bool no_put, no_delete, prev_kv, fragment, progress_notify;
};

enum watch_refusal { WATCH_MADE, WATCH_DUPLICATE_ID, WATCH_EMPTY_RANGE, WATCH_COMPACTED };

/* Copies what it needs of `request`. Nothing is sent from in here. */
enum watch_refusal watch_create(struct watch_stream *stream, const struct watch_request *request,
                                int64_t *id) MUST_CHECK;
bool watch_cancel(struct watch_stream *stream, int64_t id); /* false: unknown */

size_t watch_stream_watchers(const struct watch_stream *stream); /* for tests */
/* May the stream be told the current revision: it has a watcher, and all have seen all of it? */
bool watch_stream_in_step(const struct watch_stream *stream);
/* progress() for each watcher that asked for it, is in step and got nothing since the last time. */
void watch_stream_notify(struct watch_stream *stream);
bool watch_stream_wants_notify(const struct watch_stream *stream);

/* ---- for metrics ---- */
struct watch_stats {
    size_t streams, watchers;
    size_t slow; /* watchers behind */
    /* Events gathered and not yet given to their stream, or in the message that filled it: in etcd
     * those in the channel of a stream whose client does not read. */
    size_t pending;
    uint64_t events;
};
struct watch_stats watch_stats(const struct watch_hub *hub);

#endif
