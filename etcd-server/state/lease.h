/*
 * lease.h - leases and the keys that hang on them; bucket `lease` (formats.md 2.3, api.md 8).
 * What apply does is deterministic; who notices expiry, and when, is the leader's business. Pure.
 * Thread: core.
 */
#ifndef ETCD_SERVER_STATE_LEASE_H
#define ETCD_SERVER_STATE_LEASE_H

#include "common/base/err.h"
#include "common/storage/backend.h"
#include "common/storage/batch.h"

struct lease_store;

struct lease {
    int64_t id;
    int64_t ttl_s;           /* granted */
    int64_t remaining_ttl_s; /* at the last checkpoint; 0 = none */
    struct slice *keys;      /* owned copies, ascending */
    size_t key_count, key_capacity;
};

struct lease_store *lease_store_new(void);
void lease_store_free(struct lease_store *leases);
/* Before mvcc_restore(), which attaches the keys. */
int lease_store_restore(struct lease_store *leases, struct backend_read *read,
                        struct err *err) MUST_CHECK;

const struct lease *lease_find(const struct lease_store *leases,
                               int64_t id); /* NULL: no such lease */
size_t lease_count(const struct lease_store *leases);

/* ERR_LEASE_EXIST, ERR_LEASE_TTL_TOO_LARGE; `id` is not 0, `ttl_s` already raised to the minimum.
 */
enum err_code lease_apply_grant(struct lease_store *leases, int64_t id, int64_t ttl_s,
                                struct batch *batch) MUST_CHECK;
/* Forget the lease; its keys were deleted by the caller. ERR_LEASE_NOT_FOUND. */
enum err_code lease_apply_revoke(struct lease_store *leases, int64_t id,
                                 struct batch *batch) MUST_CHECK;
void lease_apply_checkpoint(struct lease_store *leases, int64_t id, int64_t remaining_ttl_s,
                            struct batch *batch);

void lease_attach(struct lease_store *leases, int64_t id,
                  struct slice key); /* unknown lease: nothing */
void lease_detach(struct lease_store *leases, int64_t id, struct slice key);

#define LEASE_TTL_MAX_S INT64_C(9000000000)

#endif
