/*
 * client_internal.h - a client from the inside, for its own files: client.c (making, calls),
 * client_stream.c, client_get.c, choose.c. Thread: the client's.
 */
#ifndef COMMON_CLIENT_CLIENT_INTERNAL_H
#define COMMON_CLIENT_CLIENT_INTERNAL_H

#include "common/client/client.h"
#include "common/client/endpoint.h"
#include "common/client/transport.h"

#define CLIENT_RETRY_PAUSE_MS 100

struct client {
    struct client_options options; /* texts owned */
    int copies[3];                 /* of cacert, cert and key that were pipes; -1 = none */
    char *typed[3];                /* the names of cacert, cert and key; owned */
    struct endpoint *endpoints;    /* owned */
    size_t count;
    size_t current; /* endpoint that worked last */
    bool chosen;    /* it said something, or none did */
    struct transport *transport;
    struct transport *prober; /* asks beside a stream (alive.c); NULL = not yet */
    char *token;              /* owned, wiped; NULL = none */
    bool login_done;
    struct client_failure failure;
};

/* What arrives of one answer; the `arg` of an exchange. */
struct answer {
    struct client *client;
    const struct endpoint *endpoint;
    const struct rpc_row *row;
    struct buf body;
    long status;
    bool probe_leader; /* look for a leader while waiting */
    int leaderless;    /* times that none was found */
    /* streams only */
    const struct client_sink *sink;
    const struct exchange *exchange;
    int64_t heard_ms; /* clock_ms() when the server answered beside the stream; 0 = never */
    bool ended;       /* `each` said so */
    bool failed;      /* err is filled */
    struct err *err;
};

/* For exchange.chunk, with a struct answer: keeps the body, up to its maximum. */
bool client_on_piece(void *arg, long status, struct slice piece);
/* Make one that answers the current endpoint, if there are several and it is not known which does.
 */
void client_choose(struct client *client);
/* Does the server there say anything at all to a small question? */
bool client_speaks(struct transport *transport, const struct endpoint *endpoint,
                   int64_t timeout_ms);
/* For exchange.idle of a stream, with a struct answer: false when its server is silent for good and
 * another may not be. */
bool client_still_there(void *arg, int64_t waited_ms);
/* Ask for a token. 0 also when authentication is off. */
int client_login(struct client *client, struct err *err) MUST_CHECK;
/* Was the last refusal about the token, so that a new one may help? */
bool client_old_token(const struct client *client, const struct err *err);

#endif
