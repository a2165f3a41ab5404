/*
 * lease_duty.c - see lease_duty.h.
 *
 *             leads                      read index                  the doubt again:
 *   NONE ---------------> UNSURE ----------------------> SURE ---+   no tick for 3 ticks
 *    ^   lease_promote()    ^  |                          |      |
 *    |                      |  |                          |      |
 *    |   lost or new term   +--|--------------------------|------+
 *    +-------------------------+--------------------------+
 *        lease_demote()
 *
 * A new leader is unsure because an entry of the old one, a revoke say, may be committed without it
 * knowing; one that stood still because another may have been elected meanwhile. Unsure it proposes
 * nothing and every query waits for a read index of its own.
 */
#include "common/base/plants.h"
#include "common/base/base.h"
#include "common/schema/lease.pb-c.h"
#include "etcd-server/service/lease_duty_internal.h"

#define SILENT_TICKS 3       /* raft.md 9.6 */
#define PEER_TIMEOUT_MS 1000 /* raft.md 4.6 */
#define EXPIRE_MS 5          /* between two portions of revokes */

/* A checkpoint of 0 for one lease. */
struct lease_clear {
    uint64_t proposal;
    Etcdserverpb__InternalRaftRequest request;
    Etcdserverpb__LeaseCheckpointRequest checkpoints;
    Etcdserverpb__LeaseCheckpoint checkpoint, *list[1];
};

/* ---- lists ---- */

static void link_last(struct query_list *list, struct lease_query *query)
{
    query->previous = list->last;
    query->next = NULL;
    if (list->last != NULL)
        list->last->next = query;
    else
        list->first = query;
    list->last = query;
}

static void unlink(struct query_list *list, struct lease_query *query)
{
    if (query->previous != NULL)
        query->previous->next = query->next;
    else
        list->first = query->next;
    if (query->next != NULL)
        query->next->previous = query->previous;
    else
        list->last = query->previous;
    query->next = query->previous = NULL;
}

/* Those that wait for one revoke: a list with its first in the map. */
static void chain_add(struct lease_duty *duty, struct lease_query *query)
{
    struct lease_query *first = idmap_remove(&duty->revoked, (uint64_t)query->id);

    query->previous = NULL;
    query->next = first;
    if (first != NULL)
        first->previous = query;
    must(idmap_put(&duty->revoked, (uint64_t)query->id, query));
}

static void chain_remove(struct lease_duty *duty, struct lease_query *query)
{
    if (query->next != NULL)
        query->next->previous = query->previous;
    if (query->previous != NULL) {
        query->previous->next = query->next;
    } else {
        must(idmap_remove(&duty->revoked, (uint64_t)query->id) == query);
        if (query->next != NULL)
            must(idmap_put(&duty->revoked, (uint64_t)query->id, query->next));
    }
    query->next = query->previous = NULL;
}

/* Out of whatever it waits in. */
static void detach(struct lease_query *query)
{
    struct lease_duty *duty = query->duty;

    switch (query->wait) {
    case LEASE_WAIT_NONE:
        break;
    case LEASE_WAIT_LEADER:
    case LEASE_WAIT_READ:
        unlink(&duty->timed, query);
        break;
    case LEASE_WAIT_REVOKE:
        chain_remove(duty, query);
        break;
    case LEASE_WAIT_READY:
        unlink(&duty->ready, query);
        break;
    case LEASE_WAIT_CLEAR:
        break;
    }
    if (query->asking)
        engine_host(duty->engine)->ops->ask_cancel(engine_host(duty->engine), &query->question);
    query->asking = false;
    if (query->read_id != 0)
        engine_forget(duty->engine, query->read_id);
    query->read_id = 0;
    if (query->clear != NULL && query->clear->proposal != 0)
        engine_forget(duty->engine, query->clear->proposal);
    free(query->clear);
    query->clear = NULL;
    query->wait = LEASE_WAIT_NONE;
}

static void make_ready(struct lease_query *query)
{
    detach(query);
    query->wait = LEASE_WAIT_READY;
    link_last(&query->duty->ready, query);
}

static void ready_chain(struct lease_query *query)
{
    while (query != NULL) {
        struct lease_query *next = query->next;

        make_ready(query);
        query = next;
    }
}

static void finish(struct lease_query *query, enum err_code code, const struct lease *lease)
{
    detach(query);
    query->done(query, code, lease);
}

/* ---- who leads ---- */

static void checked(void *arg, const struct engine_result *result);

