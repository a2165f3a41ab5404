/*
 * http1_answer.c - what an exchange's ops write on an HTTP/1.1 connection.
 *
 *   answer()                head, Content-Length, body                   the request is over
 *   begin() send() end()    head, then pieces: chunks for HTTP/1.1, measured when the length was
 *                           told, else up to the end of the connection
 *
 * Everything goes to link->out at once; full() says when it is enough. Whenever the rest of a body
 * is not wanted, or an answer is cut, the connection does not live on.
 */
#include "etcd-server/doors/http1_internal.h"

#include "common/base/limits.h"

#include <stdio.h>
#include <time.h>

#define KEEP_HEAD_BYTES (4 * KIB)  /* memory an idle connection may keep */
#define KEEP_BODY_BYTES (16 * KIB) /* the same; small bodies come again and again */

/* ---- heads ---- */

struct reason {
    unsigned status;
    const char *text;
};

static const char *reason_phrase(unsigned status)
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
        put_text(http1, reason_phrase(head->status));
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

/* ---- the ops ---- */

static void keep_little(struct buf *buf, size_t bytes)
{
    buf_reset(buf);
    if (buf->capacity > bytes)
        buf_free(buf);
}

void http1_forget_body(struct http1 *http1)
{
    keep_little(&http1->body, KEEP_BODY_BYTES);
}

/* The exchange is over; wait for the next request. */
static void finished(struct http1 *http1)
{
    keep_little(&http1->head, KEEP_HEAD_BYTES);
    http1_forget_body(http1);
    http1->wake_at_ms = 0;
    http1->wants_turn = false;
    http1->link->drained_wanted = false;
    http1->link->holds_view = false;
    http1_set_wake(http1);
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
    struct http1 *http1 = http1_of_exchange(exchange);
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
    struct http1 *http1 = http1_of_exchange(exchange);

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

static void op_send(struct exchange *exchange, struct slice bytes)
{
    struct http1 *http1 = http1_of_exchange(exchange);
    struct buf *out = &http1->link->out;

    must(http1_begun(http1));
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
    struct http1 *http1 = http1_of_exchange(exchange);

    must(http1_begun(http1));
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
    struct http1 *http1 = http1_of_exchange(exchange);

    http1->keep_alive = false; /* without the last chunk the client sees that it is cut */
    finished(http1);
}

bool http1_full(struct exchange *exchange)
{
    struct http1 *http1 = http1_of_exchange(exchange);

    if (buf_used(&http1->link->out) <= HTTP_OUT_HIGH_BYTES)
        return false;
    http1->link->drained_wanted = true;
    http1->link->changed(http1->link);
    return true;
}

void http1_again_later(struct exchange *exchange)
{
    struct http1 *http1 = http1_of_exchange(exchange);

    http1->wants_turn = true;
    http1->link->again = true;
    http1->link->changed(http1->link);
}

void http1_wake_at(struct exchange *exchange, uint64_t at_ms)
{
    struct http1 *http1 = http1_of_exchange(exchange);

    http1->wake_at_ms = at_ms;
    http1_set_wake(http1);
    http1->link->changed(http1->link);
}

static void op_taken(struct exchange *exchange, size_t bytes)
{
    struct http1 *http1 = http1_of_exchange(exchange);

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

const struct exchange_ops http1_exchange_ops = {
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
void http1_refuse(struct http1 *http1, unsigned status, const char *cause)
{
    struct buf *out = &http1->link->out;
    const char *reason = reason_phrase(status);

    http1->keep_alive = false;
    buf_printf(out,
               "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
               "Content-Length: %zu\r\n\r\n%u %s: %s\n",
               status, reason, 3 + 1 + strlen(reason) + 2 + strlen(cause) + 1, status, reason,
               cause);
    http1_over(http1);
}
