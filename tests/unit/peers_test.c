/*
 * peers_test.c - two and three members' transports in one process over loopback, plain and TLS:
 * order, cuts, refusals, bounds. One loop in this thread; every wait is for a fact and has a bound.
 */
#include "common/base/file.h"
#include "common/base/log.h"
#include "etcd-server/doors/http1.h"
#include "etcd-server/doors/peer_stream.h"
#include "etcd-server/host/net.h"
#include "etcd-server/host/peer_gate.h"
#include "etcd-server/host/peers.h"
#include "tests/lib/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 15000
#define NODES 3

struct node {
    uint64_t id;
    struct peers *peers;
    struct http1_door http1;
    struct link_door inner;
    struct peer_gate *gate; /* TLS only */
    uint16_t port;
    char *url;
    char *snap_dir;
    struct tls_context *client, *server;
    uint64_t removed_id;
    size_t got, unreachable, snapshots, actives;
    uint64_t last_index[NODES + 1]; /* by sender: 1, 2, 3 */
    bool out_of_order, removed;
    uint64_t last_type, last_term, snapshot_index;
    int sent_ok; /* -1: not yet */
    size_t entry_bytes;
};

struct fixture {
    struct loop *loop;
    struct net *net;
    struct loop_timer *limit;
    bool (*fact)(void);
    bool late;
    struct node nodes[NODES];
    struct peers_answer answer; /* of the last request; its body in `body` */
    char body[512];
    bool answered, failed;
    char cause[ERR_TEXT_MAX];
};
static struct fixture fix;

static struct node *node(size_t i)
{
    return &fix.nodes[i];
}

/* ---- waiting ---- */

static void on_limit(void *arg)
{
    (void)arg;
    fix.late = true;
    loop_stop(fix.loop);
}

static void on_turn(void *arg)
{
    (void)arg;
    if (fix.fact != NULL && fix.fact())
        loop_stop(fix.loop);
}

static void wait_for(bool (*fact)(void), const char *name)
{
    if (fact())
        return;
    fix.fact = fact;
    fix.late = false;
    loop_timer_set(fix.limit, loop_now_ms() + WAIT_MS);
    loop_run(fix.loop);
    loop_timer_set(fix.limit, 0);
    fix.fact = NULL;
    if (fix.late)
        fail_msg("waited in vain for: %s", name);
}
#define WAIT_FOR(fact) wait_for(fact, #fact)

/* ---- members ---- */

static bool on_message(void *arg, const struct raft_message *message)
{
    struct node *at = arg;

    at->got++;
    at->last_type = message->type;
    at->last_term = message->term;
    for (size_t i = 0; i < message->entry_count; i++)
        at->entry_bytes += message->entries[i].data.size;
    if (message->from <= NODES && message->type == RAFT_MSG_APP) {
        if (message->index + 1 <= at->last_index[message->from])
            at->out_of_order = true;
        at->last_index[message->from] = message->index + 1;
    }
    return true;
}

static bool on_snapshot(void *arg, const struct raft_message *message)
{
    struct node *at = arg;

    at->snapshots++;
    at->snapshot_index = message->snapshot->meta.index;
    return true;
}

static void on_unreachable(void *arg, uint64_t member)
{
    (void)member;
    ((struct node *)arg)->unreachable++;
}

static void on_sent(void *arg, uint64_t member, uint64_t index, bool ok)
{
    (void)member;
    (void)index;
    ((struct node *)arg)->sent_ok = ok;
}

static void on_removed(void *arg)
{
    ((struct node *)arg)->removed = true;
}

static bool is_removed(void *arg, uint64_t member)
{
    return ((struct node *)arg)->removed_id == member;
}

static void on_active(void *arg, uint64_t member, bool active)
{
    (void)member;
    ((struct node *)arg)->actives += active;
}

static void serve(void *arg, struct exchange *exchange)
{
    struct node *at = arg;
    struct exchange_handler handler;

    if (at->peers == NULL) {
        exchange_not_found(exchange);
        return;
    }
    handler = peers_handler(at->peers);
    handler.start(handler.arg, exchange);
}

