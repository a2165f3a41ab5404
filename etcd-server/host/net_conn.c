/*
 * net_conn.c - one connection. See net.h.
 *
 *   plain:  OPEN
 *   TLS:    FIRST -> HANDSHAKE -> OPEN         -> LINGER -> DEAD
 *
 * In a turn the socket is read once and the door is fed; what the door wishes is noted by
 * changed() and done at the end of the turn, where the connection may also be freed.
 */
#include "etcd-server/host/net_internal.h"

#include "common/base/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PENDING_INPUT_BYTES HTTP_HEADER_MAX_BYTES /* not taken by the door: stop reading */
#define PENDING_INPUT_MAX_BYTES (4 * HTTP_HEADER_MAX_BYTES) /* one more read fits always */
#define KEEP_OUT_BYTES (16 * KIB)                           /* memory an idle connection keeps */
#define SEND_SLICES 64                                      /* of the output, with one call */
#define FLUSH_ROUNDS 8 /* write, ask for more, write ...: then the others have their turn */

static struct net_conn *of_link(struct link *link)
{
    return CONTAINER_OF(link, struct net_conn, link);
}

/* Its output, deadlines and wishes are looked at in the end of the turn. */
static void conn_changed(struct net_conn *conn)
{
    struct net *net = conn->listener->net;

    if (conn->in_changed)
        return;
    conn->in_changed = true;
    conn->next_changed = net->changed;
    net->changed = conn;
}

static void on_changed(struct link *link)
{
    conn_changed(of_link(link));
}

static void on_note(struct link *link, const char *what, const char *how_much)
{
    const struct net_conn *conn = of_link(link);

    log_warn(what, log_str("endpoint", conn->listener->name), log_str("remote-addr", conn->remote),
             log_str("detail", how_much));
}

static void set_state(struct net_conn *conn, enum net_conn_state state)
{
    must(conn->state < state || conn->state == NET_FIRST);
    conn->state = state;
    conn->since_ms = conn->listener->net->clock.now_ms;
}

void net_conn_kill(struct net_conn *conn)
{
    if (conn->state == NET_DEAD)
        return;
    set_state(conn, NET_DEAD);
    conn_changed(conn);
}

static void conn_free(struct net_conn *conn)
{
    struct net *net = conn->listener->net;
    struct net_conn **at;

    conn->in_changed = true; /* no more: what its door wishes while it closes is too late */
    if (conn->link.door != NULL)
        conn->link.serves->close(&conn->link);
    if (conn->in_again) {
        for (at = &net->again; *at != conn; at = &(*at)->next_again)
            continue;
        *at = conn->next_again;
    }
    loop_fd_free(conn->watch);
    loop_timer_free(conn->timer);
    tls_session_free(conn->session);
    (void)close(conn->fd);
    buf_free(&conn->in);
    link_out_free(&conn->link);
    net_conn_gone(conn);
    free(conn);
}

static void rejected(struct net_conn *conn, const char *cause)
{
    log_warn(conn->listener->rejected_message, log_str("remote-addr", conn->remote),
             log_str("error", cause));
}

/* ---- input ---- */

/* The door says how much of `bytes` it takes. */
static size_t feed(struct net_conn *conn, struct slice bytes)
{
    size_t taken = conn->link.serves->input(&conn->link, bytes);

    must(taken <= bytes.size);
    conn_changed(conn);
    return taken;
}

static void feed_pending(struct net_conn *conn)
{
    if (buf_used(&conn->in) == 0)
        return;
    buf_consume(&conn->in, feed(conn, buf_slice(&conn->in)));
    buf_shrink(&conn->in);
}

static void plaintext(struct net_conn *conn, struct slice bytes)
{
    size_t taken = 0;

    if (conn->state != NET_OPEN) /* lingering */
        return;
    if (buf_used(&conn->in) == 0)
        taken = feed(conn, bytes);
    if (taken == bytes.size)
        return;
    if (!buf_append(&conn->in, bytes.data + taken, bytes.size - taken)) {
        net_conn_kill(conn);
        return;
    }
    if (taken == 0 && conn->link.phase != LINK_BUSY)
        feed_pending(conn);
    conn_changed(conn); /* enough may wait: want() stops the reading */
}

static void end_of_input(struct net_conn *conn)
{
    conn->eof = true;
    conn_changed(conn);
    if (conn->state == NET_LINGER)
        net_conn_kill(conn);
}

