/*
 * peers_internal.h - what peers.c (members, sending), peer_link.c (streams and posts of one
 * member), peer_asker.c (small requests), peer_snapshot.c (databases, both ways) and peer_serve.c
 * (incoming requests) share; the way out is peer_dial.h. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PEERS_INTERNAL_H
#define ETCD_SERVER_HOST_PEERS_INTERNAL_H

#include "common/base/limits.h"
#include "common/base/url.h"
#include "etcd-server/doors/peer_stream.h"
#include "etcd-server/host/peer_dial.h"
#include "etcd-server/host/peer_wire.h"
#include "etcd-server/host/peers.h"
#include "etcd-server/host/producer.h"
#include "etcd-server/host/worker.h"

/* ---- peer_link.c ---- */

struct peer_link;

/* Their GET: what we send goes into its answer. */
struct peer_writer {
    struct peer_link *link;
    enum peer_stream_kind kind;
    struct exchange *exchange; /* borrowed; NULL: there is no stream */
    struct peer_stream_state state;
    struct buf batch;     /* of one peers_send() */
    uint64_t put_bytes;   /* given to the exchange */
    uint64_t taken_bytes; /* what the socket had taken when it was last looked at */
    uint64_t moved_ms;    /* when that number last grew, or nothing waited */
};

/* Our GET: what they send comes in its answer. */
struct peer_reader {
    struct peer_link *link;
    enum peer_stream_kind kind;
    struct peer_dial *dial;
    struct peer_decoder decoder;
    bool established; /* the answer is 200: `decoder` is alive */
    unsigned status;  /* of the answer */
    struct loop_timer *retry;
    char text[128]; /* the begin of another answer's body */
    size_t text_size;
};

struct peer_post { /* a message that waits for, or is on, POST /raft */
    struct peer_post *next;
    size_t size;
    uint8_t bytes[];
};

struct peer_slot {
    struct peer_link *link;
    struct peer_dial *dial;
    struct peer_post *post; /* owned; NULL: free */
    unsigned status;
};

struct peer_sending; /* of a snapshot; peer_snapshot.c */

struct peer_link {
    struct peers *peers;
    struct peer_link *next;
    uint64_t id;
    bool remote; /* POST only */
    char **urls; /* owned */
    size_t url_count, url_at;
    struct peer_writer writers[PEER_STREAM_KINDS];
    struct peer_reader readers[PEER_STREAM_KINDS];
    struct peer_slot slots[PEER_PIPELINE_MAX];
    struct peer_post *first_post, *last_post;
    size_t post_count, post_bytes;
    struct peer_sending *sending; /* NULL: no snapshot is under way */
    struct peer_dial *probe;
    uint64_t probe_at_ms, probe_began_ns;
    char probe_text[128]; /* the answer */
    size_t probe_size;
    bool clock_said;          /* that its clock is another */
    uint64_t active_since_ms; /* 0: not active */
    struct metrics_peer *counted;
    char *said; /* owned; the trouble told last, so that it is told once */
};

struct peer_link *peer_link_new(struct peers *peers, const struct peers_member *member,
                                bool remote) MUST_CHECK;
void peer_link_free(struct peer_link *link);
bool peer_link_has_urls(const struct peer_link *link, const struct peers_member *member);
void peer_link_set_urls(struct peer_link *link, const struct peers_member *member);
void peer_link_promote(struct peer_link *link); /* a remote becomes a peer: open the streams */
const char *peer_link_url(const struct peer_link *link);
void peer_link_send(struct peer_link *link, const struct raft_message *message);
void peer_link_flush(struct peer_link *link);                 /* after the last peer_link_send() */
void peer_link_tick(struct peer_link *link, uint64_t now_ms); /* every PEER_HEARTBEAT_MS */
void peer_link_attach(struct peer_link *link, enum peer_stream_kind kind,
                      struct exchange *exchange); /* begun by the caller */

/* ---- peer_snapshot.c ---- */

void peer_sending_abandon(struct peer_sending *sending); /* its link goes */
void peer_receive_snapshot(struct peers *peers, struct exchange *exchange);
void peer_snapshots_free(struct peers *peers); /* after their threads have ended */

/* ---- peer_asker.c: peers_request() ---- */

struct peers_asker;
struct peers_asker *peers_asker_new(struct peers *peers);
void peers_asker_tick(struct peers_asker *asker, uint64_t now_ms); /* every PEER_HEARTBEAT_MS */
void peers_asker_stop(struct peers_asker *asker);                  /* nothing is kept any more */
void peers_asker_free(struct peers_asker *asker); /* what is under way ends without done() */

/* ---- peers.c ---- */

struct peers {
    struct peers_config config; /* its texts are the peers' own */
    struct loop *loop;
    char *urls_text;                     /* owned; X-PeerURLs */
    char *raft_fields;                   /* owned; the headers of raft.md 2.1 */
    char *cluster_field, *stream_fields; /* owned; of answers */
    struct peer_link *links;
    struct peer_link *leaving; /* out of the list; freed when no callback of theirs can run */
    bool leaving_posted;
    size_t remote_count;
    struct peers_asker *asker;   /* owned */
    struct producers *producers; /* of images to send; owned */
    struct worker *resolver;     /* NULL until needed */
    struct worker *writer;       /* the same: databases that come */
    struct loop_timer *tick;
    struct peer_sending *sendings;
    struct peer_receiving *receivings;
    bool stopped;
    struct metrics_peer uncounted; /* of all links, when there are no metrics */
    uint8_t *scratch;              /* PEER_SCRATCH_BYTES: what one read brings */
};

struct peer_link *peers_find(const struct peers *peers, uint64_t id); /* NULL: unknown */
/* Hand a message to raft, when it may be: NULL, or why not. */
const char *peers_deliver(struct peers *peers, const struct raft_message *message);
/* Threads, started when they are first needed; without them the process cannot go on. */
struct worker *peers_worker(struct peers *peers, worker_fn *fn, unsigned threads) MUST_CHECK;

#endif
