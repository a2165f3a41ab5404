/*
 * peers_tls_test.c - the same over TLS: who is refused with which words on both sides, and
 * certificates replaced while the streams run.
 */
#include "common/base/file.h"
#include "common/base/log.h"
#include "tests/lib/certs.h"
#include "tests/lib/peer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    char *dir;
    struct test_pair ca, other_ca, good, other, expired, server_only, elsewhere, by_name, odd_name;
    int log;
} pki;

static struct test_pair make_pair(const char *name, const char *sans, unsigned usages,
                                  const struct test_pair *ca, int64_t until_s)
{
    return test_pair_make(pki.dir, &(struct test_leaf){.name = name,
                                                       .cn = name,
                                                       .sans = sans,
                                                       .usages = usages,
                                                       .issuer = ca,
                                                       .from_s = until_s != 0 ? -7200 : 0,
                                                       .until_s = until_s});
}

static int make_pki(void **state)
{
    const unsigned both = X509_SERVER | X509_CLIENT;

    (void)state;
    pki.dir = test_directory();
    pki.ca = test_pair_make(pki.dir, &(struct test_leaf){.name = "ca", .cn = "ca", .ca = true});
    pki.other_ca =
        test_pair_make(pki.dir, &(struct test_leaf){.name = "ca2", .cn = "ca2", .ca = true});
    pki.good = make_pair("good", "127.0.0.1", both, &pki.ca, 0);
    pki.other = make_pair("other", "127.0.0.1", both, &pki.other_ca, 0);
    pki.expired = make_pair("expired", "127.0.0.1", both, &pki.ca, -3600);
    pki.server_only = make_pair("serveronly", "127.0.0.1", X509_SERVER, &pki.ca, 0);
    pki.elsewhere = make_pair("elsewhere", "10.9.8.7", both, &pki.ca, 0);
    pki.by_name = make_pair("byname", "localhost", both, &pki.ca, 0);
    pki.odd_name = make_pair("oddname", "no-such-host.invalid", both, &pki.ca, 0);
    return 0;
}

static int remove_pki(void **state)
{
    struct test_pair *pairs[] = {&pki.ca,        &pki.other_ca, &pki.good,
                                 &pki.other,     &pki.expired,  &pki.server_only,
                                 &pki.elsewhere, &pki.by_name,  &pki.odd_name};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        test_pair_free(pairs[i]);
    test_remove(pki.dir);
    return 0;
}

static struct tls_context *make_tls(enum tls_role role, const struct test_pair *pair,
                                    const struct test_pair *ca)
{
    struct tls_config config = {.role = role,
                                .cert_file = pair->cert_file,
                                .key_file = pair->key_file,
                                .ca_file = ca->cert_file,
                                .client_cert_auth = role == TLS_SERVER};
    struct tls_context *context = NULL;
    struct err err = ERR_INIT;

    if (tls_context_new(&config, &context, &err) < 0)
        fail_msg("%s", err.text);
    return context;
}

/* Two members; the first shows `pair` as a client and trusts `ca`. */
static void start_tls(const struct test_pair *pair, const struct test_pair *ca)
{
    node(0)->client = make_tls(TLS_CLIENT, pair, ca);
    node(0)->server = make_tls(TLS_SERVER, &pki.good, &pki.ca);
    node(1)->client = make_tls(TLS_CLIENT, &pki.good, &pki.ca);
    node(1)->server = make_tls(TLS_SERVER, &pki.good, &pki.ca);
    node(1)->snap_dir = test_directory();
    peer_nodes_start(&nodes, 2);
}

static void messages_and_snapshots_go_over_tls(void **state)
{
    struct peer_image image = {.really = 5000000, .image = {.bytes = 5000000}};
    char *path;

    (void)state;
    start_tls(&pki.good, &pki.ca);
    PEER_NODES_WAIT(&nodes, peer_nodes_all_active);
    peer_nodes_send_apps(node(0), node(1), 100, 10000);
    peer_nodes_send_apps(node(1), node(0), 3, 1 << 20);
    memcpy(nodes.wanted_got, (size_t[]){3, 100, 0}, sizeof(nodes.wanted_got));
    PEER_NODES_WAIT(&nodes, peer_nodes_got_all);
    assert_false(node(0)->out_of_order || node(1)->out_of_order);
    peer_nodes_send_image(&nodes, &image, 7);
    PEER_NODES_WAIT(&nodes, peer_nodes_image_over);
    assert_int_equal(node(0)->sent_ok, 1);
    path = xasprintf("%s/0000000000000007.snap.db", node(1)->snap_dir);
    assert_true(peer_image_is(path, 5000000));
    free(path);
    peer_nodes_cut(node(0));
    peer_nodes_cut(node(1));
    PEER_NODES_WAIT(&nodes, peer_nodes_beat_came);
    test_run("rm -r %s", node(1)->snap_dir);
}

static char log_path[64];

