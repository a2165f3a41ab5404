/*
 * http2.c - see http2.h: the connection, what comes in, and when output is made. What a head must
 * be is http2_head.c, how much may come http2_flow.c, answers are http2_answer.c.
 *
 *   input()   bytes -> nghttp2 -> heads and bodies of streams -> handlers; answers are submitted
 * only drained() end of the turn: everything submitted becomes bytes of link->out, at once for all
 *             streams; then whoever waited for room is told
 *
 * So nghttp2 closes a stream only inside input() and drained(), never under a handler's feet.
 */
#include "etcd-server/doors/http2_internal.h"

#include "common/base/limits.h"

#define SPARE_STREAMS_MAX 256
#define KEEP_STREAM_BYTES (16 * KIB) /* a spare stream's buffers keep no more */
#define HEADER_OVERHEAD 32           /* of each header: RFC 9113 6.5.2 */
#define HOURS_2_MS (2ULL * 3600 * 1000)

static struct http2 *of_link(struct link *link)
{
    return link->door;
}

void http2_touch(struct http2 *http2)
{
    http2->link->drained_wanted = true;
    http2->link->changed(http2->link);
}

void http2_fail(struct http2 *http2)
{
    http2->failed = true;
    http2->link->close = true;
    http2->link->drained_wanted = false;
    http2->link->changed(http2->link);
}

/* ---- streams ---- */

static bool busy(const struct http2_stream *stream)
{
    return stream->state == HTTP2_BUSY || stream->state == HTTP2_BEGUN;
}

static struct http2_stream *stream_new(struct http2 *http2, int32_t id)
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

static void stream_free(struct http2_stream *stream)
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

