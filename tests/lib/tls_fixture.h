/*
 * tls_fixture.h - `pki`, certificates of every kind in a temporary directory, and two ends in
 * memory that shake hands with them. Static functions: include it once per program.
 */
#ifndef TESTS_LIB_TLS_FIXTURE_H
#define TESTS_LIB_TLS_FIXTURE_H

#include "common/tls/tls.h"
#include "tests/lib/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static struct {
    char *dir;
    struct test_pair ca, other_ca, same_name_ca, server, client, other_client, expired, future,
        server_only, client_only, no_sans;
    char *bundle;
} pki;

static inline struct test_pair leaf(const char *name, const char *cn, const char *sans,
                                    unsigned usages, const struct test_pair *issuer)
{
    return test_pair_make(
        pki.dir, &(struct test_leaf){
                     .name = name, .cn = cn, .sans = sans, .usages = usages, .issuer = issuer});
}

static inline struct test_pair authority(const char *name, const char *cn)
{
    return test_pair_make(pki.dir,
                          &(struct test_leaf){.name = name, .cn = cn, .sans = cn, .ca = true});
}

static inline int make_pki(void **state)
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

static inline int drop_pki(void **state)
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

static inline void move(struct tls_session *from, struct tls_session *to)
{
    struct slice out = tls_session_output(from);
    size_t bytes = MIN(out.size, 1000); /* odd pieces: records arrive cut */

    if (bytes == 0)
        return;
    assert_true(tls_session_input(to, slice_of(out.data, bytes)));
    tls_session_output_sent(from, bytes);
}

/* Handshake until both are settled, then one message each way, so that late verdicts are seen. */
static inline void talk(struct ends *ends)
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

static inline struct tls_config server_config(void)
{
    return (struct tls_config){.role = TLS_SERVER,
                               .cert_file = pki.server.cert_file,
                               .key_file = pki.server.key_file,
                               .ca_file = pki.ca.cert_file,
                               .client_cert_auth = true};
}

static inline struct tls_config client_config(const struct test_pair *pair)
{
    return (struct tls_config){.role = TLS_CLIENT,
                               .cert_file = pair != NULL ? pair->cert_file : NULL,
                               .key_file = pair != NULL ? pair->key_file : NULL,
                               .ca_file = pki.ca.cert_file};
}

static inline void begin(struct ends *ends, const char *host)
{
    struct err err = ERR_INIT;

    assert_int_equal(tls_session_new(ends->server_context, NULL, &ends->server, &err), 0);
    assert_int_equal(tls_session_new(ends->client_context, host, &ends->client, &err), 0);
}

static inline struct ends connect_ends(const struct tls_config *server,
                                       const struct tls_config *client, const char *host)
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

static inline void end_sessions(struct ends *ends)
{
    tls_session_free(ends->server);
    tls_session_free(ends->client);
    ends->server = ends->client = NULL;
}

static inline void disconnect(struct ends *ends)
{
    end_sessions(ends);
    tls_context_free(ends->server_context);
    tls_context_free(ends->client_context);
}

static inline void says(const struct err *err, const char *const *parts)
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

#endif
