/*
 * http2_flow.c - how much the streams of a connection may send, and who has waited for too long.
 *
 * Every stream may send HTTP2_WIDE_WINDOW_BYTES unasked, or HTTP2_NARROW_WINDOW_BYTES while many
 * requests have not come whole: most have less. Who needs more for one message is lent the rest of
 * it, whole, from HTTP2_LENT_MAX_BYTES, the oldest first; meanwhile it goes on by steps, each of
 * what has come before, from HTTP2_STEPS_MAX_BYTES:
 *
 *   wants -> HUNGRY -> LENT -> paid back when the message is there, or used up as it comes
 *            | bytes come
 *            `-> EAGER -> a step -> HUNGRY
 *
 * So whoever was lent something can end without anybody else's doing, and then the next one gets
 * it; and of those that wait, who sends nothing holds nothing. A body of unknown length goes by
 * steps only. When there is no room for these one stream after the other is favoured: it is lent
 * the whole beyond all that. Where next to nothing comes of a stream that might send, and others
 * wait, it is reset; so is in the end any request of which nothing comes, and any answer of which
 * nothing is read (unless they rest by their nature: exchange.open_ended).
 */
#include "etcd-server/doors/http2_internal.h"

#include "common/base/limits.h"

#include <stdio.h>

/* A body of which only the client knows how long it is. */
static bool unsure(const struct http2_stream *stream)
{
    return stream->state == HTTP2_BODY && !stream->length_known;
}

/* What the message that comes takes, all in all; 0: not known, or it has come. */
static size_t wanted(const struct http2_stream *stream)
{
    const struct exchange *exchange = &stream->exchange;

    if (unsure(stream))
        return buf_used(&stream->body) > stream->http2->window_bytes / 2 ? JSON_BODY_MAX_BYTES + 1
                                                                         : 0;
    if (stream->state == HTTP2_BODY)
        return (size_t)MIN(stream->length, JSON_BODY_MAX_BYTES + 1);
    return stream->pieces && stream->state != HTTP2_DONE &&
                   stream->untaken_bytes < exchange->wants_bytes
               ? exchange->wants_bytes
               : 0;
}

/* Of that message. */
static size_t come(const struct http2_stream *stream)
{
    return stream->untaken_bytes + buf_used(&stream->body);
}

static bool may_send(const struct http2_stream *stream)
{
    return !stream->http2->settled || stream->used_bytes + come(stream) < stream->allowed;
}

static bool some_wait(const struct http2 *http2)
{
    return !ring_empty(&http2->hungry) || !ring_empty(&http2->eager);
}

static void allow(struct http2_stream *stream, uint64_t bytes)
{
    stream->allowed += bytes;
    if (nghttp2_submit_window_update(stream->http2->session, NGHTTP2_FLAG_NONE, stream->id,
                                     (int32_t)MIN(bytes, INT32_MAX)) != 0)
        http2_fail(stream->http2);
}

/* ---- loans and steps ---- */

static void pay_back(struct http2_stream *stream, size_t bytes)
{
    struct http2 *http2 = stream->http2;
    size_t lent = MIN(bytes, stream->lent_bytes), step = MIN(bytes - lent, stream->step_bytes);

    if (lent + step == 0)
        return;
    stream->lent_bytes -= lent;
    if (http2->favoured != stream)
        http2->lent_bytes -= lent;
    else if (lent != 0 && stream->lent_bytes == 0)
        http2->favoured = NULL;
    stream->step_bytes -= step;
    http2->step_bytes -= step;
    if (some_wait(http2))
        http2_touch(http2);
}

static void pay_all_back(struct http2_stream *stream)
{
    pay_back(stream, stream->lent_bytes + stream->step_bytes);
}

/* The rest of the message, whole. */
static void lend(struct http2_stream *stream, size_t bytes)
{
    struct http2 *http2 = stream->http2;
    uint64_t end = stream->used_bytes + wanted(stream);

    pay_back(stream, stream->step_bytes);
    ring_remove(&stream->flow);
    ring_remove(&stream->eager);
    stream->lent_bytes = bytes;
    stream->in_ms = http2->link->clock->now_ms;
    if (http2->favoured != stream)
        http2->lent_bytes += bytes;
    if (end > stream->allowed)
        allow(stream, end - stream->allowed);
}

static size_t needed(const struct http2_stream *stream)
{
    size_t bytes = wanted(stream);

    return bytes - MIN(bytes, stream->http2->window_bytes);
}

/* From what all share; false: there is no room. */
static bool lend_shared(struct http2_stream *stream)
{
    struct http2 *http2 = stream->http2;
    size_t bytes = needed(stream);

    if (http2->lent_bytes != 0 && http2->lent_bytes + bytes > HTTP2_LENT_MAX_BYTES)
        return false;
    lend(stream, bytes);
    return true;
}

static bool favour(struct http2_stream *stream)
{
    if (stream->http2->favoured != NULL)
        return false;
    if (needed(stream) != 0)
        stream->http2->favoured = stream;
    lend(stream, needed(stream));
    return true;
}

