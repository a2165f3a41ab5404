/*
 * gateway_fixture.h - `fix`, the client port on a toy service with an HTTP/1.1 client at it; made
 * anew for every test. Static functions: include it once per program.
 */
#ifndef TESTS_LIB_GATEWAY_FIXTURE_H
#define TESTS_LIB_GATEWAY_FIXTURE_H

#include "etcd-server/doors/client.h"
#include "tests/lib/toy_link.h"
#include "tests/lib/toy_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static struct {
    struct toy toy;
    struct metrics metrics;
    struct gateway *gateway;
    struct ops *ops;
    struct client *client;
    struct toy_link link;
} fix;

static inline void open_link(void)
{
    toy_link_open(&fix.link, client_handler(fix.client));
}

static inline void open_with(const char *cors, const char *host)
{
    struct door_config gateway_config = toy_door_config(&fix.toy, &fix.metrics);
    struct ops_env env = toy_ops_env(&fix.toy, &fix.metrics);
    struct client_config config = {.cors = &cors, .cors_count = 1, .hosts = &host, .host_count = 1};

    config.gateway = fix.gateway = gateway_new(&gateway_config);
    config.ops = fix.ops = ops_new(&env);
    fix.client = client_new(&config);
    open_link();
}

static inline int set_up(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof(fix));
    open_with("*", "*");
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    toy_link_close(&fix.link);
    client_free(fix.client);
    gateway_free(fix.gateway);
    ops_free(fix.ops);
    assert_int_equal(fix.toy.sources, 0);
    return 0;
}

static inline void again(const char *cors, const char *host)
{
    tear_down(NULL);
    memset(&fix, 0, sizeof(fix));
    open_with(cors, host);
}

static inline void ask(const char *method, const char *path, const char *fields, struct slice body)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);

    toy_link_forget(&fix.link);
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: toy:2379\r\n%sContent-Length: %zu\r\n\r\n", method,
               path, fields, body.size);
    buf_append_slice(&text, body);
    toy_link_feed(&fix.link, buf_slice(&text));
    buf_free(&text);
}

static inline const char *post(const char *path, const char *body)
{
    ask("POST", path, "", slice_text(body));
    return toy_link_answer(&fix.link);
}

static inline void has(const char *answer, const char *part)
{
    if (strstr(answer, part) == NULL)
        fail_msg("no %s in\n%s", part, answer);
}

static inline void lacks(const char *answer, const char *part)
{
    if (strstr(answer, part) != NULL)
        fail_msg("%s in\n%s", part, answer);
}

#define PUT "{\"key\":\"YQ==\",\"value\":\"Yg==\"}"
#define HEADER(revision)                                                                           \
    "\"header\":{\"cluster_id\":\"3220502729976901414\",\"member_id\":\"10601487386321235570\","   \
    "\"revision\":\"" revision "\",\"raft_term\":\"2\"}"

static inline size_t count(const char *text, const char *part)
{
    const char *end = text + strlen(text);
    size_t found = 0;

    for (; (text = memmem(text, (size_t)(end - text), part, strlen(part))) != NULL; found++)
        text += strlen(part);
    return found;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
