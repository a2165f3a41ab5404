/*
 * handshake.h (edge) - what one TLS handshake showed, so that its failure can be told in words:
 * which certificate was refused and why, which alert the server sent, whether it asked for a
 * certificate. OpenSSL stays behind this header. Thread: that of the transfer.
 */
#ifndef COMMON_CLIENT_HANDSHAKE_H
#define COMMON_CLIENT_HANDSHAKE_H

#include "common/base/err.h"

#define CERT_TEXT_MAX 256  /* bytes of a subject or issuer in words, NUL included */
#define CERT_NAMES_MAX 512 /* bytes of a list of SANs in words, NUL included */
#define CERT_DATE_MAX 32   /* "2026-11-22 03:23:38 UTC" */

/* One certificate in words. */
struct cert_words {
    char subject[CERT_TEXT_MAX]; /* "CN=etcd,O=x"; "(empty subject)" */
    char issuer[CERT_TEXT_MAX];
    char names[CERT_NAMES_MAX]; /* "DNS:localhost, IP:127.0.0.1"; "" without SANs */
    char not_before[CERT_DATE_MAX];
    char not_after[CERT_DATE_MAX];
};

enum handshake_fault {
    FAULT_NONE,
    FAULT_HOST,          /* the host is not among the names of the certificate */
    FAULT_EXPIRED,       /* now is after not_after */
    FAULT_NOT_YET_VALID, /* now is before not_before */
    FAULT_UNKNOWN_CA,    /* its issuer is not among the trusted ones */
    FAULT_OTHER,         /* see fault_text */
};

struct handshake {
    const char *host;           /* checked against the certificate; borrowed */
    bool verify;                /* check the server's certificate */
    const char *cacert;         /* with the CAs of this file; NULL: the system's; borrowed */
    bool begun;                 /* TCP is connected, TLS was begun */
    bool asked;                 /* the server asked for a client certificate */
    bool nobody;                /* there is no CA in `cacert` */
    int alert;                  /* TLS alert the server sent (RFC 8446 6); -1 for none */
    enum handshake_fault fault; /* first fault of the server's chain */
    int depth;                  /* of the faulty certificate: 0 is the server's own */
    const char *fault_text;     /* OpenSSL's words; static */
    struct cert_words cert;     /* the faulty certificate */
};

/* Forget what was seen; `host` and `cacert` are borrowed for the handshakes to come. */
void handshake_reset(struct handshake *handshake, const char *host, bool verify,
                     const char *cacert);
/*
 * Look at the handshakes of that SSL_CTX, from now on and as long as both live; the TCP connection
 * is there. The system's CAs are in it already, if they count.
 */
void handshake_watch(struct handshake *handshake, void *ssl_ctx);
/* For OpenSSL, in place of its question on the terminal: no key has a password. */
int handshake_no_password(char *text, int size, int writing, void *arg);

/* PEM files, NULL = none; `cert` and `key` both or none. */
struct credential_files {
    const char *cacert, *cert, *key;
};

/*
 * Check that `cacert` holds nothing but certificates, though it may hold none, as etcdctl has it;
 * and that `cert` and `key` fit.
 *
 * typed   what errors call them: a file may be a copy of what was typed
 * own     filled with the client certificate's words; zeroed without one
 * errors  ERR_IO (names the file), ERR_FORMAT (not PEM), ERR_TLS (key of another certificate)
 */
int credentials_check(const struct credential_files *files, const struct credential_files *typed,
                      struct cert_words *own, bool *own_expired, struct err *err) MUST_CHECK;

#endif
