/* duration_test.c - Go's durations, read and written back; and what is none. */
#include "common/base/duration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void reads_and_writes(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
        const char *again;
    } good[] = {
        {"0", 0, "0s"},
        {"5s", 5 * NS_PER_S, "5s"},
        {"300ms", 300 * NS_PER_MS, "300ms"},
        {"1m30s", 90 * NS_PER_S, "1m30s"},
        {"1.5h", 5400 * NS_PER_S, "1h30m0s"},
        {"-1.5s", -1500 * NS_PER_MS, "-1.5s"},
        {"+.5s", 500 * NS_PER_MS, "500ms"},
        {"1h0.001s", 3600 * NS_PER_S + NS_PER_MS, "1h0m0.001s"},
        {"1us", 1000, "1\xc2\xb5s"},
        {"1.5\xc2\xb5s", 1500, "1.5\xc2\xb5s"},
        {"17ns", 17, "17ns"},
        {"9223372036854775807ns", INT64_MAX, "2562047h47m16.854775807s"},
        {"1.05s", 1050 * NS_PER_MS, "1.05s"},
    };
    static const char *const bad[] = {"",
                                      "5",
                                      "s",
                                      ".s",
                                      "1.s.",
                                      "1x",
                                      "1 s",
                                      "-",
                                      "1h5",
                                      "3000000h",
                                      "9223372036854775808ns",
                                      "--1s",
                                      "1hs"};
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    int64_t ns;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(duration_parse(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
        buf_reset(&out);
        assert_true(duration_write(ns, &out));
        assert_string_equal(buf_text(&out), good[i].again);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (duration_parse(bad[i], &ns))
            fail_msg("taken: %s", bad[i]);
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
