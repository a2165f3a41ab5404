/*
 * peer_nodes.h - up to three members' transports in one process over loopback, plain or TLS, on one
 * loop in this thread. Every wait is for a fact and has a bound; one in vain ends the program.
 */
#ifndef TESTS_LIB_PEER_NODES_H
#define TESTS_LIB_PEER_NODES_H

#include "common/tls/tls.h"
#include "etcd-server/doors/http1.h"
#include "etcd-server/host/loop.h"
#include "etcd-server/host/net.h"
#include "etcd-server/host/peer_gate.h"
#include "etcd-server/host/peers.h"

#define PEER_NODES 3
#define PEER_NODES_CLUSTER 77

struct peer_node {
    struct peer_nodes *all;
    uint64_t id; /* 1, 2, 3 */
    struct peers *peers;
    struct http1_door http1;
    struct link_door inner;
    struct peer_gate *gate; /* TLS only */
    uint16_t port;
    char *url;
    char *snap_dir;                      /* owned, when the test gives one */
    struct tls_context *client, *server; /* the same */
    uint64_t removed_id;                 /* who is told that it was removed */

    size_t got, unreachable, snapshots;  /* calls */
    uint64_t last_index[PEER_NODES + 1]; /* by sender */
    bool out_of_order, removed;
    uint64_t last_type, last_term, snapshot_index;
    int sent_ok; /* a snapshot; -1: not yet */
    size_t entry_bytes;
};

struct peer_nodes {
    struct loop *loop;
    struct net *net;
    struct loop_timer *limit;
    bool (*fact)(struct peer_nodes *nodes);
    bool late;
    struct peer_node node[PEER_NODES];
    size_t wanted_got[PEER_NODES]; /* for peer_nodes_got_all() */
    uint64_t beats;
    struct peers_answer answer; /* of the last request; its body in `body` */
    char body[512];
    bool answered, failed;
    char cause[ERR_TEXT_MAX];
};

void peer_nodes_init(struct peer_nodes *nodes); /* nobody there yet */
void peer_nodes_fini(struct peer_nodes *nodes);
void peer_nodes_listen(struct peer_node *at); /* with TLS where it has a context for it */
void peer_nodes_start_peers(struct peer_node *at, uint64_t cluster_id);
void peer_nodes_introduce(struct peer_node *at, size_t count); /* to the first ones */
void peer_nodes_start(struct peer_nodes *nodes, size_t count); /* all of that */

#define PEER_NODES_WAIT(nodes, fact) peer_nodes_wait(nodes, fact, #fact)
void peer_nodes_wait(struct peer_nodes *nodes, bool (*fact)(struct peer_nodes *nodes),
                     const char *name);
/* Facts: streams stand in both directions; wanted_got came; a beat of the first came to
 * the second. */
bool peer_nodes_all_active(struct peer_nodes *nodes);
bool peer_nodes_got_all(struct peer_nodes *nodes);
bool peer_nodes_beat_came(struct peer_nodes *nodes);

/* `count` messages with an entry of so many bytes each, their indexes one after the other. */
void peer_nodes_send_apps(struct peer_node *from, const struct peer_node *to, size_t count,
                          size_t bytes);
void peer_nodes_send_beat(struct peer_node *from, uint64_t to, uint64_t term);
void peer_nodes_cut(const struct peer_node *at); /* every connection with its listener */
/* A request of the first; the answer is in `nodes`. Fields of one that is in order: */
#define PEER_NODES_VERSIONS "X-Server-Version: 3.5.30\r\nX-Min-Cluster-Version: 3.0.0\r\n"
#define PEER_NODES_FIELDS PEER_NODES_VERSIONS "X-Etcd-Cluster-ID: 4d\r\nX-Server-From: 3\r\n"
void peer_nodes_ask(struct peer_nodes *nodes, const char *url, const char *method, const char *path,
                    const char *fields, struct slice body);

/* ---- snapshots ---- */

#define PEER_IMAGE_PIECE 30000 /* the database comes in such */

struct peer_image {
    struct peers_image image; /* first: its `bytes` is what is announced */
    uint64_t really;          /* how many bytes come */
    bool released;
};
/* From the first to the second. */
void peer_nodes_send_image(struct peer_nodes *nodes, struct peer_image *image, uint64_t index);
bool peer_nodes_image_over(struct peer_nodes *nodes);
/* Does the file hold what was sent? */
bool peer_image_is(const char *path, size_t bytes);

#endif
