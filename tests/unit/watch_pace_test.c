/*
 * watch_pace_test.c - when history is read for a watcher that is behind: at once while nobody
 * writes; a step a millisecond beside those who write; more rarely, but still, while one of them
 * waits for his answer; and always more than they write.
 */
#include "common/base/limits.h"
#include "etcd-server/service/service.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PUTS (8 * WATCH_STEP_RECORDS)
#define LONG_MS 1000 /* after that a write is forgotten */

struct fixture {
    struct lone lone;
    struct metrics metrics;
    struct service *service;
    struct call call;
    size_t events; /* sent */
    size_t answered;
    bool created;
};

static bool sent(struct call *call, const ProtobufCMessage *message)
{
    struct fixture *fixture = CONTAINER_OF(call, struct fixture, call);
    const Etcdserverpb__WatchResponse *response = (const void *)message;

    fixture->created |= response->created && !response->canceled;
    fixture->events += response->n_events;
    return true;
}

static const struct call_ops ops = {.send = sent};

static void watch_all(struct fixture *fixture)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;

    create.key = create.range_end = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) ""};
    create.start_revision = 1;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    fixture->call = (struct call){.row = rpc_row(RPC_Watch_Watch), .ops = &ops};
    arena_init(&fixture->call.arena, 1 * MIB);
    fixture->call.request = &request.base;
    service_start(fixture->service, &fixture->call);
    fixture->call.request = NULL;
    assert_true(fixture->created && fixture->events == 0);
}

static int set_up(void **state)
{
    struct fixture *fixture = xalloc(sizeof(*fixture));
    struct service_config config = {.metrics = &fixture->metrics,
                                    .max_txn_ops = 16,
                                    .quota_bytes = -1,
                                    .max_message_bytes = 2 * MIB,
                                    .watch_notify_ms = 600000,
                                    .election_ticks = 10,
                                    .bcrypt_cost = 4,
                                    .token_ttl_ms = 300000};

    lone_init(&fixture->lone, NULL);
    lone_lead(&fixture->lone);
    config.engine = fixture->lone.engine;
    fixture->service = service_new(&config);
    for (size_t i = 0; i < PUTS; i++)
        assert_int_equal(lone_put(&fixture->lone, "k", 0), ERR_OK);
    watch_all(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    service_cancel(fixture->service, &fixture->call);
    arena_free(&fixture->call.arena);
    service_free(fixture->service);
    lone_fini(&fixture->lone);
    free(fixture);
    return 0;
}

/* How many steps are made now, without the clock moving? */
static size_t steps(struct fixture *fixture)
{
    size_t count = 0;
    uint64_t wake_ms;

    while ((wake_ms = service_rest(fixture->service)) == fixture->lone.now_ms)
        count++;
    assert_true(wake_ms == UINT64_MAX || wake_ms == fixture->lone.now_ms + 1);
    return count;
}

static void nobody_writes(void **state)
{
    struct fixture *fixture = *state;

    (void)steps(fixture); /* takes note of the puts */
    fixture->lone.now_ms += LONG_MS;
    assert_in_range(steps(fixture), PUTS / WATCH_STEP_RECORDS - 1, PUTS / WATCH_STEP_RECORDS + 8);
    assert_int_equal(fixture->events, PUTS);
    assert_int_equal(service_rest(fixture->service), UINT64_MAX);
}

static void others_write(void **state)
{
    struct fixture *fixture = *state;

    for (size_t puts = 0; fixture->events == 0; puts++) {
        assert_int_equal(lone_put(&fixture->lone, "k", 0), ERR_OK);
        fixture->lone.now_ms++;
        assert_int_equal(steps(fixture), 1);
        assert_in_range(puts, 0, (PUTS + puts) / WATCH_STEP_RECORDS + 1);
    }
}

/* `puts` in each turn, and so many turns in a millisecond that the clock stands still. */
static void catch_up_beside(struct fixture *fixture, size_t puts)
{
    size_t written = 0;

    while (service_rest(fixture->service) != UINT64_MAX) {
        for (size_t i = 0; i < puts; i++)
            assert_int_equal(lone_put(&fixture->lone, "k", 0), ERR_OK);
        written += puts;
        assert_in_range(written, 0, PUTS);
    }
    assert_int_equal(fixture->events, PUTS + written);
}

static void others_write_fast(void **state)
{
    catch_up_beside(*state, 1);
}

static void others_write_much(void **state)
{
    catch_up_beside(*state, PUTS / 2);
}

static void answered(void *arg, const struct engine_result *result)
{
    struct fixture *fixture = arg;

    fixture->answered += result->code == ERR_OK;
}

static void one_waits(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct arena arena;
    enum err_code refusal;
    size_t made = 0;

    (void)steps(fixture);
    arena_init(&arena, 1 * MIB);
    put.key = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "k"};
    request.put = &put;
    fixture->lone.hold_log = true;
    assert_int_not_equal(
        engine_propose(fixture->lone.engine, &request, &arena, answered, fixture, &refusal), 0);
    lone_turn(&fixture->lone);
    assert_true(engine_waited_for(fixture->lone.engine));
    for (unsigned ms = 0; ms < 10; ms++) {
        fixture->lone.now_ms++;
        made += steps(fixture);
    }
    assert_in_range(made, 3, 5); /* of 10 */
    fixture->lone.hold_log = false;
    lone_turn(&fixture->lone);
    assert_int_equal(fixture->answered, 1);
    assert_false(engine_waited_for(fixture->lone.engine));
    fixture->lone.now_ms++;
    assert_int_equal(steps(fixture), 1);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_write_fast, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_write_much, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_waits, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
