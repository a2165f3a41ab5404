/*
 * transport_test.c - both kinds of transport against the same peers, plain and TLS: they have to
 * read the same answers and to blame the same causes, word for word where the words are ours.
 * Every wait has a bound.
 */
#include "common/client/transport.h"
#include "tests/lib/certs.h"
#include "tests/lib/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#define ANSWERS_MAX 3 /* a question, and what a second look asks */
#define LIMIT_MS 20000

static const struct transport_kind *const kinds[] = {&transport_curl, &transport_direct};

struct question {                     /* what is asked, and of whom */
    const char *answers[ANSWERS_MAX]; /* of the peer, one for each connection; NULL: it is silent */
    struct tls_context *peer_tls;
    const char *endpoint; /* NULL: the peer's */
    const char *host;     /* that the certificate is for; NULL: the endpoint's */
    bool plain;           /* to a peer with TLS; or the reverse */
    int64_t timeout_ms;
    bool stream;
    const char *accept;
    struct transport_options options;
};

struct outcome { /* what came of it */
    enum transport_result result;
    struct err err;
    struct client_failure failure;
    long status;
    struct client_octets octets;
    struct buf body;
    size_t in_room; /* bytes that came to lie where room() said */
    uint8_t room[16];
    char asked[4096]; /* what the peer was asked */
};

static bool take(void *arg, long status, struct slice piece)
{
    struct outcome *outcome = arg;

    assert_true(status != 0 && piece.size != 0);
    outcome->in_room +=
        piece.data >= outcome->room && piece.data < outcome->room + sizeof(outcome->room)
            ? piece.size
            : 0;
    return buf_append_slice(&outcome->body, piece);
}

static uint8_t *give_room(void *arg, size_t *bytes)
{
    struct outcome *outcome = arg;

    *bytes = sizeof(outcome->room);
    return outcome->room;
}

static void ask(const struct transport_kind *kind, const struct question *question,
                struct outcome *outcome)
{
    struct http_peer peer;
    struct transport *transport;
    struct endpoint endpoint;
    struct exchange exchange = {.endpoint = &endpoint,
                                .path = "/v3/kv/range",
                                .body = SLICE_LITERAL("{\"key\":\"AA==\"}"),
                                .token = "secret",
                                .accept = question->accept,
                                .timeout_ms = question->timeout_ms,
                                .stream = question->stream,
                                .chunk = take,
                                .room = give_room,
                                .arg = outcome};
    bool tls = (question->peer_tls != NULL) != question->plain;
    char *url;

    *outcome = (struct outcome){.err = ERR_INIT, .body = BUF_INIT(1 << 20)};
    http_peer_start_answers(&peer, question->answers, ANSWERS_MAX, question->peer_tls);
    url = xasprintf("%s%s", tls ? "https" : "http", strchr(peer.url, ':'));
    assert_int_equal(
        endpoint_parse(slice_text(question->endpoint != NULL ? question->endpoint : url), false,
                       &endpoint, &outcome->err),
        0);
    if (question->host != NULL) {
        free(endpoint.host);
        endpoint.host = xstrdup(question->host);
    }
    if (transport_new(kind, &question->options, &transport, &outcome->failure, &outcome->err) < 0)
        fail_msg("%s", outcome->err.text);
    outcome->result = transport_exchange(transport, &exchange, &outcome->failure, &outcome->err);
    outcome->status = exchange.status;
    outcome->octets = exchange.octets;
    transport_free(transport);
    http_peer_stop(&peer);
    memcpy(outcome->asked, peer.got, sizeof(outcome->asked));
    endpoint_free(&endpoint);
    free(url);
}

static struct question plain_question(const char *answer)
{
    return (struct question){.answers = {answer, answer, answer},
                             .timeout_ms = LIMIT_MS,
                             .options = {.dial_timeout_ms = LIMIT_MS}};
}

/* ---- answers ---- */

