/*
 * http1_internal.h - what http1.c (connection, requests), http1_answer.c (what an exchange's ops
 * do) and http1_upgrade.c (WebSocket) share. Thread: core.
 * http-parser is known here and nowhere else.
 */
#ifndef ETCD_SERVER_DOORS_HTTP1_INTERNAL_H
#define ETCD_SERVER_DOORS_HTTP1_INTERNAL_H

#include "etcd-server/doors/http1.h"
#include "etcd-server/doors/websocket.h"

#include <http_parser.h>

enum http1_state {
    HTTP1_IDLE,
    HTTP1_HEAD,
    HTTP1_BODY,
    HTTP1_TAKING, /* the handler is started and gets the body as it comes */
    HTTP1_HELD,   /* ... and has enough of it for now */
    HTTP1_BUSY,
    HTTP1_BEGUN,
    HTTP1_DUPLEX,      /* TAKING and BEGUN at once */
    HTTP1_DUPLEX_HELD, /* HELD and BEGUN at once */
    HTTP1_UPGRADED,    /* the connection speaks WebSocket (http1_upgrade.c) */
    HTTP1_OVER
};

/* The framing of a chunked body (RFC 9112 7.1), up to the last chunk. */
enum chunks_state {
    CHUNKS_NONE,     /* the body has another framing, or its last chunk was seen */
    CHUNKS_HEAD_END, /* the line end of the head is still to come */
    CHUNKS_SIZE,
    CHUNKS_EXTENSION,
    CHUNKS_SIZE_END,
    CHUNKS_DATA,
    CHUNKS_DATA_END,  /* CR */
    CHUNKS_DATA_LAST, /* LF */
};

struct http1_chunks {
    enum chunks_state state;
    unsigned digits; /* of `left`, so far */
    uint64_t left;   /* of the chunk */
};

struct span {
    uint32_t name_at, name_size, value_at, value_size; /* in `head` */
};

struct http1 {
    struct http1_door *door; /* borrowed */
    struct link *link;       /* borrowed */
    enum http1_state state;
    http_parser parser;
    struct exchange exchange;
    uint32_t target_size;       /* the request target is at the front of `head` */
    bool in_value;              /* the last header callback was a value */
    bool complete;              /* message_complete was seen */
    struct http1_chunks chunks; /* of the body */
    bool keep_alive;            /* of the request in work */
    bool draining;              /* no further request */
    bool client_ended;
    bool chunked;        /* the answer begun */
    bool measured;       /* ... its length was told */
    uint64_t left_bytes; /* ... of which so many are to come */
    bool wants_turn;
    bool streams;                   /* the head is there, start the handler now */
    bool upgrade;                   /* the request asks for WebSocket, and may have it */
    bool in_message;                /* WebSocket: a message of ours is begun */
    struct websocket_reader frames; /* WebSocket: what comes */
    size_t open_bytes;              /* of a body in pieces: given and not yet used up */
    size_t fresh_bytes;             /* of a body, since the link's phase_ms */
    unsigned refused;               /* status that a callback refused with; 0 = none */
    const char *cause;              /* why, when it is 400 */
    uint64_t wake_at_ms;            /* the handler's */
    uint64_t grace_until_ms;        /* after the client's end; 0 = none */
    struct buf head;                /* target and headers of the request */
    struct span *spans;             /* owned, span_capacity */
    struct exchange_field *fields;  /* owned, span_capacity */
    uint32_t span_count, span_capacity;
    struct slice borrowed; /* the body when it came in one piece; dies with input() */
    struct buf body;
};

static inline struct http1 *http1_of_exchange(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct http1, exchange);
}

/* Has an answer in pieces been begun? */
static inline bool http1_begun(const struct http1 *http1)
{
    return http1->state == HTTP1_BEGUN || http1->state == HTTP1_DUPLEX ||
           http1->state == HTTP1_DUPLEX_HELD;
}

/* The earlier of what the handler and the client's end wait for. */
static inline void http1_set_wake(struct http1 *http1)
{
    uint64_t a = http1->wake_at_ms, b = http1->grace_until_ms;

    http1->link->wake_ms = a == 0 ? b : b == 0 ? a : MIN(a, b);
}

/* The body was handled, or is not wanted. */
void http1_forget_body(struct http1 *http1);
/* Nothing is read any more; the connection closes when `out` is sent. */
void http1_over(struct http1 *http1);
void http1_set_phase(struct http1 *http1, enum link_phase phase);

extern const struct exchange_ops http1_exchange_ops;
/* Bytes that are no request: an answer made by hand, and the connection closes. */
void http1_refuse(struct http1 *http1, unsigned status, const char *cause);
/* Ops of an exchange that are the same with and without WebSocket. */
bool http1_full(struct exchange *exchange);
void http1_again_later(struct exchange *exchange);
void http1_wake_at(struct exchange *exchange, uint64_t at_ms);

/*
 * What the parser has used up of a body: is it framed as it must be? It takes any bytes for the
 * line end behind a chunk, and line ends in an extension; whoever stands before us may see other
 * requests in those bytes than we do.
 */
bool http1_chunks_good(struct http1_chunks *chunks, struct slice bytes);

/* Does this request, whose head is there, ask for WebSocket where it can be had? */
bool http1_wants_upgrade(const struct http1 *http1);
/* The request is complete: shake hands and start the handler, or refuse. */
void http1_upgrade(struct http1 *http1);
/* What comes on an upgraded connection; as link_door.input. */
size_t http1_upgraded_input(struct http1 *http1, struct slice bytes);
/* There is room in link->out again: what was held back may come. */
void http1_upgraded_drained(struct http1 *http1);

#endif
