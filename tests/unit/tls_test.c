/*
 * tls_test.c - real handshakes between two sessions in memory: what works, and for each way to fail
 * the words.
 */
#include "common/base/limits.h"
#include "tests/lib/tls_fixture.h"

#include <time.h>

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
    static const char *const modern[] = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
    static const char *const gone[] = {"TLS_RSA_WITH_3DES_EDE_CBC_SHA"};
    const struct {
        const char *min, *max, *words;
        struct tls_list suites;
    } cases[] = {
        {"TLS1.0", NULL, "unexpected TLS version \"TLS1.0\" (must be one of: TLS1.2, TLS1.3)", {0}},
        {"TLS1.3", "TLS1.2", "min version (TLS1.3) is greater than max version (TLS1.2)", {0}},
        {"TLS1.3",
         NULL,
         "cipher suites cannot be configured when only TLS1.3 is enabled",
         {modern, 1}},
        {NULL, NULL, "unexpected TLS cipher suite \"FOO\"", {foo, 1}},
        {NULL, NULL, "HTTP/2-required AES_128_GCM_SHA256", {old, 1}},
        {NULL, "TLS1.2", "none of the given TLS cipher suites is available", {gone, 1}},
    };
    static const char *const h2[] = {"h2"};
    struct tls_config server = server_config(), client = client_config(&pki.client);
    struct ends ends;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = ERR_INIT;

        server.min_version = cases[i].min;
        server.max_version = cases[i].max;
        server.cipher_suites = cases[i].suites;
        server.alpn = (struct tls_list){h2, i + 2 == ARRAY_LEN(cases)}; /* peers speak HTTP/1.1 */
        assert_int_equal(tls_config_check(&server, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        SAYS(&err, cases[i].words);
    }
    server = server_config();
    server.cipher_suites = (struct tls_list){modern, 1};
    client.max_version = "TLS1.2";
    ends = connect_ends(&server, &client, "localhost");
    assert_string_equal(tls_session_cipher(ends.client), "ECDHE-ECDSA-AES128-GCM-SHA256");
    disconnect(&ends);
    client.cipher_suites =
        (struct tls_list){(const char *const[]){"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, 1};
    SERVER_REFUSES(&server, &client, "no cipher suite supported by both");
    client.cipher_suites = (struct tls_list){NULL, 0};
    server.cipher_suites = (struct tls_list){old, 1}; /* without HTTP/2 any will do */
    SERVER_REFUSES(&server, &client, "no cipher suite supported by both"); /* the key is no RSA */
    client.max_version = NULL;
    WORKS(&server, &client, "localhost"); /* TLS 1.3 has its own suites */
    server.cipher_suites = (struct tls_list){gone, 1};
    WORKS(&server, &client, "localhost");
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
    };

    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
