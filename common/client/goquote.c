/* goquote.c - see goquote.h; the escapes are those of the Go specification, "String literals". */
#include "common/client/goquote.h"

#include "common/base/hex.h"
#include "common/client/unicode.h"

/* `count` digits of `base` at the beginning of `text`. */
static bool number_of(struct slice text, size_t count, int base, uint32_t *number)
{
    *number = 0;
    if (text.size < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        int digit = hex_digit(text.data[i]);

        if (digit < 0 || digit >= base)
            return false;
        *number = *number * (uint32_t)base + (uint32_t)digit;
    }
    return true;
}

/* What follows a backslash; bytes taken, 0 when it is no escape. */
static size_t escape(struct slice text, struct buf *out)
{
    static const char named[] = "a\ab\bf\fn\nr\rt\tv\v\\\\\"\"";
    struct slice rest;
    uint8_t bytes[4];
    uint32_t number;
    size_t digits, size;

    if (text.size == 0)
        return 0;
    for (size_t i = 0; i + 1 < sizeof(named); i += 2)
        if ((uint8_t)named[i] == text.data[0])
            return buf_append_byte(out, (uint8_t)named[i + 1]) ? 1 : 0;
    rest = slice_of(text.data + 1, text.size - 1);
    if (text.data[0] == 'x')
        return number_of(rest, 2, 16, &number) && buf_append_byte(out, (uint8_t)number) ? 3 : 0;
    if (text.data[0] >= '0' && text.data[0] <= '3')
        return number_of(text, 3, 8, &number) && buf_append_byte(out, (uint8_t)number) ? 3 : 0;
    if (text.data[0] != 'u' && text.data[0] != 'U')
        return 0;
    digits = text.data[0] == 'u' ? 4 : 8;
    if (!number_of(rest, digits, 16, &number))
        return 0;
    size = unicode_encode(number, bytes);
    return size > 0 && buf_append(out, bytes, size) ? digits + 1 : 0;
}

size_t goquote_parse(struct slice text, struct buf *out)
{
    uint8_t quote = text.size > 0 ? text.data[0] : 0;

    if (quote != '"' && quote != '`')
        return 0;
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] == quote)
            return i + 1;
        if (text.data[i] == '\\' && quote == '"') {
            size_t taken = escape(slice_of(text.data + i + 1, text.size - i - 1), out);

            if (taken == 0)
                return 0;
            i += taken;
        } else if (!buf_append_byte(out, text.data[i])) {
            return 0;
        }
    }
    return 0; /* no closing quote */
}
