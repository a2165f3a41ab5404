/*
 * http2_stream.c - one stream of a connection: its memory, its request from the first header to the
 * handler, its end.
 *
 *   http2_header_came()*         a field, kept in `spans`
 *   http2_head_complete()        the exchange is made of them; who takes pieces is started
 *   http2_data_came()*           a piece for the handler, or collected in `body`
 *   http2_request_complete()     the handler is started, or told that no more comes
 *
 * Its states are http2_internal.h's. Ended streams wait with their memory in door->spare.
 */
#include "etcd-server/doors/http2_internal.h"

#include "common/base/limits.h"

#define SPARE_STREAMS_MAX 256
#define KEEP_STREAM_BYTES (16 * KIB)   /* a spare stream's buffers keep no more */
#define KEEP_LONG_HEAD_BYTES (4 * KIB) /* of a head, while the body comes in pieces */
#define HEADER_OVERHEAD 32             /* of each header: RFC 9113 6.5.2 */

struct http2_stream *http2_stream_new(struct http2 *http2, int32_t id)
{
    struct http2_stream *stream = http2->door->spare;

    if (stream != NULL) {
        http2->door->spare = stream->next_spare;
        http2->door->spare_count--;
    } else {
        stream = xalloc(sizeof(*stream));
        buf_init(&stream->head, HTTP_HEADER_MAX_BYTES);
        buf_init(&stream->body, JSON_BODY_MAX_BYTES);
        buf_init(&stream->out, HTTP_OUT_MAX_BYTES);
        buf_init(&stream->trailers, HTTP_HEADER_MAX_BYTES);
    }
    stream->http2 = http2;
    stream->next_spare = NULL;
    ring_init(&stream->all);
    ring_init(&stream->turn);
    ring_init(&stream->held);
    ring_init(&stream->waiting);
    ring_init(&stream->timed);
    ring_init(&stream->flow);
    ring_init(&stream->eager);
    stream->state = HTTP2_HEAD;
    stream->id = id;
    stream->grpc = stream->pieces = stream->client_ended = stream->deferred = stream->out_ended =
        false;
    stream->too_large = stream->length_known = stream->malformed = false;
    stream->head_seen = 0;
    stream->got_bytes = 0;
    stream->lent_bytes = stream->step_bytes = stream->fresh_bytes = 0;
    stream->used_bytes = 0;
    stream->allowed = http2->window_bytes;
    stream->in_ms = http2->link->clock->now_ms;
    stream->head_bytes = 0;
    stream->incomplete = true;
    if (++http2->incomplete > HTTP2_WIDE_STREAMS_MAX)
        http2_touch(http2); /* a narrower window? */
    http2_look_by(http2, stream->in_ms + BODY_TIMEOUT_MS);
    stream->refused = 0;
    stream->wake_at_ms = 0;
    stream->untaken_bytes = 0;
    stream->pull_left = 0;
    stream->held_bytes = 0;
    stream->span_count = 0;
    stream->exchange = (struct exchange){.link = http2->link, .ops = &http2_exchange_ops};
    ring_add(&http2->all, &stream->all);
    return stream;
}

void http2_stream_free(struct http2_stream *stream)
{
    buf_free(&stream->head);
    buf_free(&stream->body);
    buf_free(&stream->out);
    buf_free(&stream->trailers);
    free(stream->spans);
    free(stream->fields);
    free(stream);
}

static void keep_little(struct buf *buf)
{
    buf_reset(buf);
    if (buf->capacity > KEEP_STREAM_BYTES)
        buf_free(buf);
}

void http2_stream_close(struct http2_stream *stream)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): off all rings once freed */
    struct http2 *http2 = stream->http2;
    struct http2_door *door = http2->door;

    http2_complete(stream);
    http2_flow_over(stream);
    if (http2_busy(stream)) {
        stream->state = HTTP2_DONE;
        if (stream->exchange.gone != NULL)
            stream->exchange.gone(&stream->exchange);
    }
    http2->unread_bytes -= buf_used(&stream->out) + stream->held_bytes;
    http2->body_bytes -= buf_used(&stream->body) + stream->untaken_bytes;
    ring_remove(&stream->all);
    ring_remove(&stream->turn);
    ring_remove(&stream->held);
    ring_remove(&stream->waiting);
    ring_remove(&stream->timed);
    if (door->spare_count == SPARE_STREAMS_MAX) {
        http2_stream_free(stream);
        return;
    }
    keep_little(&stream->head);
    keep_little(&stream->body);
    keep_little(&stream->out);
    keep_little(&stream->trailers);
    stream->next_spare = door->spare;
    door->spare = stream;
    door->spare_count++;
}

void http2_reset(struct http2_stream *stream, uint32_t error)
{
    if (nghttp2_submit_rst_stream(stream->http2->session, NGHTTP2_FLAG_NONE, stream->id, error) !=
        0)
        http2_fail(stream->http2);
    http2_done(stream);
}

