/*
 * http1_upgrade.c - WebSocket on a connection that began as HTTP/1.1 (RFC 6455; api.md 12.4): the
 * exchange goes on, its body is the client's messages, its answer is ours.
 *
 *   GET, Upgrade: websocket -> 101 -> start()
 *   message                 -> data(), and a line end; PING -> PONG
 *   exchange_send(line)     -> a message;  the end of the answer -> a close frame
 *   close frame, or frames that are none -> gone(), a close frame
 *
 * A browser cannot set headers: the token comes as `Sec-WebSocket-Protocol: Bearer, TOKEN`. Cookies
 * are not looked at, for those a browser sends for any page.
 */
#include "etcd-server/doors/http1_internal.h"

#include "common/base/limits.h"
#include "etcd-server/doors/accept.h"

static const char protocol_field[] = "sec-websocket-protocol";
static const struct slice bearer = SLICE_LITERAL("Bearer");

/* ---- the answer ---- */

/* `bytes` without the line end that ends a message. */
static bool cut_line_end(struct slice *bytes)
{
    if (bytes->size == 0 || bytes->data[bytes->size - 1] != '\n')
        return false;
    bytes->size--;
    return true;
}

static void put_part(struct http1 *http1, struct slice part, bool last)
{
    websocket_put(&http1->link->out, http1->in_message ? WEBSOCKET_CONTINUATION : WEBSOCKET_TEXT,
                  last, part);
    http1->in_message = !last;
}

static void end_with(struct http1 *http1, enum websocket_status status, struct slice reason)
{
    websocket_put_close(&http1->link->out, status, reason);
    http1_over(http1);
}

static void op_begin(struct exchange *exchange, const struct exchange_head *head)
{
    (void)head; /* the head was the 101 */
    exchange->link->holds_view = exchange->holds_view;
}

static void op_send(struct exchange *exchange, struct slice bytes)
{
    struct http1 *http1 = http1_of_exchange(exchange);
    bool last = cut_line_end(&bytes);

    must(http1->state == HTTP1_UPGRADED);
    put_part(http1, bytes, last);
    http1->link->changed(http1->link);
}

static void op_end(struct exchange *exchange)
{
    struct http1 *http1 = http1_of_exchange(exchange);

    if (http1->in_message)
        put_part(http1, SLICE_EMPTY, true);
    end_with(http1, WEBSOCKET_NORMAL, SLICE_EMPTY);
}

static void op_answer(struct exchange *exchange, const struct exchange_head *head,
                      struct slice body)
{
    struct http1 *http1 = http1_of_exchange(exchange);

    (void)head;
    (void)cut_line_end(&body);
    put_part(http1, body, true);
    end_with(http1, WEBSOCKET_NORMAL, SLICE_EMPTY);
}

static void op_abort(struct exchange *exchange)
{
    /* without a close frame the client sees that it is cut */
    http1_over(http1_of_exchange(exchange));
}

static bool holds_back(const struct http1 *http1)
{
    return http1->open_bytes > MAX(HTTP_BODY_OPEN_MAX_BYTES, http1->exchange.wants_bytes) ||
           buf_used(&http1->link->out) > HTTP_OUT_HIGH_BYTES;
}

/* Take input again, if there was a reason not to and it is gone. */
static void go_on(struct http1 *http1)
{
    if (http1->state != HTTP1_UPGRADED || http1->link->phase != LINK_BUSY || holds_back(http1))
        return;
    http1_set_phase(http1, LINK_OPEN);
    http1->link->changed(http1->link);
}

void http1_upgraded_drained(struct http1 *http1)
{
    go_on(http1);
}

static void op_taken(struct exchange *exchange, size_t bytes)
{
    struct http1 *http1 = http1_of_exchange(exchange);

    must(bytes <= http1->open_bytes);
    http1->open_bytes -= bytes;
    go_on(http1);
}

static const struct exchange_ops upgraded_ops = {
    .taken = op_taken,
    .answer = op_answer,
    .begin = op_begin,
    .send = op_send,
    .end = op_end,
    .abort = op_abort,
    .full = http1_full,
    .again = http1_again_later,
    .wake_at = http1_wake_at,
};

/* ---- what comes ---- */

static void give(struct http1 *http1, struct slice bytes)
{
    struct exchange *exchange = &http1->exchange;

    if (exchange->data == NULL)
        return;
    http1->open_bytes += bytes.size;
    exchange->data(exchange, bytes, false);
}

static void leave(struct http1 *http1, enum websocket_status status, struct slice reason)
{
    if (http1->exchange.gone != NULL)
        http1->exchange.gone(&http1->exchange);
    end_with(http1, status, reason);
}

