/* member_test.c - members as JSON, the membership that the log changes, alarms, old v2 requests. */
#include "common/schema/member.h"
#include "etcd-server/engine/v2request.h"
#include "etcd-server/state/alarm.h"
#include "etcd-server/state/member.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define BIG_ID "18446744073709551615"

static void json_is_etcds(void **state)
{
    static const char *const peers[] = {"http://127.0.0.1:2380"}, *const clients[] = {
                                                                      "http://a?x=<1>&y"};
    struct member member, back;
    struct buf json = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    bool promote = true;

    (void)state;
    member_init(&member, UINT64_MAX);
    member_set_peer_urls(&member, peers, 1);
    assert_true(member_write_json(&member, false, &json));
    assert_string_equal(buf_text(&json),
                        "{\"id\":" BIG_ID ",\"peerURLs\":[\"http://127.0.0.1:2380\"]}");
    buf_reset(&json);
    member.learner = true;
    member_set_name(&member, "n\"1\xe2\x80\xa8");
    member_set_client_urls(&member, clients, 1);
    assert_true(member_write_json(&member, false, &json));
    assert_string_equal(
        buf_text(&json),
        "{\"id\":" BIG_ID ",\"peerURLs\":[\"http://127.0.0.1:2380\"],\"isLearner\":true,"
        "\"name\":\"n\\\"1\\u2028\",\"clientURLs\":[\"http://a?x=\\u003c1\\u003e\\u0026y\"]}");
    assert_int_equal(member_read_json(buf_slice(&json), &back, &promote, &err), 0);
    assert_true(back.id == UINT64_MAX && back.learner && !promote);
    assert_string_equal(back.name, member.name);
    assert_string_equal(back.client_urls[0], clients[0]);
    member_fini(&back);
    buf_reset(&json);
    assert_true(member_write_json(&member, true, &json));
    assert_string_equal(buf_text(&json),
                        "{\"id\":" BIG_ID ",\"peerURLs\":null,\"isPromote\":true}");
    assert_int_equal(member_read_json(buf_slice(&json), &back, &promote, &err), 0);
    assert_true(promote && back.peer_url_count == 0);
    member_fini(&back);
    buf_free(&json);
    member_fini(&member);
}

static void bad_json_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{\"id\":1",
        "{\"id\":1,\"peerURLs\":\"x\"}",
        "{\"id\":1,\"peerURLs\":[1]}",
        "{\"id\":-1}",
        "{\"id\":1,\"clientURLs\":{}}",
        "nothing",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct member member;
        struct err err = ERR_INIT;
        int rc = member_read_json(slice_text(texts[i]), &member, NULL, &err);

        if (rc == 0) { /* an id that cannot be an id reads as 0, which no change accepts */
            assert_int_equal(member.id, 0);
            member_fini(&member);
        } else {
            assert_int_equal(err.code, ERR_FORMAT);
            assert_true(err.text[0] != '\0');
        }
    }
}

static enum err_code change(struct member_store *members, enum raft_conf_change_type type,
                            uint64_t id, const char *context)
{
    struct raft_conf_change conf = {.type = type, .node_id = id, .context = slice_text(context)};

    return member_apply_change(members, &conf, NULL);
}

/* One more than raft can hold would stop every member, again at each start. */
static void members_are_limited(void **state)
{
    struct member_store *members = member_store_new();
    char context[96];

    (void)state;
    for (uint64_t id = 1; id <= RAFT_MEMBERS_MAX + 1; id++) {
        (void)snprintf(context, sizeof(context),
                       "{\"id\":%" PRIu64 ",\"peerURLs\":[\"http://m:%" PRIu64 "\"]}", id, id);
        assert_int_equal(change(members, RAFT_CONF_ADD_NODE, id, context),
                         id <= RAFT_MEMBERS_MAX ? ERR_OK : ERR_TOO_MANY_MEMBERS);
    }
    assert_int_equal(member_count(members), RAFT_MEMBERS_MAX);
    member_store_free(members);
}

