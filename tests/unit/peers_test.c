/*
 * peers_test.c - two and three members' transports: messages in order, cuts, refusals, bounds, and
 * the small requests beside them.
 */
#include "etcd-server/host/peers_internal.h"
#include "tests/lib/peer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void messages_arrive_in_order(void **state)
{
    (void)state;
    peer_nodes_start(&nodes, 3);
    PEER_NODES_WAIT(&nodes, peer_nodes_all_active);
    peer_nodes_send_apps(node(0), node(1), 300, 100);
    peer_nodes_send_apps(node(0), node(2), 300, 100);
    peer_nodes_send_apps(node(1), node(0), 10, 100000);
    peer_nodes_send_beat(node(1), 3, 5);
    memcpy(nodes.wanted_got, (size_t[]){10, 300, 301}, sizeof(nodes.wanted_got));
    PEER_NODES_WAIT(&nodes, peer_nodes_got_all);
    for (size_t i = 0; i < PEER_NODES; i++) {
        assert_false(node(i)->out_of_order);
        assert_int_equal(node(i)->unreachable, 0);
    }
    assert_int_equal(node(0)->entry_bytes, 1000000);
    assert_true(peers_active_since(node(0)->peers, 2) != 0);
    assert_int_equal(peers_active_since(node(0)->peers, 99), 0);
}

static void cut_streams_come_back(void **state)
{
    (void)state;
    peer_nodes_start(&nodes, 2);
    PEER_NODES_WAIT(&nodes, peer_nodes_all_active);
    peer_nodes_cut(node(0));
    peer_nodes_cut(node(1));
    PEER_NODES_WAIT(&nodes, peer_nodes_beat_came);
    PEER_NODES_WAIT(&nodes, peer_nodes_all_active);
    assert_true(node(0)->unreachable > 0); /* the broken streams */
}

static bool second_heard(struct peer_nodes *unused)
{
    (void)unused;
    return node(1)->got >= 3;
}

static void without_streams_messages_are_posted(void **state)
{
    struct peers_member member = {.id = 2, .peer_url_count = 1};

    (void)state;
    peer_nodes_listen(node(0));
    peer_nodes_listen(node(1));
    peer_nodes_start_peers(node(0), 77);
    peer_nodes_start_peers(node(1), 77);
    member.peer_urls = (const char *const *)&node(1)->url;
    peers_add_remote(node(0)->peers, &member);
    peer_nodes_send_apps(node(0), node(1), 2, 10);
    peer_nodes_send_beat(node(0), 2, 9);
    PEER_NODES_WAIT(&nodes, second_heard);
    /* The other has learned from the headers who we are, and can answer. */
    peer_nodes_send_beat(node(1), 1, 10);
    nodes.wanted_got[0] = 1;
    nodes.wanted_got[1] = nodes.wanted_got[2] = 0;
    PEER_NODES_WAIT(&nodes, peer_nodes_got_all);
    assert_int_equal(peers_active_since(node(0)->peers, 2), 0); /* a remote is no peer */
}

static bool first_unreachable(struct peer_nodes *unused)
{
    (void)unused;
    return node(0)->unreachable >= 1;
}

static void another_cluster_is_refused(void **state)
{
    (void)state;
    peer_nodes_listen(node(0));
    peer_nodes_listen(node(1));
    peer_nodes_start_peers(node(0), 77);
    peer_nodes_start_peers(node(1), 78);
    peer_nodes_introduce(node(0), 2);
    peer_nodes_introduce(node(1), 2);
    peer_nodes_send_beat(node(0), 2, 1);
    PEER_NODES_WAIT(&nodes, first_unreachable);
    assert_int_equal(node(1)->got, 0);
    assert_int_equal(peers_active_count(node(0)->peers), 0);
    assert_false(node(0)->removed);
}

static bool first_removed(struct peer_nodes *unused)
{
    (void)unused;
    return node(0)->removed;
}

static void a_removed_member_is_told(void **state)
{
    (void)state;
    peer_nodes_listen(node(0));
    peer_nodes_listen(node(1));
    peer_nodes_start_peers(node(0), 77);
    peer_nodes_start_peers(node(1), 77);
    node(1)->removed_id = 1;
    peer_nodes_introduce(node(0), 2);
    PEER_NODES_WAIT(&nodes, first_removed);
    peer_nodes_send_beat(node(0), 2, 1);
    PEER_NODES_WAIT(&nodes, first_unreachable);
    assert_int_equal(node(1)->got, 0);
}