static bool logged(const char *words)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    bool found;

    if (file_read_all(log_path, &text, &err) < 0)
        fail_msg("%s", err.text);
    found = strstr(buf_text(&text), words) != NULL;
    buf_free(&text);
    return found;
}

static const char *words_here, *words_there;

static bool both_logged(struct peer_nodes *unused)
{
    (void)unused;
    return logged(words_here) && logged(words_there);
}

static void begin_log(void)
{
    (void)snprintf(log_path, sizeof(log_path), "%s/log", pki.dir);
    pki.log = open(log_path, O_CREAT | O_RDWR | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    log_output(&pki.log, 1);
    log_setup(LOG_WARN, LOG_JSON);
}

static void end_log(void)
{
    static const int standard_error = 2;

    log_setup(LOG_SILENT, LOG_JSON);
    log_output(&standard_error, 1);
    (void)close(pki.log);
}

static void assert_refused(const struct test_pair *pair, const struct test_pair *ca,
                           const char *here, const char *there)
{
    void *state = NULL;

    (void)tear_down(&state);
    (void)set_up(&state);
    begin_log();
    start_tls(pair, ca);
    words_here = here;
    words_there = there;
    PEER_NODES_WAIT(&nodes, both_logged);
    assert_int_equal(peers_active_count(node(0)->peers), 0);
    end_log();
    test_run("rm -r %s", node(1)->snap_dir);
}

static void bad_certificates_are_refused_with_the_cause_on_both_sides(void **state)
{
    (void)state;
    assert_refused(&pki.other, &pki.ca, "cannot reach a peer", "rejected connection on peer");
    assert_refused(&pki.good, &pki.other_ca, "unknown authority", "rejected connection on peer");
    assert_refused(&pki.expired, &pki.ca, "expired", "rejected connection on peer");
    assert_refused(&pki.server_only, &pki.ca, "cannot reach a peer", "usage");
    assert_refused(&pki.elsewhere, &pki.ca, "400 tls: \\\"127.0.0.1\\\" does not match any of IP",
                   "tls: \\\"127.0.0.1\\\" does not match any of IPAddresses [\\\"10.9.8.7\\\"]");
    assert_refused(&pki.odd_name, &pki.ca, "400 tls: \\\"127.0.0.1\\\" does not match any of DNS",
                   "DNSNames [\\\"no-such-host");
}

static void a_name_that_resolves_to_the_source_is_accepted(void **state)
{
    (void)state;
    start_tls(&pki.by_name, &pki.ca);
    PEER_NODES_WAIT(&nodes, peer_nodes_all_active);
    test_run("rm -r %s", node(1)->snap_dir);
}

/* Files are looked at once a second at most: cut until the new pair is seen. */
static bool next_was_refused(struct peer_nodes *unused)
{
    (void)unused;
    if (logged("certificate CN=next"))
        return true;
    if (peers_active_count(node(0)->peers) != 0)
        peer_nodes_cut(node(1));
    return false;
}

/* The files are replaced while the streams run: these stay, the next dial takes the new pair. */
static void certificates_rotate_without_a_restart(void **state)
{
    struct test_pair first = make_pair("first", "127.0.0.1", X509_SERVER | X509_CLIENT, &pki.ca, 0);
    struct test_pair next =
        make_pair("next", "127.0.0.1", X509_SERVER | X509_CLIENT, &pki.other_ca, 0);

    (void)state;
    start_tls(&first, &pki.ca);
    PEER_NODES_WAIT(&nodes, peer_nodes_all_active);
    test_copy(next.cert_file, first.cert_file);
    test_copy(next.key_file, first.key_file);
    PEER_NODES_WAIT(&nodes, peer_nodes_beat_came); /* still the old streams */
    begin_log();
    PEER_NODES_WAIT(&nodes, next_was_refused); /* node 1 does not trust its issuer */
    end_log();
    test_run("rm -r %s", node(1)->snap_dir);
    test_pair_free(&first);
    test_pair_free(&next);
}

/* What lies below a wildcard is known by its end, as etcd has it. */
static void names_of_addresses(void **state)
{
    (void)state;
    assert_true(peer_gate_name_fits("m1.lan", "M1.lan."));
    assert_true(peer_gate_name_fits("*.etcd.svc", "m1.etcd.svc"));
    assert_true(peer_gate_name_fits("*.etcd.svc", "m1.zone.etcd.svc."));
    assert_false(peer_gate_name_fits("*.etcd.svc", ".etcd.svc"));
    assert_false(peer_gate_name_fits("*.etcd.svc", "etcd.svc"));
    assert_false(peer_gate_name_fits("*.etcd.svc", "m1xetcd.svc"));
    assert_false(peer_gate_name_fits("m1.lan", "x.m1.lan"));
    assert_false(peer_gate_name_fits("", "m1"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_addresses),
        TEST(messages_and_snapshots_go_over_tls),
        TEST(bad_certificates_are_refused_with_the_cause_on_both_sides),
        TEST(a_name_that_resolves_to_the_source_is_accepted),
        TEST(certificates_rotate_without_a_restart),
    };

    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
