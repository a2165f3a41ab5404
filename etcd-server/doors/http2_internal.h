/*
 * http2_internal.h - what http2.c (connection, input, output), http2_stream.c (one request),
 * http2_head.c (rules for headers), http2_answer.c (what an exchange's ops do) and http2_flow.c
 * (windows, deadlines) share. nghttp2 is known here and nowhere else. Thread: core.
 */
#ifndef ETCD_SERVER_DOORS_HTTP2_INTERNAL_H
#define ETCD_SERVER_DOORS_HTTP2_INTERNAL_H

#include "etcd-server/doors/http2.h"

#include <nghttp2/nghttp2.h>

/* A list through its members: an empty one, and a member of none, points to itself. */
struct ring {
    struct ring *next, *previous;
};

static inline void ring_init(struct ring *ring)
{
    ring->next = ring->previous = ring;
}

static inline bool ring_empty(const struct ring *ring)
{
    return ring->next == ring;
}

static inline void ring_remove(struct ring *member)
{
    member->previous->next = member->next;
    member->next->previous = member->previous;
    ring_init(member);
}

/* At the end, unless it is in a ring already. */
static inline void ring_add(struct ring *ring, struct ring *member)
{
    if (!ring_empty(member))
        return;
    member->next = ring;
    member->previous = ring->previous;
    ring->previous->next = member;
    ring->previous = member;
}

/* Move all members of `from` to the empty `to`. */
static inline void ring_move(struct ring *from, struct ring *to)
{
    ring_init(to);
    if (ring_empty(from))
        return;
    *to = *from;
    to->next->previous = to;
    to->previous->next = to;
    ring_init(from);
}

/*
 *   HEAD -> BODY -> BUSY -> BEGUN -> DONE
 *     `------------^  `--------------^        no BODY in pieces; a whole answer no BEGUN
 *   any -> DONE       refused, or reset
 */
enum http2_state {
    HTTP2_HEAD,  /* headers come */
    HTTP2_BODY,  /* the body is collected */
    HTTP2_BUSY,  /* the handler has it */
    HTTP2_BEGUN, /* the handler has it, the head of the answer is out */
    HTTP2_DONE,  /* nothing more comes from the handler */
};

struct http2_span {
    uint32_t name_at, name_size, value_at, value_size; /* in `head` */
};

enum http2_verdict { HTTP2_KEEP, HTTP2_IGNORE, HTTP2_MALFORMED }; /* on a header */

struct http2_stream {
    struct exchange exchange;
    struct http2 *http2;                         /* borrowed */
    struct http2_stream *next_spare;             /* in door->spare */
    struct ring all, turn, held, waiting, timed; /* in the rings of the connection */
    struct ring flow, eager;                     /* in `hungry`, in `eager` */
    enum http2_state state;
    int32_t id;
    bool grpc;
    bool pieces;         /* the handler takes the body as it comes */
    bool client_ended;   /* the request is complete */
    bool incomplete;     /* it is not, nor was an answer begun: one of http2->incomplete */
    bool deferred;       /* nghttp2 waits for output of this stream */
    bool out_ended;      /* `out` will not grow any more */
    bool too_large;      /* the body is longer than we take */
    bool length_known;   /* content-length */
    uint64_t length;     /* ... says so */
    uint64_t got_bytes;  /* of the body, so far */
    unsigned head_seen;  /* http2_head.c's */
    bool malformed;      /* its head, or its trailers */
    uint64_t allowed;    /* bytes of the body that the client may send, from the first on ... */
    uint64_t used_bytes; /* ... of which so many are used up */
    size_t lent_bytes;   /* beyond what every stream may send ... */
    size_t step_bytes;   /* ... while it is not lent the whole */
    uint64_t in_ms;     /* when it came, or was lent something, or last BODY_LEAST_BYTES had come */
    size_t fresh_bytes; /* ... and since then so many */
    size_t out_fresh_bytes; /* sent since out_ms */
    uint64_t out_ms;        /* since when output waits of which not enough was sent */
    unsigned refused;       /* status the head is refused with; 0 = none */
    uint64_t wake_at_ms;
    size_t head_bytes;             /* of all headers that came, also those not kept */
    struct buf head;               /* names and values */
    struct http2_span *spans;      /* owned, span_capacity */
    struct exchange_field *fields; /* owned, span_capacity */
    uint32_t span_count, span_capacity;
    struct buf body;
    size_t untaken_bytes; /* given to data(), not yet used up */
    struct buf out;       /* of the answer, not yet framed */
    uint64_t pull_left;   /* behind `out`: what exchange->pull still has to give */
    size_t held_bytes;    /* memory that the pulling holds */
    struct buf trailers;  /* lines; empty: none */
};