static void check(struct lease_duty *duty)
{
    enum err_code refusal;

    if (duty->state != DUTY_UNSURE || duty->check_id != 0)
        return;
    duty->check_serial = duty->serial;
    duty->check_id = engine_read(duty->engine, checked, duty, &refusal); /* or at the next tick */
    duty->started = true;
}

/* The one place that moves the state; see the map. */
static void move(struct lease_duty *duty, enum duty_state to, uint64_t now_ms)
{
    must(to != duty->state || to == DUTY_UNSURE);
    if (to == DUTY_UNSURE)
        duty->serial++;
    if (to == DUTY_UNSURE && duty->state == DUTY_NONE) {
        duty->term = raft_term(engine_raft(duty->engine));
        duty->seen_ms = now_ms;
        lease_promote(duty->leases, now_ms, engine_election_ms(duty->engine),
                      raft_conf_state(engine_raft(duty->engine))->voter_count > 1,
                      duty->config.checkpoints ? LEASE_CHECKPOINT_INTERVAL_MS : 0);
        for (struct lease_query *next, *query = duty->timed.first; query != NULL; query = next) {
            next = query->next;
            if (query->wait == LEASE_WAIT_LEADER)
                make_ready(query);
        }
    }
    if (to == DUTY_NONE) {
        lease_demote(duty->leases);
        for (size_t i = 0; i < duty->revoked.capacity;) /* removal may move others to this slot */
            if (duty->revoked.slots[i].id != 0)
                ready_chain(duty->revoked.slots[i].value);
            else
                i++;
    }
    duty->state = to;
}

static void update(struct lease_duty *duty, uint64_t now_ms)
{
    const struct raft *raft = engine_raft(duty->engine);
    bool leads = raft_role(raft) == RAFT_LEADER;

    if (duty->state != DUTY_NONE && (!leads || raft_term(raft) != duty->term) &&
        !PLANTED(LEASE_DEPOSED))
        move(duty, DUTY_NONE, now_ms);
    if (duty->state == DUTY_NONE && leads)
        move(duty, DUTY_UNSURE, now_ms);
    if (duty->state != DUTY_NONE &&
        now_ms - duty->seen_ms > (uint64_t)SILENT_TICKS * engine_tick_ms(duty->engine)) {
        move(duty, DUTY_UNSURE, now_ms);
        duty->seen_ms = now_ms; /* one doubt for one silence */
    }
}

static void checked(void *arg, const struct engine_result *result)
{
    struct lease_duty *duty = arg;
    uint64_t now_ms = duty_now_ms(duty);

    duty->check_id = 0;
    update(duty, now_ms);
    if (result->code == ERR_OK && duty->state == DUTY_UNSURE && duty->check_serial == duty->serial)
        move(duty, DUTY_SURE, now_ms);
}

/* ---- queries ---- */

static enum err_code too_late(const struct lease_query *query)
{
    if (query->from_peer)
        return ERR_TIMEOUT_WAIT_APPLIED_INDEX;
    return raft_leader(engine_raft(query->duty->engine)) == 0 ? ERR_NO_LEADER : ERR_TIMEOUT;
}

static void read_done(void *arg, const struct engine_result *result)
{
    struct lease_query *query = arg;

    query->read_id = 0;
    if (result->code == ERR_OK) {
        query->sure_serial = query->read_serial;
        make_ready(query);
    } else {
        finish(query, result->code == ERR_TIMEOUT ? too_late(query) : result->code, NULL);
    }
}

static void wait_read(struct lease_query *query)
{
    struct lease_duty *duty = query->duty;
    enum err_code refusal;

    query->read_serial = duty->serial;
    query->read_id = engine_read(duty->engine, read_done, query, &refusal);
    if (query->read_id == 0) {
        finish(query, refusal, NULL);
        return;
    }
    duty->started = true;
    query->wait = LEASE_WAIT_READ;
    link_last(&duty->timed, query);
}

static void cleared(void *arg, const struct engine_result *result)
{
    struct lease_query *query = arg;

    query->clear->proposal = 0;
    if (result->code == ERR_OK)
        make_ready(query);
    else
        finish(query, result->code, NULL);
}

/* A successor would start from the checkpoint: promise the whole time when that is gone. */
static void clear_checkpoint(struct lease_query *query)
{
    struct lease_clear *clear = xalloc(sizeof(*clear));
    enum err_code refusal;

    etcdserverpb__internal_raft_request__init(&clear->request);
    etcdserverpb__lease_checkpoint_request__init(&clear->checkpoints);
    etcdserverpb__lease_checkpoint__init(&clear->checkpoint);
    clear->checkpoint.id = query->id;
    clear->list[0] = &clear->checkpoint;
    clear->checkpoints.checkpoints = clear->list;
    clear->checkpoints.n_checkpoints = 1;
    clear->request.lease_checkpoint = &clear->checkpoints;
    clear->proposal =
        engine_propose(query->duty->engine, &clear->request, NULL, cleared, query, &refusal);
    if (clear->proposal == 0) {
        free(clear);
        finish(query, refusal, NULL);
        return;
    }
    query->clear = clear;
    query->wait = LEASE_WAIT_CLEAR;
    query->duty->started = true;
}

