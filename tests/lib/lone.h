/*
 * lone.h - an engine with one member, a clock that the test turns, a log writer that the test
 * holds, and the backend in memory. For tests of what stands on the engine.
 */
#ifndef TESTS_LIB_LONE_H
#define TESTS_LIB_LONE_H

#include "common/storage/backend.h"
#include "etcd-server/engine/engine.h"

#define LONE_TICK_MS 100
#define LONE_JOBS_MAX 128
#define LONE_MESSAGE_TYPES (RAFT_MSG_PRE_VOTE_RESP + 1)

struct lone {
    struct host host; /* first */
    struct backend *backend;
    struct engine *engine;
    struct engine_config config; /* what it was started with, but for the log */
    uint64_t now_ms;
    uint64_t random;

    bool hold_log;           /* nothing becomes durable */
    size_t log_count;        /* requests waiting */
    uint64_t log_persist_id; /* of the last of them */
    size_t entries;          /* that reached the log */
    struct raft_entry *log;  /* owned, and their data: [0] is index 1 */
    size_t log_end, log_durable;
    struct raft_hard_state state, state_durable;
    struct log_write *snapshot, *snapshot_saved; /* owned: waiting, durable */
    size_t snapshots;                            /* asked for */

    size_t sent[LONE_MESSAGE_TYPES]; /* messages to others, by type */
    bool loses;                      /* the first of all that are sent together ... */
    bool spoilt;                     /* ... which did something to the last */
    uint64_t connected_ms;           /* for how long each of them has been in reach */

    const char *notes[64]; /* messages for the log, those that come later are not kept */
    size_t note_count;

    bool may_stop; /* else a reason to stop fails the test */
    bool stopped;

    struct host_job *jobs[LONE_JOBS_MAX]; /* of the pool: lone_job() does the oldest */
    size_t job_count;

    struct host_producer *producers[LONE_JOBS_MAX]; /* begun: lone_produced() ends the newest */
    size_t producer_count;

    bool hold_commit;    /* the backend gets nothing */
    struct batch *batch; /* a reference: waiting */
    size_t commits;      /* done */
};

/* Not yet leading. `set_up` may change the configuration; NULL is fine. */
void lone_init(struct lone *lone, void (*set_up)(struct engine_config *config));
/* The same with two other voters, of whom nothing is heard: it cannot lead. */
void lone_init_of_three(struct lone *lone, void (*set_up)(struct engine_config *config));
/*
 * On a backend with content (taken), at a snapshot: `set_up` gives it, member and cluster. It may
 * stop. -1: the engine refuses to start and err says why; then lone_fini() alone.
 */
int lone_init_at_snapshot(struct lone *lone, struct backend *backend,
                          void (*set_up)(struct engine_config *config), struct err *err) MUST_CHECK;
void lone_fini(struct lone *lone);
/* The power goes: what is durable in log and backend is there, and nothing else. Not yet
 * leading. */
void lone_crash(struct lone *lone);
void lone_turn(struct lone *lone); /* until nothing moves any more, or it has stopped */
void lone_lead(struct lone *lone);
/* The pool does its oldest job; false: it has none. */
bool lone_job(struct lone *lone);
/* The newest producer ends, whether it gave anything or not; false: there is none. */
bool lone_produced(struct lone *lone);
/* Put into the log, wait for its answer; `arena` may be NULL. */
enum err_code lone_apply(struct lone *lone, Etcdserverpb__InternalRaftRequest *request);
enum err_code lone_grant(struct lone *lone, int64_t id, int64_t ttl_s);
enum err_code lone_put(struct lone *lone, const char *key, int64_t lease);

#endif
