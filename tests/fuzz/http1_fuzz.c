/*
 * http1_fuzz.c - any bytes as what a client sends to the client port, cut into pieces by the first
 * byte. The same bytes in one piece must be answered with the same bytes.
 */
#include "etcd-server/doors/client.h"
#include "tests/lib/toy_link.h"
#include "tests/lib/toy_service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct door_port {
    struct toy toy;
    struct metrics metrics;
    struct gateway *gateway;
    struct ops *ops;
    struct client *client;
    struct toy_link link;
};

static void open_door(struct door_port *port)
{
    struct door_config gateway_config = toy_door_config(&port->toy, &port->metrics);
    struct ops_env env = toy_ops_env(&port->toy, &port->metrics);
    static const char *const any[] = {"*"};
    struct client_config config = {.cors = any, .cors_count = 1};

    config.gateway = port->gateway = gateway_new(&gateway_config);
    config.ops = port->ops = ops_new(&env);
    port->client = client_new(&config);
    toy_link_open(&port->link, client_handler(port->client));
}

static void close_door(struct door_port *port)
{
    toy_link_close(&port->link);
    client_free(port->client);
    gateway_free(port->gateway);
    ops_free(port->ops);
    must(port->toy.sources == 0);
}

static bool says(struct door_port *port, const char *words)
{
    return strstr(buf_text(&port->link.got), words) != NULL;
}

/* Of two faults in one header or body the piece decides which is seen first; metrics count
 * themselves. */
static bool may_differ(struct door_port *whole, struct door_port *cut)
{
    return says(whole, "400 Bad Request: ") || says(whole, "# TYPE ") ||
           (says(whole, "{\"error\":") && says(cut, "400 Bad Request: "));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct door_port *whole = xalloc(sizeof(*whole)), *cut = xalloc(sizeof(*cut));
    size_t piece = bytes != 0 ? (size_t)data[0] % 61 + 1 : 1;

    open_door(whole);
    open_door(cut);
    toy_link_feed(&whole->link, slice_of(data, bytes));
    toy_link_answer(&whole->link);
    for (size_t at = 0; at < bytes; at += piece) {
        toy_link_feed(&cut->link, slice_of(data + at, MIN(piece, bytes - at)));
        toy_link_answer(&cut->link);
    }
    must(slice_equal(buf_slice(&whole->link.got), buf_slice(&cut->link.got)) ||
         may_differ(whole, cut));
    must(whole->link.link.close == cut->link.link.close);
    close_door(whole);
    close_door(cut);
    free(whole);
    free(cut);
    return 0;
}
