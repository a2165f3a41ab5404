/*
 * ops.h - the endpoints of operators: /version, /health, /livez, /readyz, /metrics, /debug/vars
 * (api.md 13.1). Asks the server through struct ops_env. Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_OPS_H
#define ETCD_SERVER_DOORS_OPS_H

#include "etcd-server/doors/exchange.h"
#include "etcd-server/service/metrics.h"

/* What is so at this moment. */
struct ops_facts {
    char server_version[METRICS_VERSION_BYTES];  /* "3.5.30" */
    char cluster_version[METRICS_VERSION_BYTES]; /* "3.5.0"; "" = not decided yet */
    bool has_leader;
    bool is_learner;
    bool alarm_nospace;
    bool alarm_corrupt;
};

/* A read of one key as root, begun by ops. Its memory is ops'; the environment may use `state`. */
struct ops_read {
    bool serializable;
    void *state;
    /* To be called exactly once, at once or later, unless cancel_read() came first. `text`: NULL =
     * passed, else the cause. */
    void (*done)(struct ops_read *read, const char *text);
};

/* Filled in by main. */
struct ops_env {
    void *arg;
    void (*facts)(void *arg, struct ops_facts *facts);
    void (*read)(void *arg, struct ops_read *read);
    void (*cancel_read)(void *arg, struct ops_read *read);
    /* Bring gauges up to date that nobody keeps so: process_*, os_fd_*, sizes. */
    void (*collect)(void *arg, struct metrics *metrics);
    /* Append raft's state as a JSON object, for /debug/vars. NULL: there is none. */
    void (*raft_status)(void *arg, struct buf *out);
    struct metrics *metrics; /* borrowed */
    int argc;                /* for /debug/vars */
    const char *const *argv; /* borrowed */
};

struct ops;
struct ops *ops_new(const struct ops_env *env) MUST_CHECK; /* owned */
void ops_free(struct ops *ops); /* after its last exchange; NULL is fine */

/* Take any exchange that nobody else answers; `path` percent-decoded. 404 for unknown paths. */
void ops_start(struct ops *ops, struct exchange *exchange, struct slice path);
/* The same where monitoring is served alone: /health, /livez, /readyz and /metrics. */
void ops_monitor(struct ops *ops, struct exchange *exchange, struct slice path);
/* The answer of GET /version: client and peer port have the same. */
void ops_version(struct ops *ops, struct exchange *exchange);

#endif
