/*
 * http1.c - see http1.h. http-parser turns bytes into events; this file turns events into one
 * exchange at a time.
 *
 *   IDLE -> HEAD -> BODY -> BUSY -> IDLE      the parser is paused while BUSY
 *                             `-> BEGUN -> IDLE      answer in pieces
 *                 `-> TAKING <-> HELD -> BUSY        body in pieces (exchange_handler.streams)
 *                       `-> DUPLEX <-> DUPLEX_HELD -> BEGUN      answered before its end
 *                 `-> UPGRADED                       WebSocket
 *   any -> OVER                               nothing is read any more; closes when sent
 *
 * Header text is collected in `head` and remembered as spans (the text may move), turned into
 * slices when the head is complete. A body that arrives whole in one piece is borrowed, else
 * collected in `body`.
 */
#include "etcd-server/doors/http1_internal.h"

#include "common/base/limits.h"

#include <stdio.h>
#include <time.h>

#define KEEP_HEAD_BYTES (4 * KIB)  /* memory an idle connection may keep */
#define KEEP_BODY_BYTES (16 * KIB) /* the same; small bodies come again and again */

static struct http1 *of_link(struct link *link)
{
    return link->door;
}

static struct http1 *of_exchange(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct http1, exchange);
}

/* ---- answers ---- */

struct reason {
    unsigned status;
    const char *text;
};

const char *http1_reason(unsigned status)
{
    static const struct reason reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Request Entity Too Large"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Status";
}

static const char *date_line(struct http1 *http1)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct http1_door *door = http1->door;
    time_t now = (time_t)http1->link->clock->unix_s;
    struct tm tm;

    if (door->date_s == now && door->date[0] != '\0')
        return door->date;
    if (gmtime_r(&now, &tm) == NULL || tm.tm_year > 8000)
        return "";
    must(snprintf(door->date, sizeof(door->date), "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                  days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
                  tm.tm_min, tm.tm_sec) < (int)sizeof(door->date));
    door->date_s = now;
    return door->date;
}

static void put_text(struct http1 *http1, const char *text)
{
    if (text != NULL)
        buf_append_text(&http1->link->out, text);
}

static void put_head(struct http1 *http1, const struct exchange_head *head)
{
    bool old = http1->parser.http_major == 1 && http1->parser.http_minor == 0;
    struct buf *out = &http1->link->out;

    if (head->status == 200 && !old) {
        put_text(http1, "HTTP/1.1 200 OK\r\n");
    } else {
        put_text(http1, old ? "HTTP/1.0 " : "HTTP/1.1 ");
        buf_append_uint(out, head->status);
        buf_append_byte(out, ' ');
        put_text(http1, http1_reason(head->status));
        put_text(http1, "\r\n");
    }
    put_text(http1, http1->exchange.common_fields);
    put_text(http1, head->fields);
    put_text(http1, head->more_fields);
    if (head->content_type != NULL) {
        put_text(http1, "Content-Type: ");
        put_text(http1, head->content_type);
        put_text(http1, "\r\n");
    }
    put_text(http1, date_line(http1));
    if (!http1->keep_alive)
        put_text(http1, "Connection: close\r\n");
    else if (old)
        put_text(http1, "Connection: keep-alive\r\n");
}

void http1_set_phase(struct http1 *http1, enum link_phase phase)
{
    http1->link->phase = phase;
    http1->link->phase_ms = http1->link->clock->now_ms;
}

static void set_wake(struct http1 *http1)
{
    uint64_t a = http1->wake_at_ms, b = http1->grace_until_ms;

    http1->link->wake_ms = a == 0 ? b : b == 0 ? a : MIN(a, b);
}

void http1_over(struct http1 *http1)
{
    http1->state = HTTP1_OVER;
    http1->link->close = true;
    http1_set_phase(http1, LINK_BUSY);
    http1->link->changed(http1->link);
}

static void keep_little(struct buf *buf, size_t bytes)
{
    buf_reset(buf);
    if (buf->capacity > bytes)
        buf_free(buf);
}

