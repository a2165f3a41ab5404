/*
 * http1.c - see http1.h. http-parser turns bytes into events; this file turns events into one
 * exchange at a time. Answers are http1_answer.c, WebSocket is http1_upgrade.c.
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

static struct http1 *of_link(struct link *link)
{
    return link->door;
}

/* ---- the connection ---- */

void http1_set_phase(struct http1 *http1, enum link_phase phase)
{
    http1->link->phase = phase;
    http1->link->phase_ms = http1->link->clock->now_ms;
}

void http1_over(struct http1 *http1)
{
    http1->state = HTTP1_OVER;
    http1->link->close = true;
    http1_set_phase(http1, LINK_BUSY);
    http1->link->changed(http1->link);
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
    http1->chunks.state = CHUNKS_NONE;
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
        .method = method_of(&http1->parser), .link = http1->link, .ops = &http1_exchange_ops};
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

/* The body is as it is, or chunked and nothing else. */
static bool knows_coding(const struct http1 *http1)
{
    const struct exchange *exchange = &http1->exchange;
    size_t codings = 0;
    bool known = true;

    for (size_t i = 0; i < exchange->field_count; i++) {
        if (exchange->fields[i].name.size != 17 ||
            !exchange_name_is(exchange->fields[i].name, "transfer-encoding"))
            continue;
        known = known && exchange_name_is(slice_trim(exchange->fields[i].value), "chunked");
        codings++;
    }
    return known && codings <= 1;
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
    if (!knows_coding(http1)) {
        http1->refused = 501;
        http1->cause = "no transfer coding is known but chunked, once";
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
        buf_append_text(&http1->link->out, "HTTP/1.1 100 Continue\r\n\r\n");
    if ((parser->flags & F_CHUNKED) != 0) {
        http1->chunks.state = CHUNKS_HEAD_END;
        http_parser_pause(parser, 1); /* so that it is known where the body begins */
    }
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
    http1_forget_body(http1); /* the answer may take as long as it likes */
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
            http1->state = http1_begun(http1) ? HTTP1_BEGUN : HTTP1_BUSY;
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
        if (http1_begun(http1)) { /* too late to say why */
            http1_over(http1);
            return;
        }
        http1->state = HTTP1_BUSY;
    }
    if (http1->refused == 413)
        start(http1, true);
    else if (http1->refused == 431 || error == HPE_HEADER_OVERFLOW)
        http1_refuse(http1, 431, "more header bytes or lines than this server takes");
    else if (http1->refused == 400 || http1->refused == 501)
        http1_refuse(http1, http1->refused, http1->cause);
    else
        http1_refuse(http1, 400, http_errno_description(error));
}

static bool reads(const struct http1 *http1)
{
    return http1->state == HTTP1_IDLE || http1->state == HTTP1_HEAD || http1->state == HTTP1_BODY ||
           takes(http1);
}

/* Are these the next bytes of chunks, if it is chunks that come? Asked before any of them is handed
 * on. False: it was refused. */
static bool framed(struct http1 *http1, struct slice bytes)
{
    struct http1_chunks ahead = http1->chunks;

    if (http1_chunks_good(&ahead, bytes))
        return true;
    http1->refused = 400;
    http1->cause = "a chunk of the body is not framed as HTTP/1.1 has it";
    parse_failed(http1, HPE_CB_chunk_header);
    return false;
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
        struct slice rest = slice_of(bytes.data + taken, bytes.size - taken);
        bool chunks = http1->chunks.state != CHUNKS_NONE;
        size_t used;

        if (!framed(http1, rest))
            return bytes.size;
        used = http_parser_execute(&http1->parser, &settings, (const char *)rest.data, rest.size);
        if (chunks) /* not those whose head has just ended */
            must(http1_chunks_good(&http1->chunks, slice_of(rest.data, used)));
        taken += used;
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
    return http1->state == HTTP1_BUSY || http1->state == HTTP1_UPGRADED || http1_begun(http1) ||
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
        http1_set_wake(http1);
        give_up(http1);
    } else if (http1->wake_at_ms != 0 && now_ms >= http1->wake_at_ms) {
        http1->wake_at_ms = 0;
        http1_set_wake(http1);
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
    http1_set_wake(http1);
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