/* A member that opens its stream and reads nothing. */
static int dumb_reader(const struct peer_node *at, uint64_t id)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(at->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096;
    char text[512];

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&to, sizeof(to)), 0);
    (void)snprintf(text, sizeof(text),
                   "GET /raft/stream/msgapp/%" PRIx64
                   " HTTP/1.1\r\nHost: x\r\nX-Server-From: %" PRIx64
                   "\r\nX-Server-Version: 3.5.30\r\nX-Min-Cluster-Version: 3.0.0\r\n"
                   "X-Etcd-Cluster-ID: 4d\r\nX-Raft-To: %" PRIx64 "\r\n\r\n",
                   id, id, at->id);
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    return fd;
}

static int dumb;

static bool dumb_answered(struct peer_nodes *unused)
{
    (void)unused;
    char byte;

    return recv(dumb, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static void a_slow_peer_fills_its_own_queue_only(void **state)
{
    const char *const nowhere[] = {"http://127.0.0.1:1"};
    struct peers_member members[] = {{.id = 2, .peer_url_count = 1},
                                     {.id = 3, .peer_urls = nowhere, .peer_url_count = 1}};

    (void)state;
    peer_nodes_start(&nodes, 2);
    PEER_NODES_WAIT(&nodes, peer_nodes_all_active);
    members[0].peer_urls = (const char *const *)&node(1)->url;
    peers_set_members(node(0)->peers, members, 2);
    dumb = dumb_reader(node(0), 3);
    PEER_NODES_WAIT(&nodes, dumb_answered);
    node(0)->unreachable = 0;
    peer_nodes_send_apps(node(0), node(2), 60, 1 << 20);
    assert_int_equal(node(0)->unreachable, 0);
    peer_nodes_send_apps(node(0), node(2), 20, 1 << 20);
    assert_in_range(node(0)->unreachable, 10, 20); /* 64 MiB wait, the rest was dropped */
    peer_nodes_send_apps(node(0), node(1), 50, 1000);
    nodes.wanted_got[0] = nodes.wanted_got[2] = 0;
    nodes.wanted_got[1] = 50;
    PEER_NODES_WAIT(&nodes, peer_nodes_got_all);
    (void)close(dumb);
}

/* ---- small requests ---- */

/* clang-format off */
#define RAW(text) {(const uint8_t *)(text), sizeof(text) - 1}
/* clang-format on */

/* The rows of a real member's answers (its peer-http-answers listing). */
static void answers_are_etcds(void **state)
{
    /* clang-format off */
    static const struct {
        const char *method, *path, *fields;
        struct slice body;
        unsigned status;
        const char *text;
        bool cluster;
    } cases[] = {
        {"GET", "/raft", PEER_NODES_FIELDS, {0}, 405, "Method Not Allowed\n", false},
        {"POST", "/raft", NULL, {0}, 412, "incompatible version\n", true},
        {"POST", "/raft", PEER_NODES_VERSIONS "X-Etcd-Cluster-ID: 1\r\n",
         {0}, 412, "cluster ID mismatch\n", true},
        {"POST", "/raft",
         "X-Server-Version: 2.3.0\r\nX-Min-Cluster-Version: 2.1.0\r\nX-Etcd-Cluster-ID: 4d\r\n",
         {0}, 412, "incompatible version\n", true},
        {"POST", "/raft",
         "X-Server-Version: 3.7.0\r\nX-Min-Cluster-Version: 3.6.0\r\nX-Etcd-Cluster-ID: 4d\r\n",
         {0}, 412, "incompatible version\n", true},
        {"POST", "/raft", PEER_NODES_FIELDS,
         RAW("\xff"), 400, "error unmarshalling raft message\n", true},
        {"POST", "/raft", PEER_NODES_FIELDS,
         RAW("\x08\x08\x10\x63\x18\x03"), 500, "error processing raft message\n", true},
        {"POST", "/raft", PEER_NODES_FIELDS, /* 9 was removed */
         RAW("\x08\x08\x10\x02\x18\x09"), 500, "error processing raft message\n", true},
        {"POST", "/raft", PEER_NODES_FIELDS,
         RAW("\x08\x08\x10\x02\x18\x03"), 204, "", true},
        {"GET", "/raft/stream/other/3", PEER_NODES_FIELDS, {0}, 404, "invalid path\n", true},
        {"GET", "/raft/stream/msgapp/9", PEER_NODES_FIELDS, {0}, 410, "removed member\n", true},
        {"GET", "/raft/stream/msgapp/8", PEER_NODES_FIELDS,
         {0}, 404, "error sender not found\n", true},
        {"GET", "/raft/stream/msgapp/xyz", PEER_NODES_FIELDS, {0}, 404, "invalid from\n", true},
        {"GET", "/raft/stream/message/1", PEER_NODES_FIELDS "X-Raft-To: 5\r\n",
         {0}, 412, "to field mismatch\n", true},
        {"POST", "/raft/stream/message/1", PEER_NODES_FIELDS,
         {0}, 405, "Method Not Allowed\n", false},
        {"GET", "/raft/snapshot", PEER_NODES_FIELDS, {0}, 405, "Method Not Allowed\n", false},
        {"GET", "/raft/nothing", PEER_NODES_FIELDS, {0}, 404, "404 page not found\n", false},
    };
    /* clang-format on */

    (void)state;
    peer_nodes_start(&nodes, 2);
    node(1)->removed_id = 9;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        peer_nodes_ask(&nodes, node(1)->url, cases[i].method, cases[i].path, cases[i].fields,
                       cases[i].body);
        if (nodes.failed || nodes.answer.status != cases[i].status ||
            strcmp(nodes.body, cases[i].text) != 0)
            fail_msg("%s %s: %u \"%s\" %s", cases[i].method, cases[i].path, nodes.answer.status,
                     nodes.body, nodes.cause);
        assert_int_equal(nodes.answer.cluster_id, cases[i].cluster ? 77 : 0);
    }
    peer_nodes_ask(&nodes, node(1)->url, "GET", "/raft/probing", NULL, SLICE_EMPTY);
    assert_int_equal(nodes.answer.status, 200);
    assert_true(strncmp(nodes.body, "{\"OK\":true,\"Now\":\"20", 20) == 0);
}

static void failures_have_their_reasons(void **state)
{
    (void)state;
    peer_nodes_start(&nodes, 1);
    peer_nodes_ask(&nodes, "http://127.0.0.1:1", "GET", "/members", NULL, SLICE_EMPTY);
    assert_true(nodes.failed);
    assert_non_null(strstr(nodes.cause, "connect to http://127.0.0.1:1: Connection refused"));
    peer_nodes_ask(&nodes, "https://127.0.0.1:1", "GET", "/members", NULL, SLICE_EMPTY);
    assert_true(nodes.failed && strstr(nodes.cause, "--peer-trusted-ca-file") != NULL);
    peer_nodes_ask(&nodes, "nonsense", "GET", "/members", NULL, SLICE_EMPTY);
    assert_true(nodes.failed);
    peer_nodes_ask(&nodes, "http://no-such-host.invalid:1", "GET", "/members", NULL, SLICE_EMPTY);
    assert_true(nodes.failed);
}

struct crowd {
    struct peers_call *calls[4 * PEER_CALLS_MAX];
    size_t answers, good, most;
};
static struct crowd crowd;

static void crowd_answered(void *arg, const struct peers_answer *answer, const struct err *err)
{
    (void)arg;
    (void)err;
    crowd.answers++;
    crowd.good += answer != NULL && answer->status == 200;
    crowd.most = MAX(crowd.most, net_connections(nodes.net));
}

static bool crowd_is_served(struct peer_nodes *all)
{
    (void)all;
    return crowd.answers == ARRAY_LEN(crowd.calls) - 2;
}

/* Every one takes a descriptor, so only some are under way; the others have their turn. */
static void a_crowd_of_requests_waits(void **state)
{
    (void)state;
    peer_nodes_start(&nodes, 2);
    crowd = (struct crowd){.answers = 0};
    for (size_t i = 0; i < ARRAY_LEN(crowd.calls); i++) {
        char url[64], path[] = "/raft/probing", method[] = "GET"; /* borrowed for the call only */
        struct peers_request request = {
            .url = url, .method = method, .path = path, .done = crowd_answered};

        must(snprintf(url, sizeof(url), "%s", node(1)->url) < (int)sizeof(url));
        crowd.calls[i] = peers_request(node(0)->peers, &request);
        memset(url, 'x', sizeof(url));
        memset(path, 'x', sizeof(path));
        memset(method, 'x', sizeof(method));
    }
    peers_cancel(crowd.calls[0]);
    peers_cancel(crowd.calls[ARRAY_LEN(crowd.calls) - 1]);
    PEER_NODES_WAIT(&nodes, crowd_is_served);
    assert_int_equal(crowd.good, ARRAY_LEN(crowd.calls) - 2);
    assert_in_range(crowd.most, 1, PEER_CALLS_MAX + 20);  /* with those of the links */
    for (size_t i = 0; i < ARRAY_LEN(crowd.calls); i++) { /* left behind: freed with the peers */
        struct peers_request request = {
            .url = node(1)->url, .method = "GET", .path = "/raft/probing", .done = crowd_answered};

        (void)peers_request(node(0)->peers, &request);
    }
}

static bool few_connections(struct peer_nodes *all)
{
    return net_connections(all->net) <= 20;
}

static void ask_all_of_a_crowd(void)
{
    for (size_t i = 0; i < ARRAY_LEN(crowd.calls); i++) {
        struct peers_request request = {
            .url = node(1)->url, .method = "GET", .path = "/raft/probing", .done = crowd_answered};

        crowd.calls[i] = peers_request(node(0)->peers, &request);
    }
}

static bool all_of_a_crowd_are_served(struct peer_nodes *all)
{
    (void)all;
    return crowd.answers == ARRAY_LEN(crowd.calls);
}

/* A new connection for each, with TLS, costs more than the answer. */
static void connections_are_kept(void **state)
{
    (void)state;
    peer_nodes_start(&nodes, 2);
    PEER_NODES_WAIT(&nodes, peer_nodes_all_active);
    for (size_t round = 0; round < 3; round++) {
        crowd = (struct crowd){.answers = 0};
        ask_all_of_a_crowd();
        PEER_NODES_WAIT(&nodes, all_of_a_crowd_are_served);
        assert_int_equal(crowd.good, ARRAY_LEN(crowd.calls));
        assert_in_range(net_connections(nodes.net), PEER_CALLS_MAX, PEER_CALLS_MAX + 20);
        if (round == 1) /* they break while nobody looks */
            peer_nodes_cut(node(1));
    }
    peers_asker_tick(node(0)->peers->asker, loop_now_ms() + PEER_CALL_KEPT_MS - 1000);
    assert_in_range(net_connections(nodes.net), PEER_CALLS_MAX, PEER_CALLS_MAX + 20);
    peers_asker_tick(node(0)->peers->asker, loop_now_ms() + PEER_CALL_KEPT_MS);
    PEER_NODES_WAIT(&nodes, few_connections);
}

static struct {
    size_t refused, other;
} flood;

static void flood_ended(void *arg, const struct peers_answer *answer, const struct err *err)
{
    (void)arg;
    if (answer == NULL && err->code == ERR_REQUEST_TOO_MANY_REQUESTS &&
        strstr(err->text, "50000 requests to other members wait") != NULL)
        flood.refused++;
    else
        flood.other++;
}

static bool flood_is_refused(struct peer_nodes *all)
{
    (void)all;
    return flood.refused == 9;
}

/* Takes connections, as many as come, and nothing else. */
static int listen_silently(char *url, size_t bytes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd >= 0 && bind(fd, (struct sockaddr *)(void *)&at, size) == 0);
    must(listen(fd, 2 * (int)PEER_CALLS_MAX) == 0);
    must(getsockname(fd, (struct sockaddr *)(void *)&at, &size) == 0);
    must(snprintf(url, bytes, "http://127.0.0.1:%u", (unsigned)ntohs(at.sin_port)) < (int)bytes);
    return fd;
}

