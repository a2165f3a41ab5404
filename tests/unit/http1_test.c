/*
 * http1_test.c - framing: requests in one piece and byte by byte, pipelining and its order, bodies,
 * limits, malformed bytes, answers whole and in pieces.
 */
#include "tests/lib/toy_link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

/* Answers "METHOD PATH?QUERY host=HOST body=BODY" at once, or remembers the exchange. */
struct echo {
    bool later;
    struct exchange *exchange;
    size_t started, gone, drained, turns, wakes, stops;
};

static void echo_gone(struct exchange *exchange)
{
    ((struct echo *)exchange->state)->gone++;
}

static void echo_drained(struct exchange *exchange)
{
    ((struct echo *)exchange->state)->drained++;
}

static void echo_turn(struct exchange *exchange)
{
    ((struct echo *)exchange->state)->turns++;
}

static void echo_wake(struct exchange *exchange)
{
    ((struct echo *)exchange->state)->wakes++;
}

static void echo_stop(struct exchange *exchange)
{
    ((struct echo *)exchange->state)->stops++;
}

static void echo_answer(struct exchange *exchange)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "?"};
    struct exchange_head head = {.status = 200, .content_type = "text/plain"};
    struct buf body = BUF_INIT(BUF_UNLIMITED);

    buf_printf(&body, "%s %.*s?%.*s host=%.*s body=", methods[exchange->method],
               (int)exchange->path.size, (const char *)exchange->path.data,
               (int)exchange->query.size, (const char *)exchange->query.data,
               (int)exchange->host.size, (const char *)exchange->host.data);
    if (exchange->body_too_large)
        buf_printf(&body, "too large %" PRIu64, exchange->body_bytes);
    else if (exchange->body.size > 100)
        buf_printf(&body, "%zu bytes", exchange->body.size);
    else
        buf_append_slice(&body, exchange->body);
    exchange_answer(exchange, &head, buf_slice(&body));
    buf_free(&body);
}

static void echo_start(void *arg, struct exchange *exchange)
{
    struct echo *echo = arg;

    echo->started++;
    exchange->state = echo;
    exchange->gone = echo_gone;
    exchange->drained = echo_drained;
    exchange->turn = echo_turn;
    exchange->wake = echo_wake;
    exchange->stop = echo_stop;
    echo->exchange = exchange;
    if (!echo->later)
        echo_answer(exchange);
}

static void open_echo(struct toy_link *toy, struct echo *echo)
{
    toy_link_open(toy, (struct exchange_handler){.arg = echo, .start = echo_start});
}

#define HEAD_OK "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define DATE "Date: Sun, 22 Nov 2026 04:00:00 GMT\r\n"

static void one_request(void **state)
{
    struct echo echo = {.later = false};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "POST /a/b?c=d HTTP/1.1\r\nHost: x:1\r\nContent-Length: 3\r\n\r\nxyz");
    assert_string_equal(toy_link_answer(&toy),
                        HEAD_OK DATE "Content-Length: 31\r\n\r\nPOST /a/b?c=d host=x:1 body=xyz");
    assert_false(toy.link.close);
    toy_link_close(&toy);
}

static const char session[] =
    "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    "POST /2 HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
    "PUT http://c:9/3?q HTTP/1.1\r\nHost: ignored\r\nContent-Length: 2\r\n\r\nhi"
    "HEAD /4 HTTP/1.1\r\nHost: d\r\n\r\n"
    "PATCH /5 HTTP/1.1\r\nHOST: e\r\nConnection: close\r\n\r\n";

static void whole_session(struct toy_link *toy, size_t piece)
{
    for (size_t at = 0; at < sizeof(session) - 1; at += piece)
        toy_link_feed(toy, slice_of(session + at, MIN(piece, sizeof(session) - 1 - at)));
}

/* However the bytes are cut, the answers are the same. */
static void any_cut(void **state)
{
    struct echo echo = {.later = false};
    struct toy_link whole, toy;

    (void)state;
    open_echo(&whole, &echo);
    whole_session(&whole, sizeof(session));
    toy_link_answer(&whole);
    assert_true(whole.link.close);
    assert_non_null(strstr(buf_text(&whole.got), "POST /2? host=b body=abcdefg"));
    assert_non_null(strstr(buf_text(&whole.got), "PUT /3?q host=c body=hi"));
    assert_null(strstr(buf_text(&whole.got), "HEAD /4"));
    assert_non_null(strstr(buf_text(&whole.got), "Connection: close\r\n"));
    for (size_t piece = 1; piece < 40; piece++) {
        open_echo(&toy, &echo);
        whole_session(&toy, piece);
        assert_string_equal(toy_link_answer(&toy), buf_text(&whole.got));
        toy_link_close(&toy);
    }
    toy_link_close(&whole);
}