static void expect_body(const char *answer, long status, const char *body)
{
    struct question question = plain_question(answer);

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct outcome outcome;

        ask(kinds[i], &question, &outcome);
        if (outcome.result != TRANSPORT_ANSWERED)
            fail_msg("%zu: %s", i, outcome.err.text);
        assert_int_equal(outcome.status, status);
        assert_string_equal(buf_text(&outcome.body), body);
        buf_free(&outcome.body);
    }
}

static void both_read_every_framing(void **state)
{
    (void)state;
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}");
    expect_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n"
                "0\r\n\r\n",
                200, "{}");
    expect_body("HTTP/1.1 503 No\r\nConnection: close\r\n\r\nuntil the end", 503, "until the end");
    expect_body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}", 400,
                "{}");
    expect_body("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
}

static void both_ask_the_same(void **state)
{
    struct question question = plain_question("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    static const char *const lines[] = {"POST /v3/kv/range HTTP/1.1\r\n",
                                        "\r\nHost: 127.0.0.1:",
                                        "\r\nContent-Type: application/json\r\n",
                                        "\r\nAuthorization: secret\r\n",
                                        "\r\nAccept: application/octet-stream\r\n",
                                        "\r\nTE: trailers\r\n",
                                        "\r\nContent-Length: 14\r\n",
                                        "\r\n\r\n{\"key\":\"AA==\"}"};

    (void)state;
    question.accept = "application/octet-stream";
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct outcome outcome;

        ask(kinds[i], &question, &outcome);
        for (size_t j = 0; j < ARRAY_LEN(lines); j++)
            if (strstr(outcome.asked, lines[j]) == NULL)
                fail_msg("%zu: no %s in %s", i, lines[j], outcome.asked);
        buf_free(&outcome.body);
    }
}

/* 40 bytes in two chunks; the digest is that of nothing, who receives compares it. */
static void both_hear_of_octets(void **state)
{
    struct question question = plain_question(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nSnapshot-Length: 40\r\n"
        "Trailer: X, Content-Digest\r\nTransfer-Encoding: chunked\r\n\r\n"
        "14\r\n01234567890123456789\r\n14\r\nabcdefghijklmnopqrst\r\n0\r\n"
        "Content-Digest: crc32c=:AQIDBA==:\r\n\r\n");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct outcome outcome;

        ask(kinds[i], &question, &outcome);
        assert_int_equal(outcome.result, TRANSPORT_ANSWERED);
        assert_string_equal(buf_text(&outcome.body), "01234567890123456789abcdefghijklmnopqrst");
        assert_true(outcome.octets.given && outcome.octets.crc_announced);
        assert_int_equal(outcome.octets.length, 40);
        assert_true(outcome.octets.crc_came);
        assert_int_equal(outcome.octets.crc, 0x01020304);
        buf_free(&outcome.body);
    }
}

/* A body that comes after its head is read to where it belongs, no more than there is room for. */
static void direct_reads_into_the_room(void **state)
{
    struct buf answer = BUF_INIT(BUF_UNLIMITED);
    struct question question;
    struct outcome outcome;

    (void)state;
    buf_append_text(&answer, "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n");
    for (unsigned i = 0; i < 20000; i++)
        buf_append_byte(&answer, (uint8_t)('a' + i % 26));
    question = plain_question(buf_text(&answer));
    ask(&transport_direct, &question, &outcome);
    assert_int_equal(outcome.result, TRANSPORT_ANSWERED);
    assert_int_equal(buf_used(&outcome.body), 20000);
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(outcome.body.data[i], 'a' + i % 26);
    assert_true(outcome.in_room > 15000);
    buf_free(&outcome.body);
    buf_free(&answer);
}

/* ---- causes ---- */

static void expect_cause(const struct question *question, enum transport_result result,
                         enum client_failure_kind failure, const char *cause, const char *hint)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct outcome outcome;

        ask(kinds[i], question, &outcome);
        if (outcome.result != result || outcome.failure.kind != failure)
            fail_msg("%zu: result %d, kind %d: %s", i, (int)outcome.result,
                     (int)outcome.failure.kind, outcome.err.text);
        if (strstr(outcome.err.text, cause) == NULL || strstr(outcome.failure.hint, hint) == NULL)
            fail_msg("%zu: not: %s / %s: %s / %s", i, cause, hint, outcome.err.text,
                     outcome.failure.hint);
        buf_free(&outcome.body);
    }
}

