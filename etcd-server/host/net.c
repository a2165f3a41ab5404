/*
 * net.c - see net.h: listeners, accepting, the sweep for deadlines, stopping. Sockets are made in
 * net_socket.c; one connection is net_conn.c.
 *
 *   listener:  net_bind(), who comes waits in the kernel, or is refused -> net_accept()
 */
#include "etcd-server/host/net_internal.h"

#include "common/base/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define SWEEP_MS 1000
#define ACCEPT_PAUSE_MS 1000 /* after running out of descriptors */

void net_tick(struct net *net)
{
    net->clock.now_ms = loop_now_ms();
    net->clock.unix_s = loop_unix_s();
}

static void check_stopped(struct net *net)
{
    if (!net->stopping || net->stopped == NULL || net->conn_count != 0)
        return;
    loop_post(net->loop, net->stopped, net->stopped_arg);
    net->stopped = NULL;
}

static void at_turn_end(void *arg)
{
    struct net *net = arg;

    if (net->changed != NULL)
        net_tick(net);
    while (net->changed != NULL) {
        struct net_conn *conn = net->changed;

        net->changed = conn->next_changed;
        conn->in_changed = false;
        net_conn_flush(conn);
    }
    check_stopped(net);
}

static bool has_room(const struct net_listener *listener)
{
    const struct net *net = listener->net;

    if (listener->connections >= listener->connections_max)
        return false;
    if (net->connections_max == 0)
        return true;
    return net->conn_count < net->connections_max &&
           (listener->of_peers ||
            net->conn_count - net->peer_count < net->connections_max - net->kept_for_peers);
}

/* Go on accepting, when it may. */
static void resume_listener(struct net_listener *listener)
{
    if (!listener->paused || listener->net->stopping || !has_room(listener) ||
        listener->net->clock.now_ms < listener->resume_ms)
        return;
    listener->paused = false;
    loop_fd_want(listener->watch, LOOP_READ);
}

static void on_sweep(void *arg)
{
    struct net *net = arg;
    bool paused = false;

    net_tick(net);
    for (struct net_conn *conn = net->conns; conn != NULL; conn = conn->next) {
        net_conn_sweep(conn);
        if (net->stopping && net->clock.now_ms >= net->stop_at_ms)
            net_conn_kill(conn);
    }
    for (struct net_listener *at = net->listeners; at != NULL; at = at->next) {
        resume_listener(at);
        paused = paused || at->paused;
    }
    net->sweeping = net->conn_count != 0 || paused;
    if (net->sweeping)
        loop_timer_set(net->sweep, net->clock.now_ms + SWEEP_MS);
}

static void start_sweeping(struct net *net)
{
    if (net->sweeping)
        return;
    net->sweeping = true;
    loop_timer_set(net->sweep, net->clock.now_ms + SWEEP_MS);
}

struct net *net_new(struct loop *loop)
{
    struct net *net = xalloc(sizeof(*net));

    net->loop = loop;
    net->scratch = xalloc(NET_SCRATCH_BYTES);
    net->sweep = loop_timer_new(loop, on_sweep, net);
    loop_at_turn_end(loop, LOOP_PHASE_FLUSH, at_turn_end, net);
    net_tick(net);
    return net;
}

void net_limit(struct net *net, size_t connections_max, size_t for_peers)
{
    must(for_peers <= connections_max);
    net->connections_max = connections_max;
    net->kept_for_peers = for_peers;
}

void net_conn_gone(struct net_conn *conn)
{
    struct net_listener *listener = conn->listener;
    struct net *net = listener->net;

    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        net->conns = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    net->conn_count--;
    net->peer_count -= listener->of_peers;
    listener->connections--;
    for (struct net_listener *at = net->listeners; at != NULL; at = at->next)
        resume_listener(at);
}

static void close_listener(struct net_listener *listener)
{
    if (listener->fd < 0)
        return;
    loop_fd_free(listener->watch);
    listener->watch = NULL;
    (void)close(listener->fd);
    listener->fd = -1;
    if (listener->unix_path != NULL)
        (void)unlink(listener->unix_path); /* gone already is as good */
}

void net_close(struct net *net)
{
    if (net == NULL)
        return;
    net->stopping = true;
    net->stopped = NULL;
    for (struct net_conn *conn = net->conns; conn != NULL; conn = conn->next)
        net_conn_kill(conn);
    at_turn_end(net);
    for (struct net_listener *at = net->listeners; at != NULL; at = at->next)
        close_listener(at);
}

void net_free(struct net *net)
{
    struct net_listener *next;

    if (net == NULL)
        return;
    net_close(net);
    for (struct net_listener *at = net->listeners; at != NULL; at = next) {
        next = at->next;
        free(at->rejected_message);
        free(at->place);
        free(at->name);
        free(at->unix_path);
        free(at);
    }
    loop_timer_free(net->sweep);
    free(net->scratch);
    free(net);
}

/* ---- accepting ---- */

static void describe_remote(const struct address *address, char text[NET_REMOTE_BYTES])
{
    char host[ADDRESS_TEXT_BYTES];

    if (!address_host(&address->u.any, host)) {
        (void)snprintf(text, NET_REMOTE_BYTES, "@");
        return;
    }
    (void)snprintf(text, NET_REMOTE_BYTES, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host,
                   address_port(&address->u.any));
}

