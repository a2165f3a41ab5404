/*
 * http2_answer.c - the answering half of http2.h: exchange ops become HEADERS, DATA and trailers.
 *
 *   send() -> stream->out -> nghttp2 asks read_out() for as much as the windows allow
 *          -> http2_send_data() copies it behind its frame header into link->out
 *   pull() -> http2_send_data() has the handler write it there: no copy on the way
 *   lend() -> not even that: the link sends it from where it lies
 *
 * When link->out is high, read_out() holds the stream back: control frames and the heads of other
 * answers still pass.
 */
#include "etcd-server/doors/http2_internal.h"

#include "common/base/limits.h"

#include <stdio.h>

#define NV_MAX 32          /* headers of an answer */
#define NV_NAME_BYTES 1024 /* their names together */
#define FRAME_HEAD_BYTES 9

static struct http2_stream *of_exchange(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct http2_stream, exchange);
}

/* ---- heads ---- */

struct nv_list {
    nghttp2_nv nv[NV_MAX];
    size_t count;
    char names[NV_NAME_BYTES];
    size_t name_bytes;
};

/* Both are copied when the list is submitted. */
static void add_nv(struct nv_list *list, const char *name, size_t name_size, const char *value,
                   size_t value_size)
{
    if (list->count == NV_MAX)
        return;
    list->nv[list->count++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,   /* only read */
                                           .value = (uint8_t *)(uintptr_t)value, /* only read */
                                           .namelen = name_size,
                                           .valuelen = value_size,
                                           .flags = NGHTTP2_NV_FLAG_NONE};
}

static const char *lower_name(struct nv_list *list, const char *name, size_t size)
{
    char *lower = list->names + list->name_bytes;

    if (size > NV_NAME_BYTES - list->name_bytes)
        return NULL;
    for (size_t i = 0; i < size; i++)
        lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    list->name_bytes += size;
    return lower;
}

/* Lines "Name: value\r\n"; NULL: none. */
static void add_lines(struct nv_list *list, const char *lines)
{
    while (lines != NULL && *lines != '\0') {
        const char *end = strstr(lines, "\r\n"), *colon = strchr(lines, ':');
        const char *value, *name;

        if (end == NULL || colon == NULL || colon > end)
            return;
        value = colon + 1;
        while (value < end && *value == ' ')
            value++;
        name = lower_name(list, lines, (size_t)(colon - lines));
        if (name != NULL)
            add_nv(list, name, (size_t)(colon - lines), value, (size_t)(end - value));
        lines = end + 2;
    }
}

static void add_head(struct nv_list *list, const struct http2_stream *stream,
                     const struct exchange_head *head, char status[4])
{
    (void)snprintf(status, 4, "%03u", MIN(head->status, 999));
    add_nv(list, ":status", 7, status, 3);
    add_lines(list, stream->exchange.common_fields);
    add_lines(list, head->fields);
    add_lines(list, head->more_fields);
    if (head->content_type != NULL)
        add_nv(list, "content-type", 12, head->content_type, strlen(head->content_type));
}