static void both_tell_why_there_is_no_answer(void **state)
{
    struct question question = plain_question("");
    char *stranger;
    struct http_peer nobody;

    (void)state;
    expect_cause(&question, TRANSPORT_UNSURE, CLIENT_FAILURE_CONNECT,
                 "the connection ended before the answer was complete", "look at its log");
    question = plain_question("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]");
    expect_cause(&question, TRANSPORT_UNSURE, CLIENT_FAILURE_CONNECT,
                 "the connection ended before the answer was complete", "look at its log");
    question = plain_question("SSH-2.0-OpenSSH\r\n");
    expect_cause(&question, TRANSPORT_UNSURE, CLIENT_FAILURE_CONNECT,
                 "what listens there does not speak HTTP", "client port");
    question = plain_question(NULL);
    question.timeout_ms = 500;
    expect_cause(&question, TRANSPORT_UNSURE, CLIENT_FAILURE_TIMEOUT, "for the server's answer",
                 "--command-timeout");
    question.stream = true;
    expect_cause(&question, TRANSPORT_UNSURE, CLIENT_FAILURE_TIMEOUT, "for the server's answer",
                 "--command-timeout");
    http_peer_start(&nobody, NULL, NULL);
    http_peer_stop(&nobody);
    stranger = nobody.url;
    question = plain_question("");
    question.endpoint = stranger;
    expect_cause(&question, TRANSPORT_PASSING, CLIENT_FAILURE_CONNECT, "connection refused",
                 "Start the server");
    question.endpoint = "unix:///nosuch/socket";
    expect_cause(&question, TRANSPORT_PASSING, CLIENT_FAILURE_CONNECT,
                 "cannot connect to the socket /nosuch/socket: No such file",
                 "--listen-client-urls");
    question.endpoint = "nosuch.invalid:2379";
    expect_cause(&question, TRANSPORT_NOT_SENT, CLIENT_FAILURE_CONNECT,
                 "unknown host \"nosuch.invalid\"", "--endpoints");
}

struct pki {
    char *directory;
    struct test_pair ca, stranger, server, old, client;
};

static void pki_make(struct pki *pki)
{
    char *directory = pki->directory = test_directory();
    const struct test_leaf ca = {.name = "ca", .cn = "ca", .ca = true};
    const struct test_leaf stranger = {.name = "stranger", .cn = "stranger", .ca = true};

    pki->ca = test_pair_make(directory, &ca);
    pki->stranger = test_pair_make(directory, &stranger);
    const struct test_leaf server = {.name = "server",
                                     .cn = "server",
                                     .sans = "127.0.0.1,localhost",
                                     .usages = X509_SERVER,
                                     .issuer = &pki->ca};
    const struct test_leaf old = {.name = "old",
                                  .cn = "old",
                                  .sans = "127.0.0.1",
                                  .usages = X509_SERVER,
                                  .from_s = -7200,
                                  .until_s = -3600,
                                  .issuer = &pki->ca};
    const struct test_leaf client = {
        .name = "client", .cn = "client", .usages = X509_CLIENT, .issuer = &pki->stranger};

    pki->server = test_pair_make(directory, &server);
    pki->old = test_pair_make(directory, &old);
    pki->client = test_pair_make(directory, &client);
}

static void pki_free(struct pki *pki)
{
    test_pair_free(&pki->ca);
    test_pair_free(&pki->stranger);
    test_pair_free(&pki->server);
    test_pair_free(&pki->old);
    test_pair_free(&pki->client);
    test_remove(pki->directory);
}

