/*
 * lease_duty.h - what only the leader does for leases: count their time, propose the revokes of
 * those that ran out and the checkpoints of the long ones, answer renewals and TimeToLive (raft.md
 * 4.6, 9.6). None of it goes through the log but the proposals. Knows no call and no door. Pure.
 * Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_LEASE_DUTY_H
#define ETCD_SERVER_SERVICE_LEASE_DUTY_H

#include "etcd-server/engine/engine.h"
#include "etcd-server/service/metrics.h"

struct lease_duty;

#define LEASE_QUESTION_BYTES 32 /* an id, wrapped twice */

struct lease_duty_config {
    struct engine *engine;   /* borrowed */
    struct metrics *metrics; /* borrowed; NULL: nothing is counted */
    bool checkpoints;        /* made every LEASE_CHECKPOINT_INTERVAL_MS */
};

struct lease_duty *lease_duty_new(const struct lease_duty_config *config);
void lease_duty_free(struct lease_duty *duty); /* after the last query; NULL is fine */
void lease_duty_tick(struct lease_duty *duty);
bool lease_duty_turn(struct lease_duty *duty); /* true: call again though nothing happens */

/* Where a query stands. */
enum lease_wait {
    LEASE_WAIT_NONE,
    LEASE_WAIT_LEADER, /* until this member leads, or the leader has answered */
    LEASE_WAIT_READ,   /* until it is sure to lead and has applied what was committed */
    LEASE_WAIT_REVOKE, /* the lease ran out: until its revoke is applied */
    LEASE_WAIT_CLEAR,  /* until the log says that the last checkpoint counts no more */
    LEASE_WAIT_READY   /* goes on at the next turn */
};

/* A question about one lease. The asker owns it and fills in the first part. */
struct lease_query {
    int64_t id;
    bool renew;     /* give it its whole time again; else only look */
    bool from_peer; /* another member took us for the leader: do not wait to become it */
    /*
     * Exactly once, in lease_ask() or later, unless lease_forget() came first. `lease` is borrowed
     * for the call. ERR_OK; ERR_LEASE_NOT_FOUND (lease NULL, as with all that follow);
     * ERR_NOT_LEADER and ERR_TIMEOUT_WAIT_APPLIED_INDEX (from_peer only);
     * ERR_REQUEST_TOO_MANY_REQUESTS: so many ask the leader by way of this member; ERR_NO_LEADER,
     * ERR_TIMEOUT, ERR_STOPPED, or why the log refused. When the leader answered for us, `remote`
     * is set with its numbers, and `lease` is what this member knows of it: NULL when that lags
     * behind.
     */
    void (*done)(struct lease_query *query, enum err_code code, const struct lease *lease);

    bool remote;
    int64_t remote_ttl_s, remote_granted_s;

    /* the duty's */
    bool asking;    /* `question` is under way */
    uint64_t asked; /* who was asked last */
    struct host_question question;
    uint8_t body[LEASE_QUESTION_BYTES];
    struct lease_duty *duty;
    enum lease_wait wait;
    struct lease_query *next, *previous;
    uint64_t deadline_ms;
    uint64_t read_id, read_serial, sure_serial;
    struct lease_clear *clear;
};

void lease_ask(struct lease_duty *duty, struct lease_query *query);
void lease_forget(struct lease_query *query); /* fine when it is done */

#endif
