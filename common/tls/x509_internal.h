/* x509_internal.h - what the files of x509.h share. Private to common/tls. Thread: as x509.h. */
#ifndef COMMON_TLS_X509_INTERNAL_H
#define COMMON_TLS_X509_INTERNAL_H

#include "common/tls/ossl.h"
#include "common/tls/x509.h"

struct x509_key {
    EVP_PKEY *pkey;   /* owned */
    char *passphrase; /* owned: it is written locked; NULL: in plain */
};

struct x509_cert {
    X509 *x509; /* owned */
};

struct x509_cert *x509_cert_wrap(X509 *x509); /* `x509` is taken */

/* x509_make.c: the parts of a certificate, each added once and in the order wanted. */
int x509_check_request(const struct x509_request *request, struct err *err) MUST_CHECK;
void x509_set_serial(X509 *cert, bool long_serial); /* 63 random bits, or 128 */
void x509_set_dates(X509 *cert, int64_t not_before_s, int64_t not_after_s);
void x509_add_extensions(X509 *cert, const struct x509_request *request,
                         const struct x509_cert *ca);
void x509_add_extended_usage(X509 *cert, unsigned usages);
void x509_add_subject_key_id(X509 *cert);
void x509_add_authority_key_id(X509 *cert, const struct x509_cert *ca);
const EVP_MD *x509_digest_for(EVP_PKEY *key); /* NULL: the key hashes by itself */

#endif