/* A member that does not answer: those that ask it are not kept without end. */
static void too_many_that_wait_are_refused(void **state)
{
    char url[64];
    int silent = listen_silently(url, sizeof(url));
    struct peers_request request = {.url = url, .method = "GET", .path = "/", .done = flood_ended};
    struct peers_call *call = NULL;

    (void)state;
    flood.refused = flood.other = 0;
    peer_nodes_start(&nodes, 1);
    for (size_t i = 0; i < PEER_CALLS_MAX + PEER_CALLS_WAITING_MAX + 10; i++)
        call = peers_request(node(0)->peers, &request);
    peers_cancel(call);                 /* one of the refused */
    assert_int_equal(flood.refused, 0); /* never from inside the call */
    PEER_NODES_WAIT(&nodes, flood_is_refused);
    assert_int_equal(flood.other, 0);
    (void)close(silent);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(messages_arrive_in_order),
        TEST(cut_streams_come_back),
        TEST(without_streams_messages_are_posted),
        TEST(another_cluster_is_refused),
        TEST(a_removed_member_is_told),
        TEST(a_slow_peer_fills_its_own_queue_only),
        TEST(answers_are_etcds),
        TEST(failures_have_their_reasons),
        TEST(a_crowd_of_requests_waits),
        TEST(connections_are_kept),
        TEST(too_many_that_wait_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
