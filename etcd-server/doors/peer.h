/*
 * peer.h - what a peer URL serves beside the raft transport: /version, /members, /members/promote,
 * /members/hashkv, /downgrade/enabled, /learners, /leases, /leases/internal (api.md 13.2,
 * raft.md 4.6). Asks the server through struct peer_env. Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_PEER_H
#define ETCD_SERVER_DOORS_PEER_H

#include "common/base/err.h"
#include "etcd-server/doors/exchange.h"

struct ops;

struct peer_urls {
    const char *const *items;
    size_t count;
};

struct peer_member {
    uint64_t id;
    const char *name; /* "" = not started yet */
    struct peer_urls peer_urls;
    struct peer_urls client_urls;
    bool is_learner;
};

struct peer_hash_facts {
    int64_t revision; /* the current one */
    uint32_t hash;
    int64_t compact_revision; /* -1 = never compacted */
    bool living;              /* some key lives at the revision hashed */
    bool has_history;         /* none does, and: (struct mvcc_history) */
    uint32_t history;
    int64_t history_compact_revision;
};

/* A hash of the store, begun by the door. Its memory is the door's. */
struct peer_hash {
    int64_t revision; /* asked for; 0 = the current one */
    void *state;      /* the environment's */
    /* To be called exactly once, at once or later, unless cancel_hash() came first. `facts` are
     * borrowed for the call, NULL on refusal. */
    void (*done)(struct peer_hash *query, enum err_code code, const struct peer_hash_facts *facts);
};

/* What is known of a lease; `keys` are given when they were asked for. */
struct peer_lease_facts {
    int64_t ttl_s; /* left; of a renewal: from now on */
    int64_t granted_ttl_s;
    const struct slice *keys;
    size_t key_count;
};

/* A renewal or a TimeToLive that a follower sends to its leader. Its memory is the door's. */
struct peer_lease {
    int64_t id;
    bool renew;  /* else TimeToLive */
    bool keys;   /* TimeToLive: with the keys on it */
    void *state; /* the environment's */
    /*
     * To be called exactly once, at once or later, unless cancel_lease() came first. `facts` are
     * borrowed for the call, NULL on refusal: ERR_LEASE_NOT_FOUND, ERR_NOT_LEADER,
     * ERR_TIMEOUT_WAIT_APPLIED_INDEX, or another.
     */
    void (*done)(struct peer_lease *query, enum err_code code,
                 const struct peer_lease_facts *facts);
};

/* A promotion that a follower sends to its leader. Its memory is the door's. */
struct peer_promote {
    uint64_t id;       /* of the learner */
    const char *token; /* of the caller; NULL = none; borrowed until done() */
    void *state;       /* the environment's */
    /* To be called exactly once, at once or later, unless cancel_promote() came first; `text` says
     * why it was refused. */
    void (*done)(struct peer_promote *query, enum err_code code, const char *text);
};

/* Filled in by main. */
struct peer_env {
    void *arg;
    uint64_t (*cluster_id)(void *arg);
    /* Everything borrowed until the next turn. */
    size_t (*members)(void *arg, const struct peer_member **members);
    bool (*downgrade_enabled)(void *arg);
    uint64_t (*learners_max)(void *arg); /* at a time, as this member is set */
    void (*hash)(void *arg, struct peer_hash *query);
    void (*cancel_hash)(void *arg, struct peer_hash *query);
    void (*lease)(void *arg, struct peer_lease *query);
    void (*cancel_lease)(void *arg, struct peer_lease *query);
    void (*promote)(void *arg, struct peer_promote *query);
    void (*cancel_promote)(void *arg, struct peer_promote *query);
    struct ops *ops;                     /* for /version; borrowed */
    const struct exchange_handler *raft; /* takes /raft and below; NULL: there is no transport */
};

struct peer_door;
struct peer_door *peer_door_new(const struct peer_env *env) MUST_CHECK; /* owned */
void peer_door_free(struct peer_door *door); /* after its last exchange; NULL is fine */
struct exchange_handler peer_door_handler(struct peer_door *door);

#endif
