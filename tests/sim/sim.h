/*
 * sim.h - a cluster of 1, 3, 5 or 7 members under one simulated clock, network and disks, with
 * clients, faults and a model of the truth.
 *
 *   traffic.c    random calls --> service --> engine --> host: host.c, disk: memfs
 *   door.c       what a member answers is held against the model; entry.c: by which entry
 *   refusal.c    what it may refuse, and when
 *   watching.c   clients that watch, and what they get
 *   leasing.c    clients that renew leases, and when these end
 *   network.c    messages, snapshots and questions between members; what may go wrong with them
 *   locking.c    clients that lock names and stand for election on them
 *   observing.c  clients that observe who leads
 *   login.c      who calls, and whether he may
 *   admin.c      clients that log in, change users and roles, and turn auth on and off
 *   damage.c     one store is changed behind its member's back, and who notices
 *   operator.c   who adds, promotes and removes members and moves the lead
 *   truth.c      every entry that was ever written, what is committed, and raft's invariants
 *   node.c       one member: start, crash, restart; its whole state is held against the model
 *   world.c      the run: faults, and what must hold when they end
 *
 * Everything is drawn from one seed and happens in events of one queue, so a seed is a run.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "common/storage/datadir.h"
#include "etcd-server/doors/peer_answers.h"
#include "etcd-server/host/boot.h"
#include "etcd-server/host/log_writer.h"
#include "etcd-server/service/corrupt_check.h"
#include "etcd-server/service/service.h"
#include "etcd-server/service/slow.h"
#include "tests/lib/memfs.h"
#include "tests/sim/model.h"

#define SIM_ROOT "/data"
#define SIM_TICK_MS 100
#define SIM_ELECTION_TICKS 10
#define SIM_HASHES_MAX 4096
#define SIM_LEASES 13      /* ids below are granted, used and revoked */
#define SIM_WATCHERS_MAX 8 /* come back after a restart */
#define SIM_NODES_MAX 12   /* with those that are added */
#define SIM_TERMS_MAX 4096

struct sim;
struct node;
struct sim_call;
struct sim_stream;
struct sim_keeper;
struct sim_locker;
struct sim_locks;
struct sim_observer;
struct sim_logins;
struct sim_watcher;

/* What will happen: `run`, or `drop` when the member dies before; both may be NULL. */
typedef void sim_event_fn(struct sim *sim, void *arg);
struct sim_event {
    uint64_t at_ms, order;
    struct node *node; /* dies with it, waits while it stands still; NULL: of the world */
    sim_event_fn *run, *drop;
    void *arg;
    bool late; /* it waited for a member that stood still: before what is planned for its time */
};

/* How it must be noticed that one member holds something else. */
enum sim_damage { SIM_DAMAGE_NONE, SIM_DAMAGE_START, SIM_DAMAGE_WHOLE, SIM_DAMAGE_COMPACTED };

/* Drawn once per seed. */
struct sim_options {
    unsigned members;
    uint64_t segment_bytes, snapshot_count, catchup_entries;
    size_t max_snapshots, max_wals;
    uint64_t batch_interval_ms, batch_limit, compaction_batch, compaction_sleep_ms;
    int64_t quota_bytes;
    size_t write_buffer_bytes, waiting_bytes, backlog_bytes; /* 0: as large as they are */
    size_t log_kept_bytes, snapshot_bytes;                   /* the same */
    uint64_t log_delay_ms, commit_delay_ms, job_delay_ms;    /* at most */
    uint64_t call_gap_ms, value_bytes;
    unsigned calls, keys;
    unsigned crash_1000, fault_1000, still_1000; /* chances per call started */
    bool full_disk_writes; /* a full disk takes writes into space that was reserved */
    /* the network */
    uint64_t net_delay_ms; /* at most, save for a few */
    unsigned net_loss_1000, net_twice_1000, net_late_1000;
    bool net_in_order;
    unsigned partition_1000, change_1000; /* chances per call started */
    unsigned lock_1000, auth_1000;
    uint64_t token_ttl_ms;
    unsigned clock_skew_1000; /* how much faster or slower a clock may go */
    /* comparisons of the stores (corrupt_check.h) */
    bool check_at_start;
    uint64_t check_ms, check_compacted_ms; /* 0: never */
    enum sim_damage damage;
};

/* host.c: threads and disk of a member that runs now. */
struct sim_host {
    struct host host;
    struct node *node;
    struct log_writer_config log_writer;
    struct wal *wal; /* owned */
    struct host_task *log_first, *log_last, *log_rest;
    bool log_busy, log_full, commit_full;
    struct batch *committing;             /* a reference */
    uint64_t log_news_ms, commit_news_ms; /* messages of one thread arrive in order */
};

