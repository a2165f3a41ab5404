/*
 * transport_internal.h - what the two kinds of transport have in common: the exchange under way,
 * what was seen of it, what its head says. For transport*.c. Thread: the transport's.
 */
#ifndef COMMON_CLIENT_TRANSPORT_INTERNAL_H
#define COMMON_CLIENT_TRANSPORT_INTERNAL_H

#include "common/client/cause.h"
#include "common/client/transport.h"

#define TRANSPORT_PROBE_MS 700 /* to find out what a port speaks, or why it said no */

struct transport_kind {
    struct transport *(*make)(void);           /* zeroed but for what is the kind's own */
    void (*free)(struct transport *transport); /* all of it */
    /*
     * Carry transport->exchange. False unless all of the answer arrived: then `facts` gets phase,
     * kind, os_error and words, unless transport->stopped or ->expired say enough.
     */
    bool (*perform)(struct transport *transport, struct cause_facts *facts);
    /* Connect once more, say nothing and read: an alert comes to transport->handshake. */
    void (*listen_for_alert)(struct transport *transport);
    /* Does the endpoint speak TLS (when it is plain) or plain HTTP (when it is TLS)? */
    bool (*speaks_other)(struct transport *transport);
};

/* What etcd's clients send as metadata `hasleader: true`, through the gateway. */
#define TRANSPORT_REQUIRE_LEADER "Grpc-Metadata-hasleader: true"

struct transport { /* the first member of each kind's own */
    const struct transport_kind *kind;
    struct transport_options options; /* borrowed texts */
    struct cert_words own;
    bool own_expired;
    /* of the exchange under way, and of the last one */
    struct exchange *exchange;
    struct handshake handshake;  /* of the connection last opened */
    int64_t started_ms, last_ms; /* begin, and when something last arrived */
    bool arrived;                /* part of the body is there */
    bool odd;                    /* a 400 without JSON: so a TLS port of Go answers plain HTTP */
    bool stopped;                /* a callback ended it */
    bool expired;                /* its time limit passed */
};

/* A piece of the body, exchange->status is set; false: stopped. */
bool transport_take(struct transport *transport, struct slice piece);
/* Time passed and nothing came; false: expired or stopped. */
bool transport_wait(struct transport *transport);
/* A line of the head or of the trailers, its end may be missing. */
void transport_take_field(struct transport *transport, struct slice line);
/* A field that goes with the request; NULL: not with this one. It counts if Connection names it. */
#define TRANSPORT_USER_NAME "Etcd-Certificate-User"
const char *transport_user_field(const struct transport *transport);
/* Probe a silent connection, and give it up, as the options say. */
void transport_keep_alive(const struct transport *transport, int fd);

#endif
