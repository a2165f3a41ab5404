/*
 * tls_load.c - puts through the gateway over HTTP/1.1 with client certificates, which wrk has not.
 *
 *   tls_load CA CERT KEY CONNECTIONS SECONDS KEYS HOST:PORT...
 *
 * Connections go to the addresses in turn; each sends its next put when the last one is answered.
 * Half a second of warming up is not counted. Prints one line:
 *   puts=N rate=R p50_ms=M p99_ms=M max_ms=M errors=N
 *
 * One thread, one epoll. A connection: HANDSHAKE -> SENDING <-> READING; a broken one ends the run.
 */
#include "common/base/base.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define ANSWER_BYTES 8192
#define WARM_US 500000
#define BUCKET_US 10 /* of the histogram of latencies; the last bucket takes the rest */
#define BUCKETS 1000000
#define VALUE_BASE64_BYTES 128

enum state { HANDSHAKE, SENDING, READING };

struct conn {
    enum state state;
    int fd;
    SSL *ssl;
    uint64_t key;
    uint64_t began_us;
    size_t request_bytes, sent, got;
    char request[1024];
    char answer[ANSWER_BYTES + 1];
};

struct load {
    int epoll;
    uint64_t keys, counted_from_us;
    uint64_t puts, errors, max_us;
    uint32_t *histogram; /* owned */
};

static uint64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "tls_load: %s\n", what);
    exit(1);
}

static void next_request(struct load *load, struct conn *conn)
{
    char value[VALUE_BASE64_BYTES + 1], body[256];
    int body_bytes, bytes;

    for (size_t i = 0; i < VALUE_BASE64_BYTES; i++)
        value[i] = "dmFs"[i % 4];
    value[VALUE_BASE64_BYTES] = '\0';
    conn->key = (conn->key + 1) % load->keys;
    body_bytes = snprintf(body, sizeof(body), "{\"key\":\"%08u\",\"value\":\"%s\"}",
                          (unsigned)conn->key, value);
    bytes = snprintf(conn->request, sizeof(conn->request),
                     "POST /v3/kv/put HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                     "Content-Length: %d\r\n\r\n%s",
                     body_bytes, body);
    must(bytes > 0 && (size_t)bytes < sizeof(conn->request));
    conn->request_bytes = (size_t)bytes;
    conn->sent = conn->got = 0;
    conn->began_us = now_us();
    conn->state = SENDING;
}

static void wait_for(struct load *load, struct conn *conn, int why)
{
    struct epoll_event event = {.events = why == SSL_ERROR_WANT_WRITE ? EPOLLOUT : EPOLLIN,
                                .data.ptr = conn};

    if (epoll_ctl(load->epoll, EPOLL_CTL_MOD, conn->fd, &event) != 0)
        fail("epoll_ctl");
}

/* Whole: headers, and as many bytes as Content-Length says. */
static bool is_whole(const struct conn *conn)
{
    const char *end = strstr(conn->answer, "\r\n\r\n");
    const char *length = strcasestr(conn->answer, "\r\ncontent-length:");

    if (end == NULL)
        return false;
    if (length == NULL || length > end)
        fail("an answer without Content-Length");
    return conn->got >= (size_t)(end - conn->answer) + 4 +
                            strtoull(length + sizeof("\r\ncontent-length:") - 1, NULL, 10);
}

static void count(struct load *load, const struct conn *conn)
{
    uint64_t now = now_us(), took = now - conn->began_us;

    if (conn->began_us < load->counted_from_us)
        return;
    load->puts++;
    load->errors += strncmp(conn->answer, "HTTP/1.1 200", 12) != 0;
    load->max_us = MAX(load->max_us, took);
    load->histogram[MIN(took / BUCKET_US, BUCKETS - 1)]++;
}

