/* crc32c_test.c - known values, and both ways to them agree at every length and alignment. */
#include "common/base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void known_values(void **state)
{
    static const uint8_t zeros[32];

    (void)state;
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283U);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283U);
    assert_int_equal(crc32c(0, zeros, sizeof(zeros)), 0x8a9136aaU); /* RFC 3720 B.4 */
    assert_int_equal(crc32c_portable(0, zeros, sizeof(zeros)), 0x8a9136aaU);
}

static void both_ways_agree(void **state)
{
    uint8_t bytes[300];
    uint32_t number = 1;

    (void)state;
    for (size_t at = 0; at < sizeof(bytes); at++) {
        number = number * 1664525 + 1013904223;
        bytes[at] = (uint8_t)(number >> 24);
    }
    for (size_t start = 0; start < 16; start++)
        for (size_t end = start; end <= sizeof(bytes); end++) {
            uint32_t fast = crc32c((uint32_t)end, bytes + start, end - start);

            assert_int_equal(fast, crc32c_portable((uint32_t)end, bytes + start, end - start));
            assert_int_equal(fast, crc32c(crc32c((uint32_t)end, bytes + start, (end - start) / 3),
                                          bytes + start + (end - start) / 3,
                                          end - start - (end - start) / 3));
        }
}

/* Long enough for several lanes at a time, and what is left behind them. */
static void long_ones_agree(void **state)
{
    static uint8_t bytes[20000];
    uint32_t number = 7;

    (void)state;
    for (size_t at = 0; at < sizeof(bytes); at++) {
        number = number * 1664525 + 1013904223;
        bytes[at] = (uint8_t)(number >> 24);
    }
    for (size_t size = 3000; size < sizeof(bytes); size += 509)
        for (size_t start = 0; start < 3; start++)
            assert_int_equal(crc32c((uint32_t)size, bytes + start, size - start),
                             crc32c_portable((uint32_t)size, bytes + start, size - start));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(both_ways_agree),
        cmocka_unit_test(long_ones_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