struct sim_hash {
    int64_t revision, compacted;
    uint32_t hash;
};

/* An entry as somebody wrote it; what was decoded once serves all members. */
struct record {
    struct record *next; /* another one of this index */
    struct raft_entry entry;
    uint64_t chain;                             /* of it and all before it */
    Etcdserverpb__InternalRaftRequest *request; /* owned; NULL: a change, or empty */
    bool lost;         /* with the power, and its term too: nobody has it */
    bool early_revoke; /* of a lease that somebody had been promised */
};

/* A member that was removed, by the entry at `index`, before it was started for the first time. */
struct sim_absent {
    uint64_t id, index;
};

/* A database that a leader sent; durable. */
struct received {
    struct received *next;
    uint64_t index;
    struct backend *backend; /* owned */
};

struct node {
    struct sim *sim;
    unsigned number; /* from 1 */
    char name[8], peer_url[32];
    uint64_t id;           /* 0: never started */
    struct boot_join join; /* of one that was added: id 0 = none */
    bool gone;             /* removed from the cluster: it never starts again */
    uint64_t removed;      /* so says the log at this index; 0 = it does not */

    /* its clock */
    uint64_t clock_offset_ms;
    unsigned clock_rate_1000; /* 1000: as true time */
    uint64_t still_until_ms;  /* the process is suspended */

    /* its disk */
    struct memfs memfs;
    struct backend *backend; /* what is committed survives crashes */
    struct received *received;
    bool disk_full;
    uint64_t fail_in; /* operations until one fails; 0 = none planned */
    int fail_sys;     /* EIO, ENOSPC; 0 = the power goes */
    bool backend_fails;

    /* the member */
    struct sim_host host;
    struct datadir dir;
    struct engine *engine; /* NULL = it is down */
    struct service *service;
    struct metrics *metrics;
    struct slow slow;
    struct peer_answers *answers;
    struct peer_door *peer_door; /* where other members ask */
    struct corrupt_check *check;
    bool stopped; /* it must not go on */
    bool stop_expected;
    bool restart; /* a snapshot of the leader is on disk */
    bool serving;
    bool dying; /* calls end because the member does */
    uint64_t wake_ms;
    struct sim_served *served; /* questions of others that it answers */

    /* what must be true of it */
    struct model model;
    struct record **log; /* as it wrote it; [0] is index 1 */
    size_t log_count, log_capacity;
    uint64_t promised; /* so much of its log was promised to somebody, or applied */
    uint64_t cut_term; /* in which it overwrote entries last */
    uint64_t term_promised, vote_term, vote;
    uint64_t commit_seen;
    uint64_t backend_index; /* what its backend had when it came up */
    uint64_t known;         /* applied, in whatever life */
    uint64_t durable_checked;
    uint64_t term_seen;
    int64_t revision_seen;
    struct raft_conf_state conf; /* before the present event */
};

/* What admin.c knows of its clients. */
struct sim_admin {
    size_t password[RIGHTS_NAMES]; /* the last that a client set, by user */
    bool ending;                   /* auth is being turned off */
    uint64_t asked_ms;             /* root logged in for that */
};

struct sim {
    uint64_t seed, random;
    struct sim_options options;
    uint64_t now_ms, trace;    /* trace: a hash of all that happened */
    struct sim_event **events; /* a heap: the earliest first */
    size_t event_count, event_capacity;
    uint64_t event_order;
    bool verbose;
    uint64_t trouble_ms; /* when something was wrong last */

    struct node *nodes[SIM_NODES_MAX];
    size_t node_count;
    struct sim_absent absent[SIM_NODES_MAX];
    size_t absent_count;
    uint64_t blocked_ms[SIM_NODES_MAX][SIM_NODES_MAX]; /* from, to: nothing arrives until then */
    uint64_t arrived_ms[SIM_NODES_MAX][SIM_NODES_MAX]; /* the last message, when they keep order */
    uint64_t cluster_id;

    /* the truth */
    struct record **records; /* by index - 1: all versions of it */
    size_t record_count, record_capacity;
    struct record **committed; /* [0] is index 1 */
    size_t committed_count, committed_capacity;
    uint64_t leaders[SIM_TERMS_MAX]; /* by term */
    uint64_t acknowledged;           /* highest index a client knows of */
    struct sim_hash hashes[SIM_HASHES_MAX];
    size_t hash_count;

