/* hex.c - see hex.h. */
#include "common/base/hex.h"

bool hex_read(struct slice text, uint64_t *number)
{
    uint64_t read = 0;

    if (text.size == 0 || text.size > HEX16_DIGITS)
        return false;
    for (size_t at = 0; at < text.size; at++) {
        int digit = hex_digit(text.data[at]);

        if (digit < 0)
            return false;
        read = read << 4 | (uint64_t)digit;
    }
    *number = read;
    return true;
}

bool hex16_read(const char *text, uint64_t *number)
{
    return strspn(text, "0123456789abcdef") >= HEX16_DIGITS &&
           hex_read(slice_of(text, HEX16_DIGITS), number);
}