static void pause_listener(struct net_listener *listener, const char *why, uint64_t pause_ms)
{
    struct net *net = listener->net;

    listener->paused = true;
    listener->resume_ms = net->clock.now_ms + pause_ms;
    loop_fd_want(listener->watch, 0);
    start_sweeping(net);
    log_warn("not accepting connections for now", log_str("endpoint", listener->name),
             log_str("reason", why), log_u64("open", listener->connections),
             log_u64("maximum", net->connections_max != 0
                                    ? MIN(listener->connections_max, net->connections_max)
                                    : listener->connections_max));
}

/* Without them it is only slower, and a client that vanished stays. */
static void set_tcp_options(int fd)
{
    int one = 1, interval_s = TCP_KEEPALIVE_S, probes = TCP_KEEPALIVE_PROBES;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval_s, sizeof(interval_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static void accept_one(struct net_listener *listener, int fd, const struct address *address)
{
    char remote[NET_REMOTE_BYTES];

    describe_remote(address, remote);
    if (address->u.any.sa_family != AF_UNIX)
        set_tcp_options(fd);
    net_conn_open(listener, fd, remote);
}

static void on_accept(void *arg, unsigned ready)
{
    struct net_listener *listener = arg;
    struct address address;

    (void)ready;
    net_tick(listener->net);
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd;

        if (!has_room(listener)) {
            pause_listener(listener, "the maximum of connections is open", 0);
            return;
        }
        address.bytes = sizeof(address.u);
        address.u.any.sa_family = AF_UNIX;
        fd = accept4(listener->fd, &address.u.any, &address.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(listener, fd, &address);
            start_sweeping(listener->net);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_listener(listener, strerror(errno), ACCEPT_PAUSE_MS);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return; /* EAGAIN: all taken */
        }
    }
}

/* ---- listening ---- */

/* The one that already listens where `config` wants to, and shares that; NULL: none. */
static struct net_listener *find_shared(const struct net *net,
                                        const struct net_listener_config *config,
                                        const struct net_place *place)
{
    for (struct net_listener *at = net->listeners; at != NULL && config->shares; at = at->next)
        if (at->shares && at->group == config->group && strcmp(at->place, place->text) == 0)
            return at;
    return NULL;
}

static struct net_listener *listener_new(struct net *net, const struct net_listener_config *config,
                                         const struct net_place *place, int fd)
{
    struct net_listener *listener = xalloc(sizeof(*listener));

    listener->net = net;
    listener->place = xstrdup(place->text);
    listener->group = config->group;
    listener->shares = config->shares;
    listener->name = xstrdup(config->name);
    listener->rejected_message = xasprintf("rejected connection on %s endpoint", config->name);
    listener->fd = fd;
    listener->connections_max =
        config->connections_max != 0 ? config->connections_max : CONNECTIONS_MAX;
    if (place->address.u.any.sa_family == AF_UNIX)
        listener->unix_path = xstrdup(place->address.u.un.sun_path);
    listener->of_peers = config->of_peers;
    listener->refuses = net_refuses(config, place);
    listener->watch = loop_fd_new(net->loop, fd, on_accept, listener);
    listener->next = net->listeners;
    net->listeners = listener;
    return listener;
}

static struct net_listener *bind_listener(struct net *net, const struct net_listener_config *config,
                                          struct err *err)
{
    struct net_listener *listener;
    struct net_place place;
    int fd;

    if (net_place_parse(config->url, &place, err) < 0)
        return NULL;
    if (place.tls && config->tls == NULL) {
        (void)net_bad_url(config->url, "https and unixs need a certificate and its key", err);
        return NULL;
    }
    listener = find_shared(net, config, &place);
    if (listener == NULL) {
        fd = net_socket_open(config, &place, err);
        if (fd < 0)
            return NULL;
        listener = listener_new(net, config, &place, fd);
    }
    if (place.tls)
        listener->tls = config->tls;
    else
        listener->plain = true;
    return listener;
}

static void begin(struct net_listener *listener, const struct link_door *door)
{
    listener->door = *door;
    loop_fd_want(listener->watch, LOOP_READ);
}

int net_bind(struct net *net, const struct net_listener_config *config, struct err *err)
{
    return bind_listener(net, config, err) != NULL ? 0 : -1;
}

int net_accept(struct net *net, unsigned group, const struct link_door *door, struct err *err)
{
    must(!net->stopping);
    for (struct net_listener *at = net->listeners; at != NULL; at = at->next) {
        if (at->group != group)
            continue;
        if (at->refuses && net_socket_listen(at->fd, at->place, err) < 0)
            return -1;
        at->refuses = false;
        begin(at, door);
    }
    return 0;
}

int net_listen(struct net *net, const struct net_listener_config *config, uint16_t *port,
               struct err *err)
{
    struct net_listener *listener;

    must(!config->refuses);
    listener = bind_listener(net, config, err);
    if (listener == NULL)
        return -1;
    begin(listener, &config->door);
    if (port != NULL)
        *port = net_socket_port(listener->fd);
    return 0;
}

/* ---- stopping ---- */

void net_shutdown(struct net *net, loop_fn *done, void *arg)
{
    net_tick(net);
    net->stopping = true;
    net->stopped = done;
    net->stopped_arg = arg;
    net->stop_at_ms = net->clock.now_ms + SHUTDOWN_TIMEOUT_MS;
    for (struct net_listener *at = net->listeners; at != NULL; at = at->next)
        close_listener(at);
    for (struct net_conn *conn = net->conns; conn != NULL; conn = conn->next)
        net_conn_drain(conn);
    start_sweeping(net);
    check_stopped(net);
}

size_t net_connections(const struct net *net)
{
    return net->conn_count;
}

uint64_t net_received_bytes(const struct net *net)
{
    return net->received_bytes;
}

uint64_t net_sent_bytes(const struct net *net)
{
    return net->sent_bytes;
}
