/*
 * lease.h - leases and the keys that hang on them; bucket `lease` (formats.md 2.3, api.md 8).
 *
 * What apply does is deterministic: which leases there are, their TTLs, their keys. Time is not
 * part of that: only the leader counts it (raft.md 9.6), from lease_promote() to lease_demote(),
 * in milliseconds of a monotonic clock that the caller hands in. Running out changes nothing in
 * here: the leader proposes a revoke, and its apply ends the lease. Pure. Thread: core.
 */
#ifndef ETCD_SERVER_STATE_LEASE_H
#define ETCD_SERVER_STATE_LEASE_H

#include "common/base/err.h"
#include "common/storage/backend.h"
#include "common/storage/batch.h"
#include "etcd-server/state/key_set.h"

struct lease_store;

struct lease {
    int64_t id;
    int64_t ttl_s;           /* granted */
    int64_t remaining_ttl_s; /* at the last checkpoint; 0 = none */
    uint64_t deadline_ms;    /* runs out then; only while time is counted */
    uint64_t wake_ms;        /* the leader looks at it then: deadline, checkpoint, or next try */
    size_t place;            /* the store's own: in its heap */
    struct key_set keys;
};

/* What a service wants to hear of; each may be NULL. Not called for what restore finds. */
struct lease_hooks {
    void *arg;
    void (*granted)(void *arg, int64_t ttl_s);
    void (*revoked)(void *arg, int64_t id); /* it is gone already */
};

struct lease_store *lease_store_new(void);
void lease_store_free(struct lease_store *leases);
/* Before mvcc_restore(), which attaches the keys. */
int lease_store_restore(struct lease_store *leases, struct backend_read *read,
                        struct err *err) MUST_CHECK;
void lease_store_hook(struct lease_store *leases, const struct lease_hooks *hooks);

/* NULL: no such lease. */
const struct lease *lease_find(const struct lease_store *leases, int64_t id);
size_t lease_count(const struct lease_store *leases);

/* A lease in a list. */
struct lease_place {
    uint64_t order; /* by the time it has left */
    int64_t id;
};
/* Every lease, in no order, into `places` with room for lease_count(). */
void lease_collect(const struct lease_store *leases, struct lease_place *places);
/* The one with least time left first. Thread: any. */
void lease_places_sort(struct lease_place *places, size_t count);

/* ---- apply, in log order ---- */

/*
 * ERR_LEASE_EXIST, ERR_LEASE_TTL_TOO_LARGE; `id` is not 0, `ttl_s` already raised to the minimum.
 * `now_ms` matters where time is counted only.
 */
enum err_code lease_apply_grant(struct lease_store *leases, int64_t id, int64_t ttl_s,
                                uint64_t now_ms, struct batch *batch) MUST_CHECK;
/*
 * Take the keys off lease `id`, for the caller to delete them; ends in key_set_free(). Empty when
 * there is no such lease.
 */
struct key_set lease_take_keys(struct lease_store *leases, int64_t id);
/* Forget the lease; its keys were deleted by the caller. ERR_LEASE_NOT_FOUND. */
enum err_code lease_apply_revoke(struct lease_store *leases, int64_t id,
                                 struct batch *batch) MUST_CHECK;
/* `batch` NULL: remembered, not stored. */
void lease_apply_checkpoint(struct lease_store *leases, int64_t id, int64_t remaining_ttl_s,
                            struct batch *batch);

/* Unknown lease: nothing. */
void lease_attach(struct lease_store *leases, int64_t id, struct slice key);
void lease_detach(struct lease_store *leases, int64_t id, struct slice key);

/* ---- time, on the leader ---- */

/*
 * Begin to count: every lease gets `extend_ms` and the time it had at its last checkpoint, or all
 * of it. `others`: there may be a leader of before who does not know it yet and renews leases for
 * so long; what is granted or renewed here reaches as far as its own meanwhile (it may have granted
 * what is only applied now). `checkpoint_ms` is the interval of
 * checkpoints, 0 = none are made.
 */
void lease_promote(struct lease_store *leases, uint64_t now_ms, uint64_t extend_ms, bool others,
                   uint64_t checkpoint_ms);
void lease_demote(struct lease_store *leases); /* stop counting; fine when it did not count */
bool lease_is_counting(const struct lease_store *leases); /* for tests */
/* The whole time again. The lease exists; only while counting. */
void lease_renew(struct lease_store *leases, int64_t id, uint64_t now_ms);
bool lease_is_expired(const struct lease *lease, uint64_t now_ms);
int64_t lease_remaining_s(const struct lease *lease, uint64_t now_ms); /* rounded down, from 0 */
/*
 * The lease that waits longest to be looked at, NULL when none is due. Expired: propose its revoke;
 * else its checkpoint. Either way say with lease_wake_at() when to look again.
 */
const struct lease *lease_next_due(const struct lease_store *leases, uint64_t now_ms);
/* Not later than the deadline, unless that has passed. No such lease: nothing. */
void lease_wake_at(struct lease_store *leases, int64_t id, uint64_t now_ms, uint64_t wake_ms);

#define LEASE_TTL_MAX_S INT64_C(9000000000)

#endif