/* nghttp2 has closed it, or the connection ends. */
static void stream_close(struct http2_stream *stream)
{
    struct http2 *http2 =
        stream->http2; /* NOLINT(clang-analyzer-unix.Malloc): off all rings once freed */
    struct http2_door *door = http2->door;

    http2_complete(stream);
    http2_flow_over(stream);
    if (busy(stream)) {
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
        stream_free(stream);
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

static void reset_stream(struct http2_stream *stream, uint32_t error)
{
    if (nghttp2_submit_rst_stream(stream->http2->session, NGHTTP2_FLAG_NONE, stream->id, error) !=
        0)
        http2_fail(stream->http2);
    http2_done(stream);
}

void http2_drop(struct http2_stream *stream, uint32_t error)
{
    bool known = busy(stream);

    reset_stream(stream, error);
    if (known && stream->exchange.gone != NULL)
        stream->exchange.gone(&stream->exchange);
    http2_touch(stream->http2);
}

/* ---- requests ---- */

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

static void start_in_pieces(struct http2_stream *stream, const struct exchange_handler *handler)
{
    stream->pieces = stream->exchange.in_pieces = true;
    stream->state = HTTP2_BUSY;
    handler->start(handler->arg, &stream->exchange);
}

static void head_complete(struct http2_stream *stream)
{
    struct http2 *http2 = stream->http2;
    const struct exchange_handler *grpc = &http2->door->config.grpc;
    const struct exchange_handler *http = &http2->door->config.http;

    if (!http2_head_whole(&stream->head_seen) && stream->refused == 0)
        stream->malformed = true;
    if (stream->malformed) {
        reset_stream(stream, NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    take_head(stream);
    if (stream->refused != 0) {
        http2_refuse(stream, stream->refused);
    } else if (http2->incomplete > HTTP2_INCOMPLETE_MAX) {
        reset_stream(stream, NGHTTP2_REFUSED_STREAM); /* its client may try again */
    } else if (http2->unread_bytes > HTTP2_UNREAD_MAX_BYTES) {
        reset_stream(stream, NGHTTP2_REFUSED_STREAM); /* let it read what it asked for first */
    } else if (stream->grpc && grpc->start != NULL) {
        start_in_pieces(stream, grpc);
    } else if (http->streams != NULL && http->streams(http->arg, &stream->exchange)) {
        start_in_pieces(stream, http);
    } else {
        stream->state = HTTP2_BODY;
    }
    http2_came(stream, 0);
}

/* A second HEADERS frame: trailers, which end the request, and of which nothing is kept. */
static void trailers_complete(struct http2_stream *stream, bool ended)
{
    if ((stream->malformed || !ended) && stream->state != HTTP2_DONE)
        http2_drop(stream, NGHTTP2_PROTOCOL_ERROR);
}

static void request_complete(struct http2_stream *stream)
{
    if (stream->length_known && stream->got_bytes != stream->length && stream->state != HTTP2_DONE)
        http2_drop(stream, NGHTTP2_PROTOCOL_ERROR);
    stream->client_ended = true;
    http2_complete(stream);
    http2_flow_over(stream);
    if (stream->state == HTTP2_BODY)
        start(stream);
    else if (busy(stream) && stream->exchange.data != NULL)
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
        reset_stream(stream, NGHTTP2_REFUSED_STREAM);
    else
        http2_came(stream, bytes.size);
}

/* ---- nghttp2's callbacks ---- */

static struct http2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return id != 0 ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2_stream *stream;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    stream = stream_new(arg, frame->hd.stream_id);
    if (nghttp2_session_set_stream_user_data(session, stream->id, stream) != 0) {
        stream_close(stream);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *arg)
{
    struct http2_stream *stream = stream_of(session, frame->hd.stream_id);
    enum http2_verdict verdict;
    struct http2_span *span;

    (void)flags;
    (void)arg;
    if (stream == NULL)
        return 0;
    verdict =
        http2_head_line(&stream->head_seen, slice_of(name, name_size), slice_of(value, value_size));
    stream->malformed |= verdict == HTTP2_MALFORMED;
    stream->head_bytes += name_size + value_size + HEADER_OVERHEAD;
    if (stream->head_bytes >
        HTTP2_HEAD_END_BYTES) /* a few bytes can stand for many: RFC 7541 7.3 */
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream->state != HTTP2_HEAD || stream->refused != 0 || verdict != HTTP2_KEEP)
        return 0;
    if (stream->span_count == HTTP_HEADERS_MAX ||
        buf_used(&stream->head) + name_size + value_size > HTTP_HEADER_MAX_BYTES) {
        stream->refused = 431;
        return 0;
    }
    if (stream->span_count == stream->span_capacity) {
        stream->span_capacity = MAX(12, stream->span_capacity * 2);
        stream->spans = xrealloc(stream->spans, stream->span_capacity * sizeof(*stream->spans));
        stream->fields = xrealloc(stream->fields, stream->span_capacity * sizeof(*stream->fields));
    }
    span = &stream->spans[stream->span_count++];
    span->name_at = (uint32_t)stream->head.size;
    span->name_size = (uint32_t)name_size;
    span->value_at = span->name_at + span->name_size;
    span->value_size = (uint32_t)value_size;
    buf_append(&stream->head, name, name_size);
    buf_append(&stream->head, value, value_size);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                         size_t size, void *arg)
{
    struct http2_stream *stream = stream_of(session, id);

    (void)flags;
    (void)arg;
    if (nghttp2_session_consume_connection(session, size) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream == NULL)
        return 0;
    stream->got_bytes += size;
    if (stream->length_known && stream->got_bytes > stream->length && stream->state != HTTP2_DONE) {
        http2_drop(stream, NGHTTP2_PROTOCOL_ERROR);
        return 0;
    }
    if (stream->pieces && busy(stream)) {
        give(stream, slice_of(data, size));
        return 0;
    }
    if (stream->state == HTTP2_BODY)
        collect(stream, slice_of(data, size));
    return 0; /* else the rest of a request that has its answer: no window is opened for it */
}

/* Frames that cost us work and the client nothing. */
static bool control_flood(struct http2 *http2)
{
    uint64_t now_ms = http2->link->clock->now_ms;
    uint64_t grown = (now_ms - http2->control_ms) * HTTP2_CONTROL_PER_S / 1000;

    if (grown != 0) {
        http2->control = MIN(http2->control + grown, HTTP2_CONTROL_BURST);
        http2->control_ms = now_ms;
    }
    if (http2->control == 0)
        return true;
    http2->control--;
    return false;
}

/* --grpc-keepalive-min-time, as gRPC servers have it: an answer in between forgives. */
static bool ping_too_often(struct http2 *http2)
{
    uint64_t now_ms = http2->link->clock->now_ms;
    uint64_t pause_ms = ring_empty(&http2->all) ? HOURS_2_MS : http2->door->config.ping_min_ms;
    bool early = http2->pinged_ms != 0 && now_ms < http2->pinged_ms + pause_ms;

    http2->pinged_ms = now_ms;
    if (http2->answered) {
        http2->answered = false;
        http2->strikes = 0;
        return false;
    }
    if (early)
        http2->strikes++;
    return http2->strikes > HTTP2_PING_STRIKES;
}

static int end_session(struct http2 *http2, uint32_t error, const char *text)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(http2->session);

    if (nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE, last, error, (const uint8_t *)text,
                              strlen(text)) != 0 ||
        nghttp2_session_terminate_session2(http2->session, last, error) != 0)
        http2_fail(http2);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2 *http2 = arg;
    struct http2_stream *stream;
    bool costs = false;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        stream = stream_of(session, frame->hd.stream_id);
        if (stream != NULL && frame->hd.type == NGHTTP2_DATA)
            http2_padding(stream, frame->data.padlen);
        if (stream != NULL && stream->state == HTTP2_HEAD)
            head_complete(stream);
        else if (stream != NULL && frame->hd.type == NGHTTP2_HEADERS)
            trailers_complete(stream, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
        if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            request_complete(stream);
        else
            costs = frame->hd.length == 0;
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
            http2->ping_end_ms = 0;
        else if (ping_too_often(http2))
            return end_session(http2, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
        costs = true;
        break;
    case NGHTTP2_SETTINGS:
        if (http2->link->phase == LINK_HEADER)
            http2->link->phase = LINK_OPEN;
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
            http2_settled(http2);
        costs = true;
        break;
    case NGHTTP2_WINDOW_UPDATE:
        break;
    default:
        costs = true;
    }
    if (costs && control_flood(http2))
        return end_session(http2, NGHTTP2_ENHANCE_YOUR_CALM, "too many control frames");
    return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2 *http2 = arg;
    struct http2_stream *stream;

    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    http2->answered = true;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    stream = stream_of(session, frame->hd.stream_id);
    if (stream != NULL && !stream->client_ended) /* RFC 9113 8.1: the rest is not wanted */
        reset_stream(stream, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct http2_stream *stream = stream_of(session, id);

    (void)error;
    (void)arg;
    if (stream != NULL)
        stream_close(stream);
    return 0;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags,
                       void *arg)
{
    struct http2 *http2 = arg;

    (void)session;
    (void)flags;
    return buf_append(&http2->link->out, data, size) ? (ssize_t)size
                                                     : (ssize_t)NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- the link's door ---- */

void http2_set_wake(struct http2 *http2)
{
    uint64_t interval_ms = http2->door->config.ping_interval_ms;
    uint64_t ping_ms = http2->ping_end_ms != 0 ? http2->ping_end_ms
                       : interval_ms != 0      ? http2->input_ms + interval_ms
                                               : 0;
    uint64_t wake_ms = http2->wake_at_ms;

    if (ping_ms != 0 && (wake_ms == 0 || ping_ms < wake_ms))
        wake_ms = ping_ms;
    if (http2->look_ms != 0 && (wake_ms == 0 || http2->look_ms < wake_ms))
        wake_ms = http2->look_ms;
    http2->link->wake_ms = wake_ms;
    http2->link->changed(http2->link);
}

/* After anything that nghttp2 was told: is there output, is it over? */
static void settle(struct http2 *http2)
{
    if (http2->failed)
        return;
    if (nghttp2_session_want_write(http2->session) != 0 || !ring_empty(&http2->held)) {
        http2_touch(http2);
    } else if (nghttp2_session_want_read(http2->session) == 0) {
        http2->link->close = true;
        http2->link->changed(http2->link);
    }
}

/* The client sends on and does not read. */
static bool too_much_waits(const struct http2 *http2)
{
    return buf_used(&http2->link->out) > HTTP2_OUT_STOP_BYTES ||
           nghttp2_session_get_outbound_queue_size(http2->session) > HTTP2_QUEUE_MAX;
}

static void tell_waiting(struct http2 *http2)
{
    struct ring waiting;

    ring_move(&http2->waiting, &waiting);
    while (!ring_empty(&waiting)) {
        struct http2_stream *stream = CONTAINER_OF(waiting.next, struct http2_stream, waiting);

        ring_remove(&stream->waiting);
        if (!busy(stream))
            continue;
        if (buf_used(&stream->out) > HTTP_OUT_LOW_BYTES ||
            (buf_used(&stream->out) != 0 && http2->unread_bytes > HTTP2_UNREAD_MAX_BYTES))
            ring_add(&http2->waiting, &stream->waiting);
        else if (stream->exchange.drained != NULL)
            stream->exchange.drained(&stream->exchange);
    }
}

static void http2_drained(struct link *link)
{
    struct http2 *http2 = of_link(link);

    if (http2->failed)
        return;
    http2_lend(http2);
    while (!ring_empty(&http2->held)) {
        struct http2_stream *stream = CONTAINER_OF(http2->held.next, struct http2_stream, held);

        ring_remove(&stream->held);
        (void)nghttp2_session_resume_data(http2->session, stream->id); /* it is there */
    }
    if (nghttp2_session_send(http2->session) != 0) {
        http2_fail(http2);
        return;
    }
    tell_waiting(http2);
    if (http2->stopped && !too_much_waits(http2)) {
        http2->stopped = false;
        link->phase = LINK_OPEN;
        link->again = true;
    }
    settle(http2);
    link->changed(link);
}

static size_t http2_input(struct link *link, struct slice bytes)
{
    struct http2 *http2 = of_link(link);

    if (http2->failed)
        return bytes.size;
    if (too_much_waits(http2)) {
        http2->stopped = true;
        link->phase = LINK_BUSY;
        http2_touch(http2);
        return 0;
    }
    http2->input_ms = link->clock->now_ms;
    if (bytes.size > HTTP2_INPUT_TURN_BYTES) { /* hundreds of requests: first the others' */
        bytes.size = HTTP2_INPUT_TURN_BYTES;
        link->again = true;
        link->changed(link);
    }
    if (nghttp2_session_mem_recv(http2->session, bytes.data, bytes.size) < 0) {
        /* flooded, or no HTTP/2 at all: whatever can still be said is said */
        (void)nghttp2_session_terminate_session(http2->session, NGHTTP2_ENHANCE_YOUR_CALM);
        (void)nghttp2_session_send(http2->session);
        http2_fail(http2);
        return bytes.size;
    }
    settle(http2);
    return bytes.size;
}

static void http2_again(struct link *link)
{
    struct http2 *http2 = of_link(link);
    struct ring turns;

    ring_move(&http2->turns, &turns);
    while (!ring_empty(&turns)) {
        struct http2_stream *stream = CONTAINER_OF(turns.next, struct http2_stream, turn);

        ring_remove(&stream->turn);
        if (busy(stream) && stream->exchange.turn != NULL)
            stream->exchange.turn(&stream->exchange);
    }
}

static void wake_streams(struct http2 *http2, uint64_t now_ms)
{
    struct ring timed;

    http2->wake_at_ms = 0;
    ring_move(&http2->timed, &timed);
    while (!ring_empty(&timed)) {
        struct http2_stream *stream = CONTAINER_OF(timed.next, struct http2_stream, timed);

        ring_remove(&stream->timed);
        if (stream->wake_at_ms > now_ms) {
            ring_add(&http2->timed, &stream->timed);
            if (http2->wake_at_ms == 0 || stream->wake_at_ms < http2->wake_at_ms)
                http2->wake_at_ms = stream->wake_at_ms;
            continue;
        }
        stream->wake_at_ms = 0;
        if (busy(stream) && stream->exchange.wake != NULL)
            stream->exchange.wake(&stream->exchange);
    }
}

static void http2_wake(struct link *link)
{
    struct http2 *http2 = of_link(link);
    const struct http2_config *config = &http2->door->config;
    uint64_t now_ms = link->clock->now_ms;

    if (http2->wake_at_ms != 0 && http2->wake_at_ms <= now_ms)
        wake_streams(http2, now_ms);
    if (http2->look_ms != 0 && http2->look_ms <= now_ms)
        http2_look(http2);
    if (http2->ping_end_ms != 0 && http2->ping_end_ms <= now_ms) {
        http2_fail(http2); /* it is gone without a word */
        buf_reset(&link->out);
    } else if (http2->ping_end_ms == 0 && config->ping_interval_ms != 0 &&
               http2->input_ms + config->ping_interval_ms <= now_ms) {
        if (nghttp2_submit_ping(http2->session, NGHTTP2_FLAG_NONE, NULL) != 0)
            http2_fail(http2);
        http2->ping_end_ms = now_ms + MAX(config->ping_timeout_ms, 1);
        http2_touch(http2);
    }
    http2_set_wake(http2);
}

static void http2_ended(struct link *link)
{
    http2_fail(of_link(link)); /* no client of HTTP/2 closes one half only */
}

static void http2_drain(struct link *link)
{
    struct http2 *http2 = of_link(link);
    int32_t last = nghttp2_session_get_last_proc_stream_id(http2->session);

    if (http2->failed || http2->draining)
        return;
    http2->draining = true;
    if (nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) !=
        0)
        http2_fail(http2);
    for (struct ring *at = http2->all.next; at != &http2->all; at = at->next) {
        struct http2_stream *stream = CONTAINER_OF(at, struct http2_stream, all);

        if (busy(stream) && stream->exchange.stop != NULL)
            stream->exchange.stop(&stream->exchange);
    }
    settle(http2);
}

static void http2_close(struct link *link)
{
    struct http2 *http2 = of_link(link);

    while (!ring_empty(&http2->all))
        stream_close(CONTAINER_OF(http2->all.next, struct http2_stream, all));
    nghttp2_session_del(http2->session);
    free(http2);
    link->door = NULL;
}

static void http2_open(void *arg, struct link *link)
{
    struct http2_door *door = arg;
    struct http2 *http2 = xalloc(sizeof(*http2));
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
         (uint32_t)MIN(door->config.max_streams, HTTP2_STREAMS_MAX)},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_WIDE_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEADER_MAX_BYTES},
    };

    *http2 = (struct http2){.door = door,
                            .link = link,
                            .window_bytes = HTTP2_WIDE_WINDOW_BYTES,
                            .input_ms = link->clock->now_ms,
                            .control = HTTP2_CONTROL_BURST,
                            .control_ms = link->clock->now_ms};
    ring_init(&http2->all);
    ring_init(&http2->turns);
    ring_init(&http2->held);
    ring_init(&http2->waiting);
    ring_init(&http2->timed);
    ring_init(&http2->hungry);
    ring_init(&http2->eager);
    must(nghttp2_session_server_new2(&http2->session, door->callbacks, http2, door->option) == 0);
    must(nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings,
                                 ARRAY_LEN(settings)) == 0);
    must(nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0,
                                               HTTP2_WINDOW_BYTES) == 0);
    link->door = http2;
    link->phase = LINK_HEADER;
    link->phase_ms = link->clock->now_ms;
    http2_touch(http2);
    http2_set_wake(http2);
}