static void listen_at(struct node *at)
{
    struct net_listener_config config = {.url = at->server != NULL ? "https://127.0.0.1:0"
                                                                   : "http://127.0.0.1:0",
                                         .name = "peer",
                                         .tls = at->server,
                                         .door = http1_link_door(&at->http1)};
    struct exchange_handler handler = {.arg = at, .start = serve};
    struct err err = ERR_INIT;

    http1_door_init(&at->http1, handler);
    at->http1.handler.streams = peers_streams_body;
    if (at->server != NULL) {
        at->inner = config.door;
        at->gate = peer_gate_new(fix.loop, &at->inner);
        config.door = peer_gate_door(at->gate);
    }
    if (net_listen(fix.net, &config, &at->port, &err) < 0)
        fail_msg("%s", err.text);
    at->url = xasprintf("%s://127.0.0.1:%u", at->server != NULL ? "https" : "http", at->port);
}

static void start_peers(struct node *at, uint64_t cluster_id)
{
    const char *const urls[] = {at->url};
    struct peers_config config = {.loop = fix.loop,
                                  .id = at->id,
                                  .cluster_id = cluster_id,
                                  .peer_urls = urls,
                                  .peer_url_count = 1,
                                  .version = "3.5.30",
                                  .min_cluster_version = "3.0.0",
                                  .tls = at->client,
                                  .snap_dir = at->snap_dir,
                                  .callbacks = {.arg = at,
                                                .message = on_message,
                                                .snapshot = on_snapshot,
                                                .unreachable = on_unreachable,
                                                .snapshot_sent = on_sent,
                                                .removed = on_removed,
                                                .is_removed = is_removed,
                                                .active = on_active}};
    struct err err = ERR_INIT;

    at->sent_ok = -1;
    if (peers_new(&config, &at->peers, &err) < 0)
        fail_msg("%s", err.text);
}

static void introduce(struct node *at, size_t count)
{
    struct peers_member members[NODES];
    const char *urls[NODES];

    for (size_t i = 0; i < count; i++) {
        urls[i] = fix.nodes[i].url;
        members[i] = (struct peers_member){
            .id = fix.nodes[i].id, .peer_urls = &urls[i], .peer_url_count = 1};
    }
    peers_set_members(at->peers, members, count);
}

static int set_up(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    memset(&fix, 0, sizeof(fix));
    log_setup(LOG_SILENT, LOG_JSON);
    assert_int_equal(loop_new(&fix.loop, &err), 0);
    fix.net = net_new(fix.loop);
    fix.limit = loop_timer_new(fix.loop, on_limit, NULL);
    loop_at_turn_end(fix.loop, LOOP_PHASE_FLUSH, on_turn, NULL);
    for (size_t i = 0; i < NODES; i++)
        node(i)->id = i + 1;
    return 0;
}

static void start_nodes(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        listen_at(node(i));
        start_peers(node(i), 77);
    }
    for (size_t i = 0; i < count; i++)
        introduce(node(i), count);
}

static void done(void *arg)
{
    (void)arg;
    loop_stop(fix.loop);
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < NODES; i++)
        if (node(i)->peers != NULL)
            peers_stop(node(i)->peers);
    net_shutdown(fix.net, done, NULL);
    loop_run(fix.loop);
    net_free(fix.net);
    for (size_t i = 0; i < NODES; i++) {
        peers_free(node(i)->peers);
        peer_gate_free(node(i)->gate);
        tls_context_free(node(i)->client);
        tls_context_free(node(i)->server);
        free(node(i)->url);
        free(node(i)->snap_dir);
    }
    loop_timer_free(fix.limit);
    loop_free(fix.loop);
    return 0;
}

static void send_apps(size_t from, size_t to, size_t count, size_t bytes)
{
    uint8_t *data = xalloc(bytes + 1);
    static uint64_t next[NODES][NODES];

    for (size_t i = 0; i < count; i++) {
        uint64_t index = ++next[from][to];
        struct raft_entry entry = {.term = 1, .index = index, .data = slice_of(data, bytes)};
        struct raft_message message = {.type = RAFT_MSG_APP,
                                       .from = node(from)->id,
                                       .to = node(to)->id,
                                       .term = 1,
                                       .log_term = 1,
                                       .index = index - 1,
                                       .entries = &entry,
                                       .entry_count = 1};

        peers_send(node(from)->peers, &message, 1);
    }
    free(data);
}

