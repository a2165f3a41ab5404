/*
 * peer_wire.c - see peer_wire.h.
 *
 *   request, out -> [tls_session] -> socket -> [tls_session] -> peer_wire_take()
 */
#include "etcd-server/host/peer_wire.h"

#include "etcd-server/host/loop.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

void peer_wire_init(struct peer_wire *wire, uint8_t *scratch)
{
    *wire = (struct peer_wire){.fd = -1, .scratch = scratch};
    buf_init(&wire->request, BUF_UNLIMITED); /* bounded by who asks */
    buf_init(&wire->out, BUF_UNLIMITED);
}

void peer_wire_close(struct peer_wire *wire)
{
    tls_session_free(wire->session);
    wire->session = NULL;
    if (wire->fd >= 0)
        (void)close(wire->fd);
    wire->fd = -1;
    wire->plain = SLICE_EMPTY;
    buf_reset(&wire->out);
}

void peer_wire_fini(struct peer_wire *wire)
{
    peer_wire_close(wire);
    buf_free(&wire->request);
    buf_free(&wire->out);
}

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* ---- in ---- */

enum peer_wire_result peer_wire_read(struct peer_wire *wire, struct err *err)
{
    uint8_t *room = wire->scratch;
    size_t room_bytes = PEER_SCRATCH_BYTES;
    ssize_t got;

    if (wire->session != NULL) {
        room = tls_session_input_room(wire->session, &room_bytes);
        must(room != NULL); /* everything is read out of the session at once */
    }
    got = read(wire->fd, room, room_bytes);
    if (got < 0 && would_block(errno))
        return PEER_WIRE_AGAIN;
    if (got <= 0) {
        err_set(err, ERR_NET, "%s", got < 0 ? strerror(errno) : "the connection was closed");
        if (wire->session != NULL && tls_session_open(wire->session))
            tls_session_input_end(wire->session);
        return PEER_WIRE_CLOSED;
    }
    wire->moved_ms = loop_now_ms();
    if (wire->session != NULL)
        tls_session_input_advance(wire->session, (size_t)got);
    else
        wire->plain = slice_of(room, (size_t)got);
    return PEER_WIRE_BYTES;
}

enum peer_wire_result peer_wire_take(struct peer_wire *wire, struct slice *bytes, struct err *err)
{
    size_t got = 0;

    if (wire->session == NULL) {
        if (wire->plain.size == 0)
            return PEER_WIRE_AGAIN;
        *bytes = wire->plain;
        wire->plain = SLICE_EMPTY;
        return PEER_WIRE_BYTES;
    }
    switch (tls_session_read(wire->session, wire->scratch, PEER_SCRATCH_BYTES, &got, err)) {
    case TLS_OK:
        *bytes = slice_of(wire->scratch, got);
        return PEER_WIRE_BYTES;
    case TLS_AGAIN:
        return PEER_WIRE_AGAIN;
    case TLS_EOF:
        err_set(err, ERR_NET, "the connection was closed");
        return PEER_WIRE_CLOSED;
    case TLS_ERROR:
        return PEER_WIRE_FAILED;
    }
    return PEER_WIRE_FAILED;
}

/* ---- out ---- */

struct slice peer_wire_unsent(const struct peer_wire *wire)
{
    if (wire->request_sent < wire->request.size)
        return slice_of(wire->request.data + wire->request_sent,
                        wire->request.size - wire->request_sent);
    return buf_slice(&wire->out);
}

static void plain_sent(struct peer_wire *wire, size_t bytes)
{
    if (wire->request_sent < wire->request.size)
        wire->request_sent += bytes;
    else
        buf_consume(&wire->out, bytes);
}

/* What the socket took; negative: it is broken. */
static ssize_t send_some(struct peer_wire *wire, struct slice bytes)
{
    ssize_t sent;

    if (bytes.size == 0)
        return 0;
    sent = send(wire->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
    if (sent < 0)
        return would_block(errno) ? 0 : -1;
    if (sent > 0)
        wire->moved_ms = loop_now_ms();
    return sent;
}

bool peer_wire_write(struct peer_wire *wire, bool speak)
{
    struct err err = ERR_INIT; /* told by who reads */
    struct slice bytes;
    size_t taken;
    ssize_t sent;

    do {
        bytes = speak ? peer_wire_unsent(wire) : SLICE_EMPTY;
        if (wire->session == NULL) {
            sent = send_some(wire, bytes);
            plain_sent(wire, (size_t)MAX(sent, 0));
            continue;
        }
        if (bytes.size != 0) {
            if (tls_session_write(wire->session, bytes, &taken, &err) == TLS_ERROR)
                return false;
            plain_sent(wire, taken);
        }
        bytes = tls_session_output(wire->session);
        sent = send_some(wire, bytes);
        tls_session_output_sent(wire->session, (size_t)MAX(sent, 0));
    } while (sent > 0 && (size_t)sent == bytes.size);
    return sent >= 0;
}

bool peer_wire_waits(const struct peer_wire *wire, bool speak)
{
    if (wire->session != NULL && tls_session_output(wire->session).size != 0)
        return true;
    return speak && peer_wire_unsent(wire).size != 0;
}