static void open_door(struct net_conn *conn)
{
    const struct tls_peer *peer;

    set_state(conn, NET_OPEN);
    conn->link.protocol = "";
    if (conn->session != NULL) {
        peer = tls_session_peer(conn->session);
        conn->link.tls = true;
        conn->link.certificate = peer;
        conn->link.protocol = tls_session_alpn(conn->session);
        conn->link.common_name = peer != NULL && peer->cn[0] != '\0' ? peer->cn : NULL;
    }
    link_pass(&conn->link, &conn->listener->door);
}

/* ---- TLS ---- */

static void tls_failed(struct net_conn *conn, const struct err *err)
{
    if (conn->state < NET_OPEN)
        rejected(conn, err->text);
    conn_changed(conn);
    conn->link.close = true; /* when the alert is sent */
    link_out_reset(&conn->link);
    if (conn->state == NET_OPEN) {
        conn->link.serves->close(&conn->link);
        conn->link.door = NULL;
    }
    if (conn->state < NET_LINGER)
        set_state(conn, NET_LINGER);
}

static void tls_advance(struct net_conn *conn)
{
    struct net *net = conn->listener->net;
    enum tls_result result;
    struct err err = ERR_INIT;
    size_t got;

    conn_changed(conn); /* there may be output */
    if (conn->state == NET_HANDSHAKE) {
        result = tls_session_handshake(conn->session, &err);
        if (result == TLS_ERROR || result == TLS_EOF) {
            if (result == TLS_EOF)
                err_set(&err, ERR_TLS, "EOF: the client went during the TLS handshake");
            tls_failed(conn, &err);
        }
        if (result != TLS_OK)
            return;
        open_door(conn);
    }
    while (conn->state == NET_OPEN) {
        result = tls_session_read(conn->session, net->scratch, NET_SCRATCH_BYTES, &got, &err);
        if (result == TLS_OK) {
            plaintext(conn, slice_of(net->scratch, got));
            continue;
        }
        if (result == TLS_EOF)
            end_of_input(conn);
        else if (result == TLS_ERROR)
            tls_failed(conn, &err);
        return;
    }
}

static void tls_begin(struct net_conn *conn)
{
    struct net_listener *listener = conn->listener;
    struct err err = ERR_INIT;

    switch (tls_context_refresh(listener->tls, listener->net->clock.now_ms, &err)) {
    case TLS_REFRESH_SAME:
        break;
    case TLS_REFRESH_LOADED:
        log_info("reloaded TLS files", log_str("endpoint", listener->name),
                 log_str("certificate", tls_context_describe(listener->tls)));
        if (tls_context_note(listener->tls)[0] != '\0')
            log_warn("TLS files are not as usual", log_str("endpoint", listener->name),
                     log_str("note", tls_context_note(listener->tls)));
        break;
    case TLS_REFRESH_BROKEN:
        log_error("cannot use changed TLS files, going on with the old ones",
                  log_str("endpoint", listener->name), log_str("error", err.text));
        break;
    }
    if (tls_session_new(listener->tls, NULL, &conn->session, &err) < 0) {
        rejected(conn, err.text);
        net_conn_kill(conn);
        return;
    }
    set_state(conn, NET_HANDSHAKE);
    conn->since_ms = listener->net->clock.now_ms;
    if (!tls_session_input(conn->session, buf_slice(&conn->in))) {
        net_conn_kill(conn);
        return;
    }
    buf_free(&conn->in);
    tls_advance(conn);
}

/* A plain connection to a port for both. */
static void plain_begin(struct net_conn *conn)
{
    open_door(conn);
    feed_pending(conn);
}

/* The first bytes on a TLS port; are they TLS at all? */
static void first_bytes(struct net_conn *conn, struct slice bytes)
{
    if (!buf_append_slice(&conn->in, bytes)) {
        net_conn_kill(conn);
        return;
    }
    switch (tls_first_bytes(buf_slice(&conn->in))) {
    case TLS_FIRST_MORE:
        return;
    case TLS_FIRST_TLS:
        tls_begin(conn);
        return;
    case TLS_FIRST_HTTP:
        if (conn->listener->plain) {
            plain_begin(conn);
            return;
        }
        rejected(conn, "tls: first record does not look like a TLS handshake: this is plain HTTP "
                       "on an https:// address");
        (void)buf_append_text(&conn->link.out, TLS_PLAIN_HTTP_ANSWER);
        break;
    case TLS_FIRST_OTHER:
        if (conn->listener->plain) { /* its door has words for it */
            plain_begin(conn);
            return;
        }
        rejected(conn, "tls: first record does not look like a TLS handshake");
        break;
    }
    conn->link.close = true;
    set_state(conn, NET_LINGER);
    conn_changed(conn);
}

