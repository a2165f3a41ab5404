/*
 * tls_test.c - real handshakes between two sessions in memory: what works, and for each way to fail
 * the words. The certificates are made by x509.h into a temporary directory; revocation lists by
 * the openssl command.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/tls/tls.h"
#include "common/tls/tls_auto.h"
#include "tests/lib/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
    char *dir;
    struct test_pair ca, other_ca, same_name_ca, server, client, other_client, expired, future,
        server_only, client_only, no_sans;
    char *bundle;
} pki;

static struct test_pair leaf(const char *name, const char *cn, const char *sans, unsigned usages,
                             const struct test_pair *issuer)
{
    return test_pair_make(
        pki.dir, &(struct test_leaf){
                     .name = name, .cn = cn, .sans = sans, .usages = usages, .issuer = issuer});
}

static struct test_pair authority(const char *name, const char *cn)
{
    return test_pair_make(pki.dir,
                          &(struct test_leaf){.name = name, .cn = cn, .sans = cn, .ca = true});
}

static int make_pki(void **state)
{
    const unsigned both = X509_SERVER | X509_CLIENT;

    (void)state;
    pki.dir = test_directory();
    pki.ca = authority("ca", "etcd-ca");
    pki.other_ca = authority("other-ca", "other-ca");
    pki.same_name_ca = authority("same-name-ca", "etcd-ca");
    pki.server =
        leaf("server", "cp-1", "cp-1,localhost,127.0.0.1,::1,*.example.org", both, &pki.ca);
    pki.client = leaf("client", "root", "client.example.org", X509_CLIENT, &pki.ca);
    pki.other_client = leaf("other-client", "eve", NULL, X509_CLIENT, &pki.other_ca);
    pki.server_only = leaf("server-only", "half", "localhost", X509_SERVER, &pki.ca);
    pki.client_only = leaf("client-only", "other-half", "localhost", X509_CLIENT, &pki.ca);
    pki.no_sans = leaf("no-sans", "localhost", NULL, X509_CLIENT, &pki.ca);
    pki.expired = test_pair_make(pki.dir, &(struct test_leaf){.name = "expired",
                                                              .cn = "late",
                                                              .sans = "localhost",
                                                              .usages = both,
                                                              .from_s = -7200,
                                                              .until_s = -3600,
                                                              .issuer = &pki.ca});
    pki.future = test_pair_make(pki.dir, &(struct test_leaf){.name = "future",
                                                             .cn = "early",
                                                             .sans = "localhost",
                                                             .usages = both,
                                                             .from_s = 3600,
                                                             .until_s = 7200,
                                                             .issuer = &pki.ca});
    pki.bundle = test_path(pki.dir, "bundle.crt");
    test_run("cat %s %s > %s", pki.ca.cert_file, pki.other_ca.cert_file, pki.bundle);
    return 0;
}

static int drop_pki(void **state)
{
    struct test_pair *const pairs[] = {&pki.ca,      &pki.other_ca,    &pki.same_name_ca,
                                       &pki.server,  &pki.client,      &pki.other_client,
                                       &pki.future,  &pki.server_only, &pki.client_only,
                                       &pki.expired, &pki.no_sans};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        test_pair_free(pairs[i]);
    free(pki.bundle);
    test_remove(pki.dir);
    return 0;
}

/* ---- two ends ---- */

struct ends {
    struct tls_context *server_context, *client_context; /* owned */
    struct tls_session *server, *client;
    struct err server_err, client_err;
    enum tls_result server_result, client_result;
};

static void move(struct tls_session *from, struct tls_session *to)
{
    struct slice out = tls_session_output(from);
    size_t bytes = MIN(out.size, 1000); /* odd pieces: records arrive cut */

    if (bytes == 0)
        return;
    assert_true(tls_session_input(to, slice_of(out.data, bytes)));
    tls_session_output_sent(from, bytes);
}