    /* the clients */
    struct node *asked;           /* whom the present call goes to */
    struct sim_call *calls;       /* under way */
    struct sim_stream *streams;   /* open watch streams */
    struct sim_watcher *watchers; /* owned: those of a crash */
    size_t watcher_count;
    struct sim_keeper *keepers;     /* leases being renewed */
    struct sim_locker *lockers;     /* calls of Lock and Election */
    struct sim_locks *locks;        /* owned: what is known of them */
    struct sim_observer *observers; /* streams of Observe */
    struct sim_logins *logins;      /* owned */
    struct sim_admin admin;
    uint64_t lease_ended_ms[SIM_LEASES]; /* a revoke was committed */
    uint64_t lease_until_ms[SIM_LEASES]; /* the server must not end it before */
    unsigned lease_revokes[SIM_LEASES];  /* that clients asked for and nobody wrote yet */
    unsigned started, answered, unknown;
    unsigned serial;
    uint8_t *refused; /* by serial: this put was refused before it got into the log */
    uint8_t *written; /* by serial: it is committed */
    bool quiet;       /* no new calls, no new faults: everything must come to an end */
    bool calls_over, leases_ended, auth_ends;
    struct node *damaged; /* whose store was changed; NULL: nobody's */
    bool damage_found, damage_unnamed;
    struct buf damage_name, damage_record; /* owned: what was changed, and what it is now */
    unsigned damage_snapshots;             /* that it would have sent */
    unsigned damage_refusals;              /* of others, when all is quiet */
    unsigned damage_calls;                 /* still to come */
    bool stranded;                         /* perhaps nobody can be elected any more */
    unsigned idle_arrivals;                /* nobody was there to be asked */
    unsigned crashes, elections, snapshots_sent, changes, promoted; /* the last: by a follower */
};

/* A property does not hold: says so with the seed, and ends the process. */
_Noreturn void sim_violation(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);
#define sim_check(sim_, cond_, ...)                                                                \
    do {                                                                                           \
        if (!(cond_))                                                                              \
            sim_violation((sim_), __VA_ARGS__);                                                    \
    } while (0)

uint64_t sim_draw(struct sim *sim, uint64_t below); /* [0, below) */
bool sim_chance(struct sim *sim, unsigned of_1000);
void sim_trace(struct sim *sim, const char *what, uint64_t a, uint64_t b);
void sim_trace_bytes(struct sim *sim, struct slice bytes);

/* queue.c */
struct sim_event *sim_after(struct sim *sim, struct node *node, uint64_t delay_ms,
                            sim_event_fn *run, void *arg);
struct sim_event *queue_next(struct sim *sim);              /* removed; NULL = none */
void queue_again(struct sim *sim, struct sim_event *event); /* back again, at its new time */
void queue_drop(struct sim *sim, struct node *node);        /* all of this member */
void queue_free(struct sim *sim);

/* host.c */
void host_init(struct node *node, struct wal *wal); /* taken */
void host_fini(struct node *node);                  /* closes the log; queues are dropped */
int host_disk_fault(void *arg, enum memfs_op op, const char *path);
int host_commit_fault(void *arg, const struct batch *batch, struct err *err);
uint64_t host_clock_ms(const struct node *node); /* what its clock shows */

/* network.c: what host.h asks of the other members */
void network_send(struct host *host, const struct raft_message *messages, size_t count);
void network_send_snapshot(struct host *host, const struct raft_message *message,
                           struct backend_read *read);
void network_ask(struct host *host, uint64_t member, struct host_question *question);
void network_ask_cancel(struct host *host, struct host_question *question);
uint64_t network_connected_ms(struct host *host, uint64_t member);
void network_drop_served(struct node *node);
void network_fault(struct sim *sim); /* some links go */
void network_heal(struct sim *sim);

/* truth.c */
struct node *truth_node(struct sim *sim, uint64_t id); /* NULL: none */
void truth_written(struct node *node, const struct raft_entry *entry);
void truth_installs(struct node *node, uint64_t index);
void truth_sent(struct node *node, const struct raft_message *message);
void truth_observe(struct node *node); /* after each event: commit, role, invariants */
void truth_found(struct node *node, const struct boot *boot); /* what a restart finds */
void truth_free(struct sim *sim);

/* entry.c */
bool entry_carries(const struct record *record, const struct call *call);
bool entry_is_linearizable(const struct call *call);

/* door.c */
/* Its request and arena are to fill. */
struct sim_call *door_call(struct node *node, enum rpc_id id);
void door_start(struct sim_call *call);
void door_cancel_some(struct node *node);
void door_cancel_all(struct node *node);
struct call *door_inner(struct sim_call *call);

/* traffic.c */
void traffic_call(struct node *node);  /* one random call */
void traffic_check(struct node *node); /* reads of everything, now */
void traffic_read(struct node *node);  /* one linearizable read of everything */
void traffic_put(struct node *node);   /* of a key that no other call is about */
void traffic_compact(struct node *node, int64_t revision);

/* watching.c */
void watching_act(struct node *node);  /* something that a client who watches does */
bool watching_behind(struct sim *sim); /* does somebody wait for events? */
void watching_cancel_all(struct node *node);

