/*
 * net.c - see net.h: URLs to sockets, accepting, the sweep for deadlines, stopping. One connection
 * is net_conn.c.
 */
#include "etcd-server/host/net_internal.h"

#include "common/base/limits.h"
#include "common/base/log.h"
#include "etcd-server/host/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define LISTEN_BACKLOG 4096
#define SWEEP_MS 1000
#define ACCEPT_PAUSE_MS 1000 /* after running out of descriptors */

/* Where a listener is. */
struct place {
    struct address address;
    bool tls;
    char text[160]; /* for messages: "tcp 127.0.0.1:2379" */
};

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
        free(at->name);
        free(at->unix_path);
        free(at);
    }
    loop_timer_free(net->sweep);
    free(net->scratch);
    free(net);
}

/* ---- URLs ---- */

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned long number;
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    number = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

static int bad_url(const char *url, const char *why, struct err *err)
{
    err_set(err, ERR_USAGE, "cannot listen on \"%s\": %s", url, why);
    return -1;
}

static int parse_host(const char *url, const char *host_port, struct place *place, struct err *err)
{
    const char *colon = strrchr(host_port, ':');
    char host[INET6_ADDRSTRLEN + 2];
    size_t size;
    uint16_t port;

    if (colon == NULL || !parse_port(colon + 1, &port))
        return bad_url(url, "give an address and a port, as in http://127.0.0.1:2379", err);
    size = (size_t)(colon - host_port);
    if (size >= sizeof(host))
        return bad_url(url, "expected an IP address or localhost", err);
    memcpy(host, host_port, size);
    host[size] = '\0';
    (void)snprintf(place->text, sizeof(place->text), "tcp %s", host_port);
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host[size - 1] = '\0';
        place->address.u.v6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        place->address.bytes = sizeof(place->address.u.v6);
        if (inet_pton(AF_INET6, host + 1, &place->address.u.v6.sin6_addr) == 1)
            return 0;
        return bad_url(url, "what is in the brackets is no IPv6 address", err);
    }
    place->address.u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    place->address.bytes = sizeof(place->address.u.v4);
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                  &place->address.u.v4.sin_addr) == 1)
        return 0;
    return bad_url(url, "expected IP in URL for binding", err);
}

static int parse_url(const char *url, struct place *place, struct err *err)
{
    static const char *const schemes[] = {"http://", "https://", "unix://", "unixs://"};
    const char *rest = NULL;
    size_t scheme;

    *place = (struct place){.tls = false};
    for (scheme = 0; scheme < ARRAY_LEN(schemes); scheme++)
        if (strncmp(url, schemes[scheme], strlen(schemes[scheme])) == 0) {
            rest = url + strlen(schemes[scheme]);
            break;
        }
    if (rest == NULL)
        return bad_url(url, "URL scheme must be http, https, unix, or unixs", err);
    place->tls = scheme % 2 != 0;
    if (scheme < 2)
        return parse_host(url, rest, place, err);
    if (rest[0] == '\0' || strlen(rest) >= sizeof(place->address.u.un.sun_path))
        return bad_url(url, "the path of a unix socket has 1 to 107 bytes", err);
    place->address.u.un.sun_family = AF_UNIX;
    memcpy(place->address.u.un.sun_path, rest, strlen(rest) + 1);
    place->address.bytes = sizeof(place->address.u.un);
    (void)snprintf(place->text, sizeof(place->text), "unix %s", rest);
    return 0;
}

/* ---- accepting ---- */

static void describe_remote(const struct address *address, char text[NET_REMOTE_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->u.any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &address->u.v4.sin_addr, host, sizeof(host));
        (void)snprintf(text, NET_REMOTE_BYTES, "%s:%u", host, ntohs(address->u.v4.sin_port));
    } else if (address->u.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &address->u.v6.sin6_addr, host, sizeof(host));
        (void)snprintf(text, NET_REMOTE_BYTES, "[%s]:%u", host, ntohs(address->u.v6.sin6_port));
    } else {
        (void)snprintf(text, NET_REMOTE_BYTES, "@");
    }
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

static int open_socket(const struct net_listener_config *config, const struct place *place,
                       struct err *err)
{
    const struct address *address = &place->address;
    int family = address->u.any.sa_family, one = 1, fd;
    struct stat status;
    const char *step = "socket";

    fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto failed;
    step = "setsockopt";
    /* Go sets SO_REUSEADDR on every listener: a restart need not wait for old connections. */
    if (family != AF_UNIX && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        goto failed;
    if (config->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
        goto failed;
    if (family == AF_UNIX && lstat(address->u.un.sun_path, &status) == 0 &&
        S_ISSOCK(status.st_mode))
        (void)unlink(address->u.un.sun_path); /* left behind by a kill; bind() tells if not */
    step = "bind";
    if (bind(fd, &address->u.any, address->bytes) < 0)
        goto failed;
    step = "listen";
    if (listen(fd, LISTEN_BACKLOG) < 0)
        goto failed;
    return fd;
failed:
    if (errno == EADDRINUSE) /* in etcd's words: scripts look for them */
        err_set(err, ERR_NET,
                "listen %s: %s: address already in use; another server runs there, or choose "
                "another port",
                place->text, step);
    else
        err_sys(err, errno, "listen %s: %s", place->text, step);
    err->code = ERR_NET;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static uint16_t port_of(int fd)
{
    struct address address = {.bytes = sizeof(address.u)};

    if (getsockname(fd, &address.u.any, &address.bytes) < 0)
        return 0;
    if (address.u.any.sa_family == AF_INET)
        return ntohs(address.u.v4.sin_port);
    return address.u.any.sa_family == AF_INET6 ? ntohs(address.u.v6.sin6_port) : 0;
}

int net_listen(struct net *net, const struct net_listener_config *config, uint16_t *port,
               struct err *err)
{
    struct net_listener *listener;
    struct place place;
    int fd;

    if (parse_url(config->url, &place, err) < 0)
        return -1;
    if (place.tls && config->tls == NULL)
        return bad_url(config->url, "https and unixs need a certificate and its key", err);
    fd = open_socket(config, &place, err);
    if (fd < 0)
        return -1;
    listener = xalloc(sizeof(*listener));
    listener->net = net;
    listener->door = config->door;
    listener->tls = place.tls ? config->tls : NULL;
    listener->name = xstrdup(config->name);
    listener->rejected_message = xasprintf("rejected connection on %s endpoint", config->name);
    listener->fd = fd;
    listener->connections_max =
        config->connections_max != 0 ? config->connections_max : CONNECTIONS_MAX;
    if (place.address.u.any.sa_family == AF_UNIX)
        listener->unix_path = xstrdup(place.address.u.un.sun_path);
    listener->of_peers = config->of_peers;
    listener->watch = loop_fd_new(net->loop, fd, on_accept, listener);
    loop_fd_want(listener->watch, LOOP_READ);
    listener->next = net->listeners;
    net->listeners = listener;
    if (port != NULL)
        *port = port_of(fd);
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
