/*
 * lock_test.c - the queue of Lock on an engine of one member: who leaves it, and who fails in it,
 * does not hold up the others; nobody loses what he holds; who wins still has his key.
 */
#include "common/schema/lock.pb-c.h"
#include "etcd-server/service/service.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct lone lone;
static struct metrics metrics;
static struct service *service;

/* A Lock call and what became of it. */
struct locker {
    struct call call; /* first */
    bool locked, refused;
    int64_t revision; /* of the answer's header */
    char text[64];
};

static void replied(struct call *call, const ProtobufCMessage *response)
{
    struct locker *locker = (struct locker *)(void *)call;

    locker->locked = true;
    locker->revision = ((const V3lockpb__LockResponse *)(const void *)response)->header->revision;
}

static void finished(struct call *call, enum err_code code, const char *text)
{
    struct locker *locker = (struct locker *)(void *)call;

    locker->refused = true;
    (void)snprintf(locker->text, sizeof(locker->text), "%s", text != NULL ? text : err_text(code));
}

static const struct call_ops ops = {.reply = replied, .finish = finished};

static void turn(void)
{
    do {
        lone_turn(&lone);
    } while (service_turn(service) <= lone.now_ms);
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

    (void)state;
    lone_init(&lone, NULL);
    lone_lead(&lone);
    config.engine = lone.engine;
    service = service_new(&config);
    assert_int_equal(lone_grant(&lone, 0xa, 600), ERR_OK);
    assert_int_equal(lone_grant(&lone, 0xb, 600), ERR_OK);
    assert_int_equal(lone_grant(&lone, 0xc, 600), ERR_OK);
    turn();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    service_free(service);
    lone_fini(&lone);
    return 0;
}

static void ask_for(struct locker *locker, int64_t lease, const char *name)
{
    V3lockpb__LockRequest *request;

    *locker = (struct locker){.call = {.row = rpc_row(RPC_Lock_Lock), .ops = &ops}};
    arena_init(&locker->call.arena, 1 * MIB);
    request = arena_zalloc(&locker->call.arena, sizeof(*request));
    assert_non_null(request);
    v3lockpb__lock_request__init(request);
    request->name =
        (ProtobufCBinaryData){1, (uint8_t *)arena_strndup(&locker->call.arena, name, 1)};
    request->lease = lease;
    locker->call.request = &request->base;
    service_start(service, &locker->call);
    turn();
}

static void ask(struct locker *locker, int64_t lease)
{
    ask_for(locker, lease, "n");
}

/* The caller goes: nothing of his memory may be used any more. */
static void leave(struct locker *locker)
{
    if (!locker->locked && !locker->refused)
        service_cancel(service, &locker->call);
    arena_free(&locker->call.arena);
    memset(&locker->call, 0xee, sizeof(locker->call));
}

static bool there(const char *key)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct mvcc_range *range = NULL;
    bool found;

    request.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
    assert_int_equal(mvcc_range_start(engine_mvcc(lone.engine), &request, &range), ERR_OK);
    found = mvcc_range_count(range) != 0;
    mvcc_range_free(range);
    return found;
}

static void in_order(void **state)
{
    struct locker a, b, c;

    (void)state;
    ask(&a, 0xa);
    ask(&b, 0xb);
    ask(&c, 0xc);
    assert_true(a.locked && !b.locked && !c.locked);
    leave(&b); /* it is not c's affair */
    turn();
    assert_true(there("n/a") && !there("n/b") && there("n/c"));
    assert_true(!c.locked && !c.refused);
    assert_int_equal(lone_put(&lone, "x", 0), ERR_OK);
    leave(&a); /* who holds it has an answer: that stays */
    turn();
    assert_true(there("n/a") && !c.locked);
    leave(&c);
    turn();
    assert_false(there("n/c"));
}

