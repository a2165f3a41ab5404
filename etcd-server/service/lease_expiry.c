/*
 * lease_expiry.c - what the leader proposes for leases: the revoke of each that ran out, and in
 * batches what time the long ones have left (raft.md 9.6). A storm is spread: LEASE_REVOKES_PER_-
 * SECOND in portions of some ms, at most LEASE_REVOKES_IN_FLIGHT_MAX at once. A proposal that fails
 * is made again; the lease stays expired until a revoke is applied.
 */
#include "common/base/base.h"
#include "etcd-server/service/lease_duty_internal.h"

#define PORTION_MS_MAX 500 /* after a pause: not more than this much time's worth at once */

/* One proposal under way. */
struct lease_run {
    struct lease_run *next, *previous;
    struct lease_duty *duty;
    uint64_t proposal;
    int64_t id; /* of the lease to revoke; 0: checkpoints */
    Etcdserverpb__InternalRaftRequest request;
    Etcdserverpb__RequestHeader header;
    Etcdserverpb__LeaseRevokeRequest revoke;
    Etcdserverpb__LeaseCheckpointRequest checkpoints;
    Etcdserverpb__LeaseCheckpoint *items; /* owned: LEASE_CHECKPOINT_BATCH_MAX */
};

static struct lease_run *run_new(struct lease_duty *duty)
{
    struct lease_run *run = xalloc(sizeof(*run));

    run->duty = duty;
    etcdserverpb__internal_raft_request__init(&run->request);
    return run;
}

static void run_free(struct lease_run *run)
{
    free(run->checkpoints.checkpoints);
    free(run->items);
    free(run);
}

static void run_link(struct lease_run *run)
{
    run->next = run->duty->runs;
    if (run->next != NULL)
        run->next->previous = run;
    run->duty->runs = run;
}

static void run_unlink(struct lease_run *run)
{
    if (run->next != NULL)
        run->next->previous = run->previous;
    if (run->previous != NULL)
        run->previous->next = run->next;
    else
        run->duty->runs = run->next;
}

void lease_expiry_drop(struct lease_duty *duty)
{
    for (struct lease_run *next, *run = duty->runs; run != NULL; run = next) {
        next = run->next;
        engine_forget(duty->engine, run->proposal);
        run_free(run);
    }
    duty->runs = NULL;
    duty->revokes_in_flight = duty->checkpoints_in_flight = 0;
}

/* ---- revokes ---- */

static void revoked(void *arg, const struct engine_result *result)
{
    struct lease_run *run = arg;
    struct lease_duty *duty = run->duty;
    uint64_t now_ms = duty_now_ms(duty);

    if (result->code == ERR_OK && duty->config.metrics != NULL)
        duty->config.metrics->leases_expired++;
    if (result->code != ERR_OK)
        lease_wake_at(duty->leases, run->id, now_ms, now_ms + LEASE_REVOKE_RETRY_MS);
    duty->revokes_in_flight--;
    run_unlink(run);
    run_free(run);
}

/* False: the log takes nothing now. */
static bool revoke(struct lease_duty *duty, int64_t id, uint64_t now_ms)
{
    struct lease_run *run = run_new(duty);
    enum err_code refusal;

    run->id = id;
    etcdserverpb__lease_revoke_request__init(&run->revoke);
    run->revoke.id = id;
    run->request.lease_revoke = &run->revoke;
    auth_header_as_root(engine_auth(duty->engine), &run->header);
    run->request.header = &run->header;
    run->proposal = engine_propose(duty->engine, &run->request, NULL, revoked, run, &refusal);
    if (run->proposal == 0) {
        run_free(run);
        lease_wake_at(duty->leases, id, now_ms, now_ms + LEASE_REVOKE_RETRY_MS);
        return false;
    }
    lease_wake_at(duty->leases, id, now_ms, UINT64_MAX); /* the outcome says when */
    duty->revokes_in_flight++;
    run_link(run);
    return true;
}

/* ---- checkpoints ---- */

static void checkpointed(void *arg, const struct engine_result *result)
{
    struct lease_run *run = arg;

    (void)result; /* the next one comes anyway */
    run->duty->checkpoints_in_flight--;
    run_unlink(run);
    run_free(run);
}