/* Handshake until both are settled, then one message each way, so that late verdicts are seen. */
static void talk(struct ends *ends)
{
    static const struct slice hello = {(const uint8_t *)"hello", 5};
    char room[64];
    size_t bytes;

    ends->server_result = ends->client_result = TLS_AGAIN;
    for (int round = 0; round < 200; round++) {
        if (ends->client_result == TLS_AGAIN)
            ends->client_result = tls_session_handshake(ends->client, &ends->client_err);
        move(ends->client, ends->server);
        if (ends->server_result == TLS_AGAIN)
            ends->server_result = tls_session_handshake(ends->server, &ends->server_err);
        move(ends->server, ends->client);
    }
    if (ends->server_result == TLS_OK)
        assert_int_equal(tls_session_write(ends->server, hello, &bytes, &ends->server_err), TLS_OK);
    while (tls_session_output(ends->server).size != 0)
        move(ends->server, ends->client);
    if (ends->client_result == TLS_OK)
        ends->client_result =
            tls_session_read(ends->client, room, sizeof room, &bytes, &ends->client_err);
}

static struct tls_config server_config(void)
{
    return (struct tls_config){.role = TLS_SERVER,
                               .cert_file = pki.server.cert_file,
                               .key_file = pki.server.key_file,
                               .ca_file = pki.ca.cert_file,
                               .client_cert_auth = true};
}

static struct tls_config client_config(const struct test_pair *pair)
{
    return (struct tls_config){.role = TLS_CLIENT,
                               .cert_file = pair != NULL ? pair->cert_file : NULL,
                               .key_file = pair != NULL ? pair->key_file : NULL,
                               .ca_file = pki.ca.cert_file};
}

static void begin(struct ends *ends, const char *host)
{
    struct err err = ERR_INIT;

    assert_int_equal(tls_session_new(ends->server_context, NULL, &ends->server, &err), 0);
    assert_int_equal(tls_session_new(ends->client_context, host, &ends->client, &err), 0);
}

static struct ends connect_ends(const struct tls_config *server, const struct tls_config *client,
                                const char *host)
{
    struct ends ends = {0};
    struct err err = ERR_INIT;

    if (tls_context_new(server, &ends.server_context, &err) < 0 ||
        tls_context_new(client, &ends.client_context, &err) < 0)
        fail_msg("%s", err.text);
    begin(&ends, host);
    talk(&ends);
    return ends;
}

static void end_sessions(struct ends *ends)
{
    tls_session_free(ends->server);
    tls_session_free(ends->client);
    ends->server = ends->client = NULL;
}

static void disconnect(struct ends *ends)
{
    end_sessions(ends);
    tls_context_free(ends->server_context);
    tls_context_free(ends->client_context);
}