static bool may_answer(const struct lease_query *query)
{
    const struct lease_duty *duty = query->duty;

    if (query->sure_serial == duty->serial)
        return true;
    return duty->state == DUTY_SURE &&
           engine_applied_index(duty->engine) >= raft_commit_index(engine_raft(duty->engine));
}

/* ---- the leader answers for us (raft.md 4.6) ---- */

static void take_answer(struct lease_query *query, struct slice body)
{
    if (query->renew) {
        Etcdserverpb__LeaseKeepAliveResponse *answer =
            etcdserverpb__lease_keep_alive_response__unpack(NULL, body.size, body.data);

        query->remote = answer != NULL;
        if (answer != NULL) {
            query->remote_ttl_s = query->remote_granted_s = answer->ttl;
            etcdserverpb__lease_keep_alive_response__free_unpacked(answer, NULL);
        }
    } else {
        Leasepb__LeaseInternalResponse *answer =
            leasepb__lease_internal_response__unpack(NULL, body.size, body.data);

        query->remote = answer != NULL && answer->leasetimetoliveresponse != NULL;
        if (query->remote) {
            query->remote_ttl_s = answer->leasetimetoliveresponse->ttl;
            query->remote_granted_s = answer->leasetimetoliveresponse->grantedttl;
        }
        if (answer != NULL)
            leasepb__lease_internal_response__free_unpacked(answer, NULL);
    }
}

static void leader_answered(struct host_question *question, unsigned status, struct slice body)
{
    struct lease_query *query = CONTAINER_OF(question, struct lease_query, question);

    query->asking = false;
    if (status == 200)
        take_answer(query, body);
    if (status == 404)
        finish(query, ERR_LEASE_NOT_FOUND, NULL);
    else if (status == HOST_QUESTION_REFUSED)
        finish(query, ERR_REQUEST_TOO_MANY_REQUESTS, NULL);
    else if (query->remote)
        finish(query, ERR_OK, lease_find(query->duty->leases, query->id));
    /* else it is asked again at the next tick, until its time is up */
}

static void ask_leader(struct lease_query *query)
{
    struct lease_duty *duty = query->duty;
    struct host *host = engine_host(duty->engine);
    uint64_t leader = raft_leader(engine_raft(duty->engine));
    Etcdserverpb__LeaseKeepAliveRequest renew = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    Etcdserverpb__LeaseTimeToLiveRequest look = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    Leasepb__LeaseInternalRequest wrapped = LEASEPB__LEASE_INTERNAL_REQUEST__INIT;
    size_t bytes;

    if (query->asking && leader != 0 && leader != query->asked) { /* the lead has moved */
        host->ops->ask_cancel(host, &query->question);
        query->asking = false;
    }
    if (query->asking || host->ops->ask_member == NULL || leader == 0 ||
        leader == engine_member_id(duty->engine))
        return;
    renew.id = look.id = query->id;
    wrapped.leasetimetoliverequest = &look;
    bytes = query->renew ? etcdserverpb__lease_keep_alive_request__pack(&renew, query->body)
                         : leasepb__lease_internal_request__pack(&wrapped, query->body);
    must(bytes <= sizeof(query->body));
    query->question = (struct host_question){.path = query->renew ? "/leases" : "/leases/internal",
                                             .body = slice_of(query->body, bytes),
                                             .timeout_ms = MEMBER_ASK_TIMEOUT_MS,
                                             .done = leader_answered};
    query->asking = true;
    query->asked = leader;
    host->ops->ask_member(host, leader, &query->question);
}