/* The first bytes on a plain port: a word in the log for those who mixed the schemes up. */
static void check_plain(struct net_conn *conn, struct slice bytes)
{
    if (conn->state == NET_OPEN && conn->link.phase == LINK_IDLE && bytes.data[0] == 0x16 &&
        tls_first_bytes(bytes) == TLS_FIRST_TLS)
        rejected(conn, "a TLS handshake on an http:// address: use http:// or give the server "
                       "a certificate");
}

/* ---- the socket ---- */

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static void handle_read_error(struct net_conn *conn, ssize_t got)
{
    if (got < 0 && would_block(errno))
        return;
    if (got < 0 || conn->state == NET_LINGER) {
        net_conn_kill(conn);
        return;
    }
    if (conn->state == NET_FIRST) {
        if (buf_used(&conn->in) != 0)
            rejected(conn, "EOF: the client went before its TLS handshake");
        net_conn_kill(conn);
        return;
    }
    if (conn->session == NULL) {
        end_of_input(conn);
        return;
    }
    tls_session_input_end(conn->session);
    tls_advance(conn);
    if (!conn->eof)
        end_of_input(conn);
}

static void read_ready(struct net_conn *conn)
{
    struct net *net = conn->listener->net;
    uint8_t *room = net->scratch;
    size_t room_bytes = NET_SCRATCH_BYTES;
    bool sealed = conn->session != NULL && conn->state < NET_LINGER;
    ssize_t got;

    if (sealed) {
        room = tls_session_input_room(conn->session, &room_bytes);
        if (room == NULL) { /* the door does not take what is there already */
            tls_advance(conn);
            return;
        }
    }
    got = read(conn->fd, room, room_bytes);
    if (got <= 0) {
        handle_read_error(conn, got);
        return;
    }
    net->received_bytes += (uint64_t)got;
    if (sealed) {
        tls_session_input_advance(conn->session, (size_t)got);
        tls_advance(conn);
    } else if (conn->state == NET_FIRST) {
        first_bytes(conn, slice_of(room, (size_t)got));
    } else {
        check_plain(conn, slice_of(room, (size_t)got));
        plaintext(conn, slice_of(room, (size_t)got));
    }
}

static void on_ready(void *arg, unsigned ready)
{
    struct net_conn *conn = arg;

    net_tick(conn->listener->net);
    if (conn->state == NET_DEAD)
        return;
    if ((ready & LOOP_READ) != 0)
        read_ready(conn);
    if ((ready & LOOP_WRITE) != 0)
        conn_changed(conn);
}

static void made_progress(struct net_conn *conn)
{
    conn->progress_ms = conn->listener->net->clock.now_ms;
    conn->fresh_bytes = 0;
}

/* Send these, one behind the other; how many bytes the socket took. */
static size_t send_some(struct net_conn *conn, const struct slice *slices, size_t count)
{
    struct net *net = conn->listener->net;
    struct iovec parts[SEND_SLICES];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent;

    must(count <= SEND_SLICES);
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        parts[i] = (struct iovec){.iov_base = (void *)(uintptr_t)slices[i].data, /* only read */
                                  .iov_len = slices[i].size};
    sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    if (sent < 0) {
        if (!would_block(errno))
            net_conn_kill(conn);
        return 0;
    }
    net->sent_bytes += (uint64_t)sent;
    conn->fresh_bytes += (size_t)sent;
    if (conn->fresh_bytes >= (conn->link.holds_view ? VIEW_LEAST_BYTES : BODY_LEAST_BYTES))
        made_progress(conn);
    return (size_t)sent;
}

static size_t waiting(const struct net_conn *conn)
{
    return link_waiting(&conn->link) +
           (conn->session != NULL ? tls_session_output(conn->session).size : 0);
}

