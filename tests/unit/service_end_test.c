/*
 * service_end_test.c - the service goes while it still has something under way; the engine, which
 * lives on, must not come back to it.
 */
#include "common/base/limits.h"
#include "etcd-server/service/service.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define QUOTA_BYTES 1
#define SNAPSHOT_STREAMS 16      /* SNAPSHOT_STREAMS_MAX */
#define RECORDS_OF_A_SLICE 2000U /* HASH_SLICE_ENTRIES */

static struct lone lone;
static struct metrics metrics;
static struct service *service;
static unsigned answers;
static size_t listed;     /* leases of the last list */
static int64_t hashed_at; /* revision of the last hash */
static enum err_code code;

static void replied(struct call *call, const ProtobufCMessage *response)
{
    if (call->row->id == RPC_Lease_LeaseLeases)
        listed = ((const Etcdserverpb__LeaseLeasesResponse *)(const void *)response)->n_leases;
    if (call->row->id == RPC_Maintenance_HashKV)
        hashed_at =
            ((const Etcdserverpb__HashKVResponse *)(const void *)response)->header->revision;
    answers++;
    code = ERR_OK;
}

static void finished(struct call *call, enum err_code refusal, const char *text)
{
    (void)call;
    (void)text;
    answers++;
    code = refusal;
}

static bool sent(struct call *call, const ProtobufCMessage *message)
{
    (void)call;
    (void)message;
    answers++;
    return true;
}

static const struct call_ops ops = {.reply = replied, .send = sent, .finish = finished};

static void serve(int64_t quota_bytes)
{
    struct service_config config = {.metrics = &metrics,
                                    .max_txn_ops = 16,
                                    .quota_bytes = quota_bytes,
                                    .max_message_bytes = 2 * MIB,
                                    .watch_notify_ms = 600000,
                                    .election_ticks = 10,
                                    .bcrypt_cost = 4,
                                    .token_ttl_ms = 300000};

    config.engine = lone.engine;
    service = service_new(&config);
    answers = 0;
}

static void start(int64_t quota_bytes)
{
    lone_init(&lone, NULL);
    lone_lead(&lone);
    serve(quota_bytes);
}

static void call_init(struct call *call, enum rpc_id id)
{
    *call = (struct call){.row = rpc_row(id), .ops = &ops};
    arena_init(&call->arena, 1 * MIB);
    call->request = arena_zalloc(&call->arena, call->row->request->sizeof_message);
    assert_non_null(call->request);
    protobuf_c_message_init(call->row->request, call->request);
}

/* It reads the store in slices: the store must be let go. */
static void test_hash_under_way(void **state)
{
    struct call call;

    (void)state;
    start(-1);
    for (unsigned i = 0; i < 2 * RECORDS_OF_A_SLICE; i++)
        assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    call_init(&call, RPC_Maintenance_HashKV);
    service_start(service, &call);
    lone_turn(&lone); /* but the service has no turn */
    assert_int_equal(answers, 0);
    service_cancel(service, &call);
    service_free(service);
    arena_free(&call.arena);
    lone_fini(&lone);
}

/* However many ask: one hash is being made at a time, a slice of it in a turn. */
static void test_hashes_take_turns(void **state)
{
    static struct call calls[5];
    int64_t before;

    (void)state;
    start(-1);
    for (unsigned i = 0; i < 2 * RECORDS_OF_A_SLICE; i++)
        assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    before = mvcc_revision(engine_mvcc(lone.engine));
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        call_init(&calls[i], RPC_Maintenance_HashKV);
        service_start(service, &calls[i]);
        if (i == 0)
            assert_int_equal(lone_put(&lone, "a", 0), ERR_OK); /* the others want another one */
    }
    assert_int_equal(answers, 0);
    service_cancel(service, &calls[1]);
    service_cancel(service, &calls[2]);
    for (unsigned turns = 0; answers == 0; turns++) {
        assert_true(turns < 10);
        assert_true(service_turn(service) != UINT64_MAX); /* there is more to do */
    }
    assert_int_equal(answers, 1);
    assert_int_equal(hashed_at, before);
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    for (unsigned turns = 0; answers < 3; turns++) {
        assert_true(turns < 20);
        (void)service_turn(service);
    }
    assert_int_equal(hashed_at, before + 2); /* its turn began after that */
    service_start(service, &calls[1]);
    service_start(service, &calls[2]);
    service_cancel(service, &calls[1]); /* in the middle of it */
    service_free(service);
    assert_int_equal(answers, 3);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        arena_free(&calls[i].arena);
    lone_fini(&lone);
}

