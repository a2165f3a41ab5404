/*
 * http_peer.h - a peer for one connection, or a few, that says what the test wants, in a thread of
 * its own, plain or TLS. Every wait has a bound.
 */
#ifndef TESTS_LIB_HTTP_PEER_H
#define TESTS_LIB_HTTP_PEER_H

#include "common/tls/tls.h"

#include <pthread.h>

#define HTTP_PEER_WAIT_MS 20000

struct http_peer {
    int listener;
    const char *answer;      /* NULL: none, and it stays open until the other side closes */
    const char *const *more; /* for further connections, in their order; NULL: there are none */
    size_t more_count;
    struct tls_context *tls;
    char got[4096]; /* the request, after http_peer_stop() */
    pthread_t thread;
    char url[64]; /* "http://127.0.0.1:PORT", https with `tls` */
};

/* `answer` and `tls` (NULL: plain) are borrowed. */
void http_peer_start(struct http_peer *peer, const char *answer, struct tls_context *tls);
/* The same, and answers[1] to the second connection, and so on; got[] is of the last. */
void http_peer_start_answers(struct http_peer *peer, const char *const *answers, size_t count,
                             struct tls_context *tls);
/* Waits for the end of its connection; if nobody came, none is taken any more. */
void http_peer_stop(struct http_peer *peer);

#endif