static void the_log_changes_the_membership(void **state)
{
    struct member_store *members = member_store_new();
    const char *client = "http://c:1";

    (void)state;
    assert_int_equal(change(members, RAFT_CONF_ADD_NODE, 2,
                            "{\"id\":2,\"peerURLs\":[\"http://b:1\"],\"name\":\"b\"}"),
                     ERR_OK);
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 2, "{\"id\":2,\"peerURLs\":[\"http://x:1\"]}"),
        ERR_MEMBER_EXIST);
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 3, "{\"id\":3,\"peerURLs\":[\"http://b:1\"]}"),
        ERR_PEER_URL_EXIST);
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 3, "{\"id\":4,\"peerURLs\":[\"http://d:1\"]}"),
        ERR_MEMBER_BAD_URLS);
    assert_int_equal(change(members, RAFT_CONF_ADD_LEARNER, 1,
                            "{\"id\":1,\"peerURLs\":[\"http://a:1\"],\"isLearner\":true}"),
                     ERR_OK);
    assert_int_equal(change(members, RAFT_CONF_ADD_LEARNER, 5,
                            "{\"id\":5,\"peerURLs\":[\"http://e:1\"],\"isLearner\":true}"),
                     ERR_TOO_MANY_LEARNERS);
    assert_int_equal(member_count(members), 2);
    assert_int_equal(member_learner_count(members), 1);
    assert_int_equal(change(members, RAFT_CONF_ADD_LEARNER, 5,
                            "{\"id\":5,\"peerURLs\":[\"http://e:1\"],\"isLearner\":true,"
                            "\"maxLearners\":2}"),
                     ERR_OK); /* the entry says how many */
    assert_int_equal(member_find(members, 5)->learners_max, 0);
    assert_int_equal(change(members, RAFT_CONF_ADD_LEARNER, 6,
                            "{\"id\":6,\"peerURLs\":[\"http://f:1\"],\"isLearner\":true,"
                            "\"maxLearners\":2}"),
                     ERR_TOO_MANY_LEARNERS);
    assert_int_equal(change(members, RAFT_CONF_REMOVE_NODE, 5, ""), ERR_OK);
    assert_int_equal(member_at(members, 0)->id, 1); /* ascending */
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 2, "{\"id\":2,\"peerURLs\":null,\"isPromote\":true}"),
        ERR_MEMBER_NOT_LEARNER);
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 9, "{\"id\":9,\"peerURLs\":null,\"isPromote\":true}"),
        ERR_MEMBER_NOT_FOUND);
    assert_int_equal(
        change(members, RAFT_CONF_UPDATE_NODE, 1, "{\"id\":1,\"peerURLs\":[\"http://a:2\"]}"),
        ERR_OK);
    assert_true(member_find(members, 1)->learner); /* an update keeps it one */
    assert_string_equal(member_find(members, 1)->peer_urls[0], "http://a:2");
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 1, "{\"id\":1,\"peerURLs\":null,\"isPromote\":true}"),
        ERR_OK);
    assert_false(member_find(members, 1)->learner);
    member_apply_attributes(members, 1, "a", &client, 1, NULL);
    assert_string_equal(member_find(members, 1)->client_urls[0], client);
    assert_int_equal(change(members, RAFT_CONF_REMOVE_NODE, 1, ""), ERR_OK);
    assert_int_equal(change(members, RAFT_CONF_REMOVE_NODE, 1, ""), ERR_MEMBER_NOT_FOUND);
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 1, "{\"id\":1,\"peerURLs\":[\"http://z:1\"]}"),
        ERR_MEMBER_NOT_FOUND);
    assert_true(member_is_removed(members, 1));
    member_apply_attributes(members, 1, "ghost", &client, 1, NULL); /* a removed one: nothing */
    assert_null(member_find(members, 1));
    member_store_free(members);
}

static void the_membership_survives_a_snapshot_text(void **state)
{
    struct member_store *members = member_store_new(), *back = member_store_new();
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(change(members, RAFT_CONF_ADD_NODE, 2,
                            "{\"id\":2,\"peerURLs\":[\"http://b:1\"],\"name\":\"b\"}"),
                     ERR_OK);
    assert_int_equal(
        change(members, RAFT_CONF_ADD_LEARNER, 7, "{\"id\":7,\"peerURLs\":[\"http://c:1\"]}"),
        ERR_OK);
    member_store_set_removed(members, 99);
    member_apply_version(members, "3.5.0", NULL);
    member_store_write_v2(members, 5, &text);
    assert_int_equal(member_store_read_v2(back, buf_slice(&text), &err), 0);
    assert_int_equal(member_count(back), 2);
    assert_true(member_find(back, 7)->learner);
    assert_true(member_is_removed(back, 99));
    assert_string_equal(member_cluster_version(back), "3.5.0");
    assert_int_equal(member_store_read_v2(back, SLICE_LITERAL("{}"), &err), -1);
    buf_free(&text);
    member_store_free(members);
    member_store_free(back);
}

/* A terminal in Latin-1 is enough; every member must be able to start from this text. */
static void a_name_that_is_no_utf8_survives_a_snapshot_text(void **state)
{
    struct member_store *members = member_store_new(), *back = member_store_new();
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 2, "{\"id\":2,\"peerURLs\":[\"http://b:1\"]}"), ERR_OK);
    member_apply_attributes(members, 2, "caf\xe9", NULL, 0, NULL);
    member_store_write_v2(members, 5, &text);
    assert_int_equal(member_store_read_v2(back, buf_slice(&text), &err), 0);
    assert_string_equal(member_find(back, 2)->name, "caf\xef\xbf\xbd"); /* as etcd */
    buf_free(&text);
    member_store_free(members);
    member_store_free(back);
}

