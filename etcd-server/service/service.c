/*
 * service.c - see service.h: the table of handlers, what is asked before each of them, and the two
 * ways a call waits for the engine.
 *
 *   service_start() -> learner? leader wanted? corrupt? -> authorise_start() -> handler
 *   call_propose()   until the entry is applied: its answer is the call's
 *   call_read()      until a linearizable read may be answered: then the handler goes on
 */
#include "common/base/base.h"
#include "etcd-server/service/authorise.h"
#include "etcd-server/service/candidate.h"
#include "etcd-server/service/service_internal.h"
#include "etcd-server/service/slow.h"

/* One entry per row that has a handler; rows without one are answered "unknown". */
static service_handler *const handlers[RPC_COUNT] = {
    [RPC_KV_Range] = kv_range,
    [RPC_KV_RangeStream] = kv_range_stream,
    [RPC_KV_Put] = kv_put,
    [RPC_KV_DeleteRange] = kv_delete_range,
    [RPC_KV_Txn] = kv_txn,
    [RPC_KV_Compact] = kv_compact,
    [RPC_Watch_Watch] = watch_watch,
    [RPC_Lease_LeaseGrant] = lease_grant,
    [RPC_Lease_LeaseRevoke] = lease_revoke,
    [RPC_Lease_LeaseKeepAlive] = lease_keep_alive,
    [RPC_Lease_LeaseTimeToLive] = lease_time_to_live,
    [RPC_Lease_LeaseLeases] = lease_leases,
    [RPC_Cluster_MemberList] = cluster_member_list,
    [RPC_Cluster_MemberAdd] = cluster_member_add,
    [RPC_Cluster_MemberRemove] = cluster_member_remove,
    [RPC_Cluster_MemberUpdate] = cluster_member_update,
    [RPC_Cluster_MemberPromote] = cluster_member_promote,
    [RPC_Auth_AuthEnable] = auth_hand_on,
    [RPC_Auth_AuthDisable] = auth_hand_on,
    [RPC_Auth_AuthStatus] = auth_hand_on,
    [RPC_Auth_Authenticate] = auth_authenticate,
    [RPC_Auth_UserAdd] = auth_user_add,
    [RPC_Auth_UserGet] = auth_hand_on,
    [RPC_Auth_UserList] = auth_hand_on,
    [RPC_Auth_UserDelete] = auth_hand_on,
    [RPC_Auth_UserChangePassword] = auth_user_change_password,
    [RPC_Auth_UserGrantRole] = auth_hand_on,
    [RPC_Auth_UserRevokeRole] = auth_hand_on,
    [RPC_Auth_RoleAdd] = auth_role_add,
    [RPC_Auth_RoleGet] = auth_hand_on,
    [RPC_Auth_RoleList] = auth_hand_on,
    [RPC_Auth_RoleDelete] = auth_hand_on,
    [RPC_Auth_RoleGrantPermission] = auth_hand_on,
    [RPC_Auth_RoleRevokePermission] = auth_hand_on,
    [RPC_Lock_Lock] = lock_lock,
    [RPC_Lock_Unlock] = lock_unlock,
    [RPC_Election_Campaign] = election_campaign,
    [RPC_Election_Proclaim] = election_proclaim,
    [RPC_Election_Leader] = election_leader,
    [RPC_Election_Resign] = election_resign,
    [RPC_Election_Observe] = election_observe,
    [RPC_Maintenance_Alarm] = maintenance_alarm,
    [RPC_Maintenance_Status] = maintenance_status,
    [RPC_Maintenance_Defragment] = maintenance_defragment,
    [RPC_Maintenance_Hash] = maintenance_hash,
    [RPC_Maintenance_HashKV] = maintenance_hash_kv,
    [RPC_Maintenance_Snapshot] = maintenance_snapshot,
    [RPC_Maintenance_MoveLeader] = maintenance_move_leader,
    [RPC_Maintenance_Downgrade] = maintenance_downgrade,
    [RPC_Health_Check] = health_check,
    [RPC_Health_List] = health_list,
    [RPC_Health_Watch] = health_watch,
    [RPC_ServerReflection_ServerReflectionInfo] = reflection_info,
};

static void logged_in(void *arg, const char *username, const char *token)
{
    struct service *service = arg;

    if (service->config.jwt == NULL) /* else a member with other settings proposed it */
        simple_tokens_add(service->tokens, username, token,
                          host_now_ms(engine_host(service->engine)));
}

static void tokens_dropped(void *arg, const char *username)
{
    simple_tokens_drop(((struct service *)arg)->tokens, username);
}

struct service *service_new(const struct service_config *config)
{
    struct service *service = xalloc(sizeof(*service));
    struct lease_duty_config leases = {.engine = config->engine,
                                       .metrics = config->metrics,
                                       .checkpoints = config->lease_checkpoints};
    struct engine_auth_watch watch = {service, logged_in, tokens_dropped};

    service->config = *config;
    service->engine = config->engine;
    service->leases = lease_duty_new(&leases);
    service->hashing =
        hashing_new(engine_mvcc(config->engine), engine_host(config->engine), config->metrics);
    service->tokens = simple_tokens_new(config->token_ttl_ms);
    engine_watch_auth(config->engine, &watch);
    return service;
}

