/*
 * exchange.h - one HTTP request and its answer, whatever the framing (http1.h, http2.h).
 *
 * The framing makes it when a whole request is there and hands it to the door's handler; the
 * handler answers at once or later:
 *
 *     exchange_answer()                                     a whole answer, or
 *     exchange_begin(), exchange_send()..., exchange_end()  one in pieces, or exchange_abort()
 *
 * After answer, end, abort or gone() the exchange belongs to the framing again and must not be
 * touched.
 *
 * A handler that asked for it (gRPC, or exchange_handler.streams) is started when the head is
 * there, gets the body in pieces through data(), and may answer before that has ended. It can end
 * its answer with trailers, which HTTP/1.0 and an answer of a known length have no place for:
 *
 *     exchange_begin(), exchange_send()..., exchange_trail()
 *     exchange_trail() alone, in HTTP/2: the trailers are the head, nothing else follows
 *
 * and in HTTP/2 a long body may be pulled as the windows open, instead of being sent:
 *
 *     exchange_begin(), exchange_send()..., exchange_pull() -> pull() ..., pulled()
 *     exchange_trail()
 *
 * Thread: core.
 */
#ifndef ETCD_SERVER_DOORS_EXCHANGE_H
#define ETCD_SERVER_DOORS_EXCHANGE_H

#include "common/base/err.h"
#include "etcd-server/host/link.h"

enum exchange_method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_OTHER
};

struct exchange_field {
    struct slice name; /* as sent; compare with exchange_name_is() */
    struct slice value;
};

/* The head of an answer. Everything is borrowed for the call only. */
struct exchange_head {
    unsigned status;          /* 200 */
    const char *content_type; /* NULL: none */
    const char *fields;       /* further lines, each "Name: value\r\n"; NULL: none */
    const char *more_fields;  /* the same once more (what the client door adds); NULL: none */
    uint64_t body_bytes; /* exchange_begin(): all that will be sent, when known; 0: not known */
};

struct exchange;

struct exchange_ops {
    void (*answer)(struct exchange *exchange, const struct exchange_head *head, struct slice body);
    void (*begin)(struct exchange *exchange, const struct exchange_head *head);
    void (*send)(struct exchange *exchange, struct slice bytes);
    void (*end)(struct exchange *exchange);
    void (*abort)(struct exchange *exchange);
    bool (*full)(struct exchange *exchange);
    void (*again)(struct exchange *exchange);
    void (*wake_at)(struct exchange *exchange, uint64_t at_ms);
    void (*taken)(struct exchange *exchange, size_t bytes);
    void (*trail)(struct exchange *exchange, const struct exchange_head *head, const char *fields);
    /* of HTTP/2 only */
    void (*pull)(struct exchange *exchange, uint64_t bytes, size_t held_bytes);
};

struct exchange {
    /* the request: `body` is good during the handler's start() only, the rest until the end; when
     * the body comes in pieces none of it is longer than start() */
    enum exchange_method method;
    struct slice path;  /* as sent, without the query */
    struct slice query; /* without the '?' */
    struct slice host;  /* the Host header, or that of an absolute target */
    const struct exchange_field *fields;
    size_t field_count;
    struct slice body;
    uint64_t body_bytes; /* how long the body is, as far as it is known */
    bool in_pieces;      /* the body comes through data(): exchange_handler.streams said so */
    bool body_too_large; /* longer than JSON_BODY_MAX_BYTES: `body` is empty, the connection ends */

    struct link *link; /* facts of the connection; borrowed */
    const struct exchange_ops *ops;

    /* the handler's: set in start(), the second before exchange_begin() will do ... */
    bool open_ended; /* a conversation: either side may say nothing for as long as it likes */
    bool holds_view; /* the answer, so the client must read VIEW_LEAST_BYTES at a time */
    /* ... and in data(): nothing is used up until so many bytes of the body wait that are not;
     * 0: what is there will do. HTTP/2 opens its windows that far. */
    size_t wants_bytes;

    /* the handler's; each may be NULL */
    void *state;
    const char *common_fields; /* what the client door adds to every head (CORS); NULL: none */
    void (*drained)(struct exchange *exchange); /* send more: exchange_full() was true before */
    void (*turn)(struct exchange *exchange);    /* asked for by exchange_again() */
    void (*wake)(struct exchange *exchange);    /* exchange_wake_at() */
    void (*stop)(struct exchange *exchange);    /* the server stops: end a stream soon */
    void (*gone)(struct exchange *exchange);    /* the client went: drop `state`, do not answer */
    /* A piece of the body, or (`ended`) its end; `bytes` dies with the call. gRPC, and where
     * exchange_handler.streams says so. */
    void (*data)(struct exchange *exchange, struct slice bytes, bool ended);
    /* Asked for by exchange_pull(): write the next `bytes` of the body; all of it is written: end
     * the answer. They may call nothing else of this file. */
    void (*pull)(struct exchange *exchange, uint8_t *out, size_t bytes);
    /* NULL, or: the next of these bytes, at most `most`, where they lie in memory that is shared;
     * the reference is taken. False: pull() it is. */
    bool (*lend)(struct exchange *exchange, size_t most, struct shared_slice *piece);
    void (*pulled)(struct exchange *exchange);
};

