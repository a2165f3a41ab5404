/* lease_duty_internal.h - what lease_duty.c (who leads, who asks) and lease_expiry.c (what is
 * proposed) share. Thread: core. */
#ifndef ETCD_SERVER_SERVICE_LEASE_DUTY_INTERNAL_H
#define ETCD_SERVER_SERVICE_LEASE_DUTY_INTERNAL_H

#include "common/base/idmap.h"
#include "common/base/limits.h"
#include "etcd-server/service/lease_duty.h"

enum duty_state { DUTY_NONE, DUTY_UNSURE, DUTY_SURE };

struct query_list {
    struct lease_query *first, *last;
};

struct lease_duty {
    struct lease_duty_config config;
    struct engine *engine;
    struct lease_store *leases;

    enum duty_state state;
    uint64_t term;       /* the duty was taken in */
    uint64_t serial;     /* of the doubt: a read index that was asked for under it ends it */
    uint64_t seen_ms;    /* the last tick */
    uint64_t expired_ms; /* when revokes were last proposed */
    uint64_t check_id, check_serial; /* the read index under way; 0 = none */
    bool started;                    /* the engine got something to do in this turn */

    struct query_list timed; /* WAIT_LEADER, WAIT_READ */
    struct query_list ready; /* WAIT_READY */
    struct idmap revoked;    /* lease -> first of those in WAIT_REVOKE */

    struct lease_run *runs; /* proposals under way */
    size_t revokes_in_flight;
    size_t checkpoints_in_flight;
};

static inline uint64_t duty_now_ms(const struct lease_duty *duty)
{
    return host_now_ms(engine_host(duty->engine));
}

/* Propose what is due, `elapsed_ms` after the last time. Only while sure to lead. */
void lease_expiry_tick(struct lease_duty *duty, uint64_t now_ms, uint64_t elapsed_ms);
void lease_expiry_drop(struct lease_duty *duty); /* forget what is under way */

#endif
