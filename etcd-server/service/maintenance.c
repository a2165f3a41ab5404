/* maintenance.c - Alarm, Status, Defragment, Hash, HashKV, MoveLeader, Downgrade (api.md 10).
 * Snapshot: snapshot.c. */
#include "common/base/base.h"
#include "common/base/level.h"
#include "common/schema/versions.h"
#include "etcd-server/service/authorise.h"

#include <stdio.h>

/* ---- Alarm ---- */

void maintenance_alarm(struct service *service, struct call *call)
{
    Etcdserverpb__AlarmRequest *alarm = (Etcdserverpb__AlarmRequest *)(void *)call->request;
    Etcdserverpb__InternalRaftRequest *request;
    enum err_code code = alarm->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET
                             ? authorise_user(service, call)
                             : authorise_root(service, call);

    if (code != ERR_OK) {
        call_refuse(call, code);
        return;
    }
    /* an unknown kind may be asked for, and lifted: there is none of it */
    if ((unsigned)alarm->action > ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE ||
        (alarm->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE &&
         (unsigned)alarm->alarm > ETCDSERVERPB__ALARM_TYPE__CORRUPT)) {
        call_refuse(call, ERR_INVALID_ALARM);
        return;
    }
    request = call_raft_request(call);
    if (request == NULL)
        return;
    request->alarm = alarm;
    call_propose(service, call, request);
}

/* ---- Status ---- */

#define STATUS_ERRORS_MAX 64 /* more alarms than that are not listed one by one */
#define STATUS_ERROR_BYTES 64

void maintenance_status(struct service *service, struct call *call)
{
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    const struct raft *raft = engine_raft(service->engine);
    const struct alarm_store *alarms = engine_alarms(service->engine);
    char texts[STATUS_ERRORS_MAX][STATUS_ERROR_BYTES];
    char *errors[STATUS_ERRORS_MAX];
    char version[] = ETCD_LEVEL;

    engine_fill_header(service->engine, &header);
    response.header = &header;
    response.version = version;
    response.dbsize = (int64_t)engine_size(service->engine);
    response.dbsizeinuse = (int64_t)engine_size_in_use(service->engine);
    response.leader = raft_leader(raft);
    response.raftindex = raft_commit_index(raft);
    response.raftterm = raft_term(raft);
    response.raftappliedindex = engine_applied_index(service->engine);
    response.islearner = service_is_learner(service);
    response.errors = errors;
    if (response.leader == 0) {
        (void)snprintf(texts[0], STATUS_ERROR_BYTES, "%s", err_text(ERR_NO_LEADER)); /* fits */
        response.n_errors = 1;
    }
    for (size_t i = 0; i < alarm_count(alarms) && response.n_errors < STATUS_ERRORS_MAX; i++) {
        Etcdserverpb__AlarmMember alarm = alarm_at(alarms, i);

        char member[32] = ""; /* as Go prints a message: without what is 0 */

        if (alarm.memberid != 0)
            (void)snprintf(member, sizeof(member), "memberID:%" PRIu64 " ", alarm.memberid);
        (void)snprintf(texts[response.n_errors++], STATUS_ERROR_BYTES, "%salarm:%s ", member,
                       alarm.alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE ? "NOSPACE"
                                                                        : "CORRUPT"); /* fits */
    }
    for (size_t i = 0; i < response.n_errors; i++)
        errors[i] = texts[i];
    call->ops->reply(call, &response.base);
}

/* ---- Defragment ---- */

struct engine_wait {
    struct service *service;
    struct call *call;
    uint64_t id;
};

static void forget(struct call *call)
{
    struct engine_wait *wait = call->state;

    engine_forget(wait->service->engine, wait->id);
}

static struct engine_wait *wait_new(struct service *service, struct call *call)
{
    struct engine_wait *wait = call_alloc(call, sizeof(*wait));

    if (wait == NULL)
        return NULL;
    *wait = (struct engine_wait){.service = service, .call = call};
    call->state = wait;
    call->cancel = forget;
    return wait;
}

static void answer(const struct engine_wait *wait, const struct engine_result *result,
                   const ProtobufCMessage *response)
{
    struct call *call = wait->call;

    call->cancel = NULL;
    if (result->code != ERR_OK)
        call_refuse(call, result->code);
    else
        call->ops->reply(call, response);
}

static void defragmented(void *arg, const struct engine_result *result)
{
    /* no header (api.md 5) */
    Etcdserverpb__DefragmentResponse response = ETCDSERVERPB__DEFRAGMENT_RESPONSE__INIT;

    answer(arg, result, &response.base);
}

void maintenance_defragment(struct service *service, struct call *call)
{
    struct engine_wait *wait = wait_new(service, call);

    if (wait != NULL)
        wait->id = engine_defrag(service->engine, defragmented, wait);
}

/* ---- HashKV: in slices, a slice per turn ---- */

struct hash_call {
    struct hash_query query;
    struct service *service;
    struct call *call;
};

static void hashed(struct hash_query *query, enum err_code code,
                   const struct mvcc_hash_result *result)
{
    struct hash_call *own = CONTAINER_OF(query, struct hash_call, query);
    Etcdserverpb__HashKVResponse response = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    struct call *call = own->call;

    call->cancel = NULL;
    if (code != ERR_OK) {
        call_refuse(call, code);
        return;
    }
    engine_fill_header(own->service->engine, &header);
    header.revision = result->current_revision;
    response.header = &header;
    response.hash = result->hash;
    response.compact_revision = result->compact_revision;
    call->ops->reply(call, &response.base);
}