/* While one request is in work, the next ones wait, and are answered in order. */
static void pipelined(void **state)
{
    struct echo echo = {.later = true};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(toy_link_answer(&toy), "");
    assert_int_equal(echo.started, 1);
    assert_int_equal(toy.link.phase, LINK_BUSY);
    echo_answer(echo.exchange);
    assert_non_null(strstr(toy_link_answer(&toy), "GET /1?"));
    assert_int_equal(echo.started, 2);
    echo_answer(echo.exchange);
    assert_non_null(strstr(toy_link_answer(&toy), "GET /2?"));
    toy_link_close(&toy);
    assert_int_equal(echo.gone, 0);
}

/* A turn answers HTTP_PIPELINE_MAX at most, the others get theirs in the next. */
static void pipeline_is_bounded(void **state)
{
    struct echo echo = {.later = false};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    for (size_t i = 0; i < 3 * HTTP_PIPELINE_MAX; i++)
        buf_append_text(&toy.pending, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    toy_link_offer(&toy);
    assert_int_equal(echo.started, HTTP_PIPELINE_MAX);
    toy_link_answer(&toy);
    assert_int_equal(echo.started, 3 * HTTP_PIPELINE_MAX);
    toy_link_close(&toy);
}

static void refused(const char *bytes, const char *answer)
{
    struct echo echo = {.later = false};
    struct toy_link toy;

    open_echo(&toy, &echo);
    toy_link_text(&toy, bytes);
    if (strncmp(toy_link_answer(&toy), answer, strlen(answer)) != 0)
        fail_msg("%s was answered %s", bytes, buf_text(&toy.got));
    assert_true(toy.link.close);
    assert_int_equal(buf_used(&toy.pending), 0);
    assert_int_equal(echo.started, 0);
    toy_link_text(&toy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); /* nothing behind it is served */
    assert_int_equal(echo.started, 0);
    toy_link_close(&toy);
}

static void malformed(void **state)
{
    static const char *const bad[] = {
        "garbage\r\n\r\n",
        "\x16\x03\x01\x02",
        "GET / HTTP/2.0\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i], "HTTP/1.1 400 Bad Request\r\n");
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

/* Whoever stands before us might see other requests in these bytes. */
static void chunks_that_are_none(void **state)
{
    static const char *const bad[] = {
        CHUNKED "2\r\n{}xx0\r\n\r\n",       CHUNKED "2\r\n{}\r0\r\n\r\n",
        CHUNKED "2\r\n{}\n\n0\r\n\r\n",     CHUNKED "2;a\nb\r\n{}\r\n0\r\n\r\n",
        CHUNKED "2;a\n\r\n{}\r\n0\r\n\r\n", CHUNKED "2\r\n{}\r\n0;\n\r\n\r\n",
        CHUNKED "2\n{}\r\n0\r\n\r\n",       CHUNKED "00000000000000002\r\n{}\r\n0\r\n\r\n",
        CHUNKED ";\r\n{}\r\n0\r\n\r\n",     CHUNKED "-2\r\n{}\r\n0\r\n\r\n",
    };
    static const char *const good[] = {
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked  \r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        CHUNKED "2 ; a=\"b\"\r\n{}\r\n000;c\r\nT: v\r\n\r\n",
    };
    static const char *const codings[] = {
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct echo echo = {.later = false};
        struct toy_link toy;

        refused(bad[i], "HTTP/1.1 400 Bad Request\r\n");
        open_echo(&toy, &echo);
        for (const char *at = bad[i]; *at != '\0'; at++)
            toy_link_feed(&toy, slice_of(at, 1));
        assert_non_null(strstr(toy_link_answer(&toy), "HTTP/1.1 400 Bad Request\r\n"));
        assert_int_equal(echo.started, 0);
        toy_link_close(&toy);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct echo echo = {.later = false};
        struct toy_link toy;

        open_echo(&toy, &echo);
        toy_link_text(&toy, good[i]);
        assert_int_equal(echo.started, 1);
        toy_link_close(&toy);
    }
    for (size_t i = 0; i < ARRAY_LEN(codings); i++)
        refused(codings[i], "HTTP/1.1 501 Not Implemented\r\n");
}

static void header_limits(void **state)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    buf_append_text(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 0; i < HTTP_HEADERS_MAX; i++)
        buf_append_text(&text, "a: b\r\n");
    refused(buf_text(&text), "HTTP/1.1 431 ");
    buf_reset(&text);
    buf_append_text(&text, "GET / HTTP/1.1\r\nHost: a\r\nx: ");
    for (size_t i = 0; i < HTTP_HEADER_MAX_BYTES; i++)
        buf_append_byte(&text, 'y');
    refused(buf_text(&text), "HTTP/1.1 431 ");
    buf_reset(&text);
    buf_append_text(&text, "GET /");
    for (size_t i = 0; i < HTTP_HEADER_MAX_BYTES; i++)
        buf_append_byte(&text, 'y');
    refused(buf_text(&text), "HTTP/1.1 431 ");
    buf_free(&text);
}

static void body_limits(void **state)
{
    struct echo echo = {.later = false};
    struct toy_link toy;
    uint8_t *block = xalloc(MIB);
    char head[64];

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777217\r\n\r\n");
    assert_non_null(strstr(toy_link_answer(&toy), "body=too large 16777217"));
    assert_true(toy.link.close);
    toy_link_close(&toy);

    open_echo(&toy, &echo);
    toy_link_text(&toy, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < 17 && !toy.link.close; i++) {
        (void)snprintf(head, sizeof(head), "%lx\r\n", MIB);
        toy_link_text(&toy, head);
        toy_link_feed(&toy, slice_of(block, MIB));
        toy_link_text(&toy, "\r\n");
    }
    assert_non_null(strstr(toy_link_answer(&toy), "body=too large"));
    toy_link_close(&toy);

    open_echo(&toy, &echo); /* exactly the limit is fine */
    toy_link_text(&toy, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n");
    for (size_t i = 0; i < 16; i++)
        toy_link_feed(&toy, slice_of(block, MIB));
    assert_non_null(strstr(toy_link_answer(&toy), "body=16777216 bytes"));
    assert_false(toy.link.close);
    toy_link_close(&toy);
    free(block);
}

/* Trailers are read away; the head stays where the exchange points to. */
static void trailers(void **state)
{
    struct echo echo = {.later = false};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "POST /path HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "1\r\nb\r\n0\r\n");
    for (size_t i = 0; i < 1000; i++)
        toy_link_text(&toy, "Trailer: some text that is long enough to fill a buffer\r\n");
    toy_link_text(&toy, "\r\n");
    assert_non_null(strstr(toy_link_answer(&toy), "POST /path? host=a body=b"));
    toy_link_close(&toy);
}

static void expect_continue(void **state)
{
    struct echo echo = {.later = false};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        "Content-Length: 2\r\n\r\n");
    assert_string_equal(toy_link_answer(&toy), "HTTP/1.1 100 Continue\r\n\r\n");
    toy_link_forget(&toy);
    toy_link_text(&toy, "ab");
    assert_non_null(strstr(toy_link_answer(&toy), "body=ab"));
    toy_link_close(&toy);
}

static void old_http(void **state)
{
    struct echo echo = {.later = false};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_non_null(strstr(toy_link_answer(&toy), "HTTP/1.0 200 OK\r\n"));
    assert_non_null(strstr(toy_link_answer(&toy), "Connection: keep-alive\r\n"));
    assert_false(toy.link.close);
    toy_link_text(&toy, "GET / HTTP/1.0\r\n\r\n");
    toy_link_answer(&toy);
    assert_true(toy.link.close);
    toy_link_close(&toy);
}

static void upgrade_is_ignored(void **state)
{
    struct echo echo = {.later = false};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "POST /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
                        "Content-Length: 1\r\n\r\nz");
    assert_non_null(strstr(toy_link_answer(&toy), "POST /u? host=a body=z"));
    toy_link_close(&toy);
}

static void in_pieces(void **state)
{
    struct exchange_head head = {.status = 200, .content_type = "x/y", .fields = "A: b\r\n"};
    struct echo echo = {.later = true};
    struct toy_link toy;
    uint8_t *block = xalloc(HTTP_OUT_HIGH_BYTES);

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    exchange_begin(echo.exchange, &head);
    exchange_send(echo.exchange, SLICE_LITERAL("hello "));
    exchange_send(echo.exchange, SLICE_LITERAL("worldworldworldworld"));
    exchange_end(echo.exchange);
    assert_string_equal(toy_link_answer(&toy),
                        "HTTP/1.1 200 OK\r\nA: b\r\nContent-Type: x/y\r\n" DATE
                        "Transfer-Encoding: chunked\r\n\r\n"
                        "6\r\nhello \r\n14\r\nworldworldworldworld\r\n0\r\n\r\n");
    toy_link_forget(&toy);

    toy_link_text(&toy,
                  "GET / HTTP/1.0\r\n\r\n"); /* no chunks: the end of the connection ends it */
    exchange_begin(echo.exchange, &head);
    exchange_send(echo.exchange, slice_of(block, HTTP_OUT_HIGH_BYTES));
    assert_true(exchange_full(echo.exchange));
    toy_link_read(&toy, HTTP_OUT_LOW_BYTES);
    assert_int_equal(echo.drained, 0);
    toy_link_read(&toy, SIZE_MAX);
    assert_int_equal(echo.drained, 1);
    assert_false(exchange_full(echo.exchange));
    exchange_end(echo.exchange);
    assert_true(toy.link.close);
    toy_link_close(&toy);
    free(block);
}

static void wishes(void **state)
{
    struct echo echo = {.later = true};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    exchange_again(echo.exchange);
    exchange_wake_at(echo.exchange, 1500);
    toy_link_answer(&toy);
    assert_int_equal(echo.turns, 1);
    toy_link_at(&toy, 1499);
    assert_int_equal(echo.wakes, 0);
    toy_link_at(&toy, 1500);
    assert_int_equal(echo.wakes, 1);
    toy.door.drain(&toy.link);
    assert_int_equal(echo.stops, 1);
    echo_answer(echo.exchange);
    assert_non_null(strstr(toy_link_answer(&toy), "Connection: close\r\n"));
    assert_true(toy.link.close);
    toy_link_close(&toy);
}

/* The client shuts its side: a waiting answer has a second, a stream none. */
static void half_closed(void **state)
{
    struct exchange_head head = {.status = 200};
    struct echo echo = {.later = true};
    struct toy_link toy;

    (void)state;
    open_echo(&toy, &echo);
    toy_link_text(&toy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    toy.door.ended(&toy.link);
    assert_false(toy.link.close);
    toy_link_at(&toy, 1000 + HTTP1_HALF_CLOSE_GRACE_MS);
    assert_int_equal(echo.gone, 1);
    assert_true(toy.link.close);
    toy_link_close(&toy);
    assert_int_equal(echo.gone, 1);

    open_echo(&toy, &echo);
    toy_link_text(&toy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    exchange_begin(echo.exchange, &head);
    toy.door.ended(&toy.link);
    assert_int_equal(echo.gone, 2);
    toy_link_close(&toy);

    open_echo(&toy, &echo); /* idle: it just closes */
    toy.door.ended(&toy.link);
    assert_true(toy.link.close);
    toy_link_close(&toy);
}

/* ---- bodies in pieces ---- */

struct piecewise {
    size_t started, got, gone;
    bool ended, hold;
    unsigned answer_at; /* answer when so many bytes have come; 0: at the end */
    struct exchange *exchange;
};

static void piece_answer(struct piecewise *pieces, unsigned status)
{
    struct exchange_head head = {.status = status};
    struct exchange *exchange = pieces->exchange;

    pieces->exchange = NULL;
    exchange_answer(exchange, &head, SLICE_EMPTY);
}

static void piece_data(struct exchange *exchange, struct slice bytes, bool ended)
{
    struct piecewise *pieces = exchange->state;

    pieces->got += bytes.size;
    pieces->ended = ended;
    if (!pieces->hold && bytes.size != 0)
        exchange_taken(exchange, bytes.size);
    if (pieces->answer_at != 0 && pieces->got >= pieces->answer_at)
        piece_answer(pieces, 400);
    else if (ended)
        piece_answer(pieces, 204);
}

static void piece_gone(struct exchange *exchange)
{
    ((struct piecewise *)exchange->state)->gone++;
}

static void piece_start(void *arg, struct exchange *exchange)
{
    struct piecewise *pieces = arg;

    assert_int_equal(exchange->body.size, 0);
    pieces->started++;
    pieces->exchange = exchange;
    exchange->state = pieces;
    exchange->data = piece_data;
    exchange->gone = piece_gone;
}

static bool piece_wanted(void *arg, const struct exchange *exchange)
{
    (void)arg;
    return slice_equal(exchange->path, SLICE_LITERAL("/pieces"));
}

static void open_pieces(struct toy_link *toy, struct piecewise *pieces)
{
    struct exchange_handler handler = {.arg = pieces, .start = piece_start};

    toy_link_open(toy, handler);
    toy->http1.handler.streams = piece_wanted;
}

/* A byte now and then is no progress: the deadline of the body comes all the same. */
static void a_body_must_come(void **state)
{
    struct toy_link toy;
    uint64_t since_ms;

    (void)state;
    toy_link_open(&toy, (struct exchange_handler){.start = piece_start});
    toy_link_text(&toy, "POST /drip HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    assert_int_equal(toy.link.phase, LINK_BODY);
    since_ms = toy.link.phase_ms;
    for (size_t i = 0; i < BODY_LEAST_BYTES - 1; i++) {
        toy.clock.now_ms += 1000;
        toy_link_text(&toy, "x");
    }
    assert_int_equal(toy.link.phase_ms, since_ms);
    toy_link_text(&toy, "x");
    assert_int_equal(toy.link.phase_ms, toy.clock.now_ms);
    toy_link_close(&toy);
}

static void a_body_in_pieces_has_no_limit_but_is_held_back(void **state)
{
    struct piecewise pieces = {.hold = true};
    uint8_t *block = xalloc(64 * KIB);
    size_t sent = 0, total = 40 * MIB;
    struct toy_link toy;

    (void)state;
    open_pieces(&toy, &pieces);
    toy_link_text(&toy, "POST /pieces HTTP/1.1\r\nHost: x\r\nContent-Length: 41943040\r\n\r\n");
    assert_int_equal(pieces.started, 1);
    for (; buf_used(&toy.pending) == 0; sent += 64 * KIB)
        toy_link_feed(&toy, slice_of(block, 64 * KIB));
    assert_in_range(pieces.got, HTTP_BODY_OPEN_MAX_BYTES, HTTP_BODY_OPEN_MAX_BYTES + 128 * KIB);
    assert_int_equal(toy.link.phase, LINK_BUSY);
    pieces.hold = false;
    exchange_taken(pieces.exchange, pieces.got);
    assert_int_equal(toy.link.phase, LINK_BODY);
    for (; sent < total; sent += 64 * KIB)
        toy_link_feed(&toy, slice_of(block, 64 * KIB));
    while (toy_link_turn(&toy))
        continue;
    assert_int_equal(pieces.got, total);
    assert_true(pieces.ended);
    assert_non_null(strstr(toy_link_answer(&toy), "204 No Content"));
    assert_false(toy.link.close); /* kept alive */
    toy_link_close(&toy);
    free(block);
}

static void a_chunked_body_comes_in_pieces_byte_by_byte(void **state)
{
    static const char request[] = "POST /pieces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
                                  "\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: v\r\n\r\n";
    struct piecewise pieces = {.got = 0};
    struct toy_link toy;

    (void)state;
    open_pieces(&toy, &pieces);
    for (size_t i = 0; i < sizeof(request) - 1; i++)
        toy_link_feed(&toy, slice_of(request + i, 1));
    assert_int_equal(pieces.got, 7);
    assert_true(pieces.ended);
    toy_link_close(&toy);
}

static void an_early_answer_ends_the_connection(void **state)
{
    struct piecewise pieces = {.answer_at = 2};
    struct toy_link toy;

    (void)state;
    open_pieces(&toy, &pieces);
    toy_link_text(&toy, "POST /pieces HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabcde");
    assert_non_null(strstr(toy_link_answer(&toy), "400 Bad Request"));
    assert_true(toy.link.close);
    toy_link_close(&toy);
    assert_int_equal(pieces.gone, 0);
}

static void broken_pieces_are_told_to_the_handler(void **state)
{
    struct piecewise pieces = {.got = 0};
    struct toy_link toy;

    (void)state;
    open_pieces(&toy, &pieces);
    toy_link_text(&toy, "POST /pieces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\nabc\r\nzz\r\n");
    assert_int_equal(pieces.gone, 1);
    assert_true(toy.link.close);
    toy_link_close(&toy);
    assert_int_equal(pieces.gone, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_request),
        cmocka_unit_test(any_cut),
        cmocka_unit_test(pipelined),
        cmocka_unit_test(pipeline_is_bounded),
        cmocka_unit_test(malformed),
        cmocka_unit_test(chunks_that_are_none),
        cmocka_unit_test(header_limits),
        cmocka_unit_test(body_limits),
        cmocka_unit_test(expect_continue),
        cmocka_unit_test(trailers),
        cmocka_unit_test(old_http),
        cmocka_unit_test(upgrade_is_ignored),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(wishes),
        cmocka_unit_test(half_closed),
        cmocka_unit_test(a_body_must_come),
        cmocka_unit_test(a_body_in_pieces_has_no_limit_but_is_held_back),
        cmocka_unit_test(a_chunked_body_comes_in_pieces_byte_by_byte),
        cmocka_unit_test(an_early_answer_ends_the_connection),
        cmocka_unit_test(broken_pieces_are_told_to_the_handler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
