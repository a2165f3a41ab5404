/*
 * observe_test.c - Election.Observe on an engine of one member: a read that fails in the middle of
 * events, and a client that reads so slowly that its history is compacted.
 */
#include "common/schema/election.pb-c.h"
#include "etcd-server/service/service.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct lone lone;
static struct metrics metrics;
static struct service *service;

static struct {
    struct call call;
    bool full;        /* the client reads nothing */
    unsigned told;    /* leaders that it was told of */
    int64_t revision; /* of the last */
    bool ended;
    char text[64];
} observer;

static bool sent(struct call *call, const ProtobufCMessage *message)
{
    const V3electionpb__LeaderResponse *response =
        (const V3electionpb__LeaderResponse *)(const void *)message;

    assert_ptr_equal(call, &observer.call);
    observer.told++;
    observer.revision = response->kv->mod_revision;
    return !observer.full;
}

static void finished(struct call *call, enum err_code code, const char *text)
{
    assert_ptr_equal(call, &observer.call);
    assert_false(observer.ended);
    observer.ended = true;
    (void)snprintf(observer.text, sizeof(observer.text), "%s",
                   text != NULL ? text : err_text(code));
}

static const struct call_ops ops = {.send = sent, .finish = finished};

static void turn(void)
{
    uint64_t at_ms, rest_ms;

    do {
        lone_turn(&lone);
        at_ms = service_turn(service);
        rest_ms = service_rest(service);
        lone.now_ms += 10; /* history comes when nobody has written for a while */
    } while (at_ms != UINT64_MAX || rest_ms != UINT64_MAX);
}

static int set_up(void **state)
{
    struct service_config config = {.metrics = &metrics,
                                    .max_txn_ops = 16,
                                    .quota_bytes = -1,
                                    .max_message_bytes = 2 * MIB,
                                    .watch_notify_ms = 600000,
                                    .election_ticks = 10,
                                    .bcrypt_cost = 4,
                                    .token_ttl_ms = 300000};
    V3electionpb__LeaderRequest *request;

    (void)state;
    lone_init(&lone, NULL);
    lone_lead(&lone);
    config.engine = lone.engine;
    service = service_new(&config);
    assert_int_equal(lone_grant(&lone, 0xa, 600), ERR_OK);
    assert_int_equal(lone_put(&lone, "n/a", 0xa), ERR_OK);
    memset(&observer, 0, sizeof(observer));
    observer.call = (struct call){.row = rpc_row(RPC_Election_Observe), .ops = &ops};
    arena_init(&observer.call.arena, 1 * MIB);
    request = arena_zalloc(&observer.call.arena, sizeof(*request));
    assert_non_null(request);
    v3electionpb__leader_request__init(request);
    request->name = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "n"};
    observer.call.request = &request->base;
    service_start(service, &observer.call);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (!observer.ended)
        service_cancel(service, &observer.call);
    service_free(service);
    arena_free(&observer.call.arena);
    lone_fini(&lone);
    return 0;
}

static void revoke(int64_t lease)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeRequest revoked = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;

    request.lease_revoke = &revoked;
    revoked.id = lease;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
}

static void compact(int64_t revision)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

    request.compaction = &compaction;
    compaction.revision = revision;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
}

static int64_t revision(void)
{
    return mvcc_revision(engine_mvcc(lone.engine));
}

/* The leader's key goes and the next read is refused at once: that ends the call, but not from
 * within the event. */
static void refused_by_an_event(void **state)
{
    (void)state;
    turn();
    assert_int_equal(observer.told, 1);
    service_set_differs(service, true); /* no look into the store is allowed any more */
    revoke(0xa);
    assert_false(observer.ended);
    turn();
    assert_true(observer.ended);
    assert_string_equal(observer.text, err_text(ERR_CORRUPT));
}

/* A store that differs from the others' tells nothing more, of the same leader neither. */
static void differs_meanwhile(void **state)
{
    (void)state;
    turn();
    service_set_differs(service, true);
    assert_int_equal(lone_put(&lone, "n/a", 0xa), ERR_OK);
    turn();
    assert_int_equal(observer.told, 1);
    assert_true(observer.ended);
    assert_string_equal(observer.text, err_text(ERR_CORRUPT));
}

/* It goes in between. */
static void left_by_an_event(void **state)
{
    (void)state;
    turn();
    revoke(0xa);
    service_cancel(service, &observer.call);
    observer.ended = true;
    turn();
    assert_int_equal(observer.told, 1);
}

static void leaders_change(void **state)
{
    (void)state;
    turn();
    assert_int_equal(lone_put(&lone, "n/b", 0), ERR_OK);
    turn();
    assert_int_equal(observer.told, 1);
    revoke(0xa);
    turn();
    assert_int_equal(observer.told, 2);
    assert_int_equal(observer.revision, revision() - 1);
    assert_int_equal(lone_put(&lone, "n/b", 0), ERR_OK);
    turn();
    assert_int_equal(observer.told, 3);
}

/* Who reads again after that is told what is, and what comes. */
static void compacted_meanwhile(void **state)
{
    (void)state;
    observer.full = true;
    turn();
    assert_int_equal(observer.told, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lone_put(&lone, "n/a", 0xa), ERR_OK);
    assert_int_equal(lone_put(&lone, "else", 0), ERR_OK);
    compact(revision());
    turn();
    assert_int_equal(observer.told, 1);
    observer.full = false;
    observer.call.resume(&observer.call);
    turn();
    assert_int_equal(observer.told, 2);
    assert_int_equal(observer.revision, revision() - 1);
    assert_int_equal(lone_put(&lone, "n/a", 0xa), ERR_OK);
    turn();
    assert_int_equal(observer.told, 3);
    assert_int_equal(observer.revision, revision());
    assert_false(observer.ended);
}

/* Its watch lags behind its reads: who led before the last of them leads no more. */
static void nobody_returns(void **state)
{
    (void)state;
    turn();
    assert_int_equal(lone_grant(&lone, 0xb, 600), ERR_OK);
    observer.full = true;
    assert_int_equal(lone_put(&lone, "n/a", 0xa), ERR_OK);
    turn();
    assert_int_equal(observer.told, 2);
    revoke(0xa);
    for (int i = 0; i < 2 * WATCH_SLICE_REVISIONS; i++) /* more than one message of history */
        assert_int_equal(lone_put(&lone, "n/b", 0xb), ERR_OK);
    revoke(0xb);
    observer.full = false;
    observer.call.resume(&observer.call);
    turn();
    assert_int_equal(observer.told, 2);
    assert_int_equal(lone_put(&lone, "n/c", 0), ERR_OK);
    turn();
    assert_int_equal(observer.told, 3);
    assert_int_equal(observer.revision, revision());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(refused_by_an_event), TEST(differs_meanwhile),   TEST(left_by_an_event),
        TEST(leaders_change),      TEST(compacted_meanwhile), TEST(nobody_returns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
