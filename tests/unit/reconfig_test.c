/*
 * reconfig_test.c - which changes of the members the strict check lets through: how many voters
 * have to be started, and how many connected, as recorded from an etcd 3.5.30.
 */
#include "etcd-server/service/service.h"
#include "etcd-server/state/member.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FIRST_OTHER 2
#define OTHERS_MAX 6

static struct lone lone;
static struct metrics metrics;
static struct service *service;
static struct host_ops host_ops;
static uint64_t connected_ms[OTHERS_MAX]; /* of member FIRST_OTHER + i */
static enum err_code code;
static bool answered;

static uint64_t connected(struct host *host, uint64_t member)
{
    (void)host;
    return member - FIRST_OTHER < OTHERS_MAX ? connected_ms[member - FIRST_OTHER] : 0;
}

static void replied(struct call *call, const ProtobufCMessage *response)
{
    (void)call;
    (void)response;
    answered = true;
    code = ERR_OK;
}

static void finished(struct call *call, enum err_code refusal, const char *text)
{
    (void)call;
    (void)text;
    answered = true;
    code = refusal;
}

static const struct call_ops ops = {.reply = replied, .finish = finished};

/* In the list of members only: raft's configuration stays with the one that leads. */
static void add_other(uint64_t id, bool is_started)
{
    struct raft_conf_change change = {.type = RAFT_CONF_ADD_NODE, .node_id = id};
    struct buf context = BUF_INIT(BUF_UNLIMITED);
    struct member member;
    char url[40];
    const char *const urls[] = {url};

    (void)snprintf(url, sizeof(url), "http://10.0.0.1:%u", (unsigned)id);
    member_init(&member, id);
    member_set_peer_urls(&member, urls, 1);
    assert_true(member_write_json(&member, false, &context));
    change.context = buf_slice(&context);
    assert_int_equal(member_apply_change(engine_members(lone.engine), &change, NULL), ERR_OK);
    if (is_started)
        member_apply_attributes(engine_members(lone.engine), id, "m", NULL, 0, NULL);
    member_fini(&member);
    buf_free(&context);
}

/* A leader that has published its name, and others: started, and connected for 5 s or not at all.
 */
static void start(size_t others, size_t started, size_t up)
{
    struct service_config config = {
        .metrics = &metrics, .bcrypt_cost = 4, .strict_reconfig_check = true};

    lone_init(&lone, NULL);
    host_ops = *lone.host.ops;
    host_ops.connected_ms = connected;
    lone.host.ops = &host_ops;
    lone_lead(&lone);
    for (size_t i = 0; i < others; i++) {
        add_other(FIRST_OTHER + i, i < started);
        connected_ms[i] = i < up ? 5000 : 0;
    }
    config.engine = lone.engine;
    service = service_new(&config);
}

static enum err_code change(struct call *call)
{
    answered = false;
    service_start(service, call);
    lone_turn(&lone);
    if (!answered) { /* it is in the log: more than one voter has to say yes */
        service_cancel(service, call);
        code = ERR_OK;
    }
    arena_free(&call->arena);
    service_free(service);
    lone_fini(&lone);
    return code;
}

static enum err_code add(bool learner)
{
    static char url[] = "http://10.0.0.1:99";
    static char *urls[] = {url};
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    struct call call = {
        .row = rpc_row(RPC_Cluster_MemberAdd), .ops = &ops, .request = &request.base};

    arena_init(&call.arena, 1 * MIB);
    request.n_peerurls = 1;
    request.peerurls = urls;
    request.islearner = learner;
    return change(&call);
}

static enum err_code remove_other(void)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    struct call call = {
        .row = rpc_row(RPC_Cluster_MemberRemove), .ops = &ops, .request = &request.base};

    arena_init(&call.arena, 1 * MIB);
    request.id = FIRST_OTHER;
    return change(&call);
}

static void connected_to_a_quorum_of_the_larger_cluster(void **state)
{
    static const struct {
        size_t others, up;
        enum err_code code;
    } cases[] = {
        {0, 0, ERR_OK},        {1, 0, ERR_UNHEALTHY}, {1, 1, ERR_OK},
        {2, 1, ERR_UNHEALTHY}, {2, 2, ERR_OK},        {3, 1, ERR_UNHEALTHY},
        {3, 2, ERR_OK},        {4, 2, ERR_UNHEALTHY}, {4, 3, ERR_OK},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (int learner = 0; learner < 2; learner++) {
            start(cases[i].others, cases[i].others, cases[i].up);
            assert_int_equal(add(learner), cases[i].code);
        }
}

static void enough_are_started(void **state)
{
    (void)state;
    start(2, 1, 2);
    assert_int_equal(add(false), ERR_MEMBER_NOT_ENOUGH_STARTED);
    start(2, 1, 2);
    assert_int_equal(add(true), ERR_OK);
}

/* Who is down costs nothing; who is not, if only for a moment, may be one too many. */
static void who_is_connected_is_missed(void **state)
{
    (void)state;
    start(2, 2, 2);
    assert_int_equal(remove_other(), ERR_OK);
    start(2, 2, 2);
    connected_ms[0] = 0;
    assert_int_equal(remove_other(), ERR_OK);
    start(2, 2, 0);
    connected_ms[0] = 1;
    assert_int_equal(remove_other(), ERR_UNHEALTHY);
}

/* A learner says what it is, also when it knows no leader and the caller wants one. */
static void a_learner_first(void **state)
{
    struct service_config config = {.metrics = &metrics, .bcrypt_cost = 4};
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    struct call call = {.row = rpc_row(RPC_Cluster_MemberList),
                        .ops = &ops,
                        .request = &request.base,
                        .require_leader = true};
    const struct member *self;

    (void)state;
    lone_init_of_three(&lone, NULL);
    self = member_find(engine_members(lone.engine), engine_member_id(lone.engine));
    assert_non_null(self);
    arena_init(&call.arena, 1 * MIB);
    config.engine = lone.engine;
    service = service_new(&config);
    service_start(service, &call);
    assert_int_equal(code, ERR_NO_LEADER);
    ((struct member *)(uintptr_t)self)->learner = true;
    service_start(service, &call);
    assert_int_equal(code, ERR_NOT_SUPPORTED_FOR_LEARNER);
    arena_free(&call.arena);
    service_free(service);
    lone_fini(&lone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connected_to_a_quorum_of_the_larger_cluster),
        cmocka_unit_test(enough_are_started),
        cmocka_unit_test(who_is_connected_is_missed),
        cmocka_unit_test(a_learner_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