void service_free(struct service *service)
{
    if (service == NULL)
        return;
    engine_forget(service->engine, service->alarm_proposal);
    candidates_free(service);
    lease_lists_free(service);
    backend_hashing_free(service);
    hashing_free(service->hashing);
    lease_duty_free(service->leases);
    simple_tokens_free(service->tokens);
    free(service);
}

struct lease_duty *service_leases(struct service *service)
{
    return service->leases;
}

struct hashing *service_hashing(struct service *service)
{
    return service->hashing;
}

uint64_t service_learners_max(const struct service *service)
{
    return MAX(service->config.learners_max, 1);
}

/* What a member that differs from the others does not serve: it tells of itself, no more. */
static const bool gives_data[RPC_COUNT] = {
    [RPC_KV_Range] = true,
    [RPC_KV_RangeStream] = true,
    [RPC_KV_Put] = true,
    [RPC_KV_DeleteRange] = true,
    [RPC_KV_Txn] = true,
    [RPC_KV_Compact] = true,
    [RPC_Watch_Watch] = true,
    [RPC_Lease_LeaseGrant] = true,
    [RPC_Lease_LeaseRevoke] = true,
    [RPC_Lease_LeaseKeepAlive] = true,
    [RPC_Lease_LeaseTimeToLive] = true,
    [RPC_Lease_LeaseLeases] = true,
    [RPC_Lock_Lock] = true,
    [RPC_Lock_Unlock] = true,
    [RPC_Election_Campaign] = true,
    [RPC_Election_Proclaim] = true,
    [RPC_Election_Leader] = true,
    [RPC_Election_Observe] = true,
    [RPC_Election_Resign] = true,
};

void service_set_differs(struct service *service, bool differs)
{
    service->differs = differs;
}

bool service_differs(const struct service *service)
{
    return service->differs;
}

/* api.md 1: what a member without a vote answers itself. */
static bool learner_answers(const struct call *call)
{
    enum rpc_id id = call->row->id;

    if (id == RPC_KV_Range || id == RPC_KV_RangeStream)
        return ((const Etcdserverpb__RangeRequest *)(const void *)call->request)->serializable;
    return id == RPC_Maintenance_Status || id == RPC_Maintenance_Snapshot;
}

bool service_is_learner(const struct service *service)
{
    const struct member *self =
        member_find(engine_members(service->engine), engine_member_id(service->engine));

    return self != NULL && self->learner;
}

void service_start(struct service *service, struct call *call)
{
    service_handler *handler = handlers[call->row->id];
    enum err_code code;

    if (service->config.slow != NULL)
        call->began_ns = host_now_ns(engine_host(service->engine));
    if (handler == NULL)
        call_refuse(call, ERR_UNIMPLEMENTED);
    else if (call->request == NULL && call->row->kind != RPC_BIDI)
        call_refuse(call, ERR_EMPTY_KEY);
    else if (service_is_learner(service) && !learner_answers(call))
        call_refuse(call, ERR_NOT_SUPPORTED_FOR_LEARNER);
    else if (call->require_leader && raft_leader(engine_raft(service->engine)) == 0)
        call_refuse(call, ERR_NO_LEADER);
    else if (gives_data[call->row->id] && service->differs)
        call_refuse(call, ERR_CORRUPT);
    else if ((code = authorise_start(service, call)) != ERR_OK)
        call_refuse(call, code);
    else
        handler(service, call);
}

void service_cancel(struct service *service, struct call *call)
{
    void (*cancel)(struct call * call) = call->cancel;

    (void)service;
    call->cancel = NULL;
    if (cancel != NULL)
        cancel(call);
}

void service_ended(struct service *service, const struct call *call, const struct call_end *end)
{
    if (service->config.slow != NULL)
        slow_call_ended(service->config.slow, call, end);
}

void call_refuse(struct call *call, enum err_code code)
{
    call->cancel = NULL;
    call->ops->finish(call, code, NULL);
}

static ProtobufCMessage *unpack(const struct call *call, struct slice message)
{
    ProtobufCMessage *unpacked =
        protobuf_c_message_unpack(call->row->response, NULL, message.size, message.data);

    must(unpacked != NULL); /* packed by a handler */
    return unpacked;
}

void call_reply_packed(struct call *call, struct slice message)
{
    ProtobufCMessage *unpacked;

    if (call->ops->reply_packed != NULL) {
        call->ops->reply_packed(call, message);
        return;
    }
    unpacked = unpack(call, message);
    call->ops->reply(call, unpacked);
    protobuf_c_message_free_unpacked(unpacked, NULL);
}

bool call_send_packed(struct call *call, struct slice message)
{
    ProtobufCMessage *unpacked;
    bool more;

    if (call->ops->send_packed != NULL)
        return call->ops->send_packed(call, message);
    unpacked = unpack(call, message);
    more = call->ops->send(call, unpacked);
    protobuf_c_message_free_unpacked(unpacked, NULL);
    return more;
}

