/*
 * http2_fuzz.c - any bytes behind the preface, cut into pieces by the first byte: the port must
 * answer or close, and end clean when the connection goes.
 */
#include "etcd-server/doors/client.h"
#include "etcd-server/doors/grpc.h"
#include "tests/lib/toy_link.h"
#include "tests/lib/toy_service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct slice preface =
        SLICE_LITERAL("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
    struct toy toy = {.revision = 0};
    struct metrics *metrics = xalloc(sizeof(*metrics));
    struct door_config calls = toy_door_config(&toy, metrics);
    struct ops_env env = toy_ops_env(&toy, metrics);
    struct client_config config = {.gateway = gateway_new(&calls), .ops = ops_new(&env)};
    struct client *client = client_new(&config);
    struct grpc *door = grpc_new(&calls);
    size_t piece = bytes != 0 ? (size_t)data[0] % 61 + 1 : 1;
    struct toy_link link;

    toy_port_open(&link, client_handler(client), grpc_handler(door));
    toy_link_feed(&link, preface);
    for (size_t at = 1; at < bytes && !link.link.close; at += piece) {
        toy_link_feed(&link, slice_of(data + at, MIN(piece, bytes - at)));
        if (at % 2 == 0)
            (void)toy_link_answer(&link);
    }
    (void)toy_link_answer(&link);
    toy_link_at(&link, UINT64_MAX / 2); /* any deadline has passed */
    if (bytes % 2 == 0)
        link.link.serves->drain(&link.link);
    (void)toy_link_answer(&link);
    toy_link_close(&link);
    client_free(client);
    gateway_free(config.gateway);
    grpc_free(door);
    ops_free(config.ops);
    free(metrics);
    must(toy.sources == 0);
    return 0;
}
