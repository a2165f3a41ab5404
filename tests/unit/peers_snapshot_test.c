/* peers_snapshot_test.c - snapshots between members: the message and its database, and what can
 * fail. */
#include "tests/lib/certs.h"
#include "tests/lib/peer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static void snapshots_arrive_with_their_databases(void **state)
{
    static const size_t sizes[] = {0, 1, PEER_IMAGE_PIECE, 9000001};
    struct peer_image image = {.really = 0};
    char *path;

    (void)state;
    node(1)->snap_dir = test_directory();
    peer_nodes_start(&nodes, 2);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        image.really = image.image.bytes = sizes[i];
        peer_nodes_send_image(&nodes, &image, 100 + i);
        PEER_NODES_WAIT(&nodes, peer_nodes_image_over);
        assert_int_equal(node(0)->sent_ok, 1);
        assert_true(image.released);
        assert_int_equal(node(1)->snapshots, i + 1);
        assert_int_equal(node(1)->snapshot_index, 100 + i);
        path = xasprintf("%s/%016zx.snap.db", node(1)->snap_dir, 100 + i);
        assert_true(peer_image_is(path, sizes[i]));
        free(path);
    }
    test_run("ls %s | wc -l | grep -x 4", node(1)->snap_dir); /* no tmp is left */
    test_run("rm -r %s", node(1)->snap_dir);
}

static void snapshots_that_fail_are_reported(void **state)
{
    struct peer_image image = {.really = 100000}, second = {.really = 1};

    (void)state;
    node(1)->snap_dir = test_directory();
    peer_nodes_start(&nodes, 2);
    image.image.bytes = 100001; /* shorter than said */
    peer_nodes_send_image(&nodes, &image, 5);
    second.image.bytes = 1;
    peer_nodes_send_image(&nodes, &second, 5); /* one at a time */
    assert_int_equal(node(0)->sent_ok, 0);
    assert_true(second.released);
    node(0)->sent_ok = -1;
    PEER_NODES_WAIT(&nodes, peer_nodes_image_over);
    assert_int_equal(node(0)->sent_ok, 0);
    image.image.bytes = 99999; /* longer */
    peer_nodes_send_image(&nodes, &image, 5);
    PEER_NODES_WAIT(&nodes, peer_nodes_image_over);
    assert_int_equal(node(0)->sent_ok, 0);
    test_run("rm -r %s", node(1)->snap_dir); /* the other's disk is broken */
    image.image.bytes = 100000;
    peer_nodes_send_image(&nodes, &image, 5);
    PEER_NODES_WAIT(&nodes, peer_nodes_image_over);
    assert_int_equal(node(0)->sent_ok, 0);
    assert_true(image.released);
    assert_int_equal(node(1)->snapshots, 0);
    peer_nodes_ask(&nodes, node(1)->url, "POST", "/raft/snapshot", PEER_NODES_FIELDS,
                   SLICE_LITERAL("garbage garbage"));
    assert_int_equal(nodes.answer.status, 400);
    assert_string_equal(nodes.body,
                        "failed to decode raft message (rafthttp: error limit exceeded)\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(snapshots_arrive_with_their_databases),
        TEST(snapshots_that_fail_are_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
