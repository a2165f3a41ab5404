/*
 * ossl.h - what tls and x509 share about OpenSSL: PEM walked block by block, and certificates in
 * words. Nothing outside common/tls includes it but the client's handshake. Pure but for the *_file
 * functions. Thread: any, one object at a time. Errors: ERR_TLS what was found; of files those of
 * file.h.
 */
#ifndef COMMON_TLS_OSSL_H
#define COMMON_TLS_OSSL_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/tls/x509.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define OSSL_TIME_TEXT 32    /* "2027-11-22T01:42:28Z" and its NUL */
#define OSSL_SERIAL_TEXT 128 /* hexadecimal digits of a serial number and NUL; cut when longer */

/* One block of a PEM text; borrowed during the call. */
struct pem_block {
    const char *label; /* "CERTIFICATE" */
    struct slice der;  /* decoded */
    unsigned number;   /* 1 is the first */
    bool encrypted;    /* Proc-Type: 4,ENCRYPTED */
};
typedef int pem_block_fn(void *arg, const struct pem_block *block, struct err *err);

/*
 * Call `block` for every PEM block in order; text between blocks is skipped, as Go does; a block
 * that does not decode is an error. `file` is for messages. Returns how many there were, or -1.
 */
int pem_walk(const char *file, struct slice text, pem_block_fn *block, void *arg,
             struct err *err) MUST_CHECK;

/* Read a PEM or DER file, at most PEM_FILE_MAX_BYTES; the content may be secret: ossl_wipe(). */
int ossl_read_file(const char *path, struct buf *out, struct err *err) MUST_CHECK;
void ossl_wipe(struct buf *buf); /* overwrite and free */

/*
 * Certificates of a PEM text, in order. only_certs: a trust file, where any other block is an error
 * (pki.md 2.6); else other blocks are passed over. None at all is an error. Owned:
 * sk_X509_pop_free.
 */
int ossl_certs(const char *file, struct slice text, bool only_certs, STACK_OF(X509) * *certs,
               struct err *err) MUST_CHECK;
/*
 * Those of a client's trust file, as etcdctl reads it: another block is an error, one that does not
 * decode is passed over, and none at all is none: nobody is trusted then.
 */
int ossl_anchors(const char *file, struct slice text, STACK_OF(X509) * *certs,
                 struct err *err) MUST_CHECK;
/* The first private key of a PEM text: PKCS#1, SEC1 or PKCS#8, of a kind etcd can use. Owned. */
int ossl_key(const char *file, struct slice text, EVP_PKEY **key, struct err *err) MUST_CHECK;
/*
 * The same where it may be locked with a passphrase: PKCS#8 with PBKDF2, or OpenSSL's older form.
 * *locked: it is. Then, with passphrase NULL, 0 is returned and *key is NULL.
 */
int ossl_key_open(const char *file, struct slice text, const char *passphrase, EVP_PKEY **key,
                  bool *locked, struct err *err) MUST_CHECK;
/* Revocation lists: DER, or one or more PEM blocks. Owned: sk_X509_CRL_pop_free. */
int ossl_crls(const char *file, struct slice text, STACK_OF(X509_CRL) * *crls,
              struct err *err) MUST_CHECK;

int ossl_certs_file(const char *path, bool only_certs, STACK_OF(X509) * *certs,
                    struct err *err) MUST_CHECK;
int ossl_key_file(const char *path, EVP_PKEY **key, struct err *err) MUST_CHECK;
int ossl_crls_file(const char *path, STACK_OF(X509_CRL) * *crls, struct err *err) MUST_CHECK;

/* Say that `file` holds nothing of `what` ("a certificate"): empty, DER, or other blocks. */
void ossl_nothing_found(const char *file, struct slice text, const char *what, struct err *err);

/* Words. What is returned is owned; control characters and quotes come as \xHH. */
char *ossl_name(const X509_NAME *name);                   /* "O=x, CN=y"; "(empty)" */
char *ossl_cn(const X509_NAME *name);                     /* the last CN, "" when none */
void ossl_time(const ASN1_TIME *time, char *text);        /* OSSL_TIME_TEXT bytes */
int64_t ossl_time_s(const ASN1_TIME *time);               /* Unix time; INT64_MIN if unreadable */
void ossl_time_of(int64_t unix_s, char *text);            /* OSSL_TIME_TEXT bytes */
void ossl_serial(const ASN1_INTEGER *serial, char *text); /* OSSL_SERIAL_TEXT bytes */
const char *ossl_key_kind(EVP_PKEY *key, char *text);     /* "RSA-2048"; OSSL_TIME_TEXT bytes */
bool ossl_key_usable(EVP_PKEY *key);                      /* a row of pki.md 2.9 that works */
void ossl_usages(const X509 *cert, struct buf *out);      /* "serverAuth, clientAuth"; "none" */
void ossl_sans(const X509 *cert, struct buf *out);        /* "DNS:a, IP:127.0.0.1"; "none" */
bool ossl_names_equal(const X509_NAME *a, const X509_NAME *b); /* byte for byte, as Go */
/* What OpenSSL last complained of; clears its queue. `text` is filled and returned. */
const char *ossl_reason(char *text, size_t bytes);

unsigned ossl_eku(const X509 *cert); /* X509_SERVER and its like; 0 without the extension */

/*
 * The alternative names, in order: calls `each` with kind 'D' (DNS) or 'I' (address as text), 'E'
 * (mail), 'U' (URI). The text is borrowed for the call.
 */
typedef void ossl_san_fn(void *arg, char kind, const char *text);
void ossl_san_each(const X509 *cert, ossl_san_fn *each, void *arg);

#endif
