/*
 * http2_flow.c - how much the streams of a connection may send, and who has waited for too long.
 *
 * Every stream may send HTTP2_STREAM_WINDOW_BYTES unasked: most requests have less. Who needs more
 * for one message is lent the rest of it, whole, from HTTP2_LENT_MAX_BYTES, the oldest first:
 *
 *   wants -> HUNGRY -> LENT -> paid back when the message is there, or used up as it comes
 *
 * So whoever was lent something can end without anybody else's doing, and then the next one gets
 * it. Where nothing at all comes while others wait, who was lent is reset; so is in the end any
 * request of which nothing comes, and any answer of which nothing is read (unless they rest by
 * their nature: exchange.open_ended).
 */
#include "etcd-server/doors/http2_internal.h"

#include "common/base/limits.h"

#include <stdio.h>

/* What the next step of this request takes, all in all; 0: not known, or it has come. */
static size_t wanted(const struct http2_stream *stream)
{
    const struct exchange *exchange = &stream->exchange;

    if (stream->state == HTTP2_BODY) {
        if (stream->length_known)
            return (size_t)MIN(stream->length, JSON_BODY_MAX_BYTES + 1);
        return buf_used(&stream->body) > HTTP2_STREAM_WINDOW_BYTES / 2 ? JSON_BODY_MAX_BYTES + 1
                                                                       : 0;
    }
    return stream->pieces && stream->state != HTTP2_DONE &&
                   stream->untaken_bytes < exchange->wants_bytes
               ? exchange->wants_bytes
               : 0;
}

static void allow(struct http2_stream *stream, uint64_t bytes)
{
    stream->allowed += bytes;
    if (nghttp2_submit_window_update(stream->http2->session, NGHTTP2_FLAG_NONE, stream->id,
                                     (int32_t)MIN(bytes, INT32_MAX)) != 0)
        http2_fail(stream->http2);
}

static void pay_back(struct http2_stream *stream, size_t bytes)
{
    struct http2 *http2 = stream->http2;

    if (bytes == 0)
        return;
    stream->lent_bytes -= bytes;
    http2->lent_bytes -= bytes;
    if (stream->lent_bytes == 0)
        ring_remove(&stream->flow);
    if (!ring_empty(&http2->hungry))
        http2_touch(http2);
}

/* A message that the window unasked for would hold, but what is left of it does not. */
static void top_up(struct http2_stream *stream)
{
    if (stream->used_bytes + wanted(stream) <= stream->allowed)
        return;
    allow(stream, stream->used_bytes + HTTP2_STREAM_WINDOW_BYTES - stream->allowed);
    http2_touch(stream->http2);
}

void http2_came(struct http2_stream *stream, size_t bytes)
{
    struct http2 *http2 = stream->http2;

    stream->fresh_bytes += bytes;
    if (stream->fresh_bytes >= BODY_LEAST_BYTES) {
        stream->fresh_bytes = 0;
        stream->in_ms = http2->in_ms = http2->link->clock->now_ms;
    }
    if (stream->pieces && wanted(stream) == 0) /* it is here; what it waits for is not the client */
        pay_back(stream, stream->lent_bytes);
    if (!ring_empty(&stream->flow) || stream->client_ended)
        return;
    if (wanted(stream) <= HTTP2_STREAM_WINDOW_BYTES) {
        top_up(stream);
        return;
    }
    ring_add(&http2->hungry, &stream->flow);
    http2_touch(http2);
}

void http2_lend(struct http2 *http2)
{
    while (http2->settled && !http2->failed && !ring_empty(&http2->hungry)) {
        struct http2_stream *stream = CONTAINER_OF(http2->hungry.next, struct http2_stream, flow);
        size_t bytes = wanted(stream);

        bytes -= MIN(bytes, HTTP2_STREAM_WINDOW_BYTES);
        if (http2->lent_bytes != 0 && http2->lent_bytes + bytes > HTTP2_LENT_MAX_BYTES)
            break;
        ring_remove(&stream->flow);
        if (bytes == 0)
            continue;
        stream->lent_bytes = bytes;
        stream->in_ms = http2->link->clock->now_ms;
        http2->lent_bytes += bytes;
        ring_add(&http2->lent, &stream->flow);
        if (stream->used_bytes + wanted(stream) > stream->allowed)
            allow(stream, stream->used_bytes + wanted(stream) - stream->allowed);
    }
    if (!ring_empty(&http2->hungry) || http2->incomplete != 0 || http2->unread_bytes != 0)
        http2_look_by(http2, http2->link->clock->now_ms + HTTP2_LENT_STALL_MS);
}

void http2_settled(struct http2 *http2)
{
    http2->settled = true;
    http2_touch(http2);
}

void http2_flow_over(struct http2_stream *stream)
{
    pay_back(stream, stream->lent_bytes);
    ring_remove(&stream->flow);
}

void http2_used_up(struct http2_stream *stream, size_t bytes)
{
    uint64_t open;

    stream->used_bytes += bytes;
    if (stream->untaken_bytes == 0) /* maybe it needed less than was thought */
        pay_back(stream, stream->lent_bytes);
    else
        pay_back(stream, MIN(bytes, stream->lent_bytes));
    if (!stream->exchange.open_ended || stream->client_ended)
        return; /* that was the only message */
    open = stream->used_bytes + HTTP2_STREAM_WINDOW_BYTES;
    if (open < stream->allowed + HTTP2_STREAM_WINDOW_BYTES / 2)
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

    if (stream->exchange.open_ended) { /* it must end the message that it has begun */
        if (stream->lent_bytes == 0 || stream->untaken_bytes >= stream->exchange.wants_bytes)
            return 0;
    } else if (!stream->incomplete) {
        return 0;
    } else if (stream->lent_bytes == 0) { /* is it hungry? Then it is our turn */
        return ring_empty(&stream->flow) || !http2->settled ? stream->in_ms + BODY_TIMEOUT_MS : 0;
    }
    if (ring_empty(&http2->hungry))
        return stream->in_ms + BODY_TIMEOUT_MS;
    return MIN(MAX(stream->in_ms, http2->in_ms) + HTTP2_LENT_STALL_MS, /* one after the other? */
               stream->in_ms + BODY_TIMEOUT_MS);
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
            bool again = stream->lent_bytes != 0 && !stream->exchange.open_ended;

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