/* 0: go on at once, else what it waits for. */
static int step(struct load *load, struct conn *conn)
{
    int rc = 0;

    switch (conn->state) {
    case HANDSHAKE:
        rc = SSL_connect(conn->ssl);
        if (rc == 1) {
            next_request(load, conn);
            return 0;
        }
        break;
    case SENDING:
        rc = SSL_write(conn->ssl, conn->request + conn->sent,
                       (int)(conn->request_bytes - conn->sent));
        if (rc > 0) {
            conn->sent += (size_t)rc;
            if (conn->sent == conn->request_bytes)
                conn->state = READING;
            return 0;
        }
        break;
    case READING:
        rc = SSL_read(conn->ssl, conn->answer + conn->got, (int)(ANSWER_BYTES - conn->got));
        if (rc > 0) {
            conn->got += (size_t)rc;
            conn->answer[conn->got] = '\0';
            if (is_whole(conn)) {
                count(load, conn);
                next_request(load, conn);
            } else if (conn->got == ANSWER_BYTES) {
                fail("an answer that is too long");
            }
            return 0;
        }
        break;
    }
    rc = SSL_get_error(conn->ssl, rc);
    if (rc != SSL_ERROR_WANT_READ && rc != SSL_ERROR_WANT_WRITE)
        fail("a connection broke");
    return rc;
}

static void open_conn(struct load *load, struct conn *conn, SSL_CTX *ssl, const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *colon = strrchr(address, ':');
    char host[64];
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = conn};
    int yes = 1;

    if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
        fail("addresses look like 127.0.0.1:2379");
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
        fail("addresses look like 127.0.0.1:2379");
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0 || connect(conn->fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
        fail("cannot connect");
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (fcntl(conn->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0)
        fail("epoll_ctl");
    conn->ssl = SSL_new(ssl);
    if (conn->ssl == NULL || SSL_set_fd(conn->ssl, conn->fd) != 1 ||
        SSL_set1_host(conn->ssl, host) != 1)
        fail("SSL_new");
}

static SSL_CTX *context(const char *ca, const char *cert, const char *key)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());

    if (ssl == NULL || SSL_CTX_load_verify_file(ssl, ca) != 1 ||
        SSL_CTX_use_certificate_chain_file(ssl, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
        fail("cannot use these certificate files");
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    return ssl;
}

/* The latency in ms below which this share of all puts lies. */
static double percentile(const struct load *load, double share)
{
    uint64_t seen = 0, wanted = (uint64_t)((double)load->puts * share);

    for (size_t i = 0; i < BUCKETS; i++) {
        seen += load->histogram[i];
        if (seen > wanted)
            return (double)((i + 1) * BUCKET_US) / 1000;
    }
    return 0;
}

static void run(struct load *load, uint64_t end_us)
{
    struct epoll_event events[64];

    while (now_us() < end_us) {
        int ready = epoll_wait(load->epoll, events, (int)ARRAY_LEN(events), 100);

        for (int i = 0; i < ready; i++) {
            struct conn *conn = events[i].data.ptr;
            int why = 0;

            while (why == 0)
                why = step(load, conn);
            wait_for(load, conn, why);
        }
    }
}

int main(int argc, char **argv)
{
    struct load load = {0};
    struct conn *conns;
    unsigned connections, addresses = (unsigned)MAX(argc - 7, 0);
    double seconds;
    SSL_CTX *ssl;

    if (addresses == 0)
        fail("usage: tls_load CA CERT KEY CONNECTIONS SECONDS KEYS HOST:PORT...");
    ssl = context(argv[1], argv[2], argv[3]);
    connections = (unsigned)strtoul(argv[4], NULL, 10);
    seconds = strtod(argv[5], NULL);
    load.keys = strtoull(argv[6], NULL, 10);
    if (connections == 0 || connections > CONNECTIONS_MAX || seconds <= 0 || load.keys == 0)
        fail("a number is out of range");
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.histogram = xalloc(BUCKETS * sizeof(*load.histogram));
    conns = xalloc(connections * sizeof(*conns));
    for (unsigned i = 0; i < connections; i++) {
        conns[i].key = load.keys / connections * i;
        open_conn(&load, &conns[i], ssl, argv[7 + i % addresses]);
    }
    load.counted_from_us = now_us() + WARM_US;
    run(&load, load.counted_from_us + (uint64_t)(seconds * 1e6));
    printf("puts=%" PRIu64 " rate=%.0f p50_ms=%.2f p99_ms=%.2f max_ms=%.2f errors=%" PRIu64 "\n",
           load.puts, (double)load.puts / seconds, percentile(&load, 0.5), percentile(&load, 0.99),
           (double)load.max_us / 1000, load.errors);
    for (unsigned i = 0; i < connections; i++) {
        SSL_free(conns[i].ssl);
        (void)close(conns[i].fd);
    }
    SSL_CTX_free(ssl);
    free(conns);
    free(load.histogram);
    return load.errors != 0;
}
