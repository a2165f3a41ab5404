/* json_reader_test.c - the grammar, exact integers, skipping, the depth limit. */
#include "common/base/buf.h"
#include "common/base/json_reader.h"
#include "common/base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static bool skips(const char *text)
{
    struct json_reader reader;
    struct err err = ERR_INIT;

    json_reader_init(&reader, slice_text(text));
    if (json_skip(&reader, &err) < 0) {
        assert_int_not_equal(err.code, ERR_OK);
        assert_string_not_equal(err.text, "");
        return false;
    }
    return json_peek(&reader) == JSON_END && reader.depth == 0;
}

static void takes_what_the_grammar_has(void **state)
{
    static const char *const good[] = {
        "{}",
        "[]",
        " [ ] ",
        "0",
        "-0",
        "12",
        "1.5",
        "1e3",
        "1E+3",
        "-0.5e-7",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\\\"b\"",
        "\"\\u00e9\\ud83d\\ude00\"",
        "\"\xc3\xa9 \xf0\x9f\x98\x80\"",
        "{\"a\":[1,2,{\"b\":null}],\"c\":{}}",
        "[[],[[]],{}]",
        "\"a long string of plain text\"",
        "\"\x7f\"",
        "\"\\/\\b\\f\\n\\r\\t\"",
    };
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "}",
        "]",
        "{]",
        "[}",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[,1]",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":}",
        "{1:2}",
        "[1 2]",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "truex",
        "tru",
        "nul",
        "NaN",
        "Infinity",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x41\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"a\nb\"",
        "\"a\x01 b\"",
        "\"\xc3\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe2\x82\"",
        "{/* no */}",
        "<a>",
        "key=v",
        "\"\\u12",
        "\"\\",
        "0x10",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!skips(good[i]))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (skips(bad[i]))
            fail_msg("taken: %s", bad[i]);
    }
}

static void finds_specials_at_every_offset(void **state)
{
    char text[64];

    (void)state;
    for (size_t i = 1; i < 40; i++) { /* strings are judged eight bytes at a time */
        memset(text, 'x', sizeof(text));
        text[0] = '"';
        text[50] = '"';
        text[51] = '\0';
        text[i] = '\x1f';
        assert_false(skips(text));
        text[i] = '\\';
        assert_false(skips(text));
        text[i] = '\x80';
        assert_false(skips(text));
        text[i] = '"';
        assert_false(skips(text));
        text[i] = '\x7f';
        assert_true(skips(text));
    }
}

static void limits_the_depth(void **state)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        buf_reset(&text);
        for (size_t i = 0; i < depth; i++)
            buf_append_byte(&text, '[');
        for (size_t i = 0; i < depth; i++)
            buf_append_byte(&text, ']');
        assert_int_equal(skips(buf_text(&text)), depth <= JSON_DEPTH_MAX);
    }
    buf_free(&text);
}

static void integers_are_exact(void **state)
{
    static const struct {
        const char *text;
        enum json_integer_result result;
        bool negative;
        uint64_t magnitude;
    } cases[] = {
        {"-0", JSON_INTEGER_OK, false, 0},
        {"-0.0e7", JSON_INTEGER_OK, false, 0},
        {"0e99999999999999999999", JSON_INTEGER_OK, false, 0},
        {"-7", JSON_INTEGER_OK, true, 7},
        {"20e-1", JSON_INTEGER_OK, false, 2},
        {"0.02E+2", JSON_INTEGER_OK, false, 2},
        {"1.5e1", JSON_INTEGER_OK, false, 15},
        {"100", JSON_INTEGER_OK, false, 100},
        {"10203.00", JSON_INTEGER_OK, false, 10203},
        {"-9223372036854775808", JSON_INTEGER_OK, true, (uint64_t)INT64_MAX + 1},
        {"18446744073709551615", JSON_INTEGER_OK, false, UINT64_MAX},
        {"184467440737095516150e-1", JSON_INTEGER_OK, false, UINT64_MAX},
        {"0.18446744073709551615e20", JSON_INTEGER_OK, false, UINT64_MAX},
        {"18446744073709551616", JSON_INTEGER_RANGE, false, 0},
        {"1e20", JSON_INTEGER_RANGE, false, 0},
        {"1e99999999999999999999", JSON_INTEGER_RANGE, false, 0},
        {"1.5", JSON_INTEGER_FRACTION, false, 0},
        {"1e-99999999999999999999", JSON_INTEGER_FRACTION, false, 0},
        {"0.1", JSON_INTEGER_FRACTION, false, 0},
        {"", JSON_INTEGER_SYNTAX, false, 0},
        {"-", JSON_INTEGER_SYNTAX, false, 0},
        {"2 ", JSON_INTEGER_SYNTAX, false, 0},
        {"2.", JSON_INTEGER_SYNTAX, false, 0},
        {"2e", JSON_INTEGER_SYNTAX, false, 0},
        {"null", JSON_INTEGER_SYNTAX, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t magnitude = 0;
        bool negative = false;
        enum json_integer_result result =
            json_take_integer(slice_text(cases[i].text), &negative, &magnitude);

        if (result != cases[i].result ||
            (result == JSON_INTEGER_OK &&
             (negative != cases[i].negative || magnitude != cases[i].magnitude)))
            fail_msg("%s: result %d, %s%" PRIu64, cases[i].text, (int)result, negative ? "-" : "",
                     magnitude);
    }
}

static void names_the_place(void **state)
{
    struct json_reader reader;
    struct err err = ERR_INIT;

    (void)state;
    json_reader_init(&reader, SLICE_LITERAL("{\"a\" 1}"));
    assert_int_equal(json_skip(&reader, &err), -1);
    assert_int_equal(err.code, ERR_FORMAT);
    assert_string_equal(err.text, "JSON syntax error at byte 6: expected ':', found '1'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_the_grammar_has),
        cmocka_unit_test(finds_specials_at_every_offset),
        cmocka_unit_test(limits_the_depth),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(names_the_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
