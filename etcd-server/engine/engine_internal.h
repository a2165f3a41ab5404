/* engine_internal.h - what the files of the engine share: its struct, its waiting calls. Thread:
 * core. */
#ifndef ETCD_SERVER_ENGINE_ENGINE_INTERNAL_H
#define ETCD_SERVER_ENGINE_ENGINE_INTERNAL_H

#include "common/base/idmap.h"
#include "common/schema/ids.h"
#include "etcd-server/engine/engine.h"

#define READ_RESEND_MS 500 /* raft.md 8.8: a read index question may be lost */

enum waiter_kind {
    WAIT_PROPOSAL,
    WAIT_READ,
    WAIT_COMMIT,
    WAIT_DEFRAG,
    WAIT_COMPACTED,
    WAIT_TRANSFER,
};

/* A call that waits; in one queue and in the map of ids until it is finished or forgotten. */
struct waiter {
    struct waiter *next, *previous;
    uint64_t id;
    enum waiter_kind kind;
    uint64_t began_ms, deadline_ms;
    engine_done_fn *done;
    void *arg;
    struct arena *arena; /* proposals: for the answer */
    uint8_t *unsent;     /* proposals made while no leader was known or too much was to be written:
                            owned; NULL = it is in the log */
    size_t unsent_bytes;
    enum raft_entry_type unsent_type;
    uint64_t asked_ms; /* reads: when they were asked last */
    uint64_t read_id;  /* reads: asked of raft under this id; 0 = not yet */
    union {
        uint64_t read_index;   /* reads: confirmed, wait for this to be applied; 0 = not yet */
        uint64_t batch_serial; /* for the backend to have this batch; physical compactions: the last
                                  one with deletions, 0 = not yet known */
        uint64_t to_member;    /* transfers */
    };
    ProtobufCMessage *response; /* physical compactions: the answer to give at the end */
    int64_t revision;           /* of physical compactions */
};

struct v2_request;

struct waiter_queue {
    struct waiter *first, *last;
};

/* When members were sent their last heartbeat. Forgotten when the leader changes. */
struct heartbeat_times {
    struct {
        uint64_t member, sent_ms;
    } items[RAFT_MEMBERS_MAX];
    size_t count;
};

/* Members for whom the leader keeps more of the log in memory (log_keep.c). */
struct log_keep {
    struct {
        uint64_t member, until_ms;
    } items[RAFT_MEMBERS_MAX];
    size_t count;
};

/* Where the state of a raft snapshot stands while it is made (formats.md 6, raft.md 9.5). */
enum snapshot_state { SNAPSHOT_NONE, SNAPSHOT_WANTED, SNAPSHOT_COMMITTING, SNAPSHOT_SAVING };

struct engine {
    struct engine_config config;
    struct host *host;
    struct backend *backend;
    struct raft *raft;
    struct mvcc *mvcc;
    struct watch_hub *watches;
    struct lease_store *leases;
    struct alarm_store *alarms;
    struct member_store *members;
    struct auth_store *auth;
    struct engine_auth_watch auth_watch;

    /* the checkpoint */
    struct batch *open;       /* owned reference: apply writes here */
    struct batch *committing; /* owned reference: on its way; NULL = none */
    struct view *view;        /* owned reference: what is committed, then committing, then open */
    bool view_stale;          /* the backend has moved on; making the new view failed, try again */
    uint64_t open_since_ms;
    uint64_t batch_serial;     /* of the open batch, from 1 */
    uint64_t committed_serial; /* of the newest batch in the backend */
    bool commit_wanted;        /* seal at the next turn, do not wait for the interval */
    bool defragging;
    unsigned disk_full;                 /* enum engine_disk of those that are */
    struct waiter_queue commit_waiters; /* index = serial of the batch they wait for */
    struct waiter_queue defrag_waiters;
    struct waiter_queue compact_waiters;

    /* the log */
    uint64_t backend_index; /* consistent index found at the start: up to here the backend has it
                               already */
    uint64_t applied_index, applied_term;
    uint64_t log_requests; /* on their way to the log writer */
    bool failed;           /* the host is stopping: nothing is promised any more */
    struct err apply_err;  /* why replay cannot go on */
    enum snapshot_state snapshot_state;
    uint64_t snapshot_index; /* newest snapshot saved */
    size_t unsaved_bytes;    /* of entries behind the newest one taken */
    struct log_write *snapshot_request;
    uint64_t snapshot_serial; /* batch that must be in the backend before it is saved */

    /* waiting calls */
    struct idmap waiters;
    struct waiter_queue proposals; /* in order of deadline */
    struct waiter_queue reads;     /* in order of arrival */
    struct waiter *free_waiters;   /* reused */
    struct request_ids ids;
    uint64_t next_read_id;
    uint64_t late_reads_after_ms; /* until then no more is said of late read indexes */
    uint64_t seen_leader;         /* 0: none */
    uint64_t leader_elected_ms;   /* since when the leader leads, as seen from here */
    size_t unsent, unsent_bytes;  /* proposals that wait for a leader, or for the backend */
    struct held_proposal *held, **held_end; /* owned list: of others, that wait for one, too */
    size_t held_bytes;
    struct waiter_queue transfers;
    struct outgoing_snapshot *outgoing; /* owned list: they wait for their batch to be committed */
    bool installing; /* a snapshot of the leader is on its way to disk: begin anew after it */
    bool removed;    /* this member is out of the cluster: stop soon */
    uint64_t removed_ms;
    uint64_t advance_until_ms; /* others in reach before that: skip_first_ticks(); 0 = no more */
    bool published;
    uint64_t publish_after_ms;
    uint64_t unpublished_warn_ms; /* when to say that it still is not published; 0: not known yet */

