/*
 * toy_link.h - a connection without a socket: what net.c does for a door, by hand and with a clock
 * of its own. Static functions: include it once per program.
 */
#ifndef TESTS_LIB_TOY_LINK_H
#define TESTS_LIB_TOY_LINK_H

#include "common/base/limits.h"
#include "etcd-server/doors/http1.h"
#include "etcd-server/doors/http2.h"
#include "etcd-server/doors/port.h"

struct toy_link {
    struct link link;
    struct link_clock clock;
    struct http1_door http1;
    struct http2_door *http2; /* owned; NULL: the port has HTTP/1 only */
    struct port port;
    struct link_door door;
    struct buf pending; /* not taken by the door */
    struct buf got;     /* everything sent so far */
    struct buf notes;   /* for the log: lines */
};

static inline void toy_changed(struct link *link)
{
    (void)link;
}

static inline void toy_note(struct link *link, const char *what, const char *how_much)
{
    struct toy_link *toy = CONTAINER_OF(link, struct toy_link, link);

    buf_printf(&toy->notes, "%s: %s\n", what, how_much);
}

static inline void toy_link_begin(struct toy_link *toy, struct exchange_handler handler)
{
    *toy = (struct toy_link){.clock = {.now_ms = 1000, .unix_s = 1795320000}};
    buf_init(&toy->pending, BUF_UNLIMITED);
    buf_init(&toy->got, BUF_UNLIMITED);
    buf_init(&toy->notes, BUF_UNLIMITED);
    toy->link = (struct link){.changed = toy_changed,
                              .note = toy_note,
                              .clock = &toy->clock,
                              .remote = "toy",
                              .protocol = "",
                              .out = BUF_INIT(HTTP_OUT_MAX_BYTES)};
    http1_door_init(&toy->http1, handler);
}

static inline void toy_link_open(struct toy_link *toy, struct exchange_handler handler)
{
    toy_link_begin(toy, handler);
    toy->door = http1_link_door(&toy->http1);
    link_pass(&toy->link, &toy->door);
}

/* A port with both framings, and gRPC. */
static inline void toy_port_open(struct toy_link *toy, struct exchange_handler handler,
                                 struct exchange_handler grpc)
{
    struct http2_config config = {.http = handler,
                                  .grpc = grpc,
                                  .max_streams = UINT32_MAX,
                                  .window_bytes = 4 * MIB,
                                  .ping_min_ms = 5000,
                                  .ping_interval_ms = 7200000,
                                  .ping_timeout_ms = 20000};

    toy_link_begin(toy, handler);
    toy->http2 = http2_door_new(&config);
    toy->port =
        (struct port){.http1 = http1_link_door(&toy->http1), .http2 = http2_link_door(toy->http2)};
    toy->door = port_link_door(&toy->port);
    link_pass(&toy->link, &toy->door);
}

static inline void toy_link_close(struct toy_link *toy)
{
    if (toy->link.door != NULL)
        toy->link.serves->close(&toy->link);
    http2_door_free(toy->http2);
    link_out_free(&toy->link);
    buf_free(&toy->pending);
    buf_free(&toy->got);
    buf_free(&toy->notes);
}

static inline void toy_link_offer(struct toy_link *toy)
{
    if (buf_used(&toy->pending) != 0)
        buf_consume(&toy->pending, toy->link.serves->input(&toy->link, buf_slice(&toy->pending)));
}

static inline void toy_link_feed(struct toy_link *toy, struct slice bytes)
{
    buf_append_slice(&toy->pending, bytes);
    toy_link_offer(toy);
}

static inline void toy_link_text(struct toy_link *toy, const char *text)
{
    toy_link_feed(toy, slice_text(text));
}

/* The client reads at most `bytes`. */
static inline void toy_link_read(struct toy_link *toy, size_t bytes)
{
    struct slice next[3];

    while (bytes != 0 && link_next(&toy->link, next, ARRAY_LEN(next)) != 0) {
        size_t size = MIN(bytes, next[0].size);

        buf_append_slice(&toy->got, slice_of(next[0].data, size));
        link_sent(&toy->link, size);
        bytes -= size;
    }
    if (toy->link.drained_wanted && link_waiting(&toy->link) <= HTTP_OUT_LOW_BYTES) {
        toy->link.drained_wanted = false;
        toy->link.serves->drained(&toy->link);
    }
}

/* A turn in which the client reads everything. False: nothing is left to do. */
static inline bool toy_link_turn(struct toy_link *toy)
{
    bool worked = link_waiting(&toy->link) != 0 || toy->link.drained_wanted;

    toy_link_read(toy, SIZE_MAX);
    if (toy->link.close)
        return worked;
    if (toy->link.again) {
        toy->link.again = false;
        toy->link.serves->again(&toy->link);
        worked = true;
    }
    if (toy->link.phase != LINK_BUSY && buf_used(&toy->pending) != 0) {
        toy_link_offer(toy);
        worked = true;
    }
    return worked;
}

static inline void toy_link_at(struct toy_link *toy, uint64_t now_ms)
{
    toy->clock.now_ms = now_ms;
    if (toy->link.wake_ms != 0 && toy->link.wake_ms <= now_ms)
        toy->link.serves->wake(&toy->link);
}

/* Everything sent until nothing moves; then forgotten by toy_link_forget(). */
static inline const char *toy_link_answer(struct toy_link *toy)
{
    while (toy_link_turn(toy))
        continue;
    return buf_text(&toy->got);
}

static inline void toy_link_forget(struct toy_link *toy)
{
    buf_reset(&toy->got);
}

#endif