static void old_requests_are_told_apart(void **state)
{
    /* ID 1, Method PUT, Path /0/version, Val 3.5.0, then the always written tail */
    static const char v2[] = "\x08\x01\x12\x03PUT\x1a\x0a/0/version\"\x05"
                             "3.5.0(\x00"
                             "2\x00"
                             "8\x00H\x00P\x00X\x00`\x00h\x00p\x00x\x00\x80\x01\x00";
    static const char put[] = "\x22\x08\x0a\x02k3\x12\x02v3"; /* an InternalRaftRequest */
    struct member_store *members = member_store_new();
    struct v2_request request;
    struct buf written = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    assert_true(v2_request_decode(slice_of(v2, sizeof(v2) - 1), &request));
    assert_true(slice_equal(request.path, SLICE_LITERAL("/0/version")));
    v2_request_encode(&request, &written);
    assert_true(slice_equal(buf_slice(&written), slice_of(v2, sizeof(v2) - 1)));
    buf_free(&written);
    member_apply_v2(members, request.method, request.path, request.value, NULL);
    assert_string_equal(member_cluster_version(members), "3.5.0");
    assert_false(v2_request_decode(slice_of(put, sizeof(put) - 1), &request));
    for (size_t cut = 0; cut < sizeof(v2) - 1; cut++) /* no prefix is read past its end */
        assert_true(v2_request_decode(slice_of(v2, cut), &request) || cut < sizeof(v2) - 1);
    assert_int_equal(
        change(members, RAFT_CONF_ADD_NODE, 0xab, "{\"id\":171,\"peerURLs\":[\"http://b:1\"]}"),
        ERR_OK);
    member_apply_v2(members, SLICE_LITERAL("PUT"), SLICE_LITERAL("/0/members/ab/attributes"),
                    SLICE_LITERAL("{\"name\":\"n\",\"clientURLs\":[\"http://c:2\"]}"), NULL);
    assert_string_equal(member_find(members, 0xab)->name, "n");
    member_apply_v2(members, SLICE_LITERAL("PUT"), SLICE_LITERAL("/0/members//attributes"),
                    SLICE_LITERAL("{}"), NULL);
    member_apply_v2(members, SLICE_LITERAL("DELETE"), SLICE_LITERAL("/0/version"), SLICE_EMPTY,
                    NULL);
    assert_string_equal(member_cluster_version(members), "3.5.0");
    member_store_free(members);
}

static Etcdserverpb__AlarmResponse *alarm(struct alarm_store *alarms, struct arena *arena,
                                          struct batch *batch, int action, uint64_t member,
                                          int type)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    Etcdserverpb__AlarmResponse *response = NULL;

    request.action = action;
    request.memberid = member;
    request.alarm = type;
    assert_int_equal(alarm_apply(alarms, &request, batch, arena, &response), ERR_OK);
    assert_non_null(response);
    return response;
}

static void alarms_are_raised_and_disarmed(void **state)
{
    struct alarm_store *alarms = alarm_store_new();
    struct batch *batch = batch_new();
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(alarm(alarms, &arena, batch, 0, 0, 0)->n_alarms, 0);
    assert_int_equal(alarm(alarms, &arena, batch, 1, 7, 1)->n_alarms, 1);
    assert_int_equal(alarm(alarms, &arena, batch, 1, 7, 1)->n_alarms, 1); /* again: the same */
    assert_int_equal(batch_op_count(batch), 1);
    assert_int_equal(alarm(alarms, &arena, batch, 1, 3, 2)->n_alarms, 1);
    assert_int_equal(alarm(alarms, &arena, batch, 1, 3, 0)->n_alarms, 0); /* NONE raises nothing */
    assert_int_equal(alarm(alarms, &arena, batch, 0, 0, 0)->n_alarms, 2);
    assert_int_equal(alarm(alarms, &arena, batch, 0, 0, 2)->alarms[0]->memberid, 3);
    assert_true(alarm_active(alarms, ETCDSERVERPB__ALARM_TYPE__NOSPACE));
    assert_int_equal(alarm(alarms, &arena, batch, 2, 9, 1)->n_alarms, 0); /* not there */
    assert_int_equal(alarm(alarms, &arena, batch, 2, 7, 1)->n_alarms, 1);
    assert_false(alarm_active(alarms, ETCDSERVERPB__ALARM_TYPE__NOSPACE));
    assert_int_equal(alarm_count(alarms), 1);
    arena_free(&arena);
    batch_unref(batch);
    alarm_store_free(alarms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_etcds),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(the_log_changes_the_membership),
        cmocka_unit_test(members_are_limited),
        cmocka_unit_test(the_membership_survives_a_snapshot_text),
        cmocka_unit_test(a_name_that_is_no_utf8_survives_a_snapshot_text),
        cmocka_unit_test(old_requests_are_told_apart),
        cmocka_unit_test(alarms_are_raised_and_disarmed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
