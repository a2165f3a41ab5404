/* websocket_test.c - frames of RFC 6455, whole and in pieces; what is refused; the handshake. */
#include "etcd-server/doors/websocket.h"
#include "tests/lib/toy_websocket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct buf in, seen;

/* What the reader says of `in`, given in pieces, as text. */
static const char *read_in(size_t step)
{
    struct websocket_reader reader = {.left = 0};
    uint8_t piece[WEBSOCKET_PIECE_BYTES];

    buf_reset(&seen);
    for (size_t at = 0; at < buf_used(&in); at += step) {
        struct slice bytes = slice_of(in.data + at, MIN(step, buf_used(&in) - at)), content;
        enum websocket_event event;

        while ((event = websocket_read(&reader, &bytes, piece, &content)) != WEBSOCKET_MORE) {
            static const char *const marks[] = {"", "", "|", "<ping ", "<close ", "<wrong "};

            buf_append_text(&seen, marks[event]);
            buf_append_slice(&seen, event == WEBSOCKET_MESSAGE_END ? SLICE_EMPTY : content);
            if (event > WEBSOCKET_MESSAGE_END)
                buf_append_byte(&seen, '>');
        }
        assert_int_equal(bytes.size, 0);
    }
    return buf_text(&seen);
}

static void put(unsigned first, const char *text)
{
    toy_frame(&in, first, slice_text(text));
}

static int set_up(void **state)
{
    (void)state;
    buf_init(&in, BUF_UNLIMITED);
    buf_init(&seen, BUF_UNLIMITED);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&in);
    buf_free(&seen);
    return 0;
}

static void messages(void **state)
{
    (void)state;
    put(0x81, "one");
    put(0x82, "two");
    put(0x01, "th");
    put(0x89, "are you there?"); /* between the frames of a message */
    put(0x00, "re");
    put(0x8a, "nobody asked");
    put(0x80, "e");
    put(0x81, "");
    put(0x88, "\x03\xe8");
    put(0x81, "not read any more");
    for (size_t step = 1; step < 40; step++)
        assert_string_equal(read_in(step), "one|two|th<ping are you there?>ree||<close \x03\xe8>");
}

static void lengths(void **state)
{
    static const size_t sizes[] = {125, 126, 4096, 4097, 65535, 65536, 200000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf payload = BUF_INIT(BUF_UNLIMITED);

        for (size_t at = 0; at < sizes[i]; at++)
            buf_append_byte(&payload, (uint8_t)('a' + at % 23));
        buf_reset(&in);
        toy_frame(&in, 0x81, buf_slice(&payload));
        buf_append_byte(&payload, '|');
        (void)read_in(1000);
        assert_true(slice_equal(buf_slice(&seen), buf_slice(&payload)));
        buf_reset(&seen);
        buf_free(&payload);
    }
}

static void wrong(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
    } rows[] = {
        {"\x81\x01"
         "a",
         3, "<wrong a client's frames must be masked>"},
        {"\xc1\x80", 2, "<wrong RSV bits set: no extension was agreed on>"},
        {"\x83\x80", 2, "<wrong unknown opcode>"},
        {"\x8b\x80", 2, "<wrong unknown opcode>"},
        {"\x09\x80", 2, "<wrong a control frame must be whole and of 125 bytes at most>"},
        {"\x89\xfe", 2, "<wrong a control frame must be whole and of 125 bytes at most>"},
        {"\x80\x80", 2, "<wrong a continuation of no message>"},
        {"\x01\x80\0\0\0\0\x01\x80", 8, "<wrong a message begins inside another>"},
        {"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 14, "<wrong a length of more than 63 bits>"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&in);
        buf_append(&in, rows[i].bytes, rows[i].size);
        assert_string_equal(read_in(1), rows[i].text);
        assert_string_equal(read_in(100), rows[i].text);
    }
}

static void answers(void **state)
{
    char accept[WEBSOCKET_ACCEPT_BYTES];

    (void)state;
    assert_true(websocket_accept(SLICE_LITERAL("dGhlIHNhbXBsZSBub25jZQ=="), accept));
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); /* RFC 6455 1.3 */
    assert_false(websocket_accept(SLICE_LITERAL("dGhlIHNhbXBsZSBub25j"), accept));
    assert_false(websocket_accept(SLICE_LITERAL("dGhlIHNhbXBsZSBub25jZQ=!"), accept));
    websocket_put(&in, WEBSOCKET_TEXT, false, SLICE_LITERAL("ab"));
    websocket_put(&in, WEBSOCKET_CONTINUATION, true, SLICE_EMPTY);
    websocket_put_close(&in, WEBSOCKET_PROTOCOL_ERROR, SLICE_LITERAL("no"));
    assert_true(slice_equal(buf_slice(&in), SLICE_LITERAL("\x01\x02"
                                                          "ab\x80\x00\x88\x04\x03\xea"
                                                          "no")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(messages), TEST(lengths), TEST(wrong), TEST(answers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
