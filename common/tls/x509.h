/*
 * x509.h - making, reading and describing certificates and keys; OpenSSL stays behind it.
 * What is made is kubeadm's to the byte where kubeadm has an opinion (pki.md 1.2 to 1.6): order of
 * extensions, string types, serials of 63 bits, SHA-256 key identifiers, PKCS#1 and SEC1 files.
 * Knows no files but those it is told to read, and no clock: dates are given.
 * Thread: any, one object at a time. Errors: ERR_USAGE what was asked, ERR_TLS what was found.
 */
#ifndef COMMON_TLS_X509_H
#define COMMON_TLS_X509_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum x509_algorithm {
    X509_RSA_2048,
    X509_RSA_3072,
    X509_RSA_4096,
    X509_ECDSA_P256,
    X509_ECDSA_P384,
    X509_ECDSA_P521, /* --auto-tls only */
    X509_ED25519,
    X509_ALGORITHMS
};
/* "RSA-2048", "rsa:2048", "ECDSA-P256", "p256", "ed25519" ...; false when it is none. */
bool x509_algorithm_parse(const char *text, enum x509_algorithm *algorithm) MUST_CHECK;
const char *x509_algorithm_name(enum x509_algorithm algorithm); /* "RSA-2048" */

/* ---- keys ---- */

struct x509_key; /* a private key; wiped when freed */

struct x509_key *x509_key_new(enum x509_algorithm algorithm); /* owned */
void x509_key_free(struct x509_key *key);                     /* NULL is fine */
int x509_key_read(const char *path, struct x509_key **key, struct err *err) MUST_CHECK;
/*
 * The same for a CA's key, which may be locked with a passphrase; such a key is written locked
 * again. *locked: it is. Then, with passphrase NULL, 0 is returned and *key is NULL.
 */
int x509_key_open(const char *path, const char *passphrase, struct x509_key **key, bool *locked,
                  struct err *err) MUST_CHECK;
/* From now on it is written as PKCS#8, AES-256 and PBKDF2, locked with that; NULL: in plain. */
void x509_key_lock(struct x509_key *key, const char *passphrase);
/* PKCS#1 or SEC1 as kubeadm does; PKCS#8 for Ed25519, or locked. A secret: x509_wipe() it. */
void x509_key_pem(const struct x509_key *key, struct buf *out);
void x509_key_public_pem(const struct x509_key *key, struct buf *out); /* "PUBLIC KEY" */
/* "RSA-2048", "ECDSA-P256" ...; at most 31 characters into `text`, which is returned.
 * This and the next are for tests. */
const char *x509_key_kind(const struct x509_key *key, char text[32]);
bool x509_keys_equal(const struct x509_key *a, const struct x509_key *b);
void x509_wipe(struct buf *buf); /* overwrite and free */

/* ---- alternative names ---- */

struct x509_sans {
    char **dns; /* owned; sorted bytewise, no duplicates */
    size_t dns_count;
    char **ips; /* owned; as inet_ntop() writes them, in the order given, no duplicates */
    size_t ips_count;
};
/*
 * An address (strict: no leading zeros, no zone), or a lower-case RFC 1123 name or a wildcard
 * "*.name"; anything else is an error, never a warning.
 */
int x509_sans_add(struct x509_sans *sans, const char *text, struct err *err) MUST_CHECK;
int x509_sans_add_dns(struct x509_sans *sans, const char *name, struct err *err) MUST_CHECK;
int x509_sans_add_ip(struct x509_sans *sans, const char *address, struct err *err) MUST_CHECK;
void x509_sans_free(struct x509_sans *sans);
bool x509_is_address(const char *text);
bool x509_is_name(const char *text); /* lower-case RFC 1123 subdomain, no wildcard */

/* ---- certificates ---- */

#define X509_SERVER 1u /* serverAuth */
#define X509_CLIENT 2u /* clientAuth */
#define X509_ANY 4u    /* anyExtendedKeyUsage */
#define X509_OTHER 8u  /* one or more besides these */

struct x509_cert; /* one certificate */
struct x509_list {
    struct x509_cert **items; /* owned */
    size_t count;
};

/* What to make. Everything is borrowed. */
struct x509_request {
    const char *cn; /* NULL: none */
    const char *const *orgs;
    size_t org_count;
    const struct x509_sans *sans; /* NULL: none */
    unsigned usages;              /* X509_SERVER | X509_CLIENT; 0 writes no extension */
    int64_t not_before_s;
    int64_t not_after_s;
    bool ca;
    bool crl_sign;    /* with ca: may sign revocation lists */
    bool long_serial; /* 128 bits instead of 63 (--auto-tls) */
};
/*
 * Make a certificate for `key`, signed by `ca_key`; ca_cert NULL: by itself. The caller has asked
 * x509_ca_check(). Refuses what pki.md 4.11 refuses in a request.
 */