static void says(const struct err *err, const char *const *parts)
{
    for (; *parts != NULL; parts++)
        if (strstr(err->text, *parts) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", err->text, *parts);
}
#define SAYS(err, ...) says((err), (const char *const[]){__VA_ARGS__, NULL})

/* The server refuses; the client learns it from an alert. */
#define SERVER_REFUSES(server, client, ...)                                                        \
    do {                                                                                           \
        struct ends refused = connect_ends((server), (client), "localhost");                       \
        assert_int_equal(refused.server_result, TLS_ERROR);                                        \
        assert_int_equal(refused.client_result, TLS_ERROR);                                        \
        SAYS(&refused.server_err, __VA_ARGS__);                                                    \
        SAYS(&refused.client_err, "remote error: tls: ");                                          \
        disconnect(&refused);                                                                      \
    } while (0)
#define CLIENT_REFUSES(server, client, host, ...)                                                  \
    do {                                                                                           \
        struct ends refused = connect_ends((server), (client), (host));                            \
        assert_int_equal(refused.client_result, TLS_ERROR);                                        \
        SAYS(&refused.client_err, __VA_ARGS__);                                                    \
        disconnect(&refused);                                                                      \
    } while (0)
#define WORKS(server, client, host)                                                                \
    do {                                                                                           \
        struct ends good = connect_ends((server), (client), (host));                               \
        if (good.client_result != TLS_OK || good.server_result != TLS_OK)                          \
            fail_msg("server: %s; client: %s", good.server_err.text, good.client_err.text);        \
        disconnect(&good);                                                                         \
    } while (0)

/* ---- what works ---- */

static void good_handshake_tells_who_is_there(void **state)
{
    static const char *const protocols[] = {"h2", "http/1.1"};
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct ends ends;
    const struct tls_peer *peer;

    (void)state;
    server.alpn = (struct tls_list){protocols, 2};
    client.alpn = (struct tls_list){protocols + 1, 1};
    ends = connect_ends(&server, &client, "localhost");
    assert_int_equal(ends.client_result, TLS_OK);
    assert_true(tls_session_open(ends.server));
    assert_string_equal(tls_session_alpn(ends.server), "http/1.1");
    assert_string_equal(tls_session_alpn(ends.client), "http/1.1");
    assert_string_equal(tls_session_version(ends.server), "TLSv1.3");
    peer = tls_session_peer(ends.server);
    assert_non_null(peer);
    assert_string_equal(peer->cn, "root");
    assert_string_equal(peer->subject, "CN=root");
    assert_string_equal(peer->issuer, "CN=etcd-ca");
    assert_int_equal(peer->dns.count, 1);
    assert_string_equal(peer->dns.items[0], "client.example.org");
    peer = tls_session_peer(ends.client);
    assert_int_equal(peer->ips.count, 2);
    assert_string_equal(peer->ips.items[1], "::1");
    assert_non_null(strstr(tls_context_describe(ends.server_context), "CN=cp-1, serial "));
    disconnect(&ends);
}

static void names_and_addresses_fit(void **state)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "::1", "a.example.org"};
    struct tls_config server = server_config(), client = client_config(&pki.client);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        WORKS(&server, &client, hosts[i]);
    CLIENT_REFUSES(&server, &client, "10.0.0.1", "not for \"10.0.0.1\"", "IP:127.0.0.1",
                   "DNS:cp-1");
    CLIENT_REFUSES(&server, &client, "a.b.example.org", "not for \"a.b.example.org\"");
    WORKS(&server, &client, NULL);
}

static void one_name_for_every_server(void **state)
{
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct ends ends = connect_ends(&server, &client, "10.0.0.1");

    (void)state;
    assert_int_equal(ends.client_result, TLS_ERROR);
    end_sessions(&ends);
    tls_context_name(ends.client_context, "a.example.org");
    begin(&ends, "10.0.0.1");
    talk(&ends);
    assert_int_equal(ends.client_result, TLS_OK);
    end_sessions(&ends);
    tls_context_name(ends.client_context, "b.example.net");
    begin(&ends, "127.0.0.1");
    talk(&ends);
    assert_int_equal(ends.client_result, TLS_ERROR);
    disconnect(&ends);
}

static void bulk_data_arrives_whole(void **state)
{
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct ends ends = connect_ends(&server, &client, "localhost");
    size_t total = 3UL * MIB, sent = 0, got = 0, taken, bytes;
    uint8_t *data = xalloc(total), room[5000];
    struct err err = ERR_INIT;
    bool stopped = false;

    (void)state;
    for (size_t i = 0; i < total; i++)
        data[i] = (uint8_t)(i * 31 + i / 977);
    while (got < total) {
        enum tls_result result =
            tls_session_write(ends.server, slice_of(data + sent, total - sent), &taken, &err);

        sent += taken;
        stopped = stopped || result == TLS_AGAIN;
        for (size_t part; (part = MIN(tls_session_output(ends.server).size, 20000)) != 0;) {
            struct slice out = tls_session_output(ends.server);

            assert_true(tls_session_input(ends.client, slice_of(out.data, part)));
            tls_session_output_sent(ends.server, part);
            while (tls_session_read(ends.client, room, sizeof room, &bytes, &err) == TLS_OK) {
                assert_memory_equal(room, data + got, bytes);
                got += bytes;
            }
        }
    }
    assert_true(stopped); /* the output has a limit */
    tls_session_close(ends.server);
    while (tls_session_output(ends.server).size != 0)
        move(ends.server, ends.client);
    assert_int_equal(tls_session_read(ends.client, room, sizeof room, &bytes, &err), TLS_EOF);
    assert_int_equal(tls_session_write(ends.server, slice_of("x", 1), &taken, &err), TLS_ERROR);
    free(data);
    disconnect(&ends);
}

