/*
 * x509_crl.c - revocation lists made as every etcd reads them: DER, version 2 (pki.md 2.8). The
 * list itself is the record of what is revoked: it is read, added to, and signed again.
 */
#include "common/base/limits.h"
#include "common/tls/x509_internal.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

#define SERIAL_MAX_DIGITS 40 /* 20 bytes, RFC 5280 4.1.2.2 */

struct x509_crl {
    X509_CRL *crl;  /* owned: only its entries are used when it is signed */
    BIGNUM *number; /* of the list that was read; 0 for a new one */
};

struct x509_crl *x509_crl_new(void)
{
    struct x509_crl *crl = xalloc(sizeof *crl);

    crl->crl = X509_CRL_new();
    crl->number = BN_new();
    must(crl->crl != NULL && crl->number != NULL && X509_CRL_set_version(crl->crl, 1) == 1);
    return crl;
}

void x509_crl_free(struct x509_crl *crl)
{
    if (crl == NULL)
        return;
    X509_CRL_free(crl->crl);
    BN_free(crl->number);
    free(crl);
}

size_t x509_crl_count(const struct x509_crl *crl)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl->crl);

    return entries != NULL ? (size_t)sk_X509_REVOKED_num(entries) : 0;
}

int x509_crl_read(const char *path, struct x509_crl **crl, struct err *err)
{
    STACK_OF(X509_CRL) * lists;
    ASN1_INTEGER *number;

    if (ossl_crls_file(path, &lists, err) < 0)
        return -1;
    *crl = x509_crl_new();
    for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
        X509_CRL *list = sk_X509_CRL_value(lists, i);
        STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(list);

        for (int k = 0; k < sk_X509_REVOKED_num(entries); k++) {
            X509_REVOKED *copy = X509_REVOKED_dup(sk_X509_REVOKED_value(entries, k));

            must(copy != NULL && X509_CRL_add0_revoked((*crl)->crl, copy) == 1);
        }
        number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
        if (number != NULL && BN_num_bits((*crl)->number) < 150)
            (void)ASN1_INTEGER_to_BN(number, (*crl)->number);
        ASN1_INTEGER_free(number);
    }
    ERR_clear_error();
    sk_X509_CRL_pop_free(lists, X509_CRL_free);
    return 0;
}

static int parse_serial(const char *text, ASN1_INTEGER **serial, struct err *err)
{
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    BIGNUM *number = NULL;

    if (text[digits] != '\0' || digits == 0 || digits > SERIAL_MAX_DIGITS ||
        BN_hex2bn(&number, text) == 0 || BN_is_zero(number)) {
        BN_free(number);
        err_set(err, ERR_USAGE,
                "the serial \"%.60s\": hexadecimal digits without blanks, 1 to %d of them", text,
                SERIAL_MAX_DIGITS);
        return -1;
    }
    *serial = BN_to_ASN1_INTEGER(number, NULL);
    must(*serial != NULL);
    BN_free(number);
    return 0;
}

static int reason_of(const char *word, int *code, struct err *err)
{
    static const struct {
        const char *word;
        int code;
    } reasons[] = {
        {"unspecified", 0},        {"keyCompromise", 1},      {"CACompromise", 2},
        {"affiliationChanged", 3}, {"superseded", 4},         {"cessationOfOperation", 5},
        {"certificateHold", 6},    {"privilegeWithdrawn", 9}, {"AACompromise", 10}};

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (strcasecmp(word, reasons[i].word) == 0) {
            *code = reasons[i].code;
            return 0;
        }
    err_set(err, ERR_USAGE,
            "the reason \"%.40s\": one of unspecified, keyCompromise, CACompromise, "
            "affiliationChanged, superseded, cessationOfOperation, certificateHold, "
            "privilegeWithdrawn, AACompromise",
            word);
    return -1;
}

int x509_crl_add(struct x509_crl *crl, const char *serial, const char *reason, int64_t when_s,
                 bool *known, struct err *err)
{
    X509_REVOKED *entry = NULL;
    ASN1_INTEGER *number;
    ASN1_TIME *when;
    int code = 0;

    if (reason != NULL && reason_of(reason, &code, err) < 0)
        return -1;
    if (parse_serial(serial, &number, err) < 0)
        return -1;
    *known = X509_CRL_get0_by_serial(crl->crl, &entry, number) == 1;
    if (!*known) {
        entry = X509_REVOKED_new();
        when = ASN1_TIME_set(NULL, (time_t)when_s);
        must(entry != NULL && when != NULL && X509_REVOKED_set_serialNumber(entry, number) == 1);
        must(X509_REVOKED_set_revocationDate(entry, when) == 1);
        if (code != 0) { /* unspecified is said by saying nothing (RFC 5280 5.3.1) */
            ASN1_ENUMERATED *value = ASN1_ENUMERATED_new();

            must(value != NULL && ASN1_ENUMERATED_set(value, code) == 1);
            must(X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, value, 0, 0) == 1);
            ASN1_ENUMERATED_free(value);
        }
        must(X509_CRL_add0_revoked(crl->crl, entry) == 1);
        ASN1_TIME_free(when);
    }
    ASN1_INTEGER_free(number);
    ERR_clear_error();
    return 0;
}

