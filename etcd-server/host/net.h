/*
 * net.h (edge) - listeners and connections: sockets and TLS on one side, a link per connection on
 * the other (link.h). Answers of a turn are sent at its end, with one write per connection where
 * the socket takes it; above HTTP_OUT_HIGH_BYTES a door is asked for more only when the client has
 * read. Deadlines and CONNECTIONS_MAX are those of limits.h. Rejected handshakes are logged with
 * their cause. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_NET_H
#define ETCD_SERVER_HOST_NET_H

#include "common/tls/tls.h"
#include "etcd-server/host/link.h"
#include "etcd-server/host/loop.h"

struct net;
struct net *net_new(struct loop *loop) MUST_CHECK; /* owned; borrows the loop */
/* Close whatever is open, for good; what is still posted may run. NULL is fine. */
void net_close(struct net *net);
/* With net_close(); the loop must not run any more. NULL is fine. */
void net_free(struct net *net);

/*
 * The most connections of all listeners together, and how many of these are kept for peers: a
 * descriptor each, and who comes may not take those that files and links need. 0: no limit but the
 * listeners' own.
 */
void net_limit(struct net *net, size_t connections_max, size_t for_peers);

struct net_listener_config {
    const char *url;         /* "http://127.0.0.1:2379", https, unix://PATH, unixs; borrowed */
    const char *name;        /* "client" or "peer": for log lines; borrowed */
    struct tls_context *tls; /* borrowed for the net's life; needed for https and unixs */
    struct link_door door;   /* what serves its connections; net_bind() does not look at it */
    bool reuse_port;         /* --socket-reuse-port */
    bool reuse_address;      /* --socket-reuse-address */
    size_t connections_max;  /* 0: CONNECTIONS_MAX */
    bool of_peers;           /* those that net_limit() keeps for peers are for it */
    unsigned group;          /* net_accept() begins with all of one group */
    bool refuses;            /* until net_accept(): who connects is told at once that nobody is
                                there yet, and does not wait. Not at unix sockets. */
    /* In its group it may be given an address that another one has: that is listened to once, and
     * the first bytes of each connection tell TLS from plain when both schemes are asked for. */
    bool shares;
};

/*
 * Take the address: whoever connects waits in the kernel until net_accept(), and is refused when
 * it does not come to that, or at once where the listener `refuses`. 0.0.0.0 and [::] are every
 * address of the machine, IPv4 and IPv6.
 *
 * errors  ERR_USAGE: the URL; ERR_NET: "listen tcp 127.0.0.1:2379: bind: address already in use"
 */
int net_bind(struct net *net, const struct net_listener_config *config, struct err *err) MUST_CHECK;
/* Accept the connections of a group from the next turn on; `door` serves them. ERR_NET: another
 * process began to listen where this listener refused until now. */
int net_accept(struct net *net, unsigned group, const struct link_door *door,
               struct err *err) MUST_CHECK;

/* Both at once. port: set to the port bound (for port 0), 0 for unix sockets; may be NULL. */
int net_listen(struct net *net, const struct net_listener_config *config, uint16_t *port,
               struct err *err) MUST_CHECK;

/*
 * Stop: accept no more, remove unix sockets, close idle connections, let the others finish their
 * answer. `done` is called when the last one is gone, at the latest after SHUTDOWN_TIMEOUT_MS,
 * never from inside this call.
 */
void net_shutdown(struct net *net, loop_fn *done, void *arg);

size_t net_connections(const struct net *net); /* open now */
uint64_t net_received_bytes(const struct net *net);
uint64_t net_sent_bytes(const struct net *net);

#endif
