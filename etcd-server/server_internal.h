/*
 * server_internal.h - what server.c (life), server_ports.c, server_files.c and server_tls.c (what
 * it begins with), server_auth.c, server_discover.c and server_log.c (settings) and server_env.c
 * (what the doors ask) share. Errors: ERR_USAGE of settings, else those of tls.h, datadir.h,
 * boot.h, join.h and discover.h. Thread: core.
 */
#ifndef ETCD_SERVER_SERVER_INTERNAL_H
#define ETCD_SERVER_SERVER_INTERNAL_H

#include "common/storage/datadir.h"
#include "etcd-server/config.h"
#include "etcd-server/doors/client.h"
#include "etcd-server/doors/gateway.h"
#include "etcd-server/doors/grpc.h"
#include "etcd-server/doors/http1.h"
#include "etcd-server/doors/http2.h"
#include "etcd-server/doors/ops.h"
#include "etcd-server/doors/peer.h"
#include "etcd-server/doors/peer_answers.h"
#include "etcd-server/doors/port.h"
#include "etcd-server/host/boot.h"
#include "etcd-server/host/discover.h"
#include "etcd-server/host/join.h"
#include "etcd-server/host/loop.h"
#include "etcd-server/host/machine.h"
#include "etcd-server/host/net.h"
#include "etcd-server/host/peers.h"
#include "etcd-server/host/trim.h"
#include "etcd-server/service/autocompact.h"
#include "etcd-server/service/corrupt_check.h"
#include "etcd-server/service/jwt.h"
#include "etcd-server/service/service.h"
#include "etcd-server/service/slow.h"
#include "etcd-server/service/version_duty.h"

/* A list of listen URLs each; the numbers are the groups of net.h. */
enum server_ports { PORTS_PEER, PORTS_CLIENT, PORTS_CLIENT_HTTP, PORTS_METRICS, PORTS_KINDS };

/*
 * Where it is in its life; it only goes on, and may leave out what it has no need of.
 *
 *   STARTING -> SERVING -> HANDING_OVER -> HANDED_OVER -> LEAVING -> DRAINED -> ENDED
 *      '-----------------------^ '----------------------------^          (any) ---^
 */
enum server_stage {
    SERVER_STARTING,     /* clients are not answered yet */
    SERVER_SERVING,      /* they are */
    SERVER_HANDING_OVER, /* stopping; a leader waits until another leads, or linger_until_ms */
    SERVER_HANDED_OVER,  /* another leads, or it was tried in vain */
    SERVER_LEAVING,      /* clients are sent away */
    SERVER_DRAINED,      /* every connection is gone */
    SERVER_ENDED,        /* the loop is over; what is there is taken apart */
};

struct server {
    const struct config *config;
    int argc;
    const char *const *argv;

    struct loop *loop;
    struct datadir dir;
    struct boot boot;
    struct backend *backend;
    struct machine *machine;
    struct engine *engine;
    struct machine_cluster *cluster;
    struct join joined; /* what the others said, when this member joined */
    struct service *service;
    struct jwt *jwt; /* NULL: simple tokens */
    struct autocompact *autocompact;
    struct corrupt_check *corrupt_check;
    struct version_duty *version_duty;
    struct trim trim;
    struct metrics metrics;
    struct slow slow;

    struct gateway *gateway;
    struct grpc *grpc;
    struct ops *ops;
    struct client *client, *http_client, *metrics_client; /* of client, client-http, metrics URLs */
    struct peer_door *peer;
    struct peer_answers *peer_answers;
    struct peer_gate *peer_gate;          /* NULL: callers' addresses are not looked at */
    struct peer_gate *metrics_gate;       /* the same, of --listen-metrics-urls */
    struct exchange_handler raft_handler; /* /raft and below */
    struct http1_door client_door, http_door, metrics_door, peer_door;
    struct http2_door *client_http2, *http_http2, *metrics_http2;
    struct port client_port, http_port, metrics_port; /* both framings */
    struct net *net;
    struct tls_context *client_tls, *peer_tls; /* NULL: no certificates */
    struct tls_context *peer_dial_tls;         /* for dialling peers */

    struct loop_timer *tick_timer, *wake_timer;
    struct loop_signal *signals[2];
    uint64_t next_tick_ms;
    uint64_t wake_ms; /* of this turn; UINT64_MAX: none */
    int signal_number;
    enum server_stage stage;
    bool served;              /* clients were answered */
    bool again;               /* begin anew with what is on disk */
    uint64_t linger_until_ms; /* stopping: what others still send here is passed on until then */
    struct err failure;       /* why the loop ended, when nobody asked for it */
};

/* The contexts that the URLs ask for; NULL stays where none does. */
int server_make_tls(struct server *server, struct err *err) MUST_CHECK;
/* Take the addresses of all listen URLs; nobody is answered yet. Needs loop, net and contexts. */
int server_bind(struct server *server, struct err *err) MUST_CHECK;
/* Begin to answer on those of one list. ERR_NET: net_accept() */
int server_accept(struct server *server, enum server_ports kind, const struct link_door *door,
                  struct err *err) MUST_CHECK;
/*
 * Lock the data directory, waiting for another process as etcd does, and open the log and the
 * backend in it: dir, boot, joined and backend. Blocks; needs peer_dial_tls. What was opened is
 * the caller's to close, after a failure too.
 */
int server_open_files(struct server *server, struct err *err) MUST_CHECK;

/* What --auth-token=jwt,... asks for, owned by the caller; simple tokens: *jwt is left alone. */
int server_make_jwt(const struct config *config, struct jwt **jwt, struct err *err) MUST_CHECK;
/* The part of `service` about passwords and simple tokens. */
void server_auth_settings(const struct config *config, struct service_config *service);

/* Do the settings leave it to a registry or DNS who the first members are? */
bool server_discovers(const struct config *config);
/* Ask for it; blocks (discover.h). */
int server_discover(const struct config *config, struct discovered *found,
                    struct err *err) MUST_CHECK;

/* The settings, in a line; and, with the member's id, where it is to be found. */
void server_log_settings(const struct config *config);
void server_log_serving(const struct server *server);
char *server_list_text(const struct option_list *list); /* joined by commas; owned by the caller */

struct ops_env server_ops_env(struct server *server);
struct peer_env server_peer_env(struct server *server);

#endif
