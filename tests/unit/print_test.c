/* print_test.c - sizes, Go strings, Go durations and tables, as etcdctl prints them. */
#include "common/client/print.h"
#include "common/client/unicode.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void sizes_are_powers_of_1000(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},          {9, "9 B"},          {999, "999 B"},
                 {1000, "1.0 kB"},    {9500, "9.5 kB"},    {9960, "10 kB"},
                 {20480, "20 kB"},    {24576, "25 kB"},    {208896, "209 kB"},
                 {999999, "1000 kB"}, {16777248, "17 MB"}, {2147483648, "2.1 GB"},
                 {10500, "10 kB"},    {11500, "12 kB"},    {UINT64_MAX, "18 EB"}};
    char text[PRINT_SIZE_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_size_text(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void strings_are_quoted_as_go_does(void **state)
{
    static const struct {
        struct slice text;
        const char *quoted;
    } cases[] = {
        {{(const uint8_t *)"foo", 3}, "\"foo\""},
        {{(const uint8_t *)"", 0}, "\"\""},
        {{(const uint8_t *)"a\"b\\c'd", 7}, "\"a\\\"b\\\\c'd\""},
        {{(const uint8_t *)"\a\b\f\n\r\t\v", 7}, "\"\\a\\b\\f\\n\\r\\t\\v\""},
        {{(const uint8_t *)"\0\x01\x7f", 3}, "\"\\x00\\x01\\x7f\""},
        {{(const uint8_t *)"\xff\xc3(", 3}, "\"\\xff\\xc3(\""},
        {{(const uint8_t *)"\xed\xa0\x80", 3}, "\"\\xed\\xa0\\x80\""},
        {{(const uint8_t *)"\u00e9\u00a0\u200b\ufeff\U000e0001\U0001f600", 18},
         "\"\u00e9\\u00a0\\u200b\\ufeff\\U000e0001\U0001f600\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = BUF_INIT(BUF_UNLIMITED);

        print_quoted(&out, cases[i].text);
        assert_string_equal(buf_text(&out), cases[i].quoted);
        buf_free(&out);
    }
}

static void durations_print_and_parse(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {{0, "0s"},
                 {1, "1ns"},
                 {1100, "1.1µs"},
                 {896612, "896.612µs"},
                 {1595768, "1.595768ms"},
                 {8250330, "8.25033ms"},
                 {5000952844, "5.000952844s"},
                 {90000000000, "1m30s"},
                 {3600000000000, "1h0m0s"},
                 {-2000000000, "-2s"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = BUF_INIT(BUF_UNLIMITED);
        int64_t ns = -7;

        print_duration(&out, cases[i].ns);
        assert_string_equal(buf_text(&out), cases[i].text);
        assert_true(duration_parse(cases[i].text, &ns));
        assert_int_equal(ns, cases[i].ns);
        buf_free(&out);
    }
}

static void durations_are_read_strictly(void **state)
{
    static const char *const bad[] = {"",
                                      "abc",
                                      "5",
                                      "s",
                                      "1x",
                                      "1s1",
                                      ".s",
                                      "1 s",
                                      "1h ",
                                      "9999999h",
                                      "99999999999999999999s",
                                      "--1s"};
    int64_t ns = 42;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (duration_parse(bad[i], &ns))
            fail_msg("\"%s\" was taken for a duration", bad[i]);
        assert_int_equal(ns, 42);
    }
    assert_true(duration_parse("1.5h", &ns));
    assert_int_equal(ns, 5400000000000);
    assert_true(duration_parse("0", &ns));
    assert_int_equal(ns, 0);
    assert_true(duration_parse("+300ms", &ns));
    assert_int_equal(ns, 300000000);
}

static void tables_are_drawn_as_etcdctl_draws_them(void **state)
{
    static const char *const headings[] = {"HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"};
    static const char *const cells[] = {"2c68d1a5", "4", "17", "20 kB"};
    struct buf out = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    print_table(&out, headings, 4, cells, 1);
    assert_string_equal(buf_text(&out), "+----------+----------+------------+------------+\n"
                                        "|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE |\n"
                                        "+----------+----------+------------+------------+\n"
                                        "| 2c68d1a5 |        4 |         17 |      20 kB |\n"
                                        "+----------+----------+------------+------------+\n");
    buf_free(&out);
}

static void characters_round_trip(void **state)
{
    static const uint32_t points[] = {0x41, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        uint8_t bytes[4];
        uint32_t point = 0;
        size_t size = unicode_encode(points[i], bytes);

        assert_int_equal(unicode_decode(slice_of(bytes, size), &point), size);
        assert_int_equal(point, points[i]);
        assert_int_equal(unicode_decode(slice_of(bytes, size - 1), &point), 0);
    }
    assert_int_equal(unicode_columns("a\u00e9\uac00"), 4);
}

static void hex_and_fields(void **state)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    enum print_format format = PRINT_SIMPLE;

    (void)state;
    print_hex(&out, SLICE_LITERAL("fo\xff"));
    print_field_text(&out, "Key", SLICE_LITERAL("k\n"));
    print_field_u64(&out, "ClusterID", UINT64_MAX);
    print_field_i64(&out, "TTL", -1);
    print_field_bool(&out, "More", false);
    assert_string_equal(buf_text(&out), "\\x66\\x6f\\xff\"Key\" : \"k\\n\"\n"
                                        "\"ClusterID\" : 18446744073709551615\n\"TTL\" : -1\n"
                                        "\"More\" : false\n");
    buf_free(&out);
    assert_true(print_format_parse("table", &format));
    assert_int_equal(format, PRINT_TABLE);
    assert_false(print_format_parse("xyz", &format));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_powers_of_1000),
        cmocka_unit_test(strings_are_quoted_as_go_does),
        cmocka_unit_test(durations_print_and_parse),
        cmocka_unit_test(durations_are_read_strictly),
        cmocka_unit_test(tables_are_drawn_as_etcdctl_draws_them),
        cmocka_unit_test(characters_round_trip),
        cmocka_unit_test(hex_and_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
