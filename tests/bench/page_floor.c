/*
 * page_floor.c - what a page costs when nothing is computed: a server that answers every HTTP/2
 * request with the same bytes, made when it starts.
 *
 *     page_floor BYTES [SEND_BYTES]
 *
 * Prints "port N" when it listens on 127.0.0.1; one thread, like the core of etcd-server. It knows
 * just as much of HTTP/2 as h2load asks for: one large window, no priorities. A row of the bench
 * that is near its figure is at the limit of the load generator and of the kernel.
 */
#include "common/base/buf.h"
#include "common/base/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 9 /* of a frame */
#define FRAME_BYTES 16384UL
#define PREFACE_BYTES 24
#define EVENTS 64
#define SEND_BYTES_DEFAULT (240UL * KIB)
#define BYTES_MAX (64UL * MIB)

struct page {
    struct buf frames; /* HEADERS, DATA ..., HEADERS: with stream id 0 */
    size_t send_bytes; /* at most so many with a call */
};

struct client {
    int fd;
    bool begun; /* the preface was read */
    struct buf in;
    uint32_t stream; /* being answered ... */
    size_t sent;     /* ... so far; = all of the page: none is */
};

static void stop_with(const char *what)
{
    (void)fprintf(stderr, "page_floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t number(const uint8_t *at, size_t bytes)
{
    uint32_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* ---- the answer ---- */

static void add_frame(struct buf *to, unsigned type, unsigned flags, size_t bytes)
{
    const uint8_t head[HEAD_BYTES] = {(uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8), (uint8_t)bytes,
                                      (uint8_t)type, (uint8_t)flags};

    must(buf_append(to, head, sizeof(head)));
}

static void make_page(struct page *page, size_t bytes)
{
    static const uint8_t status_200[] = {0x88}, accept_charset[] = {0x8f}; /* RFC 7541, A */
    static uint8_t content[FRAME_BYTES];

    memset(content, 'v', sizeof(content));
    add_frame(&page->frames, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, sizeof(status_200));
    must(buf_append(&page->frames, status_200, sizeof(status_200)));
    while (bytes != 0) {
        size_t part = MIN(bytes, FRAME_BYTES);

        add_frame(&page->frames, NGHTTP2_DATA, NGHTTP2_FLAG_NONE, part);
        must(buf_append(&page->frames, content, part));
        bytes -= part;
    }
    add_frame(&page->frames, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM,
              sizeof(accept_charset));
    must(buf_append(&page->frames, accept_charset, sizeof(accept_charset)));
}

/* The answer is this stream's from now on; nobody else's is half sent. */
static void set_stream(struct page *page, uint32_t stream)
{
    uint8_t *at = page->frames.data + page->frames.start;
    uint8_t *end = at + buf_used(&page->frames);

    for (; at < end; at += HEAD_BYTES + number(at, 3)) {
        for (unsigned i = 0; i < 4; i++)
            at[5 + i] = (uint8_t)(stream >> (24 - 8 * i));
    }
}

/* Blocks: the kernel's buffers take what is not read yet. */
static bool send_page(const struct client *client, struct page *page)
{
    struct slice left = buf_slice(&page->frames);

    set_stream(page, client->stream);
    while (left.size != 0) {
        ssize_t sent = send(client->fd, left.data, MIN(left.size, page->send_bytes), MSG_NOSIGNAL);

        if (sent < 0)
            return false;
        left = slice_of(left.data + sent, left.size - (size_t)sent);
    }
    return true;
}

/* ---- the requests ---- */

/* The next frame, if it is there whole; its bytes are used up. */
static bool next_frame(struct client *client, unsigned *type, unsigned *flags, uint32_t *stream)
{
    const uint8_t *at = client->in.data + client->in.start;
    size_t bytes;

    if (buf_used(&client->in) < HEAD_BYTES)
        return false;
    bytes = HEAD_BYTES + number(at, 3);
    if (buf_used(&client->in) < bytes)
        return false;
    *type = at[3];
    *flags = at[4];
    *stream = number(at + 5, 4);
    buf_consume(&client->in, bytes);
    return true;
}

static bool answer_all(struct client *client, struct page *page)
{
    unsigned type, flags;

    if (!client->begun && buf_used(&client->in) >= PREFACE_BYTES) {
        buf_consume(&client->in, PREFACE_BYTES);
        client->begun = true;
    }
    while (client->begun && next_frame(client, &type, &flags, &client->stream)) {
        if ((type == NGHTTP2_DATA || type == NGHTTP2_HEADERS) &&
            (flags & NGHTTP2_FLAG_END_STREAM) != 0 && !send_page(client, page))
            return false;
    }
    return true;
}

static bool serve(struct client *client, struct page *page)
{
    uint8_t *room = buf_reserve(&client->in, 64 * KIB);
    ssize_t got;

    must(room != NULL);
    got = recv(client->fd, room, 64 * KIB, 0);
    if (got <= 0)
        return false;
    buf_advance(&client->in, (size_t)got);
    return answer_all(client, page);
}

static void client_free(struct client *client)
{
    (void)close(client->fd);
    buf_free(&client->in);
    free(client);
}

static void greet(int epoll, int listener)
{
    static const uint8_t greeting[3 * HEAD_BYTES + 4] = {
        [3] = NGHTTP2_SETTINGS,
        [HEAD_BYTES + 3] = NGHTTP2_SETTINGS,
        [HEAD_BYTES + 4] = NGHTTP2_FLAG_ACK,
        [2 * HEAD_BYTES + 2] = 4, /* bytes: the window of the connection, of h2load's requests */
        [2 * HEAD_BYTES + 3] = NGHTTP2_WINDOW_UPDATE,
        [3 * HEAD_BYTES] = 0x7f,
        0xff,
        0,
        0};
    struct client *client = xalloc(sizeof(*client));
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = client}};
    const int on = 1;

    *client = (struct client){.fd = accept(listener, NULL, NULL), .in = BUF_INIT(BUF_UNLIMITED)};
    if (client->fd < 0 || setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        send(client->fd, greeting, sizeof(greeting), MSG_NOSIGNAL) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
        stop_with("accept");
}

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, EVENTS) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        stop_with("listen");
    (void)printf("port %u\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    struct page page = {.frames = BUF_INIT(BUF_UNLIMITED), .send_bytes = SEND_BYTES_DEFAULT};
    struct epoll_event events[EVENTS], on_listener = {.events = EPOLLIN};
    int epoll = epoll_create1(0), listener, count;

    if (argc < 2 || strtoul(argv[1], NULL, 10) == 0 || strtoul(argv[1], NULL, 10) > BYTES_MAX) {
        (void)fprintf(stderr, "usage: page_floor BYTES [SEND_BYTES]\n");
        return 2;
    }
    make_page(&page, strtoul(argv[1], NULL, 10));
    if (argc > 2)
        page.send_bytes = MAX(strtoul(argv[2], NULL, 10), 1UL);
    listener = listen_somewhere();
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &on_listener) < 0)
        stop_with("epoll");
    while ((count = epoll_wait(epoll, events, EVENTS, -1)) >= 0 || errno == EINTR) {
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;

            if (client == NULL)
                greet(epoll, listener);
            else if (!serve(client, &page))
                client_free(client);
        }
    }
    return 1;
}
