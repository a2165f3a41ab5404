/* corrupt_check_test.c - whom the comparison of stores blames, on an engine whose clock and log are
 * held by the test; the other members are a table of answers. */
#include "etcd-server/service/corrupt_check.h"
#include "etcd-server/service/hashing.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define OTHERS_MAX 4

/* One other member: what it answers, and the question that waits for it. */
struct other {
    uint64_t id;
    unsigned status;
    const char *body;
    struct host_question *asked;
    unsigned times;
};

static struct lone lone;
static struct metrics metrics;
static struct service *service;
static struct corrupt_check *check;
static struct host_ops ops;
static struct other others[OTHERS_MAX];
static size_t other_count;
static char same_body[128], other_body[128];

static void ask_member(struct host *host, uint64_t member, struct host_question *question)
{
    (void)host;
    assert_string_equal(question->path, "/members/hashkv");
    assert_string_equal(question->method, "GET");
    assert_non_null(strstr(question->fields, "X-Etcd-Cluster-ID: "));
    for (size_t i = 0; i < other_count; i++)
        if (others[i].id == member) {
            assert_null(others[i].asked);
            others[i].asked = question;
            others[i].times++;
            return;
        }
    fail_msg("member %" PRIx64 " is asked, which is not there", member);
}

static void ask_cancel(struct host *host, struct host_question *question)
{
    (void)host;
    for (size_t i = 0; i < other_count; i++)
        if (others[i].asked == question)
            others[i].asked = NULL;
}

/* All questions that wait are answered. */
static void answer_all(void)
{
    for (size_t i = 0; i < other_count; i++) {
        struct host_question *question = others[i].asked;

        others[i].asked = NULL;
        if (question != NULL)
            question->done(question, others[i].status,
                           others[i].body != NULL ? slice_text(others[i].body) : SLICE_EMPTY);
    }
    lone_turn(&lone);
}

static void tick(void)
{
    lone.now_ms += LONE_TICK_MS;
    engine_tick(lone.engine);
    lone_turn(&lone);
    corrupt_check_tick(check);
    while (service_turn(service) <= lone.now_ms) /* a hash takes several */
        ;
    lone_turn(&lone);
}

/* In the list of members only: raft's configuration stays with the one that leads. */
static void add_other(uint64_t id)
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
    member_fini(&member);
    buf_free(&context);
    others[other_count++] = (struct other){.id = id, .status = 200, .body = same_body};
}

static void begin_store(void (*set_up)(struct engine_config *config))
{
    memset(others, 0, sizeof(others));
    other_count = 0;
    lone_init(&lone, set_up);
    ops = *lone.host.ops;
    ops.ask_member = ask_member;
    ops.ask_cancel = ask_cancel;
    lone.host.ops = &ops;
    lone_lead(&lone);
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    assert_int_equal(lone_put(&lone, "b", 0), ERR_OK);
}

static struct mvcc_hash_result own_result(void)
{
    struct mvcc_hash *hash = NULL;
    struct mvcc_hash_result made;

    assert_int_equal(mvcc_hash_start(engine_mvcc(lone.engine), 0, &hash), ERR_OK);
    while (!mvcc_hash_step(hash, SIZE_MAX))
        ;
    made = mvcc_hash_result(hash);
    mvcc_hash_free(hash);
    return made;
}

static void begin_check(size_t count, bool initial)
{
    struct service_config service_config = {.metrics = &metrics, .bcrypt_cost = 4};
    struct corrupt_check_config config = {
        .initial = initial, .period_ms = LONE_TICK_MS, .compact_ms = 0};
    uint32_t hash;

    for (size_t i = 0; i < count; i++)
        add_other(2 + i);
    hash = own_result().hash;
    (void)snprintf(same_body, sizeof(same_body),
                   "{\"header\":{\"revision\":3},\"hash\":%" PRIu32 ",\"compact_revision\":-1}",
                   hash);
    (void)snprintf(other_body, sizeof(other_body),
                   "{\"header\":{\"revision\":3},\"hash\":%" PRIu32 ",\"compact_revision\":-1}",
                   hash + 1);
    service_config.engine = config.engine = lone.engine;
    config.service = service = service_new(&service_config);
    check = corrupt_check_new(&config);
}

/* A leader with two keys among `count` others; the checks run when time says so. */
static void begin(size_t count, bool initial)
{
    begin_store(NULL);
    begin_check(count, initial);
}

static void end(void)
{
    engine_fail(lone.engine);
    corrupt_check_free(check);
    for (size_t i = 0; i < other_count; i++)
        assert_null(others[i].asked);
    service_free(service);
    lone_fini(&lone);
}

