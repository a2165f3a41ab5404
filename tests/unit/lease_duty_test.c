/* lease_duty_test.c - what the leader does for leases, on an engine whose clock and log are held by
 * the test. */
#include "common/base/limits.h"
#include "etcd-server/service/lease_duty.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WAIT_ALL_MS 10000 /* whatever is asked has ended */

static struct lone lone;
static struct lease_duty *duty;
static struct metrics metrics;

static void start(bool checkpoints, void (*config)(struct engine_config *config))
{
    struct lease_duty_config duty_config = {.metrics = &metrics, .checkpoints = checkpoints};

    metrics = (struct metrics){0};
    lone_init(&lone, config);
    duty_config.engine = lone.engine;
    duty = lease_duty_new(&duty_config);
}

static void turn(void)
{
    do
        lone_turn(&lone);
    while (lease_duty_turn(duty));
    lone_turn(&lone);
    (void)lease_duty_turn(duty);
}

static void tick_after(uint64_t ms)
{
    lone.now_ms += ms;
    engine_tick(lone.engine);
    lease_duty_tick(duty);
}

/* The clock goes on in ticks, as it does. */
static void pass(uint64_t ms)
{
    for (uint64_t gone = 0; gone < ms; gone += LONE_TICK_MS) {
        tick_after(LONE_TICK_MS);
        turn();
    }
}

static int set_up(void **state)
{
    (void)state;
    start(false, NULL);
    lone_lead(&lone);
    turn();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine_fail(lone.engine);
    lease_duty_free(duty);
    lone_fini(&lone);
    return 0;
}

static size_t count(void)
{
    return lease_count(engine_leases(lone.engine));
}

/* ---- a query that remembers its answer ---- */

struct asked {
    struct lease_query query;
    unsigned answers;
    enum err_code code;
    int64_t left_s;
};

static void answered(struct lease_query *query, enum err_code code, const struct lease *lease)
{
    struct asked *asked = CONTAINER_OF(query, struct asked, query);

    asked->answers++;
    asked->code = code;
    asked->left_s = lease != NULL ? lease_remaining_s(lease, lone.now_ms) : -1;
    assert_int_equal(lease != NULL, code == ERR_OK);
}

static void ask(struct asked *asked, int64_t id, bool renew, bool from_peer)
{
    *asked = (struct asked){
        .query = {.id = id, .renew = renew, .from_peer = from_peer, .done = answered}};
    lease_ask(duty, &asked->query);
}

static void is(const struct asked *asked, enum err_code code, int64_t left_s)
{
    assert_int_equal(asked->answers, 1);
    assert_int_equal(asked->code, code);
    assert_int_equal(asked->left_s, left_s);
}

/* ---- expiry ---- */

static void runs_out_through_the_log(void **state)
{
    (void)state;
    assert_int_equal(lone_grant(&lone, 5, 3), ERR_OK);
    assert_int_equal(lone_put(&lone, "b", 5), ERR_OK);
    assert_int_equal(lone_put(&lone, "a", 5), ERR_OK);
    pass(2900);
    assert_int_equal(count(), 1);
    pass(200);
    assert_int_equal(count(), 0);
    assert_int_equal(mvcc_key_count(engine_mvcc(lone.engine)), 0);
    assert_int_equal(mvcc_revision(engine_mvcc(lone.engine)), 4); /* two puts, one deletion */
    assert_int_equal(metrics.leases_granted, 1);
    assert_int_equal(metrics.leases_expired, 1);
    assert_int_equal(metrics.leases_revoked, 1);
}

static void renewed_in_time(void **state)
{
    struct asked asked;

    (void)state;
    assert_int_equal(lone_grant(&lone, 5, 3), ERR_OK);
    for (int i = 0; i < 5; i++) {
        pass(2000);
        ask(&asked, 5, true, false);
        is(&asked, ERR_OK, 3);
    }
    ask(&asked, 5, false, true);
    is(&asked, ERR_OK, 3);
    assert_int_equal(metrics.leases_renewed, 5);
    ask(&asked, 6, true, false);
    is(&asked, ERR_LEASE_NOT_FOUND, -1);
    pass(3100);
    assert_int_equal(count(), 0);
}