void http2_drop(struct http2_stream *stream, uint32_t error)
{
    bool known = http2_busy(stream);

    http2_reset(stream, error);
    if (known && stream->exchange.gone != NULL)
        stream->exchange.gone(&stream->exchange);
    http2_touch(stream->http2);
}

/* ---- heads ---- */

bool http2_header_came(struct http2_stream *stream, struct slice name, struct slice value)
{
    enum http2_verdict verdict = http2_head_line(&stream->head_seen, name, value);
    struct http2_span *span;

    stream->malformed |= verdict == HTTP2_MALFORMED;
    stream->head_bytes += name.size + value.size + HEADER_OVERHEAD;
    if (stream->head_bytes > HTTP2_HEAD_END_BYTES) /* a few can stand for many: RFC 7541 7.3 */
        return false;
    if (stream->state != HTTP2_HEAD || stream->refused != 0 || verdict != HTTP2_KEEP)
        return true;
    if (stream->span_count == HTTP_HEADERS_MAX ||
        buf_used(&stream->head) + name.size + value.size > HTTP_HEADER_MAX_BYTES) {
        stream->refused = 431;
        return true;
    }
    if (stream->span_count == stream->span_capacity) {
        stream->span_capacity = MAX(12, stream->span_capacity * 2);
        stream->spans = xrealloc(stream->spans, stream->span_capacity * sizeof(*stream->spans));
        stream->fields = xrealloc(stream->fields, stream->span_capacity * sizeof(*stream->fields));
    }
    span = &stream->spans[stream->span_count++];
    span->name_at = (uint32_t)stream->head.size;
    span->name_size = (uint32_t)name.size;
    span->value_at = span->name_at + span->name_size;
    span->value_size = (uint32_t)value.size;
    buf_append_slice(&stream->head, name);
    buf_append_slice(&stream->head, value);
    return true;
}

static enum exchange_method method_of(struct slice name)
{
    static const struct {
        const char *name;
        enum exchange_method method;
    } methods[] = {
        {"POST", METHOD_POST}, {"GET", METHOD_GET},       {"HEAD", METHOD_HEAD},
        {"PUT", METHOD_PUT},   {"DELETE", METHOD_DELETE}, {"OPTIONS", METHOD_OPTIONS},
    };

    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (slice_equal(name, slice_text(methods[i].name)))
            return methods[i].method;
    return METHOD_OTHER;
}

static void take_target(struct exchange *exchange, struct slice target)
{
    const uint8_t *question = target.size != 0 ? memchr(target.data, '?', target.size) : NULL;

    exchange->path = target;
    if (question == NULL)
        return;
    exchange->path = slice_of(target.data, (size_t)(question - target.data));
    exchange->query = slice_of(question + 1, target.size - exchange->path.size - 1);
}

static void take_length(struct http2_stream *stream, struct slice text)
{
    uint64_t length = 0;

    for (size_t i = 0; i < text.size; i++) /* digits, and below 2^63 */
        length = length * 10 + (uint64_t)(text.data[i] - '0');
    stream->length = length;
    stream->length_known = true;
}

/* Fill the exchange from the headers; they are well-formed. */
static void take_head(struct http2_stream *stream)
{
    struct exchange *exchange = &stream->exchange;
    const uint8_t *text = stream->head.data;

    for (size_t i = 0; i < stream->span_count; i++) {
        const struct http2_span *span = &stream->spans[i];
        struct slice name = slice_of(text + span->name_at, span->name_size);
        struct slice value = slice_of(text + span->value_at, span->value_size);

        if (name.size != 0 && name.data[0] == ':') {
            if (slice_equal(name, SLICE_LITERAL(":method")))
                exchange->method = method_of(value);
            else if (slice_equal(name, SLICE_LITERAL(":path")))
                take_target(exchange, value);
            else if (slice_equal(name, SLICE_LITERAL(":authority")))
                exchange->host = value;
            continue;
        }
        stream->fields[exchange->field_count++] = (struct exchange_field){name, value};
        if (name.size == 4 && exchange->host.size == 0 && exchange_name_is(name, "host"))
            exchange->host = value;
        else if (name.size == 12 && slice_equal(name, SLICE_LITERAL("content-type")))
            stream->grpc = slice_starts_with(value, SLICE_LITERAL("application/grpc")) &&
                           (value.size == 16 || value.data[16] == '+' || value.data[16] == ';');
        else if (name.size == 14 && slice_equal(name, SLICE_LITERAL("content-length")))
            take_length(stream, value);
    }
    exchange->fields = stream->fields;
}

/* ---- requests ---- */

static void start(struct http2_stream *stream)
{
    const struct exchange_handler *http = &stream->http2->door->config.http;
    struct exchange *exchange = &stream->exchange;

    exchange->body_too_large = stream->too_large;
    if (!stream->too_large) {
        exchange->body = buf_slice(&stream->body);
        exchange->body_bytes = exchange->body.size;
    }
    stream->state = HTTP2_BUSY;
    if (http->start != NULL)
        http->start(http->arg, exchange);
    else
        exchange_not_found(exchange);
    exchange->body = SLICE_EMPTY;
    stream->http2->body_bytes -= buf_used(&stream->body);
    keep_little(&stream->body);
}

