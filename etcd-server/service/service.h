/*
 * service.h - the handlers behind the table of RPCs: shape checks, proposals, reads, answers.
 *
 * A handler takes a struct call (call.h), asks the engine, and answers through the call. It knows
 * no door and no socket; which function handles which row is one table in service.c. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_SERVICE_H
#define ETCD_SERVER_SERVICE_SERVICE_H

#include "etcd-server/engine/engine.h"
#include "etcd-server/service/call.h"
#include "etcd-server/service/metrics.h"

struct hashing;
struct lease_duty;
struct jwt;
struct slow;

struct service_config {
    struct engine *engine;   /* borrowed */
    struct metrics *metrics; /* borrowed */
    struct slow *slow;       /* who hears how long calls took (slow.h); borrowed; NULL: nobody */
    size_t max_txn_ops;
    int64_t quota_bytes; /* negative = none */
    bool strict_reconfig_check;
    uint64_t learners_max;    /* at a time, as this member is set; 0: one */
    bool stop_on_defrag;      /* the health service says NOT_SERVING while one runs */
    bool lease_checkpoints;   /* made by the leader */
    size_t max_message_bytes; /* of events above this are cut where the client wants fragments */
    uint64_t watch_notify_ms; /* between progress notifications of a watch */
    unsigned election_ticks;
    unsigned bcrypt_cost;         /* 4 to 31 */
    uint64_t token_ttl_ms;        /* of simple tokens, since their last use */
    struct jwt *jwt;              /* borrowed; NULL: simple tokens */
    bool certificates_name_users; /* --client-cert-auth: a CN is a user; else it says nothing */
};

struct service *service_new(const struct service_config *config);
void service_free(struct service *service); /* after every call has ended; NULL is fine */
/* Who answers questions about leases, for other members' (lease_duty.h); borrowed. */
struct lease_duty *service_leases(struct service *service);
/* Who makes hashes of the store, for other members and checks (hashing.h); borrowed. */
struct hashing *service_hashing(struct service *service);

/* How many learners this member lets in at a time; the others ask for it (cluster.c). */
uint64_t service_learners_max(const struct service *service);

/*
 * Is this member's store not to be trusted (corrupt_check.h)? While it is not, no data goes out:
 * calls about data are refused with ERR_CORRUPT, streams that give some end. The alarm CORRUPT by
 * itself refuses writes only (api.md 10.3).
 */
void service_set_differs(struct service *service, bool differs);
bool service_differs(const struct service *service);

/* After the events of one turn; when to call again though nothing happens, UINT64_MAX: never. */
uint64_t service_turn(struct service *service);
/* After what the turn answered was sent: a piece of what can wait (history for watchers). Returns
 * as service_turn(). */
uint64_t service_rest(struct service *service);
/* Once per tick: what handlers do by time (lease expiry, alarms that the quota raises). */
void service_tick(struct service *service);

#endif