static void send_beat(size_t from, uint64_t to, uint64_t term)
{
    struct raft_message message = {
        .type = RAFT_MSG_HEARTBEAT, .from = node(from)->id, .to = to, .term = term};

    peers_send(node(from)->peers, &message, 1);
}

/* Cut every connection between us and one of our listeners. */
static void cut(const struct node *at)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in own = {.sin_port = 0}, other = {.sin_port = 0};
        socklen_t size = sizeof(own);

        if (getsockname(fd, (struct sockaddr *)(void *)&own, &size) < 0)
            continue;
        size = sizeof(other);
        if (getpeername(fd, (struct sockaddr *)(void *)&other, &size) < 0)
            continue;
        if (ntohs(own.sin_port) == at->port || ntohs(other.sin_port) == at->port)
            (void)shutdown(fd, SHUT_RDWR);
    }
}

/* ---- facts ---- */

static bool all_active(void)
{
    for (size_t i = 0; i < NODES; i++)
        if (node(i)->peers != NULL && node(i)->url != NULL &&
            peers_active_count(node(i)->peers) !=
                (node(2)->peers != NULL && node(2)->url != NULL ? 2 : 1))
            return false;
    return true;
}

static size_t wanted_got[NODES];

static bool got_all(void)
{
    for (size_t i = 0; i < NODES; i++)
        if (node(i)->got < wanted_got[i])
            return false;
    return true;
}

static void messages_arrive_in_order(void **state)
{
    (void)state;
    start_nodes(3);
    WAIT_FOR(all_active);
    send_apps(0, 1, 300, 100);
    send_apps(0, 2, 300, 100);
    send_apps(1, 0, 10, 100000);
    send_beat(1, 3, 5);
    memcpy(wanted_got, (size_t[]){10, 300, 301}, sizeof(wanted_got));
    WAIT_FOR(got_all);
    for (size_t i = 0; i < NODES; i++) {
        assert_false(node(i)->out_of_order);
        assert_int_equal(node(i)->unreachable, 0);
    }
    assert_int_equal(node(0)->entry_bytes, 1000000);
    assert_true(peers_active_since(node(0)->peers, 2) != 0);
    assert_int_equal(peers_active_since(node(0)->peers, 99), 0);
}

static bool beat_came(void)
{
    static uint64_t term;

    if (node(1)->last_type == RAFT_MSG_HEARTBEAT && node(1)->last_term > 100)
        return true;
    send_beat(0, 2, 100 + ++term);
    return false;
}

static void cut_streams_come_back(void **state)
{
    (void)state;
    start_nodes(2);
    WAIT_FOR(all_active);
    cut(node(0));
    cut(node(1));
    WAIT_FOR(beat_came);
    WAIT_FOR(all_active);
    assert_true(node(0)->unreachable > 0); /* the broken streams */
}

static bool second_heard(void)
{
    return node(1)->got >= 3;
}

static void without_streams_messages_are_posted(void **state)
{
    struct peers_member member = {.id = 2, .peer_url_count = 1};

    (void)state;
    listen_at(node(0));
    listen_at(node(1));
    start_peers(node(0), 77);
    start_peers(node(1), 77);
    member.peer_urls = (const char *const *)&node(1)->url;
    peers_add_remote(node(0)->peers, &member);
    send_apps(0, 1, 2, 10);
    send_beat(0, 2, 9);
    WAIT_FOR(second_heard);
    /* The other has learned from the headers who we are, and can answer. */
    send_beat(1, 1, 10);
    wanted_got[0] = 1;
    wanted_got[1] = wanted_got[2] = 0;
    WAIT_FOR(got_all);
    assert_int_equal(peers_active_since(node(0)->peers, 2), 0); /* a remote is no peer */
}

static bool first_unreachable(void)
{
    return node(0)->unreachable >= 1;
}