/* One write attempt; with TLS as many as there are fillings of its output. */
static void write_out(struct net_conn *conn)
{
    struct link *link = &conn->link;
    struct slice next[SEND_SLICES], cipher;
    struct err err = ERR_INIT;
    size_t taken, sent;

    if (conn->session == NULL) {
        link_sent(link, send_some(conn, next, link_next(link, next, SEND_SLICES)));
        return;
    }
    do {
        if (link_waiting(link) != 0 && tls_session_open(conn->session)) {
            (void)link_next(link, next, 2);
            if (tls_session_write(conn->session, next[0], &taken, &err) == TLS_ERROR) {
                net_conn_kill(conn);
                return;
            }
            link_sent(link, taken);
        }
        cipher = tls_session_output(conn->session);
        sent = send_some(conn, &cipher, cipher.size != 0);
        tls_session_output_sent(conn->session, sent);
    } while (sent != 0 && sent == cipher.size && link_waiting(link) != 0 &&
             conn->state != NET_DEAD);
}

/* ---- the end of a turn ---- */

static void want(struct net_conn *conn)
{
    bool reads = !conn->eof && buf_used(&conn->in) < PENDING_INPUT_BYTES;
    bool writes = waiting(conn) != 0;

    loop_fd_want(conn->watch, (reads ? LOOP_READ : 0) | (writes ? LOOP_WRITE : 0));
}

/* What it asked for in the turn before. */
static void conn_again(struct net_conn *conn)
{
    if (conn->link.again) {
        conn->link.again = false;
        conn->link.serves->again(&conn->link);
    }
    if (conn->link.phase != LINK_BUSY)
        feed_pending(conn);
    conn_changed(conn);
}

static void on_again(void *arg)
{
    struct net *net = arg;
    struct net_conn *conn = net->again;

    net_tick(net);
    net->again = NULL;
    net->again_posted = false;
    while (conn != NULL) {
        struct net_conn *next = conn->next_again;

        conn->in_again = false;
        if (conn->state == NET_OPEN)
            conn_again(conn);
        conn = next;
    }
}

static void call_again(struct net_conn *conn)
{
    struct net *net = conn->listener->net;

    if (conn->in_again)
        return;
    conn->in_again = true;
    conn->next_again = net->again;
    net->again = conn;
    if (!net->again_posted)
        loop_post(net->loop, on_again, net);
    net->again_posted = true;
}

static void on_timer(void *arg)
{
    struct net_conn *conn = arg;

    net_tick(conn->listener->net);
    conn->timer_at_ms = 0;
    if (conn->state != NET_OPEN)
        return;
    if (conn->link.wake_ms != 0 && conn->link.wake_ms <= conn->link.clock->now_ms)
        conn->link.serves->wake(&conn->link);
    conn_changed(conn);
}

static void set_timer(struct net_conn *conn)
{
    uint64_t at_ms = conn->state == NET_OPEN ? conn->link.wake_ms : 0;

    if (at_ms == conn->timer_at_ms)
        return;
    if (conn->timer == NULL)
        conn->timer = loop_timer_new(conn->listener->net->loop, on_timer, conn);
    conn->timer_at_ms = at_ms;
    loop_timer_set(conn->timer, at_ms);
}

/* All is sent: say goodbye, and wait for the client's own end so that it can read ours. */
static void finish(struct net_conn *conn)
{
    if (conn->session != NULL && tls_session_open(conn->session) && conn->state == NET_OPEN) {
        tls_session_close(conn->session);
        write_out(conn);
    }
    if (conn->eof || conn->listener->net->stopping || shutdown(conn->fd, SHUT_WR) < 0) {
        net_conn_kill(conn);
        return;
    }
    if (conn->state == NET_OPEN) {
        conn->link.serves->close(&conn->link);
        conn->link.door = NULL;
        set_state(conn, NET_LINGER);
    }
    conn->link.close = false;
    buf_free(&conn->in);
    link_out_free(&conn->link);
}

static void flush_open(struct net_conn *conn)
{
    struct link *link = &conn->link;

    for (int round = 0; conn->state != NET_DEAD; round++) {
        write_out(conn);
        if (!link->drained_wanted || link_waiting(link) > HTTP_OUT_LOW_BYTES ||
            conn->state != NET_OPEN)
            break;
        if (round == FLUSH_ROUNDS) {
            call_again(conn); /* the next flush asks */
            break;
        }
        link->drained_wanted = false;
        conn->link.serves->drained(link);
    }
    if (conn->state == NET_DEAD)
        return;
    if (waiting(conn) == 0 || !conn->waits) /* it begins to wait now, however long it was idle */
        made_progress(conn);
    conn->waits = waiting(conn) != 0;
    if (!conn->waits) {
        if (link->out.capacity > KEEP_OUT_BYTES || link->lent.capacity != 0)
            link_out_free(link);
        if (link->close) {
            finish(conn);
            if (conn->state == NET_DEAD)
                return;
        }
    }
    if (conn->state == NET_OPEN) {
        bool pending = buf_used(&conn->in) != 0;

        if (link->again || (pending && link->phase != LINK_BUSY))
            call_again(conn);
        if (conn->eof && !conn->eof_told && !pending) {
            conn->eof_told = true;
            conn->link.serves->ended(link); /* marks it changed: flushed once more */
        }
    }
    set_timer(conn);
    want(conn);
}

