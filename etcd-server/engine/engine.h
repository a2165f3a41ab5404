/*
 * engine.h - proposals in, applied results out; the middle of the server.
 *
 *   propose -> raft -> log writer -> commit -> apply -> state ----> waiting call
 *   read    -> read index ---------------------------> state ----> waiting call
 *                                                       |
 *                                     open batch -> committer -> backend
 *
 * The engine owns raft and all state, and never calls the kernel: the outside is `struct host`.
 * Batches: `open` is filled by apply, then sealed and handed to the committer with the consistent
 * index in it; until it is in the backend the current view reads it from memory.
 * Thread: core.
 */
#ifndef ETCD_SERVER_ENGINE_ENGINE_H
#define ETCD_SERVER_ENGINE_ENGINE_H

#include "common/base/arena.h"
#include "common/schema/raft_internal.pb-c.h"
#include "common/storage/backend.h"
#include "etcd-server/host/host.h"
#include "etcd-server/raft/raft.h"
#include "etcd-server/state/alarm.h"
#include "etcd-server/state/auth.h"
#include "etcd-server/state/lease.h"
#include "etcd-server/state/member.h"
#include "etcd-server/state/mvcc.h"
#include "etcd-server/state/watch.h"

struct engine;

#define CLUSTER_VERSION "3.5.0" /* what this server can work with (raft.md 9.6) */

/* What the host's clock measured. */
enum engine_measure {
    ENGINE_COMPACT_INDEX,   /* a slice of a compaction that thinned the index */
    ENGINE_COMPACT_RECORDS, /* a slice that deleted records */
    ENGINE_COMPACTED,       /* all slices of records, the waits between them included */
};

struct engine_config {
    struct host *host;       /* borrowed */
    struct backend *backend; /* borrowed; its content is what the consistent index says */
    uint64_t member_id, cluster_id;
    unsigned election_ticks;
    unsigned tick_ms;
    bool election_tick_advance; /* at the start, with two others in reach, wait for a leader two
                                   ticks and the random part only (raft.md 9.6) */
    bool pre_vote;              /* ask who would vote before the term is raised (Raft 9.6) */
    uint64_t max_request_bytes;
    size_t write_buffer_bytes, waiting_bytes, backlog_bytes; /* 0: WRITE_BUFFER_MAX_BYTES,
                                   PROPOSALS_WAITING_MAX_BYTES, BACKLOG_MAX_BYTES */
    int64_t quota_bytes;                                     /* negative = none */
    uint64_t snapshot_count;                                 /* applied entries between snapshots */
    size_t snapshot_bytes;    /* ... or bytes of them; 0: SNAPSHOT_LOG_BYTES */
    uint64_t catchup_entries; /* kept in memory for slow followers; 0: SNAPSHOT_CATCHUP_ENTRIES */
    size_t log_kept_bytes;    /* and more for who is behind; 0: LOG_KEPT_MAX_BYTES */
    bool catchup_only;        /* no more, whoever is behind */
    uint64_t batch_interval_ms, batch_limit;
    uint64_t compaction_batch, compaction_sleep_ms;
    bool lease_checkpoint_persist; /* store what checkpoints say */
    /*
     * NULL, or who hears of each request that was applied: how it ended and how long that took;
     * `response` NULL: refused, or nobody here waits for the answer. All borrowed for the call.
     */
    void (*applied)(void *arg, const Etcdserverpb__InternalRaftRequest *request, enum err_code code,
                    const ProtobufCMessage *response, uint64_t took_ns);
    void *applied_arg;
    void (*measured)(void *arg, enum engine_measure what, uint64_t ns); /* may be NULL */
    void *measured_arg;
    bool priority_revokes;          /* leases may be revoked through twice the backlog */
    const char *name;               /* published; borrowed */
    const char *const *client_urls; /* published; borrowed */
    size_t client_url_count;
    /* what the log held, borrowed for engine_new() */
    struct raft_hard_state hard_state;
    struct raft_snapshot_meta snapshot;
    struct slice snapshot_data; /* v2 JSON; empty without a snapshot */
    const struct raft_entry *entries;
    size_t entry_count;
};