static void a_storm_is_spread(void **state)
{
    size_t before;

    (void)state;
    for (int64_t id = 1; id <= 1000; id++)
        assert_int_equal(lone_grant(&lone, id, 2), ERR_OK);
    pass(1900);
    assert_int_equal(count(), 1000);
    for (int i = 0; i < 10; i++) {
        before = count();
        pass(LONE_TICK_MS);
        assert_true(before - count() <= LEASE_REVOKES_PER_SECOND * LONE_TICK_MS / 1000);
    }
    pass(200);
    assert_int_equal(count(), 0);
}

/* Who puts between two ticks must not wait for a tick's worth of revokes. */
static void a_storm_is_spread_over_turns(void **state)
{
    size_t left;

    (void)state;
    for (int64_t id = 1; id <= 1000; id++)
        assert_int_equal(lone_grant(&lone, id, 10), ERR_OK);
    turn();
    pass(10000);
    left = count();
    assert_true(left > 800);
    for (unsigned i = 0; i < 10; i++) {
        size_t before = count();

        lone.now_ms += 5;
        turn();
        assert_in_range(before - count(), 1, 5);
    }
    assert_int_equal(left - count(), 50);
}

static void in_flight_is_bounded(void **state)
{
    size_t entries;

    (void)state;
    for (int64_t id = 1; id <= 1000; id++)
        assert_int_equal(lone_grant(&lone, id, 2), ERR_OK);
    lone.hold_log = true;
    entries = lone.entries;
    pass(4000);
    assert_int_equal(lone.entries - entries, LEASE_REVOKES_IN_FLIGHT_MAX);
    assert_int_equal(count(), 1000);
    lone.hold_log = false;
    pass(2000);
    assert_int_equal(count(), 0);
}

static void tried_again(void **state)
{
    (void)state;
    assert_int_equal(lone_grant(&lone, 5, 2), ERR_OK);
    engine_disk_full(lone.engine, ENGINE_DISK_LOG, true);
    pass(5000);
    assert_int_equal(count(), 1);
    engine_disk_full(lone.engine, ENGINE_DISK_LOG, false);
    pass(LEASE_REVOKE_RETRY_MS + LONE_TICK_MS);
    assert_int_equal(count(), 0);
}

static void small_buffer(struct engine_config *config)
{
    config->write_buffer_bytes = 20000;
}

static void ignore(void *arg, const struct engine_result *result)
{
    (void)arg;
    (void)result;
}

static void put_large(void)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    uint8_t key[] = "k", value[10000] = "v";
    enum err_code refusal;

    put.key = (ProtobufCBinaryData){1, key};
    put.value = (ProtobufCBinaryData){sizeof(value), value};
    request.put = &put;
    assert_int_not_equal(engine_propose(lone.engine, &request, NULL, ignore, NULL, &refusal), 0);
    lone_turn(&lone);
}

/*
 * What has to wait for the backend may go to another leader in the end. For him the lease has all
 * its time again, and he renews it: he must not get the end that it had here.
 */
static void no_end_is_kept(void **state)
{
    (void)tear_down(state);
    start(true, small_buffer);
    lone_lead(&lone);
    turn();
    assert_int_equal(lone_grant(&lone, 5, 2), ERR_OK);
    assert_int_equal(lone_grant(&lone, 6, 10000), ERR_OK); /* with checkpoints */
    lone.hold_commit = true;
    for (unsigned i = 0; i < 10; i++)
        put_large();
    assert_in_range(engine_stats(lone.engine).proposals_pending, 4, 9);
    pass(WAIT_ALL_MS);
    assert_int_equal(engine_stats(lone.engine).proposals_pending, 0);
    put_large();
    assert_int_equal(engine_stats(lone.engine).proposals_pending, 1);
    pass(1000);
    assert_int_equal(engine_stats(lone.engine).proposals_pending, 1);
    pass(LEASE_CHECKPOINT_INTERVAL_MS);
    put_large();
    pass(1000);
    assert_int_equal(engine_stats(lone.engine).proposals_pending, 1);
    assert_int_equal(count(), 2);
    lone.hold_commit = false;
    pass(2000);
    assert_int_equal(count(), 1);
}