/* leasing.c */
void leasing_renew(struct node *node); /* a client asks for a random lease */
bool leasing_busy(const struct sim *sim);
void leasing_cancel_all(struct node *node);
/* A client was told so, who asked at `asked_ms`. */
void leasing_promised(struct sim *sim, int64_t id, int64_t ttl_s, uint64_t asked_ms);
void leasing_asked(struct sim *sim, int64_t id);    /* a client wants its end */
void leasing_refused(struct sim *sim, int64_t id);  /* and does not get it */
void leasing_ended(struct sim *sim, int64_t id);    /* its revoke is committed */
bool leasing_is_early(struct sim *sim, int64_t id); /* to end it now; told once per entry */

/* locking.c */
void locking_begin(struct sim *sim);
void locking_act(struct node *node);
const char *locking_busy(struct sim *sim); /* who waits though nobody owns; lets owners go */
void locking_cancel_all(struct node *node);
/* A call that waits shows its token again with each of its reads; as observing_uses(). */
bool locking_uses(const struct node *node, const char *token);
void locking_free(struct sim *sim);
const char *locking_name(struct sim *sim); /* one of those that are locked or stood for */
void locking_stir(struct node *node, const char *name); /* so that there is something to tell */

/* observing.c */
void observing_act(struct node *node);
/* Does somebody not know who leads this name? NULL: any. */
bool observing_behind(struct sim *sim, const char *name);
void observing_cancel_all(struct node *node);
bool observing_uses(const struct node *node, const char *token);

/* admin.c */
void admin_act(struct node *node);
bool admin_ready(struct node *node); /* no more calls: root has a token, or logs in */
bool admin_busy(struct sim *sim);    /* auth is on; turns it off */

/* login.c */
void login_begin(struct sim *sim);
void login_free(struct sim *sim);
/* The newest token of that user that the member knows; `good`: and must take. NULL: none. */
const char *login_newest(struct node *node, unsigned user, bool good);
const char *login_token(struct node *node); /* of whoever calls; NULL = nobody */
void login_shown(struct node *node, const char *token);
void login_took(struct node *node, const char *token, uint64_t at_ms); /* it was good then */
bool login_is_over(struct node *node, const char *token); /* unused for longer than its life */
bool login_is_good(struct node *node, const char *token);
void login_applied(struct node *node, const Etcdserverpb__InternalRaftRequest *request);
void login_forget(struct node *node);
bool login_matters(enum err_code code); /* may it be about who calls? */
void login_check_entry(struct node *node, const char *token, const char *method,
                       const Etcdserverpb__InternalRaftRequest *request);
void login_check_refusal(struct node *node, const char *token, const char *method,
                         enum err_code code);
void login_check_code(struct node *node, const char *token, const char *what, enum err_code code,
                      enum err_code expected);
void login_check_taken(struct node *node, const char *token, const char *what, bool over,
                       enum err_code expected);
void login_check(struct node *node, const Etcdserverpb__AuthenticateRequest *request,
                 const Etcdserverpb__AuthenticateResponse *response);
void login_check_failed(struct node *node, const Etcdserverpb__AuthenticateRequest *request);
void login_check_status(struct node *node, const Etcdserverpb__AuthStatusResponse *response);
/* UserGet, UserList, RoleGet, RoleList. */
void login_check_look(struct node *node, const struct call *call, const ProtobufCMessage *response);
void login_check_state(struct node *node);

/* operator.c */
void operator_act(struct sim *sim);
/* So says the entry at `index`: it is to be started. */
void operator_added(struct sim *sim, uint64_t id, uint64_t index);

/* node.c */
struct node *node_new(struct sim *sim);
void node_free(struct node *node);
void node_start_later(struct node *node);
void node_crash(struct node *node);
void node_take_down(struct node *node);
void node_turn(struct node *node);    /* after each event of it */
void node_advance(struct node *node); /* bring its model to what the engine has applied */
void node_check_state(struct node *node);
void node_check_durable(struct node *node, uint64_t index);
uint64_t node_consistent_index(struct backend_read *read);
bool node_acts(const struct node *node); /* it serves and does not stand still */

/* damage.c */
bool damage_run(struct sim *sim);                    /* false: not this time, nothing was done */
void damage_alarm(struct sim *sim, uint64_t member); /* CORRUPT is in the log */
void damage_refused(struct node *node, const char *text);
void damage_check(struct node *node);

/* world.c */
void world_run(struct sim *sim);
void world_step(struct sim *sim);
void world_quiet(struct sim *sim);            /* no new faults */
struct node *world_furthest(struct sim *sim); /* of those that belong to the cluster */

#endif
