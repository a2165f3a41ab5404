/*
 * transport.h (edge) - one POST of JSON (or a GET) to one endpoint, and in words why it failed.
 *
 * Two kinds carry it, and say the same of what goes wrong (cause.h):
 *   transport_curl    libcurl; keeps its connection. For who asks many things (etcd-ctl).
 *   transport_direct  a socket and OpenSSL; a connection for each exchange. The bytes of a body go
 *                     where they belong in one step, and there are no 30 libraries to be loaded
 *                     first: for who asks for one large thing (etcd-snap).
 * Thread: one at a time.
 */
#ifndef COMMON_CLIENT_TRANSPORT_H
#define COMMON_CLIENT_TRANSPORT_H

#include "common/base/buf.h"
#include "common/client/client.h"
#include "common/client/endpoint.h"
#include "common/client/handshake.h"

struct transport; /* what is needed to open a connection, and the one that is kept */

struct transport_options {
    const char *cacert, *cert, *key; /* PEM files, NULL = none; borrowed for the transport's life */
    struct credential_files typed;   /* what errors call them, NULL = the same; borrowed alike */
    bool skip_verify;
    bool certificate_user; /* `cert` says who asks: there are no other credentials */
    int64_t dial_timeout_ms;
    int64_t keepalive_time_ms, keepalive_timeout_ms; /* 0 = the client's defaults */
    client_trace_fn *trace;                          /* NULL = nobody */
};

enum transport_result {
    TRANSPORT_ANSWERED, /* an HTTP status arrived, and all of the body */
    TRANSPORT_NOT_SENT, /* the server cannot have seen the request */
    TRANSPORT_PASSING,  /* not sent, for a cause that may pass: refused, socket not there yet */
    TRANSPORT_UNSURE,   /* it may have */
    TRANSPORT_STOPPED,  /* a callback said so; err is what it left there */
};

struct exchange {
    const struct endpoint *endpoint; /* borrowed */
    const char *path;                /* "/v3/kv/put" */
    struct slice body;
    const char *token;  /* NULL = none */
    const char *accept; /* what answers are understood, for the server to choose; NULL = not said */
    bool require_leader; /* the server is to end the stream when it has no leader for long */
    int64_t timeout_ms;  /* until the whole answer, or in a stream its first bytes, are there; 0 =
                            none */
    bool stream;
    bool get; /* GET, without a body */
    /* A piece of the body; false stops the transfer. */
    bool (*chunk)(void *arg, long status, struct slice piece);
    /* Where the next bytes of the body would best lie, `*bytes` at least 1: they may or may not
     * come to lie there. NULL, also as an answer: anywhere. */
    uint8_t *(*room)(void *arg, size_t *bytes);
    /* About once a second while nothing arrives; false stops. May be NULL. */
    bool (*idle)(void *arg, int64_t waited_ms);
    void *arg;
    long status;                 /* out: HTTP status */
    struct client_octets octets; /* out, from the first piece on; `crc` at the end */
};

struct transport_kind;
extern const struct transport_kind transport_curl, transport_direct;

/* Check the files (ERR_IO, ERR_FORMAT, ERR_TLS); no connection yet. */
int transport_new(const struct transport_kind *kind, const struct transport_options *options,
                  struct transport **transport, struct client_failure *failure,
                  struct err *err) MUST_CHECK;
void transport_free(struct transport *transport); /* NULL is fine */
/* From now on: transport_options.certificate_user. */
void transport_set_certificate_user(struct transport *transport, bool certificate_user);

/* On NOT_SENT, PASSING and UNSURE err and failure tell the cause and what to do. */
enum transport_result transport_exchange(struct transport *transport, struct exchange *exchange,
                                         struct client_failure *failure,
                                         struct err *err) MUST_CHECK;

#endif
