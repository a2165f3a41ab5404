/*
 * h2_client.h - an HTTP/2 client in memory at a toy_link: nghttp2's client half, and frames by hand
 * for what no client sends. Static functions: include it once per program.
 */
#ifndef TESTS_LIB_H2_CLIENT_H
#define TESTS_LIB_H2_CLIENT_H

#include "tests/lib/toy_link.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#define H2_CALLS_MAX 512

struct h2_call {
    int32_t id;
    struct buf request; /* not yet sent */
    bool request_ended; /* no more is added */
    bool deferred;
    struct buf head; /* "name: value\n", of head and trailers */
    struct buf body;
    size_t heads; /* HEADERS frames got */
    bool closed;
    uint32_t error;
};

struct h2_client {
    struct toy_link *toy; /* borrowed */
    nghttp2_session *session;
    struct h2_call calls[H2_CALLS_MAX];
    size_t call_count;
    size_t goaways;
    uint32_t goaway_error;
    bool hold_window; /* consume nothing: the windows close */
};

static inline struct h2_call *h2_call_of(struct h2_client *client, int32_t id)
{
    for (size_t i = 0; i < client->call_count; i++)
        if (client->calls[i].id == id)
            return &client->calls[i];
    return NULL;
}

static inline int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame,
                               const uint8_t *name, size_t name_size, const uint8_t *value,
                               size_t value_size, uint8_t flags, void *arg)
{
    struct h2_call *call = h2_call_of(arg, frame->hd.stream_id);

    (void)session;
    (void)flags;
    if (call != NULL)
        buf_printf(&call->head, "%.*s: %.*s\n", (int)name_size, (const char *)name, (int)value_size,
                   (const char *)value);
    return 0;
}

static inline int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_client *client = arg;
    struct h2_call *call = h2_call_of(client, frame->hd.stream_id);

    (void)session;
    if (frame->hd.type == NGHTTP2_HEADERS && call != NULL)
        call->heads++;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->goaways++;
        client->goaway_error = frame->goaway.error_code;
    }
    return 0;
}

static inline int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id,
                             const uint8_t *data, size_t size, void *arg)
{
    struct h2_client *client = arg;
    struct h2_call *call = h2_call_of(client, id);

    (void)flags;
    if (call != NULL)
        buf_append(&call->body, data, size);
    if (!client->hold_window)
        (void)nghttp2_session_consume(session, id, size);
    return 0;
}

static inline int h2_on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct h2_call *call = h2_call_of(arg, id);

    (void)session;
    if (call != NULL) {
        call->closed = true;
        call->error = error;
    }
    return 0;
}

static inline void h2_open(struct h2_client *client, struct toy_link *toy, int32_t window_bytes)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)window_bytes};

    *client = (struct h2_client){.toy = toy};
    must(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_on_close);
    must(nghttp2_session_client_new2(&client->session, callbacks, client, option) == 0);
    must(nghttp2_submit_settings(client->session, 0, &window, 1) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
}

static inline void h2_close(struct h2_client *client)
{
    for (size_t i = 0; i < client->call_count; i++) {
        buf_free(&client->calls[i].request);
        buf_free(&client->calls[i].head);
        buf_free(&client->calls[i].body);
    }
    nghttp2_session_del(client->session);
}

/* Pass bytes to and fro once; what the client sends goes in pieces of `piece`. False: none did. */
static inline bool h2_step(struct h2_client *client, size_t piece)
{
    const uint8_t *data;
    ssize_t size = nghttp2_session_mem_send(client->session, &data);
    bool moved = size > 0;

    for (ssize_t at = 0; at < size; at += (ssize_t)piece)
        toy_link_feed(client->toy, slice_of(data + at, MIN(piece, (size_t)(size - at))));
    moved |= toy_link_turn(client->toy);
    if (buf_used(&client->toy->got) != 0) {
        (void)nghttp2_session_mem_recv(client->session, buf_slice(&client->toy->got).data,
                                       buf_used(&client->toy->got));
        buf_reset(&client->toy->got);
        moved = true;
    }
    return moved;
}

/* The same until nothing moves. */
static inline void h2_run_in_pieces(struct h2_client *client, size_t piece)
{
    while (h2_step(client, piece))
        continue;
}

static inline void h2_run(struct h2_client *client)
{
    h2_run_in_pieces(client, GIB);
}

