/*
 * peer_dial.h (edge) - one outgoing connection to a member: HTTP/1.1 requests, one at a time. Knows
 * names, sockets and TLS; not what is asked, nor of whom. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PEER_DIAL_H
#define ETCD_SERVER_HOST_PEER_DIAL_H

#include "etcd-server/host/peer_reply.h"
#include "etcd-server/host/peer_request.h"

struct peers;

struct peer_dial; /* one request at a time; kept alive between them while the URL is the same */
struct peer_dial *peer_dial_new(struct peers *peers) MUST_CHECK; /* owned */
void peer_dial_free(struct peer_dial *dial); /* no callback; also from inside one. NULL is fine */
void peer_dial_stop(struct peer_dial *dial); /* give up, close; no callback */
bool peer_dial_busy(const struct peer_dial *dial);
/* Is its connection open and waiting for the next request? */
bool peer_dial_kept(const struct peer_dial *dial);
/* What was asked last; NULL: nothing yet. Borrowed until the next ask. */
const char *peer_dial_url(const struct peer_dial *dial);
void peer_dial_ask(struct peer_dial *dial, const struct peer_ask *ask); /* must not be busy */
bool peer_dial_send(struct peer_dial *dial, struct slice bytes);        /* false: wait for room() */
void peer_dial_stall(struct peer_dial *dial, uint64_t stall_ms); /* another limit from now on */

#endif
