/*
 * http2.c - see http2.h: the connection, what comes in, and when output is made. What comes on one
 * stream is http2_stream.c, what a head must be http2_head.c, how much may come http2_flow.c;
 * answers are http2_answer.c.
 *
 *   input()    bytes -> nghttp2 -> heads and bodies of streams -> handlers; answers are submitted,
 *              no more
 *   drained()  end of the turn: everything submitted becomes bytes of link->out, at once for all
 *              streams; then whoever waited for room is told
 *
 * So nghttp2 closes a stream only inside input() and drained(), never under a handler's feet.
 */
#include "etcd-server/doors/http2_internal.h"

#include "common/base/limits.h"

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
    stream = http2_stream_new(arg, frame->hd.stream_id);
    if (nghttp2_session_set_stream_user_data(session, stream->id, stream) != 0) {
        http2_stream_close(stream);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *arg)
{
    struct http2_stream *stream = stream_of(session, frame->hd.stream_id);

    (void)flags;
    (void)arg;
    if (stream == NULL ||
        http2_header_came(stream, slice_of(name, name_size), slice_of(value, value_size)))
        return 0;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                         size_t size, void *arg)
{
    struct http2_stream *stream = stream_of(session, id);

    (void)flags;
    (void)arg;
    if (nghttp2_session_consume_connection(session, size) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream != NULL)
        http2_data_came(stream, slice_of(data, size));
    return 0;
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
            http2_head_complete(stream);
        else if (stream != NULL && frame->hd.type == NGHTTP2_HEADERS)
            http2_trailers_complete(stream, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
        if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            http2_request_complete(stream);
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
        http2_reset(stream, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct http2_stream *stream = stream_of(session, id);

    (void)error;
    (void)arg;
    if (stream != NULL)
        http2_stream_close(stream);
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
    return link_waiting(http2->link) > HTTP2_OUT_STOP_BYTES ||
           nghttp2_session_get_outbound_queue_size(http2->session) > HTTP2_QUEUE_MAX;
}

static void tell_waiting(struct http2 *http2)
{
    struct ring waiting;

    ring_move(&http2->waiting, &waiting);
    while (!ring_empty(&waiting)) {
        struct http2_stream *stream = CONTAINER_OF(waiting.next, struct http2_stream, waiting);

        ring_remove(&stream->waiting);
        if (!http2_busy(stream))
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
        if (http2_busy(stream) && stream->exchange.turn != NULL)
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
        if (http2_busy(stream) && stream->exchange.wake != NULL)
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
        link_out_reset(link);
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

        if (http2_busy(stream) && stream->exchange.stop != NULL)
            stream->exchange.stop(&stream->exchange);
    }
    settle(http2);
}

static void http2_close(struct link *link)
{
    struct http2 *http2 = of_link(link);

    while (!ring_empty(&http2->all))
        http2_stream_close(CONTAINER_OF(http2->all.next, struct http2_stream, all));
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
        http2_stream_free(stream);
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
