/* version_duty_test.c - what the leader makes of the versions that the members run. */
#include "etcd-server/service/version_duty.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void tells_versions_from_other_texts(void **state)
{
    static const char *const bad[] = {"",        "3",        "3.",    "3.5.", "v3.5.0",
                                      "3.5.0.1", "3.5-rc.1", "3.5.x", "3.5 ", "not_decided"};
    unsigned major = 0, minor = 0;

    (void)state;
    assert_true(version_read("3.5", &major, &minor));
    assert_int_equal(major, 3);
    assert_int_equal(minor, 5);
    assert_true(version_read("3.6.0+build", &major, &minor));
    assert_int_equal(minor, 6);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(version_read(bad[i], &major, &minor));
        assert_int_equal(version_level(bad[i]), 0);
    }
}

static void reads_versions(void **state)
{
    static const char *const bad[] = {"", "[]", "{", "7", "\"3.5.0\""};
    struct versions versions;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(version_level("3.5.30"), 3005);
    assert_int_equal(version_level("3.6.0-rc.1"), 3006);
    assert_int_equal(version_level("not_decided"), 0);
    assert_int_equal(version_level(""), 0);
    assert_int_equal(
        versions_read_json(SLICE_LITERAL("{\"etcdserver\":\"3.5.30\",\"etcdcluster\":\"3.5.0\"}"),
                           &versions, &err),
        0);
    assert_string_equal(versions.server, "3.5.30");
    assert_string_equal(versions.cluster, "3.5.0");
    assert_int_equal(
        versions_read_json(SLICE_LITERAL("{\"etcdserver\":3,\"x\":1}"), &versions, &err), 0);
    assert_string_equal(versions.server, "");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(versions_read_json(slice_text(bad[i]), &versions, &err), -1);
}

static void decides(void **state)
{
    static const struct {
        const char *now;
        unsigned lowest;
        const char *target, *becomes;
    } cases[] = {
        {"", 3005, "", "3.5.0"},
        {"", 3004, "", "3.4.0"},
        {"", 0, "", "3.0.0"},
        {"3.4.0", 3005, "", "3.5.0"},
        {"3.0.0", 3005, "", "3.5.0"},
        {"3.4.0", 0, "", NULL},
        {"3.5.0", 3005, "", NULL},
        {"3.5.0", 3004, "", NULL},
        {"3.5.0", 3004, "3.4.0", "3.4.0"},
        {"3.5.0", 3003, "3.4.0", NULL},
        {"3.5.0", 3005, "3.4.0", NULL},
        {"2.3.0", 3005, "", NULL},
    };
    char text[VERSION_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *becomes =
            version_duty_decide(cases[i].now, cases[i].lowest, cases[i].target, text);

        if ((becomes == NULL) != (cases[i].becomes == NULL) ||
            (becomes != NULL && strcmp(becomes, cases[i].becomes) != 0))
            fail_msg("case %zu: %s", i, becomes != NULL ? becomes : "none");
    }
}

/* ---- with a log ---- */

static void set_version(struct lone *lone, const char *version)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Membershippb__ClusterVersionSetRequest set = MEMBERSHIPPB__CLUSTER_VERSION_SET_REQUEST__INIT;

    set.ver = (char *)(uintptr_t)version;
    request.cluster_version_set = &set;
    assert_int_equal(lone_apply(lone, &request), ERR_OK);
}

static void begin_downgrade(struct lone *lone, const char *target)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Membershippb__DowngradeInfoSetRequest set = MEMBERSHIPPB__DOWNGRADE_INFO_SET_REQUEST__INIT;

    set.enabled = true;
    set.ver = (char *)(uintptr_t)target;
    request.downgrade_info_set = &set;
    assert_int_equal(lone_apply(lone, &request), ERR_OK);
}

static void pass(struct lone *lone, struct version_duty *duty, uint64_t ms)
{
    for (uint64_t at = 0; at < ms && !lone->stopped; at += LONE_TICK_MS) {
        lone->now_ms += LONE_TICK_MS;
        version_duty_tick(duty);
        lone_turn(lone);
    }
}

static void raises_the_version_and_ends_a_downgrade(void **state)
{
    struct version_duty_config config = {.downgrade_check_ms = 5000};
    struct version_duty *duty;
    struct member_store *members;
    struct lone lone;

    (void)state;
    lone_init(&lone, NULL);
    lone_lead(&lone);
    config.engine = lone.engine;
    duty = version_duty_new(&config);
    members = engine_members(lone.engine);
    set_version(&lone, "3.4.0");
    pass(&lone, duty, 2 * LONE_TICK_MS); /* a new leader looks at once */
    assert_string_equal(member_cluster_version(members), "3.5.0");
    set_version(&lone, "3.4.0");
    pass(&lone, duty, 3500);
    assert_string_equal(member_cluster_version(members), "3.4.0");
    pass(&lone, duty, 1000);
    assert_string_equal(member_cluster_version(members), "3.5.0");
    begin_downgrade(&lone, "3.4.0"); /* this member runs 3.5: it is not over */
    pass(&lone, duty, 11000);
    assert_string_equal(member_downgrade_target(members), "3.4.0");
    begin_downgrade(&lone, "3.5.0");
    pass(&lone, duty, 5500);
    assert_string_equal(member_downgrade_target(members), "");
    version_duty_free(duty);
    lone_fini(&lone);
}

static void looks_after_no_downgrade(void **state)
{
    struct version_duty_config config = {.downgrade_check_ms = 0};
    struct version_duty *duty;
    struct lone lone;

    (void)state;
    lone_init(&lone, NULL);
    lone_lead(&lone);
    config.engine = lone.engine;
    duty = version_duty_new(&config);
    begin_downgrade(&lone, "3.5.0");
    pass(&lone, duty, 20000);
    assert_string_equal(member_downgrade_target(engine_members(lone.engine)), "3.5.0");
    version_duty_free(duty);
    lone_fini(&lone);
}

static void ends_below_the_cluster(void **state)
{
    struct version_duty_config config = {.downgrade_check_ms = 0};
    struct version_duty *duty;
    struct lone lone;

    (void)state;
    lone_init(&lone, NULL);
    lone_lead(&lone);
    config.engine = lone.engine;
    duty = version_duty_new(&config);
    set_version(&lone, "3.6.0");
    lone.may_stop = true;
    pass(&lone, duty, LONE_TICK_MS);
    assert_true(lone.stopped);
    version_duty_free(duty);
    lone_fini(&lone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_versions_from_other_texts),
        cmocka_unit_test(reads_versions),
        cmocka_unit_test(decides),
        cmocka_unit_test(raises_the_version_and_ends_a_downgrade),
        cmocka_unit_test(looks_after_no_downgrade),
        cmocka_unit_test(ends_below_the_cluster),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