/* However many ask: the whole backend is read once at a time. */
static void test_backend_hashes_are_shared(void **state)
{
    static struct call calls[100];

    (void)state;
    start(-1);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        call_init(&calls[i], RPC_Maintenance_Hash);
        service_start(service, &calls[i]);
    }
    assert_int_equal(lone.job_count, 0); /* what is applied must be in the backend first */
    lone_turn(&lone);
    assert_int_equal(lone.job_count, 1);
    service_cancel(service, &calls[3]);
    assert_true(lone_job(&lone));
    assert_int_equal(answers, 1);
    lone_turn(&lone);
    assert_int_equal(lone.job_count, 1);
    assert_true(lone_job(&lone));
    assert_int_equal(answers, ARRAY_LEN(calls) - 1);
    lone_turn(&lone);
    assert_int_equal(lone.job_count, 0);
    service_start(service, &calls[0]); /* they go before it has begun */
    service_cancel(service, &calls[0]);
    lone_turn(&lone);
    assert_int_equal(lone.job_count, 0);
    service_start(service, &calls[0]);
    service_cancel(service, &calls[0]);
    service_free(service);
    lone_turn(&lone);
    assert_int_equal(lone.job_count, 0);
    assert_int_equal(answers, ARRAY_LEN(calls) - 1);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        arena_free(&calls[i].arena);
    lone_fini(&lone);
}

/* However many ask: one list of all leases is in memory, and the next for all that came since. */
static void test_lists_are_shared(void **state)
{
    static struct call calls[100];

    (void)state;
    start(-1);
    for (int64_t id = 1; id <= 600; id++) /* more than a short list */
        assert_int_equal(lone_grant(&lone, id, 1000), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        call_init(&calls[i], RPC_Lease_LeaseLeases);
        service_start(service, &calls[i]);
    }
    assert_int_equal(lone.job_count, 1);
    assert_int_equal(lone_grant(&lone, 601, 1000), ERR_OK);
    service_cancel(service, &calls[7]);
    assert_true(lone_job(&lone));
    assert_int_equal(answers, 1);
    assert_int_equal(listed, 600);
    assert_int_equal(lone.job_count, 1);
    service_cancel(service, &calls[8]); /* of those that wait for this list */
    assert_true(lone_job(&lone));
    assert_int_equal(answers, ARRAY_LEN(calls) - 2);
    assert_int_equal(listed, 601);
    service_start(service, &calls[7]);
    service_start(service, &calls[8]);
    assert_int_equal(lone.job_count, 1);
    service_cancel(service, &calls[7]);
    service_cancel(service, &calls[8]);
    service_free(service); /* which the job outlives */
    assert_true(lone_job(&lone));
    assert_int_equal(answers, ARRAY_LEN(calls) - 2);
    assert_false(lone_job(&lone));
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        arena_free(&calls[i].arena);
    lone_fini(&lone);
}

/* However many ask, and be it at once: each stream holds threads and a read transaction for as long
 * as its client reads. */
static void test_snapshot_streams_are_few(void **state)
{
    static struct call calls[40];
    unsigned begun = 0;

    (void)state;
    start(-1);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        call_init(&calls[i], RPC_Maintenance_Snapshot);
        service_start(service, &calls[i]); /* they wait for what is applied to be in the backend */
    }
    assert_int_equal(answers, ARRAY_LEN(calls) - SNAPSHOT_STREAMS);
    assert_int_equal(code, ERR_REQUEST_TOO_MANY_REQUESTS);
    service_cancel(service, &calls[0]); /* who goes makes room, before it has begun ... */
    service_start(service, &calls[20]);
    service_start(service, &calls[21]);
    assert_int_equal(answers, ARRAY_LEN(calls) - SNAPSHOT_STREAMS + 1);
    lone_turn(&lone);
    assert_int_equal(lone.producer_count, SNAPSHOT_STREAMS);
    service_start(service, &calls[21]);
    assert_int_equal(answers, ARRAY_LEN(calls) - SNAPSHOT_STREAMS + 2);
    service_cancel(service, &calls[1]); /* ... or after that, when its thread is done */
    service_cancel(service, &calls[20]);
    while (lone_produced(&lone))
        begun++;
    assert_int_equal(begun, SNAPSHOT_STREAMS);
    answers = 0;
    for (size_t i = 0; i < SNAPSHOT_STREAMS; i++)
        service_start(service, &calls[i]);
    engine_fail(lone.engine); /* it was never begun */
    assert_int_equal(answers, SNAPSHOT_STREAMS);
    service_start(service, &calls[0]);
    service_cancel(service, &calls[0]);
    service_free(service);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        arena_free(&calls[i].arena);
    lone_fini(&lone);
}

/* Who has a stream and wants a leader is told when there is none for three elections. */
static void lose_the_leader(enum rpc_id id)
{
    struct raft_message leads = {.type = RAFT_MSG_HEARTBEAT, .term = 5};
    struct call calls[4];
    unsigned leaderless = 0;

    lone_init_of_three(&lone, NULL);
    leads.to = engine_member_id(lone.engine);
    for (size_t i = 0; i < 2; i++)
        if (member_at(engine_members(lone.engine), i)->id != leads.to)
            leads.from = member_at(engine_members(lone.engine), i)->id;
    engine_message(lone.engine, &leads);
    serve(-1);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        call_init(&calls[i], id);
        calls[i].require_leader = i != 2;
        service_start(service, &calls[i]);
    }
    service_cancel(service, &calls[1]); /* goes from the middle of the list */
    while (answers == 0 && leaderless < 40) {
        lone.now_ms += LONE_TICK_MS;
        engine_tick(lone.engine);
        lone_turn(&lone);
        service_tick(service);
        leaderless = raft_leader(engine_raft(lone.engine)) != 0 ? 0 : leaderless + 1;
    }
    assert_int_equal(leaderless, 31);
    assert_int_equal(answers, 2); /* not the one that can wait */
    assert_int_equal(code, ERR_NO_LEADER);
    service_cancel(service, &calls[2]);
    service_free(service);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        arena_free(&calls[i].arena);
    lone_fini(&lone);
}

