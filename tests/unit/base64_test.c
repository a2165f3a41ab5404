/* base64_test.c - both alphabets, padding, refusals, every length. */
#include "common/base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void stops_at_the_maximum(void **state)
{
    struct buf out = BUF_INIT(7);

    (void)state;
    assert_false(base64_encode(SLICE_LITERAL("fooba"), &out));
    assert_true(out.overflow);
    assert_int_equal(buf_used(&out), 0);
    buf_free(&out);
}

static void decodes(void **state)
{
    static const struct {
        const char *text, *bytes; /* bytes NULL: refused */
    } cases[] = {
        {"", ""},
        {"YQ==", "a"},
        {"YQ", "a"},
        {"YR==", "a"},
        {"YWI=", "ab"},
        {"YWI", "ab"},
        {"Zm9vYmFy", "foobar"},
        {"+//+", "\xfb\xff\xfe"},
        {"-__-", "\xfb\xff\xfe"},
        {"-_w", "\xfb\xfc"},
        {"+_w", NULL},
        {"a-+a", NULL},
        {"Y", NULL},
        {"YQ=", NULL},
        {"Y===", NULL},
        {"=", NULL},
        {"==", NULL},
        {"====", NULL},
        {"YQ==YQ==", NULL},
        {"Y=Q=", NULL},
        {"YQ==\n", NULL},
        {"YW\nFh", NULL},
        {" YQ=", NULL},
        {"YQ.=", NULL},
        {"YWJjY", NULL},
        {"YW\xc3\xa4", NULL},
        {"YWJjYQ=", NULL},
    };
    uint8_t out[32];
    size_t bytes;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice text = slice_text(cases[i].text);
        bool good = base64_decode(text, out, &bytes);

        if (good != (cases[i].bytes != NULL))
            fail_msg("case %zu: %s", i, cases[i].text);
        if (good)
            assert_true(slice_equal(slice_of(out, bytes), slice_text(cases[i].bytes)));
    }
}

static void comes_back_at_every_length(void **state)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    uint8_t in[300], out[BASE64_DECODED_MAX(400)];
    size_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 151 + 7);
    for (size_t size = 0; size <= sizeof(in); size++) {
        buf_reset(&text);
        assert_true(base64_encode(slice_of(in, size), &text));
        assert_int_equal(buf_used(&text), (size + 2) / 3 * 4);
        assert_true(base64_decode(buf_slice(&text), out, &bytes));
        assert_int_equal(bytes, size);
        assert_memory_equal(in, out, size);
    }
    buf_free(&text);
}

/* The wide instructions against the tables, which do what is short. */
static void long_is_as_short(void **state)
{
    struct buf whole = BUF_INIT(BUF_UNLIMITED), pieces = BUF_INIT(BUF_UNLIMITED);
    uint8_t in[300], out[BASE64_DECODED_MAX(400)];
    size_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * i * 31 + i * 7);
    for (size_t i = 0; i < sizeof(in); i += 3)
        assert_true(base64_encode(slice_of(in + i, 3), &pieces));
    assert_true(base64_encode(slice_of(in, sizeof(in)), &whole));
    assert_true(slice_equal(buf_slice(&whole), buf_slice(&pieces)));
    for (size_t at = 0; at < 130; at++) {
        uint8_t was = whole.data[at];

        for (unsigned c = 0; c < 256; c++) {
            uint8_t four[4] = {'A', 'A', 'A', (uint8_t)c}, three[BASE64_DECODED_MAX(4)];
            bool fits =
                c != '=' && c != '-' && c != '_' && base64_decode(slice_of(four, 4), three, &bytes);

            whole.data[at] = (uint8_t)c;
            assert_int_equal(base64_decode(buf_slice(&whole), out, &bytes), fits);
            if (fits && at % 4 == 3)
                assert_int_equal(out[at / 4 * 3 + 2] & 63, three[2] & 63);
        }
        whole.data[at] = was;
    }
    buf_free(&whole);
    buf_free(&pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_at_the_maximum),
        cmocka_unit_test(decodes),
        cmocka_unit_test(comes_back_at_every_length),
        cmocka_unit_test(long_is_as_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
