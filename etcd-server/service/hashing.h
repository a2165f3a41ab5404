/*
 * hashing.h - hashes of the store (HashKV, formats.md 11.3), each made in slices: one slice per
 * turn of the loop, so that a large store does not hold up its clients, and one walk after the
 * other. Asked for by Maintenance, by other members and by the corruption check.
 *
 *   at once     what needs no walk: refusals, and hashes that compactions left behind
 *   shared      a walk answers all who ask for the same revision above the same compaction, also
 *               those who come while it is under way
 *   in turn     members before clients, else in the order asked for; a hash of the current revision
 *               is of when its turn comes; what was compacted before its turn is refused then
 *
 * Pure. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_HASHING_H
#define ETCD_SERVER_SERVICE_HASHING_H

#include "etcd-server/host/host.h"
#include "etcd-server/service/metrics.h"
#include "etcd-server/state/mvcc.h"

struct hashing;

/* One hash; the asker owns it and fills in the first part. */
struct hash_query {
    int64_t revision; /* 0 = the current one */
    bool of_member;   /* a comparison of stores, by this member or another; else a client's */
    /*
     * Exactly once, in hashing_start() or later, unless hashing_cancel() came first. `result` is
     * borrowed for the call; NULL on refusal: ERR_COMPACTED, ERR_FUTURE_REV, and
     * ERR_REQUEST_TOO_MANY_REQUESTS when HASHES_WAITING_MAX wait. From here other hashes may be
     * started and cancelled.
     */
    void (*done)(struct hash_query *query, enum err_code code,
                 const struct mvcc_hash_result *result);
    struct hash_run *run; /* this and the rest: the hashing's; NULL: none under way */
    struct hash_query *previous, *next;
    int64_t current_revision; /* when the store was looked at for it */
};

/* All borrowed; how long hashes took goes into `metrics`. */
struct hashing *hashing_new(struct mvcc *mvcc, struct host *host, struct metrics *metrics);
void hashing_free(struct hashing *hashing); /* what is under way is dropped; NULL is fine */
bool hashing_turn(struct hashing *hashing); /* a slice; true: there is more to do */
void hashing_start(struct hashing *hashing, struct hash_query *query);
void hashing_cancel(struct hash_query *query); /* fine when it is done */

#endif