/* The exchange is over; wait for the next request. */
static void finished(struct http1 *http1)
{
    keep_little(&http1->head, KEEP_HEAD_BYTES);
    keep_little(&http1->body, KEEP_BODY_BYTES);
    http1->wake_at_ms = 0;
    http1->wants_turn = false;
    http1->link->drained_wanted = false;
    http1->link->holds_view = false;
    set_wake(http1);
    if (http1->link->out.overflow || !http1->keep_alive || http1->client_ended) {
        http1_over(http1);
        return;
    }
    http1->state = HTTP1_IDLE;
    http1_set_phase(http1, LINK_IDLE);
    http1->link->changed(http1->link);
}

static void op_answer(struct exchange *exchange, const struct exchange_head *head,
                      struct slice body)
{
    struct http1 *http1 = of_exchange(exchange);
    struct buf *out = &http1->link->out;

    if (http1->state == HTTP1_TAKING || http1->state == HTTP1_HELD) {
        http1->keep_alive = false; /* the rest of the body is not wanted */
        http1->state = HTTP1_BUSY;
    }
    must(http1->state == HTTP1_BUSY);
    put_head(http1, head);
    put_text(http1, "Content-Length: ");
    buf_append_uint(out, body.size);
    put_text(http1, "\r\n\r\n");
    if (exchange->method != METHOD_HEAD)
        buf_append_slice(out, body);
    finished(http1);
}