static void handle(struct http1 *http1, enum websocket_event event, struct slice content)
{
    switch (event) {
    case WEBSOCKET_MORE:
        break;
    case WEBSOCKET_PIECE:
        give(http1, content);
        break;
    case WEBSOCKET_MESSAGE_END:
        give(http1, SLICE_LITERAL("\n"));
        break;
    case WEBSOCKET_PINGED:
        websocket_put(&http1->link->out, WEBSOCKET_PONG, true, content);
        http1->link->changed(http1->link);
        break;
    case WEBSOCKET_CLOSED:
        leave(http1, WEBSOCKET_NORMAL, SLICE_EMPTY);
        break;
    case WEBSOCKET_WRONG:
        leave(http1, WEBSOCKET_PROTOCOL_ERROR, content);
        break;
    }
}

size_t http1_upgraded_input(struct http1 *http1, struct slice bytes)
{
    uint8_t piece[WEBSOCKET_PIECE_BYTES];
    size_t offered = bytes.size;

    while (http1->state == HTTP1_UPGRADED) {
        enum websocket_event event;
        struct slice content = SLICE_EMPTY;

        if (holds_back(http1)) {
            http1_set_phase(http1, LINK_BUSY);
            (void)http1_full(&http1->exchange); /* to be told when there is room */
            return offered - bytes.size;
        }
        event = websocket_read(&http1->frames, &bytes, piece, &content);
        if (event == WEBSOCKET_MORE)
            return offered;
        handle(http1, event, content);
    }
    return offered;
}

/* ---- the handshake ---- */

bool http1_wants_upgrade(const struct http1 *http1)
{
    const struct exchange_handler *handler = &http1->door->handler;
    const struct exchange *exchange = &http1->exchange;
    const http_parser *parser = &http1->parser;
    struct slice value;

    return handler->upgrades != NULL && exchange->method == METHOD_GET && parser->http_minor != 0 &&
           !http1->draining && (parser->flags & F_CHUNKED) == 0 &&
           (parser->content_length == 0 || parser->content_length == UINT64_MAX) &&
           exchange_field(exchange, "upgrade", &value) && accept_lists(value, "websocket") &&
           handler->upgrades(handler->arg, exchange);
}

/* The token of "Bearer, TOKEN" becomes the authorization. False: there is none. */
static bool take_token(struct http1 *http1)
{
    for (size_t i = 0; i < http1->span_count; i++) {
        struct exchange_field *field = &http1->fields[i];
        const uint8_t *comma =
            field->value.size != 0 ? memchr(field->value.data, ',', field->value.size) : NULL;
        size_t size = comma != NULL ? (size_t)(comma - field->value.data) : field->value.size;

        if (!exchange_name_is(field->name, protocol_field) ||
            !slice_equal(slice_trim(slice_of(field->value.data, size)), bearer))
            continue;
        if (comma != NULL)
            *field = (struct exchange_field){
                .name = SLICE_LITERAL("authorization"),
                .value = slice_trim(slice_of(comma + 1, field->value.size - size - 1))};
        return true;
    }
    return false;
}

void http1_upgrade(struct http1 *http1)
{
    static const struct exchange_head refusal = {.status = 400,
                                                 .content_type = "text/plain; charset=utf-8",
                                                 .fields = "Sec-WebSocket-Version: 13\r\n"};
    struct exchange *exchange = &http1->exchange;
    char accept[WEBSOCKET_ACCEPT_BYTES];
    struct slice key, version;

    http1->upgrade = false;
    http1->keep_alive = false;
    if (!exchange_field(exchange, "sec-websocket-version", &version) ||
        !slice_equal(version, SLICE_LITERAL("13")) ||
        !exchange_field(exchange, "sec-websocket-key", &key) || !websocket_accept(key, accept)) {
        http1->state = HTTP1_BUSY;
        exchange_answer(exchange, &refusal,
                        SLICE_LITERAL("400 Bad Request: WebSocket needs Sec-WebSocket-Version: 13 "
                                      "and a Sec-WebSocket-Key of 16 bytes in base64\n"));
        return;
    }
    buf_printf(&http1->link->out,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: %s\r\n%s\r\n",
               accept, take_token(http1) ? "Sec-WebSocket-Protocol: Bearer\r\n" : "");
    http1->state = HTTP1_UPGRADED;
    http1->open_bytes = 0;
    http1->in_message = false;
    http1->frames = (struct websocket_reader){.left = 0};
    http1_set_phase(http1, LINK_OPEN);
    exchange->ops = &upgraded_ops;
    exchange->method = METHOD_POST;
    exchange->in_pieces = true;
    exchange->body = SLICE_EMPTY;
    http1->link->changed(http1->link);
    http1->door->handler.start(http1->door->handler.arg, exchange);
}