static size_t alarms(void)
{
    return alarm_count(engine_alarms(lone.engine));
}

static bool names(uint64_t member)
{
    return alarm_names(engine_alarms(lone.engine), member, ETCDSERVERPB__ALARM_TYPE__CORRUPT);
}

/* One comparison by time. */
static void compare(void)
{
    tick();
    answer_all();
}

/* ---- who is blamed ---- */

static void nobody(void **state)
{
    (void)state;
    begin(2, false);
    for (unsigned i = 0; i < 5; i++)
        compare();
    assert_int_equal(others[0].times, 5);
    assert_int_equal(alarms(), 0);
    end();
}

static void one_of_three(void **state)
{
    (void)state;
    begin(2, false);
    others[1].body = other_body;
    compare();
    assert_int_equal(alarms(), 1);
    assert_true(names(others[1].id));
    end();
}

static void this_one_of_three(void **state)
{
    (void)state;
    begin(2, false);
    others[0].body = others[1].body = other_body;
    compare();
    assert_int_equal(alarms(), 1);
    assert_true(names(engine_member_id(lone.engine)));
    end();
}

static void without_majority(void **state)
{
    (void)state;
    begin(1, false);
    others[0].body = other_body;
    compare();
    assert_int_equal(alarms(), 1);
    assert_true(names(0));
    end();
    begin(3, false); /* two against two */
    others[0].body = others[1].body = other_body;
    compare();
    assert_true(names(0) && alarms() == 1);
    end();
    begin(2, false); /* the third does not answer */
    others[0].body = other_body;
    others[1].status = 0;
    compare();
    assert_true(names(0) && alarms() == 1);
    end();
}

static void not_comparable(void **state)
{
    static const char *const bodies[] = {
        "{\"header\":{\"revision\":3},\"hash\":1,\"compact_revision\":2}", "{", "", "[1]",
        "{\"hash\":\"x\"}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        begin(2, false);
        others[0].body = others[1].body = bodies[i];
        compare();
        assert_int_equal(alarms(), 0);
        end();
    }
    begin(2, false);
    others[0] = (struct other){.id = others[0].id, .status = 412, .body = "cluster ID mismatch"};
    others[1].status = 404;
    compare();
    assert_int_equal(alarms(), 0);
    end();
}

static void one_behind_is_asked_again(void **state)
{
    (void)state;
    begin(2, false);
    others[1].status = 400;
    others[1].body = "mvcc: required revision is a future revision\n";
    compare();
    compare();
    assert_int_equal(others[0].times, 1); /* the same comparison */
    assert_int_equal(others[1].times, 2);
    others[1].status = 200;
    others[1].body = other_body;
    compare();
    assert_true(names(others[1].id));
    end();
}

static void compact(int64_t revision)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

    compaction.revision = revision;
    request.compaction = &compaction;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
}

static void ignored(struct hash_query *query, enum err_code code,
                    const struct mvcc_hash_result *result)
{
    (void)query;
    (void)code;
    (void)result;
}

static void delete_all(void)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest all = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

    all.key = all.range_end = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "\0"}; /* only read */
    request.delete_range = &all;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
}

#define KEYLESS_OLD "{\"hash\":7,\"compact_revision\":3,\"living\":false}"
#define KEYLESS_OF(history) "{\"hash\":7,\"compact_revision\":3,\"living\":false," history "}"
#define KEYLESS KEYLESS_OF("\"history\":7,\"history_compact_revision\":3")
#define KEYLESS_TOO KEYLESS_OF("\"history\":8,\"history_compact_revision\":3")
#define KEYLESS_ELSEWHERE KEYLESS_OF("\"history\":8,\"history_compact_revision\":-1")
#define KEYLESS_HALF KEYLESS_OF("\"history\":8")
#define KEYLESS_ODD KEYLESS_OF("\"history\":\"8\",\"history_compact_revision\":3")
#define KEYLESS_LARGE KEYLESS_OF("\"history\":4294967296,\"history_compact_revision\":3")
#define LIVING "{\"hash\":9,\"compact_revision\":3,\"living\":true}"
#define LIVING_TOO "{\"hash\":9,\"compact_revision\":-1,\"living\":true}" /* kept at 3 */
#define OF_ETCD "{\"hash\":10,\"compact_revision\":3}"

/* Without keys a hash takes in what a compaction has not deleted yet (formats.md 11.3): members
 * that hold the same differ in it. Whether a key lives is compared; if none does, the histories. */