static void add_crl_extensions(struct x509_crl *crl, const struct x509_cert *ca)
{
    ASN1_OCTET_STRING *id = X509_get_ext_d2i(ca->x509, NID_subject_key_identifier, NULL, NULL);
    ASN1_INTEGER *number;

    if (id != NULL) {
        AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();

        must(authority != NULL);
        authority->keyid = id;
        must(X509_CRL_add1_ext_i2d(crl->crl, NID_authority_key_identifier, authority, 0,
                                   X509V3_ADD_REPLACE) == 1);
        AUTHORITY_KEYID_free(authority);
    }
    must(BN_add_word(crl->number, 1) == 1);
    number = BN_to_ASN1_INTEGER(crl->number, NULL);
    must(number != NULL &&
         X509_CRL_add1_ext_i2d(crl->crl, NID_crl_number, number, 0, X509V3_ADD_REPLACE) == 1);
    ASN1_INTEGER_free(number);
}

int x509_crl_sign(struct x509_crl *crl, const struct x509_cert *ca_cert,
                  const struct x509_key *ca_key, int64_t now_s, int64_t next_s, struct buf *der,
                  struct buf *pem, struct err *err)
{
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)now_s);
    ASN1_TIME *next = ASN1_TIME_set(NULL, (time_t)next_s);
    BIO *bio = BIO_new(BIO_s_mem()), *text = BIO_new(BIO_s_mem());
    char reason[128], *data;
    long bytes;
    int rc = -1;

    must(now != NULL && next != NULL && bio != NULL && text != NULL);
    must(X509_CRL_set_issuer_name(crl->crl, X509_get_subject_name(ca_cert->x509)) == 1);
    must(X509_CRL_set1_lastUpdate(crl->crl, now) == 1);
    must(X509_CRL_set1_nextUpdate(crl->crl, next) == 1);
    add_crl_extensions(crl, ca_cert);
    must(X509_CRL_sort(crl->crl) == 1);
    if (X509_CRL_sign(crl->crl, ca_key->pkey, x509_digest_for(ca_key->pkey)) <= 0) {
        err_set(err, ERR_TLS, "the CA's key cannot sign: %s", ossl_reason(reason, sizeof reason));
        goto out;
    }
    must(i2d_X509_CRL_bio(bio, crl->crl) == 1 && PEM_write_bio_X509_CRL(text, crl->crl) == 1);
    bytes = BIO_get_mem_data(bio, &data);
    must(bytes > 0 && buf_append(der, data, (size_t)bytes));
    bytes = BIO_get_mem_data(text, &data);
    if (pem != NULL)
        must(bytes > 0 && buf_append(pem, data, (size_t)bytes));
    rc = 0;
out:
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    BIO_free(bio);
    BIO_free(text);
    return rc;
}

int x509_crl_look(const char *path, const struct x509_list *anchors, struct x509_crl_shape *shape,
                  struct err *err)
{
    STACK_OF(X509_CRL) * lists;
    struct buf text;
    const ASN1_TIME *next;
    X509_CRL *first;

    *shape = (struct x509_crl_shape){.version2 = true};
    if (ossl_read_file(path, &text, err) < 0)
        return -1;
    if (ossl_crls(path, buf_slice(&text), &lists, err) < 0) {
        buf_free(&text);
        return -1;
    }
    shape->der = buf_slice(&text).data[0] == 0x30;
    shape->leading_text = !shape->der && buf_slice(&text).data[0] != '-';
    shape->count = (size_t)sk_X509_CRL_num(lists);
    for (size_t i = 0; i < shape->count; i++)
        shape->version2 =
            shape->version2 && X509_CRL_get_version(sk_X509_CRL_value(lists, (int)i)) == 1;
    first = sk_X509_CRL_value(lists, 0);
    next = X509_CRL_get0_nextUpdate(first);
    shape->next_update_s = next != NULL ? ossl_time_s(next) : 0;
    for (size_t i = 0; i < anchors->count; i++) {
        X509 *ca = anchors->items[i]->x509;

        if (!shape->signed_here && X509_CRL_verify(first, X509_get0_pubkey(ca)) == 1) {
            shape->signed_here = true;
            shape->signer_may = (X509_get_key_usage(ca) & KU_CRL_SIGN) != 0;
        }
    }
    ERR_clear_error();
    sk_X509_CRL_pop_free(lists, X509_CRL_free);
    buf_free(&text);
    return 0;
}