/* Let it go on; false: there is no room. */
static bool step(struct http2_stream *stream)
{
    struct http2 *http2 = stream->http2;
    uint64_t end = stream->used_bytes + wanted(stream), at = stream->used_bytes + come(stream);
    uint64_t to = MIN(end, at + MIN(come(stream), HTTP2_STEP_BYTES));
    uint64_t bytes = to - MIN(to, stream->allowed);

    if (http2->step_bytes + bytes > HTTP2_STEPS_MAX_BYTES)
        return false;
    ring_remove(&stream->eager);
    if (bytes < HTTP2_STEP_BYTES / 16 && to != end) /* not worth a frame yet */
        return true;
    stream->step_bytes += bytes;
    stream->in_ms = http2->link->clock->now_ms;
    http2->step_bytes += bytes;
    if (bytes != 0)
        allow(stream, bytes);
    return true;
}

/* A message that the window unasked for would hold, but what is left of it does not. */
static void top_up(struct http2_stream *stream)
{
    if (stream->used_bytes + wanted(stream) <= stream->allowed)
        return;
    allow(stream, stream->used_bytes + stream->http2->window_bytes - stream->allowed);
    http2_touch(stream->http2);
}

/* Does it need more than it may send, in the end? It waits for that from the time on when half of
 * what it may send has come: who was lent something has shown that it sends. */
static void look_at_need(struct http2_stream *stream)
{
    struct http2 *http2 = stream->http2;

    if (stream->lent_bytes != 0 || stream->client_ended)
        return;
    if (wanted(stream) <= http2->window_bytes) {
        top_up(stream);
        return;
    }
    if (2 * (stream->used_bytes + come(stream)) < stream->used_bytes + stream->allowed)
        return;
    if (!unsure(stream))
        ring_add(&http2->hungry, &stream->flow);
    ring_add(&http2->eager, &stream->eager);
    http2_touch(http2);
}

void http2_came(struct http2_stream *stream, size_t bytes)
{
    struct http2 *http2 = stream->http2;
    bool holds = stream->lent_bytes + stream->step_bytes != 0;

    stream->fresh_bytes += bytes;
    if (stream->fresh_bytes >=
        (holds && http2->waited ? HTTP2_LENT_LEAST_BYTES : BODY_LEAST_BYTES)) {
        stream->fresh_bytes = 0;
        stream->in_ms = http2->link->clock->now_ms;
    }
    if (holds)
        http2->fresh_bytes += bytes;
    if (http2->fresh_bytes >= HTTP2_LENT_PACE_BYTES) {
        http2->fresh_bytes = 0;
        http2->in_ms = http2->link->clock->now_ms;
    }
    if (stream->pieces && wanted(stream) == 0) /* it is here; what it waits for is not the client */
        pay_all_back(stream);
    look_at_need(stream);
}

/* ---- the window unasked ---- */

/* All streams have the difference as soon as the client has taken it: RFC 9113 6.9.2. */
static void set_window(struct http2 *http2, uint32_t bytes)
{
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, bytes};
    uint32_t before = http2->window_bytes, taken = before - MIN(bytes, before);

    http2->window_bytes = bytes;
    http2->window_ms = http2->link->clock->now_ms;
    http2->settled = false;
    if (nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, &window, 1) != 0)
        http2_fail(http2);
    for (struct ring *at = http2->all.next; at != &http2->all; at = at->next) {
        struct http2_stream *stream = CONTAINER_OF(at, struct http2_stream, all);

        stream->allowed = stream->allowed + bytes - before;
        if (stream->lent_bytes != 0 && taken != 0) { /* it was promised the whole */
            stream->lent_bytes += taken;
            if (http2->favoured != stream)
                http2->lent_bytes += taken;
            allow(stream, taken);
        } else {
            look_at_need(stream);
        }
    }
}

static void choose_window(struct http2 *http2)
{
    bool wide = http2->window_bytes == HTTP2_WIDE_WINDOW_BYTES;

    if (wide && http2->incomplete > HTTP2_WIDE_STREAMS_MAX)
        set_window(http2, HTTP2_NARROW_WINDOW_BYTES);
    else if (!wide && http2->incomplete <= HTTP2_WIDE_STREAMS_MAX / 4 &&
             http2->link->clock->now_ms >= http2->window_ms + HTTP2_WINDOW_KEEP_MS)
        set_window(http2, HTTP2_WIDE_WINDOW_BYTES);
}

void http2_lend(struct http2 *http2)
{
    uint64_t now_ms = http2->link->clock->now_ms;
    bool waited = http2->waited;

    if (http2->settled && !http2->failed)
        choose_window(http2);
    while (http2->settled && !http2->failed && !ring_empty(&http2->hungry))
        if (!lend_shared(CONTAINER_OF(http2->hungry.next, struct http2_stream, flow)))
            break;
    while (http2->settled && !http2->failed && !ring_empty(&http2->eager)) {
        struct http2_stream *stream = CONTAINER_OF(http2->eager.next, struct http2_stream, eager);

        if (!step(stream) && !favour(stream))
            break;
    }
    http2->waited = some_wait(http2);
    if (http2->waited && !waited)
        http2_look_by(http2, now_ms); /* maybe somebody stalls for long already */
    else if (http2->waited || http2->incomplete != 0 || http2->unread_bytes != 0)
        http2_look_by(http2, now_ms + HTTP2_LENT_STALL_MS);
}