static void nothing_left(void **state)
{
    enum { NOBODY, THIS, SECOND, THIRD }; /* the others are 2 and 3 */
    static const char same[] = "";
    static const struct {
        const char *bodies[2];
        size_t alarms;
        uint64_t named;
    } cases[] = {
        {{same, same}, 0, 0},
        {{OF_ETCD, OF_ETCD}, 0, 0},
        {{LIVING, LIVING_TOO}, 1, THIS}, /* it has lost its keys */
        {{KEYLESS, LIVING}, 1, THIRD},   /* the other one has kept, or made up, some */
        {{KEYLESS, same}, 1, SECOND},    /* what they had once differs */
        {{KEYLESS, KEYLESS}, 1, THIS},
        {{KEYLESS, KEYLESS_TOO}, 1, NOBODY},
        {{KEYLESS_ELSEWHERE, same}, 0, 0},
        {{KEYLESS_OLD, KEYLESS_OLD}, 0, 0}, /* it tells none */
        {{KEYLESS_HALF, KEYLESS_HALF}, 0, 0},
        {{KEYLESS_ODD, KEYLESS_ODD}, 0, 0},
        {{KEYLESS_LARGE, KEYLESS_LARGE}, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(2, false);
        compact(mvcc_revision(engine_mvcc(lone.engine)));
        delete_all();
        (void)snprintf(same_body, sizeof(same_body),
                       KEYLESS_OF("\"history\":%" PRIu32 ",\"history_compact_revision\":3"),
                       own_result().history.hash);
        for (size_t j = 0; j < 2; j++)
            others[j].body = cases[i].bodies[j] == same ? same_body : cases[i].bodies[j];
        tick();
        assert_non_null(others[0].asked);
        assert_non_null(strstr(others[0].asked->fields, "\r\nX-HashKV-Living: ask\r\n"));
        answer_all();
        assert_int_equal(alarms(), cases[i].alarms);
        if (cases[i].alarms != 0)
            assert_true(
                names(cases[i].named == THIS ? engine_member_id(lone.engine) : cases[i].named));
        end();
    }
    begin(2, false);
    compact(mvcc_revision(engine_mvcc(lone.engine)));
    delete_all();
    assert_int_equal(lone_put(&lone, "c", 0), ERR_OK); /* comparable by the hash again */
    tick();
    assert_null(strstr(others[0].asked->fields, "Living"));
    answer_all();
    end();
}

/* Every key is gone from the database, behind the member's back. */
static void lose_keys(void)
{
    struct batch *batch = batch_new();
    struct backend_read *read = NULL;
    struct backend_cursor *cursor;
    struct slice key, value;
    struct err err = ERR_INIT;
    bool more;

    assert_int_equal(backend_read_begin(lone.backend, &read, &err), 0);
    cursor = backend_cursor_open(read, BUCKET_KEY);
    for (more = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); more;
         more = backend_cursor_next(cursor, &key, &value))
        batch_delete(batch, BUCKET_KEY, key);
    backend_cursor_close(cursor);
    backend_read_end(read);
    assert_int_equal(backend_commit(lone.backend, batch, &err), 0);
    batch_unref(batch);
}

/* It starts at the revision that the others have, as the compaction was there, without a key: the
 * others have theirs, or have none either. */
static void keys_lost_before_the_start(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        begin_store(NULL);
        compact(mvcc_revision(engine_mvcc(lone.engine)));
        while (mvcc_compacting(engine_mvcc(lone.engine)))
            (void)mvcc_compact_step(engine_mvcc(lone.engine), 100);
        assert_int_equal(lone_put(&lone, "z", 0), ERR_OK); /* all of it is in the database */
        compact(mvcc_revision(engine_mvcc(lone.engine)));
        lone_turn(&lone);
        lose_keys();
        lone_crash(&lone);
        begin_check(2, true);
        assert_int_equal(mvcc_revision(engine_mvcc(lone.engine)), 4);
        assert_int_equal(mvcc_key_count(engine_mvcc(lone.engine)), 0);
        tick();
        assert_non_null(others[0].asked);
        assert_true(slice_equal(others[0].asked->body, slice_text("{\"revision\":4}")));
        others[0].body = i == 0 ? LIVING : KEYLESS;
        others[1].body = i == 0 ? LIVING_TOO : KEYLESS_TOO;
        answer_all();
        assert_int_equal(corrupt_check_start(check, &err),
                         i == 0 ? CORRUPT_START_DIFFERS : CORRUPT_START_GOOD);
        end();
    }
}

