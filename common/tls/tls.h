/*
 * tls.h - TLS as a codec: contexts (what we are and whom we trust) and sessions (one connection).
 * Ciphertext goes in, ciphertext comes out; no descriptor, nothing blocks. OpenSSL stays behind it.
 * Trust is judged as etcd does (pki.md 2): any certificate of the CA file is an anchor, the CN is
 * never a host name, issuer and subject are compared as bytes. Unlike etcd, CA and CRL files are
 * reloaded too, and a CRL has to be signed by its issuer.
 *
 *   server   tls_context_new(); per connection: tls_session_new(), tls_session_input(),
 *            tls_session_handshake() until not TLS_AGAIN, then read and write; send
 *            tls_session_output() whenever it is not empty, after errors too (the alert is in
 *            it); now and then tls_context_refresh().
 *
 * Thread: a context and all its sessions belong to one thread. Reads the wall clock and files.
 */
#ifndef COMMON_TLS_TLS_H
#define COMMON_TLS_TLS_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum tls_role { TLS_SERVER, TLS_CLIENT };

/* A list of texts; borrowed. */
struct tls_list {
    const char *const *items;
    size_t count;
};

/* Everything is borrowed for the call only: a context keeps copies. "" counts as NULL. */
struct tls_config {
    enum tls_role role;
    const char *cert_file;       /* PEM, leaf first; needed by a server */
    const char *key_file;        /* PEM: PKCS#1, SEC1 or PKCS#8, not encrypted */
    const char *ca_file;         /* PEM bundle of anchors; NULL: the system's */
    const char *crl_file;        /* DER, or any number of PEM blocks; NULL: none */
    bool client_cert_auth;       /* server: demand a client certificate; so does ca_file alone */
    bool skip_verify;            /* client: accept whatever the server shows */
    struct tls_list allowed_cns; /* the peer's CN has to be one of them; empty: any */
    struct tls_list allowed_hostnames; /* the peer's SANs have to fit one of them; empty: any */
    struct tls_list cipher_suites;     /* Go's names, for TLS 1.2; empty: the default */
    struct tls_list alpn;              /* "h2", "http/1.1": best first; empty: no ALPN */
    const char *min_version;           /* "TLS1.2" (default) or "TLS1.3" */
    const char *max_version;           /* the same; NULL: the highest */
    int64_t verify_at_s;               /* judge dates at this Unix time; 0: now */
};

/*
 * What can be judged without files, in etcd's words (ERR_USAGE): versions, suites, allow lists,
 * certificate without key. tls_context_new() does it too.
 */
int tls_config_check(const struct tls_config *config, struct err *err) MUST_CHECK;

/* Is it one of Go's names of cipher suites? */
bool tls_suite_known(const char *name);

struct tls_context; /* one listener's, or one client's, certificates and rules */

/*
 * context  owned; ends in tls_context_free(), after its last session
 * errors   ERR_USAGE as above; ERR_IO, ERR_MISSING: a file; ERR_TLS: its content: which file, which
 *          block, what is wrong (no certificate, key of another certificate, encrypted, not a CA
 *          list, CRL that cannot be read ...)
 */
int tls_context_new(const struct tls_config *config, struct tls_context **context,
                    struct err *err) MUST_CHECK;
void tls_context_free(struct tls_context *context); /* NULL is fine */

/*
 * Client: from now on sessions send and check this name, whatever host is dialled; those that check
 * none go on so.
 * thread  that of the sessions
 */
void tls_context_name(struct tls_context *context, const char *name);

enum tls_refresh {
    TLS_REFRESH_SAME,   /* nothing to say: the same set as before is in use */
    TLS_REFRESH_LOADED, /* files changed and are in use for handshakes from now on */
    TLS_REFRESH_BROKEN, /* files changed but cannot be used: err says why; the old set stays in
                           use. Said once per state of the files, at most once a second */
};
/*
 * Look whether any file was replaced (device, inode, size, times). Open sessions keep what they
 * began with; tickets given out before a change are no longer taken, so a revoked client cannot
 * come back with one. A stat() of each file: call it before each handshake.
 * now_ms  any monotonic clock
 */
enum tls_refresh tls_context_refresh(struct tls_context *context, uint64_t now_ms,
                                     struct err *err) MUST_CHECK;

/* For a log line: "CN=cp-1, serial 675c.., until 2027-11-22T01:42:28Z"; "" without a pair. */
const char *tls_context_describe(const struct tls_context *context);
/* What an operator may not expect of the files in use, for a log line; "": nothing. */
const char *tls_context_note(const struct tls_context *context);

