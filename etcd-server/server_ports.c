/*
 * server_ports.c - the addresses that a member listens on (cli.md 1.5).
 *
 * They are taken before the data directory is touched: a start that finds one in use has changed
 * nothing. Each list is answered when what answers it is there. Until then clients wait; peers are
 * refused, for a new member asks the others who they are before it answers anybody: members that
 * start together would wait for one another.
 */
#include "etcd-server/host/process.h"
#include "etcd-server/server_internal.h"

struct port_list {
    const char *name; /* in log lines */
    const struct option_list *urls;
    struct tls_context *tls;
};

static struct port_list list_of(const struct server *server, enum server_ports kind)
{
    const struct config *config = server->config;

    switch (kind) {
    case PORTS_PEER:
        return (struct port_list){"peer", &config->listen_peer_urls, server->peer_tls};
    case PORTS_CLIENT:
        return (struct port_list){"client", &config->listen_client_urls, server->client_tls};
    case PORTS_CLIENT_HTTP:
        return (struct port_list){"client", &config->listen_client_http_urls, server->client_tls};
    case PORTS_METRICS:
        return (struct port_list){"metrics", &config->listen_metrics_urls, server->client_tls};
    case PORTS_KINDS:
        break;
    }
    must(false);
    return (struct port_list){.name = NULL};
}

static int bind_list(struct server *server, enum server_ports kind, struct err *err)
{
    struct port_list list = list_of(server, kind);

    for (size_t i = 0; i < list.urls->count; i++) {
        struct net_listener_config listener = {
            .url = list.urls->items[i],
            .name = list.name,
            .tls = list.tls,
            .of_peers = kind == PORTS_PEER,
            .reuse_port = server->config->socket_reuse_port,
            .reuse_address = server->config->socket_reuse_address,
            .group = kind,
            .refuses = kind == PORTS_PEER,
            .shares = kind == PORTS_CLIENT || kind == PORTS_CLIENT_HTTP};

        if (net_bind(server->net, &listener, err) < 0)
            return -1;
    }
    return 0;
}

/* Whoever comes may not take the descriptors that the log needs for its next segment. */
static int limit_connections(struct server *server, struct err *err)
{
    uint64_t fds = process_raise_fds(), connections;

    if (fds <= FDS_KEPT) {
        err_set(err, ERR_USAGE,
                "the limit of %" PRIu64 " file descriptors is too low: %lu are for files and other "
                "members; raise it (ulimit -n, LimitNOFILE=)",
                fds, FDS_KEPT);
        return -1;
    }
    connections = fds - FDS_KEPT;
    net_limit(server->net, connections, MIN(connections / FDS_FOR_PEERS_SHARE, FDS_FOR_PEERS_MAX));
    return 0;
}

int server_bind(struct server *server, struct err *err)
{
    if (limit_connections(server, err) < 0)
        return -1;
    for (enum server_ports kind = PORTS_PEER; kind < PORTS_KINDS; kind++)
        if (bind_list(server, kind, err) < 0)
            return -1;
    return 0;
}

int server_accept(struct server *server, enum server_ports kind, const struct link_door *door,
                  struct err *err)
{
    struct port_list list = list_of(server, kind);

    if (net_accept(server->net, kind, door, err) < 0)
        return -1;
    for (size_t i = 0; i < list.urls->count; i++)
        log_info("now serving", log_str("listener", list.name),
                 log_str("url", list.urls->items[i]));
    return 0;
}