void http2_settled(struct http2 *http2)
{
    http2->settled = true;
    http2_touch(http2);
}

void http2_flow_over(struct http2_stream *stream)
{
    pay_all_back(stream);
    ring_remove(&stream->flow);
    ring_remove(&stream->eager);
}

void http2_used_up(struct http2_stream *stream, size_t bytes)
{
    uint64_t open;

    stream->used_bytes += bytes;
    if (stream->untaken_bytes == 0) /* maybe it needed less than was thought */
        pay_all_back(stream);
    else
        pay_back(stream, bytes);
    if (!stream->exchange.open_ended || stream->client_ended)
        return; /* that was the only message */
    open = stream->used_bytes + stream->http2->window_bytes;
    if (open < stream->allowed + stream->http2->window_bytes / 2)
        return;
    allow(stream, open - stream->allowed);
    http2_touch(stream->http2);
}

void http2_padding(struct http2_stream *stream, size_t bytes)
{
    if (bytes == 0 || stream->client_ended || stream->state == HTTP2_DONE)
        return;
    stream->used_bytes += bytes;
    allow(stream, bytes);
}

/* ---- deadlines ---- */

void http2_look_by(struct http2 *http2, uint64_t at_ms)
{
    if (http2->look_ms != 0 && http2->look_ms <= at_ms)
        return;
    http2->look_ms = at_ms;
    http2_set_wake(http2);
}

/* When the client must have sent more of the request; 0: it need not. */
static uint64_t in_by_ms(const struct http2_stream *stream)
{
    const struct http2 *http2 = stream->http2;
    bool holds = stream->lent_bytes + stream->step_bytes != 0;
    uint64_t end_ms = stream->in_ms + BODY_TIMEOUT_MS;

    if (stream->exchange.open_ended) { /* it must end the message that it has begun */
        if (!holds || stream->untaken_bytes >= stream->exchange.wants_bytes)
            return 0;
    } else if (!stream->incomplete) {
        return 0;
    }
    if (holds ? !may_send(stream)
              : !(ring_empty(&stream->flow) && ring_empty(&stream->eager)) && http2->settled)
        return 0; /* it is our turn */
    if (!holds || !some_wait(http2))
        return end_ms;
    return MIN(MAX(stream->in_ms, http2->in_ms) + HTTP2_LENT_STALL_MS, /* one after the other? */
               end_ms);
}

/* When the client must have read more of the answer; 0: it need not. */
static uint64_t out_by_ms(const struct http2_stream *stream)
{
    bool waits = buf_used(&stream->out) != 0 || stream->pull_left != 0;

    return waits && !stream->exchange.open_ended ? stream->out_ms + WRITE_STALL_TIMEOUT_MS : 0;
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms == 0 || (b_ms != 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static void note(struct http2 *http2, const char *what, size_t streams, uint64_t limit_ms)
{
    char text[64];

    if (streams == 0 || http2->link->note == NULL)
        return;
    (void)snprintf(text, sizeof(text), "%zu streams, for %" PRIu64 " s", streams, limit_ms / 1000);
    http2->link->note(http2->link, what, text);
}

void http2_look(struct http2 *http2)
{
    uint64_t now_ms = http2->link->clock->now_ms, next_ms = 0;
    size_t lent = 0, silent = 0, unread = 0;
    struct ring *next;

    http2->look_ms = 0;
    for (struct ring *at = http2->all.next; at != &http2->all && !http2->failed; at = next) {
        struct http2_stream *stream = CONTAINER_OF(at, struct http2_stream, all);
        uint64_t in_ms = in_by_ms(stream), out_ms = out_by_ms(stream);

        next = at->next;
        if (in_ms != 0 && in_ms <= now_ms && stream->state == HTTP2_HEAD) {
            http2_fail(http2); /* half a head: nothing else can come */
        } else if (in_ms != 0 && in_ms <= now_ms) {
            bool again =
                stream->lent_bytes + stream->step_bytes != 0 && !stream->exchange.open_ended;

            silent += !again;
            lent += again;
            http2_drop(stream, again ? NGHTTP2_REFUSED_STREAM : NGHTTP2_CANCEL);
        } else if (out_ms != 0 && out_ms <= now_ms) {
            unread++;
            http2_drop(stream, NGHTTP2_ENHANCE_YOUR_CALM);
        } else {
            next_ms = earlier(next_ms, earlier(in_ms, out_ms));
        }
    }
    note(http2, "reset requests of which nothing came while others waited", lent,
         HTTP2_LENT_STALL_MS);
    note(http2, "reset requests of which nothing came", silent, BODY_TIMEOUT_MS);
    note(http2, "reset answers of which the client read nothing", unread, WRITE_STALL_TIMEOUT_MS);
    if (next_ms != 0)
        http2_look_by(http2, next_ms);
}