static struct tls_context *server_context(const struct test_pair *pair, const char *ca_file)
{
    struct tls_config config = {.role = TLS_SERVER,
                                .cert_file = pair->cert_file,
                                .key_file = pair->key_file,
                                .ca_file = ca_file};
    struct tls_context *made;
    struct err err = ERR_INIT;

    if (tls_context_new(&config, &made, &err) < 0)
        fail_msg("%s", err.text);
    return made;
}

static void expect_tls_cause(struct question *question, const char *cause, const char *hint)
{
    expect_cause(question, TRANSPORT_NOT_SENT, CLIENT_FAILURE_CONNECT, cause, hint);
}

static void both_tell_what_is_wrong_with_tls(void **state)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    struct pki pki;
    struct question question = plain_question(answer);
    struct tls_context *open, *strict, *expired;
    struct outcome outcome;

    (void)state;
    pki_make(&pki);
    open = server_context(&pki.server, NULL);
    strict = server_context(&pki.server, pki.ca.cert_file);
    expired = server_context(&pki.old, NULL);
    question.peer_tls = open;
    question.options.cacert = pki.ca.cert_file;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        ask(kinds[i], &question, &outcome);
        if (outcome.result != TRANSPORT_ANSWERED)
            fail_msg("%zu: %s", i, outcome.err.text);
        assert_string_equal(buf_text(&outcome.body), "{}");
        buf_free(&outcome.body);
    }
    question.host = "elsewhere";
    expect_tls_cause(&question,
                     "the server's certificate (CN=server) is not valid for \"elsewhere\", only "
                     "for localhost, 127.0.0.1",
                     "among its SANs");
    question.options.skip_verify = true;
    ask(&transport_direct, &question, &outcome);
    assert_int_equal(outcome.result, TRANSPORT_ANSWERED);
    buf_free(&outcome.body);
    question.options.skip_verify = false;
    question.host = NULL;
    question.options.cacert = pki.stranger.cert_file;
    expect_tls_cause(&question, "certificate signed by unknown authority", "--cacert");
    question.options.cacert = pki.ca.cert_file;
    question.peer_tls = expired;
    expect_tls_cause(&question, "the server's certificate (CN=old) expired at ", "Renew it");
    question.peer_tls = strict;
    expect_tls_cause(&question, "the server wants a client certificate and none was given",
                     "--cert and --key");
    question.options.cert = pki.client.cert_file;
    question.options.key = pki.client.key_file;
    expect_tls_cause(&question, "the server refused the client certificate ",
                     "issued by CN=stranger");
    question.options.cert = question.options.key = NULL;
    question.peer_tls = NULL;
    question.plain = true; /* the reverse: TLS to a peer without it */
    expect_tls_cause(&question, "TLS was spoken to a server that speaks plain HTTP", "http://");
    question.peer_tls = open;
    question.options.cacert = NULL;
    expect_tls_cause(&question, "plain HTTP was spoken to a server that wants TLS", "https://");
    tls_context_free(open);
    tls_context_free(strict);
    tls_context_free(expired);
    pki_free(&pki);
}

static void expect_no_transport(const struct question *question, const char *cause)
{
    struct client_failure failure = {0};
    struct transport *transport;
    struct err err = ERR_INIT;

    assert_int_equal(transport_new(kinds[0], &question->options, &transport, &failure, &err), -1);
    if (strstr(err.text, cause) == NULL)
        fail_msg("%s", err.text);
}

/* A server's certificate by hand, as openssl(1) makes them: below `ca`, with those extensions. */
static struct test_pair by_hand(const struct pki *pki, const struct test_pair *ca, const char *name,
                                const char *extensions)
{
    struct test_pair made = {.cert_file = test_path(pki->directory, name)};
    char *ext = xasprintf("%s.ext", made.cert_file);

    made.key_file = xasprintf("%s.key", made.cert_file);
    test_write(ext, slice_text(extensions));
    test_run("openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s "
             "-subj /CN=%s | openssl x509 -req -CA %s -CAkey %s -set_serial 5 -extfile %s -out %s",
             made.key_file, name, ca->cert_file, ca->key_file, ext, made.cert_file);
    free(ext);
    return made;
}