/* ---- output ---- */

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *room, size_t length,
                        uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct http2_stream *stream = source->ptr;
    struct http2 *http2 = arg;
    uint64_t used = buf_used(&stream->out) + stream->pull_left;
    size_t size = (size_t)MIN(used, length);

    (void)room;
    if (used == 0 && !stream->out_ended) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (used != 0 && link_waiting(http2->link) > HTTP_OUT_HIGH_BYTES) {
        ring_add(&http2->held, &stream->held);
        return NGHTTP2_ERR_DEFERRED;
    }
    if (size == used && stream->out_ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (buf_used(&stream->trailers) != 0) {
            struct nv_list list = {.count = 0};

            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            add_lines(&list, buf_text(&stream->trailers));
            if (nghttp2_submit_trailer(session, id, list.nv, list.count) != 0)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return (ssize_t)size;
}

static void release_held(struct http2_stream *stream)
{
    stream->http2->unread_bytes -= stream->held_bytes;
    stream->held_bytes = 0;
}

/* From now on the client is to read. */
static void begin_pace(struct http2_stream *stream)
{
    stream->out_ms = stream->http2->link->clock->now_ms;
    stream->out_fresh_bytes = 0;
}

/* As many of the next `bytes` as are lent; how many. TLS takes them together with their frame's
 * head, so there is a copy in any case. */
static size_t lend_out(struct http2_stream *stream, size_t bytes)
{
    struct exchange *exchange = &stream->exchange;
    struct link *link = stream->http2->link;
    struct shared_slice piece;
    size_t lent = 0;

    if (exchange->lend == NULL || link->tls)
        return 0;
    while (lent != bytes && exchange->lend(exchange, bytes - lent, &piece)) {
        lent += piece.bytes.size;
        link_lend(link, piece);
    }
    return lent;
}

static bool copy_out(struct http2_stream *stream, size_t bytes)
{
    struct exchange *exchange = &stream->exchange;
    struct buf *out = &stream->http2->link->out;
    uint64_t soon = MIN(stream->pull_left, HTTP_OUT_HIGH_BYTES); /* grow once, not frame by frame */
    uint8_t *room = buf_reserve(out, MAX(bytes, soon));

    if (room == NULL)
        return false;
    exchange->pull(exchange, room, bytes);
    buf_advance(out, bytes);
    return true;
}

/* The next `bytes` of what is pulled, to the link's output. */
static bool pull_out(struct http2_stream *stream, size_t bytes)
{
    struct exchange *exchange = &stream->exchange;
    size_t lent;

    must(bytes <= stream->pull_left && stream->state == HTTP2_BEGUN);
    lent = lend_out(stream, bytes);
    if (lent != bytes && !copy_out(stream, bytes - lent))
        return false;
    stream->pull_left -= bytes;
    if (stream->pull_left == 0) {
        release_held(stream);
        exchange->pulled(exchange);
    }
    return true;
}

int http2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                    size_t length, nghttp2_data_source *source, void *arg)
{
    struct http2_stream *stream = source->ptr;
    struct http2 *http2 = arg;
    struct buf *out = &http2->link->out;
    size_t sent = MIN(length, buf_used(&stream->out));

    (void)session;
    must(frame->data.padlen == 0);
    if (!buf_append(out, head, FRAME_HEAD_BYTES) ||
        !buf_append(out, buf_slice(&stream->out).data, sent))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    buf_consume(&stream->out, sent);
    http2->unread_bytes -= sent;
    stream->out_fresh_bytes += length;
    if (stream->out_fresh_bytes >=
        (stream->exchange.holds_view ? VIEW_LEAST_BYTES : BODY_LEAST_BYTES))
        begin_pace(stream);
    if (length != sent && !pull_out(stream, length - sent))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static void keep_out(struct http2_stream *stream, struct slice bytes)
{
    struct http2 *http2 = stream->http2;

    if (buf_used(&stream->out) == 0)
        begin_pace(stream);
    if (!buf_append_slice(&stream->out, bytes)) {
        http2_fail(http2);
        return;
    }
    http2->unread_bytes += bytes.size;
    if (http2->unread_bytes - buf_used(&stream->out) > HTTP2_UNREAD_END_BYTES)
        http2_fail(http2);
}

static void go_on(struct http2_stream *stream)
{
    if (stream->deferred) {
        stream->deferred = false;
        (void)nghttp2_session_resume_data(stream->http2->session, stream->id); /* it is there */
    }
    http2_touch(stream->http2);
}

static void submit(struct http2_stream *stream, struct nv_list *list, bool with_data)
{
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_out};

    if (nghttp2_submit_response(stream->http2->session, stream->id, list->nv, list->count,
                                with_data ? &provider : NULL) != 0)
        http2_fail(stream->http2);
    http2_touch(stream->http2);
}

void http2_done(struct http2_stream *stream)
{
    http2_complete(stream);
    http2_flow_over(stream);
    stream->state = HTTP2_DONE;
    stream->pull_left = 0;
    release_held(stream);
    stream->wake_at_ms = 0;
    ring_remove(&stream->turn);
    ring_remove(&stream->waiting);
    ring_remove(&stream->timed);
}

void http2_refuse(struct http2_stream *stream, unsigned status)
{
    struct exchange_head head = {.status = status};
    struct nv_list list = {.count = 0};
    char text[4];

    add_head(&list, stream, &head, text);
    submit(stream, &list, false);
    http2_done(stream);
}

/* ---- the ops ---- */

static void op_answer(struct exchange *exchange, const struct exchange_head *head,
                      struct slice body)
{
    struct http2_stream *stream = of_exchange(exchange);
    struct nv_list list = {.count = 0};
    char status[4], length[24];
    bool with_data = body.size != 0 && exchange->method != METHOD_HEAD;

    must(stream->state == HTTP2_BUSY);
    add_head(&list, stream, head, status);
    (void)snprintf(length, sizeof(length), "%zu", body.size); /* fits */
    add_nv(&list, "content-length", 14, length, strlen(length));
    if (with_data)
        keep_out(stream, body);
    stream->out_ended = true;
    submit(stream, &list, with_data);
    http2_done(stream);
}

