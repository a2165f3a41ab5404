/*
 * peer_answers.h - what the peer door (peer.h) asks, answered by the engine and the service: who
 * the members are, hashes of the store, renewals of leases, promotions. The same object file is in
 * the server and in the simulator. Pure. Thread: core.
 */
#ifndef ETCD_SERVER_DOORS_PEER_ANSWERS_H
#define ETCD_SERVER_DOORS_PEER_ANSWERS_H

#include "etcd-server/doors/peer.h"
#include "etcd-server/service/service.h"

struct peer_answers;

/* Both are borrowed. */
struct peer_answers *peer_answers_new(struct engine *engine, struct service *service);
/* After the last exchange of the door, before the engine; NULL is fine. */
void peer_answers_free(struct peer_answers *answers);
/* All but `ops` and `raft`, which are the caller's to fill in. */
struct peer_env peer_answers_env(struct peer_answers *answers);

#endif
