/*
 * load.c - see load.h. A turn: what the calls queued becomes frames, one write a connection, then
 * one epoll_wait() and one read of each that is ready.
 */
#include "tests/bench/load.h"

#include "common/base/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (1UL * MIB)
#define WINDOW_BYTES (64UL * MIB)
#define PREFIX_BYTES 5
#define TIMES 200000U      /* steps: 1 us up to 100 ms, then 100 us up to 10 s */
#define FINE_STEPS 100000U /* of those */
#define FINE_NS 1000U
#define COARSE_NS 100000U

struct load_conn {
    struct load *load;
    struct load_conn *next; /* of all */
    int fd;
    nghttp2_session *session;
    struct buf out;
    bool wants_write;
};

struct load {
    int epoll;
    struct load_conn *conns;
    uint8_t *room;
};

static void stop_with(const char *what, const char *cause)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, cause);
    exit(1);
}

uint64_t load_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* this clock exists */
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* ---- nghttp2's callbacks ---- */

static void take_messages(struct load_call *call)
{
    while (buf_used(&call->in) >= PREFIX_BYTES) {
        const uint8_t *at = call->in.data + call->in.start;
        size_t bytes =
            (size_t)at[1] << 24 | (size_t)at[2] << 16 | (size_t)at[3] << 8 | (size_t)at[4];

        if (buf_used(&call->in) < PREFIX_BYTES + bytes)
            return;
        if (call->message != NULL)
            call->message(call, slice_of(at + PREFIX_BYTES, bytes));
        buf_consume(&call->in, PREFIX_BYTES + bytes);
    }
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *arg)
{
    struct load_call *call = nghttp2_session_get_stream_user_data(session, id);

    (void)flags;
    (void)arg;
    if (call != NULL) {
        buf_append(&call->in, data, size);
        take_messages(call);
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *arg)
{
    static bool told;

    (void)session;
    (void)frame;
    (void)flags;
    (void)arg;
    if (!told && name_size == 12 && memcmp(name, "grpc-message", 12) == 0 && value_size != 0) {
        (void)fprintf(stderr, "load: %.*s\n", (int)value_size, (const char *)value);
        told = true;
    }
    if (name_size == 11 && memcmp(name, "grpc-status", 11) == 0 &&
        (value_size != 1 || *value != '0'))
        stop_with("a call was refused", "its grpc-status is not 0");
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct load_call *call = nghttp2_session_get_stream_user_data(session, id);

    (void)arg;
    if (call != NULL && error != NGHTTP2_NO_ERROR)
        stop_with("a stream was reset", nghttp2_http2_strerror(error));
    if (call != NULL && call->ended != NULL)
        call->ended(call);
    return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t id, uint8_t *room, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct load_call *call = source->ptr;
    size_t size = MIN(buf_used(&call->out), length);

    (void)session;
    (void)id;
    (void)arg;
    if (size == 0 && !call->out_ended) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (size != 0)
        memcpy(room, call->out.data + call->out.start, size);
    buf_consume(&call->out, size);
    if (buf_used(&call->out) == 0 && call->out_ended)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

/* ---- connections ---- */

struct load *load_new(void)
{
    struct load *load = xalloc(sizeof(*load));

    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->room = xalloc(READ_BYTES);
    must(load->epoll >= 0);
    return load;
}

void load_free(struct load *load)
{
    struct load_conn *next;

    for (struct load_conn *conn = load->conns; conn != NULL; conn = next) {
        next = conn->next;
        nghttp2_session_del(conn->session);
        buf_free(&conn->out);
        (void)close(conn->fd);
        free(conn);
    }
    (void)close(load->epoll);
    free(load->room);
    free(load);
}

static nghttp2_session *session_new(struct load_conn *conn)
{
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES}};
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;

    must(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    must(nghttp2_session_client_new(&session, callbacks, conn) == 0);
    nghttp2_session_callbacks_del(callbacks);
    must(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) == 0);
    must(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                               (int32_t)WINDOW_BYTES) == 0);
    return session;
}

struct load_conn *load_connect(struct load *load, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct load_conn *conn = xalloc(sizeof(*conn));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    int one = 1;

    conn->load = load;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        stop_with("connect", strerror(errno));
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    conn->session = session_new(conn);
    buf_init(&conn->out, BUF_UNLIMITED);
    must(epoll_ctl(load->epoll, EPOLL_CTL_ADD, conn->fd, &event) == 0);
    conn->next = load->conns;
    load->conns = conn;
    return conn;
}

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static void flush(struct load_conn *conn)
{
    const uint8_t *data;
    ssize_t size;
    bool wants;

    while ((size = nghttp2_session_mem_send(conn->session, &data)) > 0)
        buf_append(&conn->out, data, (size_t)size);
    if (size < 0)
        stop_with("send", nghttp2_strerror((int)size));
    if (buf_used(&conn->out) != 0) {
        size = send(conn->fd, conn->out.data + conn->out.start, buf_used(&conn->out),
                    MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0 && !would_block(errno))
            stop_with("send", strerror(errno));
        buf_consume(&conn->out, size > 0 ? (size_t)size : 0);
    }
    wants = buf_used(&conn->out) != 0;
    if (wants != conn->wants_write) {
        struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = conn};

        conn->wants_write = wants;
        must(epoll_ctl(conn->load->epoll, EPOLL_CTL_MOD, conn->fd, &event) == 0);
    }
}