/* Compacted between this member's hash and the others': compared again at what is current then. */
static void compacted_meanwhile(void **state)
{
    (void)state;
    begin(2, false);
    others[0].status = others[1].status = 400;
    others[0].body = others[1].body = "mvcc: required revision has been compacted\n";
    tick();
    assert_int_equal(lone_put(&lone, "c", 0), ERR_OK);
    answer_all();
    tick();
    assert_non_null(others[0].asked);
    assert_true(slice_equal(others[0].asked->body, slice_text("{\"revision\":4}")));
    others[0].status = others[1].status = 200;
    others[0].body = others[1].body = other_body;
    answer_all();
    assert_true(names(engine_member_id(lone.engine)));
    end();
}

/* Another member has compacted to this very revision and remembers its hash, or the other way
 * round: that does not change by asking again. */
static void compacted_right_there(void **state)
{
    (void)state;
    begin(2, true);
    others[0].body = others[1].body = "{\"hash\":1,\"compact_revision\":3}";
    answer_all();
    assert_int_equal(others[0].times, 1);
    assert_int_equal(corrupt_check_start(check, NULL), CORRUPT_START_UNKNOWN);
    end();
}

/* This member's own hash waits behind another while its revision is compacted. */
static void compacted_in_the_line(void **state)
{
    struct err err = ERR_INIT;
    struct hash_query first = {.revision = 0, .done = ignored};

    (void)state;
    begin(2, false);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(lone_put(&lone, "c", 0), ERR_OK);
    hashing_start(service_hashing(service), &first);
    assert_int_equal(lone_put(&lone, "c", 0), ERR_OK);
    lone.now_ms += LONE_TICK_MS;
    corrupt_check_tick(check); /* in the line */
    assert_int_equal(lone_put(&lone, "c", 0), ERR_OK);
    compact(mvcc_revision(engine_mvcc(lone.engine)));
    assert_int_equal(lone_put(&lone, "c", 0), ERR_OK);
    while (service_turn(service) <= lone.now_ms)
        ;
    assert_int_equal(others[0].times, 0);
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_GOOD);
    tick();
    assert_int_equal(others[0].times, 1);
    assert_non_null(others[0].asked);
    assert_non_null(memmem(others[0].asked->body.data, others[0].asked->body.size, "3006", 4));
    answer_all();
    end();
}

/* The same before serving: it is not taken for good, and nobody waits for ever. */
static void elects_slowly(struct engine_config *config)
{
    config->election_ticks = 50;
}

/* At the start a member is waited for as long as any request waits. */
static void patience_follows_the_election_timeout(void **state)
{
    (void)state;
    begin(2, true);
    tick();
    assert_int_equal(others[0].asked->timeout_ms, 7000);
    answer_all();
    end();

    begin_store(elects_slowly);
    begin_check(2, true);
    tick();
    assert_int_equal(others[0].asked->timeout_ms, 15000);
    answer_all();
    end();
}

static void compacted_at_start(void **state)
{
    struct err err = ERR_INIT;
    unsigned times;

    (void)state;
    begin(2, true);
    others[0].status = others[1].status = 400;
    others[0].body = others[1].body = "mvcc: required revision has been compacted\n";
    for (unsigned i = 0; i < 20; i++) {
        answer_all();
        tick();
        assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_PENDING);
    }
    others[0].status = others[1].status = 200;
    others[0].body = others[1].body = other_body;
    for (unsigned i = 0; i < 10; i++) {
        answer_all();
        tick();
    }
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_DIFFERS);
    end();

    begin(2, true);
    others[0].body = "{\"hash\":1,\"compact_revision\":2}"; /* this one lags behind compactions */
    others[1].status = 0;
    for (unsigned i = 0; i < 100 && corrupt_check_start(check, &err) == CORRUPT_START_PENDING;
         i++) {
        answer_all();
        tick();
    }
    times = others[0].times;
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_UNKNOWN);
    assert_in_range(times, 5, 20);
    end();
}

/* ---- the alarm is seen ---- */

static void differs_by_somebody_elses_alarm(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;

    (void)state;
    begin(2, false);
    tick(); /* its comparison by time is under way */
    answer_all();
    others[0].body = others[1].body = other_body;
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT; /* of member 0, as a leading etcd says it */
    request.alarm = &alarm;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    tick();
    assert_false(service_differs(service));
    answer_all();
    assert_true(service_differs(service));
    others[0].body = others[1].body = same_body;
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    tick();
    assert_false(service_differs(service));
    answer_all();
    end();
}

/* The fourth may lag behind for good: who differs may be the leader that it needs. */
static void differs_though_one_lags_behind(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;

    (void)state;
    begin(4, false);
    compare();
    others[0].body = others[1].body = others[2].body = other_body;
    others[3].status = 400;
    others[3].body = "mvcc: required revision is a future revision\n";
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    request.alarm = &alarm;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    compare();
    assert_true(service_differs(service));
    assert_null(others[3].asked);
    end();
}