struct tls_session; /* one connection */

enum tls_result {
    TLS_OK,
    TLS_AGAIN, /* give more input, or take output */
    TLS_EOF,   /* the peer said close_notify, or its stream ended (tls_session_input_end) */
    TLS_ERROR, /* err says why; the session is dead, but send its output: the alert */
};

/*
 * server_name  client: the host dialled, name or address: sent as SNI and checked against the
 *              SANs (unless skip_verify); NULL: not checked. Server: must be NULL
 * session      owned; borrows the context
 */
int tls_session_new(struct tls_context *context, const char *server_name,
                    struct tls_session **session, struct err *err) MUST_CHECK;
void tls_session_free(struct tls_session *session); /* NULL is fine */

/*
 * Ciphertext in. Either copy it in, or read(2) straight into the room: room() gives at least one
 * byte unless TLS_INPUT_MAX_BYTES wait already (then NULL, 0: handshake or read first);
 * input() returns false when the bytes do not fit.
 */
bool tls_session_input(struct tls_session *session, struct slice ciphertext) MUST_CHECK;
uint8_t *tls_session_input_room(struct tls_session *session, size_t *bytes) MUST_CHECK;
void tls_session_input_advance(struct tls_session *session, size_t bytes);
void tls_session_input_end(struct tls_session *session); /* the peer closed its socket */

/* Ciphertext out: borrowed until the next call on the session; then say how much was sent. */
struct slice tls_session_output(const struct tls_session *session);
void tls_session_output_sent(struct tls_session *session, size_t bytes);

/*
 * Go on with the handshake: TLS_OK when it is done (and ever after), TLS_AGAIN, or TLS_ERROR with
 * the cause in words. A client begins with it, before there is any input. With TLS 1.3 a client is
 * done before the server has judged its certificate: that verdict comes out of the first read.
 */
enum tls_result tls_session_handshake(struct tls_session *session, struct err *err) MUST_CHECK;

/* Plaintext. `*got` is 0 unless TLS_OK. Reads until TLS_AGAIN: input may hold several records. */
enum tls_result tls_session_read(struct tls_session *session, void *room, size_t room_bytes,
                                 size_t *got, struct err *err) MUST_CHECK;
/*
 * `*taken` bytes of plaintext became output; TLS_AGAIN with less than all when the output holds
 * TLS_OUTPUT_MAX_BYTES: send, then go on with the rest. Only after the handshake.
 */
enum tls_result tls_session_write(struct tls_session *session, struct slice plaintext,
                                  size_t *taken, struct err *err) MUST_CHECK;
void tls_session_close(struct tls_session *session); /* queue close_notify; once is enough */

bool tls_session_open(const struct tls_session *session);        /* handshake done, not dead */
bool tls_session_resumed(const struct tls_session *session);     /* by a ticket; for tests */
const char *tls_session_alpn(const struct tls_session *session); /* "h2", or "" when none */
/* "TLSv1.3", "TLS_AES_128_GCM_SHA256": static texts; for tests. */
const char *tls_session_version(const struct tls_session *session);
const char *tls_session_cipher(const struct tls_session *session);

/* The peer's leaf certificate; texts are UTF-8 with control characters as \xHH. */
struct tls_peer {
    const char *cn;      /* "" when it has none; the user's name (pki.md 2.15) */
    const char *subject; /* "O=x, CN=y" */
    const char *issuer;
    const char *serial;   /* lower-case hexadecimal */
    int64_t not_before_s; /* Unix time */
    int64_t not_after_s;
    struct tls_list dns; /* DNS SANs as they are */
    struct tls_list ips; /* address SANs as text: "127.0.0.1", "::1" */
};
/* After the handshake; NULL when the peer showed none. Borrowed from the session. */
const struct tls_peer *tls_session_peer(const struct tls_session *session);

/* What the first bytes of a connection look like. */
enum tls_first {
    TLS_FIRST_MORE, /* too few to say: at most 8 are needed */
    TLS_FIRST_TLS,  /* a handshake record */
    TLS_FIRST_HTTP, /* a request line of plain HTTP/1, or the preface of HTTP/2 */
    TLS_FIRST_OTHER,
};
enum tls_first tls_first_bytes(struct slice bytes);
/* What to answer, in plain, before closing, when a TLS port was sent HTTP; as Go's server does. */
#define TLS_PLAIN_HTTP_ANSWER                                                                      \
    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

#endif
