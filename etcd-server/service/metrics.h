/*
 * metrics.h - counters, gauges and histograms as plain data, and their Prometheus text.
 *
 * Core code adds to the fields; what other threads measure reaches the core in their messages.
 * Gauges that are cheap to ask for are filled in when scraped (struct ops_env). The names are in
 * metrics.def. Pure; thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_METRICS_H
#define ETCD_SERVER_SERVICE_METRICS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/schema/rpc.h"

#define METRICS_BOUNDS_MAX 24       /* bounds of one histogram */
#define METRICS_API_VERSIONS_MAX 16 /* client-api-version values told apart */
#define METRICS_VERSION_BYTES 32
#define METRICS_GRPC_CODES 17
#define METRICS_REASONS_MAX 16 /* why learners were not promoted, told apart */
#define METRICS_PEERS_MAX (RAFT_MEMBERS_MAX + PEER_REMOTES_MAX) /* other members told apart */

struct histogram {
    uint64_t buckets[METRICS_BOUNDS_MAX]; /* not cumulative */
    uint64_t count;
    double sum;
};

enum metrics_histogram {
#define COUNTER(field, name, help)
#define GAUGE(field, name, help)
#define HISTOGRAM(id, name, first, factor, bounds, help) METRICS_##id,
#include "etcd-server/service/metrics.def"
#undef HISTOGRAM
#undef GAUGE
#undef COUNTER
    METRICS_HISTOGRAMS
};

/* Operations of etcd_server_apply_duration_seconds; the name of the request in the entry. */
enum metrics_apply {
    METRICS_APPLY_RANGE,
    METRICS_APPLY_PUT,
    METRICS_APPLY_DELETE_RANGE,
    METRICS_APPLY_TXN,
    METRICS_APPLY_COMPACTION,
    METRICS_APPLY_LEASE_GRANT,
    METRICS_APPLY_LEASE_REVOKE,
    METRICS_APPLY_LEASE_CHECKPOINT,
    METRICS_APPLY_ALARM,
    METRICS_APPLY_AUTH,
    METRICS_APPLY_CLUSTER_VERSION_SET,
    METRICS_APPLY_CLUSTER_MEMBER_ATTR_SET,
    METRICS_APPLY_DOWNGRADE_INFO_SET,
    METRICS_APPLIES
};

/* Checks of /livez and /readyz. */
enum metrics_check {
    METRICS_CHECK_DATA_CORRUPTION,
    METRICS_CHECK_SERIALIZABLE_READ,
    METRICS_CHECK_LINEARIZABLE_READ,
    METRICS_CHECK_NON_LEARNER,
    METRICS_CHECKS
};
const char *metrics_check_name(enum metrics_check check); /* "serializable_read" */

struct metrics_rpc {
    uint64_t started;
    uint64_t received; /* messages */
    uint64_t sent;
    uint64_t handled[METRICS_GRPC_CODES];
};

struct metrics_refusals { /* of one kind of request, by reason */
    enum err_code code;
    uint64_t count;
};

struct metrics_client {
    char version[METRICS_VERSION_BYTES]; /* what the client said, or "unknown" */
    uint64_t unary;
    uint64_t streams;
};

struct metrics_checked { /* [0] of livez, [1] of readyz */
    uint64_t passed[2];
    uint64_t failed[2];
    bool last_passed[2];
};

/* Databases that go to, or come from, another member. */
struct metrics_images {
    uint64_t succeeded, failed;
    uint64_t inflight;
    struct histogram took;
};

/* What the links to another member count (etcd_network_*). */
struct metrics_peer {
    uint64_t id;
    unsigned links;                      /* that count here; 0: it has left the cluster */
    uint64_t left_at;                    /* the order in which they have left */
    uint64_t sent_bytes, received_bytes; /* of messages */
    uint64_t sent_failures, received_failures;
    uint64_t disconnected;
    bool active;
    struct histogram round_trip; /* of probes */
    struct metrics_images sent_images, received_images;
};

struct metrics {
#define COUNTER(field, name, help) uint64_t field;
#define GAUGE(field, name, help) double field;
#define HISTOGRAM(id, name, first, factor, bounds, help)
#include "etcd-server/service/metrics.def"
#undef HISTOGRAM
#undef GAUGE
#undef COUNTER
    struct histogram histograms[METRICS_HISTOGRAMS];
    struct histogram applies[METRICS_APPLIES][2]; /* [1]: with success */
    struct metrics_rpc rpcs[RPC_COUNT];
    bool extensive;                       /* --metrics=extensive: the next one is kept and told */
    struct histogram handling[RPC_COUNT]; /* from a call's start to its end */
    struct metrics_client clients[METRICS_API_VERSIONS_MAX];
    size_t client_count;
    struct metrics_refusals promotions[METRICS_REASONS_MAX]; /* of learners, while we led */
    size_t promotion_count;
    struct metrics_checked checks[METRICS_CHECKS];
    struct metrics_peer peers[METRICS_PEERS_MAX];
    size_t peer_count;
    uint64_t peers_left;

    /* labels of the gauges that are always 1; "" leaves them out */
    uint64_t server_id;
    char server_version[METRICS_VERSION_BYTES];  /* "3.5.30" */
    char cluster_version[METRICS_VERSION_BYTES]; /* "3.5" */
};

void metrics_observe(struct metrics *metrics, enum metrics_histogram which, double value);
void metrics_observe_apply(struct metrics *metrics, enum metrics_apply operation, bool success,
                           double seconds);

/* A call begins (version: client-api-version, SLICE_EMPTY = unknown), and ends. */
void metrics_call_started(struct metrics *metrics, const struct rpc_row *row, struct slice version);
void metrics_call_handled(struct metrics *metrics, const struct rpc_row *row, enum grpc_code code);

void metrics_promotion_failed(struct metrics *metrics, enum err_code why);

/* How long a call took; for nothing unless `extensive`. */
void metrics_observe_call(struct metrics *metrics, const struct rpc_row *row, double seconds);

/*
 * The member's own, until metrics_peer_left(). What it counted stays, and goes on when the member
 * is there again, until METRICS_PEERS_MAX others need the room: then who left first makes place. If
 * nobody has left, the newest share the last one.
 */
struct metrics_peer *metrics_peer(struct metrics *metrics, uint64_t id);
void metrics_peer_left(struct metrics *metrics, struct metrics_peer *peer);
void metrics_observe_round_trip(struct metrics_peer *peer, double seconds);
/* One of them has ended; those that went well are measured. */
void metrics_image_ended(struct metrics_images *images, bool success, double seconds);

/* Before everything but this begins anew in the same process: nothing is under way or connected. */
void metrics_begin_anew(struct metrics *metrics);

/* Append everything in Prometheus' text format, version 0.0.4; false when out->max is passed. */
bool metrics_write(const struct metrics *metrics, struct buf *out);

#endif