static void add_checkpoint(struct lease_run *run, const struct lease *lease, uint64_t now_ms)
{
    int64_t left_s = (int64_t)((lease->deadline_ms - now_ms + 999) / 1000);
    size_t at = run->checkpoints.n_checkpoints;

    if (left_s >= lease->ttl_s)
        return; /* extended by an election: no news */
    if (run->items == NULL) {
        run->items = xalloc(LEASE_CHECKPOINT_BATCH_MAX * sizeof(*run->items));
        run->checkpoints.checkpoints =
            xalloc(LEASE_CHECKPOINT_BATCH_MAX * sizeof(*run->checkpoints.checkpoints));
    }
    etcdserverpb__lease_checkpoint__init(&run->items[at]);
    run->items[at].id = lease->id;
    run->items[at].remaining_ttl = left_s;
    run->checkpoints.checkpoints[at] = &run->items[at];
    run->checkpoints.n_checkpoints++;
}

static void propose_checkpoints(struct lease_run *run)
{
    struct lease_duty *duty = run->duty;
    enum err_code refusal;

    run->request.lease_checkpoint = &run->checkpoints;
    if (!engine_keeps_write(duty->engine, false)) /* as may_propose() */
        run->proposal =
            engine_propose(duty->engine, &run->request, NULL, checkpointed, run, &refusal);
    if (run->proposal == 0) {
        run_free(run); /* the next ones come in an interval */
        return;
    }
    duty->checkpoints_in_flight++;
    run_link(run);
}

/* ---- the tick ---- */

/*
 * Would a proposal get into the log of this member, now? Otherwise the engine would keep it for the
 * next leader, who gives every lease time again and renews it: it must not hear then what ran out
 * by the clock of the one before.
 */
static bool may_propose(const struct lease_duty *duty)
{
    const struct raft *raft = engine_raft(duty->engine);
    const struct raft_conf_state *conf = raft_conf_state(raft);
    bool voter = false;

    for (size_t i = 0; i < conf->voter_count; i++)
        voter = voter || conf->voters[i] == engine_member_id(duty->engine);
    return voter && raft_role(raft) == RAFT_LEADER && raft_transferee(raft) == 0 &&
           !engine_keeps_write(duty->engine, true);
}

void lease_expiry_tick(struct lease_duty *duty, uint64_t now_ms, uint64_t elapsed_ms)
{
    size_t budget = (size_t)(MIN(elapsed_ms, PORTION_MS_MAX) * LEASE_REVOKES_PER_SECOND / 1000);
    struct lease_run *checkpoints;
    const struct lease *lease;

    if (lease_next_due(duty->leases, now_ms) == NULL || !may_propose(duty))
        return;
    if (alarm_active(engine_alarms(duty->engine), ETCDSERVERPB__ALARM_TYPE__CORRUPT))
        return; /* apply would refuse */
    checkpoints = run_new(duty);
    etcdserverpb__lease_checkpoint_request__init(&checkpoints->checkpoints);
    while ((lease = lease_next_due(duty->leases, now_ms)) != NULL) {
        if (lease_is_expired(lease, now_ms)) {
            if (budget == 0 || duty->revokes_in_flight == LEASE_REVOKES_IN_FLIGHT_MAX ||
                !revoke(duty, lease->id, now_ms))
                break;
            budget--;
        } else {
            if (checkpoints->checkpoints.n_checkpoints == LEASE_CHECKPOINT_BATCH_MAX ||
                duty->checkpoints_in_flight != 0)
                break;
            if (duty->config.checkpoints)
                add_checkpoint(checkpoints, lease, now_ms);
            lease_wake_at(duty->leases, lease->id, now_ms,
                          duty->config.checkpoints ? now_ms + LEASE_CHECKPOINT_INTERVAL_MS
                                                   : UINT64_MAX);
        }
    }
    if (checkpoints->checkpoints.n_checkpoints != 0)
        propose_checkpoints(checkpoints);
    else
        run_free(checkpoints);
}
