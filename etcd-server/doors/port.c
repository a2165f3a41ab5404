/*
 * port.c - see port.h. As long as what came is a beginning of the preface, it is kept; the first
 * other byte makes it HTTP/1, the last byte of the preface HTTP/2.
 */
#include "etcd-server/doors/port.h"

static const struct slice preface = SLICE_LITERAL("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

#define PREFACE_BYTES 24

struct first_bytes {
    struct port *port; /* borrowed */
    size_t count;      /* bytes seen, all of them the preface's */
    uint8_t seen[PREFACE_BYTES];
};

static void port_open(void *arg, struct link *link)
{
    struct port *port = arg;
    struct first_bytes *first;

    if (strcmp(link->protocol, "h2") == 0) {
        link_pass(link, &port->http2);
    } else if (strcmp(link->protocol, "http/1.1") == 0) {
        link_pass(link, &port->http1);
    } else {
        first = xalloc(sizeof(*first));
        first->port = port;
        link->door = first;
        link->phase = LINK_IDLE;
        link->phase_ms = link->clock->now_ms;
    }
}

/* Hand everything over to `door`. What was kept is always taken: no request ends within it. */
static size_t pass(struct link *link, const struct link_door *door, struct slice bytes)
{
    struct first_bytes kept = *(struct first_bytes *)link->door;
    struct slice seen = slice_of(kept.seen, kept.count);

    free(link->door);
    link_pass(link, door);
    if (seen.size != 0)
        must(door->input(link, seen) == seen.size);
    return door->input(link, bytes);
}

static size_t port_input(struct link *link, struct slice bytes)
{
    struct first_bytes *first = link->door;
    size_t count = MIN(bytes.size, PREFACE_BYTES - first->count);

    must(preface.size == PREFACE_BYTES);
    if (memcmp(bytes.data, preface.data + first->count, count) != 0)
        return pass(link, &first->port->http1, bytes);
    if (first->count + count == PREFACE_BYTES)
        return pass(link, &first->port->http2, bytes);
    memcpy(first->seen + first->count, bytes.data, count);
    first->count += count;
    link->phase = LINK_HEADER;
    link->changed(link);
    return count;
}

static void port_nothing(struct link *link)
{
    (void)link;
}

static void port_over(struct link *link)
{
    link->close = true;
    link->changed(link);
}

static void port_close(struct link *link)
{
    free(link->door);
    link->door = NULL;
}

struct link_door port_link_door(struct port *port)
{
    return (struct link_door){
        .arg = port,
        .open = port_open,
        .input = port_input,
        .again = port_nothing,
        .drained = port_nothing,
        .wake = port_nothing,
        .ended = port_over,
        .drain = port_over,
        .close = port_close,
    };
}