static void leave_hash_kv(struct call *call)
{
    hashing_cancel(&((struct hash_call *)call->state)->query);
}

void maintenance_hash_kv(struct service *service, struct call *call)
{
    const Etcdserverpb__HashKVRequest *request =
        (const Etcdserverpb__HashKVRequest *)(const void *)call->request;
    struct hash_call *own = call_alloc(call, sizeof(*own));

    if (own == NULL)
        return;
    *own = (struct hash_call){
        .query = {.revision = request->revision, .done = hashed}, .service = service, .call = call};
    call->state = own;
    call->cancel = leave_hash_kv;
    hashing_start(service->hashing, &own->query);
}

/* ---- MoveLeader, Downgrade ---- */

static void leader_moved(void *arg, const struct engine_result *result)
{
    /* no header (api.md 5) */
    Etcdserverpb__MoveLeaderResponse response = ETCDSERVERPB__MOVE_LEADER_RESPONSE__INIT;

    answer(arg, result, &response.base);
}

void maintenance_move_leader(struct service *service, struct call *call)
{
    const Etcdserverpb__MoveLeaderRequest *request =
        (const Etcdserverpb__MoveLeaderRequest *)(const void *)call->request;
    const struct member *target = member_find(engine_members(service->engine), request->targetid);
    struct engine_wait *wait;
    enum err_code refusal = ERR_OK;

    if (raft_role(engine_raft(service->engine)) != RAFT_LEADER)
        refusal = ERR_NOT_LEADER;
    else if (target == NULL || target->learner)
        refusal = ERR_BAD_LEADER_TRANSFEREE;
    if (refusal != ERR_OK) {
        call_refuse(call, refusal);
        return;
    }
    wait = wait_new(service, call);
    if (wait == NULL)
        return;
    wait->id = engine_transfer(service->engine, request->targetid, leader_moved, wait, &refusal);
    if (wait->id == 0)
        call_refuse(call, refusal);
}

static void downgrade_reply(struct service *service, struct call *call)
{
    Etcdserverpb__DowngradeResponse response = ETCDSERVERPB__DOWNGRADE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    char version[32];

    (void)snprintf(version, sizeof(version), "%s",
                   member_cluster_version(engine_members(service->engine))); /* fits */
    engine_fill_header(service->engine, &header);
    response.header = &header;
    response.version = version;
    call->ops->reply(call, &response.base);
}

static void downgrade_set_done(void *arg, const struct engine_result *result)
{
    struct engine_wait *wait = arg;

    wait->call->cancel = NULL;
    if (result->code != ERR_OK)
        call_refuse(wait->call, result->code);
    else
        downgrade_reply(wait->service, wait->call);
}

static void downgrade_set(struct service *service, struct call *call, bool enabled,
                          const char *version)
{
    Etcdserverpb__InternalRaftRequest *request = call_raft_request(call);
    Membershippb__DowngradeInfoSetRequest *set =
        request != NULL ? call_alloc(call, sizeof(*set)) : NULL;
    struct engine_wait *wait = set != NULL ? wait_new(service, call) : NULL;
    unsigned major = 0, minor = 0;
    char *target;
    enum err_code refusal;

    if (wait == NULL)
        return;
    membershippb__downgrade_info_set_request__init(set);
    target = call_alloc(call, 32);
    if (target == NULL)
        return;
    if (enabled && version_read(version, &major, &minor))
        (void)snprintf(target, 32, "%u.%u.0", major, minor); /* fits */
    set->enabled = enabled;
    set->ver = target;
    request->downgrade_info_set = set;
    wait->id =
        engine_propose(service->engine, request, &call->arena, downgrade_set_done, wait, &refusal);
    if (wait->id == 0)
        call_refuse(call, refusal);
}

/* Nothing older than the call counts: it was waited for what is committed. */
static void downgrade_now(struct service *service, struct call *call)
{
    const Etcdserverpb__DowngradeRequest *request =
        (const Etcdserverpb__DowngradeRequest *)(const void *)call->request;
    const struct member_store *members = engine_members(service->engine);
    unsigned major = 0, minor = 0, own_major = 0, own_minor = 0;
    bool runs = member_downgrade_target(members)[0] != '\0';

    if (request->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL) {
        if (runs)
            downgrade_set(service, call, false, "");
        else
            call_refuse(call, ERR_NO_INFLIGHT_DOWNGRADE);
        return;
    }
    if (!version_read(member_cluster_version(members), &own_major, &own_minor))
        call_refuse(call, ERR_CLUSTER_VERSION_UNAVAILABLE);
    else if (!version_read(request->version, &major, &minor) || major != own_major ||
             minor + 1 != own_minor)
        call_refuse(call, ERR_INVALID_DOWNGRADE_TARGET_VERSION);
    else if (runs)
        call_refuse(call, ERR_DOWNGRADE_IN_PROCESS);
    else if (request->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE)
        downgrade_set(service, call, true, request->version);
    else
        downgrade_reply(service, call);
}

void maintenance_downgrade(struct service *service, struct call *call)
{
    const Etcdserverpb__DowngradeRequest *request =
        (const Etcdserverpb__DowngradeRequest *)(const void *)call->request;
    unsigned major, minor;

    switch (request->action) {
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE:
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE:
        if (version_read(request->version, &major, &minor))
            call_read(service, call, downgrade_now);
        else
            call_refuse(call, ERR_WRONG_DOWNGRADE_VERSION_FORMAT);
        return;
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL:
        call_read(service, call, downgrade_now);
        return;
    case _ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION_IS_INT_SIZE:
        break;
    }
    call_refuse(call, ERR_UNKNOWN_METHOD);
}
