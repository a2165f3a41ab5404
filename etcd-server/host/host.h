/*
 * host.h - the outside as the engine sees it: clock, log writer, committer, long jobs, an end.
 *
 * The real host puts threads and files behind it, the simulator its own clock and disk; the engine
 * is the same object file in both. Every operation returns at once; what it leads to comes back as
 * a call into engine.h on a later turn. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_HOST_H
#define ETCD_SERVER_HOST_HOST_H

#include "common/base/duration.h"
#include "common/base/log.h"
#include "common/schema/raftmsg.h"
#include "common/storage/batch.h"

/* What can stand in the queue of a thread; first member of what it is part of. */
struct host_task {
    struct host_task *next;
};

/*
 * One request to the log writer; requests are carried out in order. Everything in it is owned by
 * it: entries and their payloads lie in `memory`.
 */
struct log_write {
    struct host_task task;
    uint64_t persist_id; /* comes back in engine_log_written(); 0 for a snapshot of our own; that
                            of a leader has one: it takes the place of the log */
    bool has_state;
    bool must_sync; /* false: may wait for the next sync */
    struct raft_hard_state state;
    struct raft_entry *entries;
    size_t entry_count;
    size_t bytes; /* of the payloads */
    uint8_t *memory;
    struct raft_snapshot *snapshot; /* not NULL: save .snap, then the WAL's snapshot record, then
                                       purge; data in `memory` */
};
void log_write_free(struct log_write *request); /* NULL is fine */

/* A long job: run() on a pool thread, then done() on the core thread. Memory is the caller's. */
struct host_job {
    struct host_task task;
    void (*run)(struct host_job *job);
    void (*done)(struct host_job *job);
};

/*
 * A long job that gives bytes away piece by piece, no faster than the core takes them. run() is on
 * a thread of its own, not of the pool, and gives its pieces to `sink`, which waits for room and
 * leaves the buf empty, perhaps with other memory; take() and done() are on the core. What takes as
 * long again as making the pieces (a hash) is done beside it: look() sees every piece, in order and
 * before take(), on a thread of its own, and close() may add more behind them.
 */
typedef int host_sink_fn(void *arg, struct buf *piece, struct err *err);
struct host_producer {
    int (*run)(struct host_producer *producer, host_sink_fn *sink, void *sink_arg, struct err *err);
    void (*look)(struct host_producer *producer, struct slice piece); /* NULL: nobody looks */
    /* With look(): run() went well and all its pieces were seen. What it gives is not looked at. */
    int (*close)(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                 struct err *err);
    /* false: pause until produce_resume() */
    bool (*take)(struct host_producer *producer, struct slice piece);
    /* After the last piece, or run() failed, or it was stopped; err->code ERR_OK after success.
     * Memory is the caller's again. */
    void (*done)(struct host_producer *producer, const struct err *err);
    void *host; /* the host's own */
};

/*
 * A question to another member by its peer port (raft.md 4.6, 4.7). Memory is the asker's until
 * done() or ask_cancel(). `status` 0: no answer came; `body` is borrowed for the call.
 */
#define HOST_QUESTION_REFUSED 429U /* as `status`: too many wait here already; nobody was asked */
struct host_question {
    const char *path;         /* "/leases"; borrowed, as all that follow */
    const char *method;       /* NULL: "POST" */
    const char *content_type; /* NULL: "application/protobuf" */
    const char *fields;       /* more lines, "Name: value\r\n"; NULL: none */
    struct slice body;
    uint64_t timeout_ms;
    void (*done)(struct host_question *question, unsigned status, struct slice body);
    void *host; /* the host's own */
};

struct host {
    const struct host_ops *ops;
};

struct host_ops {
    uint64_t (*now_ms)(struct host *host); /* monotonic */
    /* The same clock, finer, for how long something took; NULL: now_ms is all there is. */
    uint64_t (*now_ns)(struct host *host);
    uint64_t (*unix_ms)(struct host *host); /* wall clock; only for ids and what is shown */
    uint64_t (*random)(struct host *host);
    void (*log_write)(struct host *host, struct log_write *request); /* taken */
    /* One batch at a time; a reference is taken. Comes back in engine_committed(). */
    void (*commit)(struct host *host, struct batch *batch);
    /* Rewrite the backend's file between two commits. Comes back in engine_defragged(). */
    void (*defrag)(struct host *host);
    /*
     * Messages to other members: borrowed for the call; one that is lost is reported by
     * engine_unreachable(). NULL: there are no other members here.
     */
    void (*send)(struct host *host, const struct raft_message *messages, size_t count);
    void (*members_changed)(struct host *host); /* links follow the membership; may be NULL */
    /*
     * Stream a snapshot to message->to: `message` is complete, its data included; `read` is taken
     * and holds at least what the message stands for. Ends with engine_snapshot_sent(). May be
     * NULL.
     */
    void (*send_snapshot)(struct host *host, const struct raft_message *message,
                          struct backend_read *read);
    /* Ask `member`: done() comes later, exactly once unless cancelled. May be NULL. */
    void (*ask_member)(struct host *host, uint64_t member, struct host_question *question);
    void (*ask_cancel)(struct host *host, struct host_question *question);
    /* For how long a link to `member` has been up, in ms; 0 = it is not. May be NULL. */
    uint64_t (*connected_ms)(struct host *host, uint64_t member);
    /* A leader's snapshot was made durable: begin anew with what is on disk. May be NULL. */
    void (*restart)(struct host *host);
    void (*run_job)(struct host *host, struct host_job *job);
    void (*produce)(struct host *host, struct host_producer *producer);
    void (*produce_resume)(struct host *host, struct host_producer *producer);
    /* no take() any more; done() follows */
    void (*produce_stop)(struct host *host, struct host_producer *producer);
    void (*note)(struct host *host, enum log_level level, const char *message,
                 const struct log_field *fields);
    /* The member must not go on (a failed fsync, a diverged store): stop serving at once, say why,
     * exit. */
    void (*stop)(struct host *host, const struct err *cause);
};

static inline uint64_t host_now_ms(struct host *host)
{
    return host->ops->now_ms(host);
}

static inline uint64_t host_now_ns(struct host *host)
{
    return host->ops->now_ns != NULL ? host->ops->now_ns(host)
                                     : host->ops->now_ms(host) * (uint64_t)NS_PER_MS;
}

#define host_note(host_, level_, message_, ...)                                                    \
    (host_)->ops->note(                                                                            \
        (host_), (level_), (message_),                                                             \
        (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.kind = LOG_KIND_END}})

#endif