/* ---- the dead stay dead ---- */

static void expired_waits_for_its_revoke(void **state)
{
    struct asked first, second, look, gone;

    (void)state;
    assert_int_equal(lone_grant(&lone, 5, 2), ERR_OK);
    lone.hold_log = true;
    pass(2500);
    ask(&first, 5, true, false);
    ask(&gone, 5, true, false);
    ask(&second, 5, true, true);
    ask(&look, 5, false, false);
    lease_forget(&gone.query);
    pass(1000);
    is(&look, ERR_OK, 0); /* it is still there */
    assert_int_equal(first.answers + second.answers, 0);
    lone.hold_log = false;
    turn();
    is(&first, ERR_LEASE_NOT_FOUND, -1);
    is(&second, ERR_LEASE_NOT_FOUND, -1);
    assert_int_equal(gone.answers, 0);
    assert_int_equal(metrics.leases_renewed, 0);
}

/* ---- after a silence leadership is proved first ---- */

static void a_silence_is_doubted(void **state)
{
    struct asked asked;
    size_t entries = lone.entries;

    (void)state;
    assert_int_equal(lone_grant(&lone, 5, 2), ERR_OK);
    entries = lone.entries;
    tick_after(10000); /* stood still; somebody else may lead by now */
    ask(&asked, 5, false, false);
    assert_int_equal(asked.answers, 0);
    engine_turn(lone.engine);
    assert_int_equal(lone.entries, entries); /* nothing was proposed on the old knowledge */
    assert_int_equal(count(), 1);
    turn();
    is(&asked, ERR_OK, 0);
    pass(LONE_TICK_MS);
    assert_int_equal(count(), 0);
}

static void a_query_sees_the_silence_first(void **state)
{
    struct asked asked;

    (void)state;
    assert_int_equal(lone_grant(&lone, 5, 60), ERR_OK);
    lone.now_ms += 300;
    ask(&asked, 5, true, false);
    is(&asked, ERR_OK, 60);
    lone.now_ms += 1;
    ask(&asked, 5, true, false);
    assert_int_equal(asked.answers, 0);
    turn();
    is(&asked, ERR_OK, 60);
}

/* ---- without leading ---- */

static void who_does_not_lead(void **state)
{
    struct asked client, late, peer, gone;

    (void)state;
    start(false, NULL);
    ask(&peer, 5, true, true);
    is(&peer, ERR_NOT_LEADER, -1);
    ask(&client, 5, true, false);
    ask(&gone, 5, true, false);
    lease_forget(&gone.query);
    lone.now_ms += 6900; /* no ticks: it would elect itself */
    lease_duty_tick(duty);
    assert_int_equal(client.answers, 0);
    ask(&late, 5, true, false);
    lone.now_ms += 100;
    lease_duty_tick(duty);
    is(&client, ERR_NO_LEADER, -1);
    assert_int_equal(late.answers, 0);
    lone_lead(&lone);
    turn();
    is(&late, ERR_LEASE_NOT_FOUND, -1);
    assert_int_equal(gone.answers, 0);
}

static struct host_question *to_leader;

static void ask_member(struct host *host, uint64_t member, struct host_question *question)
{
    (void)host;
    assert_int_equal(member, raft_leader(engine_raft(lone.engine)));
    to_leader = question;
}

