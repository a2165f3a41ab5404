/*
 * peer_dial.c - one outgoing connection: resolve, connect, TLS, one HTTP/1.1 request at a time.
 * Where a name leads is peer_lookup.c, the bytes of the connection peer_wire.c; what goes over it
 * is peer_request.c, what comes peer_reply.c.
 *
 *   IDLE -> RESOLVING -> CONNECTING -> HANDSHAKE -> ASKED -> READY -> ASKED ...
 *                any, on failure -> IDLE, then done()
 *
 * Callbacks may stop or free the dial: `depth` counts the calls below us, and what was wished is
 * done when the last of them returns. A request on a kept connection that the other side closed
 * meanwhile is sent once more on a new one.
 */
#include "etcd-server/host/peer_dial.h"

#include "common/base/log.h"
#include "etcd-server/host/address.h"
#include "etcd-server/host/peer_lookup.h"
#include "etcd-server/host/peers_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum dial_state {
    DIAL_IDLE,
    DIAL_RESOLVING,
    DIAL_CONNECTING,
    DIAL_HANDSHAKE,
    DIAL_ASKED,
    DIAL_READY
};

struct peer_dial {
    struct peers *peers;
    enum dial_state state;
    struct url url;             /* where the connection goes */
    char *url_text;             /* owned; NULL: nowhere yet */
    struct peer_lookup *lookup; /* while RESOLVING */
    struct address addresses[PEER_ADDRESSES_MAX];
    size_t address_count, address_at;
    struct peer_wire wire;
    struct loop_fd *watch;
    struct loop_timer *timer;
    struct peer_ask ask; /* texts are not kept */
    bool room_wanted;
    uint64_t more_bytes;       /* of the body, not given yet */
    uint64_t dial_until_ms;    /* before ASKED */
    uint64_t address_until_ms; /* CONNECTING; a silent address leaves time to those behind it */
    uint64_t until_ms;         /* of the whole, 0 = none */
    struct peer_reply reply;
    bool reused; /* the request went out on a kept connection */
    unsigned depth;
    bool stopping, dead;
};

static void advance(struct peer_dial *dial);

/* ---- the end of a connection ---- */

static void disconnect(struct peer_dial *dial)
{
    peer_lookup_drop(dial->lookup);
    dial->lookup = NULL;
    loop_fd_free(dial->watch);
    dial->watch = NULL;
    peer_wire_close(&dial->wire);
    dial->state = DIAL_IDLE;
    loop_timer_set(dial->timer, 0);
}

static void destroy(struct peer_dial *dial)
{
    disconnect(dial);
    loop_timer_free(dial->timer);
    url_fini(&dial->url);
    free(dial->url_text);
    peer_wire_fini(&dial->wire);
    free(dial);
}

static void enter(struct peer_dial *dial)
{
    dial->depth++;
}

static void leave(struct peer_dial *dial)
{
    must(dial->depth > 0);
    if (--dial->depth != 0)
        return;
    if (dial->dead) {
        destroy(dial);
    } else if (dial->stopping) {
        dial->stopping = false;
        disconnect(dial);
    }
}

static bool over(const struct peer_dial *dial)
{
    return dial->dead || dial->stopping;
}

/* The request ends without an answer. The dial may be asked again in done(). */
static void fail(struct peer_dial *dial, const struct err *err)
{
    disconnect(dial);
    if (!over(dial))
        dial->ask.done(dial->ask.arg, err);
}

static void fail_sys(struct peer_dial *dial, int sys, const char *what)
{
    struct err err = ERR_INIT;

    err_sys(&err, sys, "%s %s", what, dial->url_text);
    err.code = ERR_NET;
    fail(dial, &err);
}

static void fail_text(struct peer_dial *dial, const char *what)
{
    struct err err = ERR_INIT;

    err_set(&err, ERR_NET, "%s: %s", dial->url_text, what);
    fail(dial, &err);
}

