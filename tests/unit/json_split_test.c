/* json_split_test.c - values of a stream of JSON, whole and byte by byte. */
#include "common/base/json_split.h"

#include "common/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
    const char *text;
    size_t values[4]; /* lengths; 0 ends */
} rows[] = {
    {"{}", {2}},
    {"  {\"a\":1}\n{\"b\":[{}]}", {9, 11}},
    {"{\"a}\":\"\\\"}\"}{}", {12, 2}},
    {"[1,{\"x\":\"]\"}] 5 \"a b\"", {13, 3}},
    {"}{}", {1, 2}},  /* no JSON: that is its parser's affair */
    {"nul", {0}},     /* may go on */
    {"{\"a\":", {0}}, /* the same */
    {" \t\r\n", {0}},
};

static void check(size_t row, size_t piece)
{
    struct slice text = slice_text(rows[row].text);
    struct json_split split = {.at = 0};
    size_t start = 0, value = 0;

    for (size_t end = piece; end < text.size + piece; end += piece) {
        size_t bytes, known = MIN(end, text.size);

        while (json_split_next(&split, slice_of(text.data + start, known - start), &bytes)) {
            assert_int_equal(bytes, rows[row].values[value++]);
            start += bytes;
        }
    }
    assert_int_equal(rows[row].values[value], 0);
}

static void splits(void **state)
{
    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++)
        for (size_t piece = 1; piece < 20; piece++)
            check(row, piece);
    assert_true(slice_equal(json_skip_blanks(SLICE_LITERAL(" \t\r\n x ")), SLICE_LITERAL("x ")));
    assert_int_equal(json_skip_blanks(SLICE_LITERAL("  ")).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(splits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