static void op_begin(struct exchange *exchange, const struct exchange_head *head)
{
    struct http2_stream *stream = of_exchange(exchange);
    struct nv_list list = {.count = 0};
    char status[4], length[24];

    must(stream->state == HTTP2_BUSY);
    add_head(&list, stream, head, status);
    (void)snprintf(length, sizeof(length), "%" PRIu64, head->body_bytes); /* fits */
    if (head->body_bytes != 0)
        add_nv(&list, "content-length", 14, length, strlen(length));
    submit(stream, &list, true);
    http2_complete(stream);
    stream->state = HTTP2_BEGUN;
}

static void op_send(struct exchange *exchange, struct slice bytes)
{
    struct http2_stream *stream = of_exchange(exchange);

    must(stream->state == HTTP2_BEGUN);
    if (bytes.size == 0 || exchange->method == METHOD_HEAD)
        return;
    keep_out(stream, bytes);
    go_on(stream);
}

static void op_pull(struct exchange *exchange, uint64_t bytes, size_t held_bytes)
{
    struct http2_stream *stream = of_exchange(exchange);

    must(stream->state == HTTP2_BEGUN && stream->pull_left == 0 && bytes != 0);
    stream->pull_left = bytes;
    stream->held_bytes = held_bytes;
    stream->http2->unread_bytes += held_bytes;
    go_on(stream);
}

static void op_end(struct exchange *exchange)
{
    struct http2_stream *stream = of_exchange(exchange);

    must(stream->state == HTTP2_BEGUN);
    stream->out_ended = true;
    go_on(stream);
    http2_done(stream);
}

static void op_trail(struct exchange *exchange, const struct exchange_head *head,
                     const char *fields)
{
    struct http2_stream *stream = of_exchange(exchange);
    struct nv_list list = {.count = 0};
    char status[4];

    if (stream->state == HTTP2_BEGUN) {
        buf_append_text(&stream->trailers, fields);
        op_end(exchange);
        return;
    }
    must(stream->state == HTTP2_BUSY && head != NULL);
    add_head(&list, stream, head, status);
    add_lines(&list, fields);
    submit(stream, &list, false);
    http2_done(stream);
}

static void op_abort(struct exchange *exchange)
{
    struct http2_stream *stream = of_exchange(exchange);

    if (nghttp2_submit_rst_stream(stream->http2->session, NGHTTP2_FLAG_NONE, stream->id,
                                  NGHTTP2_INTERNAL_ERROR) != 0)
        http2_fail(stream->http2);
    http2_touch(stream->http2);
    http2_done(stream);
}

static bool op_full(struct exchange *exchange)
{
    struct http2_stream *stream = of_exchange(exchange);
    size_t used = buf_used(&stream->out);

    if (used <= HTTP_OUT_HIGH_BYTES &&
        (used == 0 || stream->http2->unread_bytes <= HTTP2_UNREAD_MAX_BYTES))
        return false;
    ring_add(&stream->http2->waiting, &stream->waiting);
    http2_touch(stream->http2);
    return true;
}

static void op_again(struct exchange *exchange)
{
    struct http2_stream *stream = of_exchange(exchange);
    struct http2 *http2 = stream->http2;

    ring_add(&http2->turns, &stream->turn);
    http2->link->again = true;
    http2->link->changed(http2->link);
}

static void op_wake_at(struct exchange *exchange, uint64_t at_ms)
{
    struct http2_stream *stream = of_exchange(exchange);
    struct http2 *http2 = stream->http2;

    stream->wake_at_ms = at_ms;
    ring_remove(&stream->timed);
    if (at_ms == 0)
        return;
    ring_add(&http2->timed, &stream->timed);
    if (http2->wake_at_ms == 0 || at_ms < http2->wake_at_ms) {
        http2->wake_at_ms = at_ms;
        http2_set_wake(http2);
    }
}

static void op_taken(struct exchange *exchange, size_t bytes)
{
    struct http2_stream *stream = of_exchange(exchange);

    bytes = MIN(bytes, stream->untaken_bytes);
    stream->untaken_bytes -= bytes;
    stream->http2->body_bytes -= bytes;
    if (bytes != 0)
        http2_used_up(stream, bytes);
    http2_came(stream, 0);
}

const struct exchange_ops http2_exchange_ops = {
    .answer = op_answer,
    .begin = op_begin,
    .send = op_send,
    .end = op_end,
    .abort = op_abort,
    .full = op_full,
    .again = op_again,
    .wake_at = op_wake_at,
    .trail = op_trail,
    .taken = op_taken,
    .pull = op_pull,
};