/* ---- the answer ---- */

static bool on_head(void *arg, const struct peer_head *head)
{
    struct peer_dial *dial = arg;

    if (dial->ask.head != NULL)
        dial->ask.head(dial->ask.arg, head);
    return !over(dial);
}

static bool on_data(void *arg, struct slice bytes)
{
    struct peer_dial *dial = arg;

    dial->ask.data(dial->ask.arg, bytes);
    return !over(dial);
}

static void answered(struct peer_dial *dial, bool keep)
{
    struct err err = ERR_INIT;

    if (over(dial))
        return;
    keep = keep && dial->more_bytes == 0 && peer_wire_unsent(&dial->wire).size == 0;
    if (keep) {
        dial->state = DIAL_READY;
        loop_timer_set(dial->timer, 0);
        loop_fd_want(dial->watch, LOOP_READ);
    } else {
        disconnect(dial);
    }
    dial->ask.done(dial->ask.arg, &err);
}

/* Plaintext came. False: the dial has changed its state, look at nothing. */
static bool feed(struct peer_dial *dial, struct slice bytes)
{
    const char *cause;

    if (dial->state == DIAL_READY) { /* nobody asked */
        disconnect(dial);
        return false;
    }
    switch (peer_reply_read(&dial->reply, bytes, &cause)) {
    case PEER_REPLY_MORE:
        return true;
    case PEER_REPLY_WHOLE:
        answered(dial, dial->reply.keep);
        return false;
    case PEER_REPLY_UNWANTED:
        return false;
    case PEER_REPLY_BROKEN:
        fail_text(dial, cause);
        return false;
    }
    return false;
}

static void connect_next(struct peer_dial *dial, int sys);
static void start_dial(struct peer_dial *dial);

/* The other side has closed. */
static void ended(struct peer_dial *dial, const char *cause)
{
    if (dial->state == DIAL_READY) {
        disconnect(dial);
    } else if (dial->reused && !dial->reply.heard && dial->ask.more_bytes == 0 &&
               !dial->peers->stopped) {
        disconnect(dial); /* it was closed while we were asking: once more */
        start_dial(dial);
    } else if (dial->state != DIAL_ASKED || feed(dial, SLICE_EMPTY)) {
        fail_text(dial, cause);
    }
}

/* ---- the socket ---- */

/* What came, to who asked. False: the state changed, look at nothing. */
static bool take_all(struct peer_dial *dial)
{
    for (;;) {
        struct err err = ERR_INIT;
        struct slice bytes;

        switch (peer_wire_take(&dial->wire, &bytes, &err)) {
        case PEER_WIRE_BYTES:
            if (!feed(dial, bytes))
                return false;
            break;
        case PEER_WIRE_AGAIN:
            return true;
        case PEER_WIRE_CLOSED:
            ended(dial, err.text);
            return false;
        case PEER_WIRE_FAILED:
            if (dial->state == DIAL_READY) {
                disconnect(dial);
            } else {
                err_prefix(&err, "%s", dial->url_text);
                fail(dial, &err);
            }
            return false;
        }
    }
}

/* False: as of take_all(). */
static bool read_some(struct peer_dial *dial)
{
    struct err err = ERR_INIT;

    switch (peer_wire_read(&dial->wire, &err)) {
    case PEER_WIRE_BYTES:
        return dial->state == DIAL_HANDSHAKE || take_all(dial);
    case PEER_WIRE_AGAIN:
        return true;
    case PEER_WIRE_CLOSED:
    case PEER_WIRE_FAILED:
        ended(dial, err.text);
        return false;
    }
    return false;
}

static bool write_some(struct peer_dial *dial)
{
    return peer_wire_write(&dial->wire, dial->state == DIAL_ASKED);
}