int x509_cert_new(const struct x509_request *request, const struct x509_key *key,
                  const struct x509_cert *ca_cert, const struct x509_key *ca_key,
                  struct x509_cert **cert, struct err *err) MUST_CHECK;
/*
 * The same again: subject and extensions of `old` as they are, but new serial, dates, key, and the
 * identifier of its CA. ca_cert NULL: signed by `key` itself. usages 0: those of `old`, else these
 * instead.
 */
int x509_cert_again(const struct x509_cert *old, const struct x509_key *key,
                    const struct x509_cert *ca_cert, const struct x509_key *ca_key, unsigned usages,
                    int64_t not_before_s, int64_t not_after_s, struct x509_cert **cert,
                    struct err *err) MUST_CHECK;
struct x509_cert *x509_cert_copy(const struct x509_cert *cert); /* owned */
void x509_cert_free(struct x509_cert *cert);                    /* NULL is fine */
void x509_cert_pem(const struct x509_cert *cert, struct buf *out);

/* All certificates of a PEM file, in order, at least one. trust_file: other blocks are an error. */
int x509_list_read(const char *path, bool trust_file, struct x509_list *list,
                   struct err *err) MUST_CHECK;
int x509_list_parse(const char *name, struct slice text, bool trust_file, struct x509_list *list,
                    struct err *err) MUST_CHECK;
void x509_list_free(struct x509_list *list);

bool x509_has_key(const struct x509_cert *cert, const struct x509_key *key);
bool x509_certs_equal(const struct x509_cert *a, const struct x509_cert *b); /* same DER */
bool x509_fits_host(const struct x509_cert *cert, const char *host);         /* as judge.h says */
/* May this pair sign now: CA:TRUE, keyCertSign, dates, key. `name` is for the message. */
int x509_ca_check(const char *name, const struct x509_cert *cert, const struct x509_key *key,
                  int64_t now_s, struct err *err) MUST_CHECK;
/*
 * Does chain[0] lead to an anchor by way of the rest, as Go judges it, whatever the date: issuer
 * bytes, CA bits, signatures, usages of CAs (`usage`: X509_SERVER or X509_CLIENT, 0: none).
 */
int x509_chain_check(const struct x509_list *chain, const struct x509_list *anchors, unsigned usage,
                     struct err *err) MUST_CHECK;
/*
 * Of a chain that x509_chain_check() takes: are the CAs of one that leads there all valid at that
 * time? The dates of chain[0] itself are the caller's.
 */
int x509_chain_dates(const struct x509_list *chain, const struct x509_list *anchors, int64_t at_s,
                     struct err *err) MUST_CHECK;
/* Is `ca` the issuer: its subject, byte for byte, and its key made the signature. */
bool x509_issued_by(const struct x509_cert *cert, const struct x509_cert *ca);
/* Does one of the lists in that file carry the certificate's serial? */
int x509_revoked(const char *crl_path, const struct x509_cert *cert, bool *revoked,
                 struct err *err) MUST_CHECK;

/* ---- requests ---- */

struct x509_csr; /* a certificate signing request (PKCS#10) */

/* A request with subject and alternative names, signed by its own key; owned. */
int x509_csr_new(const struct x509_request *request, const struct x509_key *key,
                 struct x509_csr **csr, struct err *err) MUST_CHECK;
/*
 * Read and judge: refuses a wrong signature, a request to be a CA, a weak or unusable key, a common
 * name that is empty or too long, and names that are neither DNS names nor addresses (pki.md 4.11).
 */
int x509_csr_parse(const char *name, struct slice text, struct x509_csr **csr,
                   struct err *err) MUST_CHECK;
int x509_csr_read(const char *path, struct x509_csr **csr, struct err *err) MUST_CHECK;
void x509_csr_free(struct x509_csr *csr); /* NULL is fine */
void x509_csr_pem(const struct x509_csr *csr, struct buf *out);
const struct x509_sans *x509_csr_sans(const struct x509_csr *csr); /* borrowed */
/* Sign it: subject and key are the request's, names, usages and dates those of `request`. */
int x509_csr_sign(const struct x509_csr *csr, const struct x509_request *request,
                  const struct x509_cert *ca_cert, const struct x509_key *ca_key,
                  struct x509_cert **cert, struct err *err) MUST_CHECK;

/* ---- revocation lists ---- */

struct x509_crl; /* being made: version 2, with a number and the identifier of the CA */