static void another_cluster_is_refused(void **state)
{
    (void)state;
    listen_at(node(0));
    listen_at(node(1));
    start_peers(node(0), 77);
    start_peers(node(1), 78);
    introduce(node(0), 2);
    introduce(node(1), 2);
    send_beat(0, 2, 1);
    WAIT_FOR(first_unreachable);
    assert_int_equal(node(1)->got, 0);
    assert_int_equal(peers_active_count(node(0)->peers), 0);
    assert_false(node(0)->removed);
}

static bool first_removed(void)
{
    return node(0)->removed;
}

static void a_removed_member_is_told(void **state)
{
    (void)state;
    listen_at(node(0));
    listen_at(node(1));
    start_peers(node(0), 77);
    start_peers(node(1), 77);
    node(1)->removed_id = 1;
    introduce(node(0), 2);
    WAIT_FOR(first_removed);
    send_beat(0, 2, 1);
    WAIT_FOR(first_unreachable);
    assert_int_equal(node(1)->got, 0);
}

/* A member that opens its stream and reads nothing. */
static int dumb_reader(const struct node *at, uint64_t id)
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

static bool dumb_answered(void)
{
    char byte;

    return recv(dumb, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static void a_slow_peer_fills_its_own_queue_only(void **state)
{
    const char *const nowhere[] = {"http://127.0.0.1:1"};
    struct peers_member members[] = {{.id = 2, .peer_url_count = 1},
                                     {.id = 3, .peer_urls = nowhere, .peer_url_count = 1}};

    (void)state;
    start_nodes(2);
    WAIT_FOR(all_active);
    members[0].peer_urls = (const char *const *)&node(1)->url;
    peers_set_members(node(0)->peers, members, 2);
    dumb = dumb_reader(node(0), 3);
    WAIT_FOR(dumb_answered);
    node(0)->unreachable = 0;
    send_apps(0, 2, 60, 1 << 20);
    assert_int_equal(node(0)->unreachable, 0);
    send_apps(0, 2, 20, 1 << 20);
    assert_in_range(node(0)->unreachable, 10, 20); /* 64 MiB wait, the rest was dropped */
    send_apps(0, 1, 50, 1000);
    wanted_got[0] = wanted_got[2] = 0;
    wanted_got[1] = 50;
    WAIT_FOR(got_all);
    (void)close(dumb);
}

/* ---- small requests ---- */

static void on_answer(void *arg, const struct peers_answer *answer, const struct err *err)
{
    (void)arg;
    fix.answered = true;
    fix.failed = answer == NULL;
    if (answer == NULL) {
        (void)snprintf(fix.cause, sizeof(fix.cause), "%s", err->text);
        return;
    }
    fix.answer = *answer;
    (void)snprintf(fix.body, sizeof(fix.body), "%.*s", (int)answer->body.size,
                   (const char *)answer->body.data);
}

static bool answered(void)
{
    return fix.answered;
}

static void ask(const char *url, const char *method, const char *path, const char *fields,
                struct slice body)
{
    struct peers_request request = {.url = url,
                                    .method = method,
                                    .path = path,
                                    .fields = fields,
                                    .body = body,
                                    .done = on_answer};

    fix.answered = false;
    (void)peers_request(node(0)->peers, &request);
    WAIT_FOR(answered);
}

#define VERSIONS "X-Server-Version: 3.5.30\r\nX-Min-Cluster-Version: 3.0.0\r\n"
#define GOOD VERSIONS "X-Etcd-Cluster-ID: 4d\r\nX-Server-From: 3\r\n"

/* The rows of a real member's answers (its peer-http-answers listing). */
static void answers_are_etcds(void **state)
{
    static const struct {
        const char *method, *path, *fields;
        struct slice body;
        unsigned status;
        const char *text;
        bool cluster;
    } cases[] = {
        {"GET", "/raft", GOOD, {0}, 405, "Method Not Allowed\n", false},
        {"POST", "/raft", NULL, {0}, 412, "incompatible version\n", true},
        {"POST",
         "/raft",
         VERSIONS "X-Etcd-Cluster-ID: 1\r\n",
         {0},
         412,
         "cluster ID mismatch\n",
         true},
        {"POST",
         "/raft",
         "X-Server-Version: 2.3.0\r\nX-Min-Cluster-Version: 2.1.0\r\nX-Etcd-Cluster-ID: 4d\r\n",
         {0},
         412,
         "incompatible version\n",
         true},
        {"POST",
         "/raft",
         "X-Server-Version: 3.7.0\r\nX-Min-Cluster-Version: 3.6.0\r\nX-Etcd-Cluster-ID: 4d\r\n",
         {0},
         412,
         "incompatible version\n",
         true},
        {"POST",
         "/raft",
         GOOD,
         {(const uint8_t *)"\xff", 1},
         400,
         "error unmarshalling raft message\n",
         true},
        {"POST",
         "/raft",
         GOOD,
         {(const uint8_t *)"\x08\x08\x10\x63\x18\x03", 6},
         500,
         "error processing raft message\n",
         true},
        {"POST",
         "/raft",
         GOOD,
         {(const uint8_t *)"\x08\x08\x10\x02\x18\x09", 6},
         500,
         "error processing raft message\n",
         true}, /* 9 was removed */
        {"POST", "/raft", GOOD, {(const uint8_t *)"\x08\x08\x10\x02\x18\x03", 6}, 204, "", true},
        {"GET", "/raft/stream/other/3", GOOD, {0}, 404, "invalid path\n", true},
        {"GET", "/raft/stream/msgapp/9", GOOD, {0}, 410, "removed member\n", true},
        {"GET", "/raft/stream/msgapp/8", GOOD, {0}, 404, "error sender not found\n", true},
        {"GET", "/raft/stream/msgapp/xyz", GOOD, {0}, 404, "invalid from\n", true},
        {"GET",
         "/raft/stream/message/1",
         GOOD "X-Raft-To: 5\r\n",
         {0},
         412,
         "to field mismatch\n",
         true},
        {"POST", "/raft/stream/message/1", GOOD, {0}, 405, "Method Not Allowed\n", false},
        {"GET", "/raft/snapshot", GOOD, {0}, 405, "Method Not Allowed\n", false},
        {"GET", "/raft/nothing", GOOD, {0}, 404, "404 page not found\n", false},
    };

    (void)state;
    start_nodes(2);
    node(1)->removed_id = 9;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ask(node(1)->url, cases[i].method, cases[i].path, cases[i].fields, cases[i].body);
        if (fix.failed || fix.answer.status != cases[i].status ||
            strcmp(fix.body, cases[i].text) != 0)
            fail_msg("%s %s: %u \"%s\" %s", cases[i].method, cases[i].path, fix.answer.status,
                     fix.body, fix.cause);
        assert_int_equal(fix.answer.cluster_id, cases[i].cluster ? 77 : 0);
    }
    ask(node(1)->url, "GET", "/raft/probing", NULL, SLICE_EMPTY);
    assert_int_equal(fix.answer.status, 200);
    assert_true(strncmp(fix.body, "{\"OK\":true,\"Now\":\"20", 20) == 0);
}

static void failures_have_their_reasons(void **state)
{
    (void)state;
    start_nodes(1);
    ask("http://127.0.0.1:1", "GET", "/members", NULL, SLICE_EMPTY);
    assert_true(fix.failed);
    assert_non_null(strstr(fix.cause, "connect to http://127.0.0.1:1: Connection refused"));
    ask("https://127.0.0.1:1", "GET", "/members", NULL, SLICE_EMPTY);
    assert_true(fix.failed && strstr(fix.cause, "--peer-trusted-ca-file") != NULL);
    ask("nonsense", "GET", "/members", NULL, SLICE_EMPTY);
    assert_true(fix.failed);
    ask("http://no-such-host.invalid:1", "GET", "/members", NULL, SLICE_EMPTY);
    assert_true(fix.failed);
}

/* ---- snapshots ---- */

#define PIECE 30000

struct image {
    struct peers_image image;
    uint64_t really; /* how many bytes run() gives */
    bool released;
};

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 7 + offset / 251);
}