/* A lock that is free: the header is that of the txn, whatever else is written beside it. */
static void header_of_the_txn(void **state)
{
    struct locker a, b, again;

    (void)state;
    lone.hold_log = true;
    ask_for(&a, 0xa, "n");
    ask_for(&b, 0xb, "m");
    lone.hold_log = false;
    turn();
    assert_true(a.locked && b.locked);
    assert_int_equal(a.revision, 2);
    assert_int_equal(b.revision, 3);
    ask_for(&again, 0xa, "n");
    assert_true(again.locked);
    assert_int_equal(again.revision, 3);
    leave(&a);
    leave(&b);
    leave(&again);
}

/* The txn is on its way: what it made goes as soon as it is known. */
static void leaving_early(void **state)
{
    struct locker a, b;

    (void)state;
    lone.hold_log = true;
    ask(&a, 0xa);
    leave(&a);
    turn();
    ask(&b, 0xb);
    lone.hold_log = false;
    turn();
    assert_false(there("n/a"));
    assert_true(b.locked);
    leave(&b);
}

/* The same lease asks again while it holds the lock, and goes: it still holds it. */
static void asking_again(void **state)
{
    struct locker first, again, once_more;

    (void)state;
    ask(&first, 0xa);
    lone.hold_log = true;
    ask(&again, 0xa);
    leave(&again);
    lone.hold_log = false;
    turn();
    assert_true(first.locked && there("n/a"));
    ask(&once_more, 0xa);
    assert_true(once_more.locked);
    leave(&first);
    leave(&once_more);
}

static void revoke(int64_t lease)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeRequest revoked = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;

    request.lease_revoke = &revoked;
    revoked.id = lease;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
}

static uint64_t looks(void)
{
    return mvcc_stats(engine_mvcc(lone.engine)).ranges;
}

/* A deletion is looked at by the one who waits for that key, and by nobody else. */
static void waits_for_one_key(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest other = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    struct locker a, b, c;
    uint64_t before;

    (void)state;
    assert_int_equal(lone_put(&lone, "n/other", 0), ERR_OK);
    ask(&a, 0xa);
    ask(&b, 0xb);
    ask(&c, 0xc);
    assert_false(a.locked);
    before = looks();
    assert_int_equal(lone_put(&lone, "else", 0), ERR_OK);
    other.key = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "else"};
    request.delete_range = &other;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    turn();
    assert_int_equal(looks(), before);
    other.key = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "n/other"};
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    turn();
    assert_true(a.locked && !b.locked && !c.locked);
    assert_int_equal(looks(), before + 2); /* is one before it, and is its own key there */
    revoke(0xa);
    turn();
    assert_true(b.locked && !c.locked);
    assert_int_equal(looks(), before + 4);
    revoke(0xb);
    turn();
    assert_true(c.locked);
    leave(&a);
    leave(&b);
    leave(&c);
}

static void failing(void **state)
{
    struct locker a, b, c;

    (void)state;
    ask(&a, 0xa);
    ask(&b, 0xb);
    ask(&c, 0xc);
    service_set_differs(service, true); /* no look into the store is allowed any more */
    leave(&c);
    revoke(0xa); /* its key goes: b looks again */
    turn();
    assert_true(b.refused);
    service_set_differs(service, false);
    turn();
    assert_true(!there("n/b") && !there("n/c"));
    leave(&a);
    leave(&b);
}

/* Its lease ran out while it waited: it must not believe that it has the lock. */
static void own_key_gone(void **state)
{
    struct locker a, b;

    (void)state;
    ask(&a, 0xa);
    ask(&b, 0xb);
    revoke(0xb);
    revoke(0xa);
    turn();
    assert_true(b.refused && !b.locked);
    assert_string_equal(b.text, "mutex: session is expired");
    leave(&a);
    leave(&b);
}

/* The service goes while a txn of nobody and a departure are under way. */
static void service_goes(void **state)
{
    struct locker a, b, c;

    (void)state;
    ask(&a, 0xa);
    ask(&b, 0xb);
    lone.hold_log = true;
    ask(&c, 0xc);
    leave(&b);
    leave(&c);
    turn();
    leave(&a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(in_order),          TEST(header_of_the_txn), TEST(leaving_early), TEST(asking_again),
        TEST(waits_for_one_key), TEST(failing),           TEST(own_key_gone),  TEST(service_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