void net_conn_flush(struct net_conn *conn)
{
    if (conn->state != NET_DEAD)
        flush_open(conn);
    if (conn->state == NET_DEAD && !conn->in_changed)
        conn_free(conn);
}

/* ---- deadlines ---- */

static bool passed(uint64_t since_ms, uint64_t limit_ms, uint64_t now_ms)
{
    return now_ms > since_ms && now_ms - since_ms > limit_ms;
}

static bool open_too_long(const struct net_conn *conn, uint64_t now_ms)
{
    const struct link *link = &conn->link;

    if (waiting(conn) != 0 && passed(conn->progress_ms, WRITE_STALL_TIMEOUT_MS, now_ms)) {
        log_warn("closing a connection whose client does not read",
                 log_str("endpoint", conn->listener->name), log_str("remote-addr", conn->remote),
                 log_u64("waiting-bytes", waiting(conn)),
                 log_u64("seconds", WRITE_STALL_TIMEOUT_MS / 1000));
        return true;
    }
    switch (link->phase) {
    case LINK_IDLE:
        return passed(link->phase_ms, IDLE_TIMEOUT_MS, now_ms);
    case LINK_HEADER:
        return passed(link->phase_ms, HEADER_TIMEOUT_MS, now_ms);
    case LINK_BODY:
        return passed(link->phase_ms, BODY_TIMEOUT_MS, now_ms);
    case LINK_BUSY:
    case LINK_OPEN:
        return false;
    }
    return false;
}

void net_conn_sweep(struct net_conn *conn)
{
    uint64_t now_ms = conn->link.clock->now_ms;

    switch (conn->state) {
    case NET_FIRST:
    case NET_HANDSHAKE:
        if (!passed(conn->since_ms, HANDSHAKE_TIMEOUT_MS, now_ms))
            return;
        if (!conn->listener->plain || buf_used(&conn->in) != 0)
            rejected(conn, "the TLS handshake took longer than 10s");
        break;
    case NET_OPEN:
        if (!open_too_long(conn, now_ms))
            return;
        break;
    case NET_LINGER:
        if (!passed(conn->since_ms, LINGER_TIMEOUT_MS, now_ms))
            return;
        break;
    case NET_DEAD:
        return;
    }
    net_conn_kill(conn);
}

void net_conn_drain(struct net_conn *conn)
{
    if (conn->state == NET_OPEN)
        conn->link.serves->drain(&conn->link);
    else
        net_conn_kill(conn);
    if (conn->state == NET_OPEN)
        conn_changed(conn);
}

void net_conn_open(struct net_listener *listener, int fd, const char *remote)
{
    struct net *net = listener->net;
    struct net_conn *conn = xalloc(sizeof(*conn));

    conn->listener = listener;
    conn->fd = fd;
    memcpy(conn->remote, remote, MIN(strlen(remote), sizeof(conn->remote) - 1));
    buf_init(&conn->in, PENDING_INPUT_MAX_BYTES);
    conn->since_ms = net->clock.now_ms;
    conn->progress_ms = net->clock.now_ms;
    conn->link = (struct link){.changed = on_changed,
                               .note = on_note,
                               .clock = &net->clock,
                               .remote = conn->remote,
                               .protocol = "",
                               .out = BUF_INIT(HTTP_OUT_MAX_BYTES),
                               .phase_ms = net->clock.now_ms};
    conn->next = net->conns;
    if (conn->next != NULL)
        conn->next->previous = conn;
    net->conns = conn;
    net->conn_count++;
    net->peer_count += listener->of_peers;
    listener->connections++;
    conn->watch = loop_fd_new(net->loop, fd, on_ready, conn);
    if (listener->tls == NULL)
        open_door(conn);
    loop_fd_want(conn->watch, LOOP_READ);
}
