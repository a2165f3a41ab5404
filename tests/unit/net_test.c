/*
 * net_test.c - real sockets and real handshakes: the loop runs in a thread of its own, the test is
 * the client. Every wait has a bound.
 */
#include "common/base/log.h"
#include "common/tls/tls.h"
#include "etcd-server/doors/client.h"
#include "etcd-server/doors/http1.h"
#include "etcd-server/host/net.h"
#include "tests/lib/certs.h"
#include "tests/lib/toy_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_S 20 /* no wait of the client is longer */

static struct {
    char *dir;
    struct test_pair ca, server, client;
    struct toy toy;
    struct metrics metrics;
    struct gateway *gateway;
    struct ops *ops;
    struct client *door;
    struct http1_door http1;
    struct loop *loop;
    struct net *net;
    struct tls_context *tls;
    pthread_t thread;
    uint16_t port, tls_port, small_port, peer_port;
    char *unix_path;
    int log_pipe[2];
} fix;

static void *run(void *arg)
{
    (void)arg;
    loop_run(fix.loop);
    return NULL;
}

/* A door may have a last wish, which nobody grants (link.h). */
static void close_restlessly(struct link *link)
{
    link->changed(link);
    http1_link_door(&fix.http1).close(link);
}

static struct link_door restless_door(void)
{
    struct link_door door = http1_link_door(&fix.http1);

    door.close = close_restlessly;
    return door;
}

static uint16_t listen_for(const char *url, size_t connections_max, bool of_peers)
{
    struct net_listener_config config = {.url = url,
                                         .name = "client",
                                         .tls = fix.tls,
                                         .door = restless_door(),
                                         .connections_max = connections_max,
                                         .of_peers = of_peers};
    struct err err = ERR_INIT;
    uint16_t port = 0;

    if (net_listen(fix.net, &config, &port, &err) < 0)
        fail_msg("%s", err.text);
    return port;
}

static uint16_t listen_on(const char *url, size_t connections_max)
{
    return listen_for(url, connections_max, false);
}

static void make_tls(void)
{
    struct tls_config config = {.role = TLS_SERVER,
                                .cert_file = fix.server.cert_file,
                                .key_file = fix.server.key_file,
                                .ca_file = fix.ca.cert_file};
    struct err err = ERR_INIT;

    assert_int_equal(tls_context_new(&config, &fix.tls, &err), 0);
}

static int set_up(void **state)
{
    struct door_config gateway_config = toy_door_config(&fix.toy, &fix.metrics);
    struct client_config config = {.cors_count = 0};
    struct ops_env env;
    struct err err = ERR_INIT;
    char *url;

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    memset(&fix.toy, 0, sizeof(fix.toy));
    env = toy_ops_env(&fix.toy, &fix.metrics);
    assert_int_equal(pipe(fix.log_pipe), 0);
    log_output(&fix.log_pipe[1], 1);
    config.gateway = fix.gateway = gateway_new(&gateway_config);
    config.ops = fix.ops = ops_new(&env);
    fix.door = client_new(&config);
    http1_door_init(&fix.http1, client_handler(fix.door));
    assert_int_equal(loop_new(&fix.loop, &err), 0);
    fix.net = net_new(fix.loop);
    make_tls();
    fix.port = listen_on("http://127.0.0.1:0", 0);
    fix.tls_port = listen_on("https://127.0.0.1:0", 0);
    fix.small_port = listen_on("http://localhost:0", 2);
    fix.peer_port = listen_for("http://127.0.0.1:0", 0, true);
    fix.unix_path = xasprintf("%s/sock", fix.dir);
    url = xasprintf("unix://%s", fix.unix_path);
    (void)listen_on(url, 0);
    free(url);
    must(pthread_create(&fix.thread, NULL, run, NULL) == 0);
    return 0;
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(fix.loop);
}

static void shut_down(void *arg)
{
    (void)arg;
    net_shutdown(fix.net, stop, NULL);
}

static int tear_down(void **state)
{
    struct stat status;

    (void)state;
    loop_post(fix.loop, shut_down, NULL);
    must(pthread_join(fix.thread, NULL) == 0);
    assert_int_equal(net_connections(fix.net), 0);
    assert_int_equal(lstat(fix.unix_path, &status), -1); /* removed */
    net_free(fix.net);
    loop_free(fix.loop);
    client_free(fix.door);
    gateway_free(fix.gateway);
    ops_free(fix.ops);
    tls_context_free(fix.tls);
    free(fix.unix_path);
    (void)close(fix.log_pipe[0]);
    (void)close(fix.log_pipe[1]);
    return 0;
}

/* ---- the client ---- */