static void expect_served(struct question *question)
{
    struct outcome outcome;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        ask(kinds[i], question, &outcome);
        if (outcome.result != TRANSPORT_ANSWERED)
            fail_msg("%s, %zu: %s", question->host, i, outcome.err.text);
        buf_free(&outcome.body);
    }
}

/* Names with a wildcard of two labels, several CAs of a name, a renewed one, none: pki.md 2.6. */
static void both_judge_as_go_does(void **state)
{
    struct pki pki;
    struct question question = plain_question("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    struct test_pair same, hand;
    char *bundle, *renewed, *nothing, *with_key;

    (void)state;
    pki_make(&pki);
    same =
        test_pair_make(pki.directory, &(struct test_leaf){.name = "same", .cn = "ca", .ca = true});
    hand = by_hand(&pki, &pki.ca, "hand.crt",
                   "subjectAltName=DNS:*.lan,DNS:*.etcd.svc\n"
                   "authorityKeyIdentifier=issuer:always\nkeyUsage=nonRepudiation\n");
    question.peer_tls = server_context(&hand, NULL);
    question.options.cacert = pki.ca.cert_file;
    question.host = "m1.lan";
    expect_served(&question);
    question.host = "Host_1.etcd.svc.";
    expect_served(&question);
    question.host = "a.m1.lan";
    expect_tls_cause(&question, "not valid for \"a.m1.lan\", only for *.lan", "--endpoints");
    question.host = "m1.lan";
    renewed = test_path(pki.directory, "renewed.crt"); /* same key and name, another serial */
    test_run("openssl x509 -in %s -signkey %s -set_serial 77 -days 30 -out %s", pki.ca.cert_file,
             pki.ca.key_file, renewed);
    question.options.cacert = renewed;
    expect_served(&question);
    tls_context_free(question.peer_tls);
    test_pair_free(&hand);
    hand = by_hand(&pki, &pki.ca, "bare.crt", "subjectAltName=DNS:*.lan\n");
    question.peer_tls = server_context(&hand, NULL);
    bundle = test_path(pki.directory, "bundle.crt");
    test_run("cat %s %s > %s", same.cert_file, pki.ca.cert_file, bundle);
    question.options.cacert = bundle;
    expect_served(&question);
    test_run(
        "cd %s && printf '[req]\\nstring_mask=utf8only\\ndistinguished_name=d\\n[d]\\n[v3]\\n"
        "basicConstraints=CA:TRUE\\n' > r.cnf && openssl req -config r.cnf -extensions v3 -x509 "
        "-new -key %s -subj /CN=ca -days 30 -out r.crt && cat r.crt %s > %s",
        pki.directory, pki.ca.key_file, pki.ca.cert_file, bundle);
    expect_served(&question); /* one key, the name in two types of string */
    nothing = test_path(pki.directory, "nothing.crt");
    test_write(nothing, SLICE_LITERAL("no certificate"));
    question.options.cacert = nothing;
    expect_tls_cause(&question, "nothing.crt holds no certificate in PEM form", "--cacert");
    with_key = test_path(pki.directory, "with-key.crt");
    test_run("cat %s %s > %s", pki.ca.cert_file, pki.ca.key_file, with_key);
    question.options.cacert = with_key;
    expect_no_transport(&question, "block 2 is a \"EC PRIVATE KEY\"");
    tls_context_free(question.peer_tls);
    test_pair_free(&hand);
    test_pair_free(&same);
    free(bundle);
    free(renewed);
    free(nothing);
    free(with_key);
    pki_free(&pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_read_every_framing),
        cmocka_unit_test(both_ask_the_same),
        cmocka_unit_test(both_hear_of_octets),
        cmocka_unit_test(direct_reads_into_the_room),
        cmocka_unit_test(both_tell_why_there_is_no_answer),
        cmocka_unit_test(both_tell_what_is_wrong_with_tls),
        cmocka_unit_test(both_judge_as_go_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