void *call_alloc(struct call *call, size_t bytes)
{
    void *memory = arena_zalloc(&call->arena, bytes);

    if (memory == NULL)
        call_refuse(call, ERR_REQUEST_TOO_LARGE);
    return memory;
}

Etcdserverpb__InternalRaftRequest *call_raft_request(struct call *call)
{
    Etcdserverpb__InternalRaftRequest *request = call_alloc(call, sizeof(*request));

    if (request != NULL)
        etcdserverpb__internal_raft_request__init(request);
    return request;
}

/* ---- waiting for the engine ---- */

struct wait {
    struct service *service;
    struct call *call;
    uint64_t id;
    void (*then)(struct service *service, struct call *call);
};

static void forget(struct call *call)
{
    struct wait *wait = call->state;

    engine_forget(wait->service->engine, wait->id);
}

static struct wait *wait_new(struct service *service, struct call *call)
{
    struct wait *wait = call_alloc(call, sizeof(*wait));

    if (wait == NULL)
        return NULL;
    wait->service = service;
    wait->call = call;
    call->state = wait;
    call->cancel = forget;
    return wait;
}

static void proposed(void *arg, const struct engine_result *result)
{
    struct wait *wait = arg;
    struct call *call = wait->call;

    call->cancel = NULL;
    if (result->code == ERR_NO_MEMORY || (result->code == ERR_OK && result->response == NULL))
        call_refuse(call, ERR_ANSWER_TOO_LARGE); /* its arena was too small; the change is made */
    else if (result->code != ERR_OK)
        call_refuse(call, result->code);
    else
        call->ops->reply(call, result->response);
}

void call_propose(struct service *service, struct call *call,
                  Etcdserverpb__InternalRaftRequest *request)
{
    struct wait *wait = wait_new(service, call);
    enum err_code refusal;

    if (wait == NULL)
        return;
    refusal = authorise_header(service, call, request);
    if (refusal != ERR_OK) {
        call_refuse(call, refusal);
        return;
    }
    wait->id = engine_propose(service->engine, request, &call->arena, proposed, wait, &refusal);
    if (wait->id == 0)
        call_refuse(call, refusal);
}

static void may_read(void *arg, const struct engine_result *result)
{
    struct wait *wait = arg;
    struct call *call = wait->call;

    call->cancel = NULL;
    if (result->code != ERR_OK)
        call_refuse(call, result->code);
    else
        wait->then(wait->service, call);
}

void call_read(struct service *service, struct call *call,
               void (*then)(struct service *service, struct call *call))
{
    struct wait *wait = wait_new(service, call);
    enum err_code refusal;

    if (wait == NULL)
        return;
    wait->then = then;
    wait->id = engine_read(service->engine, may_read, wait, &refusal);
    if (wait->id == 0)
        call_refuse(call, refusal);
}

/* ---- quota ---- */

static void alarm_raised(void *arg, const struct engine_result *result)
{
    struct service *service = arg;

    (void)result; /* when it failed, the next refused request tries again */
    service->alarm_proposal = 0;
    while (service->alarm_wishes.first != NULL)
        call_refuse(wish_end(service->alarm_wishes.first), ERR_NO_SPACE);
}

static void raise_alarm(struct service *service)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    enum err_code refusal;

    if (service->alarm_proposal != 0 ||
        alarm_active(engine_alarms(service->engine), ETCDSERVERPB__ALARM_TYPE__NOSPACE))
        return;
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm.memberid = engine_member_id(service->engine);
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    request.alarm = &alarm;
    service->alarm_proposal =
        engine_propose(service->engine, &request, NULL, alarm_raised, service, &refusal);
}

bool quota_check(struct service *service, struct call *call, uint64_t cost)
{
    int64_t quota = service->config.quota_bytes;

    if (cost == 0 || quota < 0 || engine_size(service->engine) + cost < (uint64_t)quota)
        return true;
    raise_alarm(service);
    if (service->alarm_proposal != 0 && !wishes_add(&service->alarm_wishes, call))
        return false; /* it was refused for want of memory */
    if (service->alarm_proposal == 0)
        call_refuse(call, ERR_NO_SPACE);
    return false;
}

uint64_t service_turn(struct service *service)
{
    bool leases = lease_duty_turn(service->leases);
    bool woken = service->woken != NULL || service->woken_observes != NULL;

    candidates_turn(service);
    observes_turn(service);
    health_turn(service);
    if (hashing_turn(service->hashing) || woken || leases)
        return host_now_ms(engine_host(service->engine));
    return UINT64_MAX;
}

uint64_t service_rest(struct service *service)
{
    return watch_rest(service);
}

void service_tick(struct service *service)
{
    bool leader = raft_leader(engine_raft(service->engine)) != 0;

    service->leaderless_ticks = leader ? 0 : service->leaderless_ticks + 1;
    lease_duty_tick(service->leases);
    lease_keepalives_tick(service);
    watch_tick(service);
    observes_tick(service);
    promote_tick(service);
    simple_tokens_expire(service->tokens, host_now_ms(engine_host(service->engine)));
}