static int dial(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval wait = {.tv_sec = WAIT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Read until `part` was seen, or the end. True: it was. */
static bool get_until(int fd, const char *part, struct buf *all)
{
    uint8_t room[4096];
    ssize_t got;

    while (strstr(buf_text(all), part) == NULL) {
        got = recv(fd, room, sizeof(room), 0);
        if (got <= 0) {
            if (got < 0 && errno != ECONNRESET)
                fail_msg("waited for %s, got %s", part, buf_text(all));
            return false;
        }
        buf_append(all, room, (size_t)got);
    }
    return true;
}

static void expect(int fd, const char *part)
{
    struct buf all = BUF_INIT(BUF_UNLIMITED);

    if (!get_until(fd, part, &all))
        fail_msg("no %s in %s", part, buf_text(&all));
    buf_free(&all);
}

static void expect_end(int fd)
{
    struct buf all = BUF_INIT(BUF_UNLIMITED);

    assert_false(get_until(fd, "\001\002never", &all));
    buf_free(&all);
}

static void expect_log(const char *part)
{
    struct buf all = BUF_INIT(BUF_UNLIMITED);
    char room[1024];
    ssize_t got;

    while (strstr(buf_text(&all), part) == NULL) {
        got = read(fix.log_pipe[0], room, sizeof(room));
        assert_true(got > 0);
        buf_append(&all, room, (size_t)got);
    }
    buf_free(&all);
}

#define PUT_BODY "{\"key\":\"YQ==\",\"value\":\"Yg==\"}"
#define PUT "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\n\r\n" PUT_BODY

static void plain(void **state)
{
    int fd = dial(fix.port);

    (void)state;
    assert_int_equal(strlen(PUT_BODY), 29);
    put(fd, PUT);
    expect(fd, "\"raft_term\":\"2\"}}");
    put(fd, PUT PUT PUT); /* pipelined */
    expect(fd, "\"revision\":\"4\"");
    put(fd, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(fd, "\"health\":\"true\"");
    expect_end(fd);
    (void)close(fd);
    fd = dial(fix.port); /* left open: the shutdown closes it */
    put(fd, "garbage\r\n\r\n");
    expect(fd, "400 Bad Request");
    expect_end(fd);
    (void)close(fd);
}

static void unix_socket(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    must(strlen(fix.unix_path) < sizeof(address.sun_path));
    memcpy(address.sun_path, fix.unix_path, strlen(fix.unix_path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    put(fd, PUT);
    expect(fd, "\"raft_term\":\"2\"}}");
    (void)close(fd);
}

static void large_answers(void **state)
{
    struct buf all = BUF_INIT(BUF_UNLIMITED);
    int fd = dial(fix.port);

    (void)state; /* n:20000:1000 */
    put(fd, "POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\n"
            "{\"key\":\"bjoyMDAwMDoxMDAw\"}");
    assert_true(get_until(fd, "\r\n\r\n", &all));
    buf_reset(&all);
    for (size_t bytes = 0; bytes < 25 * MIB;) { /* slowly checked, quickly read */
        uint8_t room[65536];
        ssize_t got = recv(fd, room, sizeof(room), 0);

        assert_true(got > 0);
        bytes += (size_t)got;
    }
    assert_true(get_until(fd, "],\"more\":true}\r\n0\r\n\r\n", &all));
    put(fd, PUT); /* and the connection goes on */
    expect(fd, "\"raft_term\":\"2\"}}");
    (void)close(fd);
    buf_free(&all);
}

static void maximum(void **state)
{
    int first = dial(fix.small_port), second = dial(fix.small_port), third;

    (void)state;
    put(first, PUT);
    expect(first, "200 OK");
    put(second, PUT);
    expect(second, "200 OK");
    third = dial(fix.small_port);
    expect_log("not accepting connections for now");
    put(third, PUT);
    (void)close(first);
    expect(third, "200 OK"); /* as soon as there is room */
    (void)close(second);
    (void)close(third);
}

static void limit_to_four(void *arg)
{
    (void)arg;
    net_limit(fix.net, 4, 1);
}

static int dial_served(uint16_t port)
{
    int fd = dial(port);

    put(fd, PUT);
    expect(fd, "200 OK");
    return fd;
}

/* Over all listeners; clients cannot take what is kept for peers. */
static void maximum_of_all(void **state)
{
    int clients[3], peer, waits;

    (void)state;
    loop_post(fix.loop, limit_to_four, NULL);
    clients[0] = dial_served(fix.port);
    clients[1] = dial_served(fix.small_port);
    clients[2] = dial_served(fix.port);
    waits = dial(fix.small_port);
    expect_log("not accepting connections for now");
    put(waits, PUT);
    peer = dial_served(fix.peer_port);
    (void)close(clients[0]); /* of another listener */
    expect(waits, "200 OK");
    (void)close(clients[1]);
    (void)close(clients[2]);
    (void)close(peer);
    (void)close(waits);
}

static void wrong_scheme(void **state)
{
    int fd = dial(fix.tls_port);

    (void)state;
    put(fd, PUT);
    expect(fd, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    expect_end(fd);
    (void)close(fd);
    expect_log("plain HTTP on an https:// address");
    fd = dial(fix.port);
    assert_int_equal(send(fd, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 11, 0), 11);
    expect(fd, "400 Bad Request");
    (void)close(fd);
    expect_log("a TLS handshake on an http:// address");
    fd = dial(fix.tls_port);
    put(fd, "\001\002\003\004\005\006\007\010");
    expect_end(fd);
    (void)close(fd);
    expect_log("first record does not look like a TLS handshake");
}

/* One request over TLS; what came back is in `all`. False: err tells why not. */
static bool tls_ask(const struct test_pair *pair, struct buf *all, struct err *err)
{
    struct tls_config config = {.role = TLS_CLIENT,
                                .cert_file = pair != NULL ? pair->cert_file : NULL,
                                .key_file = pair != NULL ? pair->key_file : NULL,
                                .ca_file = fix.ca.cert_file};
    struct tls_context *context = NULL;
    struct tls_session *session = NULL;
    int fd = dial(fix.tls_port);
    bool asked = false, ended = false;
    size_t moved;

    assert_int_equal(tls_context_new(&config, &context, err), 0);
    assert_int_equal(tls_session_new(context, "localhost", &session, err), 0);
    while (!ended) {
        uint8_t room[4096];
        enum tls_result result = tls_session_handshake(session, err);
        struct slice output;
        ssize_t got;

        if (result == TLS_OK && !asked) {
            assert_int_equal(tls_session_write(session, slice_text(PUT), &moved, err), TLS_OK);
            asked = true;
        }
        if (result == TLS_OK)
            while ((result = tls_session_read(session, room, sizeof(room), &moved, err)) == TLS_OK)
                buf_append(all, room, moved);
        output = tls_session_output(session);
        if (output.size != 0 && send(fd, output.data, output.size, MSG_NOSIGNAL) < 0)
            break;
        tls_session_output_sent(session, output.size);
        if (result != TLS_AGAIN || strstr(buf_text(all), "}}") != NULL)
            break;
        got = recv(fd, room, sizeof(room), 0);
        if (got <= 0)
            ended = true;
        else
            assert_true(tls_session_input(session, slice_of(room, (size_t)got)));
    }
    tls_session_free(session);
    tls_context_free(context);
    (void)close(fd);
    return strstr(buf_text(all), "}}") != NULL;
}

static void over_tls(void **state)
{
    struct buf all = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    (void)state;
    if (!tls_ask(&fix.client, &all, &err))
        fail_msg("%s; %s", err.text, buf_text(&all));
    buf_reset(&all);
    assert_false(tls_ask(NULL, &all, &err)); /* no certificate, but one is demanded */
    expect_log("rejected connection on client endpoint");
    buf_free(&all);
}

static void half_a_handshake(void **state)
{
    int fd = dial(fix.tls_port);

    (void)state;
    assert_int_equal(send(fd, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 11, 0), 11);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect_log("rejected connection on client endpoint");
    (void)close(fd);
}

/* Bytes that come one by one, and a client that shuts its side after the request. */
static void slow_client(void **state)
{
    int fd = dial(fix.port);

    (void)state;
    for (const char *at = PUT; *at != '\0'; at++)
        assert_int_equal(send(fd, at, 1, MSG_NOSIGNAL), 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect(fd, "\"raft_term\":\"2\"}}");
    expect_end(fd);
    (void)close(fd);
}

/*
 * A client that vanished without a word is found out: the kernel's timer for keep-alive (2, in hex)
 * runs for our side of the connection.
 */
static void keep_alive(void **state)
{
    struct sockaddr_in ours = {.sin_family = AF_INET};
    socklen_t bytes = sizeof(ours);
    char line[512], wanted[64];
    int fd = dial(fix.port);
    bool found = false;

    (void)state;
    put(fd, PUT);
    expect(fd, "\"raft_term\":\"2\"}}");
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ours, &bytes), 0);
    (void)snprintf(wanted, sizeof(wanted), ":%04X 0100007F:%04X 01", fix.port,
                   ntohs(ours.sin_port));
    for (unsigned i = 0; i < WAIT_S * 100 && !found; i++) { /* until what was sent is confirmed */
        FILE *table = fopen("/proc/self/net/tcp", "re");

        assert_non_null(table);
        while (!found && fgets(line, sizeof(line), table) != NULL)
            found = strstr(line, wanted) != NULL && strstr(line, " 02:") != NULL;
        assert_int_equal(fclose(table), 0);
        if (!found)
            (void)usleep(10000);
    }
    assert_true(found);
    (void)close(fd);
}

/* A stream is open when the server stops: it is ended, and the stop does not wait for it. */
static void stop_with_stream(void **state)
{
    int fd = dial(fix.port);

    (void)state;
    put(fd, "POST /v3/watch HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n"
            "{\"create_request\":{}}");
    expect(fd, "\"created\":true");
    loop_post(fix.loop, shut_down, NULL);
    expect(fd, "{\"error\":{\"code\":14,");
    expect_end(fd);
    (void)close(fd);
}

static void bad_urls(void **state)
{
    static const char *const bad[] = {
        "127.0.0.1:1",   "http://127.0.0.1", "http://x:1",        "http://127.0.0.1:65536",
        "http://[::1:1", "unix://",          "ftp://127.0.0.1:1", "http://127.0.0.1:1/x"};
    struct err err = ERR_INIT;
    struct net_listener_config config = {.name = "client"};
    char *used = xasprintf("http://127.0.0.1:%u", fix.port);
    struct loop *loop = NULL;
    struct net *net;

    (void)state;
    assert_int_equal(loop_new(&loop, &err), 0);
    net = net_new(loop);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        config.url = bad[i];
        assert_int_equal(net_listen(net, &config, NULL, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
    }
    config.url = used;
    assert_int_equal(net_listen(net, &config, NULL, &err), -1);
    assert_int_equal(err.code, ERR_NET);
    assert_non_null(strstr(err.text, "bind: "));
    net_free(net);
    loop_free(loop);
    free(used);
}

/* The errno of a connect to 127.0.0.2. */
static int try_port(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        error = errno;
    (void)close(fd);
    return error;
}

/* A listener that refuses has its address, and nobody waits at it. Of two that took one so at the
 * same moment, the second is told when it wants to listen. */
static void refuses_until_accepting(void **state)
{
    char *used = xasprintf("http://127.0.0.1:%u", fix.port);
    char *unused = xasprintf("http://127.0.0.2:%u", fix.port);
    struct net_listener_config config = {.name = "peer", .url = used, .refuses = true};
    const struct link_door door = restless_door();
    struct net *first, *second;
    struct loop *loop = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(loop_new(&loop, &err), 0);
    first = net_new(loop);
    second = net_new(loop);
    assert_int_equal(net_bind(first, &config, &err), -1); /* somebody listens */
    assert_int_equal(err.code, ERR_NET);
    assert_non_null(strstr(err.text, "bind: address already in use"));
    config.url = unused;
    assert_int_equal(net_bind(first, &config, &err), 0);
    assert_int_equal(net_bind(second, &config, &err), 0);
    assert_int_equal(try_port(fix.port), ECONNREFUSED);
    assert_int_equal(net_accept(first, 0, &door, &err), 0);
    assert_int_equal(try_port(fix.port), 0);
    assert_int_equal(net_accept(second, 0, &door, &err), -1);
    assert_int_equal(err.code, ERR_NET);
    assert_non_null(strstr(err.text, "listen: address already in use"));
    net_free(second);
    net_free(first);
    loop_free(loop);
    free(used);
    free(unused);
}

static int make_pki(void **state)
{
    (void)state;
    fix.dir = test_directory();
    fix.ca = test_pair_make(fix.dir, &(struct test_leaf){.name = "ca", .cn = "ca", .ca = true});
    fix.server = test_pair_make(fix.dir, &(struct test_leaf){.name = "server",
                                                             .cn = "server",
                                                             .sans = "localhost,127.0.0.1",
                                                             .usages = X509_SERVER | X509_CLIENT,
                                                             .issuer = &fix.ca});
    fix.client = test_pair_make(
        fix.dir, &(struct test_leaf){
                     .name = "client", .cn = "root", .usages = X509_CLIENT, .issuer = &fix.ca});
    return 0;
}

static int remove_pki(void **state)
{
    (void)state;
    test_pair_free(&fix.ca);
    test_pair_free(&fix.server);
    test_pair_free(&fix.client);
    test_remove(fix.dir);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(plain),
        TEST(unix_socket),
        TEST(large_answers),
        TEST(maximum),
        TEST(maximum_of_all),
        TEST(wrong_scheme),
        TEST(over_tls),
        TEST(half_a_handshake),
        TEST(slow_client),
        TEST(keep_alive),
        TEST(stop_with_stream),
        TEST(bad_urls),
        TEST(refuses_until_accepting),
    };

    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
