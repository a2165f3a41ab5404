/*
 * fetch_test.c - one request and its answer against a peer that says what the test wants, plain and
 * TLS: framings, limits, the deadline, the words of each failure. Every wait has a bound.
 */
#include "common/client/fetch.h"
#include "common/base/limits.h"
#include "tests/lib/certs.h"
#include "tests/lib/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static struct fetch get(const struct http_peer *peer)
{
    return (struct fetch){.method = "GET",
                          .url = peer->url,
                          .path = "/members",
                          .timeout_ms = HTTP_PEER_WAIT_MS,
                          .answer_max_bytes = 100};
}

static void expect_body(const char *answer, unsigned status, const char *body)
{
    struct fetch_answer got = {0};
    struct err err = ERR_INIT;
    struct http_peer peer;
    struct fetch question;

    http_peer_start(&peer, answer, NULL);
    question = get(&peer);
    if (fetch(&question, &got, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(got.status, status);
    assert_string_equal(buf_text(&got.body), body);
    fetch_answer_free(&got);
    http_peer_stop(&peer);
}

static void expect_failure(const char *answer, uint64_t timeout_ms, const char *cause)
{
    struct fetch_answer got = {0};
    struct err err = ERR_INIT;
    struct http_peer peer;
    struct fetch question;

    http_peer_start(&peer, answer, NULL);
    question = get(&peer);
    question.timeout_ms = timeout_ms;
    assert_int_equal(fetch(&question, &got, &err), -1);
    assert_int_equal(err.code, ERR_NET);
    if (strncmp(err.text, peer.url, strlen(peer.url)) != 0 || strstr(err.text, cause) == NULL)
        fail_msg("%s: not: %s", cause, err.text);
    http_peer_stop(&peer);
}

static void reads_every_framing(void **state)
{
    (void)state;
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", 200, "[]");
    expect_body(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n", 200,
        "[]");
    expect_body("HTTP/1.0 404 Not Found\r\n\r\nuntil the end", 404, "until the end");
    expect_body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
                201, "x");
    expect_body("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
}

static void tells_what_is_no_answer(void **state)
{
    char fields[2 * HTTP_HEADER_MAX_BYTES];
    char large[256];

    (void)state;
    expect_failure("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]", HTTP_PEER_WAIT_MS,
                   "closed before all");
    expect_failure("", HTTP_PEER_WAIT_MS, "closed before all");
    expect_failure("SSH-2.0-OpenSSH\r\n", HTTP_PEER_WAIT_MS, "read the answer: ");
    (void)snprintf(large, sizeof(large), "HTTP/1.1 200 OK\r\n\r\n%0200d", 1);
    expect_failure(large, HTTP_PEER_WAIT_MS, "more than 100 bytes of body");
    (void)snprintf(fields, sizeof(fields), "HTTP/1.1 200 OK\r\nA: %070000d\r\n\r\n", 1);
    expect_failure(fields, HTTP_PEER_WAIT_MS, "more than 65536 bytes of header");
    expect_failure(NULL, 500, "read the answer: not done in time (i/o timeout)");
}

static void sends_what_it_is_told(void **state)
{
    struct fetch_answer got = {0};
    struct err err = ERR_INIT;
    struct http_peer peer;
    struct fetch question;
    char *url;

    (void)state;
    http_peer_start(
        &peer, "HTTP/1.1 200 OK\r\nX-Raft-Index: 7\r\nx-etcd-cluster-id:  beef \r\n\r\n", NULL);
    url = xasprintf("%s/v2/keys/x?wait=true#part", peer.url);
    question = get(&peer);
    question.method = "PUT";
    question.url = url;
    question.path = NULL;
    question.content_type = "application/x-www-form-urlencoded";
    question.fields = "X-One: 1\r\n";
    question.body = SLICE_LITERAL("value=a");
    assert_int_equal(fetch(&question, &got, &err), 0);
    http_peer_stop(&peer);
    assert_memory_equal(peer.got, "PUT /v2/keys/x?wait=true HTTP/1.1\r\nHost: 127.0.0.1:", 51);
    assert_non_null(strstr(peer.got, "\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
    assert_non_null(strstr(peer.got, "\r\nX-One: 1\r\n"));
    assert_non_null(strstr(peer.got, "\r\n\r\nvalue=a"));
    assert_true(slice_equal(fetch_field(&got, "X-Etcd-Cluster-ID"), SLICE_LITERAL("beef")));
    assert_true(slice_equal(fetch_field(&got, "x-raft-index"), SLICE_LITERAL("7")));
    assert_int_equal(fetch_field(&got, "X-Raft").size, 0);
    fetch_answer_free(&got);
    free(url);
}

static void expect_refusal(const char *url, enum err_code code, const char *cause)
{
    struct fetch question = {.method = "GET", .url = url, .timeout_ms = 20000};
    struct fetch_answer got = {0};
    struct err err = ERR_INIT;

    assert_int_equal(fetch(&question, &got, &err), -1);
    if (err.code != code || strstr(err.text, cause) == NULL)
        fail_msg("%s: not: %s", cause, err.text);
}

static void tells_why_there_is_no_connection(void **state)
{
    char name[300] = "http://", path[300] = "unix:///";
    struct http_peer peer;

    (void)state;
    http_peer_start(&peer, NULL, NULL);
    http_peer_stop(&peer); /* nobody listens there now */
    expect_refusal(peer.url, ERR_NET, "connect: Connection refused");
    expect_refusal("unix:///nosuch/socket", ERR_NET, "connect: No such file");
    expect_refusal("http://nosuch.invalid/x", ERR_NET, "look up the host: ");
    expect_refusal("http://[::1", ERR_USAGE, "host:port");
    expect_refusal("http://a b/", ERR_USAGE, "blank");
    expect_refusal("http://a:1/a b", ERR_USAGE, "blank");
    expect_refusal("http://me@a/", ERR_USAGE, "URL must be");
    expect_refusal("ftp://a/", ERR_USAGE, "scheme");
    expect_refusal("a:1", ERR_USAGE, "scheme");
    expect_refusal("https://a:1", ERR_USAGE, "needs TLS");
    memset(name + 7, 'a', sizeof(name) - 8);
    expect_refusal(name, ERR_NET, "look up the host: ");
    memset(path + 8, 'a', sizeof(path) - 9);
    expect_refusal(path, ERR_NET, "connect: File name too long");
}

static struct tls_context *context(enum tls_role role, const struct test_pair *pair,
                                   const char *ca_file)
{
    struct tls_config config = {.role = role,
                                .cert_file = pair != NULL ? pair->cert_file : NULL,
                                .key_file = pair != NULL ? pair->key_file : NULL,
                                .ca_file = ca_file};
    struct tls_context *made;
    struct err err = ERR_INIT;

    if (tls_context_new(&config, &made, &err) < 0)
        fail_msg("%s", err.text);
    return made;
}

/* What a TLS exchange comes to: the body, or the error's text. */
static void expect_tls(struct tls_context *server, struct tls_context *client, const char *outcome)
{
    struct fetch_answer got = {0};
    struct err err = ERR_INIT;
    struct http_peer peer;
    struct fetch question;

    http_peer_start(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsealed", server);
    question = get(&peer);
    question.tls = client;
    if (fetch(&question, &got, &err) == 0) {
        assert_string_equal(buf_text(&got.body), outcome);
    } else {
        assert_int_equal(err.code, ERR_TLS);
        if (strstr(err.text, peer.url) == NULL || strstr(err.text, outcome) == NULL)
            fail_msg("%s: not: %s", outcome, err.text);
    }
    fetch_answer_free(&got);
    http_peer_stop(&peer);
}

static void speaks_tls(void **state)
{
    char *directory = test_directory();
    struct test_leaf ca_leaf = {.name = "ca", .cn = "ca", .ca = true};
    struct test_pair ca = test_pair_make(directory, &ca_leaf);
    struct test_leaf stranger_leaf = {.name = "stranger", .cn = "stranger", .ca = true};
    struct test_pair stranger = test_pair_make(directory, &stranger_leaf);
    struct test_leaf leaf = {
        .name = "server", .sans = "127.0.0.1", .usages = X509_SERVER | X509_CLIENT, .issuer = &ca};
    struct test_pair server = test_pair_make(directory, &leaf);
    struct tls_context *trusting = context(TLS_CLIENT, NULL, ca.cert_file);
    struct tls_context *shown = context(TLS_CLIENT, &server, ca.cert_file);
    struct tls_context *other = context(TLS_CLIENT, NULL, stranger.cert_file);
    struct tls_context *open = context(TLS_SERVER, &server, NULL);
    struct tls_context *strict = context(TLS_SERVER, &server, ca.cert_file);

    (void)state;
    expect_tls(open, trusting, "sealed");
    expect_tls(strict, shown, "sealed");
    expect_tls(strict, trusting, "certificate"); /* the verdict comes with the first read */
    expect_tls(open, other, "unknown authority");
    tls_context_free(trusting);
    tls_context_free(shown);
    tls_context_free(other);
    tls_context_free(open);
    tls_context_free(strict);
    test_pair_free(&server);
    test_pair_free(&ca);
    test_pair_free(&stranger);
    test_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_framing),
        cmocka_unit_test(tells_what_is_no_answer),
        cmocka_unit_test(sends_what_it_is_told),
        cmocka_unit_test(tells_why_there_is_no_connection),
        cmocka_unit_test(speaks_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
