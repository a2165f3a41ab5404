/*
 * tls_files_test.c - the files behind a TLS context: broken ones, those that change under it, and
 * revocation lists, which the openssl command makes.
 */
#include "common/base/file.h"
#include "common/tls/tls_auto.h"
#include "tests/lib/tls_fixture.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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
    assert_int_equal(tls_context_refresh(ends.server_context, 1001, &err), TLS_REFRESH_BROKEN);
    SAYS(&err, "private key does not match public key"); /* seen at the very next handshake */
    assert_int_equal(tls_context_refresh(ends.server_context, 1002, &err), TLS_REFRESH_SAME);
    test_write(key, SLICE_LITERAL("half a key")); /* still busy: not told again at once ... */
    assert_int_equal(tls_context_refresh(ends.server_context, 1003, &err), TLS_REFRESH_SAME);
    assert_int_equal(tls_context_refresh(ends.server_context, 2000, &err), TLS_REFRESH_SAME);
    assert_int_equal(tls_context_refresh(ends.server_context, 2001, &err), TLS_REFRESH_BROKEN);
    SAYS(&err, "live.key"); /* ... but it is, when nothing comes of it */
    assert_int_equal(tls_context_refresh(ends.server_context, 4000, &err), TLS_REFRESH_SAME);
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

static void says_of_the_files(const struct tls_config *config, const char *words)
{
    struct tls_context *context;
    struct err err = ERR_INIT;

    if (tls_context_new(config, &context, &err) < 0)
        fail_msg("%s", err.text);
    if (strstr(tls_context_note(context), words) == NULL)
        fail_msg("\"%s\"", tls_context_note(context));
    tls_context_free(context);
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
    SERVER_REFUSES(&server, &client, "revoked"); /* a list of nobody we know does no harm */
    says_of_the_files(&server, "list 1 is issued by CN=other-ca, which is not in");
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
    test_copy(pem, live);
    server.ca_file = NULL;
    server.client_cert_auth = false;
    says_of_the_files(&server, "no client is asked for a certificate");
    free(pem);
    free(empty);
    free(foreign);
    free(forged);
    free(live);
}

/* Of an authority in between, whose certificate the clients send: only the root is trusted. */
static void lists_of_an_authority_in_between(void **state)
{
    struct test_pair middle = test_pair_make(
        pki.dir,
        &(struct test_leaf){.name = "middle", .cn = "middle", .ca = true, .issuer = &pki.ca});
    struct test_pair forger =
        test_pair_make(pki.dir, &(struct test_leaf){.name = "forger", .cn = "middle", .ca = true});
    struct test_pair gone = leaf("gone", "gone", NULL, X509_CLIENT, &middle);
    struct test_pair stays = leaf("stays", "stays", NULL, X509_CLIENT, &middle);
    struct tls_config server = server_config(), client = client_config(&gone);
    char *list = revocation_list("middle.crl", &middle, &gone);
    char *forged = revocation_list("forged-middle.crl", &forger, NULL);
    char *pinned = test_path(pki.dir, "pinned.crt");

    (void)state;
    test_run("cat %s >> %s && cat %s >> %s", middle.cert_file, gone.cert_file, middle.cert_file,
             stays.cert_file);
    server.crl_file = list;
    SERVER_REFUSES(&server, &client, "client certificate CN=gone", "revoked on 20", "middle.crl");
    says_of_the_files(&server, "list 1 is issued by CN=middle, which is not in");
    client = client_config(&stays);
    WORKS(&server, &client, "localhost");
    test_run("cd %s && openssl ca -config crl.cnf -cert %s -keyfile %s -revoke %s", pki.dir,
             forger.cert_file, forger.key_file, stays.cert_file);
    test_run("cd %s && openssl ca -config crl.cnf -cert %s -keyfile %s -gencrl -out %s", pki.dir,
             forger.cert_file, forger.key_file, forged);
    server.crl_file = forged; /* the name is right, the key is not */
    WORKS(&server, &client, "localhost");
    test_run("openssl x509 -in %s -out %s", gone.cert_file, pinned); /* the first in it */
    server.crl_file = list;
    server.ca_file = pinned; /* trusted by itself, and leaves out who could sign a list */
    client = client_config(&gone);
    client.cert_file = pinned;
    SERVER_REFUSES(&server, &client, "client certificate CN=gone", "revoked on 20");
    test_pair_free(&middle);
    test_pair_free(&forger);
    test_pair_free(&gone);
    test_pair_free(&stays);
    free(list);
    free(forged);
    free(pinned);
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
        cmocka_unit_test(broken_files_are_named),
        cmocka_unit_test(reload_follows_the_files),
        cmocka_unit_test(revoked_clients_are_refused),
        cmocka_unit_test(lists_of_an_authority_in_between),
        cmocka_unit_test(a_new_list_stops_tickets),
        cmocka_unit_test(auto_pairs),
    };

    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
