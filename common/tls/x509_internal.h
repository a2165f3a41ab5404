/* x509_internal.h - what the files of x509.h share. Private to common/tls. */
#ifndef COMMON_TLS_X509_INTERNAL_H
#define COMMON_TLS_X509_INTERNAL_H

#include "common/tls/ossl.h"
#include "common/tls/x509.h"

struct x509_key {
    EVP_PKEY *pkey; /* owned */
};

struct x509_cert {
    X509 *x509; /* owned */
};

struct x509_cert *x509_cert_wrap(X509 *x509); /* `x509` is taken */

#endif
