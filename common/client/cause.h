/*
 * cause.h - why an exchange failed, in two sentences: the cause with the offending value, and what
 * to do. Pure: facts in, words out. Thread: any.
 */
#ifndef COMMON_CLIENT_CAUSE_H
#define COMMON_CLIENT_CAUSE_H

#include "common/client/client.h"
#include "common/client/endpoint.h"
#include "common/client/handshake.h"

enum cause_phase { PHASE_RESOLVE, PHASE_CONNECT, PHASE_HANDSHAKE, PHASE_ANSWER };

enum cause_kind {
    CAUSE_OTHER, /* see `words` */
    CAUSE_UNKNOWN_HOST,
    CAUSE_NO_CONNECTION, /* `os_error` or `words` say why */
    CAUSE_TIMEOUT,
    CAUSE_NO_HTTP, /* an answer came, and it is no HTTP */
};

struct cause_facts {
    const struct endpoint *endpoint;
    const char *cacert, *cert;    /* files in use; NULL = none */
    const struct cert_words *own; /* the client certificate */
    bool own_expired;
    enum cause_kind kind;
    int os_error;                      /* errno of the last connect(), 0 = none */
    enum cause_phase phase;            /* how far it got */
    const struct handshake *handshake; /* what was seen of TLS */
    bool other_protocol; /* a probe found TLS on this plain endpoint, or the reverse */
    int64_t waited_ms;
    const char *words; /* of who carried the exchange, for what has no kind of its own */
};

void cause_tell(const struct cause_facts *facts, struct client_failure *failure, struct err *err);

#endif