static inline ssize_t h2_read_request(nghttp2_session *session, int32_t id, uint8_t *room,
                                      size_t length, uint32_t *flags, nghttp2_data_source *source,
                                      void *arg)
{
    struct h2_call *call = source->ptr;
    size_t size = MIN(length, buf_used(&call->request));

    (void)session;
    (void)id;
    (void)arg;
    if (size == 0 && !call->request_ended) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (size != 0)
        memcpy(room, buf_slice(&call->request).data, size);
    buf_consume(&call->request, size);
    if (call->request_ended && buf_used(&call->request) == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static inline nghttp2_nv h2_nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* A request; more may be added unless `ended`. name: one more header, or NULL. */
static inline struct h2_call *h2_ask(struct h2_client *client, const char *method, const char *path,
                                     const char *type, const char *name, const char *value,
                                     struct slice body, bool ended)
{
    struct h2_call *call = &client->calls[client->call_count++];
    nghttp2_nv nv[8] = {h2_nv(":method", method),    h2_nv(":scheme", "http"),
                        h2_nv(":path", path),        h2_nv(":authority", "toy:2379"),
                        h2_nv("content-type", type), h2_nv("te", "trailers")};
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = h2_read_request};
    size_t count = 6;

    must(client->call_count <= H2_CALLS_MAX);
    *call = (struct h2_call){.request_ended = ended,
                             .request = BUF_INIT(BUF_UNLIMITED),
                             .head = BUF_INIT(BUF_UNLIMITED),
                             .body = BUF_INIT(BUF_UNLIMITED)};
    buf_append_slice(&call->request, body);
    if (name != NULL)
        nv[count++] = h2_nv(name, value);
    call->id = nghttp2_submit_request(client->session, NULL, nv, count, &provider, call);
    must(call->id > 0);
    return call;
}

static inline void h2_more(struct h2_client *client, struct h2_call *call, struct slice bytes,
                           bool ended)
{
    buf_append_slice(&call->request, bytes);
    call->request_ended = ended;
    if (call->deferred) {
        call->deferred = false;
        must(nghttp2_session_resume_data(client->session, call->id) == 0);
    }
}

/* A gRPC message: prefix and bytes. Owned. */
static inline void h2_put_message(struct buf *out, struct slice message, bool compressed)
{
    uint8_t prefix[5] = {compressed, (uint8_t)(message.size >> 24), (uint8_t)(message.size >> 16),
                         (uint8_t)(message.size >> 8), (uint8_t)message.size};

    buf_append(out, prefix, sizeof(prefix));
    buf_append_slice(out, message);
}

static inline struct h2_call *h2_grpc(struct h2_client *client, const char *path, const char *name,
                                      const char *value, struct slice message, bool ended)
{
    struct buf body = BUF_INIT(BUF_UNLIMITED);
    struct h2_call *call;

    h2_put_message(&body, message, false);
    call = h2_ask(client, "POST", path, "application/grpc", name, value, buf_slice(&body), ended);
    buf_free(&body);
    return call;
}

static inline bool h2_has(struct h2_call *call, const char *line)
{
    return strstr(buf_text(&call->head), line) != NULL;
}

/* ---- by hand ---- */

static inline void h2_frame(struct buf *out, uint8_t type, uint8_t flags, uint32_t stream,
                            struct slice payload)
{
    uint8_t head[9] = {(uint8_t)(payload.size >> 16),
                       (uint8_t)(payload.size >> 8),
                       (uint8_t)payload.size,
                       type,
                       flags,
                       (uint8_t)(stream >> 24),
                       (uint8_t)(stream >> 16),
                       (uint8_t)(stream >> 8),
                       (uint8_t)stream};

    buf_append(out, head, sizeof(head));
    buf_append_slice(out, payload);
}

static inline void h2_preface(struct buf *out)
{
    buf_append_text(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    h2_frame(out, NGHTTP2_SETTINGS, 0, 0, SLICE_EMPTY);
}

/* A head for POST `path` as gRPC, without the dynamic table. */
static inline void h2_put_head(struct buf *out, const char *path)
{
    static const uint8_t fixed[] = {0x83, 0x86}; /* POST, http */

    buf_append(out, fixed, sizeof(fixed));
    buf_printf(out, "%c%c%s", 0x04, (int)strlen(path), path); /* :path, not indexed */
    buf_printf(out, "%c%c%s", 0x01, 3, "toy");                /* :authority */
    buf_printf(out, "%c%c%s%c%s", 0x0f, 0x10, "", 16, "application/grpc");
}

#endif
