/*
 * link.h - one connection as a codec sees it: bytes in, bytes out, a few wishes. Knows no
 * descriptor. The real one is in net.c; unit tests, fuzzers and the simulator make their own.
 *
 *   net.c                              door (http1.c)
 *   bytes came           -> input()    returns how many it took; the rest is offered again
 *   end of turn, changed <- changed()  something below was set: out grew, close, again, hold, wake
 *
 * A door is never called from inside its own changed(). Thread: core.
 */
#ifndef ETCD_SERVER_HOST_LINK_H
#define ETCD_SERVER_HOST_LINK_H

#include "common/base/buf.h"
#include "common/base/shared.h"

struct link;
struct tls_peer; /* common/tls/tls.h */

/* Time of the current turn. */
struct link_clock {
    uint64_t now_ms; /* monotonic */
    int64_t unix_s;
};

/* What a connection is waiting for: each has its deadline in limits.h. */
enum link_phase {
    LINK_IDLE,   /* IDLE_TIMEOUT_MS since `phase_ms`: between requests */
    LINK_HEADER, /* HEADER_TIMEOUT_MS since `phase_ms` */
    LINK_BODY,   /* BODY_TIMEOUT_MS since the last BODY_LEAST_BYTES */
    LINK_BUSY,   /* our turn: no deadline, but WRITE_STALL_TIMEOUT_MS when output waits */
    LINK_OPEN,   /* input is taken at any time; deadlines are the door's own, save that of output */
};

/* Bytes that are sent from where they lie, behind `before` bytes of `out` that follow the piece
 * before it. */
struct link_piece {
    size_t before;
    struct shared_slice piece; /* a reference; never empty */
};

struct link_lent {
    struct link_piece *all; /* owned; [first, count) wait */
    size_t first, count, capacity;
    size_t bytes;  /* of those that wait */
    size_t before; /* bytes of `out` before the last of them */
};

struct link {
    void (*changed)(struct link *link); /* cheap; may be called often */
    /* A word for the log about this connection: what was done, and how much; NULL: no log */
    void (*note)(struct link *link, const char *what, const char *how_much);
    const struct link_clock *clock; /* borrowed */
    const struct link_door *serves; /* whose connection it is; link_pass() changes it. Borrowed */
    void *door;                     /* the door's object, set by open() */

    /* facts, constant after open() */
    const char *remote;                 /* "127.0.0.1:40312", or "@" for a unix socket; borrowed */
    const char *common_name;            /* CN of a verified client certificate; NULL = none */
    const struct tls_peer *certificate; /* that the client showed; NULL = none; borrowed */
    const char *protocol;               /* what ALPN chose: "h2", "http/1.1"; "" = nothing */
    bool tls;

    /* wishes of the door; call changed() after setting any */
    struct buf out;        /* plaintext to send; the door appends, net.c consumes ... */
    struct link_lent lent; /* ... and what goes between: link_lend() */
    bool close;            /* when `out` was sent */
    bool again;            /* call the door's again() in a later turn */
    uint64_t wake_ms;      /* call the door's wake() at this time; 0 = never */
    enum link_phase phase;
    uint64_t phase_ms;   /* since when, on clock->now_ms */
    bool drained_wanted; /* call drained() at the end of a turn when `out` is below
                          * HTTP_OUT_LOW_BYTES; a door may make its output then and not before */
    bool holds_view;     /* what is sent: less than VIEW_LEAST_BYTES of it is no progress */
};

/* What a door offers; one per listener. */
struct link_door {
    void *arg; /* for open() */
    /* A connection is there (its handshake done). Sets link->door. */
    void (*open)(void *arg, struct link *link);
    /* Bytes came; borrowed for the call. Returns how many were taken: what was not is offered
     * again, with more behind it, after again() was asked for or more has come. */
    size_t (*input)(struct link *link, struct slice bytes);
    void (*again)(struct link *link);   /* asked for by link->again */
    void (*drained)(struct link *link); /* asked for by link->drained_wanted */
    void (*wake)(struct link *link);    /* link->wake_ms has come */
    void (*ended)(struct link *link);   /* the client will send no more */
    void (*drain)(struct link *link); /* the server stops: finish the answer begun, take no more */
    /* It is gone: free link->door. Wishes come too late; afterwards the link must not be used. */
    void (*close)(struct link *link);
};

/* ---- output ---- */

/* Behind all that is in `out` goes `piece`, without a copy; the reference is taken. */
void link_lend(struct link *link, struct shared_slice piece);

/* Bytes that wait to be sent. */
static inline size_t link_waiting(const struct link *link)
{
    return buf_used(&link->out) + link->lent.bytes;
}

/* What is to be sent next, in at most `most` slices (two at least); how many there are. Borrowed
 * until the link changes. */
size_t link_next(const struct link *link, struct slice *slices, size_t most);
void link_sent(struct link *link, size_t bytes); /* of that, from the front */
void link_out_reset(struct link *link);          /* forget it, keep the memory */
void link_out_free(struct link *link);           /* and the memory goes */

/* Give a link to another door, from within the present one's open() or input(); the present door
 * has freed its object. `door` is borrowed until the link's end. */
static inline void link_pass(struct link *link, const struct link_door *door)
{
    link->serves = door;
    link->door = NULL;
    door->open(door->arg, link);
}

#endif