static void read_some(struct load_conn *conn)
{
    ssize_t size = recv(conn->fd, conn->load->room, READ_BYTES, MSG_DONTWAIT);

    if (size < 0 && would_block(errno))
        return;
    if (size <= 0)
        stop_with("the server closed a connection", size < 0 ? strerror(errno) : "end of input");
    size = nghttp2_session_mem_recv(conn->session, conn->load->room, (size_t)size);
    if (size < 0)
        stop_with("receive", nghttp2_strerror((int)size));
}

void load_turn(struct load *load, uint64_t until_ns)
{
    struct epoll_event events[64];
    uint64_t now = load_now_ns();
    struct timespec wait = {0};
    int ready;

    for (struct load_conn *conn = load->conns; conn != NULL; conn = conn->next)
        if (nghttp2_session_want_write(conn->session) != 0 || buf_used(&conn->out) != 0)
            flush(conn);
    if (until_ns > now) {
        wait.tv_sec = (time_t)((until_ns - now) / 1000000000U);
        wait.tv_nsec = (long)((until_ns - now) % 1000000000U);
    }
    ready = epoll_pwait2(load->epoll, events, ARRAY_LEN(events), &wait, NULL);
    for (int i = 0; i < ready; i++)
        if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0)
            read_some(events[i].data.ptr);
}

/* ---- calls ---- */

#define NV(name, value)                                                                            \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value),  \
            NGHTTP2_NV_FLAG_NONE                                                                   \
    }

void load_call_start(struct load_call *call, struct load_conn *conn, const char *path)
{
    nghttp2_nv head[] = {NV(":method", "POST"),
                         NV(":scheme", "http"),
                         NV(":path", path),
                         NV(":authority", "127.0.0.1"),
                         NV("content-type", "application/grpc"),
                         NV("te", "trailers")};
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_request};

    call->conn = conn;
    call->out_ended = call->deferred = false;
    buf_init(&call->in, BUF_UNLIMITED);
    buf_init(&call->out, BUF_UNLIMITED);
    call->id = nghttp2_submit_request(conn->session, NULL, head, ARRAY_LEN(head), &body, call);
    if (call->id < 0)
        stop_with("request", nghttp2_strerror(call->id));
}

void load_call_send(struct load_call *call, const ProtobufCMessage *message, bool last)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *room = buf_reserve(&call->out, PREFIX_BYTES + bytes);

    must(room != NULL);
    memset(room, 0, PREFIX_BYTES);
    for (int i = 0; i < 4; i++)
        room[1 + i] = (uint8_t)(bytes >> (24 - 8 * i));
    must(protobuf_c_message_pack(message, room + PREFIX_BYTES) == bytes);
    buf_advance(&call->out, PREFIX_BYTES + bytes);
    call->out_ended = last;
    if (call->deferred) {
        call->deferred = false;
        must(nghttp2_session_resume_data(call->conn->session, call->id) == 0);
    }
}

void load_call_reset(struct load_call *call)
{
    nghttp2_session *session = call->conn->session;

    must(nghttp2_session_set_stream_user_data(session, call->id, NULL) == 0 &&
         nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL) == 0);
}

void load_call_free(struct load_call *call)
{
    buf_free(&call->in);
    buf_free(&call->out);
}

/* ---- latencies ---- */

void load_times_init(struct load_times *times)
{
    *times = (struct load_times){.counts = xalloc(TIMES * sizeof(uint32_t))};
}

void load_times_free(struct load_times *times)
{
    free(times->counts);
    *times = (struct load_times){0};
}

void load_times_reset(struct load_times *times)
{
    memset(times->counts, 0, TIMES * sizeof(uint32_t));
    times->count = times->worst_ns = 0;
}

void load_times_add(struct load_times *times, uint64_t ns)
{
    uint64_t step = ns / FINE_NS;

    if (step >= FINE_STEPS)
        step = MIN(FINE_STEPS + (ns - (uint64_t)FINE_STEPS * FINE_NS) / COARSE_NS, TIMES - 1);
    times->counts[step]++;
    times->count++;
    times->worst_ns = MAX(times->worst_ns, ns);
}

double load_times_ms(const struct load_times *times, double share)
{
    uint64_t below = (uint64_t)((double)times->count * share), seen = 0;

    for (uint64_t step = 0; step < TIMES; step++) {
        seen += times->counts[step];
        if (seen > below)
            return (double)(step < FINE_STEPS ? step * FINE_NS
                                              : (uint64_t)FINE_STEPS * FINE_NS +
                                                    (step - FINE_STEPS) * COARSE_NS) /
                   1e6;
    }
    return (double)times->worst_ns / 1e6;
}