static inline void exchange_answer(struct exchange *exchange, const struct exchange_head *head,
                                   struct slice body)
{
    exchange->ops->answer(exchange, head, body);
}

static inline void exchange_begin(struct exchange *exchange, const struct exchange_head *head)
{
    exchange->ops->begin(exchange, head);
}

static inline void exchange_send(struct exchange *exchange, struct slice bytes)
{
    exchange->ops->send(exchange, bytes);
}

static inline void exchange_end(struct exchange *exchange)
{
    exchange->ops->end(exchange);
}

/* Cut the answer so that the client notices: something failed in the middle of it. */
static inline void exchange_abort(struct exchange *exchange)
{
    exchange->ops->abort(exchange);
}

/* More than HTTP_OUT_HIGH_BYTES wait to be sent: stop until drained(). */
static inline bool exchange_full(struct exchange *exchange)
{
    return exchange->ops->full(exchange);
}

/* Call exchange->turn on a later turn of the loop. */
static inline void exchange_again(struct exchange *exchange)
{
    exchange->ops->again(exchange);
}

/* Call exchange->wake at that time of the link's clock; 0 = never. */
static inline void exchange_wake_at(struct exchange *exchange, uint64_t at_ms)
{
    exchange->ops->wake_at(exchange, at_ms);
}

/*
 * End the answer with trailers: lines "name: value\r\n", names in lower case. `head` is for an
 * answer that was not begun, else NULL.
 */
static inline void exchange_trail(struct exchange *exchange, const struct exchange_head *head,
                                  const char *fields)
{
    exchange->ops->trail(exchange, head, fields);
}

/* So many bytes that data() gave have been used up: the client may send as many more. With 0 bytes:
 * look at wants_bytes, which was changed outside data(). */
static inline void exchange_taken(struct exchange *exchange, size_t bytes)
{
    exchange->ops->taken(exchange, bytes);
}

/*
 * Behind what was sent so far the body has `bytes` more, to be had from exchange->pull when they
 * can be sent. `held_bytes`: memory that this holds until then; it counts as unread output.
 */
static inline void exchange_pull(struct exchange *exchange, uint64_t bytes, size_t held_bytes)
{
    exchange->ops->pull(exchange, bytes, held_bytes);
}

/* The value of a header, names compared without case; false when there is none. */
bool exchange_field(const struct exchange *exchange, const char *name, struct slice *value);
bool exchange_name_is(struct slice name, const char *lower_case);
bool exchange_name_starts(struct slice name, const char *lower_case);

bool exchange_path_is(const struct exchange *exchange, const char *path);
/* Has it that method? Else it was answered: exchange_not_allowed(). */
bool exchange_needs(struct exchange *exchange, enum exchange_method method, const char *allow);

/* A text/plain answer as Go's http.Error gives it: `text` and a line end. */
void exchange_text(struct exchange *exchange, unsigned status, const char *text);
void exchange_not_found(struct exchange *exchange);
void exchange_not_allowed(struct exchange *exchange, const char *allow); /* NULL: no Allow */

/* The next `name=value` of a query, percent-decoded by nobody; false at the end. */
bool exchange_next_parameter(struct slice *query, struct slice *name, struct slice *value);

/* Whoever takes requests from a framing. */
struct exchange_handler {
    void *arg;
    void (*start)(void *arg, struct exchange *exchange);
    /*
     * NULL, or: does the handler take the body of this request (its head is there) piece by piece?
     * Then it is started at once and exchange->data() is called, without a limit to the whole; it
     * says exchange_taken(). In HTTP/1 an end of the answer before the body's ends the connection.
     */
    bool (*streams)(void *arg, const struct exchange *exchange);
    /*
     * NULL, or: may this GET become a WebSocket (RFC 6455)? Then it is started as a POST whose
     * body, in pieces, is what the client's messages hold, with a line end behind each; every
     * exchange_send() that ends in a line end is a message of ours, and so is a whole answer.
     */
    bool (*upgrades)(void *arg, const struct exchange *exchange);
};

#endif