static void set_timer(struct peer_dial *dial)
{
    uint64_t at_ms = dial->until_ms;

    if (dial->state == DIAL_READY || dial->state == DIAL_IDLE)
        at_ms = 0;
    else if (dial->state != DIAL_ASKED)
        at_ms = dial->state == DIAL_CONNECTING ? dial->address_until_ms : dial->dial_until_ms;
    else if (dial->ask.stall_ms != 0)
        at_ms = MIN(at_ms != 0 ? at_ms : UINT64_MAX, dial->wire.moved_ms + dial->ask.stall_ms + 1);
    loop_timer_set(dial->timer, at_ms);
}

/* ---- steps ---- */

static void begin_request(struct peer_dial *dial)
{
    const struct peer_reply_to to = {.arg = dial, .head = on_head, .data = on_data};

    peer_reply_begin(&dial->reply, &to);
    dial->wire.request_sent = 0;
    dial->state = DIAL_ASKED;
    dial->wire.moved_ms = loop_now_ms();
}

/* False: the dial ended. */
static bool shake_hands(struct peer_dial *dial)
{
    struct err err = ERR_INIT;

    switch (tls_session_handshake(dial->wire.session, &err)) {
    case TLS_OK:
        begin_request(dial);
        return take_all(dial); /* it may have come with the last flight */
    case TLS_AGAIN:
        return true;
    case TLS_EOF:
        fail_text(dial, "the connection was closed during the TLS handshake");
        return false;
    case TLS_ERROR:
        (void)write_some(dial); /* the alert */
        err_prefix(&err, "%s", dial->url_text);
        fail(dial, &err);
        return false;
    }
    return false;
}

static void advance(struct peer_dial *dial)
{
    if (dial->state == DIAL_HANDSHAKE && !shake_hands(dial))
        return;
    if (dial->state != DIAL_HANDSHAKE && dial->state != DIAL_ASKED)
        return;
    if (!write_some(dial)) {
        /* The answer, or an alert that says why, may be there already. */
        if (dial->state == DIAL_ASKED && read_some(dial))
            ended(dial, "the connection was closed while the request was sent");
        else if (dial->state == DIAL_HANDSHAKE)
            fail_text(dial, "the connection was closed during the TLS handshake");
        return;
    }
    if (dial->room_wanted && peer_wire_unsent(&dial->wire).size == 0 && dial->state == DIAL_ASKED) {
        dial->room_wanted = false;
        dial->ask.room(dial->ask.arg);
        if (over(dial) || dial->state != DIAL_ASKED)
            return;
    }
    loop_fd_want(dial->watch,
                 LOOP_READ |
                     (peer_wire_waits(&dial->wire, dial->state == DIAL_ASKED) ? LOOP_WRITE : 0));
    set_timer(dial);
}

static void connected(struct peer_dial *dial)
{
    struct peers *peers = dial->peers;
    struct err err = ERR_INIT;
    int one = 1;

    if (dial->url.scheme == URL_HTTP || dial->url.scheme == URL_HTTPS)
        (void)setsockopt(dial->wire.fd, IPPROTO_TCP, TCP_NODELAY, &one,
                         sizeof(one)); /* or slower */
    if (!url_is_tls(&dial->url)) {
        begin_request(dial);
        return;
    }
    if (tls_context_refresh(peers->config.tls, loop_now_ms(), &err) == TLS_REFRESH_BROKEN)
        log_warn("peer certificates changed but cannot be used; the old ones stay",
                 log_str("error", err.text));
    else if (err.code == ERR_OK)
        err = ERR_INIT;
    if (tls_session_new(peers->config.tls, dial->url.scheme == URL_HTTPS ? dial->url.host : NULL,
                        &dial->wire.session, &err) < 0) {
        fail(dial, &err);
        return;
    }
    dial->state = DIAL_HANDSHAKE;
}

static void on_connect(struct peer_dial *dial)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(dial->wire.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error != 0) {
        connect_next(dial, error);
        return;
    }
    connected(dial);
    advance(dial);
}