static void tickets_resume_until_files_change(void **state)
{
    char *ca = test_path(pki.dir, "ca-live.crt");
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct ends ends;
    struct err err = ERR_INIT;

    (void)state;
    test_copy(pki.ca.cert_file, ca);
    server.ca_file = ca;
    ends = connect_ends(&server, &client, "localhost");
    assert_false(tls_session_resumed(ends.server));
    end_sessions(&ends);
    begin(&ends, "localhost");
    talk(&ends);
    assert_int_equal(ends.client_result, TLS_OK);
    assert_true(tls_session_resumed(ends.server));
    assert_string_equal(tls_session_peer(ends.server)->cn, "root");
    end_sessions(&ends);

    test_copy(pki.bundle, ca);
    assert_int_equal(tls_context_refresh(ends.server_context, 1, &err), TLS_REFRESH_LOADED);
    begin(&ends, "localhost");
    talk(&ends);
    assert_int_equal(ends.client_result, TLS_OK);
    assert_false(tls_session_resumed(ends.server));
    disconnect(&ends);
    free(ca);
}

static void without_client_certificates(void **state)
{
    struct tls_config server = server_config(), client = client_config(NULL);
    struct ends ends;

    (void)state;
    server.ca_file = NULL;
    server.client_cert_auth = false;
    ends = connect_ends(&server, &client, "localhost");
    assert_int_equal(ends.client_result, TLS_OK);
    assert_null(tls_session_peer(ends.server));
    disconnect(&ends);
    client.ca_file = NULL; /* the system's: none that knows us */
    CLIENT_REFUSES(&server, &client, "localhost", "unknown authority", "those of the system");
    client.skip_verify = true;
    WORKS(&server, &client, "10.9.8.7");
    client = client_config(NULL);
    client.ca_file = pki.server.cert_file; /* the server's own certificate as anchor */
    WORKS(&server, &client, "localhost");
}

/* ---- refusals ---- */

static void refusals_of_clients(void **state)
{
    struct tls_config server = server_config(), client = client_config(NULL);

    (void)state;
    SERVER_REFUSES(&server, &client, "client didn't provide a certificate", server.ca_file);
    server.client_cert_auth = false; /* the CA file alone demands one too */
    SERVER_REFUSES(&server, &client, "client didn't provide a certificate");
    client = client_config(&pki.other_client);
    SERVER_REFUSES(&server, &client, "client certificate CN=eve",
                   "certificate signed by unknown authority", "its issuer is \"CN=other-ca\"",
                   "trusted: \"CN=etcd-ca\"");
    client = client_config(&pki.expired);
    SERVER_REFUSES(&server, &client, "client certificate CN=late", "expired since 20");
    client = client_config(&pki.future);
    SERVER_REFUSES(&server, &client, "client certificate CN=early", "not valid before 20");
    client = client_config(&pki.server_only);
    SERVER_REFUSES(&server, &client, "incompatible key usage", "it has serverAuth",
                   "needed is clientAuth");
    server.ca_file = pki.same_name_ca.cert_file;
    client = client_config(&pki.client);
    SERVER_REFUSES(&server, &client, "unknown authority", "another key");
    server.ca_file = pki.bundle;
    client = client_config(&pki.other_client);
    WORKS(&server, &client, "localhost");
}