/* Rebuild all state from the backend and replay what it lacks. ERR_DAMAGED, ERR_IO, ERR_FORMAT. */
int engine_new(const struct engine_config *config, struct engine **engine,
               struct err *err) MUST_CHECK;
void engine_free(struct engine *engine); /* batches under way are dropped; NULL is fine */

/* ---- from the host ---- */
void engine_tick(struct engine *engine); /* every tick_ms */
/* After the events of one turn: carries out what raft asks for. */
void engine_turn(struct engine *engine);
/* The log writer made `count` requests durable, the last one with `persist_id`. */
void engine_log_written(struct engine *engine, uint64_t persist_id, size_t count);
void engine_snapshot_saved(struct engine *engine, uint64_t index);
/* Which disk: the log and the backend may lie apart, and run out of room one after the other. */
enum engine_disk { ENGINE_DISK_LOG = 1, ENGINE_DISK_BACKEND = 2 };
/* Writes are refused while one of them is. */
void engine_disk_full(struct engine *engine, enum engine_disk disk, bool full);
/* The batch given to host->commit is in the backend. */
void engine_committed(struct engine *engine);
void engine_defragged(struct engine *engine, const struct err *err); /* err->code ERR_OK: done */
/* A message of another member, decoded and size-checked; borrowed for the call. */
void engine_message(struct engine *engine, const struct raft_message *message);
/* A message to `member` was lost; also from within host->send(). Raft hears of it in a turn. */
void engine_unreachable(struct engine *engine, uint64_t member);
void engine_snapshot_sent(struct engine *engine, uint64_t member, uint64_t index, bool ok);
/* When engine_turn() wants to run again though nothing happens; UINT64_MAX = it does not. */
uint64_t engine_wake_at(const struct engine *engine);
/* At the start: do not wait for an election timeout, there is nobody else (raft.md 9.6). */
void engine_campaign(struct engine *engine);
/* Its name is in the log, so a leader was there and it is a member: serve clients. */
bool engine_ready(const struct engine *engine);
/* The host is stopping: every waiting call gets ERR_STOPPED. */
void engine_fail(struct engine *engine);
/* Push everything applied to the backend and the commit index to the log, for an orderly stop. */
void engine_flush(struct engine *engine);
/* Nothing on its way to disk could arrive: on a full one, what was promised is in the log. */
bool engine_idle(const struct engine *engine);
/* A proposal or a read is not answered yet, or the log is being written for another member. */
bool engine_waited_for(const struct engine *engine);

/* ---- from the service ---- */

struct engine_result {
    enum err_code code; /* ERR_OK, a refusal, ERR_STOPPED, ERR_TIMEOUT and its DUE_TO kinds: unknown
                           what becomes of it; ERR_CALL_DEADLINE: it met no leader */
    ProtobufCMessage *response; /* with the outer header complete; dies when the callback returns;
                                   NULL on refusal */
};
typedef void engine_done_fn(void *arg, const struct engine_result *result);

/*
 * Put `request` into the log; `done` is called when it was applied here, with its answer built in
 * `arena`, or when it failed. `request` is borrowed for the call, `arena` until then or until
 * engine_forget(). The header's id is set here.
 *
 * returns  an id for engine_forget(), or 0: refused with *refusal, `done` is not called
 */
uint64_t engine_propose(struct engine *engine, Etcdserverpb__InternalRaftRequest *request,
                        struct arena *arena, engine_done_fn *done, void *arg,
                        enum err_code *refusal) MUST_CHECK;
/* Set the cluster version, "3.5.0", in the form that all members know. Else as engine_propose(). */
uint64_t engine_propose_version(struct engine *engine, const char *version, engine_done_fn *done,
                                void *arg, enum err_code *refusal) MUST_CHECK;
/* Would a write proposed now wait here for the backend, and go to another leader perhaps when that
 * takes long? `revoke`: of a lease. */
