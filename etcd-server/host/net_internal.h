/*
 * net_internal.h - what net.c (listeners, deadlines, stopping), net_socket.c (their sockets) and
 * net_conn.c (one connection) share. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_NET_INTERNAL_H
#define ETCD_SERVER_HOST_NET_INTERNAL_H

#include "common/base/limits.h"
#include "etcd-server/host/address.h"
#include "etcd-server/host/net.h"

#define NET_REMOTE_BYTES 64

enum net_conn_state {
    NET_FIRST,     /* waiting for the first bytes of what should be TLS */
    NET_HANDSHAKE, /* TLS */
    NET_OPEN,      /* the door has it */
    NET_LINGER,    /* all sent, our side shut: reading away what still comes */
    NET_DEAD,      /* freed at the end of the turn */
};

struct net_conn {
    struct link link;
    struct net_listener *listener;
    struct net_conn *previous, *next; /* in net->conns */
    struct net_conn *next_changed;    /* in net->changed */
    struct net_conn *next_again;      /* in net->again */
    bool in_changed, in_again;
    bool eof;      /* the client will send no more */
    bool eof_told; /* and the door knows */
    enum net_conn_state state;
    int fd; /* owned */
    struct loop_fd *watch;
    struct tls_session *session; /* owned; NULL: plain */
    struct loop_timer *timer;    /* owned; NULL until first needed */
    uint64_t timer_at_ms;
    uint64_t since_ms;    /* the state's begin */
    uint64_t progress_ms; /* last time enough of the output had gone out, or it was empty */
    bool waits;           /* output does, since the last flush */
    size_t fresh_bytes;   /* ... and since then so many */
    struct buf in;        /* plaintext the door has not taken; or the first bytes */
    char remote[NET_REMOTE_BYTES];
};

struct net_listener {
    struct net *net;
    struct net_listener *next;
    struct link_door door;   /* since net_accept() */
    struct tls_context *tls; /* NULL: no TLS here */
    bool plain;              /* without TLS, perhaps beside it */
    char *place;             /* owned: that of net_place */
    unsigned group;
    bool shares;
    char *rejected_message; /* "rejected connection on client endpoint" */
    char *name;
    char *unix_path; /* owned; NULL for TCP */
    int fd;
    struct loop_fd *watch;
    size_t connections, connections_max;
    bool of_peers;
    bool refuses;       /* is bound only */
    bool paused;        /* at the maximum, or out of descriptors */
    uint64_t resume_ms; /* when to try again */
};

struct net {
    struct loop *loop;
    struct link_clock clock;
    struct net_listener *listeners;
    struct net_conn *conns;
    size_t conn_count, peer_count;          /* of all; of these, peers' */
    size_t connections_max, kept_for_peers; /* net_limit(); 0: none */
    struct net_conn *changed;               /* to be looked at when the turn ends */
    struct net_conn *again;                 /* to be called in the next turn */
    bool again_posted;
    struct loop_timer *sweep;
    bool sweeping;
    bool stopping;
    uint64_t stop_at_ms;
    loop_fn *stopped;
    void *stopped_arg;
    uint64_t received_bytes, sent_bytes;
    uint8_t *scratch; /* NET_SCRATCH_BYTES: what one read brings */
};
#define NET_SCRATCH_BYTES (64UL * KIB)

/* Where a listener is. */
struct net_place {
    struct address address;
    bool tls;
    char text[160]; /* "tcp 127.0.0.1:2379": for messages, and to find who is there already */
};

int net_bad_url(const char *url, const char *why, struct err *err); /* fills in err; -1 */
int net_place_parse(const char *url, struct net_place *place, struct err *err) MUST_CHECK;
/* A descriptor that is bound and, unless net_refuses(), listens; or -1. */
int net_socket_open(const struct net_listener_config *config, const struct net_place *place,
                    struct err *err) MUST_CHECK;
bool net_refuses(const struct net_listener_config *config, const struct net_place *place);
/* place: the text of a net_place. */
int net_socket_listen(int fd, const char *place, struct err *err) MUST_CHECK;
uint16_t net_socket_port(int fd); /* 0: it has none */

void net_tick(struct net *net); /* bring the clock up to date */

/* fd: taken. */
void net_conn_open(struct net_listener *listener, int fd, const char *remote);
void net_conn_flush(struct net_conn *conn); /* end of turn; may free it */
void net_conn_sweep(struct net_conn *conn); /* deadlines */
void net_conn_drain(struct net_conn *conn); /* the server stops */
void net_conn_kill(struct net_conn *conn);  /* freed at the end of the turn */
void net_conn_gone(struct net_conn *conn);  /* net.c: unlink, count, go on accepting */

#endif
