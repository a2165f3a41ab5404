/*
 * conn.h (edge) - one connection of a client, plain or TLS, with a deadline for every wait: opened,
 * written, read. Why a handshake failed is seen by the struct handshake of its trust. Knows no
 * HTTP. OpenSSL stays behind this header. Thread: one at a time.
 */
#ifndef COMMON_CLIENT_CONN_H
#define COMMON_CLIENT_CONN_H

#include "common/base/slice.h"
#include "common/client/dial.h"
#include "common/client/handshake.h"

struct conn_trust; /* whom to trust and what to show: for handshakes with one host */

/* PEM files; borrowed for the call; NULL: no certificate. Checked before: credentials_check(). */
struct conn_files {
    const char *cert, *key;
};

/*
 * handshake  reset for the host; sees the handshakes to come; borrowed for the life of the trust
 * returns    owned; NULL: `words` (static) say what is wrong
 */
struct conn_trust *conn_trust_new(const struct conn_files *files, struct handshake *handshake,
                                  const char **words) MUST_CHECK;
void conn_trust_free(struct conn_trust *trust); /* NULL is fine */

enum conn_result {
    CONN_OK,
    CONN_END,     /* the other side closed: in order, as far as its protocol can say so */
    CONN_LATE,    /* the deadline passed */
    CONN_STOPPED, /* tick() said so */
    CONN_BROKEN,  /* os_error or words say why */
};

struct conn {
    int fd;                  /* -1: none */
    struct ssl_st *ssl;      /* NULL: plain */
    int64_t until_ms;        /* clock_ms(); 0: no deadline. May be changed between calls */
    bool (*tick)(void *arg); /* while waiting, about once a second; false: stop. May be NULL */
    void *arg;
    int os_error;      /* errno; 0: see words */
    const char *words; /* static */
};

/* The handshake, on a connection that dial() has opened. */
enum conn_result conn_handshake(struct conn *conn, struct conn_trust *trust,
                                const char *host) MUST_CHECK;
/* All of it. */
enum conn_result conn_write(struct conn *conn, struct slice bytes) MUST_CHECK;
/* At least a byte, `*got` of them; only CONN_OK sets it. */
enum conn_result conn_read(struct conn *conn, void *room, size_t bytes, size_t *got) MUST_CHECK;
void conn_close(struct conn *conn); /* with a goodbye if there is TLS; one without fd is fine */

#endif