static int run_image(struct peers_image *image, host_sink_fn *sink, void *sink_arg, struct err *err)
{
    uint64_t really = CONTAINER_OF(image, struct image, image)->really;
    uint8_t piece[PIECE];

    for (uint64_t at = 0; at < really; at += PIECE) {
        size_t size = MIN(PIECE, really - at);

        for (size_t i = 0; i < size; i++)
            piece[i] = byte_at(at + i);
        if (sink(sink_arg, slice_of(piece, size), err) < 0)
            return -1;
    }
    return 0;
}

static void release_image(struct peers_image *image)
{
    CONTAINER_OF(image, struct image, image)->released = true;
}

static void send_image(struct image *image, uint64_t index)
{
    struct raft_snapshot snapshot = {.data = SLICE_LITERAL("{}"),
                                     .meta = {.index = index, .term = 3}};
    struct raft_message message = {
        .type = RAFT_MSG_SNAP, .from = 1, .to = 2, .term = 3, .snapshot = &snapshot};

    image->image.run = run_image;
    image->image.release = release_image;
    image->released = false;
    node(0)->sent_ok = -1;
    peers_send_snapshot(node(0)->peers, &message, &image->image);
}

static bool image_over(void)
{
    return node(0)->sent_ok >= 0;
}

static void assert_image(const char *path, size_t bytes)
{
    struct buf content = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    if (file_read_all(path, &content, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(content.size, bytes);
    for (size_t i = 0; i < bytes; i++)
        if (content.data[i] != byte_at(i))
            fail_msg("byte %zu differs", i);
    buf_free(&content);
}

static void snapshots_arrive_with_their_databases(void **state)
{
    static const size_t sizes[] = {0, 1, PIECE, 9000001};
    struct image image = {.really = 0};
    char *path;

    (void)state;
    node(1)->snap_dir = test_directory();
    start_nodes(2);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        image.really = image.image.bytes = sizes[i];
        send_image(&image, 100 + i);
        WAIT_FOR(image_over);
        assert_int_equal(node(0)->sent_ok, 1);
        assert_true(image.released);
        assert_int_equal(node(1)->snapshots, i + 1);
        assert_int_equal(node(1)->snapshot_index, 100 + i);
        path = xasprintf("%s/%016zx.snap.db", node(1)->snap_dir, 100 + i);
        assert_image(path, sizes[i]);
        free(path);
    }
    test_run("ls %s | wc -l | grep -x 4", node(1)->snap_dir); /* no tmp is left */
    test_run("rm -r %s", node(1)->snap_dir);
}

static void snapshots_that_fail_are_reported(void **state)
{
    struct image image = {.really = 100000}, second = {.really = 1};

    (void)state;
    node(1)->snap_dir = test_directory();
    start_nodes(2);
    image.image.bytes = 100001; /* shorter than said */
    send_image(&image, 5);
    second.image.bytes = 1;
    send_image(&second, 5); /* one at a time */
    assert_int_equal(node(0)->sent_ok, 0);
    assert_true(second.released);
    node(0)->sent_ok = -1;
    WAIT_FOR(image_over);
    assert_int_equal(node(0)->sent_ok, 0);
    image.image.bytes = 99999; /* longer */
    send_image(&image, 5);
    WAIT_FOR(image_over);
    assert_int_equal(node(0)->sent_ok, 0);
    test_run("rm -r %s", node(1)->snap_dir); /* the other's disk is broken */
    image.image.bytes = 100000;
    send_image(&image, 5);
    WAIT_FOR(image_over);
    assert_int_equal(node(0)->sent_ok, 0);
    assert_true(image.released);
    assert_int_equal(node(1)->snapshots, 0);
    ask(node(1)->url, "POST", "/raft/snapshot", GOOD, SLICE_LITERAL("garbage garbage"));
    assert_int_equal(fix.answer.status, 400);
    assert_string_equal(fix.body,
                        "failed to decode raft message (rafthttp: error limit exceeded)\n");
}

/* ---- TLS ---- */

static struct {
    char *dir;
    struct test_pair ca, other_ca, good, other, expired, server_only, elsewhere, by_name, odd_name;
    int log;
} pki;

static struct test_pair make_pair(const char *name, const char *sans, unsigned usages,
                                  const struct test_pair *ca, int64_t until_s)
{
    return test_pair_make(pki.dir, &(struct test_leaf){.name = name,
                                                       .cn = name,
                                                       .sans = sans,
                                                       .usages = usages,
                                                       .issuer = ca,
                                                       .from_s = until_s != 0 ? -7200 : 0,
                                                       .until_s = until_s});
}

static int make_pki(void **state)
{
    const unsigned both = X509_SERVER | X509_CLIENT;

    (void)state;
    pki.dir = test_directory();
    pki.ca = test_pair_make(pki.dir, &(struct test_leaf){.name = "ca", .cn = "ca", .ca = true});
    pki.other_ca =
        test_pair_make(pki.dir, &(struct test_leaf){.name = "ca2", .cn = "ca2", .ca = true});
    pki.good = make_pair("good", "127.0.0.1", both, &pki.ca, 0);
    pki.other = make_pair("other", "127.0.0.1", both, &pki.other_ca, 0);
    pki.expired = make_pair("expired", "127.0.0.1", both, &pki.ca, -3600);
    pki.server_only = make_pair("serveronly", "127.0.0.1", X509_SERVER, &pki.ca, 0);
    pki.elsewhere = make_pair("elsewhere", "10.9.8.7", both, &pki.ca, 0);
    pki.by_name = make_pair("byname", "localhost", both, &pki.ca, 0);
    pki.odd_name = make_pair("oddname", "no-such-host.invalid", both, &pki.ca, 0);
    return 0;
}

static int remove_pki(void **state)
{
    struct test_pair *pairs[] = {&pki.ca,        &pki.other_ca, &pki.good,
                                 &pki.other,     &pki.expired,  &pki.server_only,
                                 &pki.elsewhere, &pki.by_name,  &pki.odd_name};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        test_pair_free(pairs[i]);
    test_remove(pki.dir);
    return 0;
}

static struct tls_context *make_tls(enum tls_role role, const struct test_pair *pair,
                                    const struct test_pair *ca)
{
    struct tls_config config = {.role = role,
                                .cert_file = pair->cert_file,
                                .key_file = pair->key_file,
                                .ca_file = ca->cert_file,
                                .client_cert_auth = role == TLS_SERVER};
    struct tls_context *context = NULL;
    struct err err = ERR_INIT;

    if (tls_context_new(&config, &context, &err) < 0)
        fail_msg("%s", err.text);
    return context;
}

/* Two members; the first shows `pair` as a client and trusts `ca`. */
static void start_tls(const struct test_pair *pair, const struct test_pair *ca)
{
    node(0)->client = make_tls(TLS_CLIENT, pair, ca);
    node(0)->server = make_tls(TLS_SERVER, &pki.good, &pki.ca);
    node(1)->client = make_tls(TLS_CLIENT, &pki.good, &pki.ca);
    node(1)->server = make_tls(TLS_SERVER, &pki.good, &pki.ca);
    node(1)->snap_dir = test_directory();
    start_nodes(2);
}

static void messages_and_snapshots_go_over_tls(void **state)
{
    struct image image = {.really = 5000000, .image = {.bytes = 5000000}};
    char *path;

    (void)state;
    start_tls(&pki.good, &pki.ca);
    WAIT_FOR(all_active);
    send_apps(0, 1, 100, 10000);
    send_apps(1, 0, 3, 1 << 20);
    memcpy(wanted_got, (size_t[]){3, 100, 0}, sizeof(wanted_got));
    WAIT_FOR(got_all);
    assert_false(node(0)->out_of_order || node(1)->out_of_order);
    send_image(&image, 7);
    WAIT_FOR(image_over);
    assert_int_equal(node(0)->sent_ok, 1);
    path = xasprintf("%s/0000000000000007.snap.db", node(1)->snap_dir);
    assert_image(path, 5000000);
    free(path);
    cut(node(0));
    cut(node(1));
    WAIT_FOR(beat_came);
    test_run("rm -r %s", node(1)->snap_dir);
}

static char log_path[64];

static bool logged(const char *words)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    bool found;

    if (file_read_all(log_path, &text, &err) < 0)
        fail_msg("%s", err.text);
    found = strstr(buf_text(&text), words) != NULL;
    buf_free(&text);
    return found;
}

