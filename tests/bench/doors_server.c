/*
 * doors_server.c - the doors with a toy service behind them, for the end-to-end test and for wrk.
 *
 *     doors_server URL [CERT KEY [CA]]
 *
 * Prints "port N" when it listens; ends on SIGTERM as the server does.
 */
#include "common/base/log.h"
#include "etcd-server/doors/client.h"
#include "etcd-server/doors/http1.h"
#include "etcd-server/host/net.h"
#include "tests/lib/toy_service.h"

#include <signal.h>

struct server {
    struct loop *loop;
    struct net *net;
};

static void stop(void *arg)
{
    struct server *server = arg;

    loop_stop(server->loop);
}

static void on_term(void *arg)
{
    struct server *server = arg;

    net_shutdown(server->net, stop, server);
}

static struct tls_context *make_tls(int argc, char **argv)
{
    struct tls_config config = {.role = TLS_SERVER};
    struct tls_context *context = NULL;
    struct err err = ERR_INIT;

    if (argc < 4)
        return NULL;
    config.cert_file = argv[2];
    config.key_file = argv[3];
    config.ca_file = argc > 4 ? argv[4] : NULL;
    if (tls_context_new(&config, &context, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return context;
}

int main(int argc, char **argv)
{
    static struct toy toy;
    static struct metrics metrics;
    const char *any[] = {"*"};
    struct door_config gateway_config = toy_door_config(&toy, &metrics);
    struct ops_env env = toy_ops_env(&toy, &metrics);
    struct gateway *gateway = gateway_new(&gateway_config);
    struct ops *ops = ops_new(&env);
    struct client_config client_config = {
        .cors = any, .cors_count = 1, .gateway = gateway, .ops = ops};
    struct client *client = client_new(&client_config);
    struct http1_door door;
    struct net_listener_config listener = {.name = "client"};
    struct server server = {.loop = NULL};
    struct loop_signal *signal_watch;
    struct err err = ERR_INIT;
    uint16_t port = 0;

    if (argc < 2 || loop_new(&server.loop, &err) < 0)
        return 2;
    http1_door_init(&door, client_handler(client));
    server.net = net_new(server.loop);
    listener.url = argv[1];
    listener.tls = make_tls(argc, argv);
    listener.door = http1_link_door(&door);
    if (net_listen(server.net, &listener, &port, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    signal_watch = loop_signal_new(server.loop, SIGTERM, on_term, &server);
    (void)printf("port %u\n", port);
    (void)fflush(stdout);
    loop_run(server.loop);
    loop_signal_free(signal_watch);
    net_free(server.net);
    client_free(client);
    gateway_free(gateway);
    ops_free(ops);
    tls_context_free(listener.tls);
    loop_free(server.loop);
    return 0;
}