    uint64_t unreachable[RAFT_MEMBERS_MAX]; /* to whom a message was lost since the last turn */
    size_t unreachable_count;
    struct heartbeat_times heartbeats;
    struct log_keep log_keep;
    uint64_t compact_after_ms;
    uint64_t compact_began_ns; /* the records of the present compaction */
    struct buf scratch;        /* the encoded proposal */
    struct arena entry_arena;
    struct engine_stats stats;
};

/* waiters.c */
struct waiter *waiter_new(struct engine *engine, enum waiter_kind kind, uint64_t id,
                          engine_done_fn *done, void *arg);
/* Out of queue and map, without a word. */
void waiter_drop(struct engine *engine, struct waiter *waiter);
void waiter_finish(struct engine *engine, struct waiter *waiter, enum err_code code,
                   ProtobufCMessage *response);
/* A compaction ended: those who asked for it, or for less, wait for the batch that is open now. */
void compact_waiters_seal(struct engine *engine);
void compact_waiters_answer(struct engine *engine); /* a batch is in the backend */
void waiters_expire(struct engine *engine, uint64_t now_ms);
void waiters_fail_all(struct engine *engine, enum err_code code);

/* publish.c: as soon as a leader is known, and until it is in the log */
void publish_turn(struct engine *engine, uint64_t now_ms);
void publish_tick(struct engine *engine, uint64_t now_ms); /* and says so when that takes long */

/* propose.c: as engine_propose(); the request's id is set here */
uint64_t propose_v2(struct engine *engine, struct v2_request *request, engine_done_fn *done,
                    void *arg, enum err_code *refusal) MUST_CHECK;
/* reads */
/* One question to raft for all that came since the last one. */
void reads_ask(struct engine *engine, uint64_t now_ms);
/* Questions whose answer did not come are asked again, at the next turn. */
void reads_ask_again(struct engine *engine, uint64_t now_ms);
/* An index for all asked so far; index 0: the leader went away before it confirmed them. */
void reads_confirm(struct engine *engine, const struct raft_read *read);
void reads_answer(struct engine *engine); /* those whose index is applied */

/* compact.c: a slice of the compaction under way, when it is time */
void compact_turn(struct engine *engine, uint64_t now_ms);

/* others.c: the other members */
struct outgoing_snapshot;
struct held_proposal;
void others_open(struct engine *engine);
void others_hear_unreachable(struct engine *engine); /* a turn begins */
void others_send(struct engine *engine, const struct raft_effects *effects);
void others_sealed(struct engine *engine); /* the open batch was sealed: take what is asked for */
/* A batch is in the backend: send what waited for it. */
void others_committed(struct engine *engine);
void others_turn(struct engine *engine, uint64_t now_ms);
void others_tick(struct engine *engine, uint64_t now_ms);
void others_drop(struct engine *engine);
void others_members_changed(struct engine *engine, const struct raft_conf_change *change);
/* Propose; `*unsent`: no leader is known. ERR_OK: the caller makes the waiter. */
enum err_code others_propose(struct engine *engine, enum raft_entry_type type, struct slice data,
                             bool *unsent);
/* Keep the bytes, until a leader is known and the backend has caught up, or the waiter ends. */
void others_keep(struct engine *engine, struct waiter *waiter, enum raft_entry_type type,
                 struct slice data);
void others_kept_away(struct engine *engine, struct waiter *waiter); /* not kept any more */
/* Carry out a step of raft that must not fail; what contradicts the disk stops the member. */
void others_step(struct engine *engine, const struct raft_event *event);

/* propose.c: bytes applied and not yet in the backend; and is that too much for more writes? */
size_t engine_backlog(const struct engine *engine);
bool engine_writes_wait(const struct engine *engine);

/* checkpoint.c, for others.c */
struct log_write *snapshot_take(struct engine *engine);

/* log_keep.c */
void log_keep_tick(struct engine *engine, uint64_t now_ms);
void log_keep_turn(struct engine *engine);
void log_keep_sent_snapshot(struct engine *engine, uint64_t member);

/* apply.c */
void apply_entry(struct engine *engine, const struct raft_entry *entry);
/* Does apply_entry() know what it is? It stops the member otherwise. Not from within it. */
bool apply_knows(struct engine *engine, const struct raft_entry *entry);
/* All but the revision. */
void apply_fill_header(const struct engine *engine, Etcdserverpb__ResponseHeader *header);

/* An answer of `type` that holds a header and nothing else; NULL when `arena` is full. */
ProtobufCMessage *apply_header_only(const struct engine *engine,
                                    const ProtobufCMessageDescriptor *type, struct arena *arena);

/* apply_auth.c */
bool apply_is_auth(const Etcdserverpb__InternalRaftRequest *request);
enum err_code apply_auth(struct engine *engine, const Etcdserverpb__InternalRaftRequest *request,
                         struct arena *arena, ProtobufCMessage **response);

/* checkpoint.c */
void checkpoint_open(struct engine *engine); /* the first open batch and view */
void checkpoint_turn(struct engine *engine, uint64_t now_ms);
void snapshot_turn(struct engine *engine);

#endif
