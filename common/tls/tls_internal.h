/*
 * tls_internal.h - what the files of tls.h share: the loaded set, the context, the session.
 * Private to common/tls. Thread: as tls.h says.
 */
#ifndef COMMON_TLS_TLS_INTERNAL_H
#define COMMON_TLS_TLS_INTERNAL_H

#include "common/tls/ossl.h"
#include "common/tls/tls.h"

#include <openssl/ssl.h>
#include <sys/stat.h>

#define TLS_FILES 4 /* certificate, key, CA, CRL */

/* One reading of the files: never changed, dies with its last user. */
struct tls_set {
    unsigned users;                  /* the context, and each session that began with it */
    SSL_CTX *ssl;                    /* owned */
    STACK_OF(X509) * anchors;        /* owned; NULL: the system's */
    STACK_OF(X509_CRL) * crls;       /* owned; signed by an anchor ... */
    STACK_OF(X509_CRL) * far_crls;   /* owned; ... or perhaps by an authority that the peer sends */
    const struct tls_config *config; /* borrowed from the context */
    char *describe;                  /* owned; of our own leaf */
    char *note;                      /* owned; NULL: nothing is odd about the files */
};

/* What a file looked like; absent is a state too. */
struct tls_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
    bool there;
};

struct tls_context {
    struct tls_config config; /* owns copies of its texts */
    struct tls_set *set;      /* in use for new sessions */
    BIO_METHOD *bio;          /* owned; ciphertext from and to a session's bufs */
    struct tls_stamp stamps[TLS_FILES];
    uint64_t quiet_until_ms; /* a failure was reported a moment ago ... */
    bool unsaid;             /* ... and since then there was another */
    SSL_SESSION *ticket;     /* client: the last one given, owned ... */
    char *ticket_name;       /* ... and the server it came from, owned */
    char *name;              /* client: instead of the host dialled; owned; NULL: that host */
};

struct tls_session {
    struct tls_context *context; /* borrowed */
    struct tls_set *set;         /* one user of it */
    SSL *ssl;                    /* owned */
    struct buf in, out;          /* ciphertext */
    char *server_name;           /* owned; NULL on servers */
    bool began;                  /* the first bytes were looked at */
    bool done;                   /* handshake */
    bool dead;
    bool input_ended;
    bool close_sent;
    char *cause; /* owned: what the verification found, in words */
    struct tls_peer *peer;
};

void tls_set_release(struct tls_set *set); /* NULL is fine */

/* Versions of a checked config as TLS1_2_VERSION ...; suites as OpenSSL's list, owned,
 * NULL: none */
int tls_version_number(const char *text);
char *tls_suites_list(const struct tls_config *config, bool *only_tls13);

/* SSL_CTX_set_cert_verify_callback(): judges a chain as Go does, leaves the cause in the
 * session. */
int tls_verify_chain(X509_STORE_CTX *store, void *arg);
/* What a resumed handshake does not look at again: the dates. false: session->cause says why. */
bool tls_verify_resumed(struct tls_session *session, const X509 *leaf);
/* The peer's leaf in words; NULL when it showed none. Owned. */
struct tls_peer *tls_peer_new(const X509 *leaf);
void tls_peer_free(struct tls_peer *peer);
/* Turn OpenSSL's error queue into a sentence about this handshake. */
void tls_failure(const struct tls_session *session, struct err *err);

#endif