bool engine_keeps_write(const struct engine *engine, bool revoke);
/*
 * Put a configuration change into the log; its id is set here, `context` is copied. `done` gets
 * ERR_OK or the refusal of the membership, without a response. Returns as engine_propose().
 */
uint64_t engine_propose_change(struct engine *engine, struct raft_conf_change *change,
                               engine_done_fn *done, void *arg, enum err_code *refusal) MUST_CHECK;
/*
 * Hand leadership to `member`; `done` gets ERR_OK when it leads, ERR_TIMEOUT_LEADER_TRANSFER when
 * that took too long. Refusals: ERR_NOT_LEADER, ERR_BAD_LEADER_TRANSFEREE. Returns as
 * engine_propose().
 */
uint64_t engine_transfer(struct engine *engine, uint64_t member, engine_done_fn *done, void *arg,
                         enum err_code *refusal) MUST_CHECK;
/*
 * Wait until everything acknowledged before now is applied here (linearizable read).
 * `done` gets ERR_OK without a response. Returns as engine_propose().
 */
uint64_t engine_read(struct engine *engine, engine_done_fn *done, void *arg,
                     enum err_code *refusal) MUST_CHECK;
/* The caller went away; `done` is not called. */
void engine_forget(struct engine *engine, uint64_t id);

/* Wait until everything applied now is in the backend, then read from it (snapshot, hash,
 * defragment). */
uint64_t engine_when_committed(struct engine *engine, engine_done_fn *done, void *arg);
uint64_t engine_defrag(struct engine *engine, engine_done_fn *done, void *arg);

uint64_t engine_next_id(struct engine *engine); /* request ids, lease ids (formats.md 10.4) */

/* ---- what the state is ---- */
struct mvcc *engine_mvcc(struct engine *engine);
struct watch_hub *engine_watches(struct engine *engine);
struct lease_store *engine_leases(struct engine *engine);
struct alarm_store *engine_alarms(struct engine *engine);
struct member_store *engine_members(struct engine *engine);
struct auth_store *engine_auth(struct engine *engine);
struct host *engine_host(struct engine *engine);
const struct raft *engine_raft(const struct engine *engine);
struct backend *engine_backend(struct engine *engine);
uint64_t engine_member_id(const struct engine *engine);
uint64_t engine_cluster_id(const struct engine *engine);
uint64_t engine_applied_index(const struct engine *engine);
unsigned engine_tick_ms(const struct engine *engine);
uint64_t engine_election_ms(const struct engine *engine); /* the election timeout */
/* How long a request waits, as etcd's: REQUEST_PATIENCE_MS and two election timeouts. */
uint64_t engine_patience_ms(const struct engine *engine);
uint64_t engine_size(struct engine *engine); /* bytes of the backend with what is on its way */
uint64_t engine_size_in_use(struct engine *engine);
bool engine_is_full(const struct engine *engine); /* disk full or write buffer at its limit */
/* With the current revision. */
void engine_fill_header(const struct engine *engine, Etcdserverpb__ResponseHeader *header);

/*
 * What applied entries mean for tokens; asked for by whoever keeps them, once, after engine_new().
 * Entries replayed before that are not told: a restart forgets all logins (api.md 9.3).
 */
struct engine_auth_watch {
    void *arg;
    void (*logged_in)(void *arg, const char *username, const char *token); /* both borrowed */
    void (*dropped)(void *arg, const char *username); /* this user's tokens; NULL = everybody's */
};
void engine_watch_auth(struct engine *engine, const struct engine_auth_watch *watch);

struct engine_stats {
    uint64_t proposals_failed; /* refused by raft, too late, or forgotten; what apply refuses went
                                  through the log well */
    uint64_t read_indexes_slow, read_indexes_failed, leader_changes;
    uint64_t proposals_pending;
    uint64_t heartbeats_late; /* sent more than two ticks after the one before */
    bool installing;          /* a snapshot of the leader is on its way to disk */
    bool defragging;
};
struct engine_stats engine_stats(const struct engine *engine);

#endif
