/*
 * sim.h - one member under a simulated clock and disk, with clients, faults and a model of the
 * truth.
 *
 *   traffic.c  random calls --> service --> engine --> host: host.c, disk: memfs
 *   door.c     what the member answers is held against the model
 *   watching.c clients that watch, and what they get
 *   leasing.c  clients that renew leases, and when these end
 *   world.c    start, crash, restart; the whole state is held against the model
 *
 * Everything is drawn from one seed and happens in events of one queue, so a seed is a run.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "common/storage/datadir.h"
#include "etcd-server/host/log_writer.h"
#include "etcd-server/service/service.h"
#include "tests/lib/memfs.h"
#include "tests/sim/model.h"

#define SIM_ROOT "/data"
#define SIM_HASHES_MAX 4096
#define SIM_LEASES 13      /* ids below are granted, used and revoked */
#define SIM_WATCHERS_MAX 8 /* come back after a restart */

struct sim;
struct sim_call;
struct sim_stream;
struct sim_keeper;
struct sim_watcher;

/* What will happen: `run`, or `drop` when the member dies before; both may be NULL. */
typedef void sim_event_fn(struct sim *sim, void *arg);
struct sim_event {
    struct sim_event *next;
    uint64_t at_ms;
    sim_event_fn *run, *drop;
    void *arg;
    bool of_member; /* dies with it */
};

/* Drawn once per seed. */
struct sim_options {
    uint64_t segment_bytes, snapshot_count;
    size_t max_snapshots, max_wals;
    uint64_t batch_interval_ms, batch_limit, compaction_batch, compaction_sleep_ms;
    int64_t quota_bytes;
    uint64_t log_delay_ms, commit_delay_ms, job_delay_ms; /* at most */
    uint64_t call_gap_ms, value_bytes;
    unsigned calls, keys;
    unsigned crash_1000, fault_1000; /* chances per call started */
    bool full_disk_writes;           /* a full disk takes writes into space that was reserved */
};

/* host.c: threads and disk of the member that runs now. */
struct sim_host {
    struct host host;
    struct sim *sim;
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

struct sim {
    uint64_t seed, random;
    struct sim_options options;
    uint64_t now_ms, trace;   /* trace: a hash of all that happened */
    struct sim_event *events; /* in order of time */
    bool verbose;

    /* the disk */
    struct memfs memfs;
    struct backend *backend; /* what is committed survives crashes */
    bool disk_full;
    uint64_t fail_in;    /* operations until one fails; 0 = none planned */
    int fail_sys;        /* EIO, ENOSPC; 0 = the power goes */
    uint64_t trouble_ms; /* when something was wrong last */
    bool backend_fails;

    /* the member */
    struct sim_host host;
    struct datadir dir;
    struct engine *engine; /* NULL = it is down */
    struct service *service;
    struct metrics *metrics;
    bool stopped; /* it must not go on */
    bool stop_expected;
    bool serving;
    bool dying; /* calls end because the member does */
    uint64_t wake_ms;

    /* the truth */
    struct model model;
    struct raft_entry *log; /* every entry ever handed to the log writer; [0] is index 1 */
    size_t log_count, log_capacity;
    uint64_t acknowledged; /* highest index promised to a client */
    uint64_t durable_checked;
    int64_t revision_seen;
    uint64_t term_seen;
    struct sim_hash hashes[SIM_HASHES_MAX];
    size_t hash_count;

    /* the clients */
    struct sim_call *calls;       /* under way */
    struct sim_stream *streams;   /* open watch streams */
    struct sim_watcher *watchers; /* owned: those of a crash */
    size_t watcher_count;
    struct sim_keeper *keepers;          /* leases being renewed */
    uint64_t lease_until_ms[SIM_LEASES]; /* the server must not end it before */
    bool lease_freed[SIM_LEASES];        /* a client asked to revoke it */
    unsigned started, answered, unknown;
    unsigned serial;
    uint8_t *refused; /* by serial: this put was refused before it got into the log */
    bool quiet;       /* no new calls, no new faults: everything must come to an end */
    unsigned crashes;
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
struct sim_event *sim_after(struct sim *sim, uint64_t delay_ms, sim_event_fn *run, void *arg);

/* host.c */
void host_init(struct sim *sim, struct wal *wal); /* taken */
void host_fini(struct sim *sim);                  /* closes the log; queues are dropped */
int host_disk_fault(void *arg, enum memfs_op op, const char *path);
int host_commit_fault(void *arg, const struct batch *batch, struct err *err);

/* door.c */
struct sim_call *door_call(struct sim *sim, enum rpc_id id); /* its request and arena are to fill */
void door_start(struct sim *sim, struct sim_call *call);
void door_cancel_some(struct sim *sim);
void door_cancel_all(struct sim *sim);
struct call *door_inner(struct sim_call *call);

/* traffic.c */
void traffic_call(struct sim *sim);  /* one random call */
void traffic_check(struct sim *sim); /* reads of everything, now */

/* watching.c */
void watching_act(struct sim *sim);    /* something that a client who watches does */
bool watching_behind(struct sim *sim); /* does somebody wait for events? */
void watching_cancel_all(struct sim *sim);

/* leasing.c */
void leasing_renew(struct sim *sim); /* a client asks for a random lease */
bool leasing_busy(const struct sim *sim);
void leasing_cancel_all(struct sim *sim);
void leasing_promised(struct sim *sim, int64_t id, int64_t ttl_s); /* a client was told so */
void leasing_asked(struct sim *sim, int64_t id);                   /* a client wants its end */
void leasing_check_revoke(struct sim *sim, int64_t id);            /* it goes into the log */

/* world.c */
void world_run(struct sim *sim);
/* Bring the model to what the engine has applied. */
void world_advance(struct sim *sim);
void world_check_durable(struct sim *sim, uint64_t index);
void world_log_entry(struct sim *sim, const struct raft_entry *entry);

#endif
