/*
 * x509_test.c - what x509.h makes, reads and refuses. That sets equal kubeadm's byte by byte is
 * tests/cli/pki_test.sh's part.
 */
#include "tests/lib/certs.h"
#include "common/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#define NOW 1795312800LL /* 2026-11-22T02:00:00Z */

static void assert_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", text, part);
}

static void algorithms_have_many_spellings(void **state)
{
    static const char *const texts[] = {"RSA-2048", "rsa:2048", "rsa"};
    enum x509_algorithm algorithm;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_true(x509_algorithm_parse(texts[i], &algorithm));
        assert_int_equal(algorithm, X509_RSA_2048);
    }
    assert_true(x509_algorithm_parse("P384", &algorithm));
    assert_int_equal(algorithm, X509_ECDSA_P384);
    assert_false(x509_algorithm_parse("RSA-1024", &algorithm));
    assert_false(x509_algorithm_parse("", &algorithm));
}

static void names_are_strict(void **state)
{
    static const char *const good[] = {"a", "cp-1", "a.b.c", "1a", "0", "xn--abc"};
    static const char *const bad[] = {"",     "A",    "a_b", "-a",  "a-",  ".a",        "a.",
                                      "a..b", "a.-b", "a b", "*.a", "a/b", "10.0.0.256"};
    static const char *const addresses[] = {"10.0.0.1", "::1", "fe80::1"};
    static const char *const none[] = {"010.0.0.1", "10.0.0", "10.0.0.256", "fe80::1%eth0",
                                       "[::1]"};
    char label[80];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(x509_is_name(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(x509_is_name(bad[i]));
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        assert_true(x509_is_address(addresses[i]));
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_false(x509_is_address(none[i]));
    memset(label, 'a', sizeof label);
    label[63] = '\0';
    assert_true(x509_is_name(label));
    label[63] = 'a';
    label[64] = '\0';
    assert_false(x509_is_name(label));
}

static void alternative_names_are_sorted_and_once(void **state)
{
    struct x509_sans sans = {0};
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(x509_sans_add(&sans, "node-3", &err), 0);
    assert_int_equal(x509_sans_add(&sans, "10.0.0.9", &err), 0);
    assert_int_equal(x509_sans_add(&sans, "localhost", &err), 0);
    assert_int_equal(x509_sans_add(&sans, "*.example.org", &err), 0);
    assert_int_equal(x509_sans_add(&sans, "10.0.0.1", &err), 0);
    assert_int_equal(x509_sans_add(&sans, "0:0:0:0:0:0:0:1", &err), 0);
    assert_int_equal(x509_sans_add(&sans, "::1", &err), 0);
    assert_int_equal(x509_sans_add(&sans, "::ffff:10.0.0.1", &err), 0); /* that is 10.0.0.1 */
    assert_int_equal(x509_sans_add(&sans, "localhost", &err), 0);
    assert_int_equal(sans.dns_count, 3);
    assert_string_equal(sans.dns[0], "*.example.org");
    assert_string_equal(sans.dns[1], "localhost");
    assert_int_equal(sans.ips_count, 3);
    assert_string_equal(sans.ips[0], "10.0.0.9");
    assert_string_equal(sans.ips[2], "::1");
    assert_int_equal(x509_sans_add(&sans, "Upper", &err), -1);
    assert_text(err.text, "neither an address nor a lower-case DNS name");
    assert_int_equal(x509_sans_add_dns(&sans, "10.0.0.1", &err), -1);
    assert_text(err.text, "give an address as an address");
    for (int i = 0; i < 94; i++) {
        char *name = xasprintf("n%d", i);

        assert_int_equal(x509_sans_add(&sans, name, &err), 0);
        free(name);
    }
    assert_int_equal(x509_sans_add(&sans, "one-more", &err), -1);
    assert_text(err.text, "at most 100 alternative names");
    x509_sans_free(&sans);
}

static struct x509_cert *made(const struct x509_request *request, const struct x509_key *key,
                              struct err *err)
{
    struct x509_cert *cert = NULL;

    return x509_cert_new(request, key, NULL, key, &cert, err) == 0 ? cert : NULL;
}

static void what_is_made_is_described(void **state)
{
    static const char *const orgs[] = {"first", "second"};
    struct x509_key *key = x509_key_new(X509_ECDSA_P384);
    struct x509_request request = {.cn = "etcd-ca",
                                   .orgs = orgs,
                                   .org_count = 2,
                                   .not_before_s = NOW - 300,
                                   .not_after_s = NOW + 3600,
                                   .ca = true,
                                   .crl_sign = true};
    struct err err = ERR_INIT;
    struct x509_cert *cert = made(&request, key, &err);
    struct x509_info info;
    char kind[32];

    (void)state;
    assert_non_null(cert);
    x509_describe(cert, &info);
    assert_string_equal(info.subject, "O=first, O=second, CN=etcd-ca");
    assert_string_equal(info.issuer, info.subject);
    assert_true(info.self_issued && info.ca && info.cert_sign && info.crl_sign);
    assert_string_equal(info.not_before, "2026-11-22T01:55:00Z");
    assert_int_equal(info.not_after_s, NOW + 3600);
    assert_string_equal(info.key, "ECDSA-P384");
    assert_string_equal(info.signature, "ecdsa-with-SHA384");
    assert_string_equal(info.key_usage,
                        "Digital Signature, Key Encipherment, Certificate Sign, CRL Sign");
    assert_string_equal(info.extended_usage, "none");
    assert_string_equal(info.sans, "none");
    assert_int_equal(strlen(info.fingerprint), 64);
    assert_true(strlen(info.serial) <= 16 && !info.serial_bad);
    assert_string_equal(x509_key_kind(key, kind), "ECDSA-P384");
    assert_int_equal(x509_ca_check("ca", cert, key, NOW, &err), 0);
    assert_int_equal(x509_ca_check("ca", cert, key, NOW + 7200, &err), -1);
    assert_text(err.text,
                "ca: the CA O=first, O=second, CN=etcd-ca expired on 2026-11-22T03:00:00Z");
    assert_int_equal(x509_ca_check("ca", cert, key, NOW - 7200, &err), -1);
    assert_text(err.text, "is not valid before");
    x509_info_free(&info);
    x509_cert_free(cert);
    x509_key_free(key);
}

static void bad_requests_are_refused(void **state)
{
    struct x509_key *key = x509_key_new(X509_ED25519);
    struct x509_request request = {.cn = "x", .not_before_s = NOW, .not_after_s = NOW + 1};
    struct err err = ERR_INIT;
    char cn[70];

    (void)state;
    request.usages = X509_SERVER;
    assert_null(made(&request, key, &err));
    assert_text(err.text, "needs at least one alternative name");
    request.usages = X509_CLIENT;
    request.not_after_s = NOW;
    assert_null(made(&request, key, &err));
    assert_text(err.text, "before it begins");
    request.not_after_s = NOW + 1;
    request.cn = "";
    assert_null(made(&request, key, &err));
    assert_text(err.text, "has 0 characters; 1 to 64 are allowed");
    memset(cn, 'a', 65);
    cn[65] = '\0';
    request.cn = cn;
    assert_null(made(&request, key, &err));
    assert_text(err.text, "has 65 characters");
    request.cn = "a\nb";
    assert_null(made(&request, key, &err));
    assert_text(err.text, "control character (byte 0x0a)");
    request.cn = "\xff\xfe";
    assert_null(made(&request, key, &err));
    assert_text(err.text, "cannot be part of a name");
    x509_key_free(key);
}

static void files_come_back(void **state)
{
    static const enum x509_algorithm kinds[] = {X509_RSA_2048, X509_ECDSA_P256, X509_ECDSA_P521,
                                                X509_ED25519};
    static const char *const heads[] = {
        "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----"};
    char *dir = test_directory(), *path = test_path(dir, "file.pem");
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct x509_key *key = x509_key_new(kinds[i]), *back = NULL;
        struct x509_request request = {.cn = "x", .not_before_s = NOW, .not_after_s = NOW + 9};
        struct x509_cert *cert = made(&request, key, &err);
        struct buf pem = BUF_INIT(BUF_UNLIMITED);
        struct x509_list list;

        x509_key_pem(key, &pem);
        assert_memory_equal(pem.data, heads[i], strlen(heads[i]));
        x509_cert_pem(cert, &pem); /* one file for both, as etcd takes it */
        test_write(path, buf_slice(&pem));
        assert_int_equal(x509_key_read(path, &back, &err), 0);
        assert_true(x509_keys_equal(key, back));
        assert_int_equal(x509_list_read(path, false, &list, &err), 0);
        assert_int_equal(list.count, 1);
        assert_true(x509_has_key(list.items[0], back));
        assert_true(x509_certs_equal(list.items[0], cert));
        x509_list_free(&list);
        assert_int_equal(x509_list_read(path, true, &list, &err), -1);
        assert_text(err.text, "file.pem: block 1 is a \"");
        x509_wipe(&pem);
        x509_key_free(key);
        x509_key_free(back);
        x509_cert_free(cert);
    }
    free(path);
    test_remove(dir);
}

static void chains_are_judged_as_go_does(void **state)
{
    char *dir = test_directory();
    struct test_pair ca =
        test_pair_make(dir, &(struct test_leaf){.name = "ca", .cn = "root-ca", .ca = true});
    struct test_pair mid = test_pair_make(
        dir, &(struct test_leaf){.name = "mid", .cn = "mid-ca", .ca = true, .issuer = &ca});
    struct test_pair same =
        test_pair_make(dir, &(struct test_leaf){.name = "same", .cn = "root-ca", .ca = true});
    struct test_pair leaf = test_pair_make(
        dir,
        &(struct test_leaf){.name = "leaf", .cn = "leaf", .usages = X509_CLIENT, .issuer = &mid});
    struct test_pair below = test_pair_make(
        dir, &(struct test_leaf){
                 .name = "below", .cn = "below", .usages = X509_CLIENT, .issuer = &leaf});
    struct x509_cert *whole[] = {leaf.cert, mid.cert}, *wrong[] = {below.cert, leaf.cert, mid.cert};
    const struct x509_list alone = {whole, 1}, chain = {whole, 2}, under_leaf = {wrong, 3};
    const struct x509_list root = {&ca.cert, 1}, middle = {&mid.cert, 1}, other = {&same.cert, 1};
    struct x509_info info;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(x509_chain_check(&chain, &root, X509_CLIENT, &err), 0);
    assert_int_equal(x509_chain_check(&alone, &middle, X509_CLIENT, &err), 0); /* any anchor */
    assert_int_equal(x509_chain_check(&alone, &root, X509_CLIENT, &err), -1);
    assert_text(err.text, "CN=leaf is issued by \"CN=mid-ca\", which is not trusted");
    assert_int_equal(x509_chain_check(&chain, &other, X509_CLIENT, &err), -1);
    assert_text(err.text, "not with the key of the one trusted");
    assert_int_equal(x509_chain_check(&under_leaf, &root, X509_CLIENT, &err), -1);
    x509_describe(mid.cert, &info); /* all three end about then */
    assert_int_equal(x509_chain_dates(&chain, &root, info.not_after_s - 60, &err), 0);
    assert_int_equal(x509_chain_dates(&chain, &root, info.not_after_s + 60, &err), -1);
    assert_text(err.text, ", which expired on 20");
    assert_int_equal(x509_chain_dates(&alone, &middle, info.not_before_s - 60, &err), -1);
    assert_text(err.text, "hangs on the CA CN=mid-ca, which is not valid before 20");
    x509_info_free(&info);
    assert_int_equal(x509_ca_check("mid", mid.cert, ca.key, (int64_t)time(NULL), &err), -1);
    assert_text(err.text, "belongs to another certificate");
    test_pair_free(&ca);
    test_pair_free(&mid);
    test_pair_free(&same);
    test_pair_free(&leaf);
    test_pair_free(&below);
    test_remove(dir);
}

static void hosts_fit_alternative_names_only(void **state)
{
    char *dir = test_directory();
    struct test_pair pair =
        test_pair_make(dir, &(struct test_leaf){.name = "leaf",
                                                .cn = "cn.example",
                                                .sans = "a.example,*.b.example,*.lan,10.0.0.1",
                                                .usages = X509_SERVER});

    (void)state;
    assert_true(x509_fits_host(pair.cert, "a.example"));
    assert_true(x509_fits_host(pair.cert, "x.b.example"));
    assert_true(x509_fits_host(pair.cert, "10.0.0.1"));
    assert_true(x509_fits_host(pair.cert, "A.EXAMPLE."));
    assert_true(x509_fits_host(pair.cert, "m_1.b.example"));
    assert_true(x509_fits_host(pair.cert, "m1.lan")); /* as Go: one label may follow the star */
    assert_true(x509_fits_host(pair.cert, "m1.lan."));
    assert_true(x509_fits_host(pair.cert, "::ffff:10.0.0.1"));
    assert_true(x509_fits_host(pair.cert, "[::ffff:a00:1]"));
    assert_false(x509_fits_host(pair.cert, "lan"));
    assert_false(x509_fits_host(pair.cert, ".lan"));
    assert_false(x509_fits_host(pair.cert, "*.lan.."));
    assert_false(x509_fits_host(pair.cert, "m 1.lan"));
    assert_false(x509_fits_host(pair.cert, ""));
    assert_false(x509_fits_host(pair.cert, "cn.example"));
    assert_false(x509_fits_host(pair.cert, "x.y.b.example"));
    assert_false(x509_fits_host(pair.cert, "10.0.0.2"));
    test_pair_free(&pair);
    test_remove(dir);
}

static void times_are_read(void **state)
{
    int64_t when;
    char text[32];

    (void)state;
    assert_true(x509_time_parse("2026-11-22T02:00:00Z", &when));
    assert_int_equal(when, NOW);
    assert_true(x509_time_parse("2026-11-22", &when));
    assert_int_equal(when, NOW - 7200);
    assert_false(x509_time_parse("tomorrow", &when));
    assert_false(x509_time_parse("2026-11-22T02:00:00Zx", &when));
    x509_time_text(NOW, text);
    assert_string_equal(text, "2026-11-22T02:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(algorithms_have_many_spellings),
        cmocka_unit_test(names_are_strict),
        cmocka_unit_test(alternative_names_are_sorted_and_once),
        cmocka_unit_test(what_is_made_is_described),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(files_come_back),
        cmocka_unit_test(chains_are_judged_as_go_does),
        cmocka_unit_test(hosts_fit_alternative_names_only),
        cmocka_unit_test(times_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
