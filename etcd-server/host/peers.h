/*
 * peers.h (edge) - this member's links to the others, in etcd's peer protocol (raft.md 2 to 7).
 *
 *   outgoing   per peer two GETs whose endless answers bring its messages; POST /raft for what has
 *              no stream yet; POST /raft/snapshot; GET /raft/probing
 *   incoming   peers_handler(), for struct peer_env.raft: the same from the other side. What we
 *              send to a peer goes into the answers of its GETs
 *
 * Queues are bounded (limits.h): a message that finds its queue full, or its peer away, is dropped
 * and reported as unreachable; raft sends again. A slow peer fills its own queue only. Knows
 * nothing of raft but who is addressed.
 *
 * Callbacks come from the loop, never from inside a call of this header, save where it is said.
 * Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PEERS_H
#define ETCD_SERVER_HOST_PEERS_H

#include "common/schema/raftmsg.h"
#include "common/tls/tls.h"
#include "etcd-server/doors/exchange.h"
#include "etcd-server/host/host.h"
#include "etcd-server/host/loop.h"
#include "etcd-server/service/metrics.h"

/* All must be set but `snapshot` and `active`. */
struct peers_callbacks {
    void *arg;
    /*
     * A message for us, its sender neither removed nor without it addressed to us. Borrowed for the
     * call. False: raft has stopped; the sender is told so.
     */
    bool (*message)(void *arg, const struct raft_message *message);
    /*
     * The same for a MsgSnap; its image is in snap_dir as hex16(index).snap.db, synced.
     * `message` NULL: none; MsgSnap is refused then.
     */
    bool (*snapshot)(void *arg, const struct raft_message *message);
    /* Something for `member` was dropped or its link broke: raft's MsgUnreachable. May come from
     * inside peers_send(). */
    void (*unreachable)(void *arg, uint64_t member);
    /* What became of peers_send_snapshot(); once each. On failure unreachable() came before. */
    void (*snapshot_sent)(void *arg, uint64_t member, uint64_t index, bool ok);
    /* A peer says that we were removed from the cluster: stop the member. */
    void (*removed)(void *arg);
    bool (*is_removed)(void *arg, uint64_t member); /* was `member` removed from the cluster? */
    void (*active)(void *arg, uint64_t member, bool active); /* may be NULL */
};

struct peers_config {
    struct loop *loop; /* borrowed, as all that follows */
    uint64_t id;
    uint64_t cluster_id;
    const char *const *peer_urls; /* our own, as advertised; copied */
    size_t peer_url_count;
    const char *version;             /* "3.5.30": X-Server-Version. Copied */
    const char *min_cluster_version; /* "3.0.0"; copied */
    struct tls_context *tls; /* TLS_CLIENT, for https URLs; NULL: such peers are out of reach */
    const char *snap_dir; /* DATA/member/snap, for databases that come; NULL: refuse them. Copied */
    struct metrics *metrics;      /* what the links count; NULL: nobody wants to know */
    uint64_t election_timeout_ms; /* added to the dial timeout of 1 s; 0: 1000 */
    uint64_t read_timeout_ms, write_timeout_ms; /* of streams; at least PEER_READ_TIMEOUT_MS,
                                                   PEER_WRITE_TIMEOUT_MS, and less is as much */
    struct peers_callbacks callbacks;
};

struct peers;
int peers_new(const struct peers_config *config, struct peers **peers, struct err *err) MUST_CHECK;
/* Closes all; callbacks come no more, but image->release(). After the last exchange of
 * peers_handler() has ended (net_free()), and the loop must not run again. NULL is fine. */
void peers_free(struct peers *peers);
/* Stop: end the streams on both sides, send nothing more, call back no more; peers_free() later. */
void peers_stop(struct peers *peers);

/*
 * Takes /raft and below. The peer port's exchange_handler needs `streams` = peers_streams_body, or
 * snapshots are refused; peer_gate.h checks the callers' certificates.
 */
struct exchange_handler peers_handler(struct peers *peers);
/* For exchange_handler.streams: may this request's body come piece by piece? (snapshots) */
bool peers_streams_body(void *arg, const struct exchange *exchange);

struct peers_member {
    uint64_t id;
    const char *const *peer_urls;
    size_t peer_url_count;
};

/*
 * The others are these from now on; our own id is passed over. New ones get links, missing ones
 * lose theirs, changed URLs are dialled from now on. Everything is copied. Cheap when nothing
 * changed: call it after every configuration change and restored snapshot.
 */
void peers_set_members(struct peers *peers, const struct peers_member *members, size_t count);

/*
 * Members known without being in the configuration (the list of a joining member): messages to
 * them go by POST, without streams, until peers_set_members() names them. Those that only a
 * header names are added here by the handler itself.
 */
void peers_add_remote(struct peers *peers, const struct peers_member *member);

/* Send, in order; encoded at once, so nothing is borrowed after the call. To an unknown id:
 * dropped. MsgSnap must go through peers_send_snapshot(). */
void peers_send(struct peers *peers, const struct raft_message *messages, size_t count);

/* Since when a link to `member` works, on loop_now_ms(); 0: it does not. */
uint64_t peers_active_since(const struct peers *peers, uint64_t member);
size_t peers_active_count(const struct peers *peers); /* without ourselves */

/* The image of a database to be sent; memory is the caller's. */
struct peers_image {
    uint64_t bytes; /* how long it will be; more or fewer fail the sending */
    /* On a thread of its own: give it piece by piece to `sink`, which waits for room. */
    int (*run)(struct peers_image *image, host_sink_fn *sink, void *sink_arg, struct err *err);
    void (*release)(struct peers_image *image); /* core: not needed any more; exactly once */
};
/*
 * Send a MsgSnap with its image by POST /raft/snapshot; one at a time per peer. Encoded at once.
 * Ends in callbacks.snapshot_sent(), after image->release(); both come later, except when the peer
 * is unknown or has one under way already: then from inside this call, with ok = false.
 */
void peers_send_snapshot(struct peers *peers, const struct raft_message *message,
                         struct peers_image *image);

/* ---- small requests to any peer URL: /members, /version, /leases, /members/promote ---- */

struct peers_answer {
    unsigned status;     /* 200 */
    uint64_t cluster_id; /* of X-Etcd-Cluster-ID; 0 when absent or unreadable */
    struct slice body;   /* whole; at most PEER_ANSWER_MAX_BYTES */
};
struct peers_request {
    const char *url;          /* "http://10.0.0.1:2380"; borrowed for the call, as all of these */
    const char *method;       /* "GET", "POST" */
    const char *path;         /* "/members" */
    const char *content_type; /* NULL: none */
    const char *fields;       /* more lines, "Name: value\r\n"; NULL: none */
    struct slice body;
    uint64_t timeout_ms; /* for all of it; 0: PEER_REQUEST_TIMEOUT_MS. From its turn on:
                            PEER_CALLS_MAX are under way at a time */
    void *arg;
    /*
     * Exactly once, from the loop, unless peers_cancel() came first. `answer` is NULL when there is
     * none: err says why. Both borrowed for the call. ERR_REQUEST_TOO_MANY_REQUESTS:
     * PEER_CALLS_WAITING_MAX wait for their turn already, on a later turn.
     */
    void (*done)(void *arg, const struct peers_answer *answer, const struct err *err);
};
struct peers_call; /* one under way; dead after done() */
struct peers_call *peers_request(struct peers *peers, const struct peers_request *request);
void peers_cancel(struct peers_call *call);

#endif
