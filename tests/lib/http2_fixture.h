/*
 * http2_fixture.h - `fix`, the client port's two doors on a toy service, with an HTTP/2 client at
 * it; made anew for every test. Static functions: include it once per program.
 */
#ifndef TESTS_LIB_HTTP2_FIXTURE_H
#define TESTS_LIB_HTTP2_FIXTURE_H

#include "etcd-server/doors/client.h"
#include "etcd-server/doors/grpc.h"
#include "tests/lib/h2_client.h"
#include "tests/lib/toy_service.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define KV "/etcdserverpb.KV/"
#define PUT_BYTES                                                                                  \
    "\x0a\x01"                                                                                     \
    "a"                                                                                            \
    "\x12\x01"                                                                                     \
    "b"
static const struct slice put_ab = SLICE_LITERAL(PUT_BYTES);

static struct {
    struct toy toy;
    struct metrics metrics;
    struct gateway *gateway;
    struct grpc *grpc;
    struct ops *ops;
    struct client *client;
    struct toy_link link;
    struct h2_client h2;
} fix;

static inline int set_up_with(int32_t window_bytes)
{
    struct door_config config;
    struct ops_env env;
    struct client_config client = {.cors_count = 0};

    memset(&fix, 0, sizeof(fix));
    config = toy_door_config(&fix.toy, &fix.metrics);
    env = toy_ops_env(&fix.toy, &fix.metrics);
    client.gateway = fix.gateway = gateway_new(&config);
    client.ops = fix.ops = ops_new(&env);
    fix.grpc = grpc_new(&config);
    fix.client = client_new(&client);
    toy_port_open(&fix.link, client_handler(fix.client), grpc_handler(fix.grpc));
    h2_open(&fix.h2, &fix.link, window_bytes);
    return 0;
}

static inline int set_up(void **state)
{
    (void)state;
    return set_up_with(65535);
}

static inline int tear_down(void **state)
{
    (void)state;
    h2_close(&fix.h2);
    toy_link_close(&fix.link);
    client_free(fix.client);
    gateway_free(fix.gateway);
    grpc_free(fix.grpc);
    ops_free(fix.ops);
    assert_int_equal(fix.toy.sources, 0);
    return 0;
}

static inline void has(struct h2_call *call, const char *line)
{
    if (!h2_has(call, line))
        fail_msg("no %s in\n%s", line, buf_text(&call->head));
}

static inline struct h2_call *grpc(const char *path, struct slice message)
{
    struct h2_call *call = h2_grpc(&fix.h2, path, NULL, NULL, message, true);

    h2_run(&fix.h2);
    assert_true(call->closed);
    return call;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