/* Answer, or wait for what is missing. */
static void go_on(struct lease_query *query, uint64_t now_ms)
{
    struct lease_duty *duty = query->duty;
    const struct lease *lease = lease_find(duty->leases, query->id);

    if (duty->state == DUTY_NONE && query->from_peer) {
        finish(query, ERR_NOT_LEADER, NULL);
    } else if (duty->state == DUTY_NONE) {
        query->wait = LEASE_WAIT_LEADER;
        link_last(&duty->timed, query);
        ask_leader(query);
    } else if (!may_answer(query)) {
        wait_read(query);
    } else if (lease == NULL) {
        finish(query, ERR_LEASE_NOT_FOUND, NULL);
    } else if (!query->renew) {
        finish(query, ERR_OK, lease);
    } else if (lease_is_expired(lease, now_ms)) { /* it is as good as gone: never back to life */
        query->wait = LEASE_WAIT_REVOKE;
        chain_add(duty, query);
    } else if (lease->remaining_ttl_s != 0) {
        clear_checkpoint(query);
    } else {
        if (!PLANTED(LEASE_EARLY))
            lease_renew(duty->leases, query->id, now_ms);
        if (duty->config.metrics != NULL)
            duty->config.metrics->leases_renewed++;
        finish(query, ERR_OK, lease);
    }
}

void lease_ask(struct lease_duty *duty, struct lease_query *query)
{
    uint64_t now_ms = duty_now_ms(duty);

    query->duty = duty;
    query->wait = LEASE_WAIT_NONE;
    query->next = query->previous = NULL;
    query->read_id = query->read_serial = query->sure_serial = 0;
    query->clear = NULL;
    query->remote = query->asking = false;
    query->deadline_ms =
        now_ms + (query->from_peer ? PEER_TIMEOUT_MS : engine_patience_ms(duty->engine));
    update(duty, now_ms);
    go_on(query, now_ms);
}

void lease_forget(struct lease_query *query)
{
    if (query->wait != LEASE_WAIT_NONE)
        detach(query);
}

static void expire_queries(struct lease_duty *duty, uint64_t now_ms)
{
    struct lease_query *query = duty->timed.first;

    while (query != NULL) {
        if (query->deadline_ms > now_ms) {
            query = query->next;
            continue;
        }
        finish(query, too_late(query), NULL);
        query = duty->timed.first; /* whoever was told may have asked or forgotten others */
    }
}

/* ---- life ---- */

static void on_granted(void *arg, int64_t ttl_s)
{
    struct lease_duty *duty = arg;

    if (duty->config.metrics == NULL)
        return;
    duty->config.metrics->leases_granted++;
    metrics_observe(duty->config.metrics, METRICS_LEASE_TTL, (double)ttl_s);
}

static void on_revoked(void *arg, int64_t id)
{
    struct lease_duty *duty = arg;

    if (duty->config.metrics != NULL)
        duty->config.metrics->leases_revoked++;
    ready_chain(idmap_get(&duty->revoked, (uint64_t)id));
}

struct lease_duty *lease_duty_new(const struct lease_duty_config *config)
{
    struct lease_duty *duty = xalloc(sizeof(*duty));
    struct lease_hooks hooks = {.arg = duty, .granted = on_granted, .revoked = on_revoked};

    duty->config = *config;
    duty->engine = config->engine;
    duty->leases = engine_leases(config->engine);
    lease_store_hook(duty->leases, &hooks);
    return duty;
}

void lease_duty_free(struct lease_duty *duty)
{
    struct lease_hooks none = {0};

    if (duty == NULL)
        return;
    must(duty->timed.first == NULL && duty->ready.first == NULL && duty->revoked.count == 0);
    lease_store_hook(duty->leases, &none);
    if (duty->check_id != 0)
        engine_forget(duty->engine, duty->check_id);
    lease_expiry_drop(duty);
    idmap_free(&duty->revoked);
    free(duty);
}

/* The revokes that time allows: a few at each turn, not a tick's at once, when there are turns. */
static void expire(struct lease_duty *duty, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms - duty->expired_ms;

    if (duty->state != DUTY_SURE || elapsed_ms < EXPIRE_MS)
        return;
    duty->expired_ms = now_ms;
    lease_expiry_tick(duty, now_ms, elapsed_ms);
}

void lease_duty_tick(struct lease_duty *duty)
{
    uint64_t now_ms = duty_now_ms(duty);

    update(duty, now_ms);
    duty->seen_ms = now_ms;
    check(duty);
    expire_queries(duty, now_ms);
    for (struct lease_query *query = duty->timed.first; query != NULL; query = query->next)
        if (query->wait == LEASE_WAIT_LEADER)
            ask_leader(query);
    expire(duty, now_ms);
}

bool lease_duty_turn(struct lease_duty *duty)
{
    uint64_t now_ms = duty_now_ms(duty);

    duty->started = false;
    update(duty, now_ms);
    check(duty);
    while (duty->ready.first != NULL) { /* nothing becomes ready in here */
        struct lease_query *query = duty->ready.first;

        detach(query);
        go_on(query, now_ms);
    }
    expire(duty, now_ms);
    return duty->started;
}
