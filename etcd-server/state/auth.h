/*
 * auth.h - users, roles and permissions; buckets `auth`, `authUsers`, `authRoles` (formats.md 2.5,
 * api.md 9). What apply does is a function of (state, request). Passwords arrive hashed; tokens are
 * made elsewhere. Pure. Thread: core.
 */
#ifndef ETCD_SERVER_STATE_AUTH_H
#define ETCD_SERVER_STATE_AUTH_H

#include "common/base/err.h"
#include "common/schema/raft_internal.pb-c.h"
#include "common/storage/backend.h"
#include "common/storage/batch.h"
#include "etcd-server/state/lease.h"

#define AUTH_ROOT "root" /* the user that must exist, and the role that may do everything */

struct auth_store;

/* Who makes a call, as its token or certificate says, or as the header of a log entry says. */
struct auth_identity {
    const char *username; /* NULL or "" = nobody; borrowed */
    uint64_t revision;    /* the auth revision this was true at; 0 = nobody */
};

enum auth_access { AUTH_READ, AUTH_WRITE };

struct auth_store *auth_store_new(void);
void auth_store_free(struct auth_store *auth); /* NULL is fine */
/* ERR_DAMAGED names the bucket and the entry. */
int auth_store_restore(struct auth_store *auth, struct backend_read *read,
                       struct err *err) MUST_CHECK;
/*
 * Put the auth revision where auth_store_restore() found none: a store holds it from its first
 * start on, as etcd's does. Outside the log: it says what every member takes for granted.
 */
void auth_store_complete(const struct auth_store *auth, struct batch *batch);

bool auth_enabled(const struct auth_store *auth);
uint64_t auth_revision(const struct auth_store *auth); /* 1 on a new store */
size_t auth_user_count(const struct auth_store *auth);
size_t auth_role_count(const struct auth_store *auth);
/* In order of their names; borrowed until the next change. */
const Authpb__User *auth_user_at(const struct auth_store *auth, size_t position);
const Authpb__Role *auth_role_at(const struct auth_store *auth, size_t position);
const Authpb__User *auth_find_user(const struct auth_store *auth, const char *name); /* or NULL */
const Authpb__Role *auth_find_role(const struct auth_store *auth, const char *name); /* or NULL */
bool auth_has_role(const Authpb__User *user, const char *role);

/* ---- changes: called by apply only, in log order ---- */

/* What a change means for tokens already handed out. */
struct auth_effect {
    bool drop_all;         /* auth was turned off */
    const char *drop_user; /* this user's; NULL = nobody's; borrowed from the request */
};

/* Does `request` change users, roles, or auth itself? */
bool auth_is_change(const Etcdserverpb__InternalRaftRequest *request);
/*
 * Carry out the change in `request`, or refuse it with a row of errors.def and change nothing. A
 * change without an effect (a role granted twice) succeeds and does not move the auth revision.
 */
enum err_code auth_apply(struct auth_store *auth, const Etcdserverpb__InternalRaftRequest *request,
                         struct batch *batch, struct auth_effect *effect) MUST_CHECK;

/* ---- who may do what (api.md 9.2); everything is allowed while auth is off ---- */

/* Anybody who says who he is. ERR_USER_EMPTY; ERR_PERMISSION_DENIED: there is no such user. */
enum err_code auth_check_user(const struct auth_store *auth, struct auth_identity caller);
/* A user with the role root. ERR_USER_EMPTY, ERR_USER_NOT_FOUND, ERR_PERMISSION_DENIED. */
enum err_code auth_check_root(const struct auth_store *auth, struct auth_identity caller);
/* ERR_USER_EMPTY, ERR_AUTH_OLD_REVISION, ERR_PERMISSION_DENIED. */
enum err_code auth_check_keys(struct auth_store *auth, struct auth_identity caller,
                              enum auth_access access, struct slice key, struct slice range_end);
/* A header for what the server proposes by itself and apply checks: revokes of leases. */
void auth_header_as_root(const struct auth_store *auth, Etcdserverpb__RequestHeader *header);
/* Every key attached to the lease; an unknown lease has none. Root may at any revision, as
 * in etcd. */
enum err_code auth_check_lease(struct auth_store *auth, const struct lease_store *leases,
                               struct auth_identity caller, enum auth_access access, int64_t lease);
/* Compares and both branches, nested ones too, whether they will run or not. */
enum err_code auth_check_txn(struct auth_store *auth, const struct lease_store *leases,
                             struct auth_identity caller, const Etcdserverpb__TxnRequest *txn);
/*
 * The check at apply of any log entry (raft.md 9.1): as etcd, so that all members agree. What etcd
 * checks before proposing only (compaction, alarms, grants of leases) passes here.
 */
enum err_code auth_check_request(struct auth_store *auth, const struct lease_store *leases,
                                 const Etcdserverpb__InternalRaftRequest *request);

#endif
