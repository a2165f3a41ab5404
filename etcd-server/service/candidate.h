/*
 * candidate.h - the queue that Lock and Campaign share: a key per lease under a name, the oldest
 * one owns it.
 *
 *   lease (made when 0) -> create NAME/<lease in hex> or find it -> wait until no older key is left
 *   -> read once more that the own key still exists (its lease may have run out meanwhile) -> won
 *
 * Who waits looks again when the key before its own is deleted, at nothing else. The revision of
 * the key is a fencing number: it grows with every owner of the name. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_CANDIDATE_H
#define ETCD_SERVER_SERVICE_CANDIDATE_H

#include "common/schema/rpc.pb-c.h"
#include "etcd-server/service/subcall.h"

#define CANDIDATE_LEASE_TTL_S 60 /* of a lease made for the caller (api.md 14) */

struct candidate;

/* What was won; borrowed for the callback. */
struct candidate_won {
    struct slice key;
    int64_t lease;
    int64_t create_revision;
    const Etcdserverpb__ResponseHeader *first;  /* of the txn that created or found the key */
    const Etcdserverpb__ResponseHeader *newest; /* of the last read */
};

/*
 * Line up for `name` with `lease` (0: a new one) and `value`; `won` is called once and must end the
 * call. Refusals and the caller's leaving are handled here: both delete the key if it was waiting.
 * `value` replaces that of an own older key when `overwrite` is set.
 */
void candidate_start(struct service *service, struct call *call, struct slice name, int64_t lease,
                     struct slice value, bool overwrite,
                     void (*won)(struct call *call, const struct candidate_won *won));
/* After the events of one turn: those go on whose predecessor's key was deleted. */
void candidates_turn(struct service *service);
/* The service ends: whatever goes on without a caller is dropped. */
void candidates_free(struct service *service);

/* Errors of Lock and Election reach the client with their text and code 2 (api.md 14). */
void candidate_refuse(struct call *call, const char *text);

#endif
