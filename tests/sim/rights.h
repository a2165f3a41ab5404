/*
 * rights.h - users, roles and who may do what, a second time and as simply as possible (api.md 9):
 * four users, four roles, permissions as a list that is walked. Part of the model: driven by the
 * log. Tokens are here as the log makes and drops them; that they expire is of a member's clock.
 */
#ifndef TESTS_SIM_RIGHTS_H
#define TESTS_SIM_RIGHTS_H

#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/schema/raft_internal.pb-c.h"

#define RIGHTS_NAMES 4 /* of users, and of roles: root first */
#define RIGHTS_PERMISSIONS_MAX 64
#define RIGHTS_TOKENS_MAX 128 /* the newest */
#define RIGHTS_TOKEN_BYTES 48
#define RIGHTS_HASH_BYTES 72
#define RIGHTS_KEY_BYTES 8

extern const char *const rights_users[RIGHTS_NAMES], *const rights_roles[RIGHTS_NAMES];

struct rights_permission {
    unsigned type; /* 0 read, 1 write, 2 both */
    char key[RIGHTS_KEY_BYTES], end[RIGHTS_KEY_BYTES];
    size_t key_bytes, end_bytes;
};

struct rights_role {
    bool exists;
    struct rights_permission permissions[RIGHTS_PERMISSIONS_MAX];
    size_t count;
};

struct rights_user {
    bool exists;
    unsigned roles; /* a bit each */
    char hash[RIGHTS_HASH_BYTES];
};

struct rights_token {
    char text[RIGHTS_TOKEN_BYTES];
    unsigned user;
    bool dropped;
};

struct rights {
    bool enabled;
    uint64_t revision;
    struct rights_user users[RIGHTS_NAMES];
    struct rights_role roles[RIGHTS_NAMES];
    struct rights_token tokens[RIGHTS_TOKENS_MAX];
    size_t token_count; /* ever; they go round */
};

struct model;

void rights_init(struct rights *rights);
/* -1: no such name. */
int rights_name(const char *const names[RIGHTS_NAMES], const char *name);
/* NULL: never made, or so long ago that it was overwritten. */
const struct rights_token *rights_token(const struct rights *rights, const char *text);

/* Is it one that is answered here? */
bool rights_are_asked(const Etcdserverpb__InternalRaftRequest *request);
/* Carry it out, or refuse it. `index`: of the entry. */
enum err_code rights_apply(struct rights *rights, const Etcdserverpb__InternalRaftRequest *request,
                           uint64_t index);
/* May the caller that the header names do what the entry asks for? */
enum err_code rights_check(const struct model *model,
                           const Etcdserverpb__InternalRaftRequest *request);
/* A read by whoever has the token; NULL: none. */
enum err_code rights_check_range(const struct model *model, const char *token,
                                 const Etcdserverpb__RangeRequest *range);
enum err_code rights_check_txn(const struct model *model, const char *token,
                               const Etcdserverpb__TxnRequest *txn);
/* Watching, and observing an election, is reading. */
enum err_code rights_check_keys(const struct model *model, const char *token, bool write,
                                ProtobufCBinaryData key, ProtobufCBinaryData end);
/* Any user may renew a lease, if he may write all its keys. */
enum err_code rights_check_renewal(const struct model *model, const char *token, int64_t lease);

#endif
