/* unicode.c - see unicode.h. */
#include "common/client/unicode.h"

struct range {
    uint32_t first, last;
};

static const struct range unprintable[] = {
#define RANGE(first, last) {first, last},
#include "common/client/unicode.def"
#undef RANGE
};

/* East Asian Width W and F, in coarse strokes. */
static const struct range wide[] = {
    {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xa960, 0xa97f},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
    {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
    {0x20000, 0x3fffd},
};

static bool within(const struct range *ranges, size_t count, uint32_t point)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (point > ranges[middle].last)
            low = middle + 1;
        else if (point < ranges[middle].first)
            high = middle;
        else
            return true;
    }
    return false;
}

size_t unicode_decode(struct slice text, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.size > 0 ? text.data[0] : 0x80;
    size_t size = first < 0x80   ? 1
                  : first < 0xc0 ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf8 ? 4
                                 : 0;
    uint32_t value;

    if (size == 0 || size > text.size)
        return 0;
    value = size == 1 ? first : first & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (text.data[i] & 0x3fU);
    }
    if (value < least[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *point = value;
    return size;
}

size_t unicode_encode(uint32_t point, uint8_t bytes[4])
{
    size_t size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;

    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    for (size_t i = size; i-- > 1; point >>= 6)
        bytes[i] = (uint8_t)(0x80 | (point & 0x3f));
    bytes[0] = (uint8_t)(size == 1 ? point : (0xf00U >> size & 0xff) | point);
    return size;
}

bool unicode_printable(uint32_t point)
{
    if (point < 0x80)
        return point >= 0x20 && point < 0x7f;
    return !within(unprintable, ARRAY_LEN(unprintable), point);
}

size_t unicode_columns(const char *text)
{
    struct slice rest = slice_text(text);
    size_t columns = 0;

    while (rest.size > 0) {
        uint32_t point = 0;
        size_t size = MAX(unicode_decode(rest, &point), 1);

        columns += within(wide, ARRAY_LEN(wide), point) ? 2 : 1;
        rest = slice_of(rest.data + size, rest.size - size);
    }
    return columns;
}