static void op_begin(struct exchange *exchange, const struct exchange_head *head)
{
    struct http1 *http1 = of_exchange(exchange);

    must(http1->state == HTTP1_BUSY || http1->state == HTTP1_TAKING || http1->state == HTTP1_HELD);
    http1->link->holds_view = exchange->holds_view;
    http1->measured = head->body_bytes != 0;
    http1->left_bytes = head->body_bytes;
    http1->chunked = http1->parser.http_minor != 0 && !http1->measured;
    if (!http1->chunked && !http1->measured)
        http1->keep_alive = false;
    put_head(http1, head);
    if (http1->measured)
        buf_printf(&http1->link->out, "Content-Length: %" PRIu64 "\r\n", head->body_bytes);
    put_text(http1, http1->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
    if (http1->state == HTTP1_TAKING) {
        http1->state = HTTP1_DUPLEX;
        http1_set_phase(http1, LINK_OPEN); /* the rest of the body may take as long as it likes */
    } else {
        http1->state = http1->state == HTTP1_HELD ? HTTP1_DUPLEX_HELD : HTTP1_BEGUN;
    }
    http1->link->changed(http1->link);
}

static bool begun(const struct http1 *http1)
{
    return http1->state == HTTP1_BEGUN || http1->state == HTTP1_DUPLEX ||
           http1->state == HTTP1_DUPLEX_HELD;
}

static void op_send(struct exchange *exchange, struct slice bytes)
{
    struct http1 *http1 = of_exchange(exchange);
    struct buf *out = &http1->link->out;

    must(begun(http1));
    if (bytes.size == 0 || exchange->method == METHOD_HEAD)
        return;
    must(!http1->measured || bytes.size <= http1->left_bytes);
    http1->left_bytes -= http1->measured ? bytes.size : 0;
    if (http1->chunked)
        buf_printf(out, "%zx\r\n", bytes.size);
    buf_append_slice(out, bytes);
    if (http1->chunked)
        put_text(http1, "\r\n");
    http1->link->changed(http1->link);
}

/* The last chunk and the trailers behind it; without chunks there is no place for trailers. */
static void end_with(struct exchange *exchange, const char *trailers)
{
    struct http1 *http1 = of_exchange(exchange);

    must(begun(http1));
    if (http1->state != HTTP1_BEGUN)
        http1->keep_alive = false; /* the rest of the body is not wanted */
    if (http1->chunked && exchange->method != METHOD_HEAD) {
        put_text(http1, "0\r\n");
        put_text(http1, trailers);
        put_text(http1, "\r\n");
    }
    if (http1->measured && http1->left_bytes != 0 && exchange->method != METHOD_HEAD)
        http1->keep_alive = false; /* less than was told: the client sees that it is cut */
    finished(http1);
}

static void op_end(struct exchange *exchange)
{
    end_with(exchange, "");
}

static void op_trail(struct exchange *exchange, const struct exchange_head *head,
                     const char *fields)
{
    must(head == NULL);
    end_with(exchange, fields);
}

static void op_abort(struct exchange *exchange)
{
    struct http1 *http1 = of_exchange(exchange);

    http1->keep_alive = false; /* without the last chunk the client sees that it is cut */
    finished(http1);
}

bool http1_full(struct exchange *exchange)
{
    struct http1 *http1 = of_exchange(exchange);

    if (buf_used(&http1->link->out) <= HTTP_OUT_HIGH_BYTES)
        return false;
    http1->link->drained_wanted = true;
    http1->link->changed(http1->link);
    return true;
}

void http1_again_later(struct exchange *exchange)
{
    struct http1 *http1 = of_exchange(exchange);

    http1->wants_turn = true;
    http1->link->again = true;
    http1->link->changed(http1->link);
}

void http1_wake_at(struct exchange *exchange, uint64_t at_ms)
{
    struct http1 *http1 = of_exchange(exchange);

    http1->wake_at_ms = at_ms;
    set_wake(http1);
    http1->link->changed(http1->link);
}

static void op_taken(struct exchange *exchange, size_t bytes)
{
    struct http1 *http1 = of_exchange(exchange);

    must(bytes <= http1->open_bytes);
    http1->open_bytes -= bytes;
    if (http1->open_bytes > MAX(HTTP_OUT_HIGH_BYTES, exchange->wants_bytes))
        return;
    if (http1->state == HTTP1_HELD) {
        http1->state = HTTP1_TAKING;
        http1_set_phase(http1, LINK_BODY);
    } else if (http1->state == HTTP1_DUPLEX_HELD) {
        http1->state = HTTP1_DUPLEX;
        http1_set_phase(http1, LINK_OPEN);
    }
    http1->link->changed(http1->link);
}

static const struct exchange_ops exchange_ops = {
    .taken = op_taken,
    .answer = op_answer,
    .begin = op_begin,
    .send = op_send,
    .end = op_end,
    .trail = op_trail,
    .abort = op_abort,
    .full = http1_full,
    .again = http1_again_later,
    .wake_at = http1_wake_at,
};

/* Refuse bytes that are no request: answer and close. */
static void refuse(struct http1 *http1, unsigned status, const char *cause)
{
    struct buf *out = &http1->link->out;
    const char *reason = http1_reason(status);

    http1->keep_alive = false;
    buf_printf(out,
               "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
               "Content-Length: %zu\r\n\r\n%u %s: %s\n",
               status, reason, 3 + 1 + strlen(reason) + 2 + strlen(cause) + 1, status, reason,
               cause);
    http1_over(http1);
}

/* ---- requests ---- */

static struct http1 *of_parser(http_parser *parser)
{
    return parser->data;
}

static int on_begin(http_parser *parser)
{
    struct http1 *http1 = of_parser(parser);

    buf_reset(&http1->head);
    buf_reset(&http1->body);
    http1->borrowed = SLICE_EMPTY;
    http1->span_count = 0;
    http1->target_size = 0;
    http1->in_value = true;
    http1->complete = false;
    http1->refused = 0;
    http1->fresh_bytes = 0;
    http1->state = HTTP1_HEAD;
    http1_set_phase(http1, LINK_HEADER);
    return 0;
}

static bool keep_head(struct http1 *http1, const char *at, size_t size)
{
    if (buf_append(&http1->head, at, size))
        return true;
    http1->refused = 431;
    return false;
}

static int on_url(http_parser *parser, const char *at, size_t size)
{
    struct http1 *http1 = of_parser(parser);

    if (!keep_head(http1, at, size))
        return -1;
    http1->target_size += (uint32_t)size;
    return 0;
}

static int on_field(http_parser *parser, const char *at, size_t size)
{
    struct http1 *http1 = of_parser(parser);
    struct span *span;

    if (http1->state != HTTP1_HEAD) /* a trailer: the exchange points into `head` already */
        return 0;
    if (memchr(at, ' ', size) != NULL) { /* the library may be built to take it: RFC 9112 5.1 */
        http1->refused = 400;
        http1->cause = "a blank in the name of a header";
        return -1;
    }
    if (http1->in_value) { /* a new header line */
        if (http1->span_count == HTTP_HEADERS_MAX) {
            http1->refused = 431;
            return -1;
        }
        if (http1->span_count == http1->span_capacity) {
            http1->span_capacity = MAX(8, http1->span_capacity * 2);
            http1->spans = xrealloc(http1->spans, http1->span_capacity * sizeof(struct span));
            http1->fields =
                xrealloc(http1->fields, http1->span_capacity * sizeof(struct exchange_field));
        }
        http1->spans[http1->span_count++] = (struct span){.name_at = (uint32_t)http1->head.size};
        http1->in_value = false;
    }
    if (!keep_head(http1, at, size))
        return -1;
    span = &http1->spans[http1->span_count - 1];
    span->name_size += (uint32_t)size;
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t size)
{
    struct http1 *http1 = of_parser(parser);
    struct span *span;

    if (http1->state != HTTP1_HEAD)
        return 0;
    if (http1->span_count == 0)
        return -1;
    span = &http1->spans[http1->span_count - 1];
    if (!http1->in_value) {
        span->value_at = (uint32_t)http1->head.size;
        http1->in_value = true;
    }
    if (!keep_head(http1, at, size))
        return -1;
    span->value_size += (uint32_t)size;
    return 0;
}

static void take_target(struct http1 *http1)
{
    struct exchange *exchange = &http1->exchange;
    struct slice target = slice_of(http1->head.data, http1->target_size);
    struct http_parser_url url;
    const uint8_t *question;

    exchange->path = target;
    exchange->query = SLICE_EMPTY;
    if (target.size != 0 && target.data[0] != '/' && target.size < UINT16_MAX) {
        http_parser_url_init(&url);
        if (http_parser_parse_url((const char *)target.data, target.size, 0, &url) != 0)
            return; /* "*", or of CONNECT: no path of ours */
        if ((url.field_set & 1U << UF_HOST) != 0)
            exchange->host =
                slice_of(target.data + url.field_data[UF_HOST].off, url.field_data[UF_HOST].len);
        exchange->path =
            (url.field_set & 1U << UF_PATH) != 0
                ? slice_of(target.data + url.field_data[UF_PATH].off, url.field_data[UF_PATH].len)
                : SLICE_LITERAL("/");
        if ((url.field_set & 1U << UF_QUERY) != 0)
            exchange->query =
                slice_of(target.data + url.field_data[UF_QUERY].off, url.field_data[UF_QUERY].len);
        return;
    }
    question = target.size != 0 ? memchr(target.data, '?', target.size) : NULL;
    if (question != NULL) {
        exchange->path = slice_of(target.data, (size_t)(question - target.data));
        exchange->query = slice_of(question + 1, target.size - exchange->path.size - 1);
    }
}

static enum exchange_method method_of(const http_parser *parser)
{
    switch (parser->method) {
    case HTTP_GET:
        return METHOD_GET;
    case HTTP_HEAD:
        return METHOD_HEAD;
    case HTTP_POST:
        return METHOD_POST;
    case HTTP_PUT:
        return METHOD_PUT;
    case HTTP_DELETE:
        return METHOD_DELETE;
    case HTTP_OPTIONS:
        return METHOD_OPTIONS;
    default:
        return METHOD_OTHER;
    }
}

/* Fill the exchange from what was collected; false when the head cannot be accepted. */
static bool take_head(struct http1 *http1, bool *expects)
{
    struct exchange *exchange = &http1->exchange;
    size_t hosts = 0;

    *exchange = (struct exchange){
        .method = method_of(&http1->parser), .link = http1->link, .ops = &exchange_ops};
    for (size_t i = 0; i < http1->span_count; i++) {
        const struct span *span = &http1->spans[i];
        struct exchange_field *field = &http1->fields[i];

        field->name = slice_of(http1->head.data + span->name_at, span->name_size);
        field->value = slice_of(http1->head.data + span->value_at, span->value_size);
        if (span->name_size == 4 && exchange_name_is(field->name, "host")) {
            exchange->host = field->value;
            hosts++;
        } else if (span->name_size == 6 && exchange_name_is(field->name, "expect")) {
            *expects = exchange_name_is(field->value, "100-continue");
        }
    }
    exchange->fields = http1->fields;
    exchange->field_count = http1->span_count;
    take_target(http1);
    return hosts <= 1 && (hosts == 1 || http1->parser.http_minor == 0);
}

static int on_head(http_parser *parser)
{
    struct http1 *http1 = of_parser(parser);
    bool has_length = parser->content_length != UINT64_MAX;
    bool expects = false;

    if (parser->http_major != 1 || !take_head(http1, &expects)) {
        http1->refused = 400;
        http1->cause = "exactly one Host header and HTTP/1.x are required";
        return -1;
    }
    http1->exchange.body_bytes = has_length ? parser->content_length : 0;
    http1->upgrade = parser->upgrade != 0 && http1_wants_upgrade(http1);
    if (http1->upgrade)
        return 2;        /* no body: what follows are frames */
    parser->upgrade = 0; /* others are ignored, CONNECT is a method like others */
    http1->keep_alive = http_should_keep_alive(parser) != 0 && !http1->draining;
    http1->streams = http1->door->handler.streams != NULL &&
                     http1->door->handler.streams(http1->door->handler.arg, &http1->exchange);
    if (!http1->streams && has_length && parser->content_length > JSON_BODY_MAX_BYTES) {
        http1->refused = 413;
        return -1;
    }
    if (expects && parser->http_minor != 0 &&
        (http1->exchange.body_bytes != 0 || (parser->flags & F_CHUNKED) != 0))
        put_text(http1, "HTTP/1.1 100 Continue\r\n\r\n");
    if (http1->streams) {
        http_parser_pause(parser, 1); /* the handler may end it all: not from in here */
        return 0;
    }
    http1->state = HTTP1_BODY;
    http1_set_phase(http1, LINK_BODY);
    return 0;
}

static bool keep_body(struct http1 *http1)
{
    if (http1->borrowed.size != 0 && !buf_append_slice(&http1->body, http1->borrowed))
        return false;
    http1->borrowed = SLICE_EMPTY;
    return true;
}

static bool takes(const struct http1 *http1)
{
    return http1->state == HTTP1_TAKING || http1->state == HTTP1_DUPLEX;
}

static bool held(const struct http1 *http1)
{
    return http1->state == HTTP1_HELD || http1->state == HTTP1_DUPLEX_HELD;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct http1 *http1 = of_parser(parser);

    http1->fresh_bytes += size;
    if (http1->fresh_bytes >= BODY_LEAST_BYTES) {
        http1->fresh_bytes = 0;
        http1->link->phase_ms = http1->link->clock->now_ms;
    }
    if (takes(http1)) {
        http1->open_bytes += size;
        http1->exchange.data(&http1->exchange, slice_of(at, size), false);
        if (takes(http1) &&
            http1->open_bytes > MAX(HTTP_BODY_OPEN_MAX_BYTES, http1->exchange.wants_bytes)) {
            http1->state = http1->state == HTTP1_TAKING ? HTTP1_HELD : HTTP1_DUPLEX_HELD;
            http1_set_phase(http1, LINK_BUSY);
            http_parser_pause(parser, 1);
        }
        return 0;
    }
    if (http1->state != HTTP1_BODY) /* answered before its end */
        return 0;
    if (http1->borrowed.size == 0 && buf_used(&http1->body) == 0) {
        http1->borrowed = slice_of(at, size);
        return 0;
    }
    if (keep_body(http1) && buf_append(&http1->body, at, size))
        return 0;
    http1->exchange.body_bytes = buf_used(&http1->body) + size;
    http1->refused = 413;
    return -1;
}

static int on_complete(http_parser *parser)
{
    of_parser(parser)->complete = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void start(struct http1 *http1, bool too_large)
{
    struct exchange *exchange = &http1->exchange;

    exchange->body_too_large = too_large;
    if (too_large) {
        http1->keep_alive = false;
    } else {
        exchange->body = http1->borrowed.size != 0 ? http1->borrowed : buf_slice(&http1->body);
        exchange->body_bytes = exchange->body.size;
    }
    http1->state = HTTP1_BUSY;
    http1_set_phase(http1, LINK_BUSY);
    http1->door->handler.start(http1->door->handler.arg, exchange);
    exchange->body = SLICE_EMPTY;
    http1->borrowed = SLICE_EMPTY;
}

/* The head is there and the handler wants the body as it comes. */
static void start_streaming(struct http1 *http1)
{
    http1->streams = false;
    http1->open_bytes = 0;
    http1->exchange.body = SLICE_EMPTY;
    http1->exchange.in_pieces = true;
    http1->state = HTTP1_TAKING;
    http1_set_phase(http1, LINK_BODY);
    http1->door->handler.start(http1->door->handler.arg, &http1->exchange);
}

/* The parser paused: at the end of a head or of a body, or because enough is open. */
static void paused(struct http1 *http1)
{
    http_parser_pause(&http1->parser, 0);
    if (http1->streams) {
        start_streaming(http1);
    } else if (http1->complete) {
        http1->complete = false;
        if (http1->upgrade) {
            http1_upgrade(http1);
        } else if (http1->state == HTTP1_BODY) {
            start(http1, false);
        } else if (takes(http1) || held(http1)) {
            http1->state = begun(http1) ? HTTP1_BEGUN : HTTP1_BUSY;
            http1_set_phase(http1, LINK_BUSY);
            http1->exchange.data(&http1->exchange, SLICE_EMPTY, true);
        }
    }
}

static void parse_failed(struct http1 *http1, enum http_errno error)
{
    if (http1->state == HTTP1_OVER) /* answered before the body's end, which is broken */
        return;
    if (takes(http1) || held(http1)) {
        if (http1->exchange.gone != NULL)
            http1->exchange.gone(&http1->exchange);
        if (begun(http1)) { /* too late to say why */
            http1_over(http1);
            return;
        }
        http1->state = HTTP1_BUSY;
    }
    if (http1->refused == 413)
        start(http1, true);
    else if (http1->refused == 431 || error == HPE_HEADER_OVERFLOW)
        refuse(http1, 431, "more header bytes or lines than this server takes");
    else if (http1->refused == 400)
        refuse(http1, 400, http1->cause);
    else
        refuse(http1, 400, http_errno_description(error));
}

static bool reads(const struct http1 *http1)
{
    return http1->state == HTTP1_IDLE || http1->state == HTTP1_HEAD || http1->state == HTTP1_BODY ||
           takes(http1);
}

static size_t http1_input(struct link *link, struct slice bytes)
{
    struct http1 *http1 = of_link(link);
    size_t taken = 0;
    enum http_errno error;

    if (http1->state == HTTP1_UPGRADED)
        return http1_upgraded_input(http1, bytes);
    for (unsigned requests = 0;
         taken < bytes.size && reads(http1) && requests < HTTP_PIPELINE_MAX;) {
        taken += http_parser_execute(&http1->parser, &settings, (const char *)bytes.data + taken,
                                     bytes.size - taken);
        error = HTTP_PARSER_ERRNO(&http1->parser);
        if (error == HPE_PAUSED) {
            requests += http1->complete;
            paused(http1);
        } else if (error != HPE_OK) {
            parse_failed(http1, error);
        }
    }
    if (http1->state == HTTP1_UPGRADED) /* the client need not wait for our hand */
        return taken +
               http1_upgraded_input(http1, slice_of(bytes.data + taken, bytes.size - taken));
    if (!keep_body(http1)) {
        http1->refused = 413;
        parse_failed(http1, HPE_CB_body);
    }
    if (http1->state == HTTP1_OVER || HTTP_PARSER_ERRNO(&http1->parser) != HPE_OK)
        return bytes.size; /* nothing behind it can be understood */
    return taken;
}

/* ---- the rest of the door ---- */

static void http1_open(void *arg, struct link *link)
{
    struct http1 *http1 = xalloc(sizeof(*http1));

    http1->door = arg;
    http1->link = link;
    link->door = http1;
    buf_init(&http1->head, HTTP_HEADER_MAX_BYTES);
    buf_init(&http1->body, JSON_BODY_MAX_BYTES);
    http_parser_init(&http1->parser, HTTP_REQUEST);
    http1->parser.data = http1;
    http1->keep_alive = true;
    http1_set_phase(http1, LINK_IDLE);
}

static bool busy(const struct http1 *http1)
{
    return http1->state == HTTP1_BUSY || http1->state == HTTP1_UPGRADED || begun(http1) ||
           takes(http1) || held(http1);
}

static void http1_again(struct link *link)
{
    struct http1 *http1 = of_link(link);

    if (!http1->wants_turn || !busy(http1))
        return;
    http1->wants_turn = false;
    if (http1->exchange.turn != NULL)
        http1->exchange.turn(&http1->exchange);
}

static void http1_drained(struct link *link)
{
    struct http1 *http1 = of_link(link);

    if (busy(http1) && http1->exchange.drained != NULL)
        http1->exchange.drained(&http1->exchange);
    if (http1->state == HTTP1_UPGRADED)
        http1_upgraded_drained(http1);
}

/* The client does not wait any longer: the handler is told, the connection ends. */
static void give_up(struct http1 *http1)
{
    if (busy(http1) && http1->exchange.gone != NULL)
        http1->exchange.gone(&http1->exchange);
    http1_over(http1);
}

static void http1_wake(struct link *link)
{
    struct http1 *http1 = of_link(link);
    uint64_t now_ms = link->clock->now_ms;

    if (http1->grace_until_ms != 0 && now_ms >= http1->grace_until_ms) {
        http1->grace_until_ms = 0;
        set_wake(http1);
        give_up(http1);
    } else if (http1->wake_at_ms != 0 && now_ms >= http1->wake_at_ms) {
        http1->wake_at_ms = 0;
        set_wake(http1);
        if (busy(http1) && http1->exchange.wake != NULL)
            http1->exchange.wake(&http1->exchange);
    }
}

static void http1_ended(struct link *link)
{
    struct http1 *http1 = of_link(link);

    http1->client_ended = true;
    if (http1->state != HTTP1_BUSY) { /* a stream nobody can end otherwise, or half a request */
        give_up(http1);
        return;
    }
    http1->grace_until_ms = link->clock->now_ms + HTTP1_HALF_CLOSE_GRACE_MS;
    set_wake(http1);
    link->changed(link);
}

static void http1_drain(struct link *link)
{
    struct http1 *http1 = of_link(link);

    http1->draining = true;
    http1->keep_alive = false;
    if (http1->state == HTTP1_IDLE)
        http1_over(http1);
    else if (busy(http1) && http1->exchange.stop != NULL)
        http1->exchange.stop(&http1->exchange);
}

static void http1_close(struct link *link)
{
    struct http1 *http1 = of_link(link);

    if (busy(http1) && http1->exchange.gone != NULL)
        http1->exchange.gone(&http1->exchange);
    buf_free(&http1->head);
    buf_free(&http1->body);
    free(http1->spans);
    free(http1->fields);
    free(http1);
    link->door = NULL;
}

void http1_door_init(struct http1_door *door, struct exchange_handler handler)
{
    *door = (struct http1_door){.handler = handler};
}

struct link_door http1_link_door(struct http1_door *door)
{
    return (struct link_door){
        .arg = door,
        .open = http1_open,
        .input = http1_input,
        .again = http1_again,
        .drained = http1_drained,
        .wake = http1_wake,
        .ended = http1_ended,
        .drain = http1_drain,
        .close = http1_close,
    };
}