static void differs_when_enough_are_back(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;

    (void)state;
    begin(2, false);
    compare();
    others[0].body = others[1].body = other_body;
    others[1].status = 0;
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    request.alarm = &alarm;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    compare();
    assert_false(service_differs(service)); /* one against one */
    others[1].status = 200;
    for (unsigned i = 0; i < 700 && !service_differs(service); i++)
        compare();
    assert_true(service_differs(service));
    end();
}

/* By hand, for a member that holds what the others hold: etcd answers reads. */
static void named_though_it_is_sound(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;

    (void)state;
    for (size_t count = 0; count <= 2; count += 2) {
        begin(count, false);
        alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
        alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
        alarm.memberid = engine_member_id(lone.engine);
        request.alarm = &alarm;
        assert_int_equal(lone_apply(&lone, &request), ERR_OK);
        assert_true(names(alarm.memberid));
        for (unsigned i = 0; i < 3; i++) {
            compare();
            assert_false(service_differs(service));
        }
        end();
    }
}

/* Members that were added and never started hold nothing that it could differ from. */
static void named_beside_members_to_come(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;

    (void)state;
    begin(1, false);
    others[0].status = 0;
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    alarm.memberid = engine_member_id(lone.engine);
    request.alarm = &alarm;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    for (unsigned i = 0; i < 700; i++) {
        compare();
        assert_false(service_differs(service));
    }
    end();
}

static void named_and_nobody_can_be_asked(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;

    (void)state;
    begin(2, false);
    others[0].status = others[1].status = 0;
    member_apply_attributes(engine_members(lone.engine), others[1].id, "m", NULL, 0, NULL);
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    alarm.memberid = engine_member_id(lone.engine);
    request.alarm = &alarm;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    for (unsigned i = 0; i < 100 && !service_differs(service); i++)
        compare();
    assert_true(service_differs(service));
    others[0].status = others[1].status = 200;
    for (unsigned i = 0; i < 700 && service_differs(service); i++)
        compare();
    assert_false(service_differs(service));
    end();
}

/* ---- at start ---- */

static void at_start(void **state)
{
    struct host_question *question;
    struct err err = ERR_INIT;

    (void)state;
    begin(2, true);
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_PENDING);
    answer_all();
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_GOOD);
    end();

    begin(2, true); /* most agree with this one */
    others[0].body = other_body;
    answer_all();
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_GOOD);
    assert_int_equal(alarms(), 0);
    end();

    begin(2, true); /* a majority is enough: the other one hangs */
    question = others[0].asked;
    others[0].asked = NULL;
    question->done(question, 200, slice_text(same_body));
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_GOOD);
    assert_null(others[1].asked);
    end();

    begin(2, true); /* nobody is there yet */
    others[0].status = others[1].status = 0;
    answer_all();
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_UNKNOWN);
    end();

    begin(2, true);
    others[0].body = other_body;
    others[1].status = 0;
    answer_all();
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_DIFFERS);
    assert_non_null(strstr(err.text, "at revision 3"));
    end();

    begin(2, true); /* nobody waits long for one that lags behind */
    others[0].status = others[1].status = 400;
    others[0].body = others[1].body = "mvcc: required revision is a future revision\n";
    for (unsigned i = 0; i < 20 && corrupt_check_start(check, &err) == CORRUPT_START_PENDING; i++) {
        answer_all();
        tick();
    }
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_UNKNOWN);
    end();

    begin(0, true);
    assert_int_equal(corrupt_check_start(check, &err), CORRUPT_START_GOOD);
    end();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody),
        cmocka_unit_test(one_of_three),
        cmocka_unit_test(this_one_of_three),
        cmocka_unit_test(without_majority),
        cmocka_unit_test(not_comparable),
        cmocka_unit_test(one_behind_is_asked_again),
        cmocka_unit_test(nothing_left),
        cmocka_unit_test(keys_lost_before_the_start),
        cmocka_unit_test(compacted_meanwhile),
        cmocka_unit_test(compacted_at_start),
        cmocka_unit_test(compacted_right_there),
        cmocka_unit_test(compacted_in_the_line),
        cmocka_unit_test(differs_by_somebody_elses_alarm),
        cmocka_unit_test(differs_though_one_lags_behind),
        cmocka_unit_test(differs_when_enough_are_back),
        cmocka_unit_test(named_though_it_is_sound),
        cmocka_unit_test(named_beside_members_to_come),
        cmocka_unit_test(named_and_nobody_can_be_asked),
        cmocka_unit_test(at_start),
        cmocka_unit_test(patience_follows_the_election_timeout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
