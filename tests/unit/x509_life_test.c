/* x509_life_test.c - what comes after the first day: made again, requested and signed, revoked. */
#include "common/base/file.h"
#include "common/tls/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#define NOW 1795312800LL /* 2026-11-22T02:00:00Z */

struct ca {
    struct x509_key *key;
    struct x509_cert *cert;
};

static struct ca make_ca(bool crl_sign)
{
    struct ca ca = {.key = x509_key_new(X509_ECDSA_P256)};
    struct err err = ERR_INIT;

    assert_int_equal(x509_cert_new(&(struct x509_request){.cn = "etcd-ca",
                                                          .not_before_s = NOW,
                                                          .not_after_s = NOW + 1000,
                                                          .ca = true,
                                                          .crl_sign = crl_sign},
                                   ca.key, NULL, ca.key, &ca.cert, &err),
                     0);
    return ca;
}

static void free_ca(struct ca *ca)
{
    x509_key_free(ca->key);
    x509_cert_free(ca->cert);
}

static void a_ca_made_again_keeps_what_it_signed(void **state)
{
    struct ca ca = make_ca(false), other = make_ca(false);
    struct x509_cert *again, *replaced;
    struct x509_info old, fresh;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(x509_cert_again(ca.cert, ca.key, NULL, NULL, 0, NOW, NOW + 9000, &again, &err),
                     0);
    assert_int_equal(
        x509_cert_again(ca.cert, other.key, NULL, NULL, 0, NOW, NOW + 9000, &replaced, &err), 0);
    x509_describe(ca.cert, &old);
    x509_describe(again, &fresh);
    assert_string_equal(old.subject, fresh.subject);
    assert_string_equal(old.sans, fresh.sans);
    assert_string_not_equal(old.serial, fresh.serial);
    assert_int_equal(fresh.not_after_s, NOW + 9000);
    assert_true(fresh.ca);
    assert_true(x509_issued_by(ca.cert, again)); /* the old one, by the key they share */
    assert_false(x509_issued_by(ca.cert, replaced));
    x509_info_free(&old);
    x509_info_free(&fresh);
    x509_cert_free(again);
    x509_cert_free(replaced);
    free_ca(&ca);
    free_ca(&other);
}

static void a_request_is_signed_with_its_own_names(void **state)
{
    struct ca ca = make_ca(false);
    struct x509_key *key = x509_key_new(X509_ED25519);
    struct x509_sans sans = {0};
    struct x509_csr *csr, *read;
    struct x509_cert *cert;
    struct x509_info info;
    struct buf pem = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(x509_sans_add(&sans, "m1", &err), 0);
    assert_int_equal(x509_sans_add(&sans, "192.0.2.1", &err), 0);
    assert_int_equal(x509_csr_new(&(struct x509_request){.cn = "m1",
                                                         .sans = &sans,
                                                         .not_before_s = NOW,
                                                         .not_after_s = NOW + 9},
                                  key, &csr, &err),
                     0);
    x509_csr_pem(csr, &pem);
    assert_int_equal(x509_csr_parse("r", buf_slice(&pem), &read, &err), 0);
    assert_int_equal(x509_csr_sans(read)->dns_count + x509_csr_sans(read)->ips_count, 2);
    assert_int_equal(x509_csr_sign(read,
                                   &(struct x509_request){.sans = x509_csr_sans(read),
                                                          .usages = X509_SERVER | X509_CLIENT,
                                                          .not_before_s = NOW,
                                                          .not_after_s = NOW + 9},
                                   ca.cert, ca.key, &cert, &err),
                     0);
    x509_describe(cert, &info);
    assert_string_equal(info.sans, "DNS:m1, IP:192.0.2.1");
    assert_string_equal(info.extended_usage, "serverAuth, clientAuth");
    assert_true(x509_has_key(cert, key));
    assert_true(x509_issued_by(cert, ca.cert));
    x509_info_free(&info);
    x509_cert_free(cert);
    x509_csr_free(csr);
    x509_csr_free(read);
    x509_sans_free(&sans);
    x509_key_free(key);
    buf_free(&pem);
    free_ca(&ca);
}

static void a_list_is_read_and_gone_on_with(void **state)
{
    struct ca ca = make_ca(true);
    struct x509_list anchors = {&ca.cert, 1};
    struct x509_crl *crl = x509_crl_new();
    struct x509_crl_shape shape;
    struct buf der = BUF_INIT(BUF_UNLIMITED);
    char path[] = "/tmp/x509_life.XXXXXX";
    struct err err = ERR_INIT;
    bool known;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    file_close(&fd);
    assert_int_equal(x509_crl_add(crl, "0a", "superseded", NOW, &known, &err), 0);
    assert_false(known);
    assert_int_equal(x509_crl_sign(crl, ca.cert, ca.key, NOW, NOW + 60, &der, NULL, &err), 0);
    assert_int_equal(file_write_atomic(path, buf_slice(&der), 0600, true, &err), 0);
    x509_crl_free(crl);
    assert_int_equal(x509_crl_read(path, &crl, &err), 0);
    assert_int_equal(x509_crl_count(crl), 1);
    assert_int_equal(x509_crl_add(crl, "A", NULL, NOW, &known, &err), 0);
    assert_true(known);
    assert_int_equal(x509_crl_add(crl, "", NULL, NOW, &known, &err), -1);
    assert_int_equal(x509_crl_look(path, &anchors, &shape, &err), 0);
    assert_true(shape.der && shape.version2 && shape.signed_here && shape.signer_may);
    assert_int_equal(shape.count, 1);
    assert_int_equal(shape.next_update_s, NOW + 60);
    (void)unlink(path);
    x509_crl_free(crl);
    buf_free(&der);
    free_ca(&ca);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ca_made_again_keeps_what_it_signed),
        cmocka_unit_test(a_request_is_signed_with_its_own_names),
        cmocka_unit_test(a_list_is_read_and_gone_on_with),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