static void refusals_of_servers(void **state)
{
    struct tls_config server = server_config(), client = client_config(&pki.client);
    const struct {
        const struct test_pair *pair;
        const char *words;
    } cases[] = {{&pki.expired, "server certificate CN=late"},
                 {&pki.future, "not valid before"},
                 {&pki.client_only, "needed is serverAuth"},
                 {&pki.no_sans, "incompatible key usage"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        server.cert_file = cases[i].pair->cert_file;
        server.key_file = cases[i].pair->key_file;
        CLIENT_REFUSES(&server, &client, "localhost", cases[i].words);
    }
    server = server_config();
    client.ca_file = pki.other_ca.cert_file;
    {
        struct ends ends = connect_ends(&server, &client, "localhost");

        SAYS(&ends.client_err, "its issuer is \"CN=etcd-ca\"", "trusted: \"CN=other-ca\"");
        SAYS(&ends.server_err, "remote error: tls: unknown certificate authority",
             "the client sent alert 48", "ours: CN=cp-1");
        disconnect(&ends);
    }
}

static void clock_can_be_set(void **state)
{
    struct tls_config server = server_config(), client = client_config(&pki.client);

    (void)state;
    client.verify_at_s = (int64_t)time(NULL) + 2LL * 86400;
    CLIENT_REFUSES(&server, &client, "localhost", "expired since");
}

static void allow_lists(void **state)
{
    static const char *const cns[] = {"alice", "root"}, *const hosts[] = {"client.example.org"};
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct err err = ERR_INIT;

    (void)state;
    server.allowed_cns = (struct tls_list){cns, 2};
    WORKS(&server, &client, "localhost");
    server.allowed_cns.count = 1;
    SERVER_REFUSES(&server, &client, "client certificate authentication failed", "CN \"root\"",
                   "alice");
    server.allowed_hostnames = (struct tls_list){hosts, 1};
    assert_int_equal(tls_config_check(&server, &err), -1);
    SAYS(&err, "AllowedCNs and AllowedHostnames are mutually exclusive");
    server.allowed_cns.count = 0;
    WORKS(&server, &client, "localhost");
    client = client_config(&pki.client_only);
    SERVER_REFUSES(&server, &client, "client certificate authentication failed",
                   "valid for DNS:localhost", "client.example.org");
}

static void versions(void **state)
{
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct ends ends;

    (void)state;
    client.max_version = "TLS1.2";
    ends = connect_ends(&server, &client, "localhost");
    assert_int_equal(ends.client_result, TLS_OK);
    assert_string_equal(tls_session_version(ends.client), "TLSv1.2");
    disconnect(&ends);
    server.min_version = "TLS1.3";
    SERVER_REFUSES(&server, &client, "offered only unsupported versions", "TLS1.3 to TLS1.3");
    server.min_version = NULL;
    server.max_version = "TLS1.2";
    client.max_version = NULL;
    WORKS(&server, &client, "localhost");
}

static void settings_in_the_words_of_etcd(void **state)
{
    static const char *const foo[] = {"FOO"}, *const old[] = {"TLS_RSA_WITH_AES_128_CBC_SHA"};
    static const char *const good[] = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
    const struct {
        const char *min, *max, *words;
        struct tls_list suites;
    } cases[] = {
        {"TLS1.0", NULL, "unexpected TLS version \"TLS1.0\" (must be one of: TLS1.2, TLS1.3)", {0}},
        {"TLS1.3", "TLS1.2", "min version (TLS1.3) is greater than max version (TLS1.2)", {0}},
        {"TLS1.3",
         NULL,
         "cipher suites cannot be configured when only TLS1.3 is enabled",
         {good, 1}},
        {NULL, NULL, "unexpected TLS cipher suite \"FOO\"", {foo, 1}},
        {NULL, NULL, "HTTP/2-required AES_128_GCM_SHA256", {old, 1}},
    };
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct ends ends;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = ERR_INIT;

        server.min_version = cases[i].min;
        server.max_version = cases[i].max;
        server.cipher_suites = cases[i].suites;
        assert_int_equal(tls_config_check(&server, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        SAYS(&err, cases[i].words);
    }
    server = server_config();
    server.cipher_suites = (struct tls_list){good, 1};
    client.max_version = "TLS1.2";
    ends = connect_ends(&server, &client, "localhost");
    assert_string_equal(tls_session_cipher(ends.client), "ECDHE-ECDSA-AES128-GCM-SHA256");
    disconnect(&ends);
    client.cipher_suites =
        (struct tls_list){(const char *const[]){"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, 1};
    SERVER_REFUSES(&server, &client, "no cipher suite supported by both");
}

static void plain_text_on_a_tls_port(void **state)
{
    struct tls_config config = server_config();
    struct tls_context *context;
    struct tls_session *session;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(tls_context_new(&config, &context, &err), 0);
    assert_int_equal(tls_session_new(context, NULL, &session, &err), 0);
    assert_true(tls_session_input(session, SLICE_LITERAL("GET /version HTTP/1.1\r\n\r\n")));
    assert_int_equal(tls_session_handshake(session, &err), TLS_ERROR);
    SAYS(&err, "first record does not look like a TLS handshake", "plain HTTP",
         "GET /version HTTP/1.1", "https://");
    tls_session_free(session);
    assert_int_equal(tls_session_new(context, NULL, &session, &err), 0);
    assert_true(tls_session_input(session, SLICE_LITERAL("\x01\x02garbage")));
    assert_int_equal(tls_session_handshake(session, &err), TLS_ERROR);
    SAYS(&err, "does not look like a TLS handshake", "\\x01\\x02garbage");
    tls_session_free(session);
    assert_int_equal(tls_session_new(context, NULL, &session, &err), 0);
    tls_session_input_end(session);
    assert_int_equal(tls_session_handshake(session, &err), TLS_ERROR);
    SAYS(&err, "closed the connection during the TLS handshake");
    tls_session_free(session);
    tls_context_free(context);

    config = client_config(NULL);
    assert_int_equal(tls_context_new(&config, &context, &err), 0);
    assert_int_equal(tls_session_new(context, "localhost", &session, &err), 0);
    assert_int_equal(tls_session_handshake(session, &err), TLS_AGAIN);
    assert_true(tls_session_input(session, SLICE_LITERAL("HTTP/1.0 400 Bad Request\r\n")));
    assert_int_equal(tls_session_handshake(session, &err), TLS_ERROR);
    SAYS(&err, "the server answered in plain HTTP", "use http://");
    tls_session_free(session);
    tls_context_free(context);

    assert_int_equal(tls_first_bytes(SLICE_LITERAL("\x16\x03\x01")), TLS_FIRST_TLS);
    assert_int_equal(tls_first_bytes(SLICE_LITERAL("\x16")), TLS_FIRST_MORE);
    assert_int_equal(tls_first_bytes(SLICE_LITERAL("PO")), TLS_FIRST_MORE);
    assert_int_equal(tls_first_bytes(SLICE_LITERAL("PRI * HTTP/2.0")), TLS_FIRST_HTTP);
    assert_int_equal(tls_first_bytes(SLICE_LITERAL("xyz")), TLS_FIRST_OTHER);
}

/* ---- files ---- */

static void fails_to_load(const struct tls_config *config, const char *words)
{
    struct tls_context *context = NULL;
    struct err err = ERR_INIT;

    if (tls_context_new(config, &context, &err) == 0)
        fail_msg("loaded, expected: %s", words);
    SAYS(&err, words);
}

static void broken_files_are_named(void **state)
{
    struct tls_config server = server_config();
    char *broken = test_path(pki.dir, "broken.pem");

    (void)state;
    server.key_file = pki.client.key_file;
    fails_to_load(&server, "private key does not match public key");
    server.key_file = NULL;
    fails_to_load(&server, "KeyFile and CertFile must both be present[key: , cert: ");
    server = server_config();
    server.cert_file = "/nonexistent/cert.pem";
    fails_to_load(&server, "open /nonexistent/cert.pem: No such file or directory");
    server = server_config();
    server.ca_file = broken;
    test_write(broken, SLICE_EMPTY);
    fails_to_load(&server, "broken.pem: is empty");
    test_run("openssl x509 -in %s -outform DER -out %s", pki.ca.cert_file, broken);
    fails_to_load(&server, "is DER, not PEM");
    test_run("cat %s %s > %s", pki.ca.cert_file, pki.ca.key_file, broken);
    fails_to_load(&server, "block 2 is a \"EC PRIVATE KEY\"");
    test_run("sed s/M/-/ %s > %s", pki.ca.cert_file, broken);
    fails_to_load(&server, "broken.pem: ");
    server = server_config();
    server.key_file = broken;
    test_run("openssl pkey -in %s -aes128 -passout pass:x -out %s", pki.server.key_file, broken);
    fails_to_load(&server, "the private key is encrypted");
    test_run("openssl ec -in %s -aes128 -passout pass:x -out %s", pki.server.key_file, broken);
    fails_to_load(&server, "the private key is encrypted");
    test_run("openssl genpkey -algorithm ed448 -out %s", broken);
    fails_to_load(&server, "a ED448 key cannot be used");
    free(broken);
}

static void reload_follows_the_files(void **state)
{
    char *cert = test_path(pki.dir, "live.crt"), *key = test_path(pki.dir, "live.key");
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct test_pair next =
        leaf("next", "renewed", "localhost", X509_SERVER | X509_CLIENT, &pki.ca);
    struct ends ends;
    struct err err = ERR_INIT;

    (void)state;
    test_copy(pki.server.cert_file, cert);
    test_copy(pki.server.key_file, key);
    server.cert_file = cert;
    server.key_file = key;
    ends = connect_ends(&server, &client, "localhost");
    assert_int_equal(tls_context_refresh(ends.server_context, 1000, &err), TLS_REFRESH_SAME);
    test_copy(next.cert_file, cert);
    assert_int_equal(tls_context_refresh(ends.server_context, 1999, &err), TLS_REFRESH_SAME);
    assert_int_equal(tls_context_refresh(ends.server_context, 2000, &err), TLS_REFRESH_BROKEN);
    SAYS(&err, "private key does not match public key");
    assert_int_equal(tls_context_refresh(ends.server_context, 3000, &err), TLS_REFRESH_SAME);
    end_sessions(&ends); /* while broken, the old pair serves */
    begin(&ends, "localhost");
    talk(&ends);
    assert_string_equal(tls_session_peer(ends.client)->cn, "cp-1");
    test_copy(next.key_file, key);
    assert_int_equal(tls_context_refresh(ends.server_context, 4000, &err), TLS_REFRESH_LOADED);
    assert_true(tls_session_open(ends.server)); /* what was open goes on with the old set */
    end_sessions(&ends);
    begin(&ends, "localhost");
    talk(&ends);
    assert_string_equal(tls_session_peer(ends.client)->cn, "renewed");
    disconnect(&ends);
    test_pair_free(&next);
    free(cert);
    free(key);
}

/* A list of `ca`, with the pair's serial when there is one, as PEM at pki.dir/NAME. */
static char *revocation_list(const char *name, const struct test_pair *ca,
                             const struct test_pair *revoked)
{
    char *path = test_path(pki.dir, name);

    test_run("cd %s && rm -f index* && touch index && printf '[ca]\\ndefault_ca=d\\n[d]\\n"
             "database=index\\ndefault_md=sha256\\ndefault_crl_days=30\\n' > crl.cnf",
             pki.dir);
    if (revoked != NULL)
        test_run("cd %s && openssl ca -config crl.cnf -cert %s -keyfile %s -revoke %s", pki.dir,
                 ca->cert_file, ca->key_file, revoked->cert_file);
    test_run("cd %s && openssl ca -config crl.cnf -cert %s -keyfile %s -gencrl -out %s", pki.dir,
             ca->cert_file, ca->key_file, path);
    return path;
}

static void revoked_clients_are_refused(void **state)
{
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct tls_config other = client_config(&pki.client_only);
    char *pem = revocation_list("revoked.pem", &pki.ca, &pki.client);
    char *empty = revocation_list("empty.pem", &pki.ca, NULL);
    char *foreign = revocation_list("foreign.pem", &pki.other_ca, NULL);
    char *forged = revocation_list("forged.pem", &pki.same_name_ca, NULL);
    char *live = test_path(pki.dir, "live.crl");

    (void)state;
    server.crl_file = live;
    test_copy(empty, live);
    WORKS(&server, &client, "localhost");
    test_copy(pem, live);
    SERVER_REFUSES(&server, &client, "client certificate CN=root", "revoked on 20", "live.crl");
    WORKS(&server, &other, "localhost");
    test_run("openssl crl -in %s -outform DER -out %s", pem, live);
    SERVER_REFUSES(&server, &client, "certificate serial", "revoked");
    test_run("cat %s %s > %s", foreign, pem, live);
    fails_to_load(&server, "list 1 is issued by CN=other-ca, which is not in");
    server.ca_file = pki.bundle; /* several lists count, each of its own authority */
    SERVER_REFUSES(&server, &client, "revoked");
    server.ca_file = pki.ca.cert_file;
    test_copy(forged, live);
    fails_to_load(&server, "its signature is not made with the key of that authority");
    test_write(live, SLICE_EMPTY);
    fails_to_load(&server, "live.crl: is empty");
    test_copy(pki.ca.cert_file, live);
    fails_to_load(&server, "is a \"CERTIFICATE\", not a revocation list");
    test_write(live, SLICE_LITERAL("\x30\x82nonsense"));
    fails_to_load(&server, "is not a revocation list");
    server.ca_file = NULL;
    fails_to_load(&server, "needs the trusted CA file");
    free(pem);
    free(empty);
    free(foreign);
    free(forged);
    free(live);
}

static void a_new_list_stops_tickets(void **state)
{
    struct tls_config server = server_config(), client = client_config(&pki.client);
    char *pem = revocation_list("later.pem", &pki.ca, &pki.client);
    char *live = revocation_list("live2.crl", &pki.ca, NULL);
    struct ends ends;
    struct err err = ERR_INIT;

    (void)state;
    server.crl_file = live;
    ends = connect_ends(&server, &client, "localhost");
    assert_int_equal(ends.client_result, TLS_OK);
    test_copy(pem, live);
    assert_int_equal(tls_context_refresh(ends.server_context, 5000, &err), TLS_REFRESH_LOADED);
    end_sessions(&ends);
    begin(&ends, "localhost"); /* the client offers its ticket */
    talk(&ends);
    assert_int_equal(ends.server_result, TLS_ERROR);
    SAYS(&ends.server_err, "revoked");
    disconnect(&ends);
    free(pem);
    free(live);
}

static void auto_pairs(void **state)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    const struct tls_list list = {hosts, 2};
    char *cert, *key, *again_cert, *again_key;
    struct tls_config server = {.role = TLS_SERVER}, client = {.role = TLS_CLIENT};
    struct err err = ERR_INIT;
    struct stat info;
    bool made;

    (void)state;
    assert_int_equal(
        tls_auto_pair(pki.dir, "client", list, 0, time(NULL), &cert, &key, &made, &err), -1);
    SAYS(&err, "selfSignedCertValidity is invalid,it should be greater than 0");
    assert_int_equal(
        tls_auto_pair(pki.dir, "client", list, 1, time(NULL), &cert, &key, &made, &err), 0);
    assert_true(made);
    assert_int_equal(stat(key, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(
        tls_auto_pair(pki.dir, "client", list, 1, time(NULL), &again_cert, &again_key, &made, &err),
        0);
    assert_false(made);
    assert_string_equal(again_cert, cert);
    server.cert_file = cert;
    server.key_file = key;
    client.ca_file = cert;
    WORKS(&server, &client, "127.0.0.1");
    free(cert);
    free(key);
    free(again_cert);
    free(again_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_handshake_tells_who_is_there),
        cmocka_unit_test(names_and_addresses_fit),
        cmocka_unit_test(one_name_for_every_server),
        cmocka_unit_test(bulk_data_arrives_whole),
        cmocka_unit_test(tickets_resume_until_files_change),
        cmocka_unit_test(without_client_certificates),
        cmocka_unit_test(refusals_of_clients),
        cmocka_unit_test(refusals_of_servers),
        cmocka_unit_test(clock_can_be_set),
        cmocka_unit_test(allow_lists),
        cmocka_unit_test(versions),
        cmocka_unit_test(settings_in_the_words_of_etcd),
        cmocka_unit_test(plain_text_on_a_tls_port),
        cmocka_unit_test(broken_files_are_named),
        cmocka_unit_test(reload_follows_the_files),
        cmocka_unit_test(revoked_clients_are_refused),
        cmocka_unit_test(a_new_list_stops_tickets),
        cmocka_unit_test(auto_pairs),
    };

    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