static void on_ready(void *arg, unsigned ready)
{
    struct peer_dial *dial = arg;

    enter(dial);
    if (dial->state == DIAL_CONNECTING)
        on_connect(dial);
    else if ((ready & LOOP_READ) == 0 || read_some(dial))
        advance(dial);
    leave(dial);
}

/* Half of the time that is left, if there are others to be tried. */
static uint64_t address_deadline(const struct peer_dial *dial)
{
    uint64_t now_ms = loop_now_ms();

    if (dial->address_at == dial->address_count || dial->dial_until_ms <= now_ms)
        return dial->dial_until_ms;
    return now_ms + (dial->dial_until_ms - now_ms) / 2;
}

/* The next address; `sys` is why the one before failed. */
static void connect_next(struct peer_dial *dial, int sys)
{
    while (dial->address_at < dial->address_count) {
        const struct address *address = &dial->addresses[dial->address_at++];

        loop_fd_free(dial->watch);
        dial->watch = NULL;
        if (dial->wire.fd >= 0)
            (void)close(dial->wire.fd);
        dial->wire.fd =
            socket(address->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (dial->wire.fd < 0) {
            sys = errno;
            continue;
        }
        dial->state = DIAL_CONNECTING;
        dial->address_until_ms = address_deadline(dial);
        if (connect(dial->wire.fd, &address->u.any, address->bytes) < 0 && errno != EINPROGRESS) {
            sys = errno;
            continue;
        }
        dial->watch = loop_fd_new(dial->peers->loop, dial->wire.fd, on_ready, dial);
        loop_fd_want(dial->watch, LOOP_WRITE); /* also when connected at once: one way for all */
        set_timer(dial);
        return;
    }
    fail_sys(dial, sys, "connect to");
}

static void on_timer(void *arg)
{
    struct peer_dial *dial = arg;
    uint64_t now_ms = loop_now_ms();

    enter(dial);
    if (dial->state == DIAL_IDLE || dial->state == DIAL_READY) {
        /* nothing is waited for */
    } else if (dial->state == DIAL_CONNECTING && dial->address_at < dial->address_count) {
        connect_next(dial, ETIMEDOUT);
    } else if (dial->state != DIAL_ASKED) {
        fail_text(dial, dial->state == DIAL_HANDSHAKE ? "the TLS handshake took too long"
                                                      : "no connection in time (i/o timeout)");
    } else if (dial->until_ms != 0 && now_ms >= dial->until_ms) {
        fail_text(dial, "no answer in time (i/o timeout)");
    } else if (dial->ask.stall_ms != 0 && now_ms > dial->wire.moved_ms + dial->ask.stall_ms) {
        if (dial->more_bytes != 0 && peer_wire_unsent(&dial->wire).size == 0) {
            dial->wire.moved_ms = now_ms; /* it is we who are slow */
            set_timer(dial);
        } else {
            fail_text(dial, "nothing was sent or received for too long (i/o timeout)");
        }
    } else {
        set_timer(dial);
    }
    leave(dial);
}

/* ---- where to ---- */

static void resolved(void *arg, const struct address *addresses, size_t count, const char *why)
{
    struct peer_dial *dial = arg;

    enter(dial);
    dial->lookup = NULL;
    dial->address_count = count;
    dial->address_at = 0;
    memcpy(dial->addresses, addresses, count * sizeof(*addresses));
    if (count != 0)
        connect_next(dial, 0);
    else
        fail_text(dial, why);
    leave(dial);
}

/* Why the URL cannot be dialled at all, in `why`; "" when it can. */
static void check_url(struct peer_dial *dial, char why[ERR_TEXT_MAX])
{
    struct err err = ERR_INIT;

    why[0] = '\0';
    if (dial->url.text == NULL && url_parse(dial->url_text, &dial->url, &err) < 0)
        (void)snprintf(why, ERR_TEXT_MAX, "%s", err.text);
    else if (url_is_tls(&dial->url) && dial->peers->config.tls == NULL)
        (void)snprintf(why, ERR_TEXT_MAX,
                       "an https:// peer needs --peer-trusted-ca-file or "
                       "--peer-auto-tls here, too");
}

static void start_dial(struct peer_dial *dial)
{
    struct peers *peers = dial->peers;
    char why[ERR_TEXT_MAX];

    dial->reused = false;
    dial->dial_until_ms = loop_now_ms() + PEER_DIAL_TIMEOUT_MS + peers->config.election_timeout_ms;
    dial->state = DIAL_RESOLVING;
    set_timer(dial);
    check_url(dial, why);
    dial->lookup = peer_lookup_new(peers, &dial->url, why, resolved, dial);
}

/* ---- asking ---- */

struct peer_dial *peer_dial_new(struct peers *peers)
{
    struct peer_dial *dial = xalloc(sizeof(*dial));

    dial->peers = peers;
    peer_wire_init(&dial->wire, peers->scratch);
    dial->timer = loop_timer_new(peers->loop, on_timer, dial);
    return dial;
}

void peer_dial_free(struct peer_dial *dial)
{
    if (dial == NULL)
        return;
    if (dial->depth != 0)
        dial->dead = true;
    else
        destroy(dial);
}

void peer_dial_stop(struct peer_dial *dial)
{
    if (dial->depth != 0)
        dial->stopping = true;
    else
        disconnect(dial);
}

bool peer_dial_busy(const struct peer_dial *dial)
{
    return dial->state != DIAL_IDLE && dial->state != DIAL_READY;
}

bool peer_dial_kept(const struct peer_dial *dial)
{
    return dial->state == DIAL_READY && !over(dial);
}

const char *peer_dial_url(const struct peer_dial *dial)
{
    return dial->url_text;
}

void peer_dial_ask(struct peer_dial *dial, const struct peer_ask *ask)
{
    uint64_t now_ms = loop_now_ms();

    must(!peer_dial_busy(dial) && !dial->dead);
    must(ask->data != NULL && ask->done != NULL && (ask->more_bytes == 0 || ask->room != NULL));
    if (dial->stopping) { /* wished in the callback that asks now */
        dial->stopping = false;
        disconnect(dial);
    }
    if (dial->url_text == NULL || strcmp(dial->url_text, ask->url) != 0) {
        disconnect(dial);
        url_fini(&dial->url);
        dial->url = (struct url){.text = NULL};
        free(dial->url_text);
        dial->url_text = xstrdup(ask->url);
    }
    peer_request_write(ask, &dial->wire.request);
    dial->ask = *ask;
    dial->more_bytes = ask->more_bytes;
    dial->room_wanted = false;
    dial->until_ms = ask->timeout_ms != 0 ? now_ms + ask->timeout_ms : 0;
    if (dial->state != DIAL_READY) {
        start_dial(dial);
        return;
    }
    dial->reused = true;
    begin_request(dial);
    loop_fd_want(dial->watch, LOOP_READ | LOOP_WRITE);
    set_timer(dial);
}

void peer_dial_stall(struct peer_dial *dial, uint64_t stall_ms)
{
    dial->ask.stall_ms = stall_ms;
    set_timer(dial);
}

bool peer_dial_send(struct peer_dial *dial, struct slice bytes)
{
    must(peer_dial_busy(dial) && bytes.size <= dial->more_bytes);
    dial->more_bytes -= bytes.size;
    if (peer_wire_unsent(&dial->wire).size == 0)
        dial->wire.moved_ms = loop_now_ms();
    buf_append_slice(&dial->wire.out, bytes);
    if (dial->state == DIAL_ASKED)
        loop_fd_want(dial->watch, LOOP_READ | LOOP_WRITE);
    if (buf_used(&dial->wire.out) < HTTP_OUT_HIGH_BYTES)
        return true;
    dial->room_wanted = true;
    return false;
}