struct x509_crl *x509_crl_new(void); /* owned; no entries */
/* The entries and the number of a list that is there: DER or PEM. */
int x509_crl_read(const char *path, struct x509_crl **crl, struct err *err) MUST_CHECK;
void x509_crl_free(struct x509_crl *crl); /* NULL is fine */
size_t x509_crl_count(const struct x509_crl *crl);
/*
 * serial  hexadecimal, as x509_describe() gives it
 * reason  RFC 5280's word ("keyCompromise"); NULL: none
 * known   set: it was in the list before; then nothing changes
 */
int x509_crl_add(struct x509_crl *crl, const char *serial, const char *reason, int64_t when_s,
                 bool *known, struct err *err) MUST_CHECK;
/* The next number, sorted, dated and signed; DER and, unless NULL, PEM. */
int x509_crl_sign(struct x509_crl *crl, const struct x509_cert *ca_cert,
                  const struct x509_key *ca_key, int64_t now_s, int64_t next_s, struct buf *der,
                  struct buf *pem, struct err *err) MUST_CHECK;

struct x509_crl_shape { /* of a file with revocation lists */
    bool der;
    bool leading_text;     /* PEM that does not begin with its block */
    bool version2;         /* all of them */
    size_t count;          /* lists */
    int64_t next_update_s; /* of the first; 0: none */
    bool signed_here;      /* the first is signed by one of the anchors */
    bool signer_may;       /* ... and that has CRL Sign, or no Key Usage at all */
};
int x509_crl_look(const char *path, const struct x509_list *anchors, struct x509_crl_shape *shape,
                  struct err *err) MUST_CHECK;

/* A certificate in words; everything owned. */
struct x509_info {
    char *subject; /* "O=x, CN=y" */
    char *issuer;
    char *cn;             /* "" when none */
    char *serial;         /* lower-case hexadecimal, "-" in front when negative */
    char *key;            /* "RSA-2048" */
    char *signature;      /* "sha256WithRSAEncryption" */
    char *key_usage;      /* "Digital Signature, Key Encipherment" or "none" */
    char *extended_usage; /* "serverAuth, clientAuth" or "none" */
    char *sans;           /* "DNS:a, IP:127.0.0.1" or "none" */
    char *fingerprint;    /* SHA-256, lower-case hexadecimal */
    char not_before[32];  /* "2027-11-22T01:42:28Z" */
    char not_after[32];
    int64_t not_before_s;
    int64_t not_after_s;
    unsigned usages; /* X509_ bits; 0 without the extension */
    unsigned key_bits;
    bool ca;          /* CA:TRUE */
    bool cert_sign;   /* keyCertSign, or no Key Usage at all */
    bool crl_sign;    /* cRLSign, or no Key Usage at all */
    bool self_issued; /* issuer equals subject, byte for byte */
    bool weak_hash;   /* signed with SHA-1 or MD5 */
    bool serial_bad;  /* zero or negative */
};
void x509_describe(const struct x509_cert *cert, struct x509_info *info);
void x509_info_free(struct x509_info *info);
/* Each SAN in order: kind 'D' or 'I' (others are left out), the text borrowed for the call. */
typedef void x509_san_fn(void *arg, char kind, const char *text);
void x509_sans_each(const struct x509_cert *cert, x509_san_fn *each, void *arg);

/* ---- looking at a live endpoint (x509_probe.c; reads and writes the socket, blocks) ---- */

/* How far it came. */
enum x509_step {
    X509_STEP_HANDSHAKE, /* the handshake failed: `said` */
    X509_STEP_REFUSED,   /* after it, an alert or a close: `said`; alert 0: closed without one */
    X509_STEP_ANSWERED,  /* data came */
};
struct x509_seen { /* everything owned; x509_seen_free() */
    enum x509_step step;
    int alert;    /* of the other side; 0: none */
    char *said;   /* in words; "" when all went well */
    char *answer; /* the HTTP answer as text, cut at 16 KiB; "" */
    char *asks;   /* names of CAs the server asks for, "CN=a; CN=b" */
    size_t asks_count;
    bool asked; /* for a client certificate at all */
    bool plain; /* the other side speaks no TLS */
    char version[16], cipher[64];
    struct x509_list chain; /* served, as sent */
};
/*
 * TLS on a connected blocking socket (with its timeouts set) as Go's client does it, then one small
 * HTTP/1.1 request for `path`, then a read: with TLS 1.3 that is where a refusal shows. Trusts
 * whatever is served: the caller judges the chain. cert NULL: no client certificate.
 */
int x509_probe(int fd, const char *host, const char *path, const struct x509_list *cert,
               const struct x509_key *key, struct x509_seen *seen, struct err *err) MUST_CHECK;
void x509_seen_free(struct x509_seen *seen);

void x509_time_text(int64_t unix_s, char text[32]);
/* RFC 3339 in UTC ("2027-11-22T01:42:28Z"), or a date alone. */
bool x509_time_parse(const char *text, int64_t *unix_s) MUST_CHECK;

#endif
