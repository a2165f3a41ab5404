/* duration.c - see duration.h. [-+]?(digits[.digits]unit)+, units ns us ms s m h; or plain 0. */
#include "common/base/duration.h"

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},       {"us", 1000},      {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000},
    {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The unit that all letters up to the next digit or point spell; 0 = none. */
static uint64_t take_unit(const char **at)
{
    size_t length = strcspn(*at, ".0123456789");

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strlen(units[i].name) == length && memcmp(*at, units[i].name, length) == 0) {
            *at += length;
            return units[i].ns;
        }
    }
    return 0;
}

/* One "1.5h"; the fraction is dropped below a nanosecond. */
static bool take_part(const char **at, uint64_t *ns)
{
    uint64_t whole = 0, fraction = 0, scale = 1, unit;
    const char *start = *at;
    size_t digits;

    for (; is_digit(**at); (*at)++) {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(**at - '0'), &whole))
            return false;
    }
    digits = (size_t)(*at - start);
    if (**at == '.') {
        for ((*at)++; is_digit(**at); (*at)++, digits++) {
            if (scale < 1000000000000) {
                fraction = fraction * 10 + (uint64_t)(**at - '0');
                scale *= 10;
            }
        }
    }
    unit = digits != 0 ? take_unit(at) : 0;
    if (unit == 0 || __builtin_mul_overflow(whole, unit, &whole))
        return false;
    fraction = (uint64_t)((unsigned __int128)fraction * unit / scale);
    return !__builtin_add_overflow(whole, fraction, ns);
}

bool duration_parse(const char *text, int64_t *ns)
{
    bool negative = *text == '-';
    uint64_t sum = 0, part;

    if (*text == '-' || *text == '+')
        text++;
    if (strcmp(text, "0") == 0) {
        *ns = 0;
        return true;
    }
    if (*text == '\0')
        return false;
    while (*text != '\0') {
        if (!take_part(&text, &part) || __builtin_add_overflow(sum, part, &sum) ||
            sum > (uint64_t)INT64_MAX)
            return false;
    }
    *ns = negative ? -(int64_t)sum : (int64_t)sum;
    return true;
}

/* `number` / `scale` without zeros at the end of the fraction. */
static void write_fraction(uint64_t number, uint64_t scale, struct buf *out)
{
    uint64_t rest = number % scale;

    buf_append_uint(out, number / scale);
    if (rest == 0)
        return;
    buf_append_byte(out, '.');
    for (scale /= 10; rest != 0; rest %= scale, scale = MAX(scale / 10, 1)) {
        buf_append_byte(out, (uint8_t)('0' + rest / scale));
        if (rest % scale == 0)
            return;
    }
}

bool duration_write(int64_t ns, struct buf *out)
{
    uint64_t left = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    const uint64_t second = NS_PER_S;

    if (ns < 0)
        buf_append_byte(out, '-');
    if (left != 0 && left < second) {
        uint64_t scale = left < 1000 ? 1 : left < NS_PER_MS ? 1000 : NS_PER_MS;

        write_fraction(left, scale, out);
        buf_append_text(out, scale == 1 ? "ns" : scale == 1000 ? "\xc2\xb5s" : "ms");
        return !out->overflow;
    }
    if (left >= 3600 * second)
        buf_printf(out, "%" PRIu64 "h", left / (3600 * second));
    if (left >= 60 * second)
        buf_printf(out, "%" PRIu64 "m", left / (60 * second) % 60);
    write_fraction(left % (60 * second), second, out);
    buf_append_byte(out, 's');
    return !out->overflow;
}
