/* service_internal.h - what the handlers share. Thread: core. */
#ifndef ETCD_SERVER_SERVICE_SERVICE_INTERNAL_H
#define ETCD_SERVER_SERVICE_SERVICE_INTERNAL_H

#include "etcd-server/service/hashing.h"
#include "etcd-server/service/jwt.h"
#include "etcd-server/service/lease_duty.h"
#include "etcd-server/service/service.h"
#include "etcd-server/service/simple_token.h"
#include "etcd-server/service/wishes.h"

struct watch_call;
struct keepalive;
struct password_work;

/* Passwords that wait for the pool (password_job.c). */
struct password_queue {
    struct password_work *first, *last;
    size_t count, bytes;
};

struct service {
    struct service_config config;
    struct engine *engine;
    struct lease_duty *leases;
    struct simple_tokens *tokens;
    unsigned password_jobs;                  /* on the pool ... */
    struct password_queue passwords;         /* ... and behind it */
    struct candidate *candidates;            /* Lock and Campaign calls under way */
    struct departure *departures;            /* their keys on the way out */
    struct candidate *woken;                 /* of those, who has to look again */
    struct observe *woken_observes;          /* Observe calls that have to read who leads */
    struct observe *observes;                /* those that want a leader of the cluster */
    struct lease_listing *lease_listing;     /* the one that is being made; NULL: none */
    struct wishes lease_wishes;              /* calls that wait for the next one */
    struct backend_hashing *backend_hashing; /* under way; NULL: none */
    struct wishes hash_wishes;               /* calls that wait for the next one */
    struct hashing *hashing;
    struct promotion *promotions;        /* that the leader is asked for */
    bool differs;                        /* service_set_differs() */
    struct health_watch *health_watches; /* open Watches of the health service */
    bool not_serving;                    /* what the health service says */
    unsigned snapshot_streams;
    uint64_t alarm_proposal;      /* of NOSPACE, on its way into the log; 0 = none */
    struct wishes alarm_wishes;   /* calls that are refused when it is up */
    struct watch_call *watches;   /* open watch streams */
    struct keepalive *keepalives; /* open LeaseKeepAlive streams that want a leader */
    uint64_t leaderless_ticks;
    /* history for watchers */
    uint64_t history_ms;      /* when the last step was */
    int64_t written_revision; /* the newest revision then ... */
    uint64_t written_ms;      /* ... and since when it is that */
};

typedef void service_handler(struct service *service, struct call *call);

service_handler kv_range, kv_range_stream, kv_put, kv_delete_range, kv_txn, kv_compact;
service_handler lease_grant, lease_revoke, lease_keep_alive, lease_time_to_live, lease_leases;
service_handler watch_watch;
service_handler cluster_member_list, cluster_member_add, cluster_member_remove,
    cluster_member_update, cluster_member_promote;
service_handler lock_lock, lock_unlock;
service_handler election_campaign, election_proclaim, election_leader, election_resign,
    election_observe;
service_handler auth_authenticate, auth_user_add, auth_user_change_password, auth_role_add,
    auth_hand_on;
service_handler maintenance_alarm, maintenance_status, maintenance_defragment, maintenance_hash,
    maintenance_hash_kv, maintenance_snapshot, maintenance_move_leader, maintenance_downgrade;
service_handler health_check, health_list, health_watch, reflection_info;

/* A step of history for those behind; when to make the next one, UINT64_MAX: there is none. */
uint64_t watch_rest(struct service *service);
void watch_tick(struct service *service);
/* There has been no leader for so long that streams that want one end. */
bool service_leader_is_lost(const struct service *service);
/* lease_keepalive.c: end them. */
void lease_keepalives_tick(struct service *service);

/* health.c: tell of a defragmentation that began or ended. */
void health_turn(struct service *service);

/* This member has no vote: it answers for itself, no more. */
bool service_is_learner(const struct service *service);

/* observe.c: after the events of one turn, those read whose leader's key went. */
void observes_turn(struct service *service);
/* End those that want a leader, when it is lost. */
void observes_tick(struct service *service);

/* lease_list.c: the list that is being made finds nobody. */
void lease_lists_free(struct service *service);
/* backend_hashing.c: likewise. */
void backend_hashing_free(struct service *service);

/* promote.c: let the leader promote `member`, then answer the call. */
void promote_by_leader(struct service *service, struct call *call, uint64_t member);
void promote_tick(struct service *service);
/* Answer a MemberPromote that is done. */
void cluster_reply_changed(struct service *service, struct call *call);

/* Refuse with the code's own text. */
void call_refuse(struct call *call, enum err_code code);

/*
 * Propose; the answer of apply is the answer of the call. `request` lies in the call's arena.
 * The call's cancel hook forgets the proposal.
 */
void call_propose(struct service *service, struct call *call,
                  Etcdserverpb__InternalRaftRequest *request);
/* Run `then` when a linearizable read may be answered; refusals are answered here. */
void call_read(struct service *service, struct call *call,
               void (*then)(struct service *service, struct call *call));
/* reply() and send() of a message that is packed already. */
void call_reply_packed(struct call *call, struct slice message);
bool call_send_packed(struct call *call, struct slice message);
/* An empty InternalRaftRequest from the call's arena; NULL: refused, the call has ended. */
Etcdserverpb__InternalRaftRequest *call_raft_request(struct call *call);
/* Zeroed memory from the call's arena; NULL: refused, the call has ended. */
void *call_alloc(struct call *call, size_t bytes);

/*
 * The quota check in front of Put, Txn and LeaseGrant (api.md 10.3). False: the store plus `cost`
 * is not below the quota; the alarm is raised, and when it is up the call is refused with
 * ERR_NO_SPACE, so that who is told finds it. A cost of 0 always passes.
 */
bool quota_check(struct service *service, struct call *call, uint64_t cost);

#endif