static const char *words_here, *words_there;

static bool both_logged(void)
{
    return logged(words_here) && logged(words_there);
}

static void begin_log(void)
{
    (void)snprintf(log_path, sizeof(log_path), "%s/log", pki.dir);
    pki.log = open(log_path, O_CREAT | O_RDWR | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    log_output(&pki.log, 1);
    log_setup(LOG_WARN, LOG_JSON);
}

static void end_log(void)
{
    static const int standard_error = 2;

    log_setup(LOG_SILENT, LOG_JSON);
    log_output(&standard_error, 1);
    (void)close(pki.log);
}

static void assert_refused(const struct test_pair *pair, const struct test_pair *ca,
                           const char *here, const char *there)
{
    void *state = NULL;

    (void)tear_down(&state);
    (void)set_up(&state);
    begin_log();
    start_tls(pair, ca);
    words_here = here;
    words_there = there;
    WAIT_FOR(both_logged);
    assert_int_equal(peers_active_count(node(0)->peers), 0);
    end_log();
    test_run("rm -r %s", node(1)->snap_dir);
}

static void bad_certificates_are_refused_with_the_cause_on_both_sides(void **state)
{
    (void)state;
    assert_refused(&pki.other, &pki.ca, "cannot reach a peer", "rejected connection on peer");
    assert_refused(&pki.good, &pki.other_ca, "unknown authority", "rejected connection on peer");
    assert_refused(&pki.expired, &pki.ca, "expired", "rejected connection on peer");
    assert_refused(&pki.server_only, &pki.ca, "cannot reach a peer", "usage");
    assert_refused(&pki.elsewhere, &pki.ca, "403 tls: \\\"127.0.0.1\\\" does not match any of IP",
                   "tls: \\\"127.0.0.1\\\" does not match any of IPAddresses [\\\"10.9.8.7\\\"]");
    assert_refused(&pki.odd_name, &pki.ca, "403 tls: \\\"127.0.0.1\\\" does not match any of DNS",
                   "DNSNames [\\\"no-such-host");
}

static void a_name_that_resolves_to_the_source_is_accepted(void **state)
{
    (void)state;
    start_tls(&pki.by_name, &pki.ca);
    WAIT_FOR(all_active);
    test_run("rm -r %s", node(1)->snap_dir);
}

/* Files are looked at once a second at most: cut until the new pair is seen. */
static bool next_was_refused(void)
{
    if (logged("certificate CN=next"))
        return true;
    if (peers_active_count(node(0)->peers) != 0)
        cut(node(1));
    return false;
}

/* The files are replaced while the streams run: these stay, the next dial takes the new pair. */
static void certificates_rotate_without_a_restart(void **state)
{
    struct test_pair first = make_pair("first", "127.0.0.1", X509_SERVER | X509_CLIENT, &pki.ca, 0);
    struct test_pair next =
        make_pair("next", "127.0.0.1", X509_SERVER | X509_CLIENT, &pki.other_ca, 0);

    (void)state;
    start_tls(&first, &pki.ca);
    WAIT_FOR(all_active);
    test_copy(next.cert_file, first.cert_file);
    test_copy(next.key_file, first.key_file);
    WAIT_FOR(beat_came); /* still the old streams */
    begin_log();
    WAIT_FOR(next_was_refused); /* node 1 does not trust its issuer */
    end_log();
    test_run("rm -r %s", node(1)->snap_dir);
    test_pair_free(&first);
    test_pair_free(&next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_arrive_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_streams_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_streams_messages_are_posted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_cluster_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_removed_member_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_peer_fills_its_own_queue_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_are_etcds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(snapshots_arrive_with_their_databases, set_up, tear_down),
        cmocka_unit_test_setup_teardown(snapshots_that_fail_are_reported, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_and_snapshots_go_over_tls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_certificates_are_refused_with_the_cause_on_both_sides,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(certificates_rotate_without_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_that_resolves_to_the_source_is_accepted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(failures_have_their_reasons, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