struct http2_door *http2_door_new(const struct http2_config *config)
{
    struct http2_door *door = xalloc(sizeof(*door));
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    door->config = *config;
    must(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, http2_send_data);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1); /* http2_head.c instead */
    nghttp2_option_set_max_outbound_ack(option, HTTP2_ACKS_MAX);
    nghttp2_option_set_max_continuations(option, HTTP2_CONTINUATIONS_MAX);
    nghttp2_option_set_stream_reset_rate_limit(option, HTTP2_RESETS_BURST, HTTP2_RESETS_PER_S);
    door->callbacks = callbacks;
    door->option = option;
    return door;
}

void http2_door_free(struct http2_door *door)
{
    struct http2_stream *next;

    if (door == NULL)
        return;
    for (struct http2_stream *stream = door->spare; stream != NULL; stream = next) {
        next = stream->next_spare;
        stream_free(stream);
    }
    nghttp2_session_callbacks_del(door->callbacks);
    nghttp2_option_del(door->option);
    free(door);
}

struct link_door http2_link_door(struct http2_door *door)
{
    return (struct link_door){
        .arg = door,
        .open = http2_open,
        .input = http2_input,
        .again = http2_again,
        .drained = http2_drained,
        .wake = http2_wake,
        .ended = http2_ended,
        .drain = http2_drain,
        .close = http2_close,
    };
}