struct http2 {
    struct http2_door *door;  /* borrowed */
    struct link *link;        /* borrowed */
    nghttp2_session *session; /* owned */
    struct ring all;          /* every stream */
    struct ring turns;        /* their handlers want a turn */
    struct ring held;         /* have output that the link does not take now */
    struct ring waiting;      /* their handlers wait for drained() */
    struct ring timed;        /* have a wake_at_ms */
    struct ring hungry;       /* need more than the window; the oldest first */
    struct ring eager; /* of these, and those of unknown length: some came since the last step */
    size_t lent_bytes; /* of all streams */
    size_t step_bytes; /* likewise */
    struct http2_stream *favoured; /* lent the whole beyond all that; NULL: none is */
    bool waited;                   /* after the last turn there was not enough for all */
    bool settled;                  /* the client knows our settings */
    uint32_t window_bytes;         /* what these let every stream send */
    uint64_t window_ms;            /* since when */
    size_t fresh_bytes;  /* that came of those which have a loan or a step, since in_ms ... */
    uint64_t in_ms;      /* ... when it had been HTTP2_LENT_PACE_BYTES */
    uint64_t look_ms;    /* when to look for streams that wait too long; 0 = nothing waits */
    size_t unread_bytes; /* of all `out` together, and what is held to be pulled */
    size_t incomplete;   /* streams whose requests are */
    size_t body_bytes;   /* of all bodies not yet used up */
    bool failed;         /* the session cannot go on; only closing is left */
    bool draining;
    bool stopped;         /* input is not taken: too much waits to be sent */
    uint64_t wake_at_ms;  /* not after the earliest wake_at_ms of a stream; 0 = none */
    uint64_t input_ms;    /* last time something came */
    uint64_t ping_end_ms; /* our ping must be answered by then; 0 = none is out */
    uint64_t pinged_ms;   /* last ping of the client */
    unsigned strikes;     /* pings that came too early */
    bool answered;        /* HEADERS or DATA were sent since the last ping */
    uint64_t control_ms;  /* when `control` was last filled */
    uint64_t control;     /* control frames the client may send now */
};

struct http2_door {
    struct http2_config config;
    nghttp2_session_callbacks *callbacks; /* owned */
    nghttp2_option *option;               /* owned */
    struct http2_stream *spare;           /* ended streams with their memory */
    size_t spare_count;
};

/* The request is complete, answered, or over. */
static inline void http2_complete(struct http2_stream *stream)
{
    stream->http2->incomplete -= stream->incomplete;
    stream->incomplete = false;
}

/* Has its handler got it, and not yet ended it? */
static inline bool http2_busy(const struct http2_stream *stream)
{
    return stream->state == HTTP2_BUSY || stream->state == HTTP2_BEGUN;
}

/* ---- http2.c ---- */

/* Ask to be called when the turn ends: there is something to send. */
void http2_touch(struct http2 *http2);
/* Nothing can be done for this connection any more. */
void http2_fail(struct http2 *http2);
/* Earliest of what the streams and the pings wait for. */
void http2_set_wake(struct http2 *http2);

/* ---- http2_stream.c ---- */

/* A stream whose first HEADERS frame begins; in http2->all, owned by it. */
struct http2_stream *http2_stream_new(struct http2 *http2, int32_t id);
/* nghttp2 has closed it, or the connection ends: its handler is told, its memory is spare. */
void http2_stream_close(struct http2_stream *stream);
/* One that is spare, for good. */
void http2_stream_free(struct http2_stream *stream);
/* RST_STREAM with that error, and no word to the handler. */
void http2_reset(struct http2_stream *stream, uint32_t error);
/* Reset it and tell the handler, if one has it. */
void http2_drop(struct http2_stream *stream, uint32_t error);
/* A header of the head or the trailers; false: there are too many, the connection must end. */
bool http2_header_came(struct http2_stream *stream, struct slice name, struct slice value);
/* The first HEADERS frame is whole: start the handler, or wait for the body, or refuse. */
void http2_head_complete(struct http2_stream *stream);
/* A second HEADERS frame is; `ended`: it ends the request, as it must. */
void http2_trailers_complete(struct http2_stream *stream, bool ended);
/* A piece of the body, borrowed. */
void http2_data_came(struct http2_stream *stream, struct slice bytes);
/* Its last frame has come. */
void http2_request_complete(struct http2_stream *stream);

/* ---- http2_flow.c ---- */

/* So many bytes of the request came, maybe 0: may it need a larger window? */
void http2_came(struct http2_stream *stream, size_t bytes);
/* So many that the handler was given are used up. */
void http2_used_up(struct http2_stream *stream, size_t bytes);
/* A DATA frame had so much of it, which counts in windows. */
void http2_padding(struct http2_stream *stream, size_t bytes);
/* The request is complete, or the stream over: what was lent is free for others. */
void http2_flow_over(struct http2_stream *stream);
/* The client has taken our settings, which changed its windows. */
void http2_settled(struct http2 *http2);
/* End of a turn: larger windows for those whose turn it is. */
void http2_lend(struct http2 *http2);
/* Look for streams that waited too long; at the latest at `at_ms`. */
void http2_look(struct http2 *http2);
void http2_look_by(struct http2 *http2, uint64_t at_ms);

/* ---- http2_head.c ---- */

/*
 * One header, of the head or the trailers: is it to be kept? HTTP2_MALFORMED: the stream is reset.
 * seen  what has come so far; 0 before the first
 */
enum http2_verdict http2_head_line(unsigned *seen, struct slice name, struct slice value);
/* After the head's last: is all there that must be? What follows counts as trailers. */
bool http2_head_whole(unsigned *seen);

/* ---- http2_answer.c ---- */

/* The handler is done with it, or it with the handler. */
void http2_done(struct http2_stream *stream);
/* Answer before there is a handler: a status and nothing else. */
void http2_refuse(struct http2_stream *stream, unsigned status);
extern const struct exchange_ops http2_exchange_ops;
/* nghttp2 asks for DATA; and takes it (NGHTTP2_DATA_FLAG_NO_COPY). */
int http2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                    size_t length, nghttp2_data_source *source, void *arg);

#endif