/* The host has too many questions already: another try would be one more of them. */
static void a_refused_question_is_not_asked_again(void **state)
{
    struct raft_message leads = {.type = RAFT_MSG_HEARTBEAT, .term = 5};
    struct host_ops ops;
    struct asked asked;

    (void)state;
    lone_init_of_three(&lone, NULL);
    ops = *lone.host.ops;
    ops.ask_member = ask_member;
    lone.host.ops = &ops;
    duty = lease_duty_new(&(struct lease_duty_config){.engine = lone.engine});
    leads.to = engine_member_id(lone.engine);
    for (size_t i = 0; i < member_count(engine_members(lone.engine)); i++)
        if (member_at(engine_members(lone.engine), i)->id != leads.to)
            leads.from = member_at(engine_members(lone.engine), i)->id;
    engine_message(lone.engine, &leads);
    turn();
    ask(&asked, 5, true, false);
    assert_int_equal(asked.answers, 0);
    to_leader->done(to_leader, 0, SLICE_EMPTY); /* no answer came */
    assert_int_equal(asked.answers, 0);
    tick_after(LONE_TICK_MS);
    to_leader->done(to_leader, HOST_QUESTION_REFUSED, SLICE_EMPTY);
    is(&asked, ERR_REQUEST_TOO_MANY_REQUESTS, -1);
}

static void seven_ticks(struct engine_config *config)
{
    config->election_ticks = 7;
}

/* One and a half times an election of seven ticks: ten whole ones, as an etcd counts them. */
static void the_shortest_is_that_of_etcd(void **state)
{
    (void)state;
    start(true, seven_ticks);
    lone_lead(&lone);
    turn();
    assert_int_equal(lone_grant(&lone, 5, 0), ERR_OK);
    assert_int_equal(lease_find(engine_leases(lone.engine), 5)->ttl_s, 1);
}

/* ---- checkpoints ---- */

static void persist(struct engine_config *config)
{
    config->lease_checkpoint_persist = true;
}

static void checkpoints(void **state)
{
    const struct lease *lease;
    struct asked asked;

    (void)state;
    start(true, persist);
    lone_lead(&lone);
    turn();
    assert_int_equal(lone_grant(&lone, 5, 1000), ERR_OK);
    assert_int_equal(lone_grant(&lone, 6, 300), ERR_OK); /* not longer than the interval: none */
    assert_int_equal(lone_grant(&lone, 7, 1000), ERR_OK);
    lease = lease_find(engine_leases(lone.engine), 5);
    pass(250 * 1000);
    ask(&asked, 6, true, false);
    ask(&asked, 7, true, false);
    pass(49900);
    assert_int_equal(lease->remaining_ttl_s, 0);
    pass(200);
    assert_int_equal(lease->remaining_ttl_s, 700);
    assert_int_equal(lease_find(engine_leases(lone.engine), 6)->remaining_ttl_s, 0);
    assert_int_equal(lease_find(engine_leases(lone.engine), 7)->remaining_ttl_s, 0);
    pass(300 * 1000);
    assert_int_equal(lease->remaining_ttl_s, 400);
    lone.hold_log = true; /* the promise of a renewal is in the log before it is given */
    ask(&asked, 5, true, false);
    turn();
    assert_int_equal(asked.answers, 0);
    lone.hold_log = false;
    turn();
    is(&asked, ERR_OK, 1000);
    assert_int_equal(lease->remaining_ttl_s, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_ALONE(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(runs_out_through_the_log), TEST(renewed_in_time),
        TEST(a_storm_is_spread),        TEST(a_storm_is_spread_over_turns),
        TEST(in_flight_is_bounded),     TEST(tried_again),
        TEST(no_end_is_kept),           TEST(expired_waits_for_its_revoke),
        TEST(a_silence_is_doubted),     TEST(a_query_sees_the_silence_first),
        TEST_ALONE(who_does_not_lead),  TEST_ALONE(a_refused_question_is_not_asked_again),
        TEST_ALONE(checkpoints),        TEST_ALONE(the_shortest_is_that_of_etcd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