/* Who takes the body in pieces has read the head when it starts, and may go on for days: a large
 * one, for which a client needs few bytes (RFC 7541), is not kept for so long. */
static void forget_head(struct http2_stream *stream)
{
    struct exchange *exchange = &stream->exchange;

    if (stream->head.capacity <= KEEP_LONG_HEAD_BYTES)
        return;
    exchange->path = exchange->query = exchange->host = SLICE_EMPTY;
    exchange->field_count = 0;
    buf_free(&stream->head);
}

static void start_in_pieces(struct http2_stream *stream, const struct exchange_handler *handler)
{
    stream->pieces = stream->exchange.in_pieces = true;
    stream->state = HTTP2_BUSY;
    handler->start(handler->arg, &stream->exchange);
    forget_head(stream);
}

void http2_head_complete(struct http2_stream *stream)
{
    struct http2 *http2 = stream->http2;
    const struct exchange_handler *grpc = &http2->door->config.grpc;
    const struct exchange_handler *http = &http2->door->config.http;

    if (!http2_head_whole(&stream->head_seen) && stream->refused == 0)
        stream->malformed = true;
    if (stream->malformed) {
        http2_reset(stream, NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    take_head(stream);
    if (stream->refused != 0) {
        http2_refuse(stream, stream->refused);
    } else if (http2->incomplete > HTTP2_INCOMPLETE_MAX) {
        http2_reset(stream, NGHTTP2_REFUSED_STREAM); /* its client may try again */
    } else if (http2->unread_bytes > HTTP2_UNREAD_MAX_BYTES) {
        http2_reset(stream, NGHTTP2_REFUSED_STREAM); /* let it read what it asked for first */
    } else if (stream->grpc && grpc->start != NULL) {
        start_in_pieces(stream, grpc);
    } else if (http->streams != NULL && http->streams(http->arg, &stream->exchange)) {
        start_in_pieces(stream, http);
    } else {
        stream->state = HTTP2_BODY;
    }
    http2_came(stream, 0);
}

/* Trailers, which end the request, and of which nothing is kept. */
void http2_trailers_complete(struct http2_stream *stream, bool ended)
{
    if ((stream->malformed || !ended) && stream->state != HTTP2_DONE)
        http2_drop(stream, NGHTTP2_PROTOCOL_ERROR);
}

void http2_request_complete(struct http2_stream *stream)
{
    if (stream->length_known && stream->got_bytes != stream->length && stream->state != HTTP2_DONE)
        http2_drop(stream, NGHTTP2_PROTOCOL_ERROR);
    stream->client_ended = true;
    http2_complete(stream);
    http2_flow_over(stream);
    if (stream->state == HTTP2_BODY)
        start(stream);
    else if (http2_busy(stream) && stream->exchange.data != NULL)
        stream->exchange.data(&stream->exchange, SLICE_EMPTY, true);
}

/*
 * More than all windows together can bring: only of a client that does not know our settings, or of
 * more conversations than requests may be incomplete. It may try again what was not begun.
 */
static bool too_many_bodies(const struct http2 *http2)
{
    return http2->body_bytes > HTTP2_BODIES_MAX_BYTES + http2->door->config.window_bytes;
}

/* A piece for a handler that takes pieces. */
static void give(struct http2_stream *stream, struct slice bytes)
{
    struct http2 *http2 = stream->http2;

    http2->body_bytes += bytes.size;
    stream->untaken_bytes += bytes.size;
    if (too_many_bodies(http2)) {
        http2_drop(stream, stream->exchange.open_ended ? NGHTTP2_ENHANCE_YOUR_CALM
                                                       : NGHTTP2_REFUSED_STREAM);
        return;
    }
    stream->exchange.data(&stream->exchange, bytes, false);
    http2_came(stream, bytes.size);
}

static void collect(struct http2_stream *stream, struct slice bytes)
{
    struct http2 *http2 = stream->http2;

    stream->exchange.body_bytes += bytes.size;
    if (!buf_append_slice(&stream->body, bytes)) {
        stream->too_large = true;
        start(stream);
        return;
    }
    http2->body_bytes += bytes.size;
    if (too_many_bodies(http2))
        http2_reset(stream, NGHTTP2_REFUSED_STREAM);
    else
        http2_came(stream, bytes.size);
}

void http2_data_came(struct http2_stream *stream, struct slice bytes)
{
    stream->got_bytes += bytes.size;
    if (stream->length_known && stream->got_bytes > stream->length && stream->state != HTTP2_DONE)
        http2_drop(stream, NGHTTP2_PROTOCOL_ERROR);
    else if (stream->pieces && http2_busy(stream))
        give(stream, bytes);
    else if (stream->state == HTTP2_BODY)
        collect(stream, bytes);
    /* else the rest of a request that has its answer: no window is opened for it */
}