static void test_renewals_without_a_leader(void **state)
{
    (void)state;
    lose_the_leader(RPC_Lease_LeaseKeepAlive);
}

static void test_observers_without_a_leader(void **state)
{
    (void)state;
    lose_the_leader(RPC_Election_Observe);
}

static void test_watches_without_a_leader(void **state)
{
    (void)state;
    lose_the_leader(RPC_Watch_Watch);
}

/* The alarm is on its way into the log when the service goes; its end finds nobody. */
static void test_alarm_under_way(void **state)
{
    struct call call;
    Etcdserverpb__PutRequest *put;

    (void)state;
    start(QUOTA_BYTES);
    lone.hold_log = true;
    call_init(&call, RPC_KV_Put);
    put = (void *)call.request;
    put->key = (ProtobufCBinaryData){1, (uint8_t *)"a"};
    service_start(service, &call);
    lone_turn(&lone);
    assert_int_equal(answers, 0); /* when it is told, the alarm is to be seen */
    service_cancel(service, &call);
    service_free(service);
    lone.hold_log = false;
    lone_turn(&lone);
    assert_true(alarm_active(engine_alarms(lone.engine), ETCDSERVERPB__ALARM_TYPE__NOSPACE));
    arena_free(&call.arena);
    lone_fini(&lone);
}

/* One alarm for all that are refused meanwhile, and none while it stands. */
static void test_quota_raises_one_alarm(void **state)
{
    static struct call calls[4];
    size_t entries;

    (void)state;
    start(QUOTA_BYTES);
    entries = lone.entries;
    lone.hold_log = true;
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++) {
        call_init(&calls[i], RPC_KV_Put);
        ((Etcdserverpb__PutRequest *)(void *)calls[i].request)->key =
            (ProtobufCBinaryData){1, (uint8_t *)"a"};
        if (i == 3) { /* the others wait for the alarm, and are told when it is up */
            service_cancel(service, &calls[1]);
            assert_int_equal(answers, 0);
            assert_int_equal(alarm_count(engine_alarms(lone.engine)), 0);
            lone.hold_log = false;
            lone_turn(&lone);
            assert_int_equal(answers, 2);
        }
        service_start(service, &calls[i]);
        lone_turn(&lone);
    }
    assert_int_equal(answers, 3);
    assert_int_equal(code, ERR_NO_SPACE);
    assert_int_equal(lone.entries - entries, 1);
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++)
        arena_free(&calls[i].arena);
    assert_int_equal(alarm_count(engine_alarms(lone.engine)), 1);
    assert_int_equal(mvcc_revision(engine_mvcc(lone.engine)), 1);
    service_free(service);
    lone_fini(&lone);
}

/* Those whom the pool has no room for wait; who goes meanwhile leaves the line. */
static void test_passwords_wait_for_the_pool(void **state)
{
    static struct call calls[PASSWORD_JOBS_MAX + 6];
    static char name[] = "u", password[] = "p";

    (void)state;
    start(-1);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        Etcdserverpb__AuthUserAddRequest *user;

        call_init(&calls[i], RPC_Auth_UserAdd);
        user = (void *)calls[i].request;
        user->name = name;
        user->password = password;
        service_start(service, &calls[i]);
        assert_int_equal(lone.job_count, MIN(i + 1, PASSWORD_JOBS_MAX));
    }
    service_cancel(service, &calls[0]);
    service_cancel(service, &calls[PASSWORD_JOBS_MAX]);
    service_cancel(service, &calls[PASSWORD_JOBS_MAX + 5]);
    while (lone_job(&lone))
        lone_turn(&lone);
    lone_turn(&lone);
    assert_int_equal(answers, ARRAY_LEN(calls) - 3);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        calls[i].request = NULL; /* its texts are not of its arena */
        arena_free(&calls[i].arena);
    }
    service_free(service);
    lone_fini(&lone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_under_way),
        cmocka_unit_test(test_hashes_take_turns),
        cmocka_unit_test(test_backend_hashes_are_shared),
        cmocka_unit_test(test_lists_are_shared),
        cmocka_unit_test(test_snapshot_streams_are_few),
        cmocka_unit_test(test_renewals_without_a_leader),
        cmocka_unit_test(test_observers_without_a_leader),
        cmocka_unit_test(test_watches_without_a_leader),
        cmocka_unit_test(test_alarm_under_way),
        cmocka_unit_test(test_quota_raises_one_alarm),
        cmocka_unit_test(test_passwords_wait_for_the_pool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
